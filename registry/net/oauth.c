/* One exchange with an endpoint that issues tokens.
 *
 * A sink moves the response's body into memory that is wiped; the memory of a response is not. The reason that an
 * endpoint gives for a refusal helps the user most ("invalid_grant: Token has been expired or revoked."), so it is
 * shown. An endpoint may echo the request, so a reason that contains one of our secrets is dropped.
 */
#include "registry/net/oauth.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/sizes.h"
#include "base/text.h"
#include "registry/net/retry.h"
#include "registry/net/url.h"
#include <stdlib.h>

#define ASK_SECONDS 60u /* for one response, which has a few KB */
#define TRIES 3u
#define LIFE_MOST (30u * 24 * 3600)

void hl_oauth_token_free(struct hl_oauth_token *token)
{
    hl_secret_free(token->text);
    hl_secret_free(token->refresh);
    *token = (struct hl_oauth_token){0};
}

bool hl_oauth_url_is_safe(const char *url)
{
    struct hl_url parts;
    return hl_url_parse(url, &parts) && (parts.tls || hl_url_reach(parts.host) == HL_REACH_LOOPBACK);
}

/* Returns whether the text fits into a header: visible ASCII. */
static bool token_valid(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return *text;
}

int hl_oauth_parse(const char *text, const char *name, struct hl_oauth_token *out, struct hl_error *err)
{
    HL_SECRET_JSON cJSON *json = NULL;
    struct hl_view view = {(const uint8_t *)text, strlen(text)};
    uint64_t seconds = HL_OAUTH_LIFE;
    if (hl_json_parse(view, name, &json, err) < 0)
        return hl_fail(err, "%s: its answer is not JSON with a token", name);
    const char *token = hl_json_text(json, "token"), *refresh = hl_json_text(json, "refresh_token");
    if (!token || !*token)
        token = hl_json_text(json, "access_token");
    if (!token || !token_valid(token))
        return hl_fail(err, "%s: its answer holds no usable token", name);
    hl_json_count(hl_json_get(json, "expires_in"), LIFE_MOST, &seconds);
    out->seconds = (unsigned)seconds;
    out->text = hl_secret_copy(token, err);
    out->refresh = refresh && *refresh ? hl_secret_copy(refresh, err) : NULL;
    return out->text && (!refresh || !*refresh || out->refresh) ? 0 : -1;
}

static bool holds_secret(const char *text, const struct hl_oauth_request *request)
{
    const char *const secrets[] = {request->secret, request->hide[0], request->hide[1]};
    for (size_t i = 0; i < HL_COUNT(secrets); i++)
        if (secrets[i] && *secrets[i] && strstr(text, secrets[i]))
            return true;
    return false;
}

/* Reads OAuth2's {"error": CODE, "error_description": TEXT}, or a registry's
 * {"errors": [{"code": CODE, "message": TEXT}]}. */
static void read_reason(const char *body, const struct hl_oauth_request *request, struct hl_oauth_token *out)
{
    HL_SECRET_JSON cJSON *json = NULL;
    struct hl_error ignored;
    struct hl_view view = {(const uint8_t *)body, strlen(body)};
    if (hl_json_parse(view, "the answer", &json, &ignored) < 0)
        return;
    const cJSON *first = cJSON_GetArrayItem(hl_json_get(json, "errors"), 0);
    const char *code = first ? hl_json_text(first, "code") : hl_json_text(json, "error"),
               *text = first ? hl_json_text(first, "message") : hl_json_text(json, "error_description");
    char both[sizeof out->reason * 4];
    snprintf(both, sizeof both, "%s%s%s", code ? code : "", code && text ? ": " : "", text ? text : "");
    if (!holds_secret(both, request) && !holds_secret(body, request))
        hl_text_copy(out->reason, sizeof out->reason, both);
}

static int take(void *context, const void *bytes, size_t n, struct hl_error *err)
{
    struct hl_secret_text *text = context;
    if (n > HL_OAUTH_LIMIT - text->size)
        return hl_fail(err, "the answer is longer than %zu KiB, too long for a token", HL_OAUTH_LIMIT >> 10);
    hl_secret_add_bytes(text, bytes, n);
    return 0;
}

struct form {
    const char *text;
    size_t sent;
};

static int form_read(void *context, void *buffer, size_t size, size_t *n, struct hl_error *err)
{
    struct form *form = context;
    size_t left = strlen(form->text) - form->sent;
    (void)err;
    *n = left < size ? left : size;
    memcpy(buffer, form->text + form->sent, *n);
    form->sent += *n;
    return 0;
}

static int form_rewind(void *context, struct hl_error *err)
{
    (void)err;
    ((struct form *)context)->sent = 0;
    return 0;
}

/* Asks once; sets *again if a retry may end differently. The caller frees `response`. */
static int ask_once(struct hl_http *http, const struct hl_oauth_request *request, struct hl_oauth_token *out,
                    bool *again, struct hl_http_response *response, struct hl_error *err)
{
    static const char *const header[] = {"Accept: application/json", "Content-Type: application/x-www-form-urlencoded"};
    HL_SECRET_TEXT answer = {0};
    struct form form = {request->form, 0};
    struct hl_http_body body = {request->form ? strlen(request->form) : 0, form_read, form_rewind, &form};
    struct hl_http_request sent = {.method = request->form ? "POST" : "GET",
                                   .url = request->url,
                                   .header = header,
                                   .n_headers = request->form ? 2 : 1,
                                   .body = request->form ? &body : NULL,
                                   .sink = take,
                                   .context = &answer,
                                   .user = request->user,
                                   .password = request->secret,
                                   .public_hosts = request->public_hosts,
                                   .seconds = ASK_SECONDS};
    enum hl_http_failure failure;
    char shown[256];
    int result = hl_http_send(http, &sent, response, &failure, err);
    *again = result < 0 ? failure == HL_HTTP_TRANSIENT : response->status == 429 || response->status / 100 == 5;
    if (result == 0) {
        out->status = response->status;
        hl_secret_add(&answer, "");
        if (answer.failed)
            result = hl_no_memory(err);
        else if (response->status == 200)
            result = hl_oauth_parse(answer.text, hl_url_shown(request->url, shown), out, err);
        else
            read_reason(response->body ? response->body : "", request, out);
    }
    return result;
}

int hl_oauth_ask(struct hl_http *http, const struct hl_oauth_request *request, struct hl_oauth_token *out,
                 struct hl_error *err)
{
    bool again = true;
    int result = -1;
    *out = (struct hl_oauth_token){0};
    for (unsigned try = 0; try < TRIES && again; try++) {
        struct hl_http_response response = {0};
        hl_oauth_token_free(out);
        result = ask_once(http, request, out, &again, &response, err);
        if (again && try + 1 < TRIES)
            hl_retry_wait(try, &response);
        hl_http_response_free(&response);
    }
    return result;
}
