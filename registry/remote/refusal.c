/* Errors about responses: the registry's reason, as far as it can be shown.
 *
 * A registry gives its reason in JSON: {"errors": [{"code", "message", "detail"}]}. Servers between us and the registry
 * (proxies, load balancers, Google's front end) send other JSON, HTML or plain text. All of it is a stranger's text
 * that goes to a terminal, so it is made short, one line, without control characters.
 */
#include "base/cleanup.h"
#include "base/json.h"
#include "base/sizes.h"
#include "base/text.h"
#include "registry/net/url.h"
#include "registry/remote/client_inside.h"
#include <strings.h>

#define REASON_BYTES 400
#define ERRORS_SHOWN 3

void hl_registry_clean(char *text)
{
    bool utf8 = hl_view_is_text((struct hl_view){(const uint8_t *)text, strlen(text)}), gap = false;
    char *out = text;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (strchr(" \t\r\n", *c)) {
            gap = out > text;
        } else if (hl_text_control((const char *)c)) {
            c += *c == 0xC2;
        } else if (*c < 128 || utf8) {
            if (gap)
                *out++ = ' ';
            gap = false;
            *out++ = (char)*c;
        }
    }
    *out = 0;
}

/* Appends as much as fits. */
__attribute__((format(printf, 2, 3))) static void add(char out[REASON_BYTES], const char *format, ...)
{
    size_t used = strlen(out);
    va_list args;
    va_start(args, format);
    vsnprintf(out + used, REASON_BYTES - used, format, args);
    va_end(args);
}

/* Adds {"code", "message", "detail"}: a detail that is a text often says more than the message. */
static void add_error(const cJSON *item, char out[REASON_BYTES])
{
    const char *code = hl_json_text(item, "code"), *message = hl_json_text(item, "message"),
               *detail = hl_json_text(item, "detail");
    if (!code && !message)
        return;
    add(out, "%s%s%s%s", out[0] ? "; " : "", code ? code : "", code && message ? ": " : "", message ? message : "");
    if (detail && detail[0] && (!message || strcmp(detail, message) != 0))
        add(out, " (%s)", detail);
}

static void read_json(const cJSON *json, char out[REASON_BYTES])
{
    const cJSON *errors = hl_json_get(json, "errors"), *error = hl_json_get(json, "error"), *item;
    unsigned shown = 0;
    if (cJSON_IsArray(errors))
        cJSON_ArrayForEach(item, errors) if (shown++ < ERRORS_SHOWN) add_error(item, out);
    if (!out[0] && cJSON_IsObject(error))
        add_error(error, out);
    if (!out[0] && cJSON_IsString(error))
        add(out, "%s", error->valuestring);
    if (out[0] && cJSON_IsString(error) && hl_json_text(json, "error_description"))
        add(out, ": %s", hl_json_text(json, "error_description"));
    if (!out[0])
        add_error(json, out);
    if (shown > ERRORS_SHOWN)
        add(out, "; and %u more", shown - ERRORS_SHOWN);
}

/* Takes the title of an HTML page, or the beginning of a plain text. */
static void read_text(const char *body, char out[REASON_BYTES])
{
    const char *title = strcasestr(body, "<title>");
    if (title) {
        title += 7;
        add(out, "%.*s", (int)strcspn(title, "<"), title);
    } else if (body[strspn(body, " \t\r\n")] != '<') {
        add(out, "%.200s", body);
    }
}

/* Finds the reason in a response. Finds none if the response echoes one of our secrets, as a debugging proxy may do. */
static void find_reason(const struct hl_registry *registry, const struct hl_http_response *response,
                        char out[REASON_BYTES])
{
    HL_JSON cJSON *json = NULL;
    struct hl_error ignored;
    out[0] = 0;
    if (!response->body || !response->body_bytes || hl_auth_tells(registry->auth, response->body))
        return;
    if (!hl_json_parse((struct hl_view){(const uint8_t *)response->body, response->body_bytes}, "", &json, &ignored))
        read_json(json, out);
    else
        read_text(response->body, out);
    hl_registry_clean(out);
    if (hl_auth_tells(registry->auth, out))
        out[0] = 0;
}

static int take_nothing(void *context, const void *bytes, size_t n, struct hl_error *err)
{
    (void)context, (void)bytes, (void)n;
    return hl_fail(err, "the answer is not needed");
}

/* Gets the reason for a refused HEAD with a GET, which stops where a blob would begin. */
static void ask_reason(struct hl_registry *registry, const struct hl_call *call, char out[REASON_BYTES])
{
    struct hl_call get = *call;
    struct hl_http_response response;
    enum hl_http_failure failure;
    struct hl_error ignored;
    get.method = "GET";
    get.sink = take_nothing;
    get.once = true;
    if (!hl_registry_call(registry, &get, &response, &failure, &ignored) && response.status >= 400)
        find_reason(registry, &response, out);
    hl_http_response_free(&response);
}

static const char *phrase(long status)
{
    static const struct {
        long status;
        const char *text;
    } table[] = {{400, " (bad request)"},
                 {401, " (not authorized)"},
                 {403, " (forbidden)"},
                 {404, " (not found)"},
                 {405, " (not allowed)"},
                 {408, " (request timeout)"},
                 {409, " (conflict)"},
                 {411, " (length required)"},
                 {413, " (too large)"},
                 {415, " (media type)"},
                 {416, " (range)"},
                 {429, " (too many requests)"},
                 {500, " (error in the registry)"},
                 {502, " (bad gateway)"},
                 {503, " (not available)"},
                 {504, " (gateway timed out)"},
                 {507, " (no space left)"}};
    for (size_t i = 0; i < HL_COUNT(table); i++)
        if (table[i].status == status)
            return table[i].text;
    return "";
}

static const char *advice(struct hl_registry *registry, const struct hl_call *call, long status,
                          char out[HL_AUTH_ADVICE_BYTES])
{
    if (status == 401 || status == 403)
        return hl_auth_advice(registry->auth, out);
    if (status == 404 && call->push)
        return "does the repository exist? In some registries it must be created first";
    if (status == 413)
        return "the registry does not accept blobs of this size: pack with a smaller --shard-size";
    if (status == 429 || status >= 500)
        return "try again later";
    return "";
}

int hl_registry_refused(struct hl_registry *registry, const struct hl_call *call,
                        const struct hl_http_response *response, struct hl_error *err)
{
    char shown[256], reason[REASON_BYTES], more[HL_AUTH_ADVICE_BYTES];
    find_reason(registry, response, reason);
    bool own = response->url && hl_url_same_origin(response->url, hl_registry_origin(registry));
    if (!strcmp(call->method, "HEAD") && !reason[0] && own && response->status >= 400)
        ask_reason(registry, call, reason);
    const char *hint = own ? advice(registry, call, response->status, more) : "";
    return hl_fail(err, "%s %s: the answer is %ld%s%s%s%s%s", call->method,
                   hl_url_shown(response->url ? response->url : "", shown), response->status, phrase(response->status),
                   reason[0] ? ": " : "", reason, hint[0] ? "; " : "", hint);
}
