/* registry/remote/auth.c, scope.c and registry/net/oauth.c: conversations with a registry and its realm, on
 * loopback. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "registry/remote/auth.h"
#include "registry/remote/client.h"
#include "registry/remote/scope.h"
#include "tests/unit/registry/http_server.h"
#include "tests/unit/registry/secrets.h"
#include <sys/syscall.h>
#include <time.h>

#define PULL "repository:a:pull"
#define PUSH "repository:a:pull,push"
#define CONFIG "home/.docker/config.json"
#define AUTH __attribute__((cleanup(close_auth))) struct hl_auth

static struct server server;
static struct hl_http *http;
static char host[64], origin[80];

/* How the registry and its realm behave; under the server's lock. */
static struct {
    char challenge[2048]; /* "%u" in it: a counter */
    char accepts[64];     /* the valid authorization; "": that of the last token; "-": none */
    char answer[1024];    /* of the realm; "": a token */
    int status;           /* of the realm; 0: 200 */
    int post_status;      /* of a POST; 0: as of a GET */
    unsigned times;       /* this many such answers, then good ones; 0: all */
    char life[32];        /* expires_in, or "" */
    char form[2048];      /* the last POST's */
    int repeats;          /* the registry refuses everything, and repeats the password: 1 as it is, 2 escaped */
    unsigned tokens, refusals;
} fake;

/* Moves the clocks for tokens and credentials ahead by this much. No other code reads the first clock, and none in this
 * test reads the second. */
static _Atomic long ahead;

int clock_gettime(clockid_t clock, struct timespec *out)
{
    long result = syscall(SYS_clock_gettime, clock, out);
    if (clock == CLOCK_BOOTTIME)
        out->tv_sec += ahead;
    return (int)result;
}

time_t time(time_t *out)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out)
        *out = t.tv_sec + ahead;
    return t.tv_sec + ahead;
}

static void close_auth(struct hl_auth **auth)
{
    hl_auth_close(*auth);
}

static bool registry(struct request *r)
{
    char value[512], good[64], headers[4096] = "";
    request_header(r, "Authorization", value);
    pthread_mutex_lock(&server.lock);
    snprintf(good, sizeof good, "Bearer " MARK "-%u", fake.tokens);
    if (*fake.accepts)
        memcpy(good, fake.accepts, sizeof good);
    bool accepted = !strcmp(value, good);
    if (!accepted) {
        char *number = strstr(fake.challenge, "%u");
        snprintf(headers, sizeof headers, "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: %.*s",
                 number ? (int)(number - fake.challenge) : (int)sizeof fake.challenge, fake.challenge);
        if (number)
            snprintf(headers + strlen(headers), sizeof headers - strlen(headers), "%u%s", fake.refusals, number + 2);
        strcat(headers, "\r\n");
        fake.refusals++;
    }
    int repeats = accepted ? fake.repeats : 0;
    pthread_mutex_unlock(&server.lock);
    if (repeats)
        return reply(r, 403, "",
                     repeats == 1 ? "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not with user:" MARK "\"}]}"
                                  : "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not with \\u0053"
                                    "3CR3T\"}]}");
    return accepted ? reply(r, 200, "", "{}") : reply(r, 401, headers, "{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}");
}

static bool realm(struct request *r)
{
    char value[512], body[2048], form[sizeof fake.form] = "";
    bool post = !strcmp(r->method, "POST");
    size_t n = strtoul(request_header(r, "Content-Length", value), NULL, 10);
    if (post && (n >= sizeof form || !request_take(r, form, n)))
        return false;
    pthread_mutex_lock(&server.lock);
    if (post)
        memcpy(fake.form, form, sizeof form);
    int status = post && fake.post_status ? fake.post_status : fake.status ? fake.status : 200;
    snprintf(body, sizeof body, "%s", fake.answer);
    if (status == 200 && !*body)
        snprintf(body, sizeof body, "{\"%s\":\"" MARK "-%u\"%s%s%s}", fake.tokens % 2 ? "access_token" : "token",
                 fake.tokens + 1, *fake.life ? ",\"expires_in\":" : "", fake.life,
                 post ? ",\"refresh_token\":\"" MARK "-next\"" : "");
    if (status == 200)
        fake.tokens++;
    if (fake.times && !--fake.times) {
        fake.status = 0;
        fake.answer[0] = 0;
    }
    pthread_mutex_unlock(&server.lock);
    return reply(r, status, status / 100 == 3 ? "Location: /token\r\n" : "", body);
}

