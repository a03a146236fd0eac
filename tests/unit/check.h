/* Checks that count and continue, and random numbers that are the same on every machine; every unit test uses them.
 *
 *     int main(void) { CHECK(1 + 1 == 2); return check_summary(); }
 */
#ifndef HL_TESTS_UNIT_CHECK_H
#define HL_TESTS_UNIT_CHECK_H

#include "base/error.h"
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define CHECK_SHOWN 30 /* a broken kernel fails in a million places; print only the first */

static atomic_uint check_passed, check_failed; /* checks may run on any thread */

__attribute__((format(printf, 4, 5))) static inline bool check_that(bool holds, const char *file, int line,
                                                                    const char *format, ...)
{
    if (holds) {
        check_passed++;
        return true;
    }
    if (check_failed++ < CHECK_SHOWN) {
        va_list args;
        va_start(args, format);
        fprintf(stderr, "FAIL %s:%d: ", file, line);
        vfprintf(stderr, format, args);
        fputc('\n', stderr);
        va_end(args);
    }
    return false;
}

#define CHECK(condition) check_that((condition), __FILE__, __LINE__, "%s", #condition)

/* CHECK with a message of the caller's. */
#define CHECK_SAY(condition, ...) check_that((condition), __FILE__, __LINE__, __VA_ARGS__)

/* Checks that a call succeeds; `err` is the error that the call fills. */
#define CHECK_OK(call, err) check_that((call) == 0, __FILE__, __LINE__, "%s: %s", #call, (err).message)

/* Checks that a call fails with a message that contains `word`. */
#define CHECK_FAILS(call, err, word)                                                                                   \
    check_that((call) != 0 && strstr((err).message, (word)) != NULL, __FILE__, __LINE__, "%s: no '%s' in '%s'", #call, \
               (word), (err).message)

/* Prints the tally and returns the exit status of the test program. */
static inline int check_summary(void)
{
    printf("%u passed, %u failed\n", (unsigned)check_passed, (unsigned)check_failed);
    return check_failed != 0;
}

/* xorshift64*: https://en.wikipedia.org/wiki/Xorshift */
struct dice {
    uint64_t state; /* not 0 */
};

static inline uint64_t dice_bits(struct dice *dice)
{
    dice->state ^= dice->state >> 12;
    dice->state ^= dice->state << 25;
    dice->state ^= dice->state >> 27;
    return dice->state * 0x2545F4914F6CDD1Du;
}

/* Returns a number in [least, most]. */
static inline uint32_t dice_between(struct dice *dice, uint32_t least, uint32_t most)
{
    return least + (uint32_t)((dice_bits(dice) >> 32) % (most - least + 1ull));
}

/* Returns a number in [-size, size). */
static inline float dice_float(struct dice *dice, float size)
{
    return size * ((float)(dice_bits(dice) >> 40) * 0x1p-23f - 1.0f);
}

#endif
