/* kernels/cuda/code/attend.cu on the host, against the CPU's attention in float64. */
#include "kernels/cuda/code/attend.h"
#include "kernels/cuda/machine/fiber.h"
#include "tests/unit/kernels/cpu/matrix.h"
#include "tests/unit/kernels/cuda/two_caches.h"

#define SPARE_PAGES 3 /* that hold NaN; also, pages of others in the table */

/* An attention, and one sequence's cache. */
struct attention {
    struct two_caches caches;
    uint32_t length, heads, window;
    float scale, softcap;
};

static struct attention attention_new(struct dice *dice, uint32_t type, uint32_t head_dim, uint32_t group,
                                      uint32_t length)
{
    static const uint32_t windows[] = {0, 0, 1, 63, 64, 65, 200, 257, 5000};
    uint32_t kv_heads = dice_between(dice, 1, 2);
    struct attention a = {
        .length = length, .heads = kv_heads * group, .window = windows[dice_between(dice, 0, HL_COUNT(windows) - 1)]};
    a.scale = 1 / sqrtf((float)head_dim);
    a.softcap = dice_between(dice, 0, 2) ? 0 : 2;
    a.caches = two_caches_new(dice, type, kv_heads, head_dim, (length + 63) / 64 + SPARE_PAGES);
    two_caches_fill(&a.caches, dice, length);
    return a;
}

/* Tokens at some positions of the sequence, and their tiles. */
struct step {
    uint32_t n_tokens, n_tiles, most_tokens, longest; /* longest: context */
    struct hl_cuda_tile tiles[16];
    struct matrix q;
};

static void step_add(struct step *s, uint32_t position, uint32_t n)
{
    s->tiles[s->n_tiles++] =
        (struct hl_cuda_tile){.token = s->n_tokens, .n_tokens = n, .position = position, .pages = SPARE_PAGES};
    s->n_tokens += n;
    s->most_tokens = n > s->most_tokens ? n : s->most_tokens;
    s->longest = position + n > s->longest ? position + n : s->longest;
}

static uint32_t position_of(const struct step *s, uint32_t token)
{
    uint32_t i = 0;
    while (token >= s->tiles[i].token + s->tiles[i].n_tokens)
        i++;
    return s->tiles[i].position + token - s->tiles[i].token;
}

/* Returns the table of a step's pages, of which those that no token sees are far from all memory. */
static uint32_t *pages_of(const struct attention *a, const struct step *s)
{
    uint32_t n = (s->longest + 63) / 64, lowest = UINT32_MAX;
    for (uint32_t i = 0; i < s->n_tiles; i++) {
        uint32_t at = s->tiles[i].position;
        lowest = hl_min_u32(lowest, a->window && at >= a->window ? at - a->window + 1 : 0);
    }
    uint32_t *pages = malloc((SPARE_PAGES + n) * sizeof *pages);
    for (uint32_t i = 0; i < SPARE_PAGES + n; i++)
        pages[i] = i < SPARE_PAGES + lowest / 64 ? 1u << 30 : a->caches.pages[i - SPARE_PAGES];
    return pages;
}

/* Runs a step, with the kernel for tiles of at most `most_tokens`; with `split` as decoding does. */
static struct matrix run(const struct attention *a, const struct step *s, struct dice *dice, uint32_t most_tokens,
                         bool split)
{
    uint32_t head_dim = a->caches.cpu.head_dim, *pages = pages_of(a, s);
    struct matrix out = matrix_new(dice, s->n_tokens, a->heads * head_dim);
    struct hl_cuda_attend args = {
        .kv = a->caches.gpu, .q = s->q.data, .out = out.data, .tiles = s->tiles, .pages = pages};
    args.heads = a->heads;
    args.window = a->window;
    args.q_stride = (uint32_t)s->q.stride;
    args.out_stride = (uint32_t)out.stride;
    args.scale = a->scale;
    args.softcap = a->softcap;
    args.splits = split ? hl_cuda_attend_splits(s->longest) : 1;
    size_t floats = hl_cuda_attend_partial_floats(a->heads, head_dim, args.splits, s->n_tiles);
    args.partial = split ? malloc(floats * sizeof(float)) : NULL;
    for (size_t i = 0; split && i < floats; i++)
        args.partial[i] = hl_bits_to_f32(CANARY);
    uint32_t seed = dice_between(dice, 0, 1000);
    hl_fiber_launch(hl_fiber_find(hl_cuda_attend_kernel(&args, most_tokens)), &args,
                    hl_cuda_attend_grid(&args, most_tokens, s->n_tiles), seed);
    if (split)
        hl_fiber_launch(hl_fiber_find("hl_cuda_attend_merge"), &args, hl_cuda_attend_merge_grid(&args, s->n_tiles),
                        seed);
    free(args.partial);
    free(pages);
    return out;
}

