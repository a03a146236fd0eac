/* Makes a tokenizer without a training text. The special tokens are the family's own, at their own ids. The other ids
 * are filled with syllables, short ones and those of frequent letters first:
 *
 *   ee, " e", te, et, tt, " t", ...   all of 2 characters; a leading space counts as one
 *   eee, " ee", tee, ...              all of 3
 *   eeee, ...                         of 4, as many as fit
 *
 * All parts of a syllable come before it, so its last two parts merge in whatever order its characters were merged.
 * English text needs a token for every two or three characters; trained vocabularies have four or five to a token.
 */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "pack/synth/synth.h"
#include <string.h>

#define NONE UINT32_MAX
#define SPACE_MARK "\xE2\x96\x81" /* U+2581, SentencePiece's space */
#define SPACE_BYTE "\xC4\xA0"     /* U+0120, the space of byte-level vocabularies */

/* ---- special tokens ---- */

/* `count` tokens from `id` on; if there are several, %u in the text counts up from `number`. */
struct run {
    const char *text;
    uint32_t id, count, number;
    bool plain; /* matched in a text before it is split, but not a control token */
};

struct words {
    uint32_t tokens;
    uint32_t bytes; /* id of the token of byte 0 */
    uint32_t bos, pad, unk;
    uint32_t eos[3], n_eos; /* the tokens that end a generation; the first is the tokenizer's */
    bool pieces;            /* tokenizer.model; else tokenizer.json */
    bool begins;            /* a text begins with bos */
    bool prefix;            /* a space is prepended to a text */
    bool whole_words;       /* ignore_merges */
    const char *pattern;    /* splits a text into words */
    const char *class;      /* the tokenizer's class in transformers */
    const struct run *runs;
    size_t n_runs;
};

/* clang-format off */
static const struct run llama2_runs[] = {{"<unk>", 0, 1, 0, false}, {"<s>", 1, 1, 0, false}, {"</s>", 2, 1, 0, false}};

static const struct run mistral_runs[] = {
    {"<unk>", 0, 1, 0, false}, {"<s>", 1, 1, 0, false}, {"</s>", 2, 1, 0, false},
    {"[INST]", 3, 1, 0, false}, {"[/INST]", 4, 1, 0, false},
    {"[TOOL_CALLS]", 5, 1, 0, false}, {"[AVAILABLE_TOOLS]", 6, 1, 0, false}, {"[/AVAILABLE_TOOLS]", 7, 1, 0, false},
    {"[TOOL_RESULTS]", 8, 1, 0, false}, {"[/TOOL_RESULTS]", 9, 1, 0, false}, {"[control_%u]", 10, 761, 8, false},
};

static const struct run gemma_runs[] = {
    {"<pad>", 0, 1, 0, false}, {"<eos>", 1, 1, 0, false}, {"<bos>", 2, 1, 0, false}, {"<unk>", 3, 1, 0, false},
    {"<mask>", 4, 1, 0, false}, {"<2mass>", 5, 1, 0, false}, {"[@BOS@]", 6, 1, 0, false},
    {"<unused%u>", 7, 99, 0, false}, {"<start_of_turn>", 106, 1, 0, false}, {"<end_of_turn>", 107, 1, 0, false},
};

static const struct run gemma3_runs[] = {
    {"<pad>", 0, 1, 0, false}, {"<eos>", 1, 1, 0, false}, {"<bos>", 2, 1, 0, false}, {"<unk>", 3, 1, 0, false},
    {"<mask>", 4, 1, 0, false}, {"[multimodal]", 5, 1, 0, false},
    {"<unused%u>", 6, 99, 0, false}, {"<start_of_turn>", 105, 1, 0, false}, {"<end_of_turn>", 106, 1, 0, false},
    {"<start_of_image>", 255999, 1, 0, false}, {"<end_of_image>", 256000, 1, 0, false},
    {"<unused%u>", 256001, 6143, 99, false}, {"<image_soft_token>", 262144, 1, 0, false},
};

