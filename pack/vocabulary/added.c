/* Added tokens: tokens that are cut out of a text before anything else. They are the added tokens of the Hugging Face
 * files, and the user-defined and control pieces of the other formats.
 *
 * An entry of tokenizer.json or tokenizer_config.json says: {"content": "<x>", "special": true, "normalized": false,
 * "lstrip": false, "rstrip": false, "single_word": false}. A normalized token is searched in the normalized text, and
 * its own content is normalized too.
 */
#include "base/cleanup.h"
#include "base/json.h"
#include "pack/vocabulary/vocabulary_inside.h"
#include "runtime/tokenizer/tokenizer_inside.h"

static bool has_text(const struct hl_vocabulary *v, size_t offset, size_t bytes, const char *text, size_t n)
{
    return bytes == n && !memcmp(v->text.data + offset, text, n);
}

static struct hl_added *find_added(const struct hl_vocabulary *v, const void *text, size_t bytes)
{
    for (uint32_t i = 0; i < v->n_added; i++)
        if (has_text(v, v->added[i].offset, v->added[i].bytes, text, bytes))
            return &v->added[i];
    return NULL;
}

int hl_vocabulary_add(struct hl_vocabulary *v, uint32_t id, const void *text, size_t bytes, unsigned flags,
                      struct hl_error *err)
{
    if (!bytes || bytes > HL_ADDED_MAX_BYTES)
        return hl_fail(err, "%s: the added token %u has %zu bytes; it must have 1 to %u", v->file, id, bytes,
                       HL_ADDED_MAX_BYTES);
    struct hl_added *entry = find_added(v, text, bytes);
    if (entry) {
        entry->id = id;
        entry->flags = (uint16_t)flags;
        return 0;
    }
    if (v->n_added == v->room_added) {
        uint32_t room = 2 * v->room_added + 256;
        struct hl_added *larger = realloc(v->added, room * sizeof *larger);
        if (!larger)
            return hl_fail(err, "%s: the added tokens do not fit in memory", v->file);
        v->added = larger;
        v->room_added = room;
    }
    size_t offset = 0;
    if (hl_vocabulary_put_text(v, text, bytes, &offset, err))
        return -1;
    v->added[v->n_added++] = (struct hl_added){(uint32_t)offset, id, (uint16_t)bytes, (uint16_t)flags};
    return 0;
}

int hl_vocabulary_add_normal(struct hl_vocabulary *v, uint32_t id, struct hl_view content, unsigned flags,
                             struct hl_error *err)
{
    const struct hl_tokenizer shape = {.flags = v->flags};
    HL_FREE uint8_t *normal = NULL;
    size_t n = content.size;
    if (!(flags & HL_ADDED_RAW) && hl_tokenizer_normalize(&shape, content.data, n, true, &normal, &n, err))
        return -1;
    return hl_vocabulary_add(v, id, normal ? normal : content.data, n, flags, err);
}

/* Returns true if the normalizer applies to added tokens. Metaspace is not a normalizer, although the section makes it
 * one, and users of SentencePiece do not normalize added tokens. */
static bool normalizes(const struct hl_vocabulary *v)
{
    return v->by_pairs && !(v->flags & HL_TOKENIZER_PREFIX_SINGLE);
}

int hl_added_flags(const struct hl_vocabulary *v, const cJSON *item, unsigned *flags, struct hl_error *err)
{
    if (hl_json_true(item, "single_word"))
        return hl_fail(err, "%s: single_word is not supported", hl_json_text(item, "content"));
    *flags = (hl_json_true(item, "normalized") && normalizes(v) ? 0u : HL_ADDED_RAW) |
             (hl_json_true(item, "special") ? HL_ADDED_SPECIAL : 0u) |
             (hl_json_true(item, "lstrip") ? HL_ADDED_LSTRIP : 0u) |
             (hl_json_true(item, "rstrip") ? HL_ADDED_RSTRIP : 0u);
    return 0;
}

