/* The 16-bit floats and the tiles: every number of every type goes in and comes out as tile.h says. */
#include "pack/convert/quantize.h"
#include "tests/unit/pack/packed_weights.h"
#include <float.h>

/* ---- half.h, against arithmetic on exact values ---- */

/* Returns the value of a float's bits, computed from the definition of the formats (IEEE 754-2008, 3.4). */
static double value_of(uint32_t bits, int exponent_bits, int mantissa_bits)
{
    uint32_t mantissa = bits & ((1u << mantissa_bits) - 1),
             exponent = bits >> mantissa_bits & ((1u << exponent_bits) - 1);
    int bias = (1 << (exponent_bits - 1)) - 1;
    double sign = bits >> (exponent_bits + mantissa_bits) ? -1 : 1;
    if (exponent == (1u << exponent_bits) - 1)
        return mantissa ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp((1u << mantissa_bits) + mantissa, (int)exponent - bias - mantissa_bits);
}

static bool same_value(double a, double b)
{
    return isnan(a) ? isnan(b) : a == b && !signbit(a) == !signbit(b);
}

/* Checks all 65536 halves of each format: they widen to their value, and narrow to the same bits. A signalling NaN
 * comes back quiet. */
static void test_all_halves(void)
{
    unsigned wrong = 0;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        uint16_t half = (uint16_t)bits;
        float f16 = hl_f16_to_f32(half), bf16 = hl_bf16_to_f32(half);
        wrong += !same_value((double)f16, value_of(bits, 5, 10)) || !same_value((double)bf16, value_of(bits, 8, 7));
        wrong += hl_f32_to_f16(f16) != (isnan(f16) ? (half | 0x200) : half);
        wrong += hl_f32_to_bf16(bf16) != (isnan(bf16) ? (half | 0x40) : half);
    }
    CHECK_SAY(wrong == 0, "%u of 65536 halves are wrong", wrong);
}

/* Returns whether `half` is the format's number nearest to x, and the even one of two equally near. Infinity is one
 * step beyond the largest finite number. */
static bool is_nearest(float x, uint16_t half, int exponent_bits, int mantissa_bits)
{
    uint16_t top = (uint16_t)(((1u << exponent_bits) - 1) << mantissa_bits), magnitude = half & 0x7fff;
    double beyond = ldexp(1, 1 << (exponent_bits - 1)); /* the bits that infinity would have if the numbers continued */
    double want = fabs((double)x), neighbours[3];
    if (!signbit(x) != !(half >> 15) || magnitude > top)
        return false;
    for (int i = 0; i < 3; i++) {
        uint32_t bits = magnitude == 0 && i == 0 ? 1 : (uint32_t)(magnitude + i - 1);
        neighbours[i] = bits >= top ? beyond : value_of(bits, exponent_bits, mantissa_bits);
    }
    if (want >= beyond)
        return magnitude == top;
    double error = fabs(want - neighbours[1]), down = fabs(want - neighbours[0]), up = fabs(want - neighbours[2]);
    bool even = magnitude % 2 == 0;
    return (error < down || (error == down && even)) && (magnitude == top || error < up || (error == up && even));
}

static void test_rounding(void)
{
    struct dice dice = {11};
    unsigned wrong16 = 0, wrong_bf16 = 0;
    for (uint32_t half = 0; half < 0x7c00; half++) /* fp16: exact middles of neighbours, and slightly more and less */
        for (int hair = -1; hair <= 1; hair++) {
            double upper = half + 1 == 0x7c00 ? 65536 : value_of(half + 1, 5, 10);
            float x = (float)((value_of(half, 5, 10) + upper) / 2);
            x = hair < 0 ? nextafterf(x, 0) : hair > 0 ? nextafterf(x, INFINITY) : x;
            wrong16 += !is_nearest(x, hl_f32_to_f16(x), 5, 10) || !is_nearest(-x, hl_f32_to_f16(-x), 5, 10);
        }
    for (int i = 0; i < 2000000; i++) {
        uint32_t bits = (uint32_t)dice_bits(&dice);
        if (i % 2)
            bits = (bits & 0xffff0000u) | 0x8000u; /* bf16's middles */
        float x = hl_bits_to_f32(bits);
        if (isnan(x))
            continue;
        wrong_bf16 += !is_nearest(x, hl_f32_to_bf16(x), 8, 7);
        wrong16 += !is_nearest(x, hl_f32_to_f16(x), 5, 10);
    }
    CHECK_SAY(wrong16 == 0, "%u numbers are not rounded to the nearest fp16", wrong16);
    CHECK_SAY(wrong_bf16 == 0, "%u numbers are not rounded to the nearest bf16", wrong_bf16);
}

