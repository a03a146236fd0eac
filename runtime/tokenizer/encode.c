/* Text to tokens: the seven steps of hotlayer/tokenizer_section.h.
 *
 * A word is a list of symbols, each a range of the word's bytes, linked through their indices. Every pair of neighbours
 * that can merge is a candidate in a heap ordered by (rank, place). To merge the best one, the left symbol takes over
 * the right one's range, and the two new pairs become candidates. A candidate is stale if one of its symbols has
 * changed since. It is recognised when it is taken off the heap, because its pair then has another length. So n symbols
 * cost O(n log n) whatever the text.
 */
#include "runtime/tokenizer/tokenizer_inside.h"

struct symbol {
    uint32_t start, bytes;   /* in the word; 0 bytes: merged into its left neighbour */
    uint32_t id;             /* HL_NONE: not a token (yet) */
    uint32_t previous, next; /* HL_NONE at the ends */
};

/* The least key is first on the heap: rank, then place. */
struct candidate {
    uint64_t key;    /* rank in the upper half, the left symbol in the lower */
    uint32_t bytes;  /* of both symbols, when the candidate was added */
    uint32_t merged; /* the token that they become */
};

#define HEAP_WAYS 4 /* children of a node: together one cache line */

/* One call of encode: its output, and the memory that its words share. */
struct run {
    const struct hl_tokenizer *t;
    bool special;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    int32_t *ids;
    size_t n_ids, room_ids;
    struct symbol *symbols;
    size_t n_symbols, room_symbols;
    struct candidate *heap;
    size_t n_heap, room_heap;
};

static void release_run(struct run *run)
{
    pcre2_match_data_free(run->match);
    pcre2_match_context_free(run->limits);
    free(run->ids);
    free(run->symbols);
    free(run->heap);
}

/* Returns the array with room for one more element, moved if necessary. Returns NULL when out of memory; the array is
 * then unchanged. */
static void *grow(void *array, size_t used, size_t *room, size_t element, struct hl_error *err)
{
    assert(array || !used);
    if (array && used < *room)
        return array;
    size_t more = *room ? 2 * *room : 64;
    void *larger = realloc(array, more * element);
    if (larger)
        *room = more;
    else
        hl_no_memory(err);
    return larger;
}

static int put_id(struct run *run, uint32_t id, struct hl_error *err)
{
    if (id >= run->t->n_tokens)
        return 0;
    int32_t *ids = grow(run->ids, run->n_ids, &run->room_ids, sizeof *ids, err);
    if (!ids)
        return -1;
    run->ids = ids;
    ids[run->n_ids++] = (int32_t)id;
    return 0;
}

static int add_symbol(struct run *run, uint32_t start, uint32_t bytes, uint32_t id, struct hl_error *err)
{
    struct symbol *symbols = grow(run->symbols, run->n_symbols, &run->room_symbols, sizeof *symbols, err);
    if (!symbols)
        return -1;
    run->symbols = symbols;
    uint32_t at = (uint32_t)run->n_symbols++;
    symbols[at] = (struct symbol){start, bytes, id, at ? at - 1 : HL_NONE, HL_NONE};
    if (at)
        symbols[at - 1].next = at;
    return 0;
}

static int push_candidate(struct run *run, struct candidate candidate, struct hl_error *err)
{
    struct candidate *heap = grow(run->heap, run->n_heap, &run->room_heap, sizeof *heap, err);
    if (!heap)
        return -1;
    run->heap = heap;
    size_t at = run->n_heap++;
    for (; at && candidate.key < heap[(at - 1) / HEAP_WAYS].key; at = (at - 1) / HEAP_WAYS)
        heap[at] = heap[(at - 1) / HEAP_WAYS];
    heap[at] = candidate;
    return 0;
}

static struct candidate pop_candidate(struct run *run)
{
    struct candidate *heap = run->heap, best = heap[0], last = heap[--run->n_heap];
    size_t at = 0;
    for (size_t child; (child = HEAP_WAYS * at + 1) < run->n_heap; at = child) {
        size_t end = child + HEAP_WAYS < run->n_heap ? child + HEAP_WAYS : run->n_heap;
        for (size_t other = child + 1; other < end; other++)
            if (heap[other].key < heap[child].key)
                child = other;
        if (heap[child].key >= last.key)
            break;
        heap[at] = heap[child];
    }
    heap[at] = last;
    return best;
}

