/* The CPU as a device. The matrices are so large that its threads get fixed shares of only a part and take the rest as
 * they become free. The bits must be the same whichever thread computes a row, and with any number of threads. */
#include "base/sizes.h"
#include "hotlayer/layout.h"
#include "kernels/cpu/kernels.h"
#include "tests/unit/kernels/cpu/random_tiles.h"
#include <stdlib.h>

#define WIDTH 1040u /* 65 strips: no two shares are equal */
#define VOCABULARY 2500u
#define TOKENS 40u
#define WEIGHT_BYTES (20u << 20)

static struct hl_error err;

/* x = table[token]; then matrices directly after each other, and with one operation between them, so that both counters
 * of pieces are used in either order. The number of operations is even or odd. */
struct program {
    struct hl_program head;
    struct hl_buffer buffers[4];
    struct hl_op ops[10];
    struct hl_tensor tensors[7];
    uint32_t n_tensors;
    uint8_t *weights; /* WEIGHT_BYTES */
    uint64_t bytes;   /* of them used */
};

enum { X, Y, PICKED, LOGITS };

static uint32_t add_tensor(struct program *p, struct dice *dice, uint32_t type, uint32_t rows, uint32_t cols)
{
    struct hl_tensor *t = &p->tensors[p->n_tensors];
    *t = (struct hl_tensor){.name = "test", .type = type, .rows = rows, .cols = cols, .offset = p->bytes};
    hl_tensor_bytes(type, rows, cols, &t->bytes);
    p->bytes = hl_round_up(t->offset + t->bytes, HL_PAGE_BYTES);
    if (p->bytes > WEIGHT_BYTES)
        abort();
    for (uint64_t at = t->offset; at < t->offset + t->bytes;)
        if (type == HL_TYPE_VECTOR) {
            const float one = 1 + dice_float(dice, 0.1f);
            memcpy(p->weights + at, &one, sizeof one);
            at += sizeof one;
        } else {
            random_tile(dice, type, SCALES_USUAL, p->weights + at);
            at += hl_type_traits[type].tile_bytes;
        }
    return p->n_tensors++;
}

static void add_linear(struct program *p, uint32_t in, uint32_t weight, uint32_t out)
{
    p->ops[p->head.n_ops++] =
        (struct hl_op){.kind = HL_OP_LINEAR, .linear = {.out = {out, 0}, .in = {in, 0}, weight, HL_NONE}};
}

static struct program make_program(bool odd)
{
    struct dice dice = {21};
    struct program p = {.head = {.n_buffers = 4, .vocabulary = VOCABULARY, .context = TOKENS, .logits = LOGITS},
                        .buffers = {{WIDTH, HL_DOMAIN_TOKENS},
                                    {WIDTH, HL_DOMAIN_TOKENS},
                                    {WIDTH, HL_DOMAIN_OUTPUTS},
                                    {VOCABULARY, HL_DOMAIN_OUTPUTS}},
                        .weights = aligned_alloc(HL_PAGE_BYTES, WEIGHT_BYTES)};
    uint32_t table = add_tensor(&p, &dice, HL_TYPE_TILE_F16, VOCABULARY, WIDTH);
    uint32_t norm = add_tensor(&p, &dice, HL_TYPE_VECTOR, 1, WIDTH);
    uint32_t f32 = add_tensor(&p, &dice, HL_TYPE_TILE_F32, WIDTH, WIDTH);
    uint32_t bf16 = add_tensor(&p, &dice, HL_TYPE_TILE_BF16, WIDTH, WIDTH);
    uint32_t q8 = add_tensor(&p, &dice, HL_TYPE_TILE_Q8, WIDTH, WIDTH);
    uint32_t q6k = add_tensor(&p, &dice, HL_TYPE_TILE_Q6K, WIDTH, WIDTH);
    uint32_t head = add_tensor(&p, &dice, HL_TYPE_TILE_Q4, VOCABULARY, WIDTH);
    const struct hl_op normalize = {.kind = HL_OP_NORM, .norm = {{X, 0}, {X, 0}, norm, 1, WIDTH, 1e-5f}};
    p.ops[p.head.n_ops++] = (struct hl_op){.kind = HL_OP_GATHER, .gather = {{X, 0}, table, 1}};
    add_linear(&p, X, f32, Y);
    add_linear(&p, Y, q8, X);
    p.ops[p.head.n_ops++] = normalize;
    add_linear(&p, X, bf16, Y);
    add_linear(&p, Y, q6k, X);
    if (odd)
        p.ops[p.head.n_ops++] = normalize;
    p.ops[p.head.n_ops++] = (struct hl_op){.kind = HL_OP_PICK, .pick = {{PICKED, 0}, {X, 0}, WIDTH}};
    add_linear(&p, PICKED, head, LOGITS);
    return p;
}

