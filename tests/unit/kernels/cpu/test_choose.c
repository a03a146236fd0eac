/* kernels/cpu/choose.c against a plain sort: ties, NaN, infinities, masks, adjustments, several rows at once, with any
 * number of threads the same bits. */
#include "base/sizes.h"
#include "kernels/cpu/choose.h"
#include "tests/unit/check.h"
#include "tests/unit/kernels/choose_plainly.h"

#define ROWS 3u

struct rows {
    uint32_t vocabulary, stride;
    float *values;
    struct hl_want wants[ROWS];
    struct hl_adjustment adjustments[ROWS][40];
    uint32_t *allowed[ROWS];
};

/* Which logits: a few different ones, so that most are equal; all different; odd ones. */
enum kind { EQUAL, DIFFERENT, ODD, KINDS };

static float some_logit(struct dice *dice, enum kind kind)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 0, -0.0f, -1e30f, 3};
    if (kind == EQUAL)
        return (float)dice_between(dice, 0, 3);
    return kind == ODD ? odd[dice_between(dice, 0, HL_COUNT(odd) - 1)] : dice_float(dice, 20);
}

/* The wants point into `r`, which must not move. */
static void make_rows(struct rows *r, struct dice *dice, uint32_t vocabulary, enum kind kind, uint32_t best)
{
    *r = (struct rows){.vocabulary = vocabulary, .stride = vocabulary + 5};
    r->values = malloc(ROWS * r->stride * sizeof *r->values);
    for (uint32_t i = 0; i < ROWS * r->stride; i++)
        r->values[i] = some_logit(dice, kind);
    for (uint32_t row = 0; row < ROWS; row++) {
        uint32_t words = vocabulary / 32 + 1, step = 1 + vocabulary / 40;
        r->wants[row] = (struct hl_want){.best = row == 1 && best > 5 ? 0 : best, .log_sum = row == 0};
        for (uint32_t i = 0; i < 40 && i * step < vocabulary; i++)
            r->adjustments[row][r->wants[row].n_adjustments++] = (struct hl_adjustment){
                (int32_t)(i * step), 1 + (float)(i % 3), dice_float(dice, kind == EQUAL ? 1 : 30)};
        r->wants[row].adjustments = r->adjustments[row];
        r->allowed[row] = malloc(words * sizeof **r->allowed);
        for (uint32_t i = 0; i < words; i++)
            r->allowed[row][i] = dice_between(dice, 0, 3) ? 0 : (uint32_t)dice_bits(dice);
        if (row == 2)
            r->wants[row].allowed = r->allowed[row];
    }
}

struct run {
    struct hl_chooser *chooser;
    struct rows *rows;
    float *values;
    struct hl_logits out[ROWS];
};

static void work(void *context, struct hl_team *team, struct hl_share share)
{
    struct run *run = context;
    hl_chooser_run(run->chooser, team, share, run->rows->wants, ROWS, run->values, run->rows->stride, run->out);
}

static void check_row(const struct rows *r, uint32_t row, const struct hl_logits *got, uint32_t threads)
{
    struct hl_logits want;
    struct plain_choice choice =
        choose_plainly(r->values + (size_t)row * r->stride, r->vocabulary, &r->wants[row], &want);
    CHECK(got->n == want.n && !got->row == !want.row);
    for (uint32_t i = 0; i < want.n && i < got->n; i++)
        if (!CHECK_SAY(got->tokens[i] == want.tokens[i] && !memcmp(&got->logits[i], &want.logits[i], sizeof(float)),
                       "%u logits, %u threads: place %u of %u is token %d with %g, not %d with %g", r->vocabulary,
                       threads, i, want.n, got->tokens[i], (double)got->logits[i], want.tokens[i],
                       (double)want.logits[i]))
            break;
    if (want.row)
        CHECK(!memcmp(want.row, got->row, r->vocabulary * sizeof(float)));
    if (isfinite(want.log_sum))
        CHECK_SAY(fabsf(got->log_sum - want.log_sum) <= 1e-5f * (1 + fabsf(want.log_sum)), "%g, not %g",
                  (double)got->log_sum, (double)want.log_sum);
    plain_choice_close(&choice);
}

static void check(struct dice *dice, uint32_t vocabulary, enum kind kind, uint32_t best)
{
    struct hl_error err;
    struct rows rows;
    make_rows(&rows, dice, vocabulary, kind, best);
    float log_sum = 0;
    for (uint32_t threads = 1; threads <= 4; threads += 1 + threads / 2) {
        struct run run = {.rows = &rows, .values = malloc(ROWS * rows.stride * sizeof *rows.values)};
        struct hl_team *team;
        memcpy(run.values, rows.values, ROWS * rows.stride * sizeof *rows.values);
        if (!CHECK_OK(hl_team_open(threads, &team, &err), err) ||
            !CHECK_OK(hl_chooser_open(vocabulary, ROWS, threads, &run.chooser, &err), err))
            exit(check_summary());
        hl_team_run(team, work, &run);
        for (uint32_t row = 0; row < ROWS; row++)
            check_row(&rows, row, &run.out[row], threads);
        if (threads == 1)
            log_sum = run.out[0].log_sum;
        CHECK(!memcmp(&log_sum, &run.out[0].log_sum, sizeof log_sum));
        hl_chooser_close(run.chooser);
        hl_team_close(team);
        free(run.values);
    }
    for (uint32_t row = 0; row < ROWS; row++)
        free(rows.allowed[row]);
    free(rows.values);
}

int main(void)
{
    static const uint32_t vocabularies[] = {1, 2, 63, 64, 65, 255, 257, 1000, 5000, 20011};
    static const uint32_t best[] = {1, 2, 40, 255, 256};
    struct dice dice = {31};
    for (size_t v = 0; v < HL_COUNT(vocabularies); v++)
        for (int kind = 0; kind < KINDS; kind++)
            for (size_t b = 0; b < HL_COUNT(best); b++)
                check(&dice, vocabularies[v], (enum kind)kind, best[b]);
    check(&dice, 262144, DIFFERENT, 40);
    return check_summary();
}