static void test_special_numbers(void)
{
    CHECK(hl_f32_to_f16(65504.0f) == 0x7bff && hl_f32_to_f16(65519.996f) == 0x7bff &&
          hl_f32_to_f16(65520.0f) == 0x7c00);
    CHECK(hl_f32_to_f16(INFINITY) == 0x7c00 && hl_f32_to_f16(-INFINITY) == 0xfc00 && hl_f32_to_f16(-0.0f) == 0x8000);
    CHECK(hl_f32_to_f16(0x1p-24f) == 1 && hl_f32_to_f16(0x1p-25f) == 0 && hl_f32_to_f16(0x1.8p-24f) == 2);
    CHECK(hl_f32_to_bf16(1.0f) == 0x3f80 && hl_f32_to_bf16(-INFINITY) == 0xff80 && hl_f32_to_bf16(3.4e38f) == 0x7f80);
    CHECK(isnan(hl_f16_to_f32(hl_f32_to_f16(NAN))) && isnan(hl_bf16_to_f32(hl_f32_to_bf16(NAN))));
    CHECK(isnan(hl_bf16_to_f32(hl_f32_to_bf16(hl_bits_to_f32(0x7f800001u))))); /* rounding drops all of its payload */
    CHECK(isnan(hl_f16_to_f32(hl_f32_to_f16(hl_bits_to_f32(0xff800001u)))));
}

/* ---- tiles ---- */

/* Returns the source's number at (row, col), from its own bits. */
static double source_number(const struct weights *w, uint32_t row, uint32_t col)
{
    size_t i = (size_t)row * w->plan.tensor.cols + col;
    uint16_t half = 0;
    float number = 0;
    if (w->source.dtype == HL_DTYPE_F32) {
        memcpy(&number, w->numbers + 4 * i, 4);
        return (double)number;
    }
    memcpy(&half, w->numbers + 2 * i, 2);
    return w->source.dtype == HL_DTYPE_F16 ? value_of(half, 5, 10) : value_of(half, 8, 7);
}

/* |x - d q| is at most half a step, plus the error of d in fp16 near its smallest numbers. */
static double q8_bound(const struct weights *w, uint32_t row, uint32_t col)
{
    double most = 0;
    for (uint32_t c = col / 32 * 32; c < w->plan.tensor.cols && c < col / 32 * 32 + 32; c++)
        most = fmax(most, fabs(source_number(w, row, c)));
    return most / 127 / 2 * (1 + 0x1p-10) + 127 * 0x1p-25;
}

/* Returns a number as the quantizer stores it; tests/unit/pack/convert/test_blocks.c measures the quantizer's errors. */
static double quantized(const struct weights *w, uint32_t row, uint32_t col)
{
    uint32_t n = w->plan.tensor.type == HL_TYPE_TILE_Q4 ? 32 : 256;
    float x[256] = {0};
    struct hl_block_q4 q4;
    struct hl_block_q6k q6k;
    for (uint32_t i = 0; i < n && col / n * n + i < w->plan.tensor.cols; i++)
        x[i] = (float)source_number(w, row, col / n * n + i);
    if (n == 32)
        return hl_quantize_q4(x, 1, &q4) ? value_of(q4.scale, 5, 10) * (q4.quant[col % 32] - 8) : NAN;
    return hl_quantize_q6k(x, &q6k)
               ? (double)(float)(value_of(q6k.d, 5, 10) * q6k.scale[col % 256 / 16]) * (q6k.quant[col % 256] - 32)
               : NAN;
}

static void check_tiles(const struct weights *w)
{
    const struct hl_tensor *t = &w->plan.tensor;
    unsigned wrong = 0, padding = 0;
    for (uint32_t r = 0; r < (t->rows + 15) / 16 * 16; r++)
        for (uint32_t c = 0; c < hl_tiles_padded_cols(t->type, t->cols); c++) {
            double is = tile_number(t->type, t->cols, w->tiles, r, c);
            if (r >= t->rows || c >= t->cols)
                padding += is != 0;
            else if (t->type == HL_TYPE_TILE_Q8)
                wrong += !(fabs(is - source_number(w, r, c)) <= q8_bound(w, r, c));
            else if (t->type > HL_TYPE_TILE_Q8)
                wrong += is != quantized(w, r, c);
            else
                wrong += !same_value(is, source_number(w, r, c));
        }
    CHECK_SAY(wrong == 0 && padding == 0, "%s %u x %u: %u numbers and %u of the padding are wrong",
              hl_type_traits[t->type].name, t->rows, t->cols, wrong, padding);
}

