/* The methods of Python's str, on UTF-8: positions and lengths count characters, not bytes. */
#include "runtime/template/core/characters.h"
#include "runtime/template/jinja/jinja_library.h"

enum { SELF, FIRST, SECOND, THIRD };

static struct hl_value part(struct hl_value s, size_t from, size_t to)
{
    return hl_string(s.text + from, to - from);
}

/* Returns the length of the character before text[at]. */
static size_t before(struct hl_value s, size_t at)
{
    size_t n = 1;
    while (n < at && ((unsigned char)s.text[at - n] & 0xC0) == 0x80)
        n++;
    return n;
}

static bool strips(struct hl_value chars, const char *c, size_t n)
{
    size_t bytes;
    if (chars.kind != HL_VALUE_STRING)
        return hl_char_is_space(hl_char_at(c, n, &bytes));
    return memmem(chars.text, chars.n, c, n) != NULL;
}

int hl_string_strip(struct hl_run *run, struct hl_value s, struct hl_value chars, int sides, struct hl_value *out)
{
    size_t from = 0, to = s.n, n;
    if (chars.kind != HL_VALUE_STRING && chars.kind != HL_VALUE_NONE && chars.kind != HL_VALUE_ABSENT)
        return hl_run_fail(run, "strip takes a string or None, not '%s'", hl_value_type(chars));
    for (; sides & HL_STRIP_LEFT && from < to; from += n) {
        hl_char_at(s.text + from, to - from, &n);
        if (!strips(chars, s.text + from, n))
            break;
    }
    for (; sides & HL_STRIP_RIGHT && to > from; to -= n) {
        n = before(s, to);
        if (!strips(chars, s.text + to - n, n))
            break;
    }
    *out = part(s, from, to);
    return hl_arena_pay(run->arena, chars.kind == HL_VALUE_STRING ? (s.n - (to - from)) * (1 + chars.n / 64) : 0,
                        run->err);
}

static int strip(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return hl_string_strip(run, args->values[SELF], args->values[FIRST], HL_STRIP_LEFT | HL_STRIP_RIGHT, out);
}

static int lstrip(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return hl_string_strip(run, args->values[SELF], args->values[FIRST], HL_STRIP_LEFT, out);
}

static int rstrip(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return hl_string_strip(run, args->values[SELF], args->values[FIRST], HL_STRIP_RIGHT, out);
}

/* Splitting. rsplit finds the right-most pieces first and reverses them at the end. */

struct split {
    struct hl_value s, separator; /* ABSENT: white space */
    bool right;
    int64_t most;
};

/* Pays for a search from the right, which compares at every place and may read the whole separator each time. */
static int pay_for(struct hl_run *run, const struct split *p)
{
    uint64_t places = p->s.n / 64, each = 1 + p->separator.n / 64;
    return hl_arena_pay(run->arena, p->right ? places * each : places, run->err);
}

/* Finds the next separator in s[from, to), from the requested side. */
static bool find_separator(const struct split *p, size_t from, size_t to, size_t *at, size_t *end)
{
    const struct hl_value *sep = &p->separator;
    const char *found = NULL;
    if (!p->right) {
        found = memmem(p->s.text + from, to - from, sep->text, sep->n);
    } else {
        for (size_t i = to; !found && i >= from + sep->n; i--)
            if (!memcmp(p->s.text + i - sep->n, sep->text, sep->n))
                found = p->s.text + i - sep->n;
    }
    if (!found)
        return false;
    *at = (size_t)(found - p->s.text);
    *end = *at + sep->n;
    return true;
}

static size_t skip_space(struct hl_value s, size_t from, size_t to, bool right)
{
    size_t n, at = right ? to : from;
    while (right ? at > from : at < to) {
        if (right)
            n = before(s, at);
        int32_t c = right ? hl_char_at(s.text + at - n, n, &n) : hl_char_at(s.text + at, to - at, &n);
        if (!hl_char_is_space(c))
            break;
        at = right ? at - n : at + n;
    }
    return at;
}

static size_t skip_word(struct hl_value s, size_t from, size_t to, bool right)
{
    size_t n, at = right ? to : from;
    while (right ? at > from : at < to) {
        if (right)
            n = before(s, at);
        int32_t c = right ? hl_char_at(s.text + at - n, n, &n) : hl_char_at(s.text + at, to - at, &n);
        if (hl_char_is_space(c))
            break;
        at = right ? at - n : at + n;
    }
    return at;
}

