/* pack/source/blocks.c and pack/convert/quantize.c: a block in a tile has the same numbers as in its file, and
 * quantizers stay within the errors that their bits allow. */
#include "base/sizes.h"
#include "hotlayer/tile_values.h"
#include "pack/convert/quantize.h"
#include "pack/convert/tiles.h"
#include "pack/source/blocks.h"
#include "tests/unit/check.h"

/* Makes a block of random bits whose halves are finite and of several sizes. */
static void random_block(struct dice *dice, enum hl_dtype dtype, uint8_t *block)
{
    uint32_t bytes = hl_dtype_block_bytes(dtype);
    for (uint32_t i = 0; i < bytes; i++)
        block[i] = (uint8_t)dice_between(dice, 0, 255);
    uint16_t halves[2];
    for (int i = 0; i < 2; i++)
        halves[i] = (uint16_t)(dice_between(dice, 0, 0x7bff) | dice_between(dice, 0, 1) << 15);
    if (dtype == HL_DTYPE_Q6_K)
        memcpy(block + 208, halves, 2);
    else
        memcpy(block, halves, dtype == HL_DTYPE_Q4_0 || dtype == HL_DTYPE_Q5_0 || dtype == HL_DTYPE_Q8_0 ? 2 : 4);
}

/* Sixteen rows of one tile of random blocks: every number has the bits that its block gives it. */
static void test_kept(struct dice *dice, enum hl_dtype dtype, enum hl_type type)
{
    uint32_t numbers = hl_dtype_block(dtype), bytes = hl_dtype_block_bytes(dtype),
             cols = hl_type_traits[type].tile_cols;
    uint8_t blocks[16 * 256], tile[4096];
    struct hl_source_tensor source = {.dtype = dtype, .n_dims = 2, .shape = {16, cols}, .data = blocks};
    struct hl_plan_tensor plan = {
        .tensor = {.name = "t", .type = type, .rows = 16, .cols = cols}, .part = {&source}, .n_parts = 1};
    struct hl_error err = {.message = ""};
    float row[256], values[256];
    for (uint32_t i = 0; i < 16 * cols / numbers; i++)
        random_block(dice, dtype, blocks + (size_t)i * bytes);
    CHECK_OK(hl_tiles_encode(&plan, 0, row, tile, &err), err);
    for (uint32_t r = 0; r < 16; r++) {
        hl_source_floats(&source, (uint64_t)r * cols, cols, values);
        for (uint32_t c = 0; c < cols; c++) {
            float found = hl_tile_value(type, tile, r, c);
            CHECK_SAY(!memcmp(&found, &values[c], 4) || (found == 0 && values[c] == 0),
                      "%s: row %u, column %u: %g is not %g", hl_dtype_name(dtype), r, c, (double)found,
                      (double)values[c]);
        }
    }
}

/* Blocks computed by hand from the definitions. */
static void test_known(void)
{
    uint8_t block[210] = {0x00, 0x3c}; /* d = 1 */
    float out[256];
    for (int i = 0; i < 16; i++)
        block[2 + i] = (uint8_t)(i | (15 - i) << 4);
    hl_block_floats(HL_DTYPE_Q4_0, block, out);
    CHECK(out[0] == -8 && out[15] == 7 && out[16] == 7 && out[31] == -8);
    memset(block, 0, sizeof block);
    block[1] = 0x40;     /* d = 2 */
    block[3] = 0x3c;     /* dmin = 1 */
    block[4] = 63;       /* scale 0 */
    block[8] = 0xc0 | 5; /* minimum 0: 5; of minimum 4 the high bits: 48 */
    block[12] = 0x21;    /* scale 4: 1, minimum 4: 2 + 48 */
    block[16] = 0xf3;    /* numbers 0 and 32 */
    block[16 + 64] = 4;  /* number 128, of block 4 */
    hl_block_floats(HL_DTYPE_Q4_K, block, out);
    CHECK(out[0] == 2 * 63 * 3 - 5 && out[32] == 0 && out[1] == -5 && out[128] == 2 * 1 * 4 - 50);
    memset(block, 0, sizeof block);
    block[209] = 0x3c;
    block[192] = 2;
    block[199] = 0xff; /* scale 7, of the numbers from 112: -1 */
    block[0] = 0x05;
    block[128] = 0x03;
    block[32 + 31] = 0x90; /* the high nibble of number 127 */
    block[128 + 31] = 0x40;
    hl_block_floats(HL_DTYPE_Q6_K, block, out);
    CHECK(out[0] == 2 * (5 + 48 - 32) && out[127] == -1 * (9 + 16 - 32) && out[112] == 32);
}

