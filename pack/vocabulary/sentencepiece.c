/* Reads tokenizer.model: a SentencePiece model, which is one protobuf message [sentencepiece,
 * src/sentencepiece_model.proto].
 *
 *   1 pieces, repeated   { 1 piece, 2 score, 3 type }
 *   2 trainer_spec       { 3 model_type, 24 treat_whitespace_as_suffix, 35 byte_fallback, 44 unk_surface, 46 bos_piece,
 *                          47 eos_piece }
 *   3 normalizer_spec    { 2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces,
 *                          5 escape_whitespaces }
 *   5 denormalizer_spec  { 2 precompiled_charsmap }
 */
#include "base/cleanup.h"
#include "pack/vocabulary/vocabulary_inside.h"
#include <math.h>

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct field {
    uint32_t number;
    enum wire wire;
    uint64_t value;       /* varint, fixed32, fixed64 */
    struct hl_view bytes; /* WIRE_BYTES */
};

struct message {
    const uint8_t *at, *end;
    bool broken;
};

static uint64_t read_varint(struct message *m)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        uint8_t byte = *m->at++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return value;
    }
    m->broken = true;
    return 0;
}

static uint64_t read_fixed(struct message *m, unsigned bytes)
{
    uint64_t value = 0;
    if ((size_t)(m->end - m->at) < bytes) {
        m->broken = true;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)*m->at++ << 8 * i;
    return value;
}

/* Reads the next field. Returns false at the end of the message, or if the message is malformed. */
static bool next_field(struct message *m, struct field *field)
{
    if (m->at == m->end || m->broken)
        return false;
    uint64_t key = read_varint(m);
    *field = (struct field){.number = (uint32_t)(key >> 3), .wire = (enum wire)(key & 7)};
    switch (field->wire) {
    case WIRE_VARINT:
        field->value = read_varint(m);
        break;
    case WIRE_FIXED64:
        field->value = read_fixed(m, 8);
        break;
    case WIRE_FIXED32:
        field->value = read_fixed(m, 4);
        break;
    case WIRE_BYTES:
        field->bytes.size = read_varint(m);
        field->bytes.data = m->at;
        if (field->bytes.size > (size_t)(m->end - m->at))
            m->broken = true;
        else
            m->at += field->bytes.size;
        break;
    default:
        m->broken = true;
    }
    return !m->broken;
}

static struct message message_of(struct hl_view bytes)
{
    return (struct message){bytes.data, bytes.data + bytes.size, false};
}

struct settings {
    uint64_t model_type; /* 1 unigram, 2 BPE, 3 word, 4 character */
    bool suffix, byte_fallback;
    struct hl_view unk_surface, bos_piece, eos_piece;
    bool charsmap, dummy_prefix, remove_spaces, escape_spaces;
};

static struct hl_view view_of(const char *text)
{
    return (struct hl_view){(const uint8_t *)text, strlen(text)};
}

static int read_trainer(struct settings *s, struct hl_view bytes, struct hl_error *err)
{
    struct message m = message_of(bytes);
    for (struct field f; next_field(&m, &f);) {
        if (f.number == 3 && f.wire == WIRE_VARINT)
            s->model_type = f.value;
        else if (f.number == 24 && f.wire == WIRE_VARINT)
            s->suffix = f.value;
        else if (f.number == 35 && f.wire == WIRE_VARINT)
            s->byte_fallback = f.value;
        else if (f.number == 44 && f.wire == WIRE_BYTES)
            s->unk_surface = f.bytes;
        else if (f.number == 46 && f.wire == WIRE_BYTES)
            s->bos_piece = f.bytes;
        else if (f.number == 47 && f.wire == WIRE_BYTES)
            s->eos_piece = f.bytes;
    }
    return m.broken ? hl_fail(err, "tokenizer.model: trainer_spec is malformed") : 0;
}

static int read_normalizer(struct settings *s, struct hl_view bytes, struct hl_error *err)
{
    struct message m = message_of(bytes);
    for (struct field f; next_field(&m, &f);) {
        if (f.number == 2 && f.wire == WIRE_BYTES)
            s->charsmap = s->charsmap || f.bytes.size;
        else if (f.number == 3 && f.wire == WIRE_VARINT)
            s->dummy_prefix = f.value;
        else if (f.number == 4 && f.wire == WIRE_VARINT)
            s->remove_spaces = f.value;
        else if (f.number == 5 && f.wire == WIRE_VARINT)
            s->escape_spaces = f.value;
    }
    return m.broken ? hl_fail(err, "tokenizer.model: normalizer_spec is malformed") : 0;
}

static int read_denormalizer(struct settings *s, struct hl_view bytes, struct hl_error *err)
{
    struct settings other = {0};
    if (read_normalizer(&other, bytes, err))
        return -1;
    s->charsmap = s->charsmap || other.charsmap;
    return 0;
}

