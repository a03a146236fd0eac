/* Operators, with Python's results. Ints are exact or refused, never wrapped; // and % round towards minus infinity. */
#include "runtime/template/core/characters.h"
#include "runtime/template/jinja/jinja_library.h"
#include <math.h>

static double real(struct hl_value value)
{
    return value.kind == HL_VALUE_FLOAT ? value.real : (double)hl_value_whole(value);
}

static int too_large(struct hl_run *run)
{
    return hl_run_fail(run, "integers beyond 64 bits are not supported");
}

int hl_operate_unary(struct hl_run *run, enum hl_unary op, struct hl_value a, struct hl_value *out)
{
    if (a.kind == HL_VALUE_UNDEFINED)
        return hl_run_undefined(run, a);
    if (!hl_value_is_number(a))
        return hl_run_fail(run, "bad operand type for unary %c: '%s'", op == HL_UNARY_NEGATIVE ? '-' : '+',
                           hl_value_type(a));
    *out = hl_value_is_whole(a) ? hl_int(hl_value_whole(a)) : a;
    if (op == HL_UNARY_POSITIVE)
        return 0;
    if (hl_value_is_whole(a) && hl_value_whole(a) == INT64_MIN)
        return too_large(run);
    *out = hl_value_is_whole(a) ? hl_int(-hl_value_whole(a)) : hl_float(-a.real);
    return 0;
}

static int pow_whole(struct hl_run *run, int64_t a, int64_t b, struct hl_value *out)
{
    int64_t result = 1, square = a;
    if (b < 0) {
        if (!a)
            return hl_run_fail(run, "0 cannot be raised to a negative power");
        *out = hl_float(pow((double)a, (double)b));
        return 0;
    }
    while (b) {
        if (b & 1 && __builtin_mul_overflow(result, square, &result))
            return too_large(run);
        b >>= 1;
        if (b && __builtin_mul_overflow(square, square, &square))
            return too_large(run);
    }
    *out = hl_int(result);
    return 0;
}

/* Divides and rounds once if doubles represent both operands; larger operands use the additional digits of a long
 * double. */
static double divide_whole(int64_t a, int64_t b)
{
    const int64_t exact = (int64_t)1 << 53;
    if (a >= -exact && a <= exact && b >= -exact && b <= exact)
        return (double)a / (double)b;
    return (double)((long double)a / (long double)b);
}

static int operate_whole(struct hl_run *run, enum hl_binary op, int64_t a, int64_t b, struct hl_value *out)
{
    int64_t result = 0;
    bool overflows = false;
    if (op >= HL_BINARY_DIV && op <= HL_BINARY_MOD && !b)
        return hl_run_fail(run, "division by zero");
    switch (op) {
    case HL_BINARY_ADD:
        overflows = __builtin_add_overflow(a, b, &result);
        break;
    case HL_BINARY_SUB:
        overflows = __builtin_sub_overflow(a, b, &result);
        break;
    case HL_BINARY_MUL:
        overflows = __builtin_mul_overflow(a, b, &result);
        break;
    case HL_BINARY_DIV:
        *out = hl_float(divide_whole(a, b));
        return 0;
    case HL_BINARY_FLOORDIV:
        overflows = a == INT64_MIN && b == -1;
        if (!overflows)
            result = a / b - (a % b && (a < 0) != (b < 0));
        break;
    case HL_BINARY_MOD:
        result = b == -1 ? 0 : a % b;
        result += result && (result < 0) != (b < 0) ? b : 0;
        break;
    default:
        return pow_whole(run, a, b, out);
    }
    *out = hl_int(result);
    return overflows ? too_large(run) : 0;
}

/* Returns the quotient rounded down and its remainder, as Python's float_divmod does. */
static void divide_real(double a, double b, double *quotient, double *remainder)
{
    double rest = fmod(a, b), count = (a - rest) / b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
        rest += b;
        count -= 1;
    } else if (rest == 0) {
        rest = copysign(0, b);
    }
    *remainder = rest;
    *quotient = count != 0 ? floor(count) + (count - floor(count) > 0.5) : copysign(0, a / b);
}