static bool handle(struct request *r)
{
    if (!strncmp(r->target, "/v2/", 4))
        return registry(r);
    if (at_path(r, "/computeMetadata/v1/"))
        return reply(r, 200, "Metadata-Flavor: Google\r\n", "");
    if (at_path(r, "/computeMetadata/v1/instance/service-accounts/default/token"))
        return reply(r, 200, "Metadata-Flavor: Google\r\n", "{\"access_token\":\"" MARK "-google\",\"expires_in\":45}");
    return realm(r);
}

/* Begins a new scene with the entry of Docker's file for this registry, and with the challenge, in which %s is the
 * realm's URL. */
static void scene(const char *entry, const char *challenge)
{
    char url[128];
    snprintf(url, sizeof url, "%s/token", origin);
    unlink(at(CONFIG));
    if (entry)
        write_file(at(CONFIG), "{\"auths\":{\"%s\":%s}}", host, entry);
    pthread_mutex_lock(&server.lock);
    memset(&fake, 0, sizeof fake);
    char *hole = strstr(challenge, "%s");
    if (hole)
        snprintf(fake.challenge, sizeof fake.challenge, "%.*s%s%s", (int)(hole - challenge), challenge, url, hole + 2);
    else
        snprintf(fake.challenge, sizeof fake.challenge, "%s", challenge);
    pthread_mutex_unlock(&server.lock);
    ahead = 0;
    server_clear(&server);
}

#define USER "{\"auth\":\"dXNlcjpTM0NSM1Q=\"}" /* user:S3CR3T */
#define BASIC "Basic dXNlcjpTM0NSM1Q="
#define IDENTITY "{\"identitytoken\":\"" MARK "-identity\"}"
#define BEARER(scope) "Bearer realm=\"%s\",service=\"the registry\",scope=\"" scope "\""

/* Counts how often a text is in the server's log. */
static unsigned asked(const char *text)
{
    unsigned n = 0;
    pthread_mutex_lock(&server.lock);
    for (const char *at = server.log; (at = strstr(at, text)); at++)
        n++;
    pthread_mutex_unlock(&server.lock);
    return n;
}

static unsigned tokens(void)
{
    pthread_mutex_lock(&server.lock);
    unsigned n = fake.tokens;
    pthread_mutex_unlock(&server.lock);
    return n;
}

static unsigned refusals(void)
{
    pthread_mutex_lock(&server.lock);
    unsigned n = fake.refusals;
    pthread_mutex_unlock(&server.lock);
    return n;
}

static struct hl_auth *open_auth(void)
{
    struct hl_auth *auth = NULL;
    struct hl_error err;
    CHECK_OK(hl_auth_open(host, "a", &auth, &err), err);
    return auth;
}

/* Acts as a client: sends a request, and again as long as hl_auth says so. Returns 0 if it was answered. */
static int call(struct hl_auth *auth, struct hl_http *with, const char *scope, unsigned seconds, struct hl_error *err)
{
    char url[128];
    snprintf(url, sizeof url, "%s/v2/a/x", origin);
    memset(err, 0, sizeof *err);
    for (unsigned i = 0; i < 20; i++) {
        HL_SECRET char *header = NULL;
        struct hl_http_response response = {0};
        enum hl_http_failure failure;
        bool again = false;
        if (hl_auth_header(auth, with, scope, seconds, &header, err) < 0)
            return -1;
        struct hl_http_request request = {.method = "GET", .url = url, .authorization = header};
        int result = hl_http_send(with, &request, &response, &failure, err);
        bool done = result == 0 && response.status == 200;
        if (done && header)
            hl_auth_accepted(auth, header);
        if (result == 0 && !done)
            result = hl_auth_challenged(auth, with, url, scope, header, &response, &again, err);
        hl_http_response_free(&response);
        if (done)
            return 0;
        if (result < 0 || !again)
            return -1;
    }
    return hl_fail(err, "it would go on for ever");
}

