/* The .hot file, which `hotlayer pack` writes and `hotlayerd` maps. docs/format.md is the normative text.
 *
 * A model is one head file and its shards, in one folder:
 *
 *   MODEL.hot        header (4 KiB) | meta | program | tensors | tokenizer | template   small, read first
 *   MODEL.hot.001    weights [shard 1] | trailer (4 KiB)                           about 1 GiB each, in load order
 *   MODEL.hot.002    weights [shard 2] | trailer
 *
 * The weights form one address space that starts at 0. A tensor's offset counts in that space, so on any device its
 * address is base + offset. Shards cover the space in order. Each shard starts on a multiple of 2 MiB, so that a device
 * allocation, a huge page and a shard begin together. The gap between two shards is less
 * than 2 MiB; it is not in any file, and nothing refers to it.
 *
 * All numbers are little-endian. All reserved bytes are zero; a reader refuses a file where they are not.
 */
#ifndef HOTLAYER_LAYOUT_H
#define HOTLAYER_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define HL_FORMAT_VERSION 2u
#define HL_HEADER_MAGIC "HOTLAYER"
#define HL_SHARD_MAGIC "HOTSHARD"
#define HL_PAGE_BYTES 4096u           /* sections, tensors and the trailer start on a multiple of this */
#define HL_SHARD_ALIGN (2048u * 1024) /* shards start on a multiple of this in the weights' space */
#define HL_SHARD_LIMIT (1ull << 31)   /* the largest shard */
#define HL_MODEL_NAME_MAX 128         /* characters of a model's name */
#define HL_MAX_SHARDS 96u             /* an image may have about 120 layers in total */

enum hl_section_id {
    HL_SECTION_META,      /* JSON text, no terminating NUL; keys in docs/format.md */
    HL_SECTION_PROGRAM,   /* struct hl_program and its tables, program.h */
    HL_SECTION_TENSORS,   /* struct hl_tensor[], in the order of first touch, tile.h */
    HL_SECTION_TOKENIZER, /* tables that are used in place, tokenizer_section.h */
    HL_SECTION_TEMPLATE,  /* the compiled chat template, template_section.h; empty: the model has none */
    HL_SECTION_COUNT,
};

struct hl_section {
    uint64_t offset; /* in the head file, a multiple of HL_PAGE_BYTES */
    uint64_t bytes;
    uint32_t crc32c;
    uint32_t reserved;
};

struct hl_shard {
    uint64_t offset; /* in the weights' space, a multiple of HL_SHARD_ALIGN */
    uint64_t bytes;  /* a multiple of HL_PAGE_BYTES; the shard's file is one page (the trailer) longer */
    uint32_t crc32c; /* of these bytes */
    uint32_t reserved;
};

struct hl_header {
    char magic[8]; /* HL_HEADER_MAGIC without its NUL */
    uint32_t version;
    uint32_t crc32c;       /* of this page, with this field zero */
    uint64_t head_bytes;   /* size of the head file */
    uint64_t weight_bytes; /* size of the weights' space: where the last shard ends */
    uint32_t n_tensors;
    uint32_t n_shards;
    struct hl_section section[HL_SECTION_COUNT];
    struct hl_shard shard[HL_MAX_SHARDS]; /* the rows from n_shards on are zero */
    uint8_t reserved[HL_PAGE_BYTES - 40 - 24 * HL_SECTION_COUNT - 24 * HL_MAX_SHARDS];
};

/* The last page of a shard's file repeats the shard's row of the header. So a shard of another build is detected
 * without reading its gigabyte. */
struct hl_trailer {
    char magic[8]; /* HL_SHARD_MAGIC without its NUL */
    uint32_t version;
    uint32_t index; /* from 0; the file's suffix is index + 1 */
    struct hl_shard shard;
    uint8_t reserved[HL_PAGE_BYTES - 40];
};

static_assert(sizeof(struct hl_section) == 24, "on-disk size");
static_assert(sizeof(struct hl_shard) == 24, "on-disk size");
static_assert(sizeof(struct hl_header) == HL_PAGE_BYTES, "on-disk size");
static_assert(sizeof(struct hl_trailer) == HL_PAGE_BYTES, "on-disk size");
static_assert(offsetof(struct hl_header, section) == 40, "on-disk offset");
static_assert(offsetof(struct hl_header, shard) == 160, "on-disk offset");
static_assert(offsetof(struct hl_trailer, shard) == 16, "on-disk offset");

#endif
