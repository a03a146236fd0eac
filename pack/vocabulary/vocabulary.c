/* The vocabulary while it is read, and the section that it becomes (picture: hotlayer/tokenizer_section.h).
 *
 * Both hash tables are at most two thirds full and are filled in the order of ids, so the same files give the same
 * bytes. The section holds no pointers and needs no work at run time: the runtime uses the tables in place.
 */
#include "pack/vocabulary/vocabulary.h"
#include "base/cleanup.h"
#include "base/sizes.h"
#include "pack/vocabulary/vocabulary_inside.h"
#include <errno.h>
#include <math.h>

#define FILE_LIMIT ((size_t)256 << 20)

void hl_vocabulary_init(struct hl_vocabulary *v, const char *file, uint32_t limit)
{
    *v = (struct hl_vocabulary){.file = file, .limit = limit, .bos = HL_NONE, .eos = HL_NONE, .unk = HL_NONE};
    for (unsigned i = 0; i < 256; i++)
        v->bytes[i] = HL_NONE;
}

void hl_vocabulary_release(struct hl_vocabulary *v)
{
    free(v->text.data);
    free(v->tokens);
    free(v->merges);
    free(v->added);
    free(v->pattern.data);
}

int hl_vocabulary_put_text(struct hl_vocabulary *v, const void *text, size_t bytes, size_t *offset,
                           struct hl_error *err)
{
    *offset = v->text.size;
    return hl_bytes_append(&v->text, text, bytes, UINT32_MAX) < 0
               ? hl_fail(err, "%s: the tokens' texts do not fit in memory", v->file)
               : 0;
}

static int reserve_tokens(struct hl_vocabulary *v, uint32_t count, struct hl_error *err)
{
    if (count <= v->n_tokens)
        return 0;
    if (count > v->room_tokens) {
        uint64_t room = (uint64_t)count + v->room_tokens / 2 + 256;
        struct hl_vocabulary_token *larger = realloc(v->tokens, room * sizeof *larger);
        if (!larger)
            return hl_fail(err, "%s: %u tokens do not fit in memory", v->file, count);
        v->tokens = larger;
        v->room_tokens = (uint32_t)room;
    }
    memset(v->tokens + v->n_tokens, 0, (count - v->n_tokens) * sizeof *v->tokens);
    v->n_tokens = count;
    return 0;
}

int hl_vocabulary_set(struct hl_vocabulary *v, uint32_t id, const void *text, size_t bytes, enum hl_token_kind kind,
                      struct hl_error *err)
{
    if (id >= v->limit || id >= INT32_MAX)
        return hl_fail(err, "%s: token %u is beyond the %u rows of the model's embedding", v->file, id, v->limit);
    if (bytes > HL_TOKEN_MAX_BYTES)
        return hl_fail(err, "%s: the text of token %u has %zu bytes, more than %u", v->file, id, bytes,
                       HL_TOKEN_MAX_BYTES);
    if (reserve_tokens(v, id + 1, err))
        return -1;
    if (v->tokens[id].kind != HL_TOKEN_UNUSED)
        return hl_fail(err, "%s: two tokens have the id %u", v->file, id);
    size_t offset = 0;
    if (hl_vocabulary_put_text(v, text, bytes, &offset, err))
        return -1;
    v->tokens[id] = (struct hl_vocabulary_token){.offset = offset, .bytes = (uint32_t)bytes, .kind = kind};
    return 0;
}