static void test_shapes(void)
{
    struct dice dice = {12};
    for (uint32_t type = HL_TYPE_TILE_F32; type < HL_TYPE_COUNT; type++) {
        if (type == HL_TYPE_TILE_Q4M || type == HL_TYPE_TILE_Q4K) /* are made of blocks alone */
            continue;
        for (int i = 0; i < 40; i++) {
            struct weights w =
                weights_random(&dice, type, i ? dice_between(&dice, 1, 70) : 1, i ? dice_between(&dice, 1, 300) : 1);
            uint64_t bytes;
            uint32_t width = hl_type_traits[type].tile_cols;
            check_tiles(&w);
            CHECK(hl_tensor_bytes(type, w.plan.tensor.rows, w.plan.tensor.cols, &bytes));
            CHECK(bytes == (uint64_t)((w.plan.tensor.rows + 15) / 16) * ((w.plan.tensor.cols + width - 1) / width) *
                               hl_type_traits[type].tile_bytes);
            weights_free(&w);
        }
    }
}

/* All 65536 halves, with infinities and NaNs, in one matrix of their own type. */
static void test_lossless(void)
{
    struct dice dice = {13};
    struct hl_error err;
    for (uint32_t type = HL_TYPE_TILE_F16; type <= HL_TYPE_TILE_BF16; type++) {
        struct weights w = weights_source(&dice, type, 256, 256);
        w.plan.part[0] = &w.source;
        for (uint32_t i = 0; i < 65536; i++)
            memcpy(w.numbers + 2 * i, &(uint16_t){(uint16_t)i}, 2);
        CHECK_OK(weights_encode(&w, &err) ? 0 : -1, err);
        check_tiles(&w);
        weights_free(&w);
    }
    struct weights w = weights_source(&dice, HL_TYPE_TILE_F32, 100, 100);
    w.plan.part[0] = &w.source;
    for (uint32_t i = 0; i < 10000; i++)
        memcpy(w.numbers + 4 * i, &(uint32_t){(uint32_t)dice_bits(&dice)}, 4);
    CHECK_OK(weights_encode(&w, &err) ? 0 : -1, err);
    check_tiles(&w);
    weights_free(&w);
}

/* Rows of several source tensors of different types, one after another. */
static void test_parts(void)
{
    struct dice dice = {14};
    struct weights part[3] = {weights_source(&dice, HL_TYPE_TILE_F16, 5, 37),
                              weights_source(&dice, HL_TYPE_TILE_BF16, 17, 37),
                              weights_source(&dice, HL_TYPE_TILE_F32, 3, 37)};
    struct weights all = {.plan = {.tensor = {.name = "all", .type = HL_TYPE_TILE_F32, .rows = 25, .cols = 37},
                                   .part = {&part[0].source, &part[1].source, &part[2].source},
                                   .n_parts = 3}};
    struct hl_error err;
    CHECK_OK(weights_encode(&all, &err) ? 0 : -1, err);
    unsigned wrong = 0;
    for (uint32_t r = 0; r < 25; r++)
        for (uint32_t c = 0; c < 37; c++) {
            const struct weights *from = r < 5 ? &part[0] : r < 22 ? &part[1] : &part[2];
            wrong += all.values[r * 37 + c] != source_number(from, r < 5 ? r : r < 22 ? r - 5 : r - 22, c);
        }
    CHECK(wrong == 0);
    weights_free(&all);
    for (int i = 0; i < 3; i++)
        weights_free(&part[i]);
}

/* For two matrices whose rows and columns no tile divides: the sums are those of the source's and of the tiles'
 * numbers, without the padding. */
static void test_loss(void)
{
    struct dice dice = {17};
    for (uint32_t type = HL_TYPE_TILE_F32; type < HL_TYPE_COUNT; type++) {
        if (type == HL_TYPE_TILE_Q4M || type == HL_TYPE_TILE_Q4K)
            continue;
        struct weights w = weights_random(&dice, type, 37, 291);
        struct hl_loss loss = {0, 0};
        double error = 0, energy = 0;
        float row[512];
        w.plan.part[0] = &w.source;
        for (uint32_t strip = 0; strip < 3; strip++) {
            struct hl_loss one = hl_tiles_loss(&w.plan, strip, row, w.tiles + strip * hl_strip_bytes(type, 291));
            loss.error += one.error;
            loss.energy += one.energy;
        }
        for (uint32_t i = 0; i < 37 * 291; i++) {
            double number = source_number(&w, i / 291, i % 291);
            error += pow(number - w.values[i], 2);
            energy += number * number;
        }
        CHECK_SAY(fabs(loss.energy - energy) <= 1e-12 * energy && fabs(loss.error - error) <= 1e-12 * error,
                  "%s: %g of %g, not %g of %g", hl_type_traits[type].name, loss.error, loss.energy, error, energy);
        CHECK((error > 0) == (type >= HL_TYPE_TILE_Q8));
        weights_free(&w);
    }
}