static int split_words(struct hl_run *run, const struct split *p, struct hl_list *list)
{
    size_t from = 0, to = p->s.n;
    for (int64_t count = 0;; count++) {
        size_t at = skip_space(p->s, from, to, p->right), end;
        if (at == (p->right ? from : to))
            return 0;
        if (p->most >= 0 && count >= p->most) { /* the rest, without the white space on its other end */
            struct hl_value rest = p->right ? part(p->s, from, at) : part(p->s, at, to);
            return hl_list_push(run->arena, list, rest, run->err);
        }
        end = p->right ? skip_word(p->s, from, at, true) : skip_word(p->s, at, to, false);
        if (hl_list_push(run->arena, list, p->right ? part(p->s, end, at) : part(p->s, at, end), run->err) ||
            hl_arena_pay(run->arena, 1, run->err))
            return -1;
        if (p->right)
            to = end;
        else
            from = end;
    }
}

static int split_at(struct hl_run *run, const struct split *p, struct hl_list *list)
{
    size_t from = 0, to = p->s.n, at, end;
    for (int64_t count = 0; (p->most < 0 || count < p->most) && find_separator(p, from, to, &at, &end); count++) {
        if (hl_list_push(run->arena, list, p->right ? part(p->s, end, to) : part(p->s, from, at), run->err) ||
            hl_arena_pay(run->arena, 1, run->err))
            return -1;
        if (p->right)
            to = at;
        else
            from = end;
    }
    return hl_list_push(run->arena, list, part(p->s, from, to), run->err);
}

static int split_either(struct hl_run *run, const struct hl_args *args, bool right, struct hl_value *out)
{
    struct split p = {.s = args->values[SELF], .separator = args->values[FIRST], .right = right};
    bool words = p.separator.kind == HL_VALUE_NONE || p.separator.kind == HL_VALUE_ABSENT;
    if ((!words && hl_args_text(run, args, FIRST, &p.separator)) || hl_args_int(run, args, SECOND, -1, &p.most) ||
        hl_list_new(run->arena, HL_VALUE_LIST, 0, out, run->err))
        return -1;
    if (!words && !p.separator.n)
        return hl_run_fail(run, "empty separator");
    if (!words && pay_for(run, &p))
        return -1;
    if (words ? split_words(run, &p, out->list) : split_at(run, &p, out->list))
        return -1;
    for (uint32_t i = 0; right && i < out->list->n / 2; i++) {
        struct hl_value swap = out->list->items[i];
        out->list->items[i] = out->list->items[out->list->n - 1 - i];
        out->list->items[out->list->n - 1 - i] = swap;
    }
    return 0;
}

static int split(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return split_either(run, args, false, out);
}

static int rsplit(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return split_either(run, args, true, out);
}

int hl_string_lines(struct hl_run *run, struct hl_value s, bool keep, struct hl_value *out)
{
    size_t from = 0, n;
    if (hl_list_new(run->arena, HL_VALUE_LIST, 0, out, run->err))
        return -1;
    for (size_t at = 0; at < s.n; at += n) {
        int32_t c = hl_char_at(s.text + at, s.n - at, &n);
        if (!hl_char_is_line_end(c))
            continue;
        if (c == '\r' && at + 1 < s.n && s.text[at + 1] == '\n')
            n = 2;
        if (hl_list_push(run->arena, out->list, part(s, from, keep ? at + n : at), run->err))
            return -1;
        from = at + n;
    }
    return from < s.n ? hl_list_push(run->arena, out->list, part(s, from, s.n), run->err) : 0;
}

static int splitlines(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    bool keep = hl_args_given(args, FIRST) && hl_value_truth(args->values[FIRST]);
    return hl_string_lines(run, args->values[SELF], keep, out);
}

static int partition_either(struct hl_run *run, const struct hl_args *args, bool right, struct hl_value *out)
{
    struct split p = {.s = args->values[SELF], .right = right};
    size_t at = right ? 0 : p.s.n, end = at;
    if (hl_args_text(run, args, FIRST, &p.separator) || pay_for(run, &p))
        return -1;
    if (!p.separator.n)
        return hl_run_fail(run, "empty separator");
    find_separator(&p, 0, p.s.n, &at, &end);
    const struct hl_value parts[] = {part(p.s, 0, at), part(p.s, at, end), part(p.s, end, p.s.n)};
    if (hl_list_new(run->arena, HL_VALUE_TUPLE, 3, out, run->err))
        return -1;
    for (int i = 0; i < 3; i++)
        out->list->items[out->list->n++] = parts[i];
    return 0;
}

