/* Answers challenges and keeps tokens.
 *
 * A registry's first 401 tells which scheme it wants: Basic, or Bearer with a realm that issues tokens. From then on
 * tokens are requested before they are needed, one for each set of scopes (a grant), and renewed before they expire. So
 * a 401 is the exception: it costs a round trip, and a layer that was sent in vain costs all of its bytes.
 *
 *   request's scope ──► grant ── no token, or ends soon ──► realm ──► token
 *                         ▲                                   ▲
 *   401 ── challenge ─────┴── its scope goes first ───────────┘
 *
 * A lock is held while a token is fetched: other threads need the same token, and find it when they get the lock.
 *
 * A registry may silently grant less than was requested and answer 401 again; another token would not help then. But a
 * token that worked may have been revoked, or have expired early, and is renewed. A token counts as good once any
 * request with it succeeded, or if no registry refused it for a while.
 *
 * The life of a token counts from the request for it, on a clock that runs while the machine sleeps. "issued_at" is
 * ignored: it is on the server's clock, and for a token from a cache the 401 tells as much.
 */
#include "registry/remote/auth.h"
#include "base/cleanup.h"
#include "base/sizes.h"
#include "base/text.h"
#include "registry/net/google.h"
#include "registry/net/oauth.h"
#include "registry/net/url.h"
#include "registry/oci/document.h"
#include "registry/oci/reference.h"
#include "registry/remote/scope.h"
#include <pthread.h>
#include <time.h>

#define CHALLENGES_MOST 16u     /* headers of one response that are read */
#define CHALLENGE_BYTES 8192    /* of one header */
#define USER_MARGIN 20          /* seconds before credentials expire at which they are looked up again */
#define CHANGES_MOST 8u         /* of the realm, and of a scope: a limit for a registry that keeps asking for more */
#define LIFE_MOST (24 * 3600)   /* a day */
#define YOUNG_SECONDS 30        /* a token refused within this time never worked, unless a request with it succeeded */
#define MARGIN_SHARE 4          /* tokens shorter than 4 margins count as expired in the last quarter of their life */
#define FRESH_SHARE 8           /* a token in the first eighth of its life is as good as a new one */
#define IDENTITY_USER "<token>" /* the user name for an identity token in the Basic scheme */

/* A token and its scope. */
struct grant {
    char *key;       /* the scope as callers request it */
    char *scope;     /* with the scopes that challenges asked for, those first */
    char *header;    /* "Bearer TOKEN"; NULL: none yet */
    int64_t from;    /* when it was requested, in seconds of CLOCK_BOOTTIME */
    int64_t seconds; /* its life */
    bool good;       /* a request with it succeeded at least once */
    unsigned longer; /* how often a challenge asked for more */
};

struct hl_auth {
    char host[HL_NAME_LIMIT + 1], repository[HL_NAME_LIMIT + 1];
    pthread_mutex_t lock;
    struct hl_challenge known; /* scheme NONE: nothing yet */
    bool public_hosts;         /* the registry is not local, so its realm must not be either */
    bool looked;               /* credentials were looked up, with the result `failed` */
    int failed;
    struct hl_error failure;
    struct hl_credentials who;
    char *own;    /* the header that needs no token of a realm: "Basic ...", or "Bearer ..."; or NULL */
    bool no_post; /* the realm accepts only GET */
    struct grant *grant;
    size_t n_grants;
    unsigned realms; /* how often the registry named another realm */
};

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec;
}

int hl_auth_open(const char *host, const char *repository, struct hl_auth **out, struct hl_error *err)
{
    struct hl_auth *auth = calloc(1, sizeof *auth);
    *out = NULL;
    if (!auth)
        return hl_no_memory(err);
    snprintf(auth->host, sizeof auth->host, "%s", host);
    snprintf(auth->repository, sizeof auth->repository, "%s", repository ? repository : "");
    pthread_mutex_init(&auth->lock, NULL);
    *out = auth;
    return 0;
}

