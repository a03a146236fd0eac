/* The tests of Jinja: value is NAME(arguments). */
#include "runtime/template/jinja/jinja_library.h"
#include <math.h>

enum { VALUE, FIRST };

#define TEST(name, answer)                                                                                             \
    static int name(struct hl_run *run, const struct hl_args *args, struct hl_value *out)                              \
    {                                                                                                                  \
        struct hl_value v = args->values[VALUE];                                                                       \
        (void)run;                                                                                                     \
        *out = hl_bool(answer);                                                                                        \
        return 0;                                                                                                      \
    }

static bool is_callable(struct hl_value v)
{
    if (v.kind != HL_VALUE_OBJECT)
        return v.kind == HL_VALUE_UNDEFINED; /* it has __call__, which fails */
    enum hl_object_kind kind = v.object->kind;
    return kind == HL_OBJECT_FUNCTION || kind == HL_OBJECT_BUILTIN || kind == HL_OBJECT_METHOD ||
           kind == HL_OBJECT_LOOP || kind == HL_OBJECT_JOINER;
}

static bool is_iterable(struct hl_value v)
{
    if (v.kind != HL_VALUE_OBJECT)
        return v.kind == HL_VALUE_UNDEFINED || v.kind == HL_VALUE_STRING || v.kind == HL_VALUE_LIST ||
               v.kind == HL_VALUE_TUPLE || v.kind == HL_VALUE_DICT;
    enum hl_object_kind kind = v.object->kind;
    return kind == HL_OBJECT_ITERATOR || kind == HL_OBJECT_VIEW || kind == HL_OBJECT_RANGE || kind == HL_OBJECT_LOOP;
}

static bool is_sequence(struct hl_value v)
{
    return v.kind == HL_VALUE_UNDEFINED || v.kind == HL_VALUE_STRING || v.kind == HL_VALUE_LIST ||
           v.kind == HL_VALUE_TUPLE || v.kind == HL_VALUE_DICT ||
           (v.kind == HL_VALUE_OBJECT && v.object->kind == HL_OBJECT_RANGE);
}

static bool is_same(struct hl_value a, struct hl_value b)
{
    if (a.kind != b.kind)
        return false;
    switch (a.kind) {
    case HL_VALUE_NONE:
        return true;
    case HL_VALUE_BOOL:
        return a.truth == b.truth;
    case HL_VALUE_INT:
        return a.integer == b.integer;
    case HL_VALUE_FLOAT:
        return a.real == b.real;
    case HL_VALUE_STRING:
        return a.n == b.n && !memcmp(a.text, b.text, a.n);
    case HL_VALUE_UNDEFINED:
        return false;
    default:
        return a.object == b.object;
    }
}

TEST(defined, v.kind != HL_VALUE_UNDEFINED)
TEST(undefined, v.kind == HL_VALUE_UNDEFINED)
TEST(none, v.kind == HL_VALUE_NONE)
TEST(boolean, v.kind == HL_VALUE_BOOL)
TEST(is_true, v.kind == HL_VALUE_BOOL && v.truth)
TEST(is_false, v.kind == HL_VALUE_BOOL && !v.truth)
TEST(integer, v.kind == HL_VALUE_INT || v.kind == HL_VALUE_BIG)
TEST(is_float, v.kind == HL_VALUE_FLOAT)
TEST(number, v.kind == HL_VALUE_BOOL || (v.kind >= HL_VALUE_INT && v.kind <= HL_VALUE_FLOAT))
TEST(string, v.kind == HL_VALUE_STRING)
TEST(mapping, v.kind == HL_VALUE_DICT)
TEST(sequence, is_sequence(v))
TEST(iterable, is_iterable(v))
TEST(callable, is_callable(v))
TEST(sameas, is_same(v, args->values[FIRST]))
TEST(escaped, v.kind == HL_VALUE_STRING && v.flags & HL_STRING_SAFE)
TEST(filter, v.kind == HL_VALUE_STRING && hl_builtin_find(run->dialect, "filter", v.text, v.n))
TEST(test, v.kind == HL_VALUE_STRING && hl_builtin_find(run->dialect, "test", v.text, v.n))

