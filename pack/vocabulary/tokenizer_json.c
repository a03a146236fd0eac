/* Reads tokenizer.json, the file of the Hugging Face tokenizers library. It spells out a pipeline part by part
 * [https://huggingface.co/docs/tokenizers/components]. Two shapes of pipeline are supported:
 *
 *                   byte-level (GPT-2, Llama 3, Qwen 2)       SentencePiece-like (Llama 2, Mistral, Gemma)
 *   normalizer      none, NFC                                 Prepend U+2581, Replace " " by U+2581; or none
 *   pre_tokenizer   Split by a regex, ByteLevel               none, or a Split that no longer finds spaces;
 *                                                             or Metaspace
 *   model           BPE                                       BPE, byte_fallback
 *   decoder         ByteLevel                                 Replace, ByteFallback, Fuse, Strip
 *   post_processor  none, ByteLevel (offsets only), TemplateProcessing with at most one token on each side
 *
 * Prepend puts a space before every segment between special tokens. Metaspace does not if the segment begins with a
 * space; with the scheme "first" it puts one only before the whole text. The decoder strips the first space of the
 * text; sentencepiece strips that of the first piece, unless the piece is a byte.
 *
 * Keys that matter only to training or to offsets are ignored by name; any other key is refused. truncation and padding
 * are about batches and are not read.
 */
#include "base/cleanup.h"
#include "base/json.h"
#include "pack/vocabulary/vocabulary_inside.h"

#define REFUSE(...) hl_fail(err, "tokenizer.json: " __VA_ARGS__)

static struct hl_view view_of(const char *text)
{
    return (struct hl_view){(const uint8_t *)text, strlen(text)};
}

struct reader {
    struct hl_vocabulary *v;
    bool byte_level; /* seen in pre_tokenizer */
    bool strips;     /* the decoder removes a leading space */
    struct hl_spellings spellings;
};

static const char *type_of(const cJSON *item)
{
    const char *type = hl_json_text(item, "type");
    return type ? type : "?";
}

/* Fails if the object has a key that is not in `known` (names with a space before and after each). */
static int check_keys(const cJSON *object, const char *where, const char *known, struct hl_error *err)
{
    for (const cJSON *item = object ? object->child : NULL; item; item = item->next) {
        char key[64];
        int n = snprintf(key, sizeof key, " %s ", item->string);
        if (n >= (int)sizeof key || !strstr(known, key))
            return REFUSE("%s: unknown key \"%s\"", where, item->string);
    }
    return 0;
}

/* Calls `read` for a part, or for each part of a Sequence under `list`. */
static int read_parts(struct reader *r, const cJSON *item, const char *where, const char *list,
                      int (*read)(struct reader *, const cJSON *, struct hl_error *), struct hl_error *err)
{
    if (!item)
        return 0;
    if (!cJSON_IsObject(item))
        return REFUSE("%s is not an object", where);
    if (strcmp(type_of(item), "Sequence"))
        return read(r, item, err);
    const cJSON *parts = hl_json_get(item, list);
    if (!cJSON_IsArray(parts) || check_keys(item, where, " type normalizers pretokenizers decoders processors ", err))
        return REFUSE("%s: a Sequence must have \"%s\" and nothing else", where, list);
    for (const cJSON *part = parts->child; part; part = part->next)
        if (read(r, part, err))
            return -1;
    return 0;
}

/* Returns true if the item's "pattern" is {"String": text} and is replaced by `content`. */
static bool replaces(const cJSON *item, const char *text, const char *content)
{
    return hl_json_is(hl_json_get(item, "pattern"), "String", text) && hl_json_is(item, "content", content);
}