static const struct run llama3_runs[] = {
    {"<|begin_of_text|>", 128000, 1, 0, false}, {"<|end_of_text|>", 128001, 1, 0, false},
    {"<|reserved_special_token_%u|>", 128002, 4, 0, false},
    {"<|start_header_id|>", 128006, 1, 0, false}, {"<|end_header_id|>", 128007, 1, 0, false},
    {"<|reserved_special_token_%u|>", 128008, 1, 4, false}, {"<|eot_id|>", 128009, 1, 0, false},
    {"<|reserved_special_token_%u|>", 128010, 246, 5, false},
};

static const struct run llama31_runs[] = {
    {"<|begin_of_text|>", 128000, 1, 0, false}, {"<|end_of_text|>", 128001, 1, 0, false},
    {"<|reserved_special_token_%u|>", 128002, 2, 0, false}, {"<|finetune_right_pad_id|>", 128004, 1, 0, false},
    {"<|reserved_special_token_%u|>", 128005, 1, 2, false},
    {"<|start_header_id|>", 128006, 1, 0, false}, {"<|end_header_id|>", 128007, 1, 0, false},
    {"<|eom_id|>", 128008, 1, 0, false}, {"<|eot_id|>", 128009, 1, 0, false}, {"<|python_tag|>", 128010, 1, 0, false},
    {"<|reserved_special_token_%u|>", 128011, 245, 3, false},
};

/* Qwen 2 has the first three, Qwen 2.5 those up to <|file_sep|>. */
static const struct run qwen_runs[] = {
    {"<|endoftext|>", 151643, 1, 0, false}, {"<|im_start|>", 151644, 1, 0, false}, {"<|im_end|>", 151645, 1, 0, false},
    {"<|object_ref_start|>", 151646, 1, 0, false}, {"<|object_ref_end|>", 151647, 1, 0, false},
    {"<|box_start|>", 151648, 1, 0, false}, {"<|box_end|>", 151649, 1, 0, false},
    {"<|quad_start|>", 151650, 1, 0, false}, {"<|quad_end|>", 151651, 1, 0, false},
    {"<|vision_start|>", 151652, 1, 0, false}, {"<|vision_end|>", 151653, 1, 0, false},
    {"<|vision_pad|>", 151654, 1, 0, false}, {"<|image_pad|>", 151655, 1, 0, false},
    {"<|video_pad|>", 151656, 1, 0, false}, {"<tool_call>", 151657, 1, 0, true}, {"</tool_call>", 151658, 1, 0, true},
    {"<|fim_prefix|>", 151659, 1, 0, true}, {"<|fim_middle|>", 151660, 1, 0, true},
    {"<|fim_suffix|>", 151661, 1, 0, true}, {"<|fim_pad|>", 151662, 1, 0, true}, {"<|repo_name|>", 151663, 1, 0, true},
    {"<|file_sep|>", 151664, 1, 0, true}, {"<tool_response>", 151665, 1, 0, true},
    {"</tool_response>", 151666, 1, 0, true}, {"<think>", 151667, 1, 0, true}, {"</think>", 151668, 1, 0, true},
};

/* The families' own patterns, which differ in the number of digits in a token. */
#define WORDS_PATTERN(digits)                                                                                          \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"       \
    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

#define RUNS(table) .runs = (table), .n_runs = sizeof(table) / sizeof (table)[0]
#define SENTENCEPIECE .pieces = true, .begins = true
#define LLAMA3 .tokens = 128256, .bos = 128000, .pad = NONE, .unk = NONE, .begins = true, .whole_words = true,         \
               .pattern = WORDS_PATTERN("{1,3}"), .class = "PreTrainedTokenizerFast"
#define QWEN .bos = NONE, .pad = 151643, .unk = NONE, .eos = {151645, 151643}, .n_eos = 2,                             \
             .pattern = WORDS_PATTERN(""), .class = "Qwen2Tokenizer", RUNS(qwen_runs)