static int partition(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return partition_either(run, args, false, out);
}

static int rpartition(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return partition_either(run, args, true, out);
}

/* Searching */

/* Converts the arguments of s[start:end], after the first, to bytes. *base is the number of characters before the
 * range. Returns false when the range is outside the string. */
static int search_range(struct hl_run *run, const struct hl_args *args, size_t *from, size_t *to, int64_t *base,
                        bool *exists)
{
    struct hl_value s = args->values[SELF];
    int64_t start, end, n;
    *from = 0;
    *to = s.n;
    *base = 0;
    *exists = true;
    if (!hl_args_given(args, SECOND) && !hl_args_given(args, THIRD))
        return 0;
    n = (int64_t)hl_char_count(s.text, s.n);
    if (hl_args_int(run, args, SECOND, 0, &start) || hl_args_int(run, args, THIRD, n, &end))
        return -1;
    start = start < -n ? 0 : start < 0 ? start + n : start;
    end = end < -n ? 0 : end < 0 ? end + n : end > n ? n : end;
    *exists = start <= end;
    if (*exists) {
        *from = hl_char_offset(s.text, s.n, (size_t)start);
        *to = hl_char_offset(s.text, s.n, (size_t)end);
        *base = start;
    }
    return 0;
}

static int find_either(struct hl_run *run, const struct hl_args *args, bool right, bool must, struct hl_value *out)
{
    struct split p = {.s = args->values[SELF], .right = right};
    size_t from, to, at, end;
    int64_t base;
    bool exists;
    if (hl_args_text(run, args, FIRST, &p.separator) || search_range(run, args, &from, &to, &base, &exists) ||
        pay_for(run, &p))
        return -1;
    *out = hl_int(-1);
    if (exists && find_separator(&p, from, to, &at, &end))
        *out = hl_int(base + (int64_t)hl_char_count(p.s.text + from, at - from));
    else if (must)
        return hl_run_fail(run, "substring not found");
    return 0;
}

static int find(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return find_either(run, args, false, false, out);
}

static int rfind(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return find_either(run, args, true, false, out);
}

static int index_of(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return find_either(run, args, false, true, out);
}

static int rindex_of(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return find_either(run, args, true, true, out);
}

static int count(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct split p = {.s = args->values[SELF]};
    size_t from, to, at, end;
    int64_t base, found = 0;
    bool exists;
    if (hl_args_text(run, args, FIRST, &p.separator) || search_range(run, args, &from, &to, &base, &exists))
        return -1;
    if (exists && !p.separator.n)
        found = (int64_t)hl_char_count(p.s.text + from, to - from) + 1;
    for (; exists && p.separator.n && find_separator(&p, from, to, &at, &end); found++)
        from = end;
    *out = hl_int(found);
    return 0;
}

static int affix(struct hl_run *run, const struct hl_args *args, bool right, struct hl_value *out)
{
    struct hl_value s = args->values[SELF], given = args->values[FIRST];
    size_t from, to;
    int64_t base;
    bool exists, tuple = given.kind == HL_VALUE_TUPLE;
    if (search_range(run, args, &from, &to, &base, &exists))
        return -1;
    *out = hl_bool(false);
    for (uint32_t i = 0; i < (tuple ? given.list->n : 1); i++) {
        struct hl_value one = tuple ? given.list->items[i] : given;
        if (one.kind != HL_VALUE_STRING)
            return one.kind == HL_VALUE_UNDEFINED
                       ? hl_run_undefined(run, one)
                       : hl_run_fail(run, "startswith and endswith take a string or a tuple of strings, not '%s'",
                                     hl_value_type(one));
        const char *at = right ? s.text + to - one.n : s.text + from;
        if (exists && one.n <= to - from && !memcmp(at, one.text, one.n)) {
            *out = hl_bool(true);
            return 0;
        }
    }
    return 0;
}

static int startswith(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return affix(run, args, false, out);
}

static int endswith(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return affix(run, args, true, out);
}