/* Puts the pair (left, its next) on the heap if it can merge. */
static int consider(struct run *run, const uint8_t *word, uint32_t left, struct hl_error *err)
{
    const struct hl_tokenizer *t = run->t;
    const struct symbol *a = left == HL_NONE ? NULL : &run->symbols[left];
    if (!a || a->next == HL_NONE)
        return 0;
    const struct symbol *b = &run->symbols[a->next];
    struct candidate candidate = {.bytes = a->bytes + b->bytes};
    uint32_t rank;
    if (t->n_pairs) {
        const struct hl_pair_slot *pair =
            a->id == HL_NONE || b->id == HL_NONE ? NULL : hl_tokenizer_find_pair(t, a->id, b->id);
        if (!pair)
            return 0;
        rank = pair->rank;
        candidate.merged = pair->merged;
    } else {
        candidate.merged = hl_tokenizer_find_text(t, word + a->start, candidate.bytes);
        if (candidate.merged == HL_NONE)
            return 0;
        rank = t->tokens[candidate.merged].rank;
    }
    candidate.key = (uint64_t)rank << 32 | left;
    return push_candidate(run, candidate, err);
}

static int merge_symbols(struct run *run, const uint8_t *word, struct hl_error *err)
{
    struct symbol *symbols = run->symbols;
    for (uint32_t i = 0; i < run->n_symbols; i++)
        if (consider(run, word, i, err))
            return -1;
    while (run->n_heap) {
        struct candidate best = pop_candidate(run);
        uint32_t at = (uint32_t)best.key;
        struct symbol *left = &symbols[at];
        if (!left->bytes || left->next == HL_NONE || left->bytes + symbols[left->next].bytes != best.bytes)
            continue;
        struct symbol *right = &symbols[left->next];
        left->bytes = best.bytes;
        left->id = best.merged;
        left->next = right->next;
        right->bytes = 0;
        if (left->next != HL_NONE)
            symbols[left->next].previous = at;
        if (consider(run, word, left->previous, err) || consider(run, word, at, err))
            return -1;
    }
    return 0;
}

static bool has_bytes(const struct hl_tokenizer *t, const uint8_t *text, uint32_t n)
{
    if (!(t->flags & HL_TOKENIZER_BYTE_FALLBACK))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (t->bytes[text[i]] == HL_NONE)
            return false;
    return true;
}

/* Splits a word into its first symbols. An `unknown` symbol carries the id `unk` when merging by pairs, and HL_NONE
 * otherwise. */
static int split_word(struct run *run, const uint8_t *word, uint32_t n, struct hl_error *err)
{
    const struct hl_tokenizer *t = run->t;
    bool fused = false;
    uint32_t bytes;
    run->n_symbols = 0;
    for (uint32_t at = 0; at < n; at += bytes) {
        bytes = t->flags & HL_TOKENIZER_BYTE_LEVEL ? 1 : hl_utf8_length(word[at]);
        uint32_t id =
            t->flags & HL_TOKENIZER_BYTE_LEVEL ? t->bytes[word[at]] : hl_tokenizer_find_text(t, word + at, bytes);
        bool unknown = id == HL_NONE && t->n_pairs;
        if (unknown && has_bytes(t, word + at, bytes)) {
            unknown = false;
            for (uint32_t i = 0; i < bytes; i++)
                if (add_symbol(run, at + i, 1, t->bytes[word[at + i]], err))
                    return -1;
        } else if (unknown && fused) {
            run->symbols[run->n_symbols - 1].bytes += bytes;
        } else if (add_symbol(run, at, bytes, unknown ? t->unk : id, err)) {
            return -1;
        }
        fused = unknown && t->flags & HL_TOKENIZER_FUSE_UNK;
    }
    return 0;
}