uint32_t hl_vocabulary_find(const struct hl_vocabulary *v, const char *text)
{
    size_t n = strlen(text);
    const struct hl_added *entry = find_added(v, text, n);
    for (uint32_t i = 0; i < v->n_added && !entry; i++) { /* normalized tokens are searched in another form */
        const struct hl_vocabulary_token *token = &v->tokens[v->added[i].id];
        if (has_text(v, token->offset, token->bytes, text, n))
            entry = &v->added[i];
    }
    return entry ? entry->id : HL_NONE;
}

int hl_vocabulary_make_special(struct hl_vocabulary *v, uint32_t id, struct hl_view text, struct hl_error *err)
{
    bool found = false;
    v->tokens[id].in_text = false;
    if (v->tokens[id].kind != HL_TOKEN_UNKNOWN)
        v->tokens[id].kind = HL_TOKEN_CONTROL;
    for (uint32_t i = 0; i < v->n_added; i++)
        if (v->added[i].id == id) {
            v->added[i].flags |= HL_ADDED_SPECIAL;
            found = true;
        }
    return found ? 0 : hl_vocabulary_add(v, id, text.data, text.size, HL_ADDED_RAW | HL_ADDED_SPECIAL, err);
}

/* Replaces the entry of a token by what this file says. Pieces of SentencePiece are still searched in the normalized
 * text. */
static int replace_entry(struct hl_vocabulary *v, uint32_t id, struct hl_view content, unsigned flags,
                         struct hl_error *err)
{
    if (v->tokens[id].kind == HL_TOKEN_CONTROL)
        flags |= HL_ADDED_SPECIAL;
    for (uint32_t i = v->n_added; i-- > 0;) {
        if (v->added[i].id != id)
            continue;
        if (!v->by_pairs && !(v->added[i].flags & HL_ADDED_RAW))
            flags &= ~(unsigned)HL_ADDED_RAW;
        if (v->by_pairs)
            v->added[i] = v->added[--v->n_added];
        else
            v->added[i].flags = (uint16_t)flags;
    }
    return v->by_pairs ? hl_vocabulary_add_normal(v, id, content, flags, err) : 0;
}

int hl_vocabulary_overlay(struct hl_vocabulary *v, uint32_t id, const char *text, unsigned flags, struct hl_error *err)
{
    struct hl_view content = {(const uint8_t *)text, strlen(text)};
    bool special = flags & HL_ADDED_SPECIAL;
    enum hl_token_kind kind = special ? HL_TOKEN_CONTROL : HL_TOKEN_USER;
    if (hl_vocabulary_lacks_row(v, id))
        return 0;
    if (id >= v->n_tokens || v->tokens[id].kind == HL_TOKEN_UNUSED) {
        if (hl_vocabulary_set(v, id, text, content.size, kind, err))
            return -1;
        return hl_vocabulary_add_normal(v, id, content, flags, err);
    }
    struct hl_vocabulary_token *token = &v->tokens[id];
    HL_FREE char *plain = malloc(content.size + 1);
    if (!plain)
        return hl_no_memory(err);
    size_t bytes = content.size;
    if (v->flags & HL_TOKENIZER_ESCAPE_SPACE)
        bytes = hl_vocabulary_unmark_spaces(text, bytes, plain);
    else
        memcpy(plain, text, bytes);
    const struct hl_added *entry = find_added(v, text, content.size);
    if (token->kind == HL_TOKEN_UNKNOWN || token->kind == HL_TOKEN_BYTE)
        return hl_vocabulary_add_normal(v, id, content, flags, err);
    if (!(entry && entry->id == id) && !has_text(v, token->offset, token->bytes, plain, bytes))
        return hl_fail(err, "token %u is \"%s\" here, but another text in %s", id, text, v->file);
    if (token->kind == HL_TOKEN_CONTROL || (token->kind == HL_TOKEN_USER && !special))
        return replace_entry(v, id, content, flags, err);
    token->kind = kind;
    token->in_text = token->in_text && !special;
    return hl_vocabulary_add_normal(v, id, content, flags, err);
}
