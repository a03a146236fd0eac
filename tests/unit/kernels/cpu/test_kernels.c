/* Every operation but attention, with every table of kernels that this processor can run, against float64 arithmetic
 * written here. Shapes are random, strides are wider than the columns, and work is cut into several shares. */
#include "tests/unit/kernels/cpu/matrix.h"
#include "tests/unit/kernels/cpu/random_tiles.h"

/* Rounds x to `bits` significant bits, to the nearest, ties to even: rounding to a float format except for its
 * range. */
static double round_to(double x, int bits)
{
    int exponent;
    double fraction = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(fraction, bits)), exponent - bits);
}

/* ---- linear ---- */

struct linear_case {
    const struct hl_kernels *kernels;
    struct hl_linear linear;
    struct tiles weights;
    struct matrix in, out;
    double *rounded; /* (n, cols) activations as hl_linear documents */
    double *loss;    /* (n, cols) the most that rounding changed */
    float *bias;
    size_t scratch_bytes;
};

static void run_linear(void *context, struct hl_share share)
{
    const struct linear_case *c = context;
    uint32_t begin, end;
    hl_share_range(share, hl_tile_strips(c->linear.rows), &begin, &end);
    c->kernels->linear(&c->linear, begin, end);
}

static void round_activations(struct linear_case *c)
{
    for (uint32_t t = 0; t < c->in.rows; t++)
        for (uint32_t col = 0; col < c->in.cols; col++) {
            double x = (double)*matrix_at(&c->in, t, col);
            c->rounded[t * c->in.cols + col] = c->linear.type == HL_TYPE_TILE_BF16 ? round_to(x, 8) : x;
            c->loss[t * c->in.cols + col] = c->linear.type == HL_TYPE_TILE_BF16 ? fabs(x) * 0x1p-8 : 0;
        }
}

/* Rounds to int8 per block of 32, scale = max|x| / 127 in float32. float32 also decides which int8 is nearest. */
static void quantize_activations(struct linear_case *c)
{
    for (uint32_t t = 0; t < c->in.rows; t++)
        for (uint32_t first = 0; first < c->in.cols; first += 32) {
            uint32_t end = first + 32 < c->in.cols ? first + 32 : c->in.cols;
            float most = 0;
            for (uint32_t col = first; col < end; col++)
                most = fmaxf(most, fabsf(*matrix_at(&c->in, t, col)));
            for (uint32_t col = first; col < end; col++) {
                float inverse = most > 0 ? 127.0f / most : 0, x = *matrix_at(&c->in, t, col);
                c->rounded[t * c->in.cols + col] = (double)rintf(x * inverse) * (double)(most / 127.0f);
                c->loss[t * c->in.cols + col] = (double)most / 127 / 2 * (1 + 1e-4);
            }
        }
}

struct shape {
    uint32_t rows, cols, n;
};

static struct linear_case linear_new(struct dice *dice, uint32_t type, struct shape shape, enum scales scales)
{
    uint32_t rows = shape.rows, cols = shape.cols, n = shape.n;
    struct linear_case c = {.weights = tiles_random(dice, type, rows, cols, scales),
                            .in = matrix_random(dice, n, cols, ldexpf(1, (int)dice_between(dice, 0, 12) - 6)),
                            .out = matrix_new(dice, n, rows),
                            .scratch_bytes = hl_linear_scratch_bytes(n, cols)};
    c.rounded = calloc((size_t)n * cols, sizeof *c.rounded);
    c.loss = calloc((size_t)n * cols, sizeof *c.loss);
    c.bias = malloc(rows * sizeof *c.bias);
    for (uint32_t i = 0; i < rows; i++)
        c.bias[i] = dice_float(dice, 2);
    c.linear = (struct hl_linear){.type = type,
                                  .rows = rows,
                                  .cols = cols,
                                  .weight = c.weights.bytes,
                                  .bias = dice_between(dice, 0, 1) ? c.bias : NULL,
                                  .n = n,
                                  .in = c.in.data,
                                  .in_stride = c.in.stride,
                                  .out = c.out.data,
                                  .out_stride = c.out.stride,
                                  .scratch = aligned_alloc(64, c.scratch_bytes)};
    if (dice_between(dice, 0, 3) == 0) /* a token of zeros, whose scale is 0 */
        memset(matrix_at(&c.in, 0, 0), 0, cols * sizeof(float));
    if (type >= HL_TYPE_TILE_Q8)
        quantize_activations(&c);
    else
        round_activations(&c);
    return c;
}