static void test_anonymous(void)
{
    struct hl_error err;
    scene(NULL, BEARER(PULL));
    AUTH *auth = open_auth();
    for (unsigned i = 0; i < 3; i++)
        WORKS(call(auth, http, PULL, 0, &err), err);
    CHECK(tokens() == 1 && refusals() == 1 && server.requests == 5);
    CHECK(asked("GET /token?service=the%20registry&scope=repository%3Aa%3Apull \n") == 1);
}

static void test_user(void)
{
    struct hl_error err;
    scene(USER, BEARER(PUSH));
    AUTH *auth = open_auth();
    WORKS(call(auth, http, PUSH, 0, &err), err);
    CHECK(asked("&scope=repository%3Aa%3Apull%2Cpush " BASIC "\n") == 1);
    /* The realm is known: another scope needs no 401. */
    WORKS(call(auth, http, PULL, 0, &err), err);
    CHECK(tokens() == 2 && refusals() == 1);
    CHECK(asked("&scope=repository%3Aa%3Apull " BASIC "\n") == 1);
}

/* The challenged scope comes first, then the request's own. */
static void test_scopes(void)
{
    struct hl_error err;
    scene(USER, BEARER("repository:b:pull"));
    AUTH *auth = open_auth();
    WORKS(call(auth, http, PUSH " repository:b:pull", 0, &err), err);
    CHECK(asked("?service=the%20registry&scope=repository%3Ab%3Apull&scope=repository%3Aa%3Apull%2Cpush ") == 1);
    scene(USER, BEARER(PUSH));
    AUTH *other = open_auth();
    WORKS(call(other, http, PULL, 0, &err), err);
    CHECK(asked("&scope=repository%3Aa%3Apull%2Cpush ") == 1 && tokens() == 1);
    /* A realm with a query and without a service. */
    scene(NULL, "Bearer realm=\"%s?x=%2F&y\"");
    AUTH *third = open_auth();
    WORKS(call(third, http, PULL, 0, &err), err);
    CHECK(asked("GET /token?x=%2F&y&scope=repository%3Aa%3Apull \n") == 1);
}

static void test_refused(void)
{
    struct hl_error err;
    char advice[HL_AUTH_ADVICE_BYTES];
    /* A token with insufficient scope. */
    scene(USER, BEARER(PUSH) ",error=\"insufficient_scope\"");
    strcpy(fake.accepts, "-");
    AUTH *auth = open_auth();
    FAILS(call(auth, http, PUSH, 0, &err), err, "refused " PUSH " (insufficient_scope)");
    CHECK_SAY(strstr(err.message, "tried as user 'user' (auths in ~/.docker/config.json)") &&
                  strstr(err.message, "'docker login 127.0.0.1:"),
              "%s", err.message);
    CHECK(tokens() == 1 && refusals() == 2);
    CHECK(strstr(hl_auth_advice(auth, advice), "tried as user 'user'") && !tells(advice));
    /* The answer about a token comes from a stranger. */
    scene(USER, BEARER(PUSH) ",error=\"" MARK "\"");
    strcpy(fake.accepts, "-");
    AUTH *told = open_auth();
    FAILS(call(told, http, PUSH, 0, &err), err, "refused " PUSH ": tried as");
    /* An answer without a token. */
    scene(USER, BEARER(PUSH));
    fake.status = 401;
    strcpy(fake.answer, "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"wrong \\u001bpassword\"}]}");
    AUTH *wrong = open_auth();
    FAILS(call(wrong, http, PUSH, 0, &err), err, "(UNAUTHORIZED: wrong ?password): tried as user 'user'");
    strcpy(fake.answer, "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"not with user:" MARK "\"}]}");
    AUTH *echo = open_auth();
    FAILS(call(echo, http, PUSH, 0, &err), err, "refused " PUSH ": tried as");
    scene(NULL, BEARER(PUSH));
    fake.status = 403;
    AUTH *nobody = open_auth();
    FAILS(call(nobody, http, PUSH, 0, &err), err, "no credentials for 127.0.0.1:");
}