/* Discards all tokens: they belong to another realm, or another user. */
static void drop_grants(struct hl_auth *auth)
{
    for (size_t i = 0; i < auth->n_grants; i++) {
        free(auth->grant[i].key);
        free(auth->grant[i].scope);
        hl_secret_free(auth->grant[i].header);
    }
    free(auth->grant);
    auth->grant = NULL;
    auth->n_grants = 0;
}

static void forget_credentials(struct hl_auth *auth)
{
    hl_credentials_free(&auth->who);
    hl_secret_free(auth->own);
    auth->own = NULL;
    auth->looked = false;
}

void hl_auth_close(struct hl_auth *auth)
{
    if (!auth)
        return;
    drop_grants(auth);
    forget_credentials(auth);
    pthread_mutex_destroy(&auth->lock);
    free(auth);
}

/* Makes the header `scheme` followed by a secret. */
static int make_header(const char *scheme, const char *secret, char **out, struct hl_error *err)
{
    HL_SECRET_TEXT text = {0};
    hl_secret_add(&text, scheme);
    hl_secret_add(&text, " ");
    hl_secret_add(&text, secret);
    return hl_secret_take(&text, out, err);
}

static int make_basic(struct hl_auth *auth, struct hl_error *err)
{
    HL_SECRET_TEXT both = {0}, encoded = {0};
    if (strchr(auth->who.user, ':'))
        return hl_fail(err, "the user name for %s (%s) holds a colon, which Basic authentication does not allow",
                       auth->host, auth->who.where);
    hl_secret_add(&both, auth->who.user);
    hl_secret_add(&both, ":");
    hl_secret_add(&both, auth->who.secret);
    if (!both.failed)
        hl_secret_add_base64(&encoded, both.text, both.size, false);
    if (both.failed || encoded.failed)
        return hl_no_memory(err);
    return make_header("Basic", encoded.text, &auth->own, err);
}

/* Looks up auth->who unless it is there and not about to expire. Keeps a failure: a retry would only fail again, after
 * another timeout. */
static int look_up(struct hl_auth *auth, struct hl_http *http, struct hl_error *err)
{
    if (auth->looked && auth->who.expires && auth->who.expires - (int64_t)time(NULL) < USER_MARGIN)
        forget_credentials(auth);
    if (!auth->looked) {
        auth->looked = true;
        auth->failed = hl_credentials_find(auth->host, *auth->repository ? auth->repository : NULL, http, &auth->who,
                                           &auth->failure);
        if (auth->failed == 0 && auth->who.user)
            auth->failed = make_basic(auth, &auth->failure);
        else if (auth->failed == 0 && auth->who.bearer)
            auth->failed = make_header("Bearer", auth->who.bearer, &auth->own, &auth->failure);
    }
    if (auth->failed) {
        hl_credentials_free(&auth->who);
        *err = auth->failure;
    }
    return auth->failed;
}

/* Tells which credentials were used, and how to get better ones. */
static void advise(const struct hl_auth *auth, char out[HL_AUTH_ADVICE_BYTES])
{
    char user[64], who[320];
    const struct hl_credentials *c = &auth->who;
    bool anonymous = hl_credentials_anonymous(c), google = hl_google_host(auth->host);
    bool hub = !strcmp(auth->host, "docker.io") || !strcmp(auth->host, "registry-1.docker.io");
    const char *server = hub ? "docker.io" : auth->host;
    hl_text_copy(user, sizeof user, c->user);
    if (c->user)
        snprintf(who, sizeof who, "tried as user '%s' (%s)", user, c->where);
    else if (anonymous)
        snprintf(who, sizeof who, "no credentials for %s were found", server);
    else
        snprintf(who, sizeof who, "tried with a token (%s)", c->where);
    if (google && anonymous)
        snprintf(out, HL_AUTH_ADVICE_BYTES,
                 "%s; run 'gcloud auth application-default login', or set GOOGLE_APPLICATION_CREDENTIALS", who);
    else if (google)
        snprintf(out, HL_AUTH_ADVICE_BYTES,
                 "%s, who needs roles/artifactregistry.writer on the repository to push, and "
                 "roles/artifactregistry.reader to pull",
                 who);
    else
        snprintf(out, HL_AUTH_ADVICE_BYTES, "%s; log in%s with 'docker login %.100s' or 'podman login %.100s'", who,
                 anonymous ? "" : " as a user with access,", server, server);
}

