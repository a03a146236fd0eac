/* The tokenizer, packer and runtime together: the cases of the reference libraries, files that must be refused, forged
 * sections. Run it from the repository's root. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "pack/vocabulary/vocabulary.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/tokenizer_inside.h"
#include "tests/unit/check.h"

static void release_bytes(struct hl_bytes *bytes)
{
    free(bytes->data);
}

static void release_tokenizer(struct hl_tokenizer **t)
{
    hl_tokenizer_close(*t);
}

#define BYTES __attribute__((cleanup(release_bytes))) struct hl_bytes
#define TOKENIZER __attribute__((cleanup(release_tokenizer))) struct hl_tokenizer

static struct hl_bytes read_whole(const char *path)
{
    struct hl_bytes out = {.data = calloc(1, 1 << 20)};
    HL_FCLOSE FILE *file = fopen(path, "rb");
    if (file && out.data)
        out.size = fread(out.data, 1, (1 << 20) - 1, file);
    CHECK_SAY(out.size > 0, "%s cannot be read", path);
    return out;
}

static size_t unhex(char *text)
{
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], 0};
        text[i] = (char)strtoul(digits, NULL, 16);
    }
    return n;
}

/* Decodes one token after another; returns false if a piece has incomplete characters. */
static bool decode(const struct hl_tokenizer *t, const int32_t *ids, size_t n_ids, unsigned flags, struct hl_bytes *out)
{
    struct hl_decoder decoder;
    char piece[HL_PIECE_MAX];
    bool whole = true;
    hl_decoder_init(&decoder, t, flags);
    out->data = malloc((n_ids + 1) * HL_PIECE_MAX);
    for (size_t i = 0; i <= n_ids && out->data; i++) {
        size_t n = i < n_ids ? hl_decoder_push(&decoder, ids[i], piece) : hl_decoder_flush(&decoder, piece);
        uint32_t bytes;
        for (size_t at = 0; at < n; at += bytes)
            whole = hl_utf8_next((uint8_t *)piece + at, n - at, &bytes) == HL_UTF8_WHOLE && whole;
        memcpy(out->data + out->size, piece, n);
        out->size += n;
    }
    return whole;
}

static size_t parse_ids(char *text, int32_t *ids, size_t room)
{
    size_t n = 0;
    char *save = NULL;
    for (char *id = strtok_r(text, ",", &save); id && n < room; id = strtok_r(NULL, ",", &save))
        ids[n++] = (int32_t)strtol(id, NULL, 10);
    return n;
}

static void check_case(const struct hl_tokenizer *t, const char *name, unsigned number, char *line)
{
    int32_t want[4096];
    char *field[4] = {0};
    struct hl_error err = {0};
    for (int i = 0; i < 4; i++)
        field[i] = strsep(&line, "\t");
    if (!field[3]) {
        CHECK_SAY(false, "%s case %u is cut short", name, number);
        return;
    }
    size_t n_want = parse_ids(field[2], want, HL_COUNT(want)), n_text = unhex(field[3]), n_got = 0;
    if (strcmp(field[1], "-")) {
        HL_FREE int32_t *got = NULL;
        unsigned flags = (unsigned)strtoul(field[0], NULL, 10);
        int rc = hl_tokenizer_encode(t, field[1], unhex(field[1]), flags, &got, &n_got, &err);
        CHECK_SAY(!rc, "%s case %u: %s", name, number, err.message);
        CHECK_SAY(n_got == n_want && (!n_got || !memcmp(got, want, n_got * sizeof *got)),
                  "%s case %u: %zu ids, not %zu", name, number, n_got, n_want);
    }
    BYTES text = {0};
    CHECK_SAY(decode(t, want, n_want, 0, &text), "%s case %u: a piece splits a character", name, number);
    CHECK_SAY(text.size == n_text && !memcmp(text.data, field[3], n_text), "%s case %u: decodes to '%.*s'", name,
              number, (int)text.size, (char *)text.data);
}