static int read_normalizer(struct reader *r, const cJSON *item, struct hl_error *err)
{
    const char *type = type_of(item);
    if (!strcmp(type, "NFC"))
        r->v->flags |= HL_TOKENIZER_NFC;
    else if (!strcmp(type, "Prepend") && hl_json_is(item, "prepend", HL_SPACE_MARK))
        r->v->flags |= HL_TOKENIZER_DUMMY_PREFIX;
    else if (!strcmp(type, "Replace") && replaces(item, " ", HL_SPACE_MARK))
        r->v->flags |= HL_TOKENIZER_ESCAPE_SPACE;
    else
        return REFUSE("normalizer: %s, as it is configured, is not supported", type);
    return check_keys(item, "normalizer", " type prepend pattern content ", err);
}

static int set_pattern(struct hl_vocabulary *v, const char *pattern, struct hl_error *err)
{
    if (v->pattern.size)
        return REFUSE("pre_tokenizer: more than one pattern to split by is not supported");
    if (hl_pattern_translate(pattern, &v->pattern, err))
        return hl_error_prefix(err, "tokenizer.json: pre_tokenizer");
    return 0;
}

static int read_split(struct reader *r, const cJSON *item, struct hl_error *err)
{
    const cJSON *pattern = hl_json_get(item, "pattern");
    const char *regex = hl_json_text(pattern, "Regex");
    if (check_keys(item, "pre_tokenizer: Split", " type pattern behavior invert ", err))
        return -1;
    if (hl_json_is(pattern, "String", " ") && r->v->flags & HL_TOKENIZER_ESCAPE_SPACE)
        return 0; /* the normalizer has replaced all spaces */
    if (!regex || !hl_json_is(item, "behavior", "Isolated") || hl_json_true(item, "invert") || r->byte_level)
        return REFUSE("pre_tokenizer: a Split must be by a Regex, Isolated, and before ByteLevel");
    return set_pattern(r->v, regex, err);
}

/* Reads Metaspace, which replaces spaces by U+2581. It puts one before a text (or before the first segment) that does
 * not begin with one, and may begin a word at each. */
static int read_metaspace(struct reader *r, const cJSON *item, struct hl_error *err)
{
    const char *scheme = hl_json_text(item, "prepend_scheme");
    const cJSON *older = hl_json_get(item, "add_prefix_space"); /* from before prepend_scheme existed */
    if (check_keys(item, "pre_tokenizer: Metaspace", " type replacement prepend_scheme split add_prefix_space str_rep ",
                   err))
        return -1;
    if (!scheme)
        scheme = cJSON_IsFalse(older) ? "never" : "always";
    if (!hl_json_is(item, "replacement", HL_SPACE_MARK) || r->byte_level || r->v->flags)
        return REFUSE("pre_tokenizer: Metaspace with another replacement, or with a normalizer, is not supported");
    r->v->flags |= HL_TOKENIZER_ESCAPE_SPACE;
    if (!strcmp(scheme, "always") || !strcmp(scheme, "first"))
        r->v->flags |=
            HL_TOKENIZER_DUMMY_PREFIX | HL_TOKENIZER_PREFIX_SINGLE | (*scheme == 'f' ? HL_TOKENIZER_PREFIX_ONCE : 0u);
    else if (strcmp(scheme, "never"))
        return REFUSE("pre_tokenizer: Metaspace: prepend_scheme %s is not supported", scheme);
    if (!cJSON_IsFalse(hl_json_get(item, "split")))
        return REFUSE("pre_tokenizer: Metaspace: split must be false");
    return 0;
}

static int read_pre_tokenizer(struct reader *r, const cJSON *item, struct hl_error *err)
{
    if (!strcmp(type_of(item), "Metaspace"))
        return read_metaspace(r, item, err);
    if (!strcmp(type_of(item), "Split"))
        return read_split(r, item, err);
    if (strcmp(type_of(item), "ByteLevel") || r->byte_level)
        return REFUSE("pre_tokenizer: %s is not supported", type_of(item));
    if (check_keys(item, "pre_tokenizer: ByteLevel", " type add_prefix_space trim_offsets use_regex ", err))
        return -1;
    if (hl_json_true(item, "add_prefix_space"))
        return REFUSE("pre_tokenizer: ByteLevel: add_prefix_space is not supported");
    r->byte_level = true;
    const cJSON *use_regex = hl_json_get(item, "use_regex"); /* absent in older files, which mean true */
    return cJSON_IsFalse(use_regex) ? 0 : set_pattern(r->v, HL_GPT2_PATTERN, err);
}