const char *hl_auth_advice(struct hl_auth *auth, char out[HL_AUTH_ADVICE_BYTES])
{
    pthread_mutex_lock(&auth->lock);
    advise(auth, out);
    pthread_mutex_unlock(&auth->lock);
    return out;
}

static bool holds(const char *text, const char *secret)
{
    return secret && *secret && strstr(text, secret);
}

/* Returns whether the text holds the secret of a header: the part after "Bearer " or "Basic ". */
static bool holds_value(const char *text, const char *header)
{
    return header && holds(text, strchr(header, ' ') + 1);
}

bool hl_auth_tells(struct hl_auth *auth, const char *text)
{
    pthread_mutex_lock(&auth->lock);
    const struct hl_credentials *c = &auth->who;
    bool told = holds(text, c->secret) || holds(text, c->identity_token) || holds(text, c->bearer) ||
                holds_value(text, auth->own);
    for (size_t i = 0; i < auth->n_grants && !told; i++)
        told = holds_value(text, auth->grant[i].header);
    pthread_mutex_unlock(&auth->lock);
    return told;
}

/* Reports a final refusal by the registry or its realm. `reason` is fit for a terminal, or "". */
static void refuse(const struct hl_auth *auth, const char *scope, const char *reason, struct hl_error *err)
{
    char advice[HL_AUTH_ADVICE_BYTES];
    advise(auth, advice);
    hl_fail(err, "%s refused %.200s%s%.200s%s: %s", auth->host, *scope ? scope : "access", *reason ? " (" : "", reason,
            *reason ? ")" : "", advice);
}

/* Makes the realm's URL, with "service" and each scope as fields of the query. */
static int make_url(const struct hl_auth *auth, const char *scopes, char **out, struct hl_error *err)
{
    HL_SECRET_TEXT query = {0}, url = {0};
    const char *realm = auth->known.realm, *scope;
    size_t n;
    if (*auth->known.service)
        hl_secret_add_field(&query, "service", auth->known.service);
    while ((scope = hl_scope_next(&scopes, &n))) {
        HL_FREE char *one = strndup(scope, n);
        if (!one)
            return hl_no_memory(err);
        hl_secret_add_field(&query, "scope", one);
    }
    hl_secret_add(&query, "");
    if (query.failed)
        return hl_no_memory(err);
    n = strcspn(realm, "#");
    hl_secret_add_bytes(&url, realm, n);
    if (query.size)
        hl_secret_add(&url, memchr(realm, '?', n) ? "&" : "?");
    hl_secret_add(&url, query.text);
    return hl_secret_take(&url, out, err);
}

/* Asks with GET; sends the credentials, if any, in the Basic scheme. */
static int ask_by_get(struct hl_auth *auth, struct hl_http *http, const char *scopes, struct hl_oauth_token *out,
                      struct hl_error *err)
{
    const struct hl_credentials *c = &auth->who;
    HL_SECRET char *url = NULL;
    if (make_url(auth, scopes, &url, err) < 0)
        return -1;
    struct hl_oauth_request request = {.url = url,
                                       .user = c->identity_token ? IDENTITY_USER : c->user,
                                       .secret = c->identity_token ? c->identity_token : c->secret,
                                       .public_hosts = auth->public_hosts};
    return hl_oauth_ask(http, &request, out, err);
}

/* Asks with POST; sends the identity token as OAuth2's refresh token. */
static int ask_by_post(struct hl_auth *auth, struct hl_http *http, const char *scopes, struct hl_oauth_token *out,
                       struct hl_error *err)
{
    HL_SECRET_TEXT text = {0};
    HL_SECRET char *form = NULL;
    HL_SECRET char *url = NULL;
    hl_secret_add_field(&text, "grant_type", "refresh_token");
    hl_secret_add_field(&text, "service", auth->known.service);
    hl_secret_add_field(&text, "client_id", "hotlayer");
    hl_secret_add_field(&text, "scope", scopes);
    hl_secret_add_field(&text, "refresh_token", auth->who.identity_token);
    if (hl_secret_take(&text, &form, err) < 0 || !(url = hl_secret_copy(auth->known.realm, err)))
        return -1;
    url[strcspn(url, "#")] = 0;
    struct hl_oauth_request request = {
        .url = url, .form = form, .hide = {auth->who.identity_token}, .public_hosts = auth->public_hosts};
    return hl_oauth_ask(http, &request, out, err);
}