/* Reads the folder's tokenizer.gguf, or else its files. */
static int build(const char *folder, uint32_t rows, struct hl_bytes *out, struct hl_error *err)
{
    char path[160];
    struct hl_gguf *gguf = NULL;
    snprintf(path, sizeof path, "%s/tokenizer.gguf", folder);
    if (access(path, R_OK))
        return hl_vocabulary_from_folder(folder, rows, out, err);
    BYTES file = read_whole(path);
    int result = hl_gguf_open((struct hl_view){file.data, file.size}, path, &gguf, err);
    if (!result)
        result = hl_vocabulary_from_gguf(gguf, rows, out, err);
    hl_gguf_close(gguf);
    return result;
}

static void test_cases(const char *name, uint32_t rows, unsigned least)
{
    char folder[128], path[160];
    struct hl_error err = {0};
    BYTES section = {0};
    TOKENIZER *t = NULL;
    HL_FREE char *line = NULL;
    size_t room = 0;
    unsigned number = 0;
    snprintf(folder, sizeof folder, "tests/tokenizer/%s", name);
    snprintf(path, sizeof path, "%s/cases.tsv", folder);
    CHECK_SAY(!build(folder, rows, &section, &err), "%s", err.message);
    CHECK_SAY(section.data && !hl_tokenizer_open(section.data, section.size, &t, &err), "%s", err.message);
    HL_FCLOSE FILE *cases = fopen(path, "r");
    while (t && cases && getline(&line, &room, cases) > 0) {
        line[strcspn(line, "\n")] = 0;
        check_case(t, name, ++number, line);
    }
    CHECK_SAY(number >= least, "%s: only %u cases", path, number);
    BYTES again = {0};
    CHECK_SAY(!build(folder, rows, &again, &err) && section.data && again.size == section.size &&
                  !memcmp(again.data, section.data, again.size),
              "%s: built twice, the sections differ", name);
}

/* Makes a SentencePiece model by hand. */
struct message {
    uint8_t data[512];
    size_t size;
};

static void put(struct message *m, uint8_t key, const void *bytes, size_t n)
{
    m->data[m->size++] = key;
    m->data[m->size++] = (uint8_t)n;
    memcpy(m->data + m->size, bytes, n);
    m->size += n;
}

static void put_piece(struct message *m, const char *text, float score, uint8_t type)
{
    struct message piece = {0};
    put(&piece, 1 << 3 | 2, text, strlen(text));
    piece.data[piece.size++] = 2 << 3 | 5;
    memcpy(piece.data + piece.size, &score, sizeof score);
    piece.size += sizeof score;
    piece.data[piece.size++] = 3 << 3;
    piece.data[piece.size++] = type;
    put(m, 1 << 3 | 2, piece.data, piece.size);
}

static struct message small_spm(uint8_t model_type, uint8_t remove_spaces, const char *extra, uint8_t extra_type)
{
    struct message m = {0};
    const uint8_t trainer[] = {3 << 3, model_type}, normalizer[] = {3 << 3, 0, 4 << 3, remove_spaces};
    put_piece(&m, "<unk>", 0, 2);
    put_piece(&m, "<s>", 0, 3);
    put_piece(&m, "\xE2\x96\x81", -4, 1);
    put_piece(&m, "a", -5, 1);
    put_piece(&m, "aa", -1, 1);
    put_piece(&m, "ba", -1, 1); /* b alone is not a piece */
    if (extra)
        put_piece(&m, extra, 0, extra_type);
    put(&m, 2 << 3 | 2, trainer, sizeof trainer);
    put(&m, 3 << 3 | 2, normalizer, sizeof normalizer);
    return m;
}

static void check_refused(const struct hl_vocabulary_files *files, uint32_t rows, const char *why)
{
    struct hl_error err = {0};
    BYTES section = {0};
    CHECK_SAY(hl_vocabulary_from_files(files, rows, &section, &err) == -1, "accepted, though: %s", why);
    CHECK_SAY(strstr(err.message, why), "says '%s', not '%s'", err.message, why);
}