static void linear_free(struct linear_case *c)
{
    tiles_free(&c->weights);
    matrix_free(&c->in);
    matrix_free(&c->out);
    free(c->rounded);
    free(c->loss);
    free(c->bias);
    free(c->linear.scratch);
}

/* The bound is tight against the documented rounding, which leaves only the order of float32 sums open. Against the
 * product without rounding, the bound is what that rounding may cost. */
static void check_linear(const struct linear_case *c)
{
    char tight[80], loose[120];
    snprintf(tight, sizeof tight, "%s linear %s, %u x %u, %u tokens", c->kernels->name,
             hl_type_traits[c->linear.type].name, c->linear.rows, c->linear.cols, c->linear.n);
    snprintf(loose, sizeof loose, "%s without rounding", tight);
    struct judge exact = {.what = tight}, true_product = {.what = loose};
    uint32_t cols = c->in.cols;
    for (uint32_t t = 0; t < c->in.rows; t++)
        for (uint32_t row = 0; row < c->linear.rows; row++) {
            double bias = c->linear.bias ? (double)c->linear.bias[row] : 0, sum = 0, size = 0, product = 0, lost = 0;
            for (uint32_t col = 0; col < cols; col++) {
                double w = c->weights.values[row * (size_t)cols + col], x = c->rounded[t * (size_t)cols + col];
                sum += w * x;
                size += c->weights.sizes[row * (size_t)cols + col] * fabs(x);
                product += w * (double)*matrix_at(&c->in, t, col);
                lost += fabs(w) * c->loss[t * (size_t)cols + col];
            }
            double bound = 2e-6 * size + 1.2e-7 * fabs(bias + sum) + 1e-30;
            judge(&exact, t, row, *matrix_at(&c->out, t, row), sum + bias, bound);
            judge(&true_product, t, row, *matrix_at(&c->out, t, row), product + bias, bound + lost);
        }
    judge_close(&exact);
    judge_close(&true_product);
}

/* The prepared activations are the same bytes for every table of kernels and any number of shares. */
static void prepare_linear(struct dice *dice, const struct linear_case *c)
{
    HL_FREE uint8_t *want = malloc(c->scratch_bytes);
    memset(c->linear.scratch, 0xff, c->scratch_bytes);
    hl_kernels_scalar.prepare(&c->linear, (struct hl_share){0, 1});
    memcpy(want, c->linear.scratch, c->scratch_bytes);
    memset(c->linear.scratch, 0xff, c->scratch_bytes);
    uint32_t parts = dice_between(dice, 1, 5);
    for (uint32_t share = 0; share < parts; share++)
        c->kernels->prepare(&c->linear, (struct hl_share){share, parts});
    CHECK_SAY(memcmp(want, c->linear.scratch, c->scratch_bytes) == 0, "%s prepares %s, %u tokens of %u columns",
              c->kernels->name, hl_type_traits[c->linear.type].name, c->linear.n, c->linear.cols);
}

static void test_linear_case(const struct hl_kernels *kernels, struct dice *dice, uint32_t type, struct shape shape,
                             enum scales scales)
{
    struct linear_case c = linear_new(dice, type, shape, scales);
    c.kernels = kernels;
    prepare_linear(dice, &c);
    run_shares(kernels->name, run_linear, &c, dice_between(dice, 1, 5), &c.out);
    check_linear(&c);
    linear_free(&c);
}

/* Tries rows and columns that fill their last tile or do not, and as many tokens as there are ways to compute them. */
static void test_linear(const struct hl_kernels *kernels, struct dice *dice)
{
    static const uint32_t many[] = {16, 17, 40};
    for (uint32_t type = HL_TYPE_TILE_F32; type < HL_TYPE_COUNT; type++) {
        for (uint32_t i = 0; i < 54; i++) {
            struct shape shape = {dice_between(dice, 1, 70), dice_between(dice, 1, 530), i % 9 + 1};
            if (i == 0)
                shape = (struct shape){1, 1, 1};
            test_linear_case(kernels, dice, type, shape, i % 3 == 2 ? SCALES_EXTREME : SCALES_USUAL);
        }
        for (uint32_t i = 0; i < 6; i++) { /* more columns than a panel has */
            struct shape shape = {dice_between(dice, 1, 70), dice_between(dice, 1000, 1700), many[i % 3]};
            test_linear_case(kernels, dice, type, shape, i % 3 == 2 ? SCALES_EXTREME : SCALES_USUAL);
        }
    }
}

