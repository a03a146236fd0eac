/* Matrices for tests of kernels. They are wider in memory than their columns and have a canary (a NaN of its own) in
 * every float that the kernel must not read or write. Also runs an operation share by share. */
#ifndef HL_TESTS_UNIT_KERNELS_CPU_MATRIX_H
#define HL_TESTS_UNIT_KERNELS_CPU_MATRIX_H

#include "kernels/cpu/kernels.h"
#include "tests/unit/check.h"

#define CANARY 0x7fc0dead

struct matrix {
    float *memory; /* ends at the last row's last column, so that a sanitizer sees a step beyond it */
    float *data;   /* (rows, cols), `stride` floats from row to row */
    uint32_t rows, cols;
    size_t stride, left;
};

static inline bool is_canary(float x)
{
    return hl_f32_to_bits(x) == CANARY;
}

static inline void matrix_blank(struct matrix *m)
{
    for (size_t i = 0; i < m->left + (m->rows - 1) * m->stride + m->cols; i++)
        m->memory[i] = hl_bits_to_f32(CANARY);
}

static inline struct matrix matrix_new(struct dice *dice, uint32_t rows, uint32_t cols)
{
    struct matrix m = {.rows = rows, .cols = cols, .left = dice_between(dice, 0, 5)};
    m.stride = m.left + cols + dice_between(dice, 0, 9);
    m.memory = malloc((m.left + (rows - 1) * m.stride + cols) * sizeof *m.memory);
    m.data = m.memory + m.left;
    matrix_blank(&m);
    return m;
}

static inline float *matrix_at(const struct matrix *m, uint32_t row, uint32_t col)
{
    return m->data + row * m->stride + col;
}

/* Fills the matrix with numbers in [-size, size). */
static inline struct matrix matrix_random(struct dice *dice, uint32_t rows, uint32_t cols, float size)
{
    struct matrix m = matrix_new(dice, rows, cols);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < cols; c++)
            *matrix_at(&m, r, c) = dice_float(dice, size);
    return m;
}

static inline void matrix_copy(struct matrix *to, const struct matrix *from)
{
    for (uint32_t r = 0; r < to->rows; r++)
        memcpy(matrix_at(to, r, 0), matrix_at(from, r, 0), to->cols * sizeof(float));
}

static inline void matrix_free(struct matrix *m)
{
    free(m->memory);
    m->memory = NULL;
}

/* Returns whether all canaries are unchanged. */
static inline bool matrix_margins(const struct matrix *m)
{
    for (size_t i = 0; i < m->left + (m->rows - 1) * m->stride + m->cols; i++)
        if ((i < m->left || (i - m->left) % m->stride >= m->cols) && !is_canary(m->memory[i]))
            return false;
    return true;
}

/* One operation with its arguments; computes its share. */
typedef void operation(void *context, struct hl_share share);

/* Runs shares 0..count-1 one after another, each into a blank matrix, and collects their numbers. Exactly one share
 * must write each number. The result is left in `out`. */
static inline void run_shares(const char *what, operation *run, void *context, uint32_t count, struct matrix *out)
{
    size_t n = (size_t)out->rows * out->cols, written = 0, twice = 0;
    HL_FREE float *result = malloc((n + 1) * sizeof *result);
    HL_FREE bool *seen = calloc(n + 1, sizeof *seen);
    bool margins = true;
    for (uint32_t share = 0; share < count; share++) {
        matrix_blank(out);
        run(context, (struct hl_share){share, count});
        margins = margins && matrix_margins(out);
        for (size_t i = 0; i < n; i++) {
            float x = *matrix_at(out, (uint32_t)(i / out->cols), (uint32_t)(i % out->cols));
            if (is_canary(x))
                continue;
            written += !seen[i];
            twice += seen[i];
            seen[i] = true;
            result[i] = x;
        }
    }
    for (size_t i = 0; i < n; i++)
        if (seen[i])
            *matrix_at(out, (uint32_t)(i / out->cols), (uint32_t)(i % out->cols)) = result[i];
    CHECK_SAY(written == n && twice == 0 && margins,
              "%s, %u x %u in %u shares: %zu of %zu written, %zu twice, margins %s", what, out->rows, out->cols, count,
              written, n, twice, margins ? "kept" : "broken");
}

/* Runs all shares on the same matrix, for operations that work in place. A share that runs twice or not at all shows in
 * the numbers. */
static inline void run_in_place(const char *what, operation *run, void *context, uint32_t count, struct matrix *x)
{
    for (uint32_t share = 0; share < count; share++)
        run(context, (struct hl_share){share, count});
    CHECK_SAY(matrix_margins(x), "%s, %u x %u in %u shares: margins broken", what, x->rows, x->cols, count);
}

/* Compares computed numbers with the wanted ones; counts the wrong ones and keeps the first. */
struct judge {
    const char *what;
    unsigned wrong, total;
    double is, want, bound; /* the first wrong number */
    uint32_t row, col;
};

static inline void judge(struct judge *j, uint32_t row, uint32_t col, float is, double want, double bound)
{
    j->total++;
    if (fabs((double)is - want) <= bound)
        return;
    if (j->wrong++ == 0) {
        j->is = (double)is, j->want = want, j->bound = bound;
        j->row = row, j->col = col;
    }
}

static inline void judge_close(const struct judge *j)
{
    CHECK_SAY(j->wrong == 0 && j->total > 0, "%s: %u of %u wrong; (%u, %u) is %.9g, not %.9g +- %.3g", j->what,
              j->wrong, j->total, j->row, j->col, j->is, j->want, j->bound);
}

#endif
