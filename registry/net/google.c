/* Application default credentials, found in the places that Google's libraries search.
 *
 * The "type" of a file decides what is done with it. The key of a service account signs an assertion, which is
 * exchanged for a token; the file of a user holds a refresh token. The other types (external_account,
 * impersonated_service_account) are chains of further exchanges that gcloud does better: the error says how to use
 * gcloud for them.
 *
 * The metadata server is a plain HTTP server on the machine's own network, and exists only on Google's machines. On any
 * other machine the probe must fail quickly, so it asks only for the greeting, with a limit of 3 seconds. A server that
 * answers without "Metadata-Flavor: Google" is something else: a router, or a provider that resolves every name.
 */
#include "registry/net/google.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "registry/net/jwt.h"
#include "registry/net/oauth.h"
#include "registry/net/url.h"
#include <limits.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#define SCOPE "https://www.googleapis.com/auth/cloud-platform"
#define TOKEN_URI "https://oauth2.googleapis.com/token"
#define USER "oauth2accesstoken"
#define METADATA_HOST "metadata.google.internal"
#define METADATA_TOKEN "/computeMetadata/v1/instance/service-accounts/default/token"
#define FLAVOR "Metadata-Flavor: Google"
#define GREETING_SECONDS 3u
#define METADATA_SECONDS 30u
#define ASSERTION_SECONDS 3600 /* the longest life that Google accepts */
#define CLOCK_SECONDS 10       /* tolerates a clock on this machine that is this far ahead */
#define SHORT_LIFE 30u         /* seconds; a token that expires sooner is requested again */
#define METADATA_TRIES 4u
#define PAUSE_MOST 10u

static bool ends_with(const char *text, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n > m && !strncasecmp(text + n - m, end, m);
}

bool hl_google_host(const char *host)
{
    size_t n = strcspn(host, ":");
    if (host[n] && strcmp(host + n, ":443"))
        return false;
    return ends_with(host, n, ".pkg.dev") || ends_with(host, n, ".gcr.io") ||
           (n == 6 && !strncasecmp(host, "gcr.io", 6));
}

/* Moves the token into the credentials. */
static int give(struct hl_oauth_token *token, struct hl_credentials *out, struct hl_error *err)
{
    out->user = hl_secret_copy(USER, err);
    out->secret = token->text;
    token->text = NULL;
    out->expires = (int64_t)time(NULL) + token->seconds;
    return out->user ? 0 : -1;
}

/* Posts the form to the token endpoint that the file names. Appends `advice` to the error if the endpoint refuses. */
static int exchange(struct hl_http *http, const char *name, const cJSON *json, const struct hl_oauth_request *form,
                    const char *advice, struct hl_credentials *out, struct hl_error *err)
{
    struct hl_oauth_request request = *form;
    struct hl_oauth_token token = {0};
    char shown[256];
    const char *own = hl_json_text(json, "token_uri");
    request.url = own && *own ? own : TOKEN_URI;
    request.public_hosts = !hl_url_is_local(request.url);
    if (!hl_oauth_url_is_safe(request.url))
        return hl_fail(err, "%s: its \"token_uri\" is not an https URL; keys are sent nowhere else", name);
    int result = hl_oauth_ask(http, &request, &token, err);
    if (result < 0)
        hl_error_prefix(err, "%s", name);
    else if (!token.text)
        result = hl_fail(err, "%s: %s refused it (%ld%s%s): %s", name, hl_url_shown(request.url, shown), token.status,
                         *token.reason ? ", " : "", token.reason, advice);
    else
        result = give(&token, out, err);
    hl_oauth_token_free(&token);
    return result;
}

static int make_claims(const char *email, const char *audience, char **out, struct hl_error *err)
{
    double now = (double)(time(NULL) - CLOCK_SECONDS);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "iss", email);
    cJSON_AddStringToObject(json, "scope", SCOPE);
    cJSON_AddStringToObject(json, "aud", audience);
    cJSON_AddNumberToObject(json, "iat", now);
    cJSON_AddNumberToObject(json, "exp", now + ASSERTION_SECONDS);
    *out = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    return *out ? 0 : hl_no_memory(err);
}