/* With "keep", nothing is lost, not even a NaN. */
static void test_loss_of_specials(void)
{
    struct dice dice = {18};
    struct hl_error err;
    struct weights w = weights_source(&dice, HL_TYPE_TILE_F32, 1, 8);
    const float specials[] = {NAN, INFINITY, -INFINITY, 0, -0.0f, 1, FLT_MIN / 4, -2};
    float row[8];
    w.plan.part[0] = &w.source;
    memcpy(w.numbers, specials, sizeof specials);
    CHECK_OK(weights_encode(&w, &err) ? 0 : -1, err);
    CHECK(hl_tiles_loss(&w.plan, 0, row, w.tiles).error == 0);
    weights_free(&w);
}

/* The packer refuses a float32 matrix with one number, at (17, 3), that the type cannot hold, and names the tensor and
 * the row. */
static void check_refused(uint32_t type, float number)
{
    struct dice dice = {15};
    struct hl_error err = {.message = "nothing"};
    struct weights w = weights_source(&dice, HL_TYPE_TILE_F32, 20, 40);
    w.plan.part[0] = &w.source;
    w.plan.tensor.type = type;
    memcpy(w.numbers + 4 * (17 * 40 + 3), &number, 4);
    CHECK_SAY(!weights_encode(&w, &err) && strstr(err.message, "tensor test: row 17"), "%s, %g: %s",
              hl_type_traits[type].name, (double)number, err.message);
    weights_free(&w);
}

static void test_refused(void)
{
    check_refused(HL_TYPE_TILE_Q8, NAN);
    check_refused(HL_TYPE_TILE_Q8, -INFINITY);
    check_refused(HL_TYPE_TILE_Q8, 65520.0f * 127);
    check_refused(HL_TYPE_TILE_BF16, 3.4e38f); /* the nearest bf16 is infinity */
    check_refused(HL_TYPE_TILE_F16, -65520.0f);
    check_refused(HL_TYPE_TILE_Q4, NAN);
    check_refused(HL_TYPE_TILE_Q4, 65520.0f * 9);
    check_refused(HL_TYPE_TILE_Q6K, -INFINITY);
}

static void check_block(const float x[32])
{
    struct hl_block_q8 block;
    double most = 0;
    if (!CHECK(hl_quantize_q8(x, 1, &block)))
        return;
    for (int i = 0; i < 32; i++)
        most = fmax(most, fabs((double)x[i]));
    double d = value_of(block.scale, 5, 10), bound = d / 2 * (1 + 1e-6) + 127 * 0x1p-25;
    CHECK_SAY(fabs(d - most / 127) <= fmax(most / 127 * 0x1p-11 * (1 + 1e-6), 0x1p-25), "scale %g for %g", d, most);
    for (int i = 0; i < 32; i++)
        CHECK_SAY(block.quant[i] >= -127 && fabs((double)x[i] - d * block.quant[i]) <= bound, "%g is %g * %d",
                  (double)x[i], d, block.quant[i]);
}

static void test_quantizer(void)
{
    struct dice dice = {16};
    float x[32];
    for (int exponent = -60; exponent <= 22; exponent++)
        for (int i = 0; i < 20; i++) {
            for (int k = 0; k < 32; k++)
                x[k] = dice_float(&dice, ldexpf(1, exponent));
            check_block(x);
        }
    for (int k = 0; k < 32; k++)
        x[k] = k % 2 ? -127.0f + (float)k : 0;
    x[5] = -127;
    struct hl_block_q8 block;
    CHECK(hl_quantize_q8(x, 1, &block) && block.scale == 0x3c00 && block.quant[5] == -127 && block.quant[4] == 0 &&
          block.quant[7] == -120);
    memset(x, 0, sizeof x);
    CHECK(hl_quantize_q8(x, 1, &block) && block.scale == 0 && block.quant[31] == 0);
    x[31] = NAN;
    CHECK(!hl_quantize_q8(x, 1, &block));
}

int main(void)
{
    test_all_halves();
    test_rounding();
    test_special_numbers();
    test_shapes();
    test_lossless();
    test_parts();
    test_loss();
    test_loss_of_specials();
    test_refused();
    test_quantizer();
    return check_summary();
}