static int operate_real(struct hl_run *run, enum hl_binary op, double a, double b, struct hl_value *out)
{
    double quotient, remainder;
    if (op >= HL_BINARY_DIV && op <= HL_BINARY_MOD && b == 0)
        return hl_run_fail(run, "division by zero");
    switch (op) {
    case HL_BINARY_ADD:
        *out = hl_float(a + b);
        return 0;
    case HL_BINARY_SUB:
        *out = hl_float(a - b);
        return 0;
    case HL_BINARY_MUL:
        *out = hl_float(a * b);
        return 0;
    case HL_BINARY_DIV:
        *out = hl_float(a / b);
        return 0;
    case HL_BINARY_FLOORDIV:
    case HL_BINARY_MOD:
        divide_real(a, b, &quotient, &remainder);
        *out = hl_float(op == HL_BINARY_MOD ? remainder : quotient);
        return 0;
    default:
        *out = hl_float(pow(a, b));
        if ((a == 0 && b < 0) || (isfinite(a) && isfinite(b) && !isfinite(out->real)))
            return hl_run_fail(run, "the power is out of range");
        return 0;
    }
}

/* Repeats a text or items. */
static int repeat(struct hl_run *run, struct hl_value a, int64_t times, struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    if (times < 0)
        times = 0;
    if (a.kind == HL_VALUE_STRING) {
        for (int64_t i = 0; a.n && i < times; i++)
            if (hl_arena_pay(run->arena, 1, run->err) || hl_text_put(&text, a.text, a.n, run->err))
                return -1;
        *out = hl_text_value(&text);
        out->flags = a.flags;
        return 0;
    }
    if (hl_list_new(run->arena, a.kind, 0, out, run->err))
        return -1;
    for (int64_t i = 0; a.list->n && i < times; i++)
        for (uint32_t k = 0; k < a.list->n; k++)
            if (hl_arena_pay(run->arena, 1, run->err) ||
                hl_list_push(run->arena, out->list, a.list->items[k], run->err))
                return -1;
    return 0;
}

static bool is_sequence(struct hl_value value)
{
    return value.kind == HL_VALUE_STRING || value.kind == HL_VALUE_LIST || value.kind == HL_VALUE_TUPLE;
}

/* Joins two texts. Text added to Markup is escaped, unless it is Markup too. */
static int join_texts(struct hl_run *run, struct hl_value a, struct hl_value b, struct hl_value *out)
{
    bool safe = a.flags & HL_STRING_SAFE || b.flags & HL_STRING_SAFE;
    if (safe && !(a.flags & HL_STRING_SAFE) && hl_filters_escape(run, a, &a))
        return -1;
    if (safe && !(b.flags & HL_STRING_SAFE) && hl_filters_escape(run, b, &b))
        return -1;
    struct hl_text text = {.arena = run->arena, .room = (size_t)a.n + b.n};
    if (!(text.data = hl_run_alloc(run, text.room)) || hl_text_put(&text, a.text, a.n, run->err) ||
        hl_text_put(&text, b.text, b.n, run->err))
        return -1;
    if (text.n > UINT32_MAX / 2)
        return hl_arena_full(run->arena, run->err);
    *out = hl_text_value(&text);
    out->flags = safe ? HL_STRING_SAFE : 0;
    return 0;
}

static int add_sequences(struct hl_run *run, struct hl_value a, struct hl_value b, struct hl_value *out)
{
    if (a.kind == HL_VALUE_STRING)
        return join_texts(run, a, b, out);
    if (hl_arena_pay(run->arena, (uint64_t)a.list->n + b.list->n, run->err) ||
        hl_list_new(run->arena, a.kind, (size_t)a.list->n + b.list->n, out, run->err))
        return -1;
    for (uint32_t i = 0; i < a.list->n; i++)
        out->list->items[out->list->n++] = a.list->items[i];
    for (uint32_t i = 0; i < b.list->n; i++)
        out->list->items[out->list->n++] = b.list->items[i];
    return 0;
}

