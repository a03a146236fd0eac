/* Replies to an exchange, whole or in pieces. The end of its reply is the end of an exchange. */
#ifndef HL_RUNTIME_SERVER_REPLY_H
#define HL_RUNTIME_SERVER_REPLY_H

#include "base/error.h"
#include <event2/buffer.h>
#include <stdbool.h>

struct hl_exchange;

#define HL_REPLY_JSON "application/json; charset=utf-8"

#define HL_REPLY_BACKLOG_LIMIT (1u << 20) /* bytes of a stream that its client has not read yet */

/* Sends a whole reply. Drains `body`; the caller still frees it. */
void hl_reply_send(struct hl_exchange *exchange, int status, const char *type, struct evbuffer *body);
/* Sends a text with status 200. */
void hl_reply_text(struct hl_exchange *exchange, const char *type, const char *text);
/* Sends {"error": message}, with Retry-After if the status is 503. */
void hl_reply_error(struct hl_exchange *exchange, int status, const char *message);
/* The same; the status follows the kind: 400, 503 or 500. */
void hl_reply_failure(struct hl_exchange *exchange, const struct hl_error *err);

/* Sends a piece of a reply; the first piece sends the headers. Returns false if the client has fallen too far behind;
 * the exchange is gone then. */
bool hl_reply_piece(struct hl_exchange *exchange, const char *type, struct evbuffer *piece);
void hl_reply_end(struct hl_exchange *exchange);

/* Appends text as a JSON string, with its quotes. The result is UTF-8 whatever the bytes are. */
void hl_reply_add_string(struct evbuffer *out, const char *text, size_t n);

#endif