static int lower(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value text;
    if (hl_jinja_text(run, args->values[VALUE], &text))
        return -1;
    *out = hl_bool(hl_string_is_lower(text));
    return 0;
}

static int upper(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    struct hl_value text;
    if (hl_jinja_text(run, args->values[VALUE], &text))
        return -1;
    *out = hl_bool(hl_string_is_upper(text));
    return 0;
}

/* Tests value % divisor == wanted. */
static int remainder_is(struct hl_run *run, struct hl_value value, struct hl_value divisor, int64_t wanted,
                        struct hl_value *out)
{
    struct hl_value rest;
    bool equal;
    if (hl_operate_binary(run, HL_BINARY_MOD, value, divisor, &rest) ||
        hl_value_equal(run->arena, rest, hl_int(wanted), &equal, run->err))
        return -1;
    *out = hl_bool(equal);
    return 0;
}

static int odd(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return remainder_is(run, args->values[VALUE], hl_int(2), 1, out);
}

static int even(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return remainder_is(run, args->values[VALUE], hl_int(2), 0, out);
}

static int divisibleby(struct hl_run *run, const struct hl_args *args, struct hl_value *out)
{
    return remainder_is(run, args->values[VALUE], args->values[FIRST], 0, out);
}

static int compare(struct hl_run *run, const struct hl_args *args, enum hl_compare op, struct hl_value *out)
{
    bool holds;
    if (hl_operate_compare(run, op, args->values[VALUE], args->values[FIRST], &holds))
        return -1;
    *out = hl_bool(holds);
    return 0;
}

#define COMPARE(name, op)                                                                                              \
    static int name(struct hl_run *run, const struct hl_args *args, struct hl_value *out)                              \
    {                                                                                                                  \
        return compare(run, args, op, out);                                                                            \
    }

COMPARE(eq, HL_COMPARE_EQ)
COMPARE(ne, HL_COMPARE_NE)
COMPARE(lt, HL_COMPARE_LT)
COMPARE(le, HL_COMPARE_LE)
COMPARE(gt, HL_COMPARE_GT)
COMPARE(ge, HL_COMPARE_GE)
COMPARE(in, HL_COMPARE_IN)

const struct hl_builtin hl_jinja_tests[] = {
    {"test", "!=", "- -", 2, ne},
    {"test", "<", "- -", 2, lt},
    {"test", "<=", "- -", 2, le},
    {"test", "==", "- -", 2, eq},
    {"test", ">", "- -", 2, gt},
    {"test", ">=", "- -", 2, ge},
    {"test", "boolean", "value", 1, boolean},
    {"test", "callable", "-", 1, callable},
    {"test", "defined", "value", 1, defined},
    {"test", "divisibleby", "value num", 2, divisibleby},
    {"test", "eq", "- -", 2, eq},
    {"test", "equalto", "- -", 2, eq},
    {"test", "escaped", "value", 1, escaped},
    {"test", "even", "value", 1, even},
    {"test", "false", "value", 1, is_false},
    {"test", "filter", "value", 1, filter},
    {"test", "float", "value", 1, is_float},
    {"test", "ge", "- -", 2, ge},
    {"test", "greaterthan", "- -", 2, gt},
    {"test", "gt", "- -", 2, gt},
    {"test", "in", "value seq", 2, in},
    {"test", "integer", "value", 1, integer},
    {"test", "iterable", "value", 1, iterable},
    {"test", "le", "- -", 2, le},
    {"test", "lessthan", "- -", 2, lt},
    {"test", "lower", "value", 1, lower},
    {"test", "lt", "- -", 2, lt},
    {"test", "mapping", "value", 1, mapping},
    {"test", "ne", "- -", 2, ne},
    {"test", "none", "value", 1, none},
    {"test", "number", "value", 1, number},
    {"test", "odd", "value", 1, odd},
    {"test", "sameas", "value other", 2, sameas},
    {"test", "sequence", "value", 1, sequence},
    {"test", "string", "value", 1, string},
    {"test", "test", "value", 1, test},
    {"test", "true", "value", 1, is_true},
    {"test", "undefined", "value", 1, undefined},
    {"test", "upper", "value", 1, upper},
    {0},
};