static const struct words vocabularies[HL_SYNTH_VOCABULARIES] = {
    [HL_SYNTH_SPM_LLAMA2] = {SENTENCEPIECE, .tokens = 32000, .bytes = 3, .bos = 1, .pad = NONE, .unk = 0, .eos = {2},
                             .n_eos = 1, .prefix = true, .class = "LlamaTokenizer", RUNS(llama2_runs)},
    [HL_SYNTH_SPM_MISTRAL] = {SENTENCEPIECE, .tokens = 32768, .bytes = 771, .bos = 1, .pad = NONE, .unk = 0, .eos = {2},
                              .n_eos = 1, .prefix = true, .class = "LlamaTokenizer", RUNS(mistral_runs)},
    [HL_SYNTH_SPM_GEMMA] = {SENTENCEPIECE, .tokens = 256000, .bytes = 217, .bos = 2, .pad = 0, .unk = 3,
                            .eos = {1, 107}, .n_eos = 2, .class = "GemmaTokenizer", RUNS(gemma_runs)},
    [HL_SYNTH_SPM_GEMMA3] = {SENTENCEPIECE, .tokens = 262145, .bytes = 238, .bos = 2, .pad = 0, .unk = 3,
                             .eos = {1, 106}, .n_eos = 2, .class = "GemmaTokenizer", RUNS(gemma3_runs)},
    [HL_SYNTH_BPE_LLAMA3] = {LLAMA3, .eos = {128009, 128001}, .n_eos = 2, RUNS(llama3_runs)},
    [HL_SYNTH_BPE_LLAMA31] = {LLAMA3, .eos = {128009, 128001, 128008}, .n_eos = 3, RUNS(llama31_runs)},
    [HL_SYNTH_BPE_QWEN2] = {QWEN, .tokens = 151646},
    [HL_SYNTH_BPE_QWEN25] = {QWEN, .tokens = 151665},
    [HL_SYNTH_BPE_QWEN3] = {QWEN, .tokens = 151669},
};
/* clang-format on */

#define TEXT_BYTES 64

static const struct run *find_run(const struct words *w, uint32_t id)
{
    for (size_t i = 0; i < w->n_runs; i++)
        if (id >= w->runs[i].id && id - w->runs[i].id < w->runs[i].count)
            return &w->runs[i];
    return NULL;
}

/* Returns the text of the special token with this id. */
static const char *special_text(const struct words *w, uint32_t id, char text[TEXT_BYTES])
{
    const struct run *run = find_run(w, id);
    const char *hole = strstr(run->text, "%u");
    if (hole)
        snprintf(text, TEXT_BYTES, "%.*s%u%s", (int)(hole - run->text), run->text, id - run->id + run->number,
                 hole + 2);
    else
        snprintf(text, TEXT_BYTES, "%s", run->text);
    return text;
}

bool hl_synth_put_token_ids(cJSON *config, const struct hl_synth_model *model)
{
    const struct words *w = &vocabularies[model->words];
    uint32_t bos = w->begins ? w->bos : w->pad; /* Qwen's models name one, but its tokenizer adds none */
    bool whole = cJSON_AddNumberToObject(config, "bos_token_id", bos);
    cJSON *eos = w->n_eos > 1 ? cJSON_AddArrayToObject(config, "eos_token_id")
                              : cJSON_AddNumberToObject(config, "eos_token_id", w->eos[0]);
    for (uint32_t i = 0; i < w->n_eos && w->n_eos > 1; i++)
        whole = cJSON_AddItemToArray(eos, cJSON_CreateNumber(w->eos[i])) && whole;
    if (w->pad != NONE)
        whole = cJSON_AddNumberToObject(config, "pad_token_id", w->pad) && whole;
    return whole && eos;
}

static bool put_token(cJSON *config, const struct words *w, const char *key, uint32_t id)
{
    char text[TEXT_BYTES];
    return id == NONE ? cJSON_AddNullToObject(config, key) != NULL
                      : cJSON_AddStringToObject(config, key, special_text(w, id, text)) != NULL;
}

cJSON *hl_synth_tokenizer_config(const struct hl_synth_model *model)
{
    const struct words *w = &vocabularies[model->words];
    cJSON *config = cJSON_CreateObject();
    bool whole = cJSON_AddStringToObject(config, "tokenizer_class", w->class) &&
                 cJSON_AddNumberToObject(config, "model_max_length", model->context) &&
                 put_token(config, w, "bos_token", w->bos) && put_token(config, w, "eos_token", w->eos[0]) &&
                 put_token(config, w, "pad_token", w->pad) && put_token(config, w, "unk_token", w->unk);
    if (w->pieces)
        whole = cJSON_AddBoolToObject(config, "add_bos_token", w->begins) &&
                cJSON_AddBoolToObject(config, "add_eos_token", false) && whole;
    if (w->prefix)
        whole = cJSON_AddBoolToObject(config, "legacy", false) && whole; /* as in Llama 2 and Mistral */
    if (whole)
        return config;
    cJSON_Delete(config);
    return NULL;
}