static struct matrix run_cpu(const struct attention *a, const struct step *s, struct dice *dice)
{
    uint32_t positions[256], head_dim = a->caches.cpu.head_dim;
    const uint32_t *pages[256];
    for (uint32_t t = 0; t < s->n_tokens; t++) {
        positions[t] = position_of(s, t);
        pages[t] = a->caches.pages;
    }
    const struct hl_places places = {.n_tokens = s->n_tokens, .positions = positions, .pages = pages};
    struct matrix out = matrix_new(dice, s->n_tokens, a->heads * head_dim);
    float *scratch = aligned_alloc(64, hl_round_up(hl_attend_scratch_floats(head_dim) * sizeof *scratch, 64));
    const struct hl_attend attend = {.store = &a->caches.cpu,
                                     .places = &places,
                                     .q = s->q.data,
                                     .q_stride = s->q.stride,
                                     .out = out.data,
                                     .out_stride = out.stride,
                                     .heads = a->heads,
                                     .window = a->window,
                                     .scale = a->scale,
                                     .softcap = a->softcap,
                                     .scratch = scratch};
    hl_kernels_scalar.attend(&attend, (struct hl_share){0, 1});
    free(scratch);
    return out;
}

static double worst; /* of all comparisons, against the largest value */

static void compare(const struct attention *a, const struct step *s, const struct matrix *got,
                    const struct matrix *want, const char *what)
{
    double most = 0, size = 0;
    bool good = true;
    for (uint32_t t = 0; t < got->rows; t++) {
        for (uint32_t i = 0; i < got->cols; i++) {
            double difference = fabs((double)*matrix_at(got, t, i) - (double)*matrix_at(want, t, i));
            good &= !isnan(difference);
            most = fmax(most, difference);
            size = fmax(size, fabs((double)*matrix_at(want, t, i)));
        }
        for (size_t i = got->cols; i < got->stride && t + 1 < got->rows; i++)
            good &= is_canary(matrix_at(got, t, 0)[i]);
    }
    worst = fmax(worst, most / size);
    CHECK_SAY(good && most <= 1e-5 * size,
              "%s: type %u, %u heads of %u, group %u, window %u, softcap %g, tile 0 at %u: off by %g of %g", what,
              a->caches.gpu.type, a->caches.gpu.heads, a->caches.gpu.head_dim, a->heads / a->caches.gpu.heads,
              a->window, (double)a->softcap, s->tiles[0].position, most, size);
}

static bool same(const struct matrix *a, uint32_t row, const struct matrix *b, uint32_t other)
{
    return memcmp(matrix_at(a, row, 0), matrix_at(b, other, 0), a->cols * sizeof(float)) == 0;
}

/* One token of each of some sequences, which are here the same one at different lengths. */
static void check_decode(const struct attention *a, struct dice *dice)
{
    struct step s = {0}, alone = {0};
    step_add(&s, a->length - 1, 1);
    step_add(&s, dice_between(dice, 0, a->length - 1), 1);
    s.q = matrix_random(dice, 2, a->heads * a->caches.cpu.head_dim, 2);
    struct matrix want = run_cpu(a, &s, dice), got = run(a, &s, dice, 1, true);
    compare(a, &s, &got, &want, "decode");
    step_add(&alone, s.tiles[1].position, 1);
    alone.q = s.q;
    alone.q.data = matrix_at(&s.q, 1, 0);
    struct matrix again = run(a, &alone, dice, 1, true), whole = run(a, &s, dice, 1, false);
    CHECK(same(&got, 1, &again, 0));
    compare(a, &s, &whole, &want, "one token as prefill");
    matrix_free(&want);
    matrix_free(&got);
    matrix_free(&again);
    matrix_free(&whole);
    matrix_free(&s.q);
}