/* Moves a new token into the grant. */
static int keep(struct hl_auth *auth, struct grant *grant, struct hl_oauth_token *token, int64_t asked,
                struct hl_error *err)
{
    char *header;
    if (make_header("Bearer", token->text, &header, err) < 0)
        return -1;
    hl_secret_free(grant->header);
    grant->header = header;
    grant->good = false;
    grant->from = asked;
    grant->seconds = token->seconds < HL_OAUTH_LIFE ? HL_OAUTH_LIFE : token->seconds;
    if (grant->seconds > LIFE_MOST)
        grant->seconds = LIFE_MOST;
    if (token->refresh && auth->who.identity_token) {
        hl_secret_free(auth->who.identity_token);
        auth->who.identity_token = token->refresh;
        token->refresh = NULL;
    }
    return 0;
}

/* Gets a new token for the grant. Sets *refused if the realm refuses one; err then says why. */
static int fetch(struct hl_auth *auth, struct hl_http *http, struct grant *grant, bool *refused, struct hl_error *err)
{
    struct hl_oauth_token token = {0};
    char shown[256];
    *refused = false;
    if (look_up(auth, http, err) < 0)
        return -1;
    int result = 0;
    int64_t asked = now();
    bool post = auth->who.identity_token && !auth->no_post;
    if (post) {
        result = ask_by_post(auth, http, grant->scope, &token, err);
        auth->no_post = result == 0 && (token.status == 404 || token.status == 405);
    }
    if (result == 0 && (!post || auth->no_post)) {
        hl_oauth_token_free(&token);
        result = ask_by_get(auth, http, grant->scope, &token, err);
    }
    if (result == 0 && token.text) {
        result = keep(auth, grant, &token, asked, err);
    } else if (result == 0 && (token.status == 401 || token.status == 403 || (post && token.status == 400))) {
        *refused = true;
        refuse(auth, grant->key, token.reason, err);
    } else if (result == 0) {
        result =
            hl_fail(err, "%s, which issues the tokens of %s, answered %ld%s%s", hl_url_shown(auth->known.realm, shown),
                    auth->host, token.status, *token.reason ? ": " : "", token.reason);
    } else {
        hl_error_prefix(err, "asking for a token for %s", auth->host);
    }
    hl_oauth_token_free(&token);
    return result;
}

/* Returns the grant of a scope; makes it if it does not exist. */
static struct grant *grant_of(struct hl_auth *auth, const char *scope, struct hl_error *err)
{
    for (size_t i = 0; i < auth->n_grants; i++)
        if (!strcmp(auth->grant[i].key, scope))
            return &auth->grant[i];
    struct grant *longer = reallocarray(auth->grant, auth->n_grants + 1, sizeof *longer);
    if (longer)
        auth->grant = longer;
    char *key = strdup(scope), *copy = strdup(scope);
    if (!longer || !key || !copy) {
        free(key);
        free(copy);
        hl_no_memory(err);
        return NULL;
    }
    longer += auth->n_grants++;
    *longer = (struct grant){.key = key, .scope = copy};
    return longer;
}

/* Returns whether a request that takes `seconds` needs a new token first. Tokens live 60 s by default, so a fixed
 * margin of a minute would renew them with each request: the margin shrinks with the life. A token whose whole life is
 * shorter than the request is renewed unless it is new: another one would not live longer. */
static bool ends_soon(const struct grant *grant, unsigned seconds)
{
    int64_t age = now() - grant->from, left = grant->seconds - age, share = grant->seconds / MARGIN_SHARE;
    if (left < (share < HL_TOKEN_MARGIN ? share : HL_TOKEN_MARGIN))
        return true;
    return left < (int64_t)seconds && age > grant->seconds / FRESH_SHARE;
}

