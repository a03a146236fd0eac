/* Operations of a warp. To add one: its name in enum hl_fiber_operation, a function and a line of the table here, and
 * its C body in machine_host.h.
 *
 * The fragment maps of mma are the PTX ISA's, with g = lane / 4 and j = lane % 4:
 *
 *   int8, m16n8k32   A: byte i of register r is row g + 8 (r % 2), column 4j + i + 16 (r / 2)
 *                    B: byte i of register r is row 4j + i + 16 r, column g
 *   bf16, m16n8k16   A: half i of register r is row g + 8 (r % 2), column 2j + i + 8 (r / 2)
 *                    B: half i of register r is row 2j + i + 8 r, column g
 *   both             C: register r is row g + 8 (r / 2), column 2j + r % 2
 *
 * So a register is a word of a row of A, or of a column of B, and both have their words in the order j + 4 (r / 2) and
 * j + 4 r. The operands are first laid out as matrices, then multiplied: nothing here knows of tiles. */
#include "kernels/cuda/machine/fiber_lanes.h"
#include <assert.h>
#include <string.h>

struct words {
    uint32_t a[16][8], b[8][8]; /* rows of A, columns of B */
};

static void lay_out(struct words *words, const struct hl_fiber *lanes)
{
    for (uint32_t lane = 0; lane < 32; lane++)
        for (uint32_t r = 0; r < 4; r++) {
            uint32_t g = lane / 4, j = lane % 4;
            words->a[g + 8 * (r % 2)][j + 4 * (r / 2)] = lanes[lane].a[r];
            if (r < 2)
                words->b[g][j + 4 * r] = lanes[lane].b[r];
        }
}

static uint32_t *c_at(struct hl_fiber *lanes, uint32_t row, uint32_t col)
{
    return &lanes[row % 8 * 4 + col / 2].c[row / 8 * 2 + col % 2];
}

static void widen_bytes(int16_t to[32], const uint32_t from[8])
{
    uint8_t bytes[32];
    memcpy(bytes, from, sizeof bytes);
    for (uint32_t i = 0; i < 32; i++)
        to[i] = (int16_t)((bytes[i] ^ 128) - 128);
}

static void multiply_s8(struct hl_fiber *lanes)
{
    struct words words;
    int16_t a[16][32], b[8][32]; /* a compiler knows how to multiply these four at a time */
    lay_out(&words, lanes);
    for (uint32_t row = 0; row < 16; row++)
        widen_bytes(a[row], words.a[row]);
    for (uint32_t col = 0; col < 8; col++)
        widen_bytes(b[col], words.b[col]);
    for (uint32_t row = 0; row < 16; row++)
        for (uint32_t col = 0; col < 8; col++) {
            int32_t sum = 0;
            for (uint32_t k = 0; k < 32; k++)
                sum += a[row][k] * b[col][k];
            *c_at(lanes, row, col) += (uint32_t)sum;
        }
}

static void widen_bf16(double to[16], const uint32_t from[8])
{
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t bits = i % 2 ? from[i / 2] & 0xffff0000u : from[i / 2] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        to[i] = (double)value;
    }
}

/* The products are exact. The order of their sum is the hardware's own affair, so here it is taken in double. */
static void multiply_bf16(struct hl_fiber *lanes)
{
    struct words words;
    double a[16][16], column[16], b[16][8];
    lay_out(&words, lanes);
    for (uint32_t row = 0; row < 16; row++)
        widen_bf16(a[row], words.a[row]);
    for (uint32_t col = 0; col < 8; col++) {
        widen_bf16(column, words.b[col]);
        for (uint32_t k = 0; k < 16; k++)
            b[k][col] = column[k];
    }
    for (uint32_t row = 0; row < 16; row++) {
        double sums[8] = {0};
        for (uint32_t k = 0; k < 16; k++)
            for (uint32_t col = 0; col < 8; col++)
                sums[col] += a[row][k] * b[k][col];
        for (uint32_t col = 0; col < 8; col++) {
            float c;
            memcpy(&c, c_at(lanes, row, col), sizeof c);
            c = (float)((double)c + sums[col]);
            memcpy(c_at(lanes, row, col), &c, sizeof c);
        }
    }
}

static void exchange(struct hl_fiber *lanes)
{
    uint32_t values[32];
    for (uint32_t lane = 0; lane < 32; lane++) {
        values[lane] = lanes[lane].value;
        if (lanes[lane].mask != lanes[0].mask)
            hl_fiber_fail("the lanes exchange with different masks");
    }
    for (uint32_t lane = 0; lane < 32; lane++)
        lanes[lane].value = values[lane ^ (lanes[lane].mask & 31)];
}

static const struct {
    const char *name;
    void (*act)(struct hl_fiber *lanes); /* NULL: the block's affair */
} operations[HL_FIBER_OPERATIONS] = {
    [HL_FIBER_BARRIER] = {"the barrier", NULL},        [HL_FIBER_ENDED] = {"its end", NULL},
    [HL_FIBER_EXCHANGE] = {"an exchange", exchange},   [HL_FIBER_MMA_S8] = {"mma_s8", multiply_s8},
    [HL_FIBER_MMA_BF16] = {"mma_bf16", multiply_bf16},
};

const char *hl_fiber_operation_name(enum hl_fiber_operation operation)
{
    return operations[operation].name;
}

void hl_fiber_operate(enum hl_fiber_operation operation, struct hl_fiber lanes[32])
{
    assert(operations[operation].act);
    operations[operation].act(lanes);
}