static struct hl_device *open_device(const struct program *p, uint32_t threads)
{
    struct hl_device *device = NULL;
    const struct hl_device_config config = {.program = {&p->head, p->buffers, NULL, p->ops, p->tensors, p->n_tensors},
                                            .weight_bytes = p->bytes,
                                            .weights = p->weights,
                                            .in_place = true,
                                            .max_tokens = TOKENS,
                                            .max_outputs = 2,
                                            .threads = threads};
    struct hl_device_limits limits;
    if (!CHECK_OK(hl_cpu_device.open(&config, &device, &err), err) ||
        !CHECK_OK(hl_cpu_device.start(device, &limits, &err), err))
        exit(check_summary());
    return device;
}

/* Uses other tokens in each round, so that results left from the round before are noticed. */
static void step(struct hl_device *device, uint32_t round, uint32_t n, float out[2][VOCABULARY])
{
    int32_t tokens[TOKENS];
    struct hl_run runs[TOKENS];
    const struct hl_want wants[2] = {{.token = 0}, {.token = n - 1}};
    const struct hl_logits *logits;
    for (uint32_t i = 0; i < n; i++) {
        tokens[i] = (int32_t)((1 + round * 100 + i * 7) % VOCABULARY);
        runs[i] = (struct hl_run){.n_tokens = 1};
    }
    const struct hl_step s = {
        .n_tokens = n, .n_runs = n, .n_outputs = 2, .tokens = tokens, .runs = runs, .wants = wants};
    if (!CHECK_OK(hl_cpu_device.step(device, &s, &logits, &err), err))
        exit(check_summary());
    for (uint32_t i = 0; i < 2; i++)
        memcpy(out[i], logits[i].row, sizeof out[i]);
}

static void test_threads(bool odd)
{
    static const uint32_t sizes[] = {1, 1, 3, TOKENS, 1, 2};
    static float want[2][VOCABULARY], got[2][VOCABULARY];
    struct program p = make_program(odd);
    struct hl_device *alone = open_device(&p, 1),
                     *together[] = {open_device(&p, 2), open_device(&p, 3), open_device(&p, 5)};
    for (uint32_t round = 0; round < HL_COUNT(sizes); round++) {
        step(alone, round, sizes[round], want);
        CHECK(isfinite(want[0][0]) && want[0][0] != 0 && want[1][VOCABULARY - 1] != 0);
        for (size_t i = 0; i < HL_COUNT(together); i++) {
            step(together[i], round, sizes[round], got);
            CHECK_SAY(!memcmp(want, got, sizeof want), "round %u, %u tokens, %s: not what one thread computes", round,
                      sizes[round], hl_cpu_device.describe(together[i]));
        }
    }
    hl_cpu_device.close(alone);
    for (size_t i = 0; i < HL_COUNT(together); i++)
        hl_cpu_device.close(together[i]);
    free(p.weights);
}

int main(void)
{
    test_threads(false);
    test_threads(true);
    return check_summary();
}
