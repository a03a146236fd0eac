/* Packs a step for the kernels. */
#include "kernels/cuda/inputs.h"
#include "base/sizes.h"
#include "kernels/cuda/code/attend.h"
#include "kernels/cuda/code/best.h"

#define ALIGN 256u

/* Returns the words of a mask with a bit for each token. */
static uint64_t mask_words(uint32_t vocabulary)
{
    return vocabulary / 32 + (vocabulary % 32 != 0);
}

/* A run is cut into whole tiles; what is left of it is a smaller one, perhaps of one token. */
static void count_tiles(const struct hl_run *run, struct hl_inputs *out)
{
    uint32_t left = run->n_tokens % HL_CUDA_TILE_TOKENS;
    out->n_tiles += run->n_tokens / HL_CUDA_TILE_TOKENS + (left > 1);
    if (run->n_tokens >= HL_CUDA_TILE_TOKENS)
        out->most_tokens = HL_CUDA_TILE_TOKENS;
    if (left == 1) {
        uint32_t positions = run->position + run->n_tokens;
        out->n_single++;
        out->single_positions = positions > out->single_positions ? positions : out->single_positions;
    } else if (left > out->most_tokens)
        out->most_tokens = left;
}

/* Takes room for n elements and returns their offset. */
static uint64_t take(struct hl_inputs *inputs, uint64_t n, uint64_t size)
{
    uint64_t offset = inputs->bytes;
    inputs->bytes += hl_round_up(n * size, ALIGN);
    return offset;
}

void hl_inputs_measure(const struct hl_step *step, uint32_t vocabulary, struct hl_inputs *out)
{
    uint64_t pages = 0, adjustments = 0, masks = 0;
    *out = (struct hl_inputs){.n_tiles = 0};
    for (uint32_t i = 0; i < step->n_runs; i++) {
        count_tiles(&step->runs[i], out);
        pages += step->runs[i].n_pages;
    }
    for (uint32_t i = 0; i < step->n_outputs; i++)
        if (step->wants[i].best) {
            out->n_best++;
            adjustments += step->wants[i].n_adjustments;
            masks += step->wants[i].allowed != NULL;
        }
    out->tokens = take(out, step->n_tokens, sizeof *step->tokens);
    out->positions = take(out, step->n_tokens, sizeof(uint32_t));
    out->slots = take(out, step->n_tokens, sizeof(uint32_t));
    out->tiles = take(out, (uint64_t)out->n_single + out->n_tiles, sizeof(struct hl_cuda_tile));
    out->pages = take(out, pages, sizeof(uint32_t));
    out->outputs = take(out, step->n_outputs, sizeof(uint32_t));
    out->wants = take(out, step->n_outputs, sizeof(struct hl_cuda_want));
    out->adjustments = take(out, adjustments, sizeof(struct hl_cuda_adjustment));
    out->allowed = take(out, masks * mask_words(vocabulary), sizeof(uint32_t));
}

/* Cuts a run; `*single` and `*several` are where the next tiles of the two kinds go. */
static void pack_tiles(const struct hl_run *run, uint32_t token, uint32_t pages, struct hl_cuda_tile **single,
                       struct hl_cuda_tile **several)
{
    for (uint32_t done = 0; done < run->n_tokens;) {
        uint32_t n = hl_min_u32(run->n_tokens - done, HL_CUDA_TILE_TOKENS);
        struct hl_cuda_tile **to = n == 1 ? single : several;
        *(*to)++ = (struct hl_cuda_tile){
            .token = token + done, .n_tokens = n, .position = run->position + done, .pages = pages};
        done += n;
    }
}

static void pack_runs(const struct hl_step *step, const struct hl_inputs *inputs, uint8_t *to)
{
    uint32_t *positions = (uint32_t *)(void *)(to + inputs->positions),
             *slots = (uint32_t *)(void *)(to + inputs->slots);
    uint32_t *pages = (uint32_t *)(void *)(to + inputs->pages);
    struct hl_cuda_tile *single = (struct hl_cuda_tile *)(void *)(to + inputs->tiles);
    struct hl_cuda_tile *several = single + inputs->n_single;
    uint32_t token = 0, page = 0;
    for (uint32_t r = 0; r < step->n_runs; r++) {
        const struct hl_run *run = &step->runs[r];
        for (uint32_t i = 0; i < run->n_tokens; i++) {
            uint32_t position = run->position + i;
            positions[token + i] = position;
            slots[token + i] =
                run->pages[position / HL_KV_PAGE_TOKENS] * HL_KV_PAGE_TOKENS + position % HL_KV_PAGE_TOKENS;
        }
        memcpy(pages + page, run->pages, run->n_pages * sizeof *pages);
        pack_tiles(run, token, page, &single, &several);
        token += run->n_tokens;
        page += run->n_pages;
    }
}

static void pack_wants(const struct hl_step *step, uint32_t vocabulary, const struct hl_inputs *inputs, uint8_t *to,
                       uint64_t base)
{
    uint32_t *outputs = (uint32_t *)(void *)(to + inputs->outputs);
    struct hl_cuda_want *wants = (struct hl_cuda_want *)(void *)(to + inputs->wants);
    uint64_t mask = inputs->allowed, mask_bytes = mask_words(vocabulary) * sizeof(uint32_t);
    uint32_t adjustment = 0;
    for (uint32_t i = 0; i < step->n_outputs; i++) {
        const struct hl_want *want = &step->wants[i];
        outputs[i] = want->token;
        wants[i] = (struct hl_cuda_want){.best = want->best};
        if (!want->best)
            continue;
        wants[i].first_adjustment = adjustment;
        wants[i].n_adjustments = want->n_adjustments;
        wants[i].log_sum = want->log_sum;
        if (want->n_adjustments)
            memcpy(to + inputs->adjustments + adjustment * sizeof(struct hl_cuda_adjustment), want->adjustments,
                   want->n_adjustments * sizeof *want->adjustments);
        adjustment += want->n_adjustments;
        if (want->allowed) {
            memcpy(to + mask, want->allowed, mask_bytes);
            wants[i].allowed = (const uint32_t *)(uintptr_t)(base + mask);
            mask += mask_bytes;
        }
    }
}

void hl_inputs_pack(const struct hl_step *step, uint32_t vocabulary, const struct hl_inputs *inputs, uint8_t *to,
                    uint64_t base)
{
    memcpy(to + inputs->tokens, step->tokens, step->n_tokens * sizeof *step->tokens);
    pack_runs(step, inputs, to);
    pack_wants(step, vocabulary, inputs, to, base);
}