static int removeprefix(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value s = args->values[SELF], one;
    if (hl_args_text(run, args, FIRST, &one))
        return -1;
    bool has = one.n <= s.n && !memcmp(s.text, one.text, one.n);
    *out = part(s, has ? one.n : 0, s.n);
    return 0;
}

static int removesuffix(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value s = args->values[SELF], one;
    if (hl_args_text(run, args, FIRST, &one))
        return -1;
    bool has = one.n <= s.n && !memcmp(s.text + s.n - one.n, one.text, one.n);
    *out = part(s, 0, has ? s.n - one.n : s.n);
    return 0;
}

int hl_string_replace(struct hl_run *run, struct hl_value s, struct hl_value old, struct hl_value fresh, int64_t most,
                      struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    size_t at = 0, n;
    for (int64_t i = 0; (most < 0 || i < most) && hl_arena_pay(run->arena, 1, run->err) == 0; i++) {
        const char *found = old.n ? memmem(s.text + at, s.n - at, old.text, old.n) : s.text + at;
        if (!found)
            break;
        if (hl_text_put(&text, s.text + at, (size_t)(found - s.text) - at, run->err) ||
            hl_text_put(&text, fresh.text, fresh.n, run->err))
            return -1;
        at = (size_t)(found - s.text) + old.n;
        if (old.n)
            continue;
        if (at == s.n)
            break;
        hl_char_at(s.text + at, s.n - at, &n);
        if (hl_text_put(&text, s.text + at, n, run->err))
            return -1;
        at += n;
    }
    if (hl_text_put(&text, s.text + at, s.n - at, run->err) || !run->arena->work)
        return hl_arena_pay(run->arena, 1, run->err);
    *out = hl_text_value(&text);
    return 0;
}

static int replace(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value old, fresh;
    int64_t most;
    if (hl_args_text(run, args, FIRST, &old) || hl_args_text(run, args, SECOND, &fresh) ||
        hl_args_int(run, args, THIRD, -1, &most))
        return -1;
    return hl_string_replace(run, args->values[SELF], old, fresh, most, out);
}

static int join(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    struct hl_value s = args->values[SELF], item;
    struct hl_iterator items;
    int got;
    bool first = true;
    if (hl_iterator_open(run, args->values[FIRST], &items))
        return -1;
    while ((got = hl_iterator_next(run, &items, &item)) > 0) {
        if (item.kind != HL_VALUE_STRING)
            return hl_run_fail(run, "join takes strings, not '%s'", hl_value_type(item));
        if ((!first && hl_text_put(&text, s.text, s.n, run->err)) || hl_text_put(&text, item.text, item.n, run->err))
            return -1;
        first = false;
    }
    *out = hl_text_value(&text);
    return got;
}

/* Case */

enum change { UPPER, LOWER, TITLE, CAPITALIZE, SWAP, FOLD };

static unsigned change_char(struct hl_value s, size_t at, int32_t c, enum change how, bool first, int32_t out[3])
{
    switch (how) {
    case UPPER:
        return hl_char_upper(c, out);
    case LOWER:
        return hl_char_lower(s.text, s.n, at, out);
    case FOLD:
        return hl_char_fold(c, out);
    case SWAP:
        if (hl_char_is_upper(c))
            return hl_char_lower(s.text, s.n, at, out);
        if (hl_char_is_lower(c))
            return hl_char_upper(c, out);
        out[0] = c;
        return 1;
    default:
        return first ? hl_char_title(c, out) : hl_char_lower(s.text, s.n, at, out);
    }
}

static int change_case(struct hl_run *run, struct hl_value s, enum change how, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    bool first = true;
    size_t n;
    for (size_t at = 0; at < s.n; at += n) {
        int32_t c = hl_char_at(s.text + at, s.n - at, &n), changed[HL_CASE_MOST];
        char bytes[4];
        unsigned count_changed = change_char(s, at, c, how, first, changed);
        for (unsigned i = 0; i < count_changed; i++)
            if (hl_text_put(&text, bytes, hl_char_put(changed[i], bytes), run->err))
                return -1;
        first = how == TITLE && !hl_char_is_cased(c);
    }
    *out = hl_text_value(&text);
    return hl_arena_pay(run->arena, s.n / 8, run->err);
}