static void test_refused_spm(void)
{
    const struct {
        struct message model;
        uint32_t rows;
        const char *why;
    } cases[] = {
        {small_spm(1, 0, NULL, 0), 100, "model_type is unigram"},
        {small_spm(2, 1, NULL, 0), 100, "remove_extra_whitespaces"},
        {small_spm(2, 0, "x", 5), 100, "token 6 (x) has the type unused"},
        {small_spm(2, 0, "aaa", 5), 100, "token 6 (aaa) has the type unused"},
        {small_spm(2, 0, "x", 7), 100, "piece 6 has the type 7"},
        {small_spm(2, 0, "x", 6), 100, "byte like <0x0A>"},
        {small_spm(2, 0, "x", 2), 100, "both the unknown piece"},
        {small_spm(2, 0, "aa", 1), 100, "tokens 4 and 6 have the same text"},
        {small_spm(2, 0, NULL, 0), 5, "tokenizer.model: token 5 is beyond the 5 rows of the model's embedding"},
        {{{0}, 0}, 100, "model_type"},
        {{"\x0a\x7f", 2}, 100, "malformed"},
    };
    for (size_t i = 0; i < HL_COUNT(cases); i++)
        check_refused(&(struct hl_vocabulary_files){.model = {cases[i].model.data, cases[i].model.size}}, cases[i].rows,
                      cases[i].why);
}

static void test_refused_config(void)
{
    static const struct {
        const char *config, *why;
    } cases[] = {
        {"[]", "is not a JSON object"},
        {"{\"bos_token\": \"<bos>\"}", "token <bos> does not exist in tokenizer.model"},
        {"{\"add_eos_token\": true}", "add_eos_token is true, but"},
        {"{\"added_tokens_decoder\": {\"3\": {\"content\": \"b\"}}}",
         "token 3 is \"b\" here, but another text in tokenizer.model"},
        {"{\"added_tokens_decoder\": {\"9\": {\"content\": \"b\", \"single_word\": true}}}", "single_word"},
        {"{\"bos_token\": \"a\\u0000\"}", "NUL"},
        {"{\"add_prefix_space\": true}", "add_prefix_space contradicts"},
    };
    struct message m = small_spm(2, 0, NULL, 0);
    for (size_t i = 0; i < HL_COUNT(cases); i++) {
        const struct hl_vocabulary_files files = {
            .model = {m.data, m.size}, .config = {(const uint8_t *)cases[i].config, strlen(cases[i].config)}};
        check_refused(&files, 100, cases[i].why);
    }
}

/* An added token without a row in the embedding is text like any other. */
static void test_rowless(void)
{
    static const char config[] = "{\"added_tokens_decoder\": {\"100\": {\"content\": \"<b>\"}}}";
    struct message m = small_spm(2, 0, NULL, 0);
    for (uint32_t rows = 100; rows <= 101; rows++) {
        const struct hl_vocabulary_files files = {.model = {m.data, m.size},
                                                  .config = {(const uint8_t *)config, sizeof config - 1}};
        struct hl_error err = {.message = ""};
        struct hl_tokenizer *t = NULL;
        BYTES section = {0};
        if (hl_vocabulary_from_files(&files, rows, &section, &err) ||
            hl_tokenizer_open(section.data, section.size, &t, &err)) {
            CHECK_SAY(false, "%s", err.message);
            continue;
        }
        CHECK(hl_tokenizer_find(t, "<b>", 3) == (rows == 101 ? 100 : HL_NONE));
        CHECK(hl_tokenizer_size(t) <= rows);
        hl_tokenizer_close(t);
    }
}