static int put_symbols(struct run *run, const uint8_t *word, struct hl_error *err)
{
    const struct hl_tokenizer *t = run->t;
    bool fused = false;
    for (uint32_t i = 0; i != HL_NONE; i = run->symbols[i].next) {
        const struct symbol *symbol = &run->symbols[i];
        bool unknown = symbol->id == HL_NONE;
        if (unknown && has_bytes(t, word + symbol->start, symbol->bytes)) {
            unknown = false;
            for (uint32_t k = 0; k < symbol->bytes; k++)
                if (put_id(run, t->bytes[word[symbol->start + k]], err))
                    return -1;
        } else if (!(unknown && fused) && put_id(run, unknown ? t->unk : symbol->id, err)) {
            return -1;
        }
        fused = unknown && t->flags & HL_TOKENIZER_FUSE_UNK;
    }
    return 0;
}

static int encode_word(struct run *run, const uint8_t *word, size_t n, struct hl_error *err)
{
    if (!n)
        return 0;
    uint32_t whole = HL_NONE;
    if (run->t->flags & HL_TOKENIZER_WHOLE_WORDS && n <= HL_TOKEN_MAX_BYTES)
        whole = hl_tokenizer_find_text(run->t, word, (uint32_t)n);
    if (whole != HL_NONE)
        return put_id(run, whole, err);
    if (split_word(run, word, (uint32_t)n, err) || merge_symbols(run, word, err))
        return -1;
    return put_symbols(run, word, err);
}

/* Finds the next match of the pattern at or after `at`. *start == n when there is no match. */
static int next_word(struct run *run, const uint8_t *text, size_t n, size_t at, size_t *start, size_t *end,
                     struct hl_error *err)
{
    const pcre2_code *code = run->t->words;
    int found = pcre2_match(code, text, n, at, PCRE2_NO_UTF_CHECK, run->match, run->limits);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(code, text, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, run->match, run->limits);
    if (found < 0 && found != PCRE2_ERROR_NOMATCH)
        return hl_fail_as(err, HL_ERROR_REQUEST, "the tokenizer's split pattern fails at byte %zu of the text (%d)", at,
                          found);
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(run->match);
    *start = found == PCRE2_ERROR_NOMATCH ? n : span[0];
    *end = found == PCRE2_ERROR_NOMATCH ? n : span[1];
    return 0;
}

/* Encodes text without a pattern, cut at spaces. A cut never falls inside a character: a space is one byte. */
static int encode_between_spaces(struct run *run, const uint8_t *text, size_t n, struct hl_error *err)
{
    size_t done = 0;
    for (size_t at = 1; at < n; at++) {
        uint8_t last = text[at - 1];
        if (text[at] != ' ' || !(run->t->cuts[last / 8] >> last % 8 & 1))
            continue;
        if (encode_word(run, text + done, at - done, err))
            return -1;
        done = at;
    }
    return encode_word(run, text + done, n - done, err);
}

static int encode_by_pattern(struct run *run, const uint8_t *text, size_t n, struct hl_error *err)
{
    size_t done = 0; /* text before it is encoded */
    size_t start = n, end = n;
    HL_FREE uint8_t *seen = NULL;
    if (hl_tokenizer_stand_in(text, n, &seen, err))
        return -1;
    for (size_t at = 0; at < n;) {
        if (next_word(run, seen ? seen : text, n, at, &start, &end, err))
            return -1;
        if (start == n)
            break;
        if (start < at || end <= start || end > n) { /* not a word: empty, or a lookbehind before `at` */
            at += hl_utf8_length(text[at]);
            continue;
        }
        if (encode_word(run, text + done, start - done, err) || encode_word(run, text + start, end - start, err))
            return -1;
        done = at = end;
    }
    return encode_word(run, text + done, n - done, err);
}

/* Returns the length of the white space character [Unicode, PropList.txt] at the start of text[0..n), or 0. After the
 * normalizer, a space may stand for U+2581, which is not white space. */
