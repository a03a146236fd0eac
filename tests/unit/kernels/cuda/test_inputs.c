/* kernels/cuda/inputs.c: what a step tells the kernels. */
#include "kernels/cuda/code/attend.h"
#include "kernels/cuda/code/best.h"
#include "kernels/cuda/inputs.h"
#include "tests/unit/check.h"
#include <stdlib.h>

#define BASE 0x10000000u

static uint32_t word(const uint8_t *memory, uint64_t offset, uint32_t index)
{
    uint32_t value;
    memcpy(&value, memory + offset + 4ull * index, sizeof value);
    return value;
}

static struct hl_cuda_tile tile_at(const uint8_t *memory, const struct hl_inputs *inputs, uint32_t index)
{
    struct hl_cuda_tile tile;
    memcpy(&tile, memory + inputs->tiles + index * sizeof tile, sizeof tile);
    return tile;
}

static void check_tile(struct hl_cuda_tile tile, uint32_t token, uint32_t n, uint32_t position, uint32_t pages)
{
    CHECK(tile.token == token && tile.n_tokens == n && tile.position == position && tile.pages == pages);
}

/* Three runs: 33 tokens from position 60 on (16 + 16 + 1), one token at 130, and 5 tokens at the start. */
static const uint32_t first_pages[] = {7, 2}, second_pages[] = {9, 4, 1}, third_pages[] = {3};
static const struct hl_run runs[] = {{33, 60, first_pages, 2}, {1, 130, second_pages, 3}, {5, 0, third_pages, 1}};
static int32_t tokens[39];

static void check_runs(const uint8_t *memory, const struct hl_inputs *inputs)
{
    CHECK(inputs->n_single == 2 && inputs->n_tiles == 3);
    CHECK(inputs->most_tokens == 16 && inputs->single_positions == 131);
    check_tile(tile_at(memory, inputs, 0), 32, 1, 92, 0);
    check_tile(tile_at(memory, inputs, 1), 33, 1, 130, 2);
    check_tile(tile_at(memory, inputs, 2), 0, 16, 60, 0);
    check_tile(tile_at(memory, inputs, 3), 16, 16, 76, 0);
    check_tile(tile_at(memory, inputs, 4), 34, 5, 0, 5);
    CHECK(word(memory, inputs->positions, 0) == 60 && word(memory, inputs->positions, 32) == 92);
    CHECK(word(memory, inputs->slots, 0) == 7 * 64 + 60 && word(memory, inputs->slots, 4) == 2 * 64);
    CHECK(word(memory, inputs->slots, 33) == 1 * 64 + 2 && word(memory, inputs->slots, 38) == 3 * 64 + 4);
    CHECK(word(memory, inputs->pages, 1) == 2 && word(memory, inputs->pages, 2) == 9);
    CHECK(word(memory, inputs->pages, 5) == 3);
    CHECK(word(memory, inputs->tokens, 38) == 38);
}

static struct hl_cuda_want want_at(const uint8_t *memory, const struct hl_inputs *inputs, uint32_t index)
{
    struct hl_cuda_want want;
    memcpy(&want, memory + inputs->wants + index * sizeof want, sizeof want);
    return want;
}

/* A row as it is between two that are chosen from. */
static void check_wants(const uint8_t *memory, const struct hl_inputs *inputs)
{
    struct hl_cuda_adjustment second;
    CHECK(inputs->n_best == 2);
    CHECK(word(memory, inputs->outputs, 0) == 32 && word(memory, inputs->outputs, 2) == 38);
    struct hl_cuda_want want = want_at(memory, inputs, 0);
    CHECK(want.best == 40 && want.first_adjustment == 0 && want.n_adjustments == 1 && !want.allowed && !want.log_sum);
    want = want_at(memory, inputs, 1);
    CHECK(want.best == 0 && want.n_adjustments == 0 && !want.allowed && !want.log_sum);
    want = want_at(memory, inputs, 2);
    CHECK(want.best == 1 && want.first_adjustment == 1 && want.n_adjustments == 2 && want.log_sum == 1);
    CHECK((uintptr_t)want.allowed == BASE + inputs->allowed);
    CHECK(word(memory, inputs->allowed, 0) == 5 && word(memory, inputs->allowed, 1) == 6);
    memcpy(&second, memory + inputs->adjustments + 2 * sizeof second, sizeof second);
    CHECK(second.token == 3 && second.divide == 1 && second.add == -2);
}

int main(void)
{
    static const struct hl_adjustment one[] = {{1, 1.5f, 0}}, two[] = {{2, 1, 1}, {3, 1, -2}};
    static const uint32_t mask[] = {5, 6};
    const struct hl_want wants[] = {
        {.token = 32, .best = 40, .adjustments = one, .n_adjustments = 1},
        {.token = 33},
        {.token = 38, .best = 1, .adjustments = two, .n_adjustments = 2, .allowed = mask, .log_sum = true}};
    for (int32_t i = 0; i < 39; i++)
        tokens[i] = i;
    const struct hl_step step = {39, 3, 3, tokens, runs, wants};
    struct hl_inputs inputs;
    hl_inputs_measure(&step, 40, &inputs);
    uint8_t *memory = malloc(inputs.bytes);
    if (!memory)
        return 1;
    hl_inputs_pack(&step, 40, &inputs, memory, BASE);
    check_runs(memory, &inputs);
    check_wants(memory, &inputs);
    const struct hl_step silent = {39, 3, 0, tokens, runs, NULL};
    hl_inputs_measure(&silent, 40, &inputs);
    hl_inputs_pack(&silent, 40, &inputs, memory, BASE);
    check_runs(memory, &inputs);
    CHECK(inputs.n_best == 0);
    free(memory);
    return check_summary();
}
