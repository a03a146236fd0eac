/* Sizes: arithmetic that detects overflow, rounding, and the lengths of arrays. */
#ifndef HL_BASE_SIZES_H
#define HL_BASE_SIZES_H

#include <stdbool.h>
#include <stdint.h>

/* The number of elements of an array, not of a pointer. */
#define HL_COUNT(array) (sizeof(array) / sizeof *(array))

/* Return whether the result fits; *out is then the product or the sum. */
static inline bool hl_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool hl_add(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Returns whether [offset, offset + bytes) lies within [0, total). */
static inline bool hl_in_range(uint64_t offset, uint64_t bytes, uint64_t total)
{
    return offset <= total && bytes <= total - offset;
}

/* Rounds `value` up to a multiple of `unit`. The caller makes sure that this does not overflow. */
static inline uint64_t hl_round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static inline uint32_t hl_min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

#endif
