/* The key/value cache and attention, against attention in float64 over keys and values that the test remembers itself.
 * Sequences have scattered pages, share steps, and are fed in random pieces. */
#include "base/sizes.h"
#include "tests/unit/kernels/cpu/matrix.h"

#define SEQUENCES 3
#define POSITIONS 200 /* four pages */
#define PAGES 20      /* in the pool; some belong to no sequence */

struct sequence {
    uint32_t pages[4];
    uint32_t length;
    double *keys, *values; /* (POSITIONS, heads, head_dim) as the cache stores them */
};

struct attention {
    const struct hl_kernels *kernels;
    struct hl_kv_store store;
    struct sequence sequence[SEQUENCES];
    uint32_t heads, window;
    float scale, softcap;
    /* the current step */
    uint32_t n, owner[64], positions[64];
    const uint32_t *pages[64];
    struct hl_places places;
    struct matrix k, v, q, out;
};

static double half_of(double x)
{
    int exponent;
    frexp(x, &exponent);
    exponent = (exponent < -13 ? -13 : exponent) - 11;
    return fmin(fmax(ldexp(nearbyint(ldexp(x, -exponent)), exponent), -65504), 65504);
}

/* Rounds a block to q8 as device.h describes it. */
static void as_q8(const float *x, uint32_t n, double *out)
{
    float most = 0;
    for (uint32_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(x[i]));
    float scale = hl_f16_to_f32(hl_f32_to_f16(most / 127));
    for (uint32_t i = 0; i < n; i++)
        out[i] = scale > 0 ? fmin(fmax((double)rintf(x[i] * (1 / scale)), -127), 127) * (double)scale : 0;
}

/* Rounds one head's key or value as the cache stores it. */
static void as_cached(enum hl_kv_type type, const float *x, uint32_t dim, double *out)
{
    for (uint32_t i = 0; i < dim && type != HL_KV_Q8; i++)
        out[i] = type == HL_KV_F16 ? half_of((double)x[i]) : (double)x[i];
    for (uint32_t i = 0; i < dim && type == HL_KV_Q8; i += 32)
        as_q8(x + i, dim - i < 32 ? dim - i : 32, out + i);
}

static uint32_t kv_cols(const struct attention *a)
{
    return a->store.heads * a->store.head_dim;
}

static struct attention attention_new(struct dice *dice, const struct hl_kernels *kernels, enum hl_kv_type type)
{
    struct attention a = {.kernels = kernels};
    uint32_t order[PAGES] = {0};
    a.store.type = type;
    a.store.heads = dice_between(dice, 1, 4);
    a.store.head_dim = dice_between(dice, 0, 3) ? dice_between(dice, 2, 64) : dice_between(dice, 2, 256);
    a.heads = a.store.heads * dice_between(dice, 1, 4);
    a.store.offset = 64 * dice_between(dice, 0, 3); /* another kv's part of the page, before and after */
    size_t bytes = hl_kv_bytes(type, a.store.heads, a.store.head_dim);
    a.store.page_bytes = hl_round_up(a.store.offset + bytes + dice_between(dice, 0, 99), 64);
    a.store.base = aligned_alloc(64, PAGES * a.store.page_bytes);
    memset(a.store.base, 0xff, PAGES * a.store.page_bytes); /* NaN in both float types */
    for (uint32_t i = 0; i < PAGES; i++) {
        uint32_t k = dice_between(dice, 0, i);
        order[i] = order[k];
        order[k] = i;
    }
    for (uint32_t s = 0; s < SEQUENCES; s++) {
        memcpy(a.sequence[s].pages, order + 4 * s, sizeof a.sequence[s].pages);
        a.sequence[s].keys = calloc(POSITIONS * kv_cols(&a), sizeof(double));
        a.sequence[s].values = calloc(POSITIONS * kv_cols(&a), sizeof(double));
    }
    a.scale = dice_between(dice, 0, 1) ? 1 / sqrtf((float)a.store.head_dim) : 0.5f;
    a.softcap = dice_between(dice, 0, 2) ? 0 : 2;
    static const uint32_t windows[] = {0, 0, 1, 2, 63, 64, 65, 100, 1000};
    a.window = windows[dice_between(dice, 0, HL_COUNT(windows) - 1)];
    return a;
}

static void attention_free(struct attention *a)
{
    for (uint32_t s = 0; s < SEQUENCES; s++) {
        free(a->sequence[s].keys);
        free(a->sequence[s].values);
    }
    free(a->store.base);
}