/* With activations at the edge of float32, infinite or NaN, all tables make the same bytes. */
static void test_strange_activations(const struct hl_kernels *kernels, struct dice *dice)
{
    static const float strange[] = {0,       -0.0f,  1e-31f,   -2e-30f,   1e-38f, 1e-45f,
                                    3.4e38f, -3e38f, INFINITY, -INFINITY, NAN,    1};
    for (uint32_t type = HL_TYPE_TILE_F32; type < HL_TYPE_COUNT; type++)
        for (uint32_t i = 0; i < 40; i++) {
            struct linear_case c =
                linear_new(dice, type, (struct shape){1, dice_between(dice, 1, 300), 2}, SCALES_USUAL);
            uint32_t most = i % 2 ? 11 : 5; /* all of them, or the small ones among themselves */
            c.kernels = kernels;
            for (uint32_t k = 0; k < c.in.cols; k++)
                *matrix_at(&c.in, 1, k) = strange[dice_between(dice, 0, most)];
            prepare_linear(dice, &c);
            linear_free(&c);
        }
}

/* If the int8 of activations and weights are at the ends of their range, no sum may overflow. */
static void test_largest(const struct hl_kernels *kernels, struct dice *dice)
{
    for (uint32_t type = HL_TYPE_TILE_Q8; type < HL_TYPE_COUNT; type++)
        for (uint32_t i = 0; i < 8; i++) {
            struct linear_case c = linear_new(dice, type, (struct shape){16, 512, i % 4 * 3 + 1}, SCALES_USUAL);
            uint32_t bytes = hl_type_traits[type].tile_bytes, width = hl_type_traits[type].tile_cols;
            c.kernels = kernels;
            for (uint32_t tile = 0; tile < 512 / width; tile++)
                memset(c.weights.bytes + (size_t)tile * bytes,
                       type == HL_TYPE_TILE_Q8 ? 0x80
                       : i < 4                 ? 0xff
                                               : 0,
                       type == HL_TYPE_TILE_Q6K   ? HL_Q6K_SCALES
                       : type == HL_TYPE_TILE_Q4K ? HL_Q4K_D
                                                  : 512);
            for (uint32_t r = 0; r < 16; r++)
                for (uint32_t col = 0; col < 512; col++) {
                    const uint8_t *tile = c.weights.bytes + (size_t)(col / width) * bytes;
                    double value = (double)hl_tile_value(type, tile, r, col % width);
                    c.weights.values[r * 512 + col] = value;
                    c.weights.sizes[r * 512 + col] = fabs(value) + 3 * fabs(minimum_of(type, tile, r, col % width));
                }
            for (uint32_t t = 0; t < c.in.rows; t++)
                for (uint32_t col = 0; col < 512; col++)
                    *matrix_at(&c.in, t, col) = t % 2 ? 3 : -3;
            quantize_activations(&c);
            prepare_linear(dice, &c);
            run_shares(kernels->name, run_linear, &c, 1, &c.out);
            check_linear(&c);
            linear_free(&c);
        }
}

/* ---- dot, fp16 rows ---- */

static void test_dot(const struct hl_kernels *kernels, struct dice *dice)
{
    struct judge dots = {.what = "dot"};
    for (uint32_t n = 0; n <= 200; n++) {
        struct matrix a = matrix_random(dice, 1, n + 1, 3), b = matrix_random(dice, 1, n + 1, 3);
        double product = 0, size = 0;
        for (uint32_t i = 0; i < n; i++) {
            product += (double)a.data[i] * (double)b.data[i];
            size += fabs((double)a.data[i] * (double)b.data[i]);
        }
        a.data[n] = b.data[n] = hl_bits_to_f32(CANARY);
        judge(&dots, n, 0, kernels->dot(a.data, b.data, n), product, 1e-6 * size);
        matrix_free(&a);
        matrix_free(&b);
    }
    judge_close(&dots);
}

/* The largest fp16 is 65504, and below 2^-14 the steps are 2^-24. */
static double nearest_half(double x)
{
    double rounded = fabs(x) < 0x1p-14 ? nearbyint(x * 0x1p24) * 0x1p-24 : round_to(x, 11);
    return fmin(fmax(rounded, -65504), 65504);
}