static int copy_header(const char *header, char **out, struct hl_error *err)
{
    *out = header ? hl_secret_copy(header, err) : NULL;
    return header && !*out ? -1 : 0;
}

static int header_of(struct hl_auth *auth, struct hl_http *http, const char *scope, unsigned seconds, char **out,
                     struct hl_error *err)
{
    bool refused = false;
    if (auth->known.scheme == HL_CHALLENGE_NONE)
        return 0;
    bool basic = auth->known.scheme == HL_CHALLENGE_BASIC;
    if ((basic || !auth->looked || auth->failed) && look_up(auth, http, err) < 0)
        return -1;
    if (basic || auth->who.bearer)
        return copy_header(auth->own, out, err);
    struct grant *grant = grant_of(auth, scope, err);
    if (!grant)
        return -1;
    if (!grant->header || ends_soon(grant, seconds)) {
        int result = fetch(auth, http, grant, &refused, err);
        bool lives = grant->header && !ends_soon(grant, 0);
        if ((result < 0 || refused) && !lives)
            return -1;
    }
    return copy_header(grant->header, out, err);
}

int hl_auth_header(struct hl_auth *auth, struct hl_http *http, const char *scope, unsigned seconds, char **out,
                   struct hl_error *err)
{
    *out = NULL;
    pthread_mutex_lock(&auth->lock);
    int result = header_of(auth, http, scope, seconds, out, err);
    pthread_mutex_unlock(&auth->lock);
    return result;
}

void hl_auth_accepted(struct hl_auth *auth, const char *used)
{
    pthread_mutex_lock(&auth->lock);
    for (size_t i = 0; i < auth->n_grants; i++)
        if (auth->grant[i].header && !strcmp(auth->grant[i].header, used))
            auth->grant[i].good = true;
    pthread_mutex_unlock(&auth->lock);
}

/* Reads the best of the challenges in all headers of the response. */
static bool read_challenges(const struct hl_http_response *response, struct hl_challenge *out)
{
    HL_FREE char *value = malloc(CHALLENGE_BYTES);
    out->scheme = HL_CHALLENGE_NONE;
    for (unsigned i = 0; value && i < CHALLENGES_MOST; i++) {
        struct hl_challenge one;
        if (hl_http_header(response, "www-authenticate", i, value, CHALLENGE_BYTES) &&
            hl_challenge_parse(value, &one) && one.scheme > out->scheme)
            *out = one;
    }
    return out->scheme != HL_CHALLENGE_NONE;
}

/* Fails unless credentials may be sent to this realm, and tokens accepted from it. */
static int check_realm(const struct hl_auth *auth, const char *url, const char *realm, struct hl_error *err)
{
    struct hl_url registry, parts;
    char shown[256];
    hl_url_shown(realm, shown);
    if (!hl_url_parse(realm, &parts))
        return hl_fail(err, "%s demands a token from '%s', which is not an http or https URL", auth->host, shown);
    if (!hl_url_parse(url, &registry))
        return hl_fail(err, "the registry's own URL cannot be parsed");
    bool plain = !registry.tls || hl_url_reach(registry.host) == HL_REACH_LOOPBACK;
    if (!parts.tls && !plain)
        return hl_fail(err, "%s demands a token from %s, which is not encrypted; no credentials are sent there",
                       auth->host, shown);
    if (hl_url_reach(registry.host) == HL_REACH_PUBLIC && hl_url_reach(parts.host) != HL_REACH_PUBLIC)
        return hl_fail(err,
                       "%s demands a token from %s, an address of this machine's own network; a registry "
                       "outside of it may not direct requests there",
                       auth->host, shown);
    return 0;
}