/* ---- syllables ---- */

#define LETTERS 26
#define SYLLABLE_MOST 8 /* characters */

/* Iterates over all syllables of `length` characters whose rarest letter has number `rarest`, then over the next. */
struct syllables {
    unsigned length, rarest;
    unsigned space; /* 1: the first character is a space */
    unsigned letter[SYLLABLE_MOST];
};

static const struct syllables first_syllable = {.length = 2};

static void step(struct syllables *s)
{
    for (unsigned i = s->space; i < s->length; i++) {
        if (s->letter[i]++ < s->rarest)
            return;
        s->letter[i] = 0;
    }
    s->space = !s->space;
    s->rarest += !s->space;
    if (s->rarest == LETTERS) {
        s->rarest = 0;
        s->length++;
    }
}

/* Writes the next syllable, in ASCII, and returns its length. */
static unsigned next_syllable(struct syllables *s, char text[SYLLABLE_MOST + 1])
{
    static const char letters[] = "etaoinshrdlcumwfgypbvkjxqz"; /* frequent ones first */
    unsigned length = s->length;
    bool has_rarest = false;
    while (!has_rarest) {
        length = s->length;
        for (unsigned i = 0; i < length; i++) {
            text[i] = i < s->space ? ' ' : letters[s->letter[i]];
            has_rarest = has_rarest || (i >= s->space && s->letter[i] == s->rarest);
        }
        text[length] = 0;
        step(s);
    }
    return length;
}

/* ---- tokenizer.model: SentencePiece's ModelProto [sentencepiece_model.proto in its repository] ---- */

enum { PIECE_NORMAL = 1, PIECE_UNKNOWN, PIECE_CONTROL, PIECE_BYTE = 6 };

static void put_varint(FILE *out, uint64_t value)
{
    for (; value > 0x7F; value >>= 7)
        putc((int)(value & 0x7F) | 0x80, out);
    putc((int)value, out);
}

static void put_number(FILE *out, unsigned field, uint64_t value)
{
    put_varint(out, field << 3);
    put_varint(out, value);
}

static void put_bytes(FILE *out, unsigned field, const void *bytes, size_t n)
{
    put_varint(out, field << 3 | 2);
    put_varint(out, n);
    fwrite(bytes, 1, n, out);
}

static void put_piece(FILE *out, const char *text, float score, unsigned type)
{
    uint32_t bits;
    size_t n = strlen(text); /* below 128, so every varint here is one byte */
    memcpy(&bits, &score, sizeof bits);
    put_varint(out, 1 << 3 | 2);
    put_varint(out, 2 + n + 5 + 2);
    put_bytes(out, 1, text, n);
    put_varint(out, 2 << 3 | 5);
    for (unsigned i = 0; i < 4; i++)
        putc((int)(bits >> (8 * i) & 0xFF), out);
    put_number(out, 3, type);
}

/* The characters that have a piece of their own besides the syllables: [first, last] in Unicode, all below U+10000. */
static const struct {
    uint32_t first, last;
} alphabets[] = {{0x2581, 0x2581}, {0x21, 0x7E}, {0xA1, 0xAC}, {0xAE, 0x17F}, {0x391, 0x3C9}, {0x410, 0x44F}};

struct letters {
    unsigned alphabet;
    uint32_t character; /* within the alphabet */
};

static void put_utf8(uint32_t character, char text[4])
{
    unsigned n = 0;
    if (character >= 0x800) {
        text[n++] = (char)(0xE0 | character >> 12);
        text[n++] = (char)(0x80 | (character >> 6 & 0x3F));
    } else if (character >= 0x80) {
        text[n++] = (char)(0xC0 | character >> 6);
    }
    text[n++] = (char)(character < 0x80 ? character : 0x80 | (character & 0x3F));
    text[n] = 0;
}