static void test_halves(const struct hl_kernels *kernels, struct dice *dice)
{
    struct judge stores = {.what = "f16_store"};
    unsigned beyond = 0;
    for (uint32_t n = 1; n < 100; n++) {
        HL_FREE uint16_t *halves = malloc((n + 1) * sizeof *halves);
        struct matrix x = matrix_random(dice, 1, n, ldexpf(1, (int)dice_between(dice, 0, 44) - 24));
        halves[n] = 0xdead;
        kernels->f16_store(halves, x.data, n);
        for (uint32_t i = 0; i < n; i++)
            judge(&stores, n, i, hl_f16_to_f32(halves[i]), nearest_half((double)x.data[i]), 0);
        beyond += halves[n] != 0xdead;
        matrix_free(&x);
    }
    judge_close(&stores);
    CHECK_SAY(beyond == 0, "%s f16_store: %u rows overrun", kernels->name, beyond);
}

/* ---- norm ---- */

struct norm_case {
    const struct hl_kernels *kernels;
    struct matrix *in, *out;
    float *weight, eps;
    uint32_t groups, cols;
};

static void run_norm(void *context, struct hl_share share)
{
    const struct norm_case *c = context;
    hl_cpu_norm(c->kernels, c->out->data, c->out->stride, c->in->data, c->in->stride, c->weight, c->groups, c->cols,
                c->eps, c->in->rows, share);
}

static void check_norm(const struct norm_case *c, const struct matrix *in, const struct matrix *out)
{
    struct judge j = {.what = "norm"};
    for (uint32_t t = 0; t < in->rows; t++)
        for (uint32_t g = 0; g < c->groups; g++) {
            double squares = 0;
            for (uint32_t i = 0; i < c->cols; i++)
                squares += pow((double)*matrix_at(in, t, g * c->cols + i), 2);
            double root = sqrt(squares / c->cols + (double)c->eps);
            for (uint32_t i = 0; i < c->cols; i++) {
                double want = (double)*matrix_at(in, t, g * c->cols + i) / root * (double)c->weight[i];
                judge(&j, t, g * c->cols + i, *matrix_at(out, t, g * c->cols + i), want, 2e-6 * fabs(want) + 1e-30);
            }
        }
    judge_close(&j);
}

static void test_norm(const struct hl_kernels *kernels, struct dice *dice)
{
    for (int i = 0; i < 60; i++) {
        struct norm_case c = {
            .kernels = kernels, .groups = dice_between(dice, 1, 4), .cols = dice_between(dice, 1, 200)};
        uint32_t n = dice_between(dice, 1, 9), wide = c.groups * c.cols;
        struct matrix in = matrix_random(dice, n, wide, 4), out = matrix_new(dice, n, wide),
                      same = matrix_new(dice, n, wide);
        c.eps = i % 3 ? 1e-5f : 0.5f;
        c.weight = malloc(c.cols * sizeof *c.weight);
        for (uint32_t k = 0; k < c.cols; k++)
            c.weight[k] = dice_float(dice, 2);
        c.in = &in, c.out = &out;
        run_shares("norm", run_norm, &c, dice_between(dice, 1, 5), &out);
        check_norm(&c, &in, &out);
        matrix_copy(&same, &in);
        c.in = c.out = &same;
        run_in_place("norm", run_norm, &c, dice_between(dice, 1, 5), &same);
        check_norm(&c, &in, &same);
        free(c.weight);
        matrix_free(&in);
        matrix_free(&out);
        matrix_free(&same);
    }
}

/* ---- gather ---- */

struct gather_case {
    struct tiles weights;
    struct matrix out;
    int32_t tokens[9];
    float scale;
};

static void run_gather(void *context, struct hl_share share)
{
    const struct gather_case *c = context;
    hl_cpu_gather(c->out.data, c->out.stride, &c->weights.tensor, c->weights.bytes, c->scale, c->tokens, c->out.rows,
                  share);
}

