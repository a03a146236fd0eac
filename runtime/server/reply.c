/* Replies through evhttp: headers, chunks, and the limit on a slow client's backlog. */
#include "runtime/server/reply.h"
#include "hotlayer/version.h"
#include "runtime/server/exchange.h"
#include <event2/bufferevent.h>
#include <event2/http_struct.h>
#include <string.h>
#include <utf8proc.h>

static void add_headers(struct hl_exchange *exchange, const char *type)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(exchange->request);
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "Server", "hotlayer/" HL_VERSION);
    if (hl_httpd_stopping(exchange->connection->http))
        evhttp_add_header(headers, "Connection", "close");
}

void hl_reply_send(struct hl_exchange *exchange, int status, const char *type, struct evbuffer *body)
{
    if (evhttp_request_get_command(exchange->request) == EVHTTP_REQ_HEAD)
        evbuffer_drain(body, evbuffer_get_length(body));
    exchange->left = NULL;
    add_headers(exchange, type);
    evhttp_send_reply(exchange->request, status, NULL, body);
}

void hl_reply_text(struct hl_exchange *exchange, const char *type, const char *text)
{
    struct evbuffer *body = evbuffer_new();
    if (!body) {
        hl_reply_error(exchange, 500, "out of memory");
        return;
    }
    evbuffer_add(body, text, strlen(text));
    hl_reply_send(exchange, 200, type, body);
    evbuffer_free(body);
}

void hl_reply_error(struct hl_exchange *exchange, int status, const char *message)
{
    struct evbuffer *body = evbuffer_new();
    if (!body) {
        evhttp_connection_free(exchange->connection->peer);
        return;
    }
    evbuffer_add_printf(body, "{\"error\":");
    hl_reply_add_string(body, message, strlen(message));
    evbuffer_add_printf(body, "}");
    if (status == 503)
        evhttp_add_header(evhttp_request_get_output_headers(exchange->request), "Retry-After", "1");
    hl_reply_send(exchange, status, HL_REPLY_JSON, body);
    evbuffer_free(body);
}

void hl_reply_failure(struct hl_exchange *exchange, const struct hl_error *err)
{
    hl_reply_error(exchange,
                   err->kind == HL_ERROR_REQUEST ? 400
                   : err->kind == HL_ERROR_BUSY  ? 503
                                                 : 500,
                   err->message);
}

/* HTTP/1.0 has no chunks: the end of the connection ends the reply. If such a client asks for keep-alive, evhttp would
 * keep the connection and announce an empty reply. So the request's Connection headers are removed. */
static void start_stream(struct hl_exchange *exchange, const char *type)
{
    struct evkeyvalq *asked = evhttp_request_get_input_headers(exchange->request);
    exchange->streaming = true;
    add_headers(exchange, type);
    if (exchange->request->major < 1 || exchange->request->minor < 1)
        while (evhttp_find_header(asked, "Connection"))
            evhttp_remove_header(asked, "Connection");
    evhttp_send_reply_start(exchange->request, 200, NULL);
}

bool hl_reply_piece(struct hl_exchange *exchange, const char *type, struct evbuffer *piece)
{
    struct hl_connection *c = exchange->connection;
    if (!exchange->streaming)
        start_stream(exchange, type);
    evhttp_send_reply_chunk(exchange->request, piece);
    if (evbuffer_get_length(bufferevent_get_output(c->stream)) <= HL_REPLY_BACKLOG_LIMIT)
        return true;
    evhttp_connection_free(c->peer); /* calls on_close() */
    return false;
}

void hl_reply_end(struct hl_exchange *exchange)
{
    exchange->left = NULL;
    evhttp_send_reply_end(exchange->request);
}

void hl_reply_add_string(struct evbuffer *out, const char *text, size_t n)
{
    evbuffer_add(out, "\"", 1);
    for (const char *at = text, *end = text + n; at < end;) {
        utf8proc_int32_t code;
        const char *plain = at;
        while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 && *at != '"' && *at != '\\')
            at++;
        evbuffer_add(out, plain, (size_t)(at - plain));
        if (at == end)
            break;
        if ((unsigned char)*at < 0x80) {
            evbuffer_add_printf(out, *at == '"' || *at == '\\' ? "\\%c" : "\\u%04x", *at);
            at++;
            continue;
        }
        utf8proc_ssize_t bytes = utf8proc_iterate((const utf8proc_uint8_t *)at, end - at, &code);
        evbuffer_add(out, bytes > 0 ? at : "\xef\xbf\xbd", bytes > 0 ? (size_t)bytes : 3); /* U+FFFD */
        at += bytes > 0 ? bytes : 1;
    }
    evbuffer_add(out, "\"", 1);
}
