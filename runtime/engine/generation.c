/* Stop texts: a generation holds text back while it could still be the beginning of one.
 *
 *   held:  "...done.</s"     with the stop text "</s>", "...done." goes out and "</s" is held
 *
 * A control token decodes to nothing, so a stop text that names one ("<|im_end|>") never occurs in the text. Clients
 * and generation_config.json stop at such names too: is_named() compares them. */
#include "runtime/engine/generation.h"
#include "base/bytes.h"
#include <stdlib.h>

struct generation {
    const struct hl_request *request;
    struct hl_generation_events events;
    const struct hl_model *model;
    struct hl_decoder decoder;
    struct hl_bytes held; /* text that has not gone out */
    bool stopped;         /* at a stop text; the text after it is dropped */
    bool starved;         /* text was lost: out of memory */
};

/* Returns stop text i: the request's come first, then the model's. */
static const char *stop_text(const struct generation *g, uint32_t i)
{
    return i < g->request->n_stop ? g->request->stop[i] : g->model->stop_text[i - g->request->n_stop];
}

static uint32_t n_stop_texts(const struct generation *g)
{
    return g->request->n_stop + g->model->n_stop_texts;
}

/* Returns where the first stop text begins in the held text, or the length of that text. */
static size_t find_stop(const struct generation *g)
{
    size_t first = g->held.size;
    for (uint32_t i = 0; i < n_stop_texts(g); i++) {
        size_t n = strlen(stop_text(g, i));
        const uint8_t *at = n ? memmem(g->held.data, g->held.size, stop_text(g, i), n) : NULL;
        if (at && (size_t)(at - g->held.data) < first)
            first = (size_t)(at - g->held.data);
    }
    return first;
}

/* Returns whether a stop text is the name of this control token. */
static bool is_named(const struct generation *g, int32_t token)
{
    const struct hl_tokenizer *tokenizer = g->model->tokenizer;
    size_t n = 0;
    if (hl_tokenizer_kind(tokenizer, (uint32_t)token) != HL_TOKEN_CONTROL)
        return false;
    const char *name = hl_tokenizer_text(tokenizer, (uint32_t)token, &n);
    for (uint32_t i = 0; i < n_stop_texts(g); i++)
        if (strlen(stop_text(g, i)) == n && memcmp(stop_text(g, i), name, n) == 0)
            return true;
    return false;
}

/* Returns how many bytes at the end may be the beginning of a stop text. */
static size_t suspicious(const struct generation *g)
{
    size_t most = 0;
    for (uint32_t i = 0; i < n_stop_texts(g); i++) {
        const char *stop = stop_text(g, i);
        size_t n = strlen(stop);
        for (size_t k = n < g->held.size + 1 ? n - (n > 0) : g->held.size; k > most; k--)
            if (memcmp(g->held.data + g->held.size - k, stop, k) == 0)
                most = k;
    }
    return most;
}

static bool hold(struct generation *g, const char *piece, size_t n)
{
    return hl_bytes_append(&g->held, piece, n, SIZE_MAX) == 0;
}

static bool on_token(void *context, int32_t token)
{
    struct generation *g = context;
    char piece[HL_PIECE_MAX];
    if (is_named(g, token)) {
        g->events.text(g->events.context, "", 0);
        return false;
    }
    size_t n = hl_decoder_push(&g->decoder, token, piece);
    if (!hold(g, piece, n)) {
        g->starved = true;
        return false;
    }
    size_t stop = find_stop(g);
    g->stopped = stop < g->held.size;
    size_t ready = g->stopped ? stop : g->held.size - suspicious(g);
    bool more = g->events.text(g->events.context, (const char *)g->held.data, ready);
    memmove(g->held.data, g->held.data + ready, g->held.size - ready);
    g->held.size -= ready;
    return more && !g->stopped;
}

static void on_finish(void *context, enum hl_finish reason, const struct hl_timings *timings,
                      const struct hl_error *err)
{
    struct generation *g = context;
    char piece[HL_PIECE_MAX];
    struct hl_error starved;
    if (g->stopped)
        g->held.size = 0;
    else if (!g->starved)
        g->starved = !hold(g, piece, hl_decoder_flush(&g->decoder, piece));
    if (g->starved && reason != HL_FINISH_ERROR) {
        hl_no_memory(&starved);
        err = &starved;
        reason = HL_FINISH_ERROR;
    }
    g->events.finish(g->events.context, reason, (const char *)g->held.data, g->held.size, timings, err);
    free(g->held.data);
    free(g);
}

int hl_generation_start(struct hl_scheduler *scheduler, const struct hl_model *model, struct hl_request *request,
                        const struct hl_generation_events *events, struct hl_error *err)
{
    struct generation *g = calloc(1, sizeof *g);
    if (!g || !hold(g, "", 0)) { /* allocates: events get no NULL */
        free(g);
        return hl_no_memory(err);
    }
    g->request = request;
    g->events = *events;
    g->model = model;
    /* After a prompt of nothing but the first token the text starts here: its dummy space is not part of the text. */
    bool bare = request->n_prompt == 1 && (uint32_t)request->tokens[0] == hl_tokenizer_bos(model->tokenizer);
    hl_decoder_init(&g->decoder, model->tokenizer, bare ? 0 : HL_DECODE_CONTINUE);
    const struct hl_scheduler_events tokens = {.token = on_token, .finish = on_finish, .context = g};
    if (hl_scheduler_add(scheduler, request, &tokens, err) == 0)
        return 0;
    free(g->held.data);
    free(g);
    return -1;
}