static void test_identity(void)
{
    struct hl_error err;
    scene(IDENTITY, BEARER(PULL));
    AUTH *auth = open_auth();
    WORKS(call(auth, http, PULL " repository:b:pull", 0, &err), err);
    CHECK(asked("POST /token \n") == 1 && asked("GET /token") == 0);
    CHECK_SAY(!strcmp(fake.form,
                      "grant_type=refresh_token&service=the%20registry&client_id=hotlayer&scope=repository%3Aa%"
                      "3Apull%20repository%3Ab%3Apull&refresh_token=" MARK "-identity"),
              "%s", fake.form);
    WORKS(call(auth, http, PULL, 0, &err), err);
    CHECK(strstr(fake.form, "&refresh_token=" MARK "-next"));
    static const int without[] = {404, 405};
    for (size_t i = 0; i < 2; i++) {
        scene(IDENTITY, BEARER(PULL));
        fake.post_status = without[i];
        AUTH *old = open_auth();
        WORKS(call(old, http, PULL, 0, &err), err);
        WORKS(call(old, http, PUSH, 0, &err), err);
        CHECK(asked("POST /token") == 1); /* one answer is enough to know */
        CHECK(
            asked("GET /token?service=the%20registry&scope=repository%3Aa%3Apull Basic PHRva2VuPjpTM0NSM1QtaWRlbnRpdHk="
                  "\n") == 1);
    }
    scene(IDENTITY, BEARER(PULL));
    fake.status = 400;
    strcpy(fake.answer, "{\"error\":\"invalid_grant\",\"error_description\":\"" MARK "-identity has expired\"}");
    AUTH *gone = open_auth();
    FAILS(call(gone, http, PULL, 0, &err), err, "refused " PULL ": tried with a token (auths in");
    scene(IDENTITY, "Basic realm=x");
    AUTH *basic = open_auth();
    FAILS(call(basic, http, PULL, 0, &err), err, "only an identity token");
}

static void test_without_realm(void)
{
    struct hl_error err;
    scene(USER, "Basic realm=\"x\"");
    strcpy(fake.accepts, BASIC);
    AUTH *auth = open_auth();
    WORKS(call(auth, http, PULL, 0, &err), err);
    WORKS(call(auth, http, PUSH, 0, &err), err);
    CHECK(refusals() == 1);
    scene(USER, "Basic realm=\"x\"");
    strcpy(fake.accepts, "-");
    AUTH *wrong = open_auth();
    FAILS(call(wrong, http, PULL, 0, &err), err, "tried as user 'user'");
    CHECK(refusals() == 2);
    scene(NULL, "Basic realm=\"x\"");
    AUTH *nobody = open_auth();
    FAILS(call(nobody, http, PULL, 0, &err), err, "no credentials for 127.0.0.1:");
    CHECK(refusals() == 1);
    scene("{\"registrytoken\":\"" MARK "-registry\"}", BEARER(PULL));
    strcpy(fake.accepts, "Bearer " MARK "-registry");
    AUTH *token = open_auth();
    WORKS(call(token, http, PULL, 0, &err), err);
    CHECK(tokens() == 0 && refusals() == 1);
    strcpy(fake.accepts, "-");
    FAILS(call(token, http, PULL, 0, &err), err, "tried with a token (auths in");
    scene("{\"username\":\"us:er\",\"password\":\"" MARK "\"}", "Basic realm=x");
    AUTH *colon = open_auth();
    FAILS(call(colon, http, PULL, 0, &err), err, "holds a colon");
    scene(NULL, "Digest realm=x");
    AUTH *digest = open_auth();
    FAILS(call(digest, http, PULL, 0, &err), err, "without a challenge that can be answered");
}

