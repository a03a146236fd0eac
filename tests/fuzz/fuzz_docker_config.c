/* Three parts: a line with a host, a line with a repository, and a config.json. The result has one kind of credentials;
 * a helper's name is a part of a program's name; an error has one line, and names the file. */
#include "base/cleanup.h"
#include "registry/remote/docker_config.h"
#include "tests/fuzz/guard.h"

/* Reads one line of the input, and moves *at beyond it. */
static void line(const uint8_t **at, size_t *left, char out[HL_NAME_LIMIT + 1])
{
    const uint8_t *end = memchr(*at, '\n', *left);
    size_t n = end ? (size_t)(end - *at) : *left, kept = n < HL_NAME_LIMIT ? n : HL_NAME_LIMIT;
    memcpy(out, *at, kept);
    out[kept] = 0;
    n += end != NULL;
    *at += n;
    *left -= n;
}

static void check_error(const struct hl_error *err)
{
    if (strncmp(err->message, "FILE: ", 6) || strlen(err->message) >= sizeof err->message - 1)
        abort();
}

static void check_found(const struct hl_docker_config *config)
{
    const struct hl_credentials *c = &config->credentials;
    if (!c->user != !c->secret || !!c->user + !!c->identity_token + !!c->bearer > 1 || *c->where || c->expires)
        abort();
    if (strspn(config->helper, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") !=
            strlen(config->helper) ||
        config->helper[0] == '.' || !*config->helper != !*config->server)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char host[HL_NAME_LIMIT + 1], repository[HL_NAME_LIMIT + 1];
    struct hl_docker_config config;
    struct hl_error err;
    if (!size || size >= GUARD_MOST)
        return 0;
    line(&data, &size, host);
    line(&data, &size, repository);
    HL_FREE char *copy = malloc(size + 1);
    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    copy[size] = 0;
    const char *text = (const char *)guarded((const uint8_t *)copy, size + 1);
    for (unsigned i = 0; i < 2; i++) {
        if (hl_docker_config_read(text, "FILE", host, i ? repository : NULL, &config, &err) < 0)
            check_error(&err);
        else if (*host)
            check_found(&config);
        hl_credentials_free(&config.credentials);
    }
    return 0;
}