/* Remembers what a challenge demands. */
static int learn(struct hl_auth *auth, const char *url, const struct hl_challenge *challenge, struct hl_error *err)
{
    struct hl_challenge *known = &auth->known;
    if (challenge->scheme == HL_CHALLENGE_BEARER && check_realm(auth, url, challenge->realm, err) < 0)
        return -1;
    bool same = challenge->scheme == known->scheme &&
                (challenge->scheme == HL_CHALLENGE_BASIC ||
                 (!strcmp(challenge->realm, known->realm) && !strcmp(challenge->service, known->service)));
    if (!same && auth->realms++ >= CHANGES_MOST)
        return hl_fail(err, "%s names another token server with each answer", auth->host);
    if (!same) {
        drop_grants(auth);
        auth->no_post = false;
    }
    *known = *challenge;
    auth->public_hosts = !hl_url_is_local(url);
    return 0;
}

/* Returns what RFC 6750, 3.1 lets a registry say about a token; any other text may contain the token. */
static const char *reason_of(const struct hl_challenge *challenge)
{
    static const char *const known[] = {"invalid_request", "invalid_token", "insufficient_scope"};
    for (size_t i = 0; i < HL_COUNT(known); i++)
        if (!strcmp(challenge->error, known[i]))
            return known[i];
    return "";
}

/* Adds the scope of a challenge to the grant. */
static int lengthen(const struct hl_auth *auth, struct grant *grant, const char *scope, struct hl_error *err)
{
    char *both;
    if (grant->longer++ >= CHANGES_MOST)
        return hl_fail(err, "%s asks for another scope with each answer", auth->host);
    if (hl_scope_join(scope, grant->scope, &both, err) < 0)
        return -1;
    free(grant->scope);
    grant->scope = both;
    return 0;
}

static int answer_bearer(struct hl_auth *auth, struct hl_http *http, const char *scope, const char *used, bool *again,
                         struct hl_error *err)
{
    bool refused;
    struct grant *grant = grant_of(auth, scope, err);
    if (!grant)
        return -1;
    bool covered = hl_scope_covers(grant->scope, auth->known.scope);
    bool ours = grant->header && used && !strcmp(used, grant->header);
    if (grant->header && covered && !ours) {
        *again = true; /* another thread has fetched a newer one */
        return 0;
    }
    if (ours && covered && !grant->good && now() - grant->from < YOUNG_SECONDS) {
        refuse(auth, scope, reason_of(&auth->known), err);
        return 0;
    }
    if (*auth->known.scope && (!covered || !grant->header) && lengthen(auth, grant, auth->known.scope, err) < 0)
        return -1;
    if (fetch(auth, http, grant, &refused, err) < 0)
        return -1;
    *again = !refused;
    return 0;
}

static int answer(struct hl_auth *auth, struct hl_http *http, const char *url, const char *scope, const char *used,
                  const struct hl_challenge *challenge, bool *again, struct hl_error *err)
{
    if (learn(auth, url, challenge, err) < 0 || look_up(auth, http, err) < 0)
        return -1;
    if (challenge->scheme == HL_CHALLENGE_BEARER && !auth->who.bearer)
        return answer_bearer(auth, http, scope, used, again, err);
    *again = auth->own && (!used || strcmp(used, auth->own) != 0);
    if (!*again && auth->who.identity_token)
        return hl_fail(err,
                       "%s demands a user and a password, but there is only an identity token (%s); log in with "
                       "'docker login %s'",
                       auth->host, auth->who.where, auth->host);
    if (!*again)
        refuse(auth, scope, reason_of(challenge), err);
    return 0;
}

int hl_auth_challenged(struct hl_auth *auth, struct hl_http *http, const char *url, const char *scope, const char *used,
                       const struct hl_http_response *response, bool *again, struct hl_error *err)
{
    char shown[256];
    struct hl_challenge challenge;
    *again = false;
    if (response->url && !hl_url_same_origin(url, response->url))
        return hl_fail(err, "%s redirected to %s, which demands credentials; none are sent there", auth->host,
                       hl_url_shown(response->url, shown));
    if (!read_challenges(response, &challenge))
        return hl_fail(err, "%s answered 401 without a challenge that can be answered (Bearer or Basic)", auth->host);
    pthread_mutex_lock(&auth->lock);
    int result = answer(auth, http, url, scope, used, &challenge, again, err);
    pthread_mutex_unlock(&auth->lock);
    return result;
}