/* Makes a step of some next tokens of each sequence, with their keys, values and queries. */
static bool next_step(struct attention *a, struct dice *dice)
{
    a->n = 0;
    for (uint32_t s = 0; s < SEQUENCES; s++)
        for (uint32_t left = dice_between(dice, 0, 20); left && a->sequence[s].length < POSITIONS; left--) {
            a->owner[a->n] = s;
            a->pages[a->n] = a->sequence[s].pages;
            a->positions[a->n++] = a->sequence[s].length++;
        }
    if (a->n == 0)
        return false;
    a->places = (struct hl_places){.n_tokens = a->n, .positions = a->positions, .pages = a->pages};
    a->k = matrix_random(dice, a->n, kv_cols(a), 2);
    a->v = matrix_random(dice, a->n, kv_cols(a), 3);
    a->q = matrix_random(dice, a->n, a->heads * a->store.head_dim, 2);
    a->out = matrix_new(dice, a->n, a->heads * a->store.head_dim);
    for (uint32_t t = 0; t < a->n; t++)
        for (uint32_t head = 0; head < a->store.heads; head++) {
            uint32_t dim = a->store.head_dim;
            size_t at = (size_t)a->positions[t] * kv_cols(a) + head * dim;
            as_cached(a->store.type, matrix_at(&a->k, t, head * dim), dim, a->sequence[a->owner[t]].keys + at);
            as_cached(a->store.type, matrix_at(&a->v, t, head * dim), dim, a->sequence[a->owner[t]].values + at);
        }
    return true;
}

static void run_attend(void *context, struct hl_share share)
{
    const struct attention *a = context;
    size_t floats = hl_attend_scratch_floats(a->store.head_dim);
    HL_FREE float *scratch = aligned_alloc(64, hl_round_up(floats * sizeof *scratch, 64));
    for (size_t i = 0; i < floats; i++)
        scratch[i] = hl_bits_to_f32(CANARY);
    struct hl_attend attend = {.store = &a->store,
                               .places = &a->places,
                               .q = a->q.data,
                               .q_stride = a->q.stride,
                               .out = a->out.data,
                               .out_stride = a->out.stride,
                               .heads = a->heads,
                               .window = a->window,
                               .scale = a->scale,
                               .softcap = a->softcap,
                               .scratch = scratch};
    a->kernels->attend(&attend, share);
}

/* Computes softmax(scale q k) v of one head of one token. Also returns the scores' sizes, which bound their errors. */
static void attend_exactly(const struct attention *a, uint32_t t, uint32_t head, double *out, double *size)
{
    const struct sequence *s = &a->sequence[a->owner[t]];
    uint32_t dim = a->store.head_dim, kv_head = head / (a->heads / a->store.heads), position = a->positions[t];
    double scores[POSITIONS], most = -INFINITY, total = 0;
    *size = 0;
    for (uint32_t p = 0; p <= position; p++) {
        double score = 0, sum = 0;
        for (uint32_t i = 0; i < dim; i++) {
            double product = (double)*matrix_at(&a->q, t, head * dim + i) * s->keys[p * kv_cols(a) + kv_head * dim + i];
            score += product * (double)a->scale;
            sum += fabs(product) * (double)a->scale;
        }
        *size = fmax(*size, sum);
        scores[p] = a->softcap > 0 ? (double)a->softcap * tanh(score / (double)a->softcap) : score;
        if (a->window && position - p >= a->window)
            scores[p] = -INFINITY;
        most = fmax(most, scores[p]);
    }
    for (uint32_t i = 0; i < dim; i++)
        out[i] = 0;
    for (uint32_t p = 0; p <= position; p++) {
        double weight = exp(scores[p] - most);
        total += weight;
        for (uint32_t i = 0; i < dim; i++)
            out[i] += weight * s->values[p * kv_cols(a) + kv_head * dim + i];
    }
    for (uint32_t i = 0; i < dim; i++)
        out[i] /= total;
}

static void check_step(const struct attention *a)
{
    static const char *const names[] = {"f32", "f16", "q8"};
    char what[64];
    snprintf(what, sizeof what, "%s attend %s", a->kernels->name, names[a->store.type]);
    struct judge j = {.what = what};
    double want[256], size;
    for (uint32_t t = 0; t < a->n; t++)
        for (uint32_t head = 0; head < a->heads; head++) {
            attend_exactly(a, t, head, want, &size);
            for (uint32_t i = 0; i < a->store.head_dim; i++)
                judge(&j, t, head * a->store.head_dim + i, *matrix_at(&a->out, t, head * a->store.head_dim + i),
                      want[i], 3e-6 + 1e-6 * size);
        }
    judge_close(&j);
}

/* Puts a number where the cache must have it: keys (head_dim, 64) of every head, values (64, head_dim padded to 32), in
 * q8 followed by the scales. For q8 takes the cache's own bytes over, if they mean the number. */