/* Consecutive tokens, which end with the sequence. */
static void check_prefill(const struct attention *a, struct dice *dice)
{
    struct step s = {0};
    uint32_t left = hl_min_u32(dice_between(dice, 2, 21), a->length), n_last;
    for (uint32_t at = a->length - left; left; at += n_last, left -= n_last)
        step_add(&s, at, n_last = hl_min_u32(dice_between(dice, 1, HL_CUDA_TILE_TOKENS), left));
    s.q = matrix_random(dice, s.n_tokens, a->heads * a->caches.cpu.head_dim, 2);
    struct matrix want = run_cpu(a, &s, dice), got = run(a, &s, dice, s.most_tokens, false);
    compare(a, &s, &got, &want, "prefill");

    /* the first token alone, and beside tiles that are larger */
    struct step first = s;
    first.n_tiles = first.n_tokens = first.tiles[0].n_tokens = 1;
    struct matrix alone = run(a, &first, dice, 1, false), beside = run(a, &first, dice, HL_CUDA_TILE_TOKENS, false);
    CHECK(same(&got, 0, &alone, 0) && same(&got, 0, &beside, 0));
    matrix_free(&want);
    matrix_free(&got);
    matrix_free(&alone);
    matrix_free(&beside);
    matrix_free(&s.q);
}

static void check_names(void)
{
    struct hl_cuda_attend a = {.kv = {.type = HL_CUDA_KV_F16, .heads = 2, .head_dim = 128}, .heads = 8, .splits = 3};
    CHECK(strcmp(hl_cuda_attend_kernel(&a, 1), "hl_cuda_attend_f16_4") == 0);
    CHECK(strcmp(hl_cuda_attend_kernel(&a, 16), "hl_cuda_attend_f16_16") == 0);
    CHECK(hl_cuda_attend_grid(&a, 16, 5).y == 8 && hl_cuda_attend_grid(&a, 16, 5).z == 5);
    CHECK(hl_cuda_attend_grid(&a, 1, 5).y == 2 && hl_cuda_attend_grid(&a, 1, 5).x == 3);
    a.kv.head_dim = 300;
    CHECK(strcmp(hl_cuda_attend_kernel(&a, 16), "hl_cuda_attend_f16_8") == 0);
    a.kv.head_dim = 1024;
    CHECK(strcmp(hl_cuda_attend_kernel(&a, 16), "hl_cuda_attend_f16_4") == 0);
    a.kv.head_dim = 1025;
    CHECK(hl_cuda_attend_kernel(&a, 1) == NULL);
    for (uint32_t type = 0; type < 3; type++)
        for (uint32_t n = 1; n <= HL_CUDA_TILE_TOKENS; n++) {
            struct hl_cuda_attend other = {.kv = {.type = type, .heads = 1, .head_dim = 64}, .heads = 1};
            CHECK(hl_fiber_find(hl_cuda_attend_kernel(&other, n)));
        }
}

int main(void)
{
    static const uint32_t dims[] = {1, 8, 20, 32, 64, 80, 96, 128, 256, 300, 1024}, groups[] = {1, 2, 3, 4, 8, 16},
                          lengths[] = {1, 63, 64, 65, 512, 513, 1300};
    struct dice dice = {0xa77e};
    check_names();
    for (uint32_t i = 0; i < 3 * HL_COUNT(dims); i++) {
        uint32_t dim = dims[i / 3], group = groups[dice_between(&dice, 0, dim > 300 ? 2 : HL_COUNT(groups) - 1)];
        uint32_t length = lengths[(i + i / 7) % (HL_COUNT(lengths) - (dim > 128))];
        struct attention a = attention_new(&dice, i % 3, dim, group, length);
        check_decode(&a, &dice);
        check_prefill(&a, &dice);
        two_caches_free(&a.caches);
    }
    printf("worst %.2g of the largest value\n", worst);
    return check_summary();
}