int hl_operate_binary(struct hl_run *run, enum hl_binary op, struct hl_value a, struct hl_value b, struct hl_value *out)
{
    static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "**"};
    if (op == HL_BINARY_MOD && a.kind == HL_VALUE_STRING)
        return hl_format_percent(run, a, b, out);
    if (a.kind == HL_VALUE_UNDEFINED || b.kind == HL_VALUE_UNDEFINED)
        return hl_run_undefined(run, a.kind == HL_VALUE_UNDEFINED ? a : b);
    if (hl_value_is_whole(a) && hl_value_is_whole(b))
        return operate_whole(run, op, hl_value_whole(a), hl_value_whole(b), out);
    if (hl_value_is_number(a) && hl_value_is_number(b))
        return operate_real(run, op, real(a), real(b), out);
    if (op == HL_BINARY_ADD && a.kind == b.kind && is_sequence(a))
        return add_sequences(run, a, b, out);
    if (op == HL_BINARY_MUL && is_sequence(a) && hl_value_is_whole(b))
        return repeat(run, a, hl_value_whole(b), out);
    if (op == HL_BINARY_MUL && is_sequence(b) && hl_value_is_whole(a))
        return repeat(run, b, hl_value_whole(a), out);
    if (a.kind == HL_VALUE_BIG || b.kind == HL_VALUE_BIG)
        return too_large(run);
    return hl_run_fail(run, "unsupported operand types for %s: '%s' and '%s'", signs[op], hl_value_type(a),
                       hl_value_type(b));
}

static int contains(struct hl_run *run, struct hl_value item, struct hl_value container, bool *out)
{
    struct hl_iterator items;
    struct hl_value other, *found;
    int got;
    if (container.kind == HL_VALUE_STRING) {
        if (item.kind != HL_VALUE_STRING)
            return item.kind == HL_VALUE_UNDEFINED
                       ? hl_run_undefined(run, item)
                       : hl_run_fail(run, "'in <string>' needs a string on its left, not '%s'", hl_value_type(item));
        *out = memmem(container.text, container.n, item.text, item.n) != NULL;
        return hl_arena_pay(run->arena, container.n / 64, run->err);
    }
    bool keys = container.kind == HL_VALUE_OBJECT && container.object->kind == HL_OBJECT_VIEW &&
                container.object->view.view == HL_VIEW_KEYS;
    if (container.kind == HL_VALUE_DICT || keys) {
        const struct hl_dict *dict = keys ? container.object->view.dict : container.dict;
        if (hl_dict_find(run->arena, dict, item, &found, run->err))
            return -1;
        *out = found != NULL;
        return 0;
    }
    *out = false;
    if (hl_iterator_open(run, container, &items))
        return -1;
    while (!*out && (got = hl_iterator_next(run, &items, &other)) != 0)
        if (got < 0 || hl_value_equal(run->arena, other, item, out, run->err))
            return -1;
    return 0;
}

int hl_operate_compare(struct hl_run *run, enum hl_compare op, struct hl_value a, struct hl_value b, bool *out)
{
    int order;
    if (op == HL_COMPARE_EQ || op == HL_COMPARE_NE) {
        if (hl_value_equal(run->arena, a, b, out, run->err))
            return -1;
        *out = *out == (op == HL_COMPARE_EQ);
        return 0;
    }
    if (op == HL_COMPARE_IN || op == HL_COMPARE_NOT_IN) {
        if (contains(run, a, b, out))
            return -1;
        *out = *out == (op == HL_COMPARE_IN);
        return 0;
    }
    if (a.kind == HL_VALUE_UNDEFINED || b.kind == HL_VALUE_UNDEFINED)
        return hl_run_undefined(run, a.kind == HL_VALUE_UNDEFINED ? a : b);
    if (hl_value_order(run->arena, a, b, &order, run->err))
        return -1;
    if (order == HL_UNORDERED)
        *out = false;
    else
        *out = op == HL_COMPARE_LT   ? order < 0
               : op == HL_COMPARE_LE ? order <= 0
               : op == HL_COMPARE_GT ? order > 0
                                     : order >= 0;
    return 0;
}

