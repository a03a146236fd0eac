/* The pieces of SentencePiece, from tokenizer.model or a .gguf. Merging sees texts with spaces instead of U+2581, so it
 * never reaches a piece that contains a real space. The exception is a user-defined piece: its spaces mean U+2581,
 * which a converter has replaced. */
#include "base/cleanup.h"
#include "pack/vocabulary/vocabulary_inside.h"

enum piece_type { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

static int add_byte(struct hl_vocabulary *v, uint32_t id, struct hl_view spelling, struct hl_error *err)
{
    int byte = hl_vocabulary_byte_piece(spelling);
    if (byte < 0 || v->bytes[byte] != HL_NONE)
        return hl_fail(err, "%s: piece %u must be a byte like <0x0A> that no other piece has", v->file, id);
    v->bytes[byte] = id;
    uint8_t text = (uint8_t)byte;
    return hl_vocabulary_set(v, id, &text, 1, HL_TOKEN_BYTE, err);
}

static int add_text(struct hl_vocabulary *v, uint32_t id, const struct hl_piece *piece, struct hl_error *err)
{
    bool user = piece->type == USER_DEFINED, used = piece->type != UNUSED;
    enum hl_token_kind kind = user ? HL_TOKEN_USER : used ? HL_TOKEN_NORMAL : HL_TOKEN_UNUSED;
    HL_FREE uint8_t *text = malloc(piece->text.size + 1);
    if (!text)
        return hl_no_memory(err);
    size_t bytes = hl_vocabulary_unmark_spaces(piece->text.data, piece->text.size, text);
    if (hl_vocabulary_set(v, id, text, bytes, kind, err))
        return -1;
    v->tokens[id].in_text = used && piece->text.data && !memchr(piece->text.data, ' ', piece->text.size);
    v->tokens[id].score = piece->score;
    return user ? hl_vocabulary_add(v, id, text, bytes, v->user_flags, err) : 0;
}

static int add_unknown(struct hl_vocabulary *v, uint32_t id, struct hl_view surface, struct hl_error *err)
{
    static const char standard[] = " \xE2\x81\x87 ";
    if (!surface.data)
        surface = (struct hl_view){(const uint8_t *)standard, sizeof standard - 1};
    if (v->unk != HL_NONE)
        return hl_fail(err, "%s: pieces %u and %u are both the unknown piece", v->file, v->unk, id);
    v->unk = id;
    return hl_vocabulary_set(v, id, surface.data, surface.size, HL_TOKEN_UNKNOWN, err);
}

int hl_vocabulary_add_piece(struct hl_vocabulary *v, uint32_t id, const struct hl_piece *piece, struct hl_error *err)
{
    switch (piece->type) {
    case NORMAL:
    case USER_DEFINED:
        return add_text(v, id, piece, err);
    case UNKNOWN:
        return add_unknown(v, id, v->unk_surface, err);
    case CONTROL:
        if (hl_vocabulary_set(v, id, piece->text.data, piece->text.size, HL_TOKEN_CONTROL, err))
            return -1;
        return hl_vocabulary_add(v, id, piece->text.data, piece->text.size, HL_ADDED_RAW | HL_ADDED_SPECIAL, err);
    case UNUSED:
        return add_text(v, id, piece, err);
    case BYTE:
        return add_byte(v, id, piece->text, err);
    default:
        return hl_fail(err, "%s: piece %u has the type %llu, which does not exist", v->file, id,
                       (unsigned long long)piece->type);
    }
}