static int check_settings(const struct settings *s, struct hl_error *err)
{
    static const char *const types[] = {"?", "unigram", "BPE", "word", "character"};
    if (s->model_type != 2)
        return hl_fail(err, "tokenizer.model: trainer_spec.model_type is %s; only BPE models are supported",
                       types[s->model_type < 5 ? s->model_type : 0]);
    if (s->suffix)
        return hl_fail(err, "tokenizer.model: trainer_spec.treat_whitespace_as_suffix is not supported");
    if (s->charsmap)
        return hl_fail(err,
                       "tokenizer.model: a precompiled_charsmap (normalization rule) is not supported; only identity");
    if (s->remove_spaces)
        return hl_fail(err, "tokenizer.model: normalizer_spec.remove_extra_whitespaces is not supported");
    if (!s->escape_spaces)
        return hl_fail(err, "tokenizer.model: normalizer_spec.escape_whitespaces = false is not supported");
    return 0;
}

static int read_settings(struct settings *s, struct hl_view model, struct hl_error *err)
{
    *s = (struct settings){.model_type = 1,
                           .unk_surface = view_of(" \xE2\x81\x87 "),
                           .bos_piece = view_of("<s>"),
                           .eos_piece = view_of("</s>"),
                           .dummy_prefix = true,
                           .remove_spaces = true,
                           .escape_spaces = true};
    struct message m = message_of(model);
    for (struct field f; next_field(&m, &f);) {
        int failed = 0;
        if (f.number == 2 && f.wire == WIRE_BYTES)
            failed = read_trainer(s, f.bytes, err);
        else if (f.number == 3 && f.wire == WIRE_BYTES)
            failed = read_normalizer(s, f.bytes, err);
        else if (f.number == 5 && f.wire == WIRE_BYTES)
            failed = read_denormalizer(s, f.bytes, err);
        if (failed)
            return -1;
    }
    if (m.broken)
        return hl_fail(err, "tokenizer.model: malformed at byte %zu; not a SentencePiece model, or truncated",
                       (size_t)(m.at - model.data));
    return check_settings(s, err);
}

static int read_piece(struct hl_piece *piece, struct hl_view bytes, uint32_t id, struct hl_error *err)
{
    struct message m = message_of(bytes);
    *piece = (struct hl_piece){.type = 1};
    for (struct field f; next_field(&m, &f);) {
        if (f.number == 1 && f.wire == WIRE_BYTES) {
            piece->text = f.bytes;
        } else if (f.number == 2 && f.wire == WIRE_FIXED32) {
            uint32_t bits = (uint32_t)f.value;
            memcpy(&piece->score, &bits, sizeof bits);
        } else if (f.number == 3 && f.wire == WIRE_VARINT) {
            piece->type = f.value;
        }
    }
    if (m.broken || !piece->text.size)
        return hl_fail(err, "tokenizer.model: piece %u is malformed or empty", id);
    if (isnan(piece->score))
        return hl_fail(err, "tokenizer.model: the score of piece %u is not a number", id);
    return 0;
}

static uint32_t find_control(const struct hl_vocabulary *v, struct hl_view text)
{
    for (uint32_t id = 0; id < v->n_tokens; id++)
        if (v->tokens[id].kind == HL_TOKEN_CONTROL && v->tokens[id].bytes == text.size &&
            !memcmp(v->text.data + v->tokens[id].offset, text.data, text.size))
            return id;
    return HL_NONE;
}

int hl_vocabulary_read_spm(struct hl_vocabulary *v, struct hl_view model, struct hl_error *err)
{
    struct settings s;
    if (read_settings(&s, model, err))
        return -1;
    v->unk_surface = s.unk_surface;
    struct message m = message_of(model);
    uint32_t id = 0;
    for (struct field f; next_field(&m, &f);) {
        struct hl_piece piece;
        if (f.number != 1 || f.wire != WIRE_BYTES)
            continue;
        if (read_piece(&piece, f.bytes, id, err) || hl_vocabulary_add_piece(v, id, &piece, err))
            return -1;
        id++;
    }
    if (v->unk == HL_NONE)
        return hl_fail(err, "tokenizer.model: no unknown piece among %u pieces", id);
    v->flags = HL_TOKENIZER_ESCAPE_SPACE | HL_TOKENIZER_FUSE_UNK | (s.dummy_prefix ? HL_TOKENIZER_DUMMY_PREFIX : 0u) |
               (s.byte_fallback ? HL_TOKENIZER_BYTE_FALLBACK : 0u);
    v->bos = find_control(v, s.bos_piece);
    v->eos = find_control(v, s.eos_piece);
    if (v->bos != HL_NONE) /* SentencePiece itself adds none, but every family that ships this file does */
        v->flags |= HL_TOKENIZER_ADD_BOS;
    return 0;
}