/* Writes the next letter; false after the last one. */
static bool next_letter(struct letters *l, char text[4])
{
    if (l->alphabet == HL_COUNT(alphabets))
        return false;
    uint32_t character = alphabets[l->alphabet].first + l->character++;
    put_utf8(character, text);
    if (character == alphabets[l->alphabet].last)
        *l = (struct letters){l->alphabet + 1, 0};
    return true;
}

/* Copies `text` and replaces a leading space by `mark`. */
static const char *marked(const char *text, const char *mark, char out[TEXT_BYTES])
{
    bool space = text[0] == ' ';
    snprintf(out, TEXT_BYTES, "%s%s", space ? mark : "", text + space);
    return out;
}

static void put_filler(FILE *out, struct letters *letters, struct syllables *syllables, uint32_t rank)
{
    char text[SYLLABLE_MOST + 1], piece[TEXT_BYTES];
    if (!next_letter(letters, piece)) {
        next_syllable(syllables, text);
        marked(text, SPACE_MARK, piece);
    }
    put_piece(out, piece, -(float)rank, PIECE_NORMAL);
}

/* Writes a message, in memory first: its length comes before it. */
static void put_message(FILE *out, unsigned field, void (*fill)(FILE *, const struct words *, uint32_t),
                        const struct words *w, uint32_t tokens)
{
    char bytes[256];
    FILE *message = fmemopen(bytes, sizeof bytes, "w");
    if (!message)
        return;
    fill(message, w, tokens);
    long n = ftell(message);
    fclose(message);
    put_bytes(out, field, bytes, (size_t)n);
}

static void fill_trainer(FILE *out, const struct words *w, uint32_t tokens)
{
    char text[TEXT_BYTES];
    put_number(out, 3, 2); /* model_type: BPE */
    put_number(out, 4, tokens);
    put_number(out, 35, 1); /* byte_fallback */
    put_number(out, 40, w->unk);
    put_number(out, 41, w->bos);
    put_number(out, 42, w->eos[0]);
    special_text(w, w->unk, text);
    put_bytes(out, 45, text, strlen(text));
    special_text(w, w->bos, text);
    put_bytes(out, 46, text, strlen(text));
    special_text(w, w->eos[0], text);
    put_bytes(out, 47, text, strlen(text));
}

static void fill_normalizer(FILE *out, const struct words *w, uint32_t tokens)
{
    (void)tokens;
    put_bytes(out, 1, "identity", 8);
    put_number(out, 3, w->prefix);
    put_number(out, 4, 0); /* remove_extra_whitespaces */
    put_number(out, 5, 1); /* escape_whitespaces */
}

static void put_model(FILE *out, const struct words *w, uint32_t tokens)
{
    struct letters letters = {0, 0};
    struct syllables syllables = first_syllable;
    char text[TEXT_BYTES];
    for (uint32_t id = 0; id < tokens; id++) {
        if (id >= w->bytes && id - w->bytes < 256) {
            snprintf(text, sizeof text, "<0x%02X>", id - w->bytes);
            put_piece(out, text, 0, PIECE_BYTE);
        } else if (find_run(w, id)) {
            put_piece(out, special_text(w, id, text), 0, id == w->unk ? PIECE_UNKNOWN : PIECE_CONTROL);
        } else {
            put_filler(out, &letters, &syllables, id);
        }
    }
    put_message(out, 2, fill_trainer, w, tokens);
    put_message(out, 3, fill_normalizer, w, tokens);
}

/* ---- tokenizer.json: the tokenizers library's byte-level BPE ---- */

static void put_quoted(FILE *out, const char *text)
{
    putc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putc('\\', out);
        putc(*text, out);
    }
    putc('"', out);
}

/* Writes the first 256 tokens of these vocabularies: the printable Latin-1 characters stand for themselves, then those
 * from U+0100 on for the other bytes. */
static void put_byte_tokens(FILE *out)
{
    char text[4];
    uint32_t id = 0;
    for (uint32_t c = 0x21; c < 0x144; c++) {
        if ((c > 0x7E && c < 0xA1) || c == 0xAD)
            continue;
        put_utf8(c, text);
        fputs(id ? "," : "", out);
        put_quoted(out, text);
        fprintf(out, ":%u", id++);
    }
}