/* Reads the fixture with one part of its text replaced. */
static void test_refused_json(void)
{
    static const struct {
        const char *part, *other, *why;
    } cases[] = {
        {"\"type\":\"BPE\"", "\"type\":\"Unigram\"", "model.type is Unigram"},
        {"\"dropout\":null", "\"dropout\":0.1", "model.dropout"},
        {"\"dropout\":null", "\"novel\":1", "model: unknown key \"novel\""},
        {"{\"type\":\"NFC\"}", "{\"type\":\"NFKC\"}", "normalizer: NFKC"},
        {"\"behavior\":\"Isolated\"", "\"behavior\":\"Removed\"", "pre_tokenizer: a Split"},
        {"\\\\p{N}{1,3}", "\\\\p{N}{1,3}+", "is not supported from byte"},
        {"\\\\p{N}{1,3}", "\\\\w", "is not supported from byte"},
        {"\\\\p{N}{1,3}", "[a[b]]", "is not supported from byte"},
        {"\\\\p{N}{1,3}", "(?m:.)", "is not supported from byte"},
        {"\"add_prefix_space\":false", "\"add_prefix_space\":true", "ByteLevel: add_prefix_space"},
        {"\"decoder\":{\"type\":\"ByteLevel\"", "\"decoder\":{\"type\":\"WordPiece\"", "decoder: WordPiece"},
        {"\"type\":\"TemplateProcessing\"", "\"type\":\"BertProcessing\"", "post_processor: BertProcessing"},
        {"\"single_word\":false", "\"single_word\":true", "single_word"},
        {"\"!\":0", "\"!\":-1", "\"!\" has no id"},
        {"\"!\":0", "\"!\":1", "two tokens have the id 1"},
        {"\"merges\":[[", "\"merges\":[[\"q\",\"nothing\"],[", "merges: number 0"},
        {"\"merges\":[[", "\"merges\":[\"q\",[", "merges: number 0 is not a pair"},
        {"\"version\"", "\"novel\"", "the file: unknown key \"novel\""},
    };
    BYTES json = read_whole("tests/tokenizer/bytes/tokenizer.json");
    HL_FREE char *changed = calloc(1, json.size + 256);
    for (size_t i = 0; i < HL_COUNT(cases) && changed; i++) {
        const char *at = strstr((char *)json.data, cases[i].part);
        CHECK_SAY(at, "the fixture has no %s", cases[i].part);
        if (!at)
            continue;
        int before = (int)(at - (char *)json.data);
        int n = sprintf(changed, "%.*s%s%s", before, (char *)json.data, cases[i].other, at + strlen(cases[i].part));
        check_refused(&(struct hl_vocabulary_files){.json = {(uint8_t *)changed, (size_t)n}}, 700, cases[i].why);
    }
    check_refused(&(struct hl_vocabulary_files){.json = {json.data, json.size}}, 500,
                  "token 500 is beyond the 500 rows");
    check_refused(&(struct hl_vocabulary_files){.json = {json.data, json.size / 2}}, 700, "cut short");
}

/* Reads the fixture with some bytes of its text replaced by as many others. */
static void check_gguf(const char *path, const char *part, const char *other, uint32_t rows, const char *why)
{
    struct hl_error err = {0};
    struct hl_gguf *gguf = NULL;
    BYTES section = {0}, file = read_whole(path);
    uint8_t *at = memmem(file.data, file.size, part, strlen(part));
    CHECK_SAY(at && strlen(part) == strlen(other), "%s has no %s", path, part);
    if (at)
        memcpy(at, other, strlen(other));
    if (hl_gguf_open((struct hl_view){file.data, file.size}, path, &gguf, &err)) {
        CHECK_SAY(false, "%s", err.message);
        return;
    }
    int result = hl_vocabulary_from_gguf(gguf, rows, &section, &err);
    CHECK_SAY(why ? result == -1 && strstr(err.message, why) : !result, "%s, %s: '%s', not '%s'", path, other,
              err.message, why ? why : "");
    hl_gguf_close(gguf);
}