static void put_number(const struct attention *a, uint8_t *cache, const struct sequence *s, uint32_t p, uint32_t head,
                       uint32_t i, bool value)
{
    uint32_t dim = a->store.head_dim, padded = (dim + 31) / 32 * 32, bytes[] = {4, 2, 1};
    bool q8 = a->store.type == HL_KV_Q8, inside = i < dim;
    size_t element = bytes[a->store.type], key_cols = q8 ? padded : dim, scales = q8 ? padded / 32 * 2 : 0;
    size_t keys = 64 * (key_cols * element + scales), values = 64 * (padded * element + scales);
    size_t half_at = s->pages[p / 64] * a->store.page_bytes + a->store.offset +
                     (value ? a->store.heads * keys + head * values : head * keys);
    size_t at = half_at + (value ? p % 64 * padded + i : i * 64 + p % 64) * element;
    float number = inside ? (float)(value ? s->values : s->keys)[p * kv_cols(a) + head * dim + i] : 0;
    uint16_t half = hl_f32_to_f16(number); /* exact: already rounded */
    if (!q8 && (inside || value))          /* float keys have no padding */
        memcpy(cache + at, element == 4 ? (void *)&number : (void *)&half, element);
    if (!q8)
        return;
    size_t scale_at =
        half_at + 64 * (size_t)padded + 2 * (value ? p % 64 * (padded / 32) + i / 32 : i / 32 * 64 + p % 64);
    memcpy(&half, a->store.base + scale_at, sizeof half);
    double means = (double)(int8_t)a->store.base[at] * (double)hl_f16_to_f32(half);
    double want = inside ? (value ? s->values : s->keys)[p * kv_cols(a) + head * dim + i] : 0;
    if (means == want) {
        cache[at] = a->store.base[at];
        memcpy(cache + scale_at, &half, sizeof half);
    }
}

/* Checks that the cache holds exactly what was written, and nothing else. */
static void check_cache(const struct attention *a)
{
    HL_FREE uint8_t *want = malloc(PAGES * a->store.page_bytes);
    memset(want, 0xff, PAGES * a->store.page_bytes);
    for (uint32_t s = 0; s < SEQUENCES; s++)
        for (uint32_t p = 0; p < a->sequence[s].length; p++)
            for (uint32_t head = 0; head < a->store.heads; head++)
                for (uint32_t i = 0; i < 2 * hl_round_up(a->store.head_dim, 32); i++)
                    put_number(a, want, &a->sequence[s], p, head, i / 2, i % 2);
    CHECK(memcmp(want, a->store.base, PAGES * a->store.page_bytes) == 0);
}

static void test_sequences(struct dice *dice, const struct hl_kernels *kernels, enum hl_kv_type type)
{
    struct attention a = attention_new(dice, kernels, type);
    while (next_step(&a, dice)) {
        uint32_t parts = dice_between(dice, 1, 5);
        for (uint32_t share = 0; share < parts; share++)
            hl_cpu_kv_write(kernels, &a.store, &a.places, a.k.data, a.v.data, a.k.stride, a.v.stride,
                            (struct hl_share){share, parts});
        run_shares("attend", run_attend, &a, dice_between(dice, 1, 5), &a.out);
        check_step(&a);
        matrix_free(&a.k);
        matrix_free(&a.v);
        matrix_free(&a.q);
        matrix_free(&a.out);
    }
    check_cache(&a);
    attention_free(&a);
}

/* With scores of hundreds, the running maximum must keep exp() from overflowing, and rescaling the earlier sums must
 * not give 0 / 0. */
static void test_large_scores(struct dice *dice, const struct hl_kernels *kernels)
{
    for (int i = 0; i < 4; i++) {
        struct attention a = attention_new(dice, kernels, HL_KV_F32);
        a.scale = 200 / (float)a.store.head_dim;
        a.softcap = 0;
        a.window = 0;
        while (next_step(&a, dice)) {
            hl_cpu_kv_write(kernels, &a.store, &a.places, a.k.data, a.v.data, a.k.stride, a.v.stride,
                            (struct hl_share){0, 1});
            run_shares("attend", run_attend, &a, 1, &a.out);
            unsigned wrong = 0;
            for (uint32_t c = 0; c < a.out.rows * a.out.cols; c++)
                wrong += !(fabsf(*matrix_at(&a.out, c / a.out.cols, c % a.out.cols)) <= 3.01f);
            CHECK_SAY(wrong == 0, "%u numbers are not a mean of values", wrong);
            check_step(&a);
            matrix_free(&a.k);
            matrix_free(&a.v);
            matrix_free(&a.q);
            matrix_free(&a.out);
        }
        attention_free(&a);
    }
}

int main(void)
{
    struct dice dice = {31};
    for (const struct hl_kernels *const *table = hl_kernels_available(); *table; table++) {
        for (uint32_t i = 0; i < 15; i++)
            test_sequences(&dice, *table, i % HL_KV_COUNT);
        test_large_scores(&dice, *table);
    }
    return check_summary();
}