static void test_gather(struct dice *dice)
{
    for (uint32_t type = HL_TYPE_TILE_F32; type < HL_TYPE_COUNT; type++)
        for (uint32_t i = 0; i < 30; i++) {
            uint32_t rows = i ? dice_between(dice, 1, 70) : 1, cols = i ? dice_between(dice, 1, 530) : 1;
            struct gather_case c = {.weights = tiles_random(dice, type, rows, cols, SCALES_USUAL),
                                    .out = matrix_new(dice, i % 9 + 1, cols),
                                    .scale = i % 2 ? 1 : 22.627417f};
            struct judge j = {.what = hl_type_traits[type].name};
            for (uint32_t t = 0; t < c.out.rows; t++)
                c.tokens[t] = (int32_t)dice_between(dice, 0, rows - 1);
            run_shares("gather", run_gather, &c, dice_between(dice, 1, 5), &c.out);
            for (uint32_t t = 0; t < c.out.rows; t++)
                for (uint32_t col = 0; col < cols; col++) {
                    double want = (double)c.scale * c.weights.values[(uint32_t)c.tokens[t] * (size_t)cols + col];
                    judge(&j, t, col, *matrix_at(&c.out, t, col), want, fabs(want) * 1.3e-7);
                }
            judge_close(&j);
            tiles_free(&c.weights);
            matrix_free(&c.out);
        }
}

/* ---- angles and rope ---- */

struct rope_case {
    struct matrix angles, x;
    float frequencies[128];
    uint32_t positions[9];
    uint32_t half, heads, head_dim;
};

static void run_angles(void *context, struct hl_share share)
{
    const struct rope_case *c = context;
    hl_cpu_angles(c->angles.data, c->angles.stride, c->frequencies, c->half, c->positions, c->angles.rows, share);
}

static void run_rope(void *context, struct hl_share share)
{
    const struct rope_case *c = context;
    hl_cpu_rope(c->x.data, c->x.stride, c->angles.data, c->angles.stride, c->heads, c->head_dim, 2 * c->half, c->x.rows,
                share);
}

static void check_angles(const struct rope_case *c)
{
    struct judge j = {.what = "angles"};
    for (uint32_t t = 0; t < c->angles.rows; t++)
        for (uint32_t i = 0; i < c->half; i++) {
            double angle = (double)c->positions[t] * (double)c->frequencies[i], bound = 6e-8 * angle + 2e-7;
            judge(&j, t, i, *matrix_at(&c->angles, t, i), cos(angle), bound);
            judge(&j, t, c->half + i, *matrix_at(&c->angles, t, c->half + i), sin(angle), bound);
        }
    judge_close(&j);
}

/* Each pair (x_i, x_{i + half}) of a head is turned by its angle; the floats after the pairs stay. */
static void check_rope(const struct rope_case *c, const struct matrix *before)
{
    struct judge j = {.what = "rope"};
    for (uint32_t t = 0; t < c->x.rows; t++)
        for (uint32_t i = 0; i < c->heads * c->head_dim; i++) {
            uint32_t inside = i % c->head_dim, pair = inside % c->half;
            double want = (double)*matrix_at(before, t, i), bound = 0;
            if (inside < 2 * c->half) {
                double cosine = (double)*matrix_at(&c->angles, t, pair),
                       sine = (double)*matrix_at(&c->angles, t, c->half + pair);
                double other = (double)*matrix_at(before, t, inside < c->half ? i + c->half : i - c->half);
                want = want * cosine + (inside < c->half ? -other : other) * sine;
                bound = 1e-6;
            }
            judge(&j, t, i, *matrix_at(&c->x, t, i), want, bound);
        }
    judge_close(&j);
}

static void test_rope(struct dice *dice)
{
    for (int i = 0; i < 100; i++) {
        struct rope_case c = {.heads = dice_between(dice, 1, 6), .head_dim = 2 * dice_between(dice, 1, 128)};
        uint32_t n = dice_between(dice, 1, 9);
        c.half = i % 3 ? c.head_dim / 2 : dice_between(dice, 1, c.head_dim / 2);
        for (uint32_t k = 0; k < c.half; k++)
            c.frequencies[k] = powf(10000, -(float)k / (float)c.half);
        for (uint32_t t = 0; t < n; t++)
            c.positions[t] = dice_between(dice, 0, t ? 100000 : 3);
        c.angles = matrix_new(dice, n, 2 * c.half);
        run_shares("angles", run_angles, &c, dice_between(dice, 1, 5), &c.angles);
        check_angles(&c);
        struct matrix before = matrix_random(dice, n, c.heads * c.head_dim, 2);
        c.x = matrix_new(dice, n, c.heads * c.head_dim);
        matrix_copy(&c.x, &before);
        run_in_place("rope", run_rope, &c, dice_between(dice, 1, 5), &c.x);
        check_rope(&c, &before);
        matrix_free(&before);
        matrix_free(&c.angles);
        matrix_free(&c.x);
    }
}