static double q4_error(const float *x, const struct hl_block_q4 *block)
{
    double sum = 0, d = (double)hl_f16_to_f32(block->scale);
    for (int i = 0; i < 32; i++)
        sum += pow((double)x[i] - d * (block->quant[i] - 8), 2);
    return sum;
}

/* Computes the error of the scale that puts the number of largest magnitude at -8, and of the best of many scales. */
static void other_errors(const float *x, double *plain, double *best)
{
    double largest = 0;
    for (int i = 0; i < 32; i++)
        largest = fabs((double)x[i]) > fabs(largest) ? (double)x[i] : largest;
    *best = INFINITY;
    for (int k = 0; k <= 100; k++) {
        double d = largest / (k ? -6 - 0.04 * k : -8), error = 0;
        for (int i = 0; i < 32; i++)
            error += pow((double)x[i] - d * fmin(fmax(rint((double)x[i] / d), -8), 7), 2);
        if (!k)
            *plain = error;
        *best = fmin(*best, error);
    }
}

static void test_q4(struct dice *dice)
{
    double ours = 0, plain = 0, best = 0;
    for (int round = 0; round < 200; round++) {
        float x[16 * 32], size = ldexpf(1, (int)dice_between(dice, 0, 20) - 10);
        struct hl_block_q4 blocks[16], again;
        uint32_t n = dice_between(dice, 1, 16);
        for (uint32_t i = 0; i < n * 32; i++)
            x[i] = (dice_float(dice, size) + dice_float(dice, size) + dice_float(dice, size)) * dice_float(dice, 1);
        CHECK(hl_quantize_q4(x, n, blocks));
        for (uint32_t b = 0; b < n; b++) {
            double one = 0, two = 0, energy = 0;
            other_errors(x + 32 * b, &one, &two);
            for (int i = 0; i < 32; i++)
                energy += pow((double)x[32 * b + (uint32_t)i], 2);
            ours += q4_error(x + 32 * b, &blocks[b]) / energy;
            plain += one / energy;
            best += two / energy;
            CHECK(hl_quantize_q4(x + 32 * b, 1, &again) && !memcmp(&again, &blocks[b], sizeof again));
        }
    }
    CHECK_SAY(ours < 0.93 * plain && ours < 1.02 * best, "errors %g, plain %g, best %g", ours, plain, best);
}

static void test_q6k(struct dice *dice)
{
    double error = 0, energy = 0;
    for (int round = 0; round < 100; round++) {
        float x[256], size = ldexpf(1, (int)dice_between(dice, 0, 20) - 10);
        struct hl_block_q6k block;
        for (int i = 0; i < 256; i++)
            x[i] = dice_float(dice, size) + dice_float(dice, size) + dice_float(dice, size);
        CHECK(hl_quantize_q6k(x, &block));
        for (int i = 0; i < 256; i++) {
            double value = (double)hl_f16_to_f32(block.d) * block.scale[i / 16] * (block.quant[i] - 32);
            error += pow(((double)x[i] - value) / (double)size, 2);
            energy += pow((double)x[i] / (double)size, 2);
        }
    }
    CHECK_SAY(sqrt(error / energy) < 0.018, "relative error %g", sqrt(error / energy));
}