int hl_string_upper(struct hl_run *run, struct hl_value s, struct hl_value *out)
{
    return change_case(run, s, UPPER, out);
}

int hl_string_lower(struct hl_run *run, struct hl_value s, struct hl_value *out)
{
    return change_case(run, s, LOWER, out);
}

int hl_string_capitalize(struct hl_run *run, struct hl_value s, struct hl_value *out)
{
    return change_case(run, s, CAPITALIZE, out);
}

static int upper(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return change_case(run, args->values[SELF], UPPER, out);
}

static int lower(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return change_case(run, args->values[SELF], LOWER, out);
}

static int title(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return change_case(run, args->values[SELF], TITLE, out);
}

static int capitalize(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return change_case(run, args->values[SELF], CAPITALIZE, out);
}

static int swapcase(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return change_case(run, args->values[SELF], SWAP, out);
}

static int casefold(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return change_case(run, args->values[SELF], FOLD, out);
}

/* Padding */

#define WIDTH_MOST ((int64_t)1 << 20)

static int fill_up(struct hl_run *run, struct hl_value s, int64_t left, int64_t right, struct hl_value fill,
                   struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    if (fill.kind == HL_VALUE_ABSENT)
        fill = hl_string(" ", 1);
    if (fill.kind != HL_VALUE_STRING || hl_char_count(fill.text, fill.n) != 1)
        return hl_run_fail(run, "the fill character must be one character");
    if (left > WIDTH_MOST || right > WIDTH_MOST)
        return hl_run_fail(run, "a width of more than %d is not supported", (int)WIDTH_MOST);
    for (int64_t i = 0; i < left; i++)
        if (hl_text_put(&text, fill.text, fill.n, run->err))
            return -1;
    if (hl_text_put(&text, s.text, s.n, run->err))
        return -1;
    for (int64_t i = 0; i < right; i++)
        if (hl_text_put(&text, fill.text, fill.n, run->err))
            return -1;
    *out = hl_text_value(&text);
    return hl_arena_pay(run->arena, (uint64_t)((left > 0 ? left : 0) + (right > 0 ? right : 0)) / 8, run->err);
}

int hl_string_center(struct hl_run *run, struct hl_value s, int64_t width, struct hl_value fill, struct hl_value *out)
{
    int64_t n = (int64_t)hl_char_count(s.text, s.n), space = width > n ? width - n : 0;
    int64_t left = space / 2 + (space & width & 1);
    return fill_up(run, s, left, space - left, fill, out);
}

static int wanted_width(struct hl_run *run, const struct hl_args *args, int64_t *width)
{
    if (args->values[FIRST].kind == HL_VALUE_NONE)
        return hl_run_fail(run, "the width must be an integer, not None");
    return hl_args_int(run, args, FIRST, 0, width);
}

static int center(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    int64_t width = 0;
    if (wanted_width(run, args, &width))
        return -1;
    return hl_string_center(run, args->values[SELF], width, args->values[SECOND], out);
}

static int justify(struct hl_run *run, const struct hl_args *args, bool right, struct hl_value *out)
{
    struct hl_value s = args->values[SELF];
    int64_t width = 0, n = (int64_t)hl_char_count(s.text, s.n);
    if (wanted_width(run, args, &width))
        return -1;
    int64_t space = width > n ? width - n : 0;
    return fill_up(run, s, right ? space : 0, right ? 0 : space, args->values[SECOND], out);
}

static int ljust(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return justify(run, args, false, out);
}

static int rjust(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return justify(run, args, true, out);
}

static int zfill(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value s = args->values[SELF], digits = {0};
    int64_t width = 0, n = (int64_t)hl_char_count(s.text, s.n);
    if (wanted_width(run, args, &width))
        return -1;
    size_t sign = s.n && (*s.text == '+' || *s.text == '-');
    if (fill_up(run, part(s, sign, s.n), width > n ? width - n : 0, 0, hl_string("0", 1), &digits))
        return -1;
    return hl_operate_binary(run, HL_BINARY_ADD, part(s, 0, sign), digits, out);
}

/* Predicates */

static bool every(struct hl_value s, bool (*is)(int32_t c))
{
    size_t n;
    for (size_t at = 0; at < s.n; at += n)
        if (!is(hl_char_at(s.text + at, s.n - at, &n)))
            return false;
    return s.n > 0;
}

