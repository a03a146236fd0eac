/* The inside of an exchange, shared by httpd.c and reply.c only. */
#ifndef HL_RUNTIME_SERVER_EXCHANGE_H
#define HL_RUNTIME_SERVER_EXCHANGE_H

#include <event2/http.h>
#include <stdbool.h>

struct hl_httpd;

struct hl_connection {
    struct hl_httpd *http;
    struct evhttp_connection *peer;
    struct bufferevent *stream;
    struct event *deadline; /* pending while a request arrives */
    struct hl_exchange *exchange;
    size_t fd;
};

struct hl_exchange {
    struct hl_connection *connection;
    struct evhttp_request *request;
    void (*left)(void *context);
    void *context;
    bool streaming;
};

bool hl_httpd_stopping(const struct hl_httpd *http);

#endif