/* Quantizes zeros, one number alone, numbers too small and too large for fp16, infinity and NaN. */
static void test_edges(void)
{
    float x[512] = {0};
    struct hl_block_q4 q4[16];
    struct hl_block_q6k q6k;
    struct hl_block_q8 q8[16];
    CHECK(hl_quantize_q4(x, 16, q4) && hl_quantize_q6k(x, &q6k) && hl_quantize_q8(x, 16, q8));
    CHECK(q4[0].scale == 0 && q6k.d == 0 && q8[15].scale == 0 && q8[15].quant[31] == 0);
    x[40] = -3;
    CHECK(hl_quantize_q4(x, 2, q4) && q4_error(x + 32, &q4[1]) < 1e-5);
    CHECK(hl_quantize_q6k(x, &q6k) && (q6k.quant[40] - 32) * q6k.scale[2] != 0);
    x[40] = 1e-12f;
    CHECK(hl_quantize_q4(x, 2, q4) && hl_quantize_q6k(x, &q6k) && hl_quantize_q8(x, 2, q8));
    const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f};
    for (int i = 0; i < 4; i++) {
        x[40] = bad[i];
        CHECK(!hl_quantize_q4(x, 2, q4) && !hl_quantize_q6k(x, &q6k) && !hl_quantize_q8(x, 2, q8));
    }
}

/* All instruction sets of this processor make the same bits of the same numbers. */
static void same_bits(const struct hl_quantizers *quantizers, const float x[512], uint32_t n)
{
    struct hl_block_q4 q4[2][16] = {0};
    struct hl_block_q8 q8[2][16] = {0};
    struct hl_block_q6k q6k[2] = {0};
    CHECK(quantizers->q4(x, n, q4[0]) && hl_quantizers_plain.q4(x, n, q4[1]) && !memcmp(q4[0], q4[1], sizeof q4[0]));
    CHECK(quantizers->q8(x, n, q8[0]) && hl_quantizers_plain.q8(x, n, q8[1]) && !memcmp(q8[0], q8[1], sizeof q8[0]));
    CHECK(quantizers->q6k(x, &q6k[0]) && hl_quantizers_plain.q6k(x, &q6k[1]) && !memcmp(&q6k[0], &q6k[1], sizeof *q6k));
}

static void test_instruction_sets(struct dice *dice)
{
    for (int round = 0; round < 500; round++) {
        float x[512], size = ldexpf(1, (int)dice_between(dice, 0, 40) - 30);
        uint32_t n = dice_between(dice, 1, 16);
        for (int i = 0; i < 512; i++)
            x[i] = round % 3 ? dice_float(dice, size) * dice_float(dice, 1) : size * (float)dice_between(dice, 0, 15);
        x[dice_between(dice, 0, 511)] *= 20;
        same_bits(&hl_quantizers_plain, x, n);
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx2"))
            same_bits(&hl_quantizers_avx2, x, n);
        if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl"))
            same_bits(&hl_quantizers_avx512, x, n);
#endif
    }
}

/* Quantizes to q8 by the definition; returns false if such a block does not exist. */
static bool plain_q8(const float x[32], struct hl_block_q8 *out)
{
    float most = 0;
    for (int i = 0; i < 32; i++) {
        if (!isfinite(x[i]))
            return false;
        most = fmaxf(most, fabsf(x[i]));
    }
    out->scale = hl_f32_to_f16(most / 127.0f);
    float scale = hl_f16_to_f32(out->scale);
    for (int i = 0; i < 32; i++) {
        float q = scale > 0 ? x[i] / scale : 0;
        out->quant[i] = (int8_t)nearbyintf(fminf(fmaxf(q, -127), 127));
    }
    return isfinite(scale);
}