static void test_gguf(void)
{
    static const char llama[] = "tests/tokenizer/llama/tokenizer.gguf",
                      qwen2[] = "tests/tokenizer/qwen2/tokenizer.gguf";
    static const struct {
        const char *path, *part, *other, *why;
        uint32_t rows;
    } cases[] = {
        {qwen2, "qwen2", "qwen9", "tokenizer.ggml.pre is qwen9", 700},
        {qwen2, "ggml.pre", "ggml.prx", "tokenizer.ggml.pre is absent", 700},
        {qwen2, "gpt2", "bert", "tokenizer.ggml.model is bert", 700},
        {qwen2, "ggml.merges", "ggml.mergex", "tokenizer.ggml.merges is not a list", 700},
        {qwen2, "ggml.token_type", "ggml.token_typx", "tokenizer.ggml.token_type is not a list", 700},
        {qwen2, "ggml.pre", "ggml.pre", "parts that are not in the vocabulary", 400},
        {qwen2, "ggml.pre", "ggml.pre", "no token for the byte", 100},
        {qwen2, "ggml.add_bos_token", "ggml.add_eos_token", "that token does not exist", 700},
        {llama, "ggml.scores", "ggml.scorex", "tokenizer.ggml.scores is not a list", 700},
        {llama, "ggml.tokens", "ggml.tokenx", "tokenizer.ggml.tokens is not a list", 700},
        {llama, "ggml.bos_token_id", "ggml.bos_token_ix", NULL, 700}, /* 1, as for llama.cpp */
        {llama, "ggml.add_space_prefix", "ggml.add_space_prefix", NULL, 400},
        {llama, "ggml.model", "ggml.modex", NULL, 700},
    };
    for (size_t i = 0; i < HL_COUNT(cases); i++)
        check_gguf(cases[i].path, cases[i].part, cases[i].other, cases[i].rows, cases[i].why);
}

/* A model without a tokenizer. */
static void test_nothing(void)
{
    struct hl_error err = {0};
    BYTES section = {0}, text = {0};
    TOKENIZER *t = NULL;
    HL_FREE int32_t *ids = NULL;
    size_t n = 0;
    CHECK_SAY(!hl_vocabulary_from_files(&(struct hl_vocabulary_files){0}, 700, &section, &err), "%s", err.message);
    CHECK_SAY(section.data && hl_vocabulary_is_empty(&section), "it has tokens");
    if (!section.data || hl_tokenizer_open(section.data, section.size, &t, &err)) {
        CHECK_SAY(false, "%s", err.message);
        return;
    }
    CHECK_SAY(hl_tokenizer_size(t) == 0 && hl_tokenizer_find(t, "a", 1) == HL_NONE, "accessors");
    CHECK_SAY(hl_tokenizer_encode(t, "a", 1, 0, &ids, &n, &err) == -1 && err.kind == HL_ERROR_REQUEST &&
                  strstr(err.message, "without a tokenizer"),
              "'%s'", err.message);
    decode(t, (int32_t[]){0, 1}, 2, 0, &text);
    CHECK_SAY(!text.size, "tokens decode to '%.*s'", (int)text.size, (char *)text.data);
}

/* Cases that the files do not cover: merging from characters that are not pieces, added tokens of the configuration,
 * accessors. */