static bool is_alnum(int32_t c)
{
    return hl_char_is_alpha(c) || hl_char_is_numeric(c);
}

static bool is_ascii(int32_t c)
{
    return c < 0x80;
}

/* Returns whether some letter is of this case, and no letter of another case. */
static bool all_cased(struct hl_value s, bool (*is)(int32_t c))
{
    bool some = false;
    size_t n;
    for (size_t at = 0; at < s.n; at += n) {
        int32_t c = hl_char_at(s.text + at, s.n - at, &n);
        bool right = is(c);
        if (!right && hl_char_is_cased(c))
            return false;
        some = some || right;
    }
    return some;
}

bool hl_string_is_upper(struct hl_value s)
{
    return all_cased(s, hl_char_is_upper);
}

bool hl_string_is_lower(struct hl_value s)
{
    return all_cased(s, hl_char_is_lower);
}

#define QUESTION(name, answer)                                                                                         \
    static int name(struct hl_run *run, const struct hl_args *args, struct hl_value *out)                              \
    {                                                                                                                  \
        struct hl_value s = args->values[SELF];                                                                        \
        *out = hl_bool(answer);                                                                                        \
        return hl_arena_pay(run->arena, s.n / 8, run->err);                                                            \
    }

QUESTION(isalnum_, every(s, is_alnum))
QUESTION(isalpha_, every(s, hl_char_is_alpha))
QUESTION(isascii_, !s.n || every(s, is_ascii))
QUESTION(isdecimal_, every(s, hl_char_is_decimal))
QUESTION(isdigit_, every(s, hl_char_is_digit))
QUESTION(isnumeric_, every(s, hl_char_is_numeric))
QUESTION(isprintable_, !s.n || every(s, hl_char_is_printable))
QUESTION(isspace_, every(s, hl_char_is_space))
QUESTION(islower_, hl_string_is_lower(s))
QUESTION(isupper_, hl_string_is_upper(s))

static int format(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return hl_format_braces(run, args->values[SELF], args, out);
}

const struct hl_builtin hl_jinja_strings[] = {
    {"str", "capitalize", "-", 1, capitalize},
    {"str", "casefold", "-", 1, casefold},
    {"str", "center", "- - -", 2, center},
    {"str", "count", "- - - -", 2, count},
    {"str", "endswith", "- - - -", 2, endswith},
    {"str", "find", "- - - -", 2, find},
    {"str", "format", NULL, 1, format},
    {"str", "index", "- - - -", 2, index_of},
    {"str", "isalnum", "-", 1, isalnum_},
    {"str", "isalpha", "-", 1, isalpha_},
    {"str", "isascii", "-", 1, isascii_},
    {"str", "isdecimal", "-", 1, isdecimal_},
    {"str", "isdigit", "-", 1, isdigit_},
    {"str", "islower", "-", 1, islower_},
    {"str", "isnumeric", "-", 1, isnumeric_},
    {"str", "isprintable", "-", 1, isprintable_},
    {"str", "isspace", "-", 1, isspace_},
    {"str", "isupper", "-", 1, isupper_},
    {"str", "join", "- -", 2, join},
    {"str", "ljust", "- - -", 2, ljust},
    {"str", "lower", "-", 1, lower},
    {"str", "lstrip", "- -", 1, lstrip},
    {"str", "partition", "- -", 2, partition},
    {"str", "removeprefix", "- -", 2, removeprefix},
    {"str", "removesuffix", "- -", 2, removesuffix},
    {"str", "replace", "- - - -", 3, replace},
    {"str", "rfind", "- - - -", 2, rfind},
    {"str", "rindex", "- - - -", 2, rindex_of},
    {"str", "rjust", "- - -", 2, rjust},
    {"str", "rpartition", "- -", 2, rpartition},
    {"str", "rsplit", "- sep maxsplit", 1, rsplit},
    {"str", "rstrip", "- -", 1, rstrip},
    {"str", "split", "- sep maxsplit", 1, split},
    {"str", "splitlines", "- keepends", 1, splitlines},
    {"str", "startswith", "- - - -", 2, startswith},
    {"str", "strip", "- -", 1, strip},
    {"str", "swapcase", "-", 1, swapcase},
    {"str", "title", "-", 1, title},
    {"str", "upper", "-", 1, upper},
    {"str", "zfill", "- -", 2, zfill},
    {0},
};
