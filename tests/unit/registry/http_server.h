/* A small HTTP server on loopback for the tests of clients of registries. Each connection has a thread, and a test's
 * handler writes the answers byte by byte. With its own certificate, the server speaks TLS.
 *
 *     struct server server = {.handle = handle};
 *     server_start(&server);
 *     ... server.port ...
 *     server_stop(&server);
 */
#ifndef HL_TESTS_UNIT_REGISTRY_HTTP_SERVER_H
#define HL_TESTS_UNIT_REGISTRY_HTTP_SERVER_H

#include "tests/unit/check.h"
#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVER_CONNECTIONS 512
#define SERVER_HEAD ((size_t)128 << 10)

struct request {
    struct server *server;
    int fd;
    SSL *ssl;
    char *head; /* the request's lines, NUL-terminated */
    char method[16], *target;
    char *rest; /* bytes read after the head */
    size_t n_rest;
};

struct server {
    bool (*handle)(struct request *request); /* true keeps the connection */
    SSL_CTX *tls;                            /* NULL: without TLS */
    bool rude;                               /* closes a TLS port's plain connections; others answer that they expect
                                              * TLS */
    unsigned port;
    _Atomic unsigned connections, closed, requests;
    pthread_mutex_t lock;
    char log[1 << 16]; /* "METHOD target authorization\n" */
    int listener;
    pthread_t thread, worker[SERVER_CONNECTIONS];
    int fd[SERVER_CONNECTIONS];
    unsigned n;
};

static inline ssize_t request_read(struct request *r, void *buffer, size_t n)
{
    return r->ssl ? SSL_read(r->ssl, buffer, (int)n) : recv(r->fd, buffer, n, 0);
}

static inline bool request_write(struct request *r, const void *bytes, size_t n)
{
    for (const char *from = bytes; n;) {
        ssize_t done = r->ssl ? SSL_write(r->ssl, from, (int)n) : send(r->fd, from, n, MSG_NOSIGNAL);
        if (done <= 0)
            return false;
        from += done;
        n -= (size_t)done;
    }
    return true;
}