/* ---- gate, add, pick, softcap ---- */

struct simple_case {
    const struct hl_kernels *kernels;
    struct matrix out, a, b;
    struct matrix *to; /* where the gate goes: out, or a */
    uint32_t activation, outputs[9];
    float cap;
};

static void run_gate(void *context, struct hl_share share)
{
    const struct simple_case *c = context;
    hl_cpu_gate(c->kernels, c->to->data, c->to->stride, c->a.data, c->a.stride, c->b.data, c->b.stride, c->a.cols,
                c->activation, c->a.rows, share);
}

static void run_add(void *context, struct hl_share share)
{
    const struct simple_case *c = context;
    hl_cpu_add(c->out.data, c->out.stride, c->a.data, c->a.stride, c->a.cols, c->a.rows, share);
}

static void run_pick(void *context, struct hl_share share)
{
    const struct simple_case *c = context;
    hl_cpu_pick(c->out.data, c->out.stride, c->a.data, c->a.stride, c->a.cols, c->outputs, c->out.rows, share);
}

static void run_softcap(void *context, struct hl_share share)
{
    const struct simple_case *c = context;
    hl_cpu_softcap(c->kernels, c->out.data, c->out.stride, c->out.cols, c->cap, c->out.rows, share);
}

static double activation_of(uint32_t activation, double x)
{
    if (activation == HL_ACTIVATION_SILU)
        return x / (1 + exp(-x));
    return x / 2 * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

static void check_gate(const struct simple_case *c, const struct matrix *gate)
{
    struct judge j = {.what = c->activation == HL_ACTIVATION_SILU ? "silu" : "gelu_tanh"};
    for (uint32_t t = 0; t < gate->rows; t++)
        for (uint32_t i = 0; i < gate->cols; i++) {
            double x = (double)*matrix_at(gate, t, i), up = (double)*matrix_at(&c->b, t, i);
            judge(&j, t, i, *matrix_at(c->to, t, i), activation_of(c->activation, x) * up, fabs(up * x) * 4e-7 + 1e-12);
        }
    judge_close(&j);
}

static void test_gate(const struct hl_kernels *kernels, struct dice *dice)
{
    for (uint32_t i = 0; i < 60; i++) {
        uint32_t n = dice_between(dice, 1, 9), cols = dice_between(dice, 1, 530);
        struct simple_case c = {.kernels = kernels,
                                .out = matrix_new(dice, n, cols),
                                .a = matrix_random(dice, n, cols, i % 5 ? 6 : 300),
                                .b = matrix_random(dice, n, cols, 3),
                                .activation = i % HL_ACTIVATION_COUNT};
        struct matrix gate = matrix_new(dice, n, cols);
        matrix_copy(&gate, &c.a);
        c.to = &c.out;
        run_shares("gate", run_gate, &c, dice_between(dice, 1, 5), &c.out);
        check_gate(&c, &gate);
        c.to = &c.a;
        run_in_place("gate", run_gate, &c, dice_between(dice, 1, 5), &c.a);
        check_gate(&c, &gate);
        matrix_free(&c.out);
        matrix_free(&c.a);
        matrix_free(&c.b);
        matrix_free(&gate);
    }
}

static void test_add_pick_softcap(const struct hl_kernels *kernels, struct dice *dice)
{
    for (int i = 0; i < 60; i++) {
        uint32_t n = dice_between(dice, 1, 9), cols = dice_between(dice, 1, 530), picked = dice_between(dice, 1, 9);
        struct simple_case c = {.kernels = kernels,
                                .out = matrix_random(dice, n, cols, 50),
                                .a = matrix_random(dice, n, cols, 50),
                                .cap = 30};
        struct matrix before = matrix_new(dice, n, cols);
        struct judge sums = {.what = "add"}, rows = {.what = "pick"}, capped = {.what = "softcap"};
        matrix_copy(&before, &c.out);
        run_in_place("add", run_add, &c, dice_between(dice, 1, 5), &c.out);
        for (uint32_t k = 0; k < n * cols; k++) {
            double want =
                (double)*matrix_at(&before, k / cols, k % cols) + (double)*matrix_at(&c.a, k / cols, k % cols);
            judge(&sums, k / cols, k % cols, *matrix_at(&c.out, k / cols, k % cols), want, fabs(want) * 6e-8);
        }
        judge_close(&sums);
        matrix_copy(&before, &c.out);
        run_in_place("softcap", run_softcap, &c, dice_between(dice, 1, 5), &c.out);
        for (uint32_t k = 0; k < n * cols; k++) {
            double want = 30 * tanh((double)*matrix_at(&before, k / cols, k % cols) / 30);
            judge(&capped, k / cols, k % cols, *matrix_at(&c.out, k / cols, k % cols), want, 1e-5);
        }
        judge_close(&capped);
        matrix_free(&c.out);
        c.out = matrix_new(dice, picked, cols);
        for (uint32_t r = 0; r < picked; r++)
            c.outputs[r] = dice_between(dice, 0, n - 1);
        run_shares("pick", run_pick, &c, dice_between(dice, 1, 5), &c.out);
        for (uint32_t k = 0; k < picked * cols; k++)
            judge(&rows, k / cols, k % cols, *matrix_at(&c.out, k / cols, k % cols),
                  (double)*matrix_at(&c.a, c.outputs[k / cols], k % cols), 0);
        judge_close(&rows);
        matrix_free(&c.out);
        matrix_free(&c.a);
        matrix_free(&before);
    }
}

/* Returns how far `is` is from `want`, in units of the last place of a float32 of its size. */
static double ulps(float is, double want)
{
    int exponent;
    frexp(want, &exponent);
    return fabs((double)is - want) / ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

/* Checks tanh() as the soft cap at 1, and exp() in silu of negative numbers, where the result is as far off as exp()
 * is. Tries one of some thousand bit patterns over their whole range. */
static void test_elementary(const struct hl_kernels *kernels)
{
    /* the C library's own tanhf() is off by 2.02 */
    double worst_tanh = 0, worst_silu = 0, worst_gelu = 0;
    for (uint32_t bits = 0x30000000; bits < 0x42c80000; bits += 1237) { /* 4.7e-10 to 100 */
        for (uint32_t sign = 0; sign <= 0x80000000u; sign += 0x80000000u) {
            float x[16], one[16], out[16];
            for (uint32_t i = 0; i < 16; i++) {
                x[i] = hl_bits_to_f32(bits | sign);
                one[i] = 1;
            }
            double exact = (double)x[0];
            kernels->gate(out, x, one, 16, HL_ACTIVATION_SILU);
            if (fabs(exact) < 86) /* beyond this, results are subnormal */
                worst_silu = fmax(worst_silu, ulps(out[15], exact / (1 + exp(-exact))));
            kernels->gate(out, x, one, 16, HL_ACTIVATION_GELU_TANH);
            double u = sqrt(2 / 3.14159265358979323846) * (exact + 0.044715 * exact * exact * exact);
            if (exact > -3) /* below this, the rounding of exp()'s argument counts for more */
                worst_gelu = fmax(worst_gelu, ulps(out[15], exact / (1 + exp(-2 * u))));
            kernels->softcap(x, 16, 1);
            worst_tanh = fmax(worst_tanh, ulps(x[15], tanh(exact)));
            if (sign)
                break;
        }
    }
    CHECK_SAY(worst_tanh < 2.1 && worst_silu < 3 && worst_gelu < 20, "%s: tanh %.2f ulp, silu %.2f, gelu %.2f",
              kernels->name, worst_tanh, worst_silu, worst_gelu);
    float ends[4] = {200, -200, 0, -0.0f}, one[4] = {1, 1, 1, 1};
    kernels->gate(ends, ends, one, 4, HL_ACTIVATION_SILU);
    CHECK(ends[0] == 200 && fabsf(ends[1]) < 1e-30f && ends[2] == 0 && ends[3] == 0);
}

int main(void)
{
    struct dice dice = {21};
    const struct hl_kernels *const *tables = hl_kernels_available();
    unsigned n = 0;
    for (; tables[n]; n++) {
        test_linear(tables[n], &dice);
        test_largest(tables[n], &dice);
        test_strange_activations(tables[n], &dice);
        test_dot(tables[n], &dice);
        test_halves(tables[n], &dice);
        test_norm(tables[n], &dice);
        test_gate(tables[n], &dice);
        test_add_pick_softcap(tables[n], &dice);
        test_elementary(tables[n]);
    }
    CHECK(n >= 1 && strcmp(tables[n - 1]->name, "scalar") == 0);
    test_gather(&dice);
    test_rope(&dice);
    return check_summary();
}
