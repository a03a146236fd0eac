/* A request: what a client wants generated, and the tokens so far.
 *
 * One request passes through all layers by pointer: nobody copies the prompt. Its address is its identity, for cancel
 * calls too. */
#ifndef HL_RUNTIME_ENGINE_REQUEST_H
#define HL_RUNTIME_ENGINE_REQUEST_H

#include "runtime/engine/sample.h"
#include "runtime/model/model.h"
#include <stdlib.h>

struct hl_request {
    int32_t *tokens; /* from malloc(): the prompt, then the generated tokens */
    uint32_t n_prompt, n_tokens;
    uint32_t n_predict; /* at most this many new tokens; UINT32_MAX: until the context is full */
    struct hl_sampling sampling;
    /* Generation ends before the first of these texts or of the model's; also at a control token with such a name. */
    char stop[HL_STOP_TEXTS_MOST][HL_STOP_TEXT_BYTES];
    uint32_t n_stop;
    bool cancel; /* set by hl_worker_cancel(), read under its mutex */
};

static inline void hl_request_release(struct hl_request *request)
{
    free(request->tokens);
    request->tokens = NULL;
}

#endif