static void test_small(void)
{
    static const char config[] = "{\"bos_token\": \"<s>\", \"added_tokens_decoder\": {"
                                 "\"0\": {\"content\": \"<unk>\", \"special\": true},"
                                 "\"8\": {\"content\": \"<tool>\", \"special\": false},"
                                 "\"9\": {\"content\": \"<end>\", \"special\": true}}}";
    static const char text[] = "aaba<tool>bb<end>b";
    static const int32_t plain[] = {4, 5, 8, 0}, special[] = {1, 4, 5, 8, 0, 9, 0};
    struct message m = small_spm(2, 0, NULL, 0);
    const struct hl_vocabulary_files files = {.model = {m.data, m.size},
                                              .config = {(const uint8_t *)config, sizeof config - 1}};
    struct hl_error err = {0};
    BYTES section = {0}, decoded = {0}, shown = {0}, nothing = {0};
    TOKENIZER *t = NULL;
    HL_FREE int32_t *got = NULL, *got_special = NULL;
    size_t n = 0, n_special = 0;
    if (hl_vocabulary_from_files(&files, 10, &section, &err) ||
        hl_tokenizer_open(section.data, section.size, &t, &err)) {
        CHECK_SAY(false, "%s", err.message);
        return;
    }
    CHECK_SAY(hl_tokenizer_size(t) == 10 && hl_tokenizer_bos(t) == 1 && hl_tokenizer_eos(t) == HL_NONE, "accessors");
    CHECK_SAY(hl_tokenizer_find(t, "<end>", 5) == 9 && hl_tokenizer_find(t, "<en", 3) == HL_NONE, "find");
    CHECK_SAY(hl_tokenizer_kind(t, 9) == HL_TOKEN_CONTROL && hl_tokenizer_kind(t, 8) == HL_TOKEN_USER, "kinds");
    CHECK_SAY(hl_tokenizer_kind(t, 6) == HL_TOKEN_UNUSED && hl_tokenizer_kind(t, 10) == HL_TOKEN_UNUSED, "holes");
    CHECK_SAY(!hl_tokenizer_text(t, 7, &n) && !hl_tokenizer_text(t, HL_NONE, &n), "the text of a hole");
    CHECK_SAY(!memcmp(hl_tokenizer_text(t, 2, &n), " ", 1) && n == 1, "U+2581 is a space");
    CHECK_SAY(!hl_tokenizer_encode(t, text, strlen("aaba<tool>bb"), 0, &got, &n, &err) && n == 4 &&
                  !memcmp(got, plain, sizeof plain),
              "%zu ids", n);
    CHECK_SAY(!hl_tokenizer_encode(t, text, strlen(text), HL_ENCODE_BOS | HL_ENCODE_SPECIAL, &got_special, &n_special,
                                   &err) &&
                  n_special == 7 && !memcmp(got_special, special, sizeof special),
              "%zu ids", n_special);
    decode(t, special, 7, 0, &decoded);
    decode(t, special, 7, HL_DECODE_SPECIAL, &shown);
    CHECK_SAY(decoded.size == 20 && !memcmp(decoded.data, "aaba<tool> \xE2\x81\x87  \xE2\x81\x87 ", 20), "%.*s",
              (int)decoded.size, (char *)decoded.data);
    CHECK_SAY(shown.size == decoded.size + 8 && !memcmp(shown.data, "<s>aaba", 7), "%.*s", (int)shown.size,
              (char *)shown.data);
    decode(t, (int32_t[]){-1, 6, 7, 10, INT32_MAX}, 5, HL_DECODE_SPECIAL, &nothing);
    CHECK_SAY(!nothing.size, "ids that do not exist decode to '%.*s'", (int)nothing.size, (char *)nothing.data);
}

static void test_dummy_space(const struct hl_tokenizer *t)
{
    struct hl_error err = {0};
    HL_FREE int32_t *ids = NULL;
    size_t n;
    BYTES start = {0}, continued = {0};
    CHECK_SAY(!hl_tokenizer_encode(t, "was", 3, 0, &ids, &n, &err), "%s", err.message);
    decode(t, ids, n, 0, &start);
    decode(t, ids, n, HL_DECODE_CONTINUE, &continued);
    CHECK_SAY(start.size == 3 && !memcmp(start.data, "was", 3), "at the start of a text");
    CHECK_SAY(continued.size == 4 && !memcmp(continued.data, " was", 4), "after a prompt");
}

/* If merging were quadratic, one word of this length would take minutes. */
static void test_long_word(const struct hl_tokenizer *t, const char *unit)
{
    struct hl_error err = {0};
    size_t n_unit = strlen(unit), n_text = (300000 / n_unit) * n_unit, n = 0;
    HL_FREE char *text = malloc(n_text);
    HL_FREE int32_t *ids = NULL;
    for (size_t i = 0; text && i < n_text; i++)
        text[i] = unit[i % n_unit];
    CHECK_SAY(text && !hl_tokenizer_encode(t, text, n_text, 0, &ids, &n, &err), "%s", err.message);
    struct hl_decoder decoder;
    char piece[HL_PIECE_MAX];
    size_t at = 0;
    bool same = true;
    hl_decoder_init(&decoder, t, 0);
    for (size_t i = 0; text && i < n; i++) {
        size_t bytes = hl_decoder_push(&decoder, ids[i], piece);
        same = same && bytes <= n_text - at && !memcmp(text + at, piece, bytes);
        at += same ? bytes : 0;
    }
    CHECK_SAY(same && at == n_text, "%zu of %zu bytes of '%s' come back", at, n_text, unit);
}