static int read_decoder(struct reader *r, const cJSON *item, struct hl_error *err)
{
    const char *type = type_of(item);
    if (!strcmp(type, "ByteLevel") && r->byte_level)
        return 0;
    bool known = !strcmp(type, "ByteFallback") || !strcmp(type, "Fuse") ||
                 (!strcmp(type, "Metaspace") && hl_json_is(item, "prepend_scheme", "never")) ||
                 (!strcmp(type, "Replace") && replaces(item, HL_SPACE_MARK, " "));
    if (!strcmp(type, "Strip")) {
        const cJSON *start = hl_json_get(item, "start"), *stop = hl_json_get(item, "stop");
        known = hl_json_is(item, "content", " ") && cJSON_IsNumber(start) && start->valueint == 1 &&
                cJSON_IsNumber(stop) && stop->valueint == 0;
        r->strips = true;
    }
    if (!known || r->byte_level)
        return REFUSE("decoder: %s, as it is configured, is not supported", type);
    return 0;
}

/* Reads the pipeline and decides which of the two shapes it has. Parts that do not belong to that shape are refused. */
static int read_pipeline(struct reader *r, const cJSON *root, struct hl_error *err)
{
    struct hl_vocabulary *v = r->v;
    if (read_parts(r, hl_json_get(root, "normalizer"), "normalizer", "normalizers", read_normalizer, err) ||
        read_parts(r, hl_json_get(root, "pre_tokenizer"), "pre_tokenizer", "pretokenizers", read_pre_tokenizer, err) ||
        read_parts(r, hl_json_get(root, "decoder"), "decoder", "decoders", read_decoder, err))
        return -1;
    bool escapes = v->flags & HL_TOKENIZER_ESCAPE_SPACE, prefixes = v->flags & HL_TOKENIZER_DUMMY_PREFIX;
    if (!hl_json_get(root, "decoder"))
        return REFUSE("decoder: missing; it must be ByteLevel, or Replace and ByteFallback");
    if (r->byte_level && (escapes || prefixes))
        return REFUSE("normalizer: Prepend and Replace before ByteLevel are not supported");
    if (!r->byte_level && (!escapes || v->flags & HL_TOKENIZER_NFC || v->pattern.size))
        return REFUSE("pre_tokenizer: must be ByteLevel or Metaspace, unless the normalizer replaces spaces");
    if (prefixes != r->strips)
        return REFUSE("decoder: Strip must come with Prepend or Metaspace, and these with Strip");
    v->flags |= r->byte_level ? HL_TOKENIZER_BYTE_LEVEL : 0u;
    return 0;
}

static int read_model(struct reader *r, const cJSON *model, struct hl_error *err)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const cJSON *dropout = hl_json_get(model, "dropout");
    if (!cJSON_IsObject(model) || (hl_json_get(model, "type") && !hl_json_is(model, "type", "BPE")))
        return REFUSE("model.type is %s; only BPE is supported", type_of(model));
    if (check_keys(model, "model",
                   " type dropout unk_token continuing_subword_prefix end_of_word_suffix fuse_unk byte_fallback "
                   "ignore_merges vocab merges ",
                   err))
        return -1;
    if (dropout && !(cJSON_IsNumber(dropout) && dropout->valuedouble == 0))
        return REFUSE("model.dropout is not supported");
    for (int i = 0; i < 2; i++)
        if (hl_json_get(model, affixes[i]) && !hl_json_is(model, affixes[i], ""))
            return REFUSE("model.%s is not supported", affixes[i]);
    r->v->flags |= (hl_json_true(model, "fuse_unk") ? HL_TOKENIZER_FUSE_UNK : 0u) |
                   (hl_json_true(model, "ignore_merges") ? HL_TOKENIZER_WHOLE_WORDS : 0u) |
                   (hl_json_true(model, "byte_fallback") && !r->byte_level ? HL_TOKENIZER_BYTE_FALLBACK : 0u);
    return 0;
}