static int service_account(struct hl_http *http, const char *name, const cJSON *json, struct hl_credentials *out,
                           struct hl_error *err)
{
    const char *email = hl_json_text(json, "client_email"), *key = hl_json_text(json, "private_key"),
               *own = hl_json_text(json, "token_uri");
    HL_FREE char *claims = NULL;
    HL_SECRET char *assertion = NULL;
    HL_SECRET char *form = NULL;
    HL_SECRET_TEXT text = {0};
    if (!email || !key)
        return hl_fail(err, "%s: a service account's key lacks \"client_email\" or \"private_key\"", name);
    if (make_claims(email, own && *own ? own : TOKEN_URI, &claims, err) < 0)
        return -1;
    if (hl_jwt_sign(claims, hl_json_text(json, "private_key_id"), key, &assertion, err) < 0)
        return hl_error_prefix(err, "%s", name);
    hl_secret_add_field(&text, "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
    hl_secret_add_field(&text, "assertion", assertion);
    if (hl_secret_take(&text, &form, err) < 0)
        return -1;
    hl_text_copy(out->where, sizeof out->where, email);
    return exchange(http, name, json, &(struct hl_oauth_request){.form = form, .hide = {assertion}},
                    "is the key still valid, and is this machine's clock right?", out, err);
}

static int authorized_user(struct hl_http *http, const char *name, const cJSON *json, struct hl_credentials *out,
                           struct hl_error *err)
{
    const char *id = hl_json_text(json, "client_id"), *secret = hl_json_text(json, "client_secret"),
               *refresh = hl_json_text(json, "refresh_token");
    HL_SECRET char *form = NULL;
    HL_SECRET_TEXT text = {0};
    if (!id || !secret || !refresh)
        return hl_fail(err, "%s: a user's credentials lack \"client_id\", \"client_secret\" or \"refresh_token\"",
                       name);
    hl_secret_add_field(&text, "grant_type", "refresh_token");
    hl_secret_add_field(&text, "client_id", id);
    hl_secret_add_field(&text, "client_secret", secret);
    hl_secret_add_field(&text, "refresh_token", refresh);
    if (hl_secret_take(&text, &form, err) < 0)
        return -1;
    return exchange(http, name, json, &(struct hl_oauth_request){.form = form, .hide = {refresh, secret}},
                    "run 'gcloud auth application-default login' again", out, err);
}

/* Reads credentials from a file. Sets *found to false if the file does not exist and is optional. */
static int from_file(const char *host, struct hl_http *http, const char *path, const char *name, bool optional,
                     struct hl_credentials *out, bool *found, struct hl_error *err)
{
    HL_SECRET char *text = NULL;
    HL_SECRET_JSON cJSON *json = NULL;
    char type[64], file[sizeof out->where];
    if (hl_secret_read(path, name, optional, &text, err) < 0)
        return -1;
    *found = text;
    if (!text)
        return 0;
    if (hl_json_parse((struct hl_view){(const uint8_t *)text, strlen(text)}, name, &json, err) < 0)
        return -1;
    hl_text_copy(type, sizeof type, hl_json_text(json, "type"));
    int result;
    if (!strcmp(type, "service_account"))
        result = service_account(http, name, json, out, err);
    else if (!strcmp(type, "authorized_user"))
        result = authorized_user(http, name, json, out, err);
    else
        return hl_fail(err,
                       "%s: credentials of type '%s' are not supported; use gcloud instead: 'gcloud auth "
                       "print-access-token | docker login -u " USER " --password-stdin https://%s', or 'gcloud auth "
                       "configure-docker %s'",
                       name, type, host, host);
    memcpy(file, out->where, sizeof file);
    snprintf(out->where, sizeof out->where, "%.80s%s%.100s", file, *file ? " in " : "", name);
    return result;
}

static int take(void *context, const void *bytes, size_t n, struct hl_error *err)
{
    struct hl_secret_text *text = context;
    if (n > HL_OAUTH_LIMIT - text->size)
        return hl_fail(err, "its answer is longer than %zu KiB", HL_OAUTH_LIMIT >> 10);
    hl_secret_add_bytes(text, bytes, n);
    return 0;
}

static int metadata_get(struct hl_http *http, const char *host, const char *path, unsigned seconds,
                        struct hl_secret_text *body, struct hl_http_response *response, struct hl_error *err)
{
    static const char *const header[] = {FLAVOR};
    char url[512], flavor[16];
    enum hl_http_failure failure;
    snprintf(url, sizeof url, "http://%.200s%s", host, path);
    struct hl_http_request request = {.method = "GET",
                                      .url = url,
                                      .header = header,
                                      .n_headers = 1,
                                      .sink = take,
                                      .context = body,
                                      .seconds = seconds};
    if (hl_http_send(http, &request, response, &failure, err) < 0)
        return -1;
    if (!hl_http_header(response, "metadata-flavor", 0, flavor, sizeof flavor) || strcasecmp(flavor, "Google"))
        return hl_fail(err, "%s is not Google's metadata server: its answer lacks '" FLAVOR "'", host);
    return 0;
}

/* Checks that the metadata server exists. It sends its greeting with any path. */
static int greet(struct hl_http *http, const char *host, struct hl_error *err)
{
    HL_SECRET_TEXT body = {0};
    struct hl_http_response response = {0};
    int result = metadata_get(http, host, "/computeMetadata/v1/", GREETING_SECONDS, &body, &response, err);
    hl_http_response_free(&response);
    return result;
}

/* Asks once for a token. Its text stays NULL if the machine has no service account. Sets *again if a retry may help. */
static int metadata_try(struct hl_http *http, const char *host, struct hl_oauth_token *out, bool *again,
                        struct hl_error *err)
{
    HL_SECRET_TEXT body = {0};
    struct hl_http_response response = {0};
    int result = metadata_get(http, host, METADATA_TOKEN, METADATA_SECONDS, &body, &response, err);
    long status = response.status;
    hl_http_response_free(&response);
    *again = status == 429 || status / 100 == 5;
    if (result < 0 || status == 404)
        return result;
    if (status != 200)
        return hl_fail(err, "the metadata server %s issued no token: it answered %ld", host, status);
    hl_secret_add(&body, "");
    if (body.failed)
        return hl_no_memory(err);
    if (hl_oauth_parse(body.text, host, out, err) < 0)
        return -1;
    *again = out->seconds < SHORT_LIFE;
    return 0;
}

/* Asks for a token, with retries. On GKE the token may be about to expire; the server renews it only after that. */
static int metadata_token(struct hl_http *http, const char *host, struct hl_oauth_token *out, struct hl_error *err)
{
    bool again = true;
    int result = -1;
    for (unsigned try = 0; try < METADATA_TRIES && again; try++) {
        unsigned pause = !try ? 0 : result < 0 ? 1 : out->seconds < PAUSE_MOST ? out->seconds : PAUSE_MOST;
        nanosleep(&(struct timespec){pause, 0}, NULL);
        hl_oauth_token_free(out);
        result = metadata_try(http, host, out, &again, err);
    }
    return result;
}

static int from_metadata(struct hl_credentials *out, struct hl_error *err)
{
    const char *named = getenv("GCE_METADATA_HOST"), *host = named && *named ? named : METADATA_HOST;
    struct hl_http *http = NULL;
    struct hl_oauth_token token = {0};
    const struct hl_http_options options = {.plain_http = true, .no_proxy = true};
    if (hl_http_open(&options, &http, err) < 0)
        return -1;
    int result = greet(http, host, err);
    if (result == 0) {
        result = metadata_token(http, host, &token, err);
        if (token.text)
            result = give(&token, out, err);
        if (out->user)
            snprintf(out->where, sizeof out->where, "the metadata server %.100s", host);
    } else if (host == named) {
        hl_error_prefix(err, "GCE_METADATA_HOST");
    } else {
        result = 0; /* not a Google machine */
    }
    hl_oauth_token_free(&token);
    hl_http_close(http);
    return result;
}

/* Reads gcloud's own file, in CLOUDSDK_CONFIG or ~/.config/gcloud. */
static int from_gcloud(const char *host, struct hl_http *http, struct hl_credentials *out, bool *found,
                       struct hl_error *err)
{
    const char *folder = getenv("CLOUDSDK_CONFIG"), *home = getenv("HOME"),
               *file = "application_default_credentials.json";
    char path[PATH_MAX], name[256];
    int n;
    *found = false;
    if (folder && *folder)
        n = snprintf(path, sizeof path, "%s/%s", folder, file);
    else if (home && *home)
        n = snprintf(path, sizeof path, "%s/.config/gcloud/%s", home, file);
    else
        return 0;
    if (n < 0 || (size_t)n >= sizeof path)
        return hl_fail(err, "CLOUDSDK_CONFIG or HOME is longer than a path can be");
    hl_text_path(name, sizeof name, path);
    return from_file(host, http, path, name, true, out, found, err);
}

int hl_google_find(const char *host, struct hl_http *http, struct hl_credentials *out, struct hl_error *err)
{
    const char *path = getenv("GOOGLE_APPLICATION_CREDENTIALS");
    char shown[256], name[sizeof shown + 40];
    bool found = false;
    *out = (struct hl_credentials){0};
    if (path && *path) {
        snprintf(name, sizeof name, "%s (GOOGLE_APPLICATION_CREDENTIALS)", hl_text_path(shown, sizeof shown, path));
        if (from_file(host, http, path, name, false, out, &found, err) < 0)
            return -1;
    } else if (from_gcloud(host, http, out, &found, err) < 0) {
        return -1;
    }
    return found ? 0 : from_metadata(out, err);
}