/* Tokens are renewed by their age, and before a long transfer. */
static void test_time(void)
{
    static const struct {
        const char *life;
        long age;
        unsigned seconds;
        bool renewed;
    } table[] = {
        {"300", 0, 0, false},     {"300", 235, 0, false},       {"300", 245, 0, true},      {"300", 30, 900, false},
        {"300", 40, 900, true},   {"3600", 600, 900, false},    {"3600", 2800, 900, true},  {"3600", 3545, 0, true},
        {"3600", 3500, 0, false}, {"", 40, 0, false},           {"", 50, 0, true},          {"", 5, 900, false},
        {"", 10, 900, true},      {"1", 40, 0, false},          {"0", 50, 0, true},         {"-5", 40, 0, false},
        {"1e300", 50, 0, true},   {"2000000", 80000, 0, false}, {"2000000", 86390, 0, true}};
    for (size_t i = 0; i < HL_COUNT(table); i++) {
        struct hl_error err;
        HL_SECRET char *header = NULL;
        scene(USER, BEARER(PUSH));
        strcpy(fake.life, table[i].life);
        AUTH *auth = open_auth();
        WORKS(call(auth, http, PUSH, 0, &err), err);
        ahead = table[i].age;
        WORKS(hl_auth_header(auth, http, PUSH, table[i].seconds, &header, &err), err);
        CHECK_SAY(tokens() == 1u + table[i].renewed, "a token of %s s, %ld s old, for %u s: %u", table[i].life,
                  table[i].age, table[i].seconds, tokens());
    }
}

/* A revoked token is replaced, once; one that cannot be renewed is used until it expires. */
static void test_renewal(void)
{
    struct hl_error err;
    scene(USER, BEARER(PUSH));
    strcpy(fake.life, "3600");
    AUTH *auth = open_auth();
    WORKS(call(auth, http, PUSH, 0, &err), err);
    strcpy(fake.accepts, "Bearer " MARK "-2");
    ahead = 100;
    WORKS(call(auth, http, PUSH, 0, &err), err);
    CHECK(tokens() == 2 && refusals() == 2);
    strcpy(fake.accepts, "-");
    ahead = 200;
    FAILS(call(auth, http, PUSH, 0, &err), err, "tried as");
    CHECK(tokens() == 3 && refusals() == 4);
    strcpy(fake.accepts, "Bearer " MARK "-3");
    fake.status = 500;
    ahead = 3000;
    WORKS(call(auth, http, PUSH, 900, &err), err);
    CHECK(tokens() == 3);
    ahead = 3790;
    FAILS(call(auth, http, PUSH, 0, &err), err, "which issues the tokens of 127.0.0.1");
}

/* A new token that has worked is replaced too; one that has never worked is not. */
static void test_taken_back(void)
{
    struct hl_error err;
    scene(USER, BEARER(PUSH));
    AUTH *auth = open_auth();
    WORKS(call(auth, http, PUSH, 0, &err), err);
    strcpy(fake.accepts, "Bearer " MARK "-2");
    WORKS(call(auth, http, PUSH, 0, &err), err);
    CHECK(tokens() == 2 && refusals() == 2);
    strcpy(fake.accepts, "-");
    FAILS(call(auth, http, PUSH, 0, &err), err, "tried as");
    CHECK(tokens() == 3 && refusals() == 4);
    FAILS(call(auth, http, PUSH, 0, &err), err, "tried as");
    CHECK(tokens() == 3 && refusals() == 5);
}

struct caller {
    struct hl_auth *auth;
    int result;
    struct hl_error err;
};

static void *call_beside(void *context)
{
    struct caller *caller = context;
    struct hl_http *own = NULL;
    struct hl_error err;
    if (hl_http_open(&(struct hl_http_options){0}, &own, &err) == 0)
        caller->result = call(caller->auth, own, PUSH, 0, &caller->err);
    hl_http_close(own);
    return NULL;
}

static void test_threads(void)
{
    enum { N = 8 };
    struct caller caller[N];
    pthread_t thread[N];
    scene(USER, BEARER(PUSH));
    AUTH *auth = open_auth();
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < N; i++) {
            caller[i] = (struct caller){.auth = auth, .result = -1};
            pthread_create(&thread[i], NULL, call_beside, &caller[i]);
        }
        for (unsigned i = 0; i < N; i++) {
            pthread_join(thread[i], NULL);
            WORKS(caller[i].result, caller[i].err);
        }
        CHECK_SAY(tokens() == 1 + round, "%u tokens in round %u", tokens(), round);
        ahead = 50;
    }
}