static int read_vocabulary(struct reader *r, const cJSON *vocab, struct hl_error *err)
{
    struct hl_vocabulary *v = r->v;
    uint32_t count = 0, id;
    if (!cJSON_IsObject(vocab))
        return REFUSE("model.vocab is not an object");
    for (const cJSON *item = vocab->child; item; item = item->next, count++) {
        if (!hl_json_id(item, &id))
            return REFUSE("model.vocab: \"%s\" has no id", item->string);
        if (hl_bpe_token(v, id, view_of(item->string), err))
            return -1;
    }
    if (hl_spellings_init(&r->spellings, v->n_tokens, count, err))
        return -1;
    for (const cJSON *item = vocab->child; item; item = item->next) {
        hl_json_id(item, &id);
        if (hl_spellings_add(&r->spellings, id, view_of(item->string), err))
            return hl_error_prefix(err, "tokenizer.json: model.vocab");
    }
    return r->byte_level ? hl_bpe_check_bytes(v, err) : 0;
}

/* Reads a merge: "left right" or ["left", "right"]. */
static int read_merge(struct reader *r, const cJSON *item, uint32_t rank, struct hl_error *err)
{
    const char *both = cJSON_GetStringValue(item);
    const cJSON *first = cJSON_GetArraySize(item) == 2 ? item->child : NULL;
    const char *left = cJSON_GetStringValue(first), *right = first ? cJSON_GetStringValue(first->next) : NULL;
    if (both)
        return hl_bpe_merge_line(r->v, &r->spellings, view_of(both), rank, err);
    if (!left || !right)
        return REFUSE("model.merges: number %u is not a pair", rank);
    return hl_bpe_merge(r->v, &r->spellings, view_of(left), view_of(right), rank, err);
}

static int read_merges(struct reader *r, const cJSON *merges, struct hl_error *err)
{
    if (!cJSON_IsArray(merges))
        return REFUSE("model.merges is not an array");
    if (hl_bpe_reserve_merges(r->v, (uint64_t)cJSON_GetArraySize(merges), err))
        return -1;
    uint32_t rank = 0;
    for (const cJSON *item = merges->child; item; item = item->next)
        if (read_merge(r, item, rank++, err))
            return -1;
    return 0;
}

static int read_added(struct reader *r, const cJSON *item, struct hl_error *err)
{
    struct hl_vocabulary *v = r->v;
    const char *content = hl_json_text(item, "content");
    uint32_t id;
    unsigned flags = 0;
    if (!content || !*content || !hl_json_id(hl_json_get(item, "id"), &id))
        return REFUSE("added_tokens: an entry without content or id");
    if (hl_vocabulary_lacks_row(v, id))
        return 0;
    if (check_keys(item, "added_tokens", " id content single_word lstrip rstrip normalized special ", err))
        return -1;
    if (hl_added_flags(v, item, &flags, err))
        return hl_error_prefix(err, "tokenizer.json: added_tokens");
    uint32_t known = hl_spellings_find(&r->spellings, view_of(content));
    bool is_new = id >= r->spellings.n || !r->spellings.texts[id].data;
    if (is_new ? known != HL_NONE : known != id)
        return REFUSE("added_tokens: %s has the id %u, which is another token's in model.vocab", content, id);
    if (is_new && hl_bpe_token(v, id, view_of(content), err))
        return -1;
    return hl_bpe_added(v, id, view_of(content), flags, is_new, err);
}