/* Computes where a slice of n items starts and stops, as PySlice_AdjustIndices does. */
static int slice_bounds(struct hl_run *run, const struct hl_value bounds[3], int64_t n, int64_t *start, int64_t *count,
                        int64_t *step)
{
    int64_t limits[2];
    for (int i = 0; i < 3; i++)
        if (bounds[i].kind != HL_VALUE_NONE && !hl_value_is_whole(bounds[i]))
            return bounds[i].kind == HL_VALUE_UNDEFINED
                       ? hl_run_undefined(run, bounds[i])
                       : hl_run_fail(run, "slice indices must be integers, not '%s'", hl_value_type(bounds[i]));
    *step = bounds[2].kind == HL_VALUE_NONE ? 1 : hl_value_whole(bounds[2]);
    if (!*step)
        return hl_run_fail(run, "slice step cannot be zero");
    if (*step == INT64_MIN)
        ++*step;
    int64_t low = *step < 0 ? -1 : 0, high = *step < 0 ? n - 1 : n;
    for (int i = 0; i < 2; i++) {
        int64_t at = bounds[i].kind == HL_VALUE_NONE ? 0 : hl_value_whole(bounds[i]);
        at = at < 0 ? (at < -n ? low : at + n) : at;
        at = at < low ? low : at > high ? high : at;
        limits[i] = bounds[i].kind != HL_VALUE_NONE ? at : (i == 0) == (*step > 0) ? low : high;
    }
    *start = limits[0];
    int64_t span = *step > 0 ? limits[1] - limits[0] : limits[0] - limits[1];
    int64_t stride = *step > 0 ? *step : -*step;
    *count = span > 0 ? (span - 1) / stride + 1 : 0;
    return 0;
}

static int slice_string(struct hl_run *run, struct hl_value s, int64_t n, int64_t start, int64_t count, int64_t step,
                        struct hl_value *out)
{
    struct hl_text text = {.arena = run->arena};
    size_t from = hl_char_offset(s.text, s.n, (size_t)start), bytes;
    bool ascii = (size_t)n == s.n;
    *out = hl_string("", 0);
    out->flags = s.flags;
    if (!count)
        return 0;
    if (step == 1) {
        size_t to = from + hl_char_offset(s.text + from, s.n - from, (size_t)count);
        out->text = s.text + from;
        out->n = (uint32_t)(to - from);
        return 0;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t at = start + i * step;
        size_t place = ascii ? (size_t)at : hl_char_offset(s.text, s.n, (size_t)at);
        hl_char_at(s.text + place, s.n - place, &bytes);
        if (hl_text_put(&text, s.text + place, bytes, run->err) ||
            hl_arena_pay(run->arena, ascii ? 1 : 1 + place / 64, run->err))
            return -1;
    }
    *out = hl_text_value(&text);
    out->flags = s.flags;
    return 0;
}

int hl_operate_slice(struct hl_run *run, struct hl_value object, const struct hl_value bounds[3], struct hl_value *out)
{
    int64_t start = 0, count = 0, step = 1, n = hl_value_length(object);
    if (object.kind == HL_VALUE_UNDEFINED)
        return hl_run_undefined(run, object);
    if (hl_arena_pay(run->arena, object.kind == HL_VALUE_STRING ? object.n / 64 : 0, run->err))
        return -1;
    bool range = object.kind == HL_VALUE_OBJECT && object.object->kind == HL_OBJECT_RANGE;
    if (!is_sequence(object) && !range)
        return hl_run_fail(run, "'%s' object cannot be sliced", hl_value_type(object));
    if (slice_bounds(run, bounds, n, &start, &count, &step))
        return -1;
    if (object.kind == HL_VALUE_STRING)
        return slice_string(run, object, n, start, count, step, out);
    if (range) {
        const struct hl_object *r = object.object;
        if (hl_object_new(run, HL_OBJECT_RANGE, out))
            return -1;
        out->object->range.length = count;
        out->object->range.start = r->range.start + start * r->range.step;
        out->object->range.step = r->range.step * (count > 1 ? step : 1);
        out->object->range.stop = r->range.stop;
        return 0;
    }
    if (hl_list_new(run->arena, object.kind, (size_t)count, out, run->err) ||
        hl_arena_pay(run->arena, (uint64_t)count, run->err))
        return -1;
    for (int64_t i = 0; i < count; i++)
        out->list->items[out->list->n++] = object.list->items[start + i * step];
    return 0;
}