static size_t white_space(const uint8_t *text, size_t n, bool space_is_mark)
{
    if (!n)
        return 0;
    uint32_t bytes = hl_utf8_length(text[0]), c = hl_utf8_decode(text);
    bool is_white = (c >= 0x09 && c <= 0x0D) || (c == ' ' && !space_is_mark) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
                    (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
                    c == 0x3000;
    return is_white ? bytes : 0;
}

/* Moves *start back to the beginning of the white space that ends there, but not before `least`. */
static void strip_left(const uint8_t *text, size_t least, size_t *start, bool space_is_mark)
{
    while (*start > least) {
        size_t before = *start - 1;
        while (before > least && hl_utf8_is_continuation(text[before]))
            before--;
        if (!white_space(text + before, *start - before, space_is_mark))
            return;
        *start = before;
    }
}

/* Cuts the added tokens of one stage out of the text. `rest` encodes the text between them. */
static int encode_around(struct run *run, const uint8_t *text, size_t n, unsigned stage,
                         int (*rest)(struct run *, const uint8_t *, size_t, bool, struct hl_error *),
                         struct hl_error *err)
{
    bool space_is_mark = !stage && run->t->flags & HL_TOKENIZER_ESCAPE_SPACE;
    size_t done = 0;
    for (size_t at = 0; at < n;) {
        const struct hl_added *added = hl_tokenizer_find_added(run->t, text + at, n - at, stage, run->special);
        if (!added) {
            at++;
            continue;
        }
        size_t start = at;
        if (added->flags & HL_ADDED_LSTRIP)
            strip_left(text, done, &start, space_is_mark);
        if (start > done && rest(run, text + done, start - done, done == 0, err))
            return -1;
        if (put_id(run, added->id, err))
            return -1;
        at += added->bytes;
        for (size_t bytes = 1; bytes && added->flags & HL_ADDED_RSTRIP; at += bytes)
            bytes = white_space(text + at, n - at, space_is_mark);
        done = at;
    }
    return n > done ? rest(run, text + done, n - done, done == 0, err) : 0;
}

static int encode_normal(struct run *run, const uint8_t *text, size_t n, bool at_start, struct hl_error *err)
{
    (void)at_start;
    return run->t->words ? encode_by_pattern(run, text, n, err) : encode_between_spaces(run, text, n, err);
}

static int encode_segment(struct run *run, const uint8_t *text, size_t n, bool at_start, struct hl_error *err)
{
    HL_FREE uint8_t *normal = NULL;
    if (hl_tokenizer_normalize(run->t, text, n, at_start, &normal, &n, err))
        return -1;
    return encode_around(run, normal ? normal : text, n, 0, encode_normal, err);
}

/* A real pattern gives back a run of white space once, character by character. A forged one must not run forever. */
#define MATCH_STEPS 10000000u
#define MATCH_STEPS_PER_BYTE 4u

static int open_match(struct run *run, size_t n, struct hl_error *err)
{
    run->match = pcre2_match_data_create(1, NULL);
    run->limits = pcre2_match_context_create(NULL);
    if (!run->match || !run->limits)
        return hl_no_memory(err);
    return pcre2_set_match_limit(run->limits, MATCH_STEPS + MATCH_STEPS_PER_BYTE * (uint32_t)n);
}

static int encode_text(struct run *run, const uint8_t *text, size_t n, unsigned flags, struct hl_error *err)
{
    const struct hl_tokenizer *t = run->t;
    HL_FREE uint8_t *repaired = NULL;
    if (hl_utf8_repair(text, n, &repaired, &n, err))
        return -1;
    if (t->words && open_match(run, n, err))
        return -1;
    if (flags & HL_ENCODE_BOS && t->flags & HL_TOKENIZER_ADD_BOS && put_id(run, t->bos, err))
        return -1;
    if (encode_around(run, repaired ? repaired : text, n, HL_ADDED_RAW, encode_segment, err))
        return -1;
    if (flags & HL_ENCODE_BOS && t->flags & HL_TOKENIZER_ADD_EOS && put_id(run, t->eos, err))
        return -1;
    return 0;
}

int hl_tokenizer_encode(const struct hl_tokenizer *t, const char *text, size_t n, unsigned flags, int32_t **ids,
                        size_t *n_ids, struct hl_error *err)
{
    __attribute__((cleanup(release_run))) struct run run = {.t = t, .special = flags & HL_ENCODE_SPECIAL};
    if (!t->n_tokens)
        return hl_fail_as(err, HL_ERROR_REQUEST,
                          "this model was packed without a tokenizer: it takes token numbers, not text");
    if (n > HL_ENCODE_MAX_BYTES)
        return hl_fail_as(err, HL_ERROR_REQUEST, "a text of %zu bytes is too long to tokenize at once", n);
    if (encode_text(&run, (const uint8_t *)text, n, flags, err))
        return -1;
    *ids = run.ids;
    *n_ids = run.n_ids;
    run.ids = NULL;
    return 0;
}