static int read_unknown(struct reader *r, const cJSON *model, struct hl_error *err)
{
    const char *text = hl_json_text(model, "unk_token");
    if (!text)
        return 0;
    r->v->unk = hl_spellings_find(&r->spellings, view_of(text));
    if (r->v->unk == HL_NONE)
        return REFUSE("model.unk_token: %s is not in model.vocab", text);
    if (r->v->tokens[r->v->unk].kind == HL_TOKEN_NORMAL) {
        r->v->tokens[r->v->unk].kind = HL_TOKEN_UNKNOWN;
        r->v->tokens[r->v->unk].in_text = false;
    }
    return 0;
}

/* Reads {"SpecialToken": {"id": "<bos>"}}; "special_tokens" lists the ids of its name. */
static int read_template_token(const cJSON *processor, const cJSON *part, uint32_t *id, struct hl_error *err)
{
    const char *name = hl_json_text(hl_json_get(part, "SpecialToken"), "id");
    const cJSON *token = name ? hl_json_get(hl_json_get(processor, "special_tokens"), name) : NULL;
    const cJSON *ids = hl_json_get(token, "ids");
    if (*id != HL_NONE || cJSON_GetArraySize(ids) != 1 || !hl_json_id(ids->child, id))
        return REFUSE("post_processor: TemplateProcessing.single: more than one token on a side is not supported");
    return 0;
}

static int read_processor(struct reader *r, const cJSON *item, struct hl_error *err)
{
    struct hl_vocabulary *v = r->v;
    if (!strcmp(type_of(item), "ByteLevel")) /* only concerns offsets */
        return 0;
    if (strcmp(type_of(item), "TemplateProcessing"))
        return REFUSE("post_processor: %s is not supported", type_of(item));
    const cJSON *single = hl_json_get(item, "single");
    bool after = false;
    for (const cJSON *part = single ? single->child : NULL; part; part = part->next) {
        bool sequence = hl_json_get(part, "Sequence");
        if (sequence && after)
            return REFUSE("post_processor: TemplateProcessing.single: the text occurs twice");
        if (!sequence && read_template_token(item, part, after ? &v->eos : &v->bos, err))
            return -1;
        after = after || sequence;
    }
    if (!after)
        return REFUSE("post_processor: TemplateProcessing.single: no text");
    if ((v->bos != HL_NONE && v->bos >= v->n_tokens) || (v->eos != HL_NONE && v->eos >= v->n_tokens))
        return REFUSE("post_processor: TemplateProcessing.special_tokens: no token has this id");
    v->flags |= (v->bos != HL_NONE ? HL_TOKENIZER_ADD_BOS : 0u) | (v->eos != HL_NONE ? HL_TOKENIZER_ADD_EOS : 0u);
    return 0;
}

static void release_reader(struct reader *r)
{
    hl_spellings_release(&r->spellings);
}

int hl_vocabulary_read_json(struct hl_vocabulary *v, struct hl_view json, struct hl_error *err)
{
    HL_JSON cJSON *root = NULL;
    __attribute__((cleanup(release_reader))) struct reader r = {.v = v};
    v->by_pairs = true;
    if (hl_json_parse(json, "tokenizer.json", &root, err) ||
        check_keys(root, "the file",
                   " version truncation padding added_tokens normalizer pre_tokenizer post_processor decoder model ",
                   err))
        return -1;
    const cJSON *model = hl_json_get(root, "model"), *added = hl_json_get(root, "added_tokens");
    if (read_pipeline(&r, root, err) || read_model(&r, model, err) ||
        read_vocabulary(&r, hl_json_get(model, "vocab"), err))
        return -1;
    for (const cJSON *item = added ? added->child : NULL; item; item = item->next)
        if (read_added(&r, item, err))
            return -1;
    if (read_unknown(&r, model, err) || read_merges(&r, hl_json_get(model, "merges"), err))
        return -1;
    return read_parts(&r, hl_json_get(root, "post_processor"), "post_processor", "processors", read_processor, err);
}