static void put_vocabulary(FILE *out, uint32_t syllables)
{
    struct syllables s = first_syllable;
    char text[SYLLABLE_MOST + 1], token[TEXT_BYTES];
    fputs("\"vocab\":{", out);
    put_byte_tokens(out);
    for (uint32_t id = 256; id < 256 + syllables; id++) {
        next_syllable(&s, text);
        fprintf(out, ",\"%s\":%u", marked(text, SPACE_BYTE, token), id);
    }
    fputs("}", out);
}

/* Writes every way to split a syllable in two. */
static void put_merges(FILE *out, uint32_t syllables)
{
    struct syllables s = first_syllable;
    char text[SYLLABLE_MOST + 1], left[SYLLABLE_MOST + 1], token[TEXT_BYTES];
    fputs("\"merges\":[", out);
    for (uint32_t i = 0; i < syllables; i++) {
        unsigned length = next_syllable(&s, text);
        for (unsigned cut = 1; cut < length; cut++) {
            snprintf(left, sizeof left, "%.*s", (int)cut, text);
            fprintf(out, "%s\"%s %s\"", i || cut > 1 ? "," : "", marked(left, SPACE_BYTE, token), text + cut);
        }
    }
    fputs("]", out);
}

static void put_added_tokens(FILE *out, const struct words *w)
{
    char text[TEXT_BYTES];
    fputs("\"added_tokens\":[", out);
    for (uint32_t id = w->runs[0].id; id < w->tokens; id++) {
        fprintf(out, "%s{\"id\":%u,\"content\":", id == w->runs[0].id ? "" : ",", id);
        put_quoted(out, special_text(w, id, text));
        fprintf(out, ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":%s}",
                find_run(w, id)->plain ? "false" : "true");
    }
    fputs("]", out);
}

static void put_processor(FILE *out, const struct words *w)
{
    static const char bytes[] = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false,"
                                "\"use_regex\":false}";
    char bos[TEXT_BYTES];
    if (!w->begins) {
        fprintf(out, "\"post_processor\":%s", bytes);
        return;
    }
    special_text(w, w->bos, bos);
    fprintf(out,
            "\"post_processor\":{\"type\":\"Sequence\",\"processors\":[%s,{\"type\":\"TemplateProcessing\","
            "\"single\":[{\"SpecialToken\":{\"id\":\"%s\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],"
            "\"pair\":[{\"SpecialToken\":{\"id\":\"%s\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
            "{\"SpecialToken\":{\"id\":\"%s\",\"type_id\":1}},{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],"
            "\"special_tokens\":{\"%s\":{\"id\":\"%s\",\"ids\":[%u],\"tokens\":[\"%s\"]}}}]}",
            bytes, bos, bos, bos, bos, bos, w->bos, bos);
}

static void put_json(FILE *out, const struct words *w)
{
    uint32_t syllables = w->runs[0].id - 256;
    fputs("{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n", out);
    put_added_tokens(out, w);
    fprintf(out, ",\n\"normalizer\":%s,\n", w->begins ? "null" : "{\"type\":\"NFC\"}");
    fputs("\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":",
          out);
    put_quoted(out, w->pattern);
    fputs("},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
          "\"trim_offsets\":true,\"use_regex\":false}]},\n",
          out);
    put_processor(out, w);
    fputs(
        ",\n\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},\n"
        "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
        "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,",
        out);
    fprintf(out, "\"ignore_merges\":%s,\n", w->whole_words ? "true" : "false");
    put_vocabulary(out, syllables);
    fputs(",\n", out);
    put_merges(out, syllables);
    fputs("}}\n", out);
}

int hl_synth_tokenizer(const struct hl_synth_model *model, const char **name, struct hl_bytes *out,
                       struct hl_error *err)
{
    const struct words *w = &vocabularies[model->words];
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    if (!file)
        return hl_no_memory(err);
    *name = w->pieces ? "tokenizer.model" : "tokenizer.json";
    if (w->pieces)
        put_model(file, w,
                  hl_min_u32(w->tokens, model->vocabulary)); /* the last token of Gemma 3 is in larger models only */
    else
        put_json(file, w);
    bool failed = ferror(file);
    failed = fclose(file) != 0 || failed;
    if (failed) {
        free(text);
        return hl_fail(err, "%s: out of memory", *name);
    }
    *out = (struct hl_bytes){.data = (uint8_t *)text, .size = size};
    return 0;
}