/* A challenge from `url`, without a server; checks its realm. */
static int challenged(const char *url, const char *answered_by, const char *header, struct hl_error *err)
{
    char headers[4096], from[512];
    bool again;
    snprintf(headers, sizeof headers, "content-type: x\nwww-authenticate: %s\n", header);
    snprintf(from, sizeof from, "%s", answered_by);
    struct hl_http_response response = {.status = 401, .url = from, .headers = headers};
    AUTH *auth = open_auth();
    return hl_auth_challenged(auth, http, url, PULL, NULL, &response, &again, err) < 0 ? -1 : again ? 0 : -2;
}

static void test_realms(void)
{
    struct hl_error err;
    static const struct {
        const char *url, *realm, *word;
    } bad[] = {
        {"https://r.example/v2/", "http://r.example/token", "not encrypted"},
        {"https://r.example/v2/", "http://127.0.0.1:1/token", "not encrypted"},
        {"https://r.example/v2/", "https://127.0.0.1:1/token", "this machine's own network"},
        {"https://r.example/v2/", "https://localhost/token", "this machine's own network"},
        {"https://r.example/v2/", "https://169.254.169.254/computeMetadata", "this machine's own network"},
        {"https://r.example/v2/", "https://[::1]/token", "this machine's own network"},
        {"https://r.example/v2/", "https://2130706433/token", "this machine's own network"},
        {"https://r.example/v2/", "https://10.1.2.3/token", "this machine's own network"},
        {"http://r.example/v2/", "http://192.168.0.1/token", "this machine's own network"},
        {"https://r.example/v2/", "ftp://r.example/token", "is not an http or https URL"},
        {"https://r.example/v2/", "/token", "is not an http or https URL"},
        {"https://r.example/v2/", "https://u:" MARK "@r.example/token", "is not an http or https URL"},
        {"https://r.example/v2/", "https://r.example\\@evil.example/", "is not an http or https URL"},
        {"https://r.example/v2/", "https:///token", "is not an http or https URL"},
        {"https://10.0.0.1/v2/", "http://10.0.0.1/token", "not encrypted"},
    };
    scene(USER, "Basic realm=x");
    for (size_t i = 0; i < HL_COUNT(bad); i++) {
        char header[512];
        snprintf(header, sizeof header, "Bearer realm=\"%s\"", bad[i].realm);
        FAILS(challenged(bad[i].url, bad[i].url, header, &err), err, bad[i].word);
    }
    FAILS(challenged("https://r.example/v2/", "https://cdn.example/x", "Basic realm=x", &err), err,
          "redirected to https://cdn.example/x, which demands credentials");
    FAILS(challenged("http://127.0.0.1:5/v2/", "http://127.0.0.1:6/v2/", "Basic realm=x", &err), err,
          "none are sent there");
    FAILS(challenged("http://127.0.0.1:1/v2/", "http://127.0.0.1:1/v2/", "Bearer realm=\"http://127.0.0.1:1/t\"", &err),
          err, "asking for a token for 127.0.0.1:");
    CHECK(server.requests == 0);
}

/* A registry that never accepts a token. */
static void test_endless(void)
{
    struct hl_error err;
    scene(USER, "Bearer realm=\"%s/%u\"");
    strcpy(fake.accepts, "-");
    AUTH *realms = open_auth();
    FAILS(call(realms, http, PULL, 0, &err), err, "another token server with each answer");
    scene(USER, BEARER("repository:%u:pull"));
    strcpy(fake.accepts, "-");
    AUTH *scopes = open_auth();
    FAILS(call(scopes, http, PULL, 0, &err), err, "another scope with each answer");
}