/* Uses a section in every way; nothing but its own bytes may be read, whatever it holds (the sanitizers watch). */
static void use_section(const void *section, size_t bytes)
{
    static const char text[] = "I'm the <sep> world\n\xff 12345 \xe4\xbd\xa0\xe5\xa5\xbd e\xcc\x81  <|call|>x<turn>~~";
    struct hl_error err;
    TOKENIZER *t = NULL;
    if (hl_tokenizer_open(section, bytes, &t, &err))
        return;
    for (unsigned flags = 0; flags < 4; flags++) {
        HL_FREE int32_t *ids = NULL;
        size_t n = 0;
        char piece[HL_PIECE_MAX];
        struct hl_decoder decoder;
        if (hl_tokenizer_encode(t, text, sizeof text, flags, &ids, &n, &err))
            continue;
        hl_decoder_init(&decoder, t, flags);
        for (size_t i = 0; i < n; i++)
            hl_decoder_push(&decoder, ids[i], piece);
        hl_decoder_flush(&decoder, piece);
    }
    for (uint32_t id = 0; id < hl_tokenizer_size(t) && id < 1000; id++) {
        size_t n = 0;
        const char *name = hl_tokenizer_text(t, id, &n);
        if (name)
            hl_tokenizer_find(t, name, n);
    }
}

/* In a block of exactly their size, so that reading one byte too far is noticed. */
static void test_forged(const struct hl_bytes *section)
{
    struct hl_error err;
    if (!section->size)
        return;
    for (size_t bytes = 0; bytes < section->size; bytes += bytes < 512 || bytes + 64 > section->size ? 1 : 61) {
        HL_FREE uint8_t *cut = malloc(bytes + 1);
        TOKENIZER *t = NULL;
        if (!cut)
            break;
        memcpy(cut, section->data, bytes);
        cut = bytes ? realloc(cut, bytes) : cut;
        CHECK_SAY(hl_tokenizer_open(cut, bytes, &t, &err) == -1, "opens %zu of %zu bytes", bytes, section->size);
    }
    HL_FREE uint8_t *copy = malloc(section->size);
    if (!copy)
        return;
    memcpy(copy, section->data, section->size);
    for (size_t at = 0; at < section->size; at++) {
        static const uint8_t flips[] = {0xFF, 0x01};
        for (size_t i = 0; i < sizeof flips; i++) {
            copy[at] ^= flips[i];
            use_section(copy, section->size);
            copy[at] ^= flips[i];
        }
    }
    CHECK_SAY(!memcmp(copy, section->data, section->size), "a section was written to");
}

static void test_section(const char *folder, uint32_t rows)
{
    struct hl_error err = {0};
    BYTES section = {0};
    TOKENIZER *t = NULL;
    if (hl_vocabulary_from_folder(folder, rows, &section, &err) ||
        hl_tokenizer_open(section.data, section.size, &t, &err)) {
        CHECK_SAY(false, "%s", err.message);
        return;
    }
    if (strstr(folder, "spm"))
        test_dummy_space(t);
    test_long_word(t, "a");
    test_long_word(t, "the");
    test_long_word(t, " ");
    test_long_word(t, "~\xE4\xBD\xA0");
    test_forged(&section);
}

int main(void)
{
    test_cases("spm", 560, 700);
    test_cases("fallback", 560, 500);
    test_cases("metaspace", 564, 500);
    test_cases("llama", 560, 500);
    test_cases("bytes", 700, 1000);
    test_cases("qwen2", 700, 700);
    test_refused_spm();
    test_refused_config();
    test_rowless();
    test_refused_json();
    test_gguf();
    test_nothing();
    test_small();
    test_section("tests/tokenizer/spm", 560);
    test_section("tests/tokenizer/bytes", 700);
    return check_summary();
}