size_t hl_vocabulary_unmark_spaces(const void *text, size_t bytes, void *out)
{
    const uint8_t *from = text;
    uint8_t *to = out;
    size_t used = 0;
    for (size_t at = 0; at < bytes;) {
        bool mark = bytes - at >= 3 && !memcmp(from + at, HL_SPACE_MARK, 3);
        to[used++] = mark ? ' ' : from[at];
        at += mark ? 3 : 1;
    }
    return used;
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int hl_vocabulary_byte_piece(struct hl_view text)
{
    const uint8_t *t = text.data;
    if (text.size != 6 || memcmp(t, "<0x", 3) || t[5] != '>' || hex_digit(t[3]) < 0 || hex_digit(t[4]) < 0)
        return -1;
    return 16 * hex_digit(t[3]) + hex_digit(t[4]);
}

/* Returns the number of slots for `count` keys: at most two thirds of them get used. */
static uint32_t slots_for(uint32_t count)
{
    return (uint32_t)hl_min_u32(UINT32_MAX / 3, count) / 2 * 3 + 3;
}

int hl_text_map_init(struct hl_text_map *map, uint32_t count, struct hl_error *err)
{
    *map = (struct hl_text_map){.n_slots = slots_for(count)};
    map->slots = calloc(map->n_slots, sizeof *map->slots);
    if (!map->slots)
        return hl_no_memory(err);
    for (uint32_t i = 0; i < map->n_slots; i++)
        map->slots[i].id = HL_NONE;
    return 0;
}

void hl_text_map_release(struct hl_text_map *map)
{
    free(map->slots);
}

/* Returns the slot that holds the text, or the empty slot where it belongs. */
static uint32_t find_slot(const struct hl_text_map *map, const struct hl_view *texts, const void *text, size_t bytes,
                          uint32_t *probes)
{
    uint32_t hash = hl_hash_text(text, bytes);
    uint32_t at = hl_slot_of(hash, map->n_slots);
    for (*probes = 1;; ++*probes) {
        const struct hl_string_slot *slot = &map->slots[at];
        if (slot->id == HL_NONE)
            return at;
        const struct hl_view *other = &texts[slot->id];
        if (slot->hash == hash && other->size == bytes && other->data && !memcmp(other->data, text, bytes))
            return at;
        at = at + 1 < map->n_slots ? at + 1 : 0;
    }
}

uint32_t hl_text_map_find(const struct hl_text_map *map, const struct hl_view *texts, const void *text, size_t bytes)
{
    uint32_t probes;
    return map->slots[find_slot(map, texts, text, bytes, &probes)].id;
}

int hl_text_map_insert(struct hl_text_map *map, const struct hl_view *texts, uint32_t id, struct hl_error *err)
{
    uint32_t probes;
    uint32_t at = find_slot(map, texts, texts[id].data, texts[id].size, &probes);
    if (map->slots[at].id != HL_NONE)
        return hl_fail(err, "tokens %u and %u have the same text", map->slots[at].id, id);
    if (probes > HL_PROBE_MAX)
        return hl_fail(err, "too many collisions in the hash table of the tokens' texts");
    map->slots[at] = (struct hl_string_slot){hl_hash_text(texts[id].data, texts[id].size), id};
    if (probes > map->longest_probe)
        map->longest_probe = probes;
    return 0;
}

static int fill_strings(const struct hl_vocabulary *v, struct hl_text_map *map, struct hl_view *texts,
                        struct hl_error *err)
{
    uint32_t count = 0;
    for (uint32_t id = 0; id < v->n_tokens; id++)
        count += v->tokens[id].in_text;
    if (hl_text_map_init(map, count, err))
        return -1;
    for (uint32_t id = 0; id < v->n_tokens; id++) {
        texts[id] = (struct hl_view){v->text.data + v->tokens[id].offset, v->tokens[id].bytes};
        if (v->tokens[id].in_text && hl_text_map_insert(map, texts, id, err))
            return hl_error_prefix(err, "%s", v->file);
    }
    return 0;
}

/* Fails if a text could merge into an unused piece. SentencePiece merges into unused pieces too, and takes them apart
 * in the end, except that a piece of one character stays. */
static int check_unused(const struct hl_vocabulary *v, const struct hl_text_map *map, const struct hl_view *texts,
                        struct hl_error *err)
{
    for (uint32_t id = 0; id < v->n_tokens; id++) {
        const struct hl_view *text = &texts[id];
        if (v->tokens[id].kind != HL_TOKEN_UNUSED || !text->size)
            continue;
        size_t characters = 0;
        bool reachable = false;
        for (size_t at = 0; at < text->size; at++) {
            bool begins = (text->data[at] & 0xC0) != 0x80;
            characters += begins;
            reachable = reachable || (at && begins && hl_text_map_find(map, texts, text->data, at) != HL_NONE &&
                                      hl_text_map_find(map, texts, text->data + at, text->size - at) != HL_NONE);
        }
        if (reachable || characters < 2)
            return hl_fail(err, "%s: token %u (%.*s) has the type unused, but text could merge into it; not supported",
                           v->file, id, (int)hl_min_u32((uint32_t)text->size, 64), (const char *)text->data);
    }
    return 0;
}

static int fill_pairs(const struct hl_vocabulary *v, struct hl_pair_slot *slots, uint32_t n_slots, uint32_t *longest,
                      struct hl_error *err)
{
    for (uint32_t i = 0; i < n_slots; i++)
        slots[i].left = HL_NONE;
    for (uint32_t i = 0; i < v->n_merges; i++) {
        const struct hl_pair_slot *merge = &v->merges[i];
        uint32_t at = hl_slot_of(hl_hash_pair(merge->left, merge->right), n_slots), probes = 1;
        for (; slots[at].left != HL_NONE; probes++) {
            if (slots[at].left == merge->left && slots[at].right == merge->right)
                return hl_fail(err, "%s: merges %u and %u are the same pair", v->file, slots[at].rank, merge->rank);
            at = at + 1 < n_slots ? at + 1 : 0;
        }
        if (probes > HL_PROBE_MAX)
            return hl_fail(err, "%s: too many collisions in the hash table of the merges", v->file);
        slots[at] = *merge;
        if (probes > *longest)
            *longest = probes;
    }
    return 0;
}

struct scored {
    float score;
    uint32_t id;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Ranks tokens by score. Equal scores get equal ranks; then the leftmost pair merges first. */
static int rank_tokens(const struct hl_vocabulary *v, struct hl_token *tokens, struct hl_error *err)
{
    HL_FREE struct scored *order = calloc(v->n_tokens + 1u, sizeof *order);
    if (!order)
        return hl_no_memory(err);
    for (uint32_t id = 0; id < v->n_tokens; id++)
        order[id] = (struct scored){v->tokens[id].score, id};
    qsort(order, v->n_tokens, sizeof *order, by_score);
    for (uint32_t i = 0, rank = 0; i < v->n_tokens; i++) {
        rank += i && order[i].score != order[i - 1].score;
        tokens[order[i].id].rank = rank;
    }
    return 0;
}

static int by_text(const void *a, const void *b, void *context)
{
    const uint8_t *text = context;
    const struct hl_added *x = a, *y = b;
    uint32_t both = hl_min_u32(x->bytes, y->bytes);
    int order = memcmp(text + x->offset, text + y->offset, both);
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static void fill_added(const struct hl_vocabulary *v, struct hl_added *added, uint32_t *first)
{
    if (v->n_added)
        memcpy(added, v->added, v->n_added * sizeof *added);
    qsort_r(added, v->n_added, sizeof *added, by_text, v->text.data);
    for (uint32_t byte = 0, at = 0; byte <= 256; byte++) {
        while (at < v->n_added && v->text.data[added[at].offset] < byte)
            at++;
        first[byte] = at;
    }
}

/* Removes from `cuts` the bytes that come before a space in this token. */
static void forbid_cuts(const struct hl_vocabulary *v, uint32_t id, uint8_t cuts[32])
{
    const uint8_t *text = v->text.data + v->tokens[id].offset;
    for (uint32_t i = 1; i < v->tokens[id].bytes; i++)
        if (text[i] == ' ')
            cuts[text[i - 1] / 8] &= (uint8_t) ~(1u << text[i - 1] % 8);
}

/* Finds the bytes after which a text may be cut before a space. A lone space must be a token: an unknown one could fuse
 * with the text before it. */
static void find_cuts(const struct hl_vocabulary *v, const struct hl_text_map *strings, const struct hl_view *texts,
                      uint8_t cuts[32])
{
    bool has_space = hl_text_map_find(strings, texts, " ", 1) != HL_NONE;
    memset(cuts, has_space && !v->pattern.size ? 0xFF : 0, 32);
    for (uint32_t id = 0; id < v->n_tokens; id++)
        if (v->tokens[id].in_text)
            forbid_cuts(v, id, cuts);
    for (uint32_t i = 0; i < v->n_merges; i++)
        forbid_cuts(v, v->merges[i].merged, cuts);
}

/* Places the table after those that are placed already. */
static void place(struct hl_tokenizer_table *table, uint32_t count, size_t element, uint64_t *size)
{
    *table = (struct hl_tokenizer_table){(uint32_t)*size, count};
    *size = hl_round_up(*size + count * (uint64_t)element, 8);
}

static uint64_t place_tables(const struct hl_vocabulary *v, const struct hl_text_map *strings,
                             struct hl_tokenizer_header *h)
{
    uint64_t size = sizeof *h;
    place(&h->tokens, v->n_tokens, sizeof(struct hl_token), &size);
    place(&h->text, (uint32_t)v->text.size, 1, &size);
    place(&h->strings, strings->n_slots, sizeof(struct hl_string_slot), &size);
    place(&h->pairs, v->by_pairs ? slots_for(v->n_merges) : 0, sizeof(struct hl_pair_slot), &size);
    place(&h->added, v->n_added, sizeof(struct hl_added), &size);
    place(&h->first, 257, sizeof(uint32_t), &size);
    place(&h->bytes, 256, sizeof(uint32_t), &size);
    place(&h->pattern, (uint32_t)v->pattern.size, 1, &size);
    return size;
}

static int fill_tables(const struct hl_vocabulary *v, const struct hl_text_map *strings, struct hl_tokenizer_header *h,
                       struct hl_error *err)
{
    uint8_t *base = (uint8_t *)h;
    struct hl_token *tokens = (void *)(base + h->tokens.offset);
    for (uint32_t id = 0; id < v->n_tokens; id++) {
        const struct hl_vocabulary_token *token = &v->tokens[id];
        tokens[id].offset = (uint32_t)token->offset;
        tokens[id].bytes = (uint16_t)token->bytes;
        tokens[id].kind = (uint8_t)token->kind;
    }
    if (!v->by_pairs && rank_tokens(v, tokens, err))
        return -1;
    if (v->text.size)
        memcpy(base + h->text.offset, v->text.data, v->text.size);
    memcpy(base + h->strings.offset, strings->slots, strings->n_slots * sizeof *strings->slots);
    if (fill_pairs(v, (void *)(base + h->pairs.offset), h->pairs.count, &h->longest_probe, err))
        return -1;
    fill_added(v, (void *)(base + h->added.offset), (void *)(base + h->first.offset));
    memcpy(base + h->bytes.offset, v->bytes, sizeof v->bytes);
    if (v->pattern.size)
        memcpy(base + h->pattern.offset, v->pattern.data, v->pattern.size);
    return 0;
}

static int write_section(const struct hl_vocabulary *v, struct hl_bytes *out, struct hl_error *err)
{
    __attribute__((cleanup(hl_text_map_release))) struct hl_text_map strings = {0};
    struct hl_tokenizer_header header = {
        .version = HL_TOKENIZER_VERSION, .flags = v->flags, .bos = v->bos, .eos = v->eos, .unk = v->unk};
    memcpy(header.magic, HL_TOKENIZER_MAGIC, sizeof header.magic);
    HL_FREE struct hl_view *texts = calloc(v->n_tokens + 1u, sizeof *texts);
    if (!texts)
        return hl_no_memory(err);
    if (fill_strings(v, &strings, texts, err) || check_unused(v, &strings, texts, err))
        return -1;
    find_cuts(v, &strings, texts, header.cuts);
    header.longest_probe = strings.longest_probe;
    uint64_t size = place_tables(v, &strings, &header);
    if (size > UINT32_MAX)
        return hl_fail(err, "%s: the tables take %llu bytes, more than 4 GiB", v->file, (unsigned long long)size);
    HL_FREE uint8_t *data = calloc(1, size);
    if (!data)
        return hl_no_memory(err);
    memcpy(data, &header, sizeof header);
    if (fill_tables(v, &strings, (struct hl_tokenizer_header *)data, err))
        return -1;
    *out = (struct hl_bytes){.data = data, .size = size};
    data = NULL;
    return 0;
}

int hl_vocabulary_write(const struct hl_vocabulary *v, struct hl_bytes *out, struct hl_error *err)
{
    return v->n_tokens ? write_section(v, out, err) : hl_fail(err, "%s: no tokens", v->file);
}

int hl_vocabulary_write_empty(struct hl_bytes *out, struct hl_error *err)
{
    struct hl_vocabulary none;
    hl_vocabulary_init(&none, "", 0);
    return write_section(&none, out, err);
}

bool hl_vocabulary_is_empty(const struct hl_bytes *section)
{
    return ((const struct hl_tokenizer_header *)(const void *)section->data)->tokens.count == 0;
}

int hl_vocabulary_from_files(const struct hl_vocabulary_files *files, uint32_t vocabulary, struct hl_bytes *out,
                             struct hl_error *err)
{
    __attribute__((cleanup(hl_vocabulary_release))) struct hl_vocabulary v = {0};
    if (!files->model.data && !files->json.data)
        return hl_vocabulary_write_empty(out, err);
    hl_vocabulary_init(&v, files->json.data ? "tokenizer.json" : "tokenizer.model", vocabulary);
    int failed = files->json.data ? hl_vocabulary_read_json(&v, files->json, err)
                                  : hl_vocabulary_read_spm(&v, files->model, err);
    if (failed || hl_vocabulary_read_config(&v, files, err))
        return -1;
    return hl_vocabulary_write(&v, out, err);
}

/* Reads a whole file. If the file does not exist, out->data stays NULL. */
static int read_file(const char *folder, const char *name, struct hl_bytes *out, struct hl_error *err)
{
    HL_FREE char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        path = NULL;
        return hl_no_memory(err);
    }
    HL_FCLOSE FILE *file = fopen(path, "rb");
    if (!file && errno == ENOENT)
        return 0;
    if (!file)
        return hl_fail(err, "%s: %s", path, strerror(errno));
    char piece[1 << 14];
    size_t n;
    do { /* an empty file is there, too: it gets data */
        n = fread(piece, 1, sizeof piece, file);
        if (hl_bytes_append(out, piece, n, FILE_LIMIT) < 0)
            return hl_fail(err, "%s: larger than %zu MiB", path, FILE_LIMIT >> 20);
    } while (n);
    return ferror(file) ? hl_fail(err, "%s: %s", path, strerror(errno)) : 0;
}

/* Refuses a vocabulary of an unsupported form, instead of treating it as absent. */
static int refuse_file(const char *folder, const char *name, struct hl_error *err)
{
    HL_FREE char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        path = NULL;
        return hl_no_memory(err);
    }
    return access(path, F_OK) ? 0 : hl_fail(err, "%s without a tokenizer.json is not supported", path);
}

static struct hl_view view_of(const struct hl_bytes *bytes)
{
    return (struct hl_view){bytes->data, bytes->size};
}

int hl_vocabulary_from_folder(const char *folder, uint32_t vocabulary, struct hl_bytes *out, struct hl_error *err)
{
    static const char *const names[4] = {"tokenizer.json", "tokenizer.model", "tokenizer_config.json",
                                         "added_tokens.json"};
    static const char *const others[] = {"tekken.json", "tokenizer.model.v3", "spiece.model", "vocab.json",
                                         "vocab.txt"};
    struct hl_bytes files[4] = {{0}};
    int failed = 0;
    for (int i = 0; i < 4 && !failed; i++)
        failed = i == 1 && files[0].data ? 0 : read_file(folder, names[i], &files[i], err);
    for (size_t i = 0; i < HL_COUNT(others) && !failed && !files[0].data && !files[1].data; i++)
        failed = refuse_file(folder, others[i], err);
    const struct hl_vocabulary_files views = {.json = view_of(&files[0]),
                                              .model = view_of(&files[1]),
                                              .config = view_of(&files[2]),
                                              .added = view_of(&files[3])};
    if (!failed && hl_vocabulary_from_files(&views, vocabulary, out, err))
        failed = hl_error_prefix(err, "%s", folder);
    for (int i = 0; i < 4; i++)
        free(files[i].data);
    return failed;
}

int hl_vocabulary_build(const struct hl_source *source, uint32_t vocabulary, struct hl_bytes *out, struct hl_error *err)
{
    return source->gguf ? hl_vocabulary_from_gguf(source->gguf, vocabulary, out, err)
                        : hl_vocabulary_from_folder(source->folder, vocabulary, out, err);
}