static void test_bad_answers(void)
{
    struct hl_error err;
    static const struct {
        int status;
        const char *answer, *word;
    } bad[] = {{200, "<html>" MARK "</html>", "is not JSON with a token"},
               {200, "{}", "no usable token"},
               {200, "{\"token\":\"\"}", "no usable token"},
               {200, "{\"token\":7,\"" MARK "\":1}", "no usable token"},
               {200, "{\"token\":\"a b " MARK "\"}", "no usable token"},
               {200, "{\"token\":\"a\\r\\nX: " MARK "\"}", "no usable token"},
               {200, "[\"" MARK "\"]", "is not JSON with a token"},
               {201, "{\"token\":\"" MARK "\"}", "answered 201"},
               {204, "", "answered 204"},
               {404, "<html>" MARK "</html>", "/token, which issues the tokens of 127.0.0.1"},
               {302, "", "redirects"},
               {418, "{\"error\":\"teapot\"}", "answered 418: teapot"}};
    for (size_t i = 0; i < HL_COUNT(bad); i++) {
        scene(USER, BEARER(PULL));
        fake.status = bad[i].status;
        strcpy(fake.answer, bad[i].answer);
        AUTH *auth = open_auth();
        FAILS(call(auth, http, PULL, 0, &err), err, bad[i].word);
    }
    static const int passing[] = {429, 500, 503};
    for (size_t i = 0; i < 3; i++) {
        scene(USER, BEARER(PULL));
        fake.status = passing[i];
        fake.times = 1;
        AUTH *auth = open_auth();
        WORKS(call(auth, http, PULL, 0, &err), err);
        CHECK(asked("GET /token") == 2);
    }
}

/* If credentials cannot be read, that is an error, and they are read once. */
static void test_no_credentials(void)
{
    struct hl_error err;
    char path[512];
    scene(NULL, BEARER(PULL));
    write_file(at("bin/docker-credential-counts"), "#!/bin/sh\necho x >>%s\necho locked >&2\nexit 1\n", at("count"));
    chmod(at("bin/docker-credential-counts"), 0755);
    snprintf(path, sizeof path, "%s:/usr/bin:/bin", at("bin"));
    setenv("PATH", path, 1);
    write_file(at(CONFIG), "{\"credsStore\":\"counts\"}");
    AUTH *auth = open_auth();
    for (unsigned i = 0; i < 3; i++)
        FAILS(call(auth, http, PULL, 0, &err), err,
              "credsStore in ~/.docker/config.json: docker-credential-counts failed");
    struct stat st;
    CHECK(!stat(at("count"), &st) && st.st_size == 2);
    unlink(at(CONFIG));
}

/* Artifact Registry: the metadata server's token, which is valid for 45 s, and the missing role. */
static void test_google(void)
{
    struct hl_error err;
    char advice[HL_AUTH_ADVICE_BYTES];
    scene(NULL, BEARER(PUSH));
    setenv("GCE_METADATA_HOST", host, 1);
    struct hl_auth *auth = NULL;
    CHECK_OK(hl_auth_open("europe-docker.pkg.dev", "p/r/a", &auth, &err), err);
    WORKS(call(auth, http, PUSH, 0, &err), err);
    CHECK(asked("&scope=repository%3Aa%3Apull%2Cpush Basic b2F1dGgyYWNjZXNzdG9rZW46UzNDUjNULWdvb2dsZQ==\n") == 1);
    WORKS(call(auth, http, PULL, 0, &err), err);
    CHECK(asked("service-accounts/default/token") == 1 && tokens() == 2);
    ahead = 30;
    WORKS(call(auth, http, PULL, 0, &err), err);
    CHECK(asked("service-accounts/default/token") == 1 && tokens() == 2);
    WORKS(call(auth, http, "repository:c:pull", 0, &err), err);
    CHECK(asked("service-accounts/default/token") == 2); /* the old one is about to expire */
    hl_auth_advice(auth, advice);
    CHECK_SAY(strstr(advice, "user 'oauth2accesstoken' (the metadata server 127.0.0.1:") &&
                  strstr(advice, "roles/artifactregistry.writer") && !tells(advice),
              "%s", advice);
    CHECK(hl_auth_tells(auth, "x " MARK "-google y") && hl_auth_tells(auth, "Bearer " MARK "-1") &&
          hl_auth_tells(auth, "b2F1dGgyYWNjZXNzdG9rZW46UzNDUjNULWdvb2dsZQ==") && !hl_auth_tells(auth, "denied"));
    hl_auth_close(auth);
    unsetenv("GCE_METADATA_HOST");
}