/* Sends text as it is; the caller writes lines with "\r\n". Always returns true, for a handler's `return`. */
__attribute__((format(printf, 2, 3))) static inline bool say(struct request *r, const char *format, ...)
{
    char text[8192];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    request_write(r, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    return true;
}

/* Sends a whole answer; `headers` are lines with their ends. */
static inline bool reply(struct request *r, int status, const char *headers, const char *body)
{
    bool head = !strcmp(r->method, "HEAD");
    return say(r, "HTTP/1.1 %d Text\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers, strlen(body),
               head ? "" : body);
}

/* Returns the value of a request's header, or "" if it is absent. */
static inline const char *request_header(const struct request *r, const char *name, char out[512])
{
    size_t n = strlen(name);
    out[0] = 0;
    for (const char *line = strstr(r->head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, name, n) && line[2 + n] == ':') {
            const char *value = line + 3 + n + strspn(line + 3 + n, " ");
            snprintf(out, 512, "%.*s", (int)strcspn(value, "\r"), value);
        }
    return out;
}

static inline bool at_path(const struct request *r, const char *path)
{
    size_t n = strlen(path);
    return !strncmp(r->target, path, n) && (!r->target[n] || r->target[n] == '?');
}

/* Reads exactly n bytes of the body. */
static inline bool request_take(struct request *r, char *out, size_t n)
{
    while (n) {
        size_t got = r->n_rest < n ? r->n_rest : n;
        if (got) {
            memcpy(out, r->rest, got);
            r->rest += got;
            r->n_rest -= got;
        } else {
            ssize_t read = request_read(r, out, n);
            if (read <= 0)
                return false;
            got = (size_t)read;
        }
        out += got;
        n -= got;
    }
    return true;
}

static inline bool take_line(struct request *r, char *line, size_t size)
{
    for (size_t n = 0; n + 1 < size; n++) {
        if (!request_take(r, line + n, 1))
            return false;
        if (line[n] == '\n')
            return line[n + 1] = 0, true;
    }
    return false;
}

/* Reads the body, of a known length or chunked. Returns its size, or -1 if the connection ended first. Adds its bytes
 * to *sum. */
static inline int64_t request_body(struct request *r, uint64_t *sum)
{
    char value[512], line[64], *block = malloc(1 << 16);
    bool chunked = !strcasecmp(request_header(r, "Transfer-Encoding", value), "chunked"), fine = true;
    uint64_t left = strtoull(request_header(r, "Content-Length", value), NULL, 10), total = 0;
    *sum = 0;
    do {
        if (chunked)
            fine = take_line(r, line, sizeof line) && ((left = strtoull(line, NULL, 16)), true);
        bool last = !left;
        while (fine && left) {
            size_t n = left < 1 << 16 ? (size_t)left : 1 << 16;
            fine = request_take(r, block, n);
            for (size_t i = 0; fine && i < n; i++)
                *sum += (unsigned char)block[i];
            total += n;
            left -= n;
        }
        if (chunked)
            fine = fine && take_line(r, line, sizeof line);
        if (last)
            break;
    } while (chunked && fine);
    free(block);
    return fine ? (int64_t)total : -1;
}

/* Ends a connection with a reset. */
static inline bool request_reset(struct request *r)
{
    struct linger hard = {.l_onoff = 1};
    setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    return false;
}

/* Waits until the client closes the connection. */
static inline bool request_hang(struct request *r)
{
    char byte[256];
    while (request_read(r, byte, sizeof byte) > 0)
        ;
    return false;
}

static inline void server_note(struct request *r)
{
    char value[512];
    struct server *s = r->server;
    pthread_mutex_lock(&s->lock);
    size_t used = strlen(s->log);
    snprintf(s->log + used, sizeof s->log - used, "%s %.200s %s\n", r->method, r->target,
             request_header(r, "Authorization", value));
    pthread_mutex_unlock(&s->lock);
    s->requests++;
}

/* Reads the next request's head; returns false at the end of the connection. */
static inline bool server_request(struct request *r)
{
    size_t n = r->n_rest;
    char *end = NULL;
    memmove(r->head, r->rest, n);
    r->head[n] = 0;
    while (!(end = strstr(r->head, "\r\n\r\n")) && n < SERVER_HEAD) {
        ssize_t got = request_read(r, r->head + n, SERVER_HEAD - n);
        if (got <= 0)
            return false;
        n += (size_t)got;
        r->head[n] = 0;
        if (r->head[0] == 0x16) /* a TLS handshake; registries answer this to it */
            return reply(r, 400, "", "HTTP spoken here"), false;
    }
    if (!end)
        return false;
    r->rest = end + 4;
    r->n_rest = n - (size_t)(r->rest - r->head);
    end[2] = 0;
    size_t word = strcspn(r->head, " ");
    snprintf(r->method, sizeof r->method, "%.*s", (int)word, r->head);
    size_t length = strcspn(r->head + word + 1, " ");
    r->target = strndup(r->head + word + 1, length);
    return true;
}

struct server_connection {
    struct server *server;
    unsigned i;
};

static inline void *server_work(void *context)
{
    struct server_connection *c = context;
    struct request r = {.server = c->server, .fd = c->server->fd[c->i], .head = malloc(SERVER_HEAD + 1)};
    r.rest = r.head;
    bool fine = true;
    char first = 0;
    if (c->server->tls && recv(r.fd, &first, 1, MSG_PEEK) == 1 && first != 0x16 && !c->server->rude) {
        fine = server_request(&r) && (server_note(&r), free(r.target), true) &&
               reply(&r, 400, "", "Client sent an HTTP request to an HTTPS server.\n") && false;
    } else if (c->server->tls) {
        r.ssl = SSL_new(c->server->tls);
        SSL_set_fd(r.ssl, r.fd);
        fine = SSL_accept(r.ssl) == 1;
    }
    while (fine && server_request(&r)) {
        server_note(&r);
        fine = c->server->handle(&r);
        free(r.target);
    }
    if (r.ssl && fine)
        SSL_shutdown(r.ssl);
    SSL_free(r.ssl);
    pthread_mutex_lock(&c->server->lock);
    close(r.fd);
    c->server->fd[c->i] = -1;
    c->server->closed++;
    pthread_mutex_unlock(&c->server->lock);
    free(r.head);
    free(c);
    return NULL;
}

/* OpenSSL raises SIGPIPE: it stays pending in the server's threads, and would kill the threads under test. */
static inline void *server_listen(void *context)
{
    struct server *s = context;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (int fd; (fd = accept(s->listener, NULL, NULL)) >= 0 && s->n < SERVER_CONNECTIONS;) {
        struct server_connection *c = malloc(sizeof *c);
        *c = (struct server_connection){s, s->n};
        s->connections++;
        pthread_mutex_lock(&s->lock);
        s->fd[s->n] = fd;
        pthread_mutex_unlock(&s->lock);
        pthread_create(&s->worker[s->n++], NULL, server_work, c);
    }
    return NULL;
}

static inline void server_start(struct server *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    pthread_mutex_init(&s->lock, NULL);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(s->listener, (struct sockaddr *)&address, length) || listen(s->listener, 64) ||
        getsockname(s->listener, (struct sockaddr *)&address, &length)) {
        perror("server");
        exit(1);
    }
    s->port = ntohs(address.sin_port);
    pthread_create(&s->thread, NULL, server_listen, s);
}

static inline void server_stop(struct server *s)
{
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->n; i++)
        if (s->fd[i] >= 0)
            shutdown(s->fd[i], SHUT_RDWR);
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->n; i++)
        pthread_join(s->worker[i], NULL);
    pthread_mutex_destroy(&s->lock);
    SSL_CTX_free(s->tls);
}

/* Forgets all requests so far. */
static inline void server_clear(struct server *s)
{
    pthread_mutex_lock(&s->lock);
    s->log[0] = 0;
    s->requests = 0;
    pthread_mutex_unlock(&s->lock);
}

/* Makes the server speak TLS for 127.0.0.1 and localhost; writes its new certificate into the file `path`. */
static inline bool server_tls(struct server *s, const char *path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
    X509_EXTENSION *authority = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
    X509_add_ext(x, names, -1);
    X509_add_ext(x, authority, -1);
    X509_EXTENSION_free(names);
    X509_EXTENSION_free(authority);
    X509_sign(x, key, EVP_sha256());
    s->tls = SSL_CTX_new(TLS_server_method());
    FILE *file = fopen(path, "wb");
    bool fine = file && PEM_write_X509(file, x) && SSL_CTX_use_certificate(s->tls, x) == 1 &&
                SSL_CTX_use_PrivateKey(s->tls, key) == 1;
    if (file)
        fclose(file);
    X509_free(x);
    EVP_PKEY_free(key);
    return fine;
}

#endif
