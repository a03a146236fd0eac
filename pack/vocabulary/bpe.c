/* Vocabularies of byte-pair merges, from any format: tokens in their spelling, and the pairs that merge.
 *
 * A byte-level vocabulary spells each byte as a printable character, which is undone here. Other vocabularies spell a
 * space as U+2581, and a byte without a character as <0x0A>.
 */
#include "base/cleanup.h"
#include "pack/vocabulary/vocabulary_inside.h"

int hl_spellings_init(struct hl_spellings *s, uint32_t n, uint32_t count, struct hl_error *err)
{
    s->n = n;
    s->texts = calloc(n + 1u, sizeof *s->texts);
    if (!s->texts)
        return hl_no_memory(err);
    return hl_text_map_init(&s->ids, count, err);
}

void hl_spellings_release(struct hl_spellings *s)
{
    free(s->texts);
    hl_text_map_release(&s->ids);
}

int hl_spellings_add(struct hl_spellings *s, uint32_t id, struct hl_view text, struct hl_error *err)
{
    s->texts[id] = text;
    return hl_text_map_insert(&s->ids, s->texts, id, err);
}

uint32_t hl_spellings_find(const struct hl_spellings *s, struct hl_view text)
{
    return hl_text_map_find(&s->ids, s->texts, text.data, text.size);
}

/* Returns the byte that a byte-level vocabulary spells as this character, or -1. Printable characters of Latin-1 spell
 * themselves; the other 68 bytes follow in order from U+0100. */
static int byte_of(uint32_t character)
{
    if ((character >= 0x21 && character <= 0x7E) || (character >= 0xA1 && character <= 0xFF && character != 0xAD))
        return (int)character;
    if (character < 0x100 || character > 0x143)
        return -1;
    uint32_t n = character - 0x100;
    return (int)(n <= 0x20 ? n : n <= 0x42 ? n - 0x21 + 0x7F : 0xAD);
}

/* Writes the bytes to `out`, which is as long as the text. Returns false if a character does not spell a byte; then
 * `out` holds the text itself. */
static bool unspell_bytes(struct hl_view text, uint8_t *out, size_t *n_out)
{
    size_t used = 0;
    for (size_t at = 0; at < text.size; at++) {
        uint32_t character = text.data[at];
        if ((character & 0xE0) == 0xC0 && at + 1 < text.size)
            character = (character & 0x1F) << 6 | (text.data[++at] & 0x3Fu);
        else if (character >= 0x80)
            character = 0;
        int byte = byte_of(character);
        if (byte < 0) {
            memcpy(out, text.data, text.size);
            *n_out = text.size;
            return false;
        }
        out[used++] = (uint8_t)byte;
    }
    *n_out = used;
    return true;
}

int hl_bpe_token(struct hl_vocabulary *v, uint32_t id, struct hl_view spelling, struct hl_error *err)
{
    bool byte_level = v->flags & HL_TOKENIZER_BYTE_LEVEL;
    HL_FREE uint8_t *text = malloc(spelling.size + 1);
    if (!text)
        return hl_no_memory(err);
    int byte = v->flags & HL_TOKENIZER_BYTE_FALLBACK ? hl_vocabulary_byte_piece(spelling) : -1;
    if (byte >= 0) {
        v->bytes[byte] = id;
        text[0] = (uint8_t)byte;
        return hl_vocabulary_set(v, id, text, 1, HL_TOKEN_BYTE, err);
    }
    size_t bytes;
    bool in_text;
    if (byte_level) {
        in_text = unspell_bytes(spelling, text, &bytes);
    } else {
        in_text = !memchr(spelling.data, ' ', spelling.size);
        bytes = hl_vocabulary_unmark_spaces(spelling.data, spelling.size, text);
    }
    if (hl_vocabulary_set(v, id, text, bytes, HL_TOKEN_NORMAL, err))
        return -1;
    v->tokens[id].in_text = in_text && bytes;
    if (byte_level && in_text && bytes == 1)
        v->bytes[text[0]] = id;
    return 0;
}

int hl_bpe_added(struct hl_vocabulary *v, uint32_t id, struct hl_view content, unsigned flags, bool is_new,
                 struct hl_error *err)
{
    struct hl_vocabulary_token *token = &v->tokens[id];
    bool special = flags & HL_ADDED_SPECIAL;
    token->kind = special ? HL_TOKEN_CONTROL : token->kind == HL_TOKEN_BYTE ? HL_TOKEN_BYTE : HL_TOKEN_USER;
    token->in_text = token->in_text && !special && !is_new;
    return hl_vocabulary_add_normal(v, id, content, flags, err);
}

int hl_bpe_check_bytes(const struct hl_vocabulary *v, struct hl_error *err)
{
    for (unsigned byte = 0; byte < 256; byte++)
        if (v->bytes[byte] == HL_NONE)
            return hl_fail(err, "%s: the vocabulary has no token for the byte 0x%02X", v->file, byte);
    return 0;
}

int hl_bpe_reserve_merges(struct hl_vocabulary *v, uint64_t count, struct hl_error *err)
{
    v->merges = count < UINT32_MAX ? calloc(count + 1, sizeof *v->merges) : NULL;
    return v->merges ? 0 : hl_fail(err, "%s: the merges do not fit in memory", v->file);
}

int hl_bpe_merge(struct hl_vocabulary *v, const struct hl_spellings *s, struct hl_view left, struct hl_view right,
                 uint32_t rank, struct hl_error *err)
{
    HL_FREE uint8_t *both = malloc(left.size + right.size + 1);
    if (!both)
        return hl_no_memory(err);
    memcpy(both, left.data, left.size);
    memcpy(both + left.size, right.data, right.size);
    struct hl_pair_slot merge = {hl_spellings_find(s, left), hl_spellings_find(s, right), rank,
                                 hl_spellings_find(s, (struct hl_view){both, left.size + right.size})};
    if (merge.left == HL_NONE || merge.right == HL_NONE || merge.merged == HL_NONE)
        return hl_fail(err, "%s: merges: number %u has parts that are not in the vocabulary", v->file, rank);
    if (v->tokens[merge.merged].kind != HL_TOKEN_CONTROL) /* text must not merge into a special token */
        v->merges[v->n_merges++] = merge;
    return 0;
}

int hl_bpe_merge_line(struct hl_vocabulary *v, const struct hl_spellings *s, struct hl_view line, uint32_t rank,
                      struct hl_error *err)
{
    const uint8_t *space = memchr(line.data, ' ', line.size);
    size_t n = space ? (size_t)(space - line.data) : 0, rest = space ? line.size - n - 1 : 0;
    if (!space || memchr(space + 1, ' ', rest))
        return hl_fail(err, "%s: merges: number %u is not a pair", v->file, rank);
    return hl_bpe_merge(v, s, (struct hl_view){line.data, n}, (struct hl_view){space + 1, rest}, rank, err);
}
