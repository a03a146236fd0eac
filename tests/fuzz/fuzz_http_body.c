/* The body of POST /api/generate and /api/chat. The engine and a template must be able to take every accepted body. */
#include "base/cleanup.h"
#include "runtime/server/ollama/api.h"
#include <math.h>
#include <utf8proc.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds)
{
    if (!holds)
        abort();
}

static void check_message(struct hl_value message)
{
    demand(message.kind == HL_VALUE_DICT);
    const struct hl_value *role = hl_dict_get(message.dict, "role", 4);
    const struct hl_value *content = hl_dict_get(message.dict, "content", 7);
    demand(role && role->kind == HL_VALUE_STRING);
    demand(content && (content->kind == HL_VALUE_STRING ||
                       (content->kind == HL_VALUE_NONE && hl_dict_get(message.dict, "tool_calls", 10))));
}

static void check_accepted(const struct hl_api_request *body)
{
    const struct hl_request *request = &body->request;
    const struct hl_sampling *s = &request->sampling;
    utf8proc_int32_t code;
    utf8proc_ssize_t n;
    demand(*body->model && body->prompt);
    demand(body->load || ((body->chat || *body->prompt) && request->n_predict > 0));
    demand(!body->chat || body->conversation.messages.kind == HL_VALUE_LIST);
    for (uint32_t i = 0; body->chat && i < body->conversation.messages.list->n; i++)
        check_message(body->conversation.messages.list->items[i]);
    for (const char *at = body->prompt; *at; at += n)
        demand((n = utf8proc_iterate((const utf8proc_uint8_t *)at, -1, &code)) > 0);
    demand(request->n_stop <= HL_STOP_TEXTS_MOST);
    for (uint32_t i = 0; i < request->n_stop; i++)
        demand(*request->stop[i] && memchr(request->stop[i], 0, HL_STOP_TEXT_BYTES));
    demand(s->temperature >= 0 && s->top_p >= 0 && s->top_p <= 1 && s->min_p >= 0 && s->min_p <= 1);
    demand(s->repeat_penalty >= 0 && isfinite(s->repeat_penalty) && isfinite(s->presence_penalty));
    demand(isfinite(s->temperature) && isfinite(s->frequency_penalty));
    demand(memchr(body->ignored, 0, sizeof body->ignored) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int chat = 0; chat < 2; chat++) {
        struct hl_api_request body;
        struct hl_error err = {.message = ""};
        if (hl_api_request_read((const char *)data, size, chat, &body, &err) < 0) {
            demand(err.kind == HL_ERROR_REQUEST && *err.message);
        } else {
            check_accepted(&body);
            hl_api_request_release(&body);
        }
    }
    return 0;
}