/* An error about a refusal shows the registry's message, without secrets that the message repeats. */
static void test_repeats(void)
{
    struct hl_error err;
    struct hl_registry *client = NULL;
    struct hl_reference reference = {.repository = "a"};
    struct hl_call request = {.method = "GET", .path = "blobs/x", .push = true};
    struct hl_http_response response;
    enum hl_http_failure failure;
    static const char *const challenges[] = {"Basic realm=x", BEARER(PUSH)};
    for (size_t i = 0; i < 2; i++) {
        scene(USER, challenges[i]);
        strcpy(fake.accepts, i ? "" : BASIC);
        fake.repeats = 1 + (int)i; /* http.c removes the header itself */
        snprintf(reference.host, sizeof reference.host, "%s", host);
        WORKS(hl_registry_open(&reference, &(struct hl_registry_options){.plain_http = true}, &client, &err), err);
        WORKS(hl_registry_call(client, &request, &response, &failure, &err), err);
        CHECK(response.status == 403 && strstr(response.body, "DENIED"));
        FAILS(hl_registry_refused(client, &request, &response, &err), err,
              "the answer is 403 (forbidden); tried as user");
        hl_http_response_free(&response);
        hl_registry_close(client);
    }
}

static void test_scope_lists(void)
{
    static const struct {
        const char *have, *want;
        bool covers;
    } cover[] = {{PUSH, PULL, true},
                 {PULL, PUSH, false},
                 {PULL " repository:a:push", PUSH, true},
                 {"repository:a:push,pull", PUSH, true},
                 {PUSH, "repository:b:pull", false},
                 {"repository:h:5000/a:pull", "repository:h:5000/a:pull", true},
                 {"repository:h:5000/a:pull", "repository:h:pull", false},
                 {"", PULL, false},
                 {PULL, "", true},
                 {PULL, "  ", true},
                 {PULL, "repository:a:", true},
                 {PULL, "x", false},
                 {"x", "x", true}};
    static const char *const join[][3] = {{PULL, PUSH, PUSH},
                                          {"repository:a:push", PUSH, "repository:a:push,pull"},
                                          {"repository:b:pull", PUSH, "repository:b:pull " PUSH},
                                          {"", PUSH, PUSH},
                                          {PUSH, "", PUSH},
                                          {"x  y:", "y:z x", "x y:z"},
                                          {"y:,,a,", "y:b,,a", "y:a,b"},
                                          {" a:1 a:2 ", "a:3", "a:1,3 a:2,3"}};
    struct hl_error err;
    for (size_t i = 0; i < HL_COUNT(cover); i++)
        CHECK_SAY(hl_scope_covers(cover[i].have, cover[i].want) == cover[i].covers, "'%s' and '%s'", cover[i].have,
                  cover[i].want);
    for (size_t i = 0; i < HL_COUNT(join); i++) {
        HL_FREE char *out = NULL;
        CHECK_OK(hl_scope_join(join[i][0], join[i][1], &out, &err), err);
        CHECK_SAY(!strcmp(out, join[i][2]), "'%s' and '%s': '%s'", join[i][0], join[i][1], out);
    }
}

int main(void)
{
    struct hl_error err;
    scratch_open();
    CHECK_OK(hl_http_open(&(struct hl_http_options){0}, &http, &err), err);
    server.handle = handle;
    server_start(&server);
    snprintf(host, sizeof host, "127.0.0.1:%u", server.port);
    snprintf(origin, sizeof origin, "http://%s", host);
    test_scope_lists();
    test_anonymous();
    test_user();
    test_scopes();
    test_refused();
    test_identity();
    test_without_realm();
    test_time();
    test_renewal();
    test_taken_back();
    test_threads();
    test_realms();
    test_endless();
    test_bad_answers();
    test_no_credentials();
    test_google();
    test_repeats();
    server_stop(&server);
    hl_http_close(http);
    scratch_close();
    return check_summary();
}