/* Tries scales from zero through subnormal ones to those beyond fp16, also at their ties, and numbers at ties. */
static void test_q8(struct dice *dice, const struct hl_quantizers *quantizers)
{
    for (int round = 0; round < 4000; round++) {
        uint32_t n = dice_between(dice, 1, 16);
        int exponent = (int)dice_between(dice, 0, 50) - 30;
        float x[512];
        struct hl_block_q8 want[16], got[16];
        bool fits = true;
        for (uint32_t i = 0; i < 32 * n; i++)
            x[i] = round % 2 ? dice_float(dice, ldexpf(1, exponent))
                             : ldexpf((float)dice_between(dice, 0, 254) - 127, exponent - 7);
        for (uint32_t b = 0; b < n && round % 4 < 2; b++) { /* a scale between two fp16, or in the middle of them */
            uint32_t bits = dice_between(dice, 1, 0x7bff) << 13 | dice_between(dice, 0, 2) << 12;
            float scale = hl_bits_to_f32(bits) * 0x1p112f;
            x[32 * b + 5] = dice_between(dice, 0, 1) ? 127 * scale : -127 * scale;
        }
        if (round % 10 == 9)
            x[dice_between(dice, 0, 32 * n - 1)] = round % 20 == 9 ? NAN : -INFINITY;
        for (uint32_t b = 0; b < n; b++)
            fits = plain_q8(x + 32 * b, &want[b]) && fits;
        CHECK(quantizers->q8(x, n, got) == fits);
        CHECK_SAY(!fits || !memcmp(got, want, n * sizeof *got), "round %d, exponent %d", round, exponent);
    }
}

/* If a block has sixteen multiples of one number, that number is q4's scale, rounded to fp16 as in half.h, whatever its
 * size. */
static void test_q4_scales(struct dice *dice, const struct hl_quantizers *quantizers)
{
    for (int round = 0; round < 4000; round++) {
        float x[32] = {0};
        struct hl_block_q4 block;
        uint32_t bits = dice_between(dice, 0, 0x8400) << 13 | dice_between(dice, 0, 2) << 12;
        float number = hl_bits_to_f32(bits) * 0x1p112f * (dice_between(dice, 0, 1) ? -1.0f : 1.0f);
        for (int i = 0; i < 32; i++)
            x[i] = (float)(i % 16 - 8) * number;
        uint16_t scale = hl_f32_to_f16(number);
        bool fits = (scale & 0x7c00) != 0x7c00;
        CHECK(quantizers->q4(x, 1, &block) == fits);
        CHECK_SAY(!fits || block.scale == (scale & 0x7fff ? scale : 0), "%g: %#x is not %#x", (double)number,
                  block.scale, scale);
    }
}

static void test_all_sets(struct dice *dice, void (*test)(struct dice *dice, const struct hl_quantizers *quantizers))
{
    test(dice, &hl_quantizers_plain);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        test(dice, &hl_quantizers_avx2);
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        test(dice, &hl_quantizers_avx512);
#endif
}

int main(void)
{
    struct dice dice = {77};
    static const struct {
        enum hl_dtype dtype;
        enum hl_type type;
    } kept[] = {{HL_DTYPE_Q8_0, HL_TYPE_TILE_Q8},  {HL_DTYPE_Q5_0, HL_TYPE_TILE_Q8},
                {HL_DTYPE_Q4_0, HL_TYPE_TILE_Q4},  {HL_DTYPE_Q4_1, HL_TYPE_TILE_Q4M},
                {HL_DTYPE_Q4_K, HL_TYPE_TILE_Q4K}, {HL_DTYPE_Q6_K, HL_TYPE_TILE_Q6K}};
    for (int round = 0; round < 50; round++)
        for (size_t i = 0; i < HL_COUNT(kept); i++)
            test_kept(&dice, kept[i].dtype, kept[i].type);
    test_known();
    test_q4(&dice);
    test_q6k(&dice);
    test_edges();
    test_instruction_sets(&dice);
    test_all_sets(&dice, test_q8);
    test_all_sets(&dice, test_q4_scales);
    return check_summary();
}
