/* registry/net/google.c: every way to get an access token, from a token endpoint and a metadata server on loopback. */
#include "base/cleanup.h"
#include "base/json.h"
#include "base/sizes.h"
#include "registry/net/google.h"
#include "registry/net/oauth.h"
#include "registry/remote/find_credentials.h"
#include "tests/unit/registry/http_server.h"
#include "tests/unit/registry/secrets.h"
#include <openssl/bio.h>
#include <openssl/rsa.h>
#include <time.h>

#define HOST "europe-docker.pkg.dev"
#define ADC "home/.config/gcloud/application_default_credentials.json"
#define KEY "key.json"
#define CREDENTIALS __attribute__((cleanup(hl_credentials_free))) struct hl_credentials

static struct server server;

static struct {
    EVP_PKEY *key;
    char pem[4096];  /* "\n" as JSON writes it */
    char last[8192]; /* the last form received; under the server's lock */
    _Atomic unsigned tokens;
    _Atomic int mode;
} fake;

enum {
    GOOD,
    REFUSES, /* as Google does */
    ECHOES,  /* with the whole request in the reason */
    EMPTY,   /* JSON without a token */
    HTML,
    BUSY,     /* 503 once */
    LONG,     /* larger than any token */
    STRANGER, /* a web server without metadata */
    NO_ACCOUNT,
    FORBIDS,
    STARTING, /* 503 once */
    ENDING,   /* the first two tokens are about to expire */
    HANGING,
};

/* Returns the value of a form's field, unescaped, or "" if it is absent. */
static const char *field(const char *name, char *out, size_t size)
{
    char key[64];
    size_t n = 0;
    int length = snprintf(key, sizeof key, "%s=", name);
    out[0] = 0;
    pthread_mutex_lock(&server.lock);
    const char *at = fake.last;
    while (at && strncmp(at, key, (size_t)length))
        at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL;
    for (at = at ? at + length : ""; *at && *at != '&' && n + 1 < size; at++) {
        unsigned c = (unsigned char)*at;
        if (c == '%' && sscanf(at + 1, "%2x", &c) == 1)
            at += 2;
        out[n++] = (char)c;
    }
    out[n] = 0;
    pthread_mutex_unlock(&server.lock);
    return out;
}

static bool token_reply(struct request *r, int seconds)
{
    char body[256];
    snprintf(body, sizeof body, "{\"access_token\":\"" MARK "-%u\",\"expires_in\":%d,\"token_type\":\"Bearer\"}",
             ++fake.tokens, seconds);
    return reply(r, 200, "Metadata-Flavor: Google\r\nContent-Type: application/json\r\n", body);
}

static bool endpoint(struct request *r)
{
    char value[512], text[9000];
    char form[sizeof fake.last];
    size_t n = strtoul(request_header(r, "Content-Length", value), NULL, 10);
    if (strcmp(r->method, "POST") || n >= sizeof form || !request_take(r, form, n))
        return reply(r, 405, "", ""), false;
    form[n] = 0;
    pthread_mutex_lock(&server.lock);
    memcpy(fake.last, form, n + 1);
    pthread_mutex_unlock(&server.lock);
    switch (fake.mode) {
    case REFUSES:
        return reply(
            r, 400, "",
            "{\"error\":\"invalid_grant\",\"error_description\":\"Token has been expired or \\u001brevoked.\"}");
    case ECHOES:
        snprintf(text, sizeof text, "{\"error\":\"invalid_grant\",\"error_description\":\"%s\"}", form);
        return reply(r, 401, "", text);
    case EMPTY:
        return reply(r, 200, "", "{\"access_token\":\"\",\"" MARK "\":1}");
    case HTML:
        return reply(r, 200, "", "<html>" MARK "</html>");
    case BUSY:
        fake.mode = GOOD;
        return reply(r, 503, "", "later");
    case LONG:
        say(r, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{\"access_token\":\"");
        for (unsigned i = 0; i < 100; i++)
            say(r, "%01000d", 0);
        return false;
    default:
        return token_reply(r, 3599);
    }
}

static bool handle(struct request *r)
{
    char value[512];
    if (!at_path(r, "/computeMetadata/v1/") &&
        !at_path(r, "/computeMetadata/v1/instance/service-accounts/default/token"))
        return endpoint(r);
    if (fake.mode == HANGING)
        return request_hang(r);
    if (fake.mode == STRANGER)
        return reply(r, 200, "", "{\"access_token\":\"not yours\"}");
    if (strcmp(request_header(r, "Metadata-Flavor", value), "Google"))
        return reply(r, 403, "Metadata-Flavor: Google\r\n", "");
    if (at_path(r, "/computeMetadata/v1/"))
        return reply(r, 200, "Metadata-Flavor: Google\r\n", "instance/\nproject/\n");
    if (fake.mode == NO_ACCOUNT || fake.mode == FORBIDS)
        return reply(r, fake.mode == FORBIDS ? 403 : 404, "Metadata-Flavor: Google\r\n", "");
    if (fake.mode == STARTING) {
        fake.mode = GOOD;
        return reply(r, 503, "Metadata-Flavor: Google\r\n", "");
    }
    return token_reply(r, fake.mode == ENDING && fake.tokens < 2 ? 0 : 3599);
}

static struct hl_http *http;

static int find(struct hl_credentials *out, struct hl_error *err)
{
    memset(err, 0, sizeof *err);
    fake.tokens = 0;
    server_clear(&server);
    int result = hl_credentials_find(HOST, "p/r/i", http, out, err);
    CHECK_SAY(!tells(out->where), "told: %s", out->where);
    return result;
}

static bool has_token(const struct hl_credentials *c, const char *token)
{
    int64_t left = c->expires - (int64_t)time(NULL);
    return c->user && !strcmp(c->user, "oauth2accesstoken") && !strcmp(c->secret, token) && left > 3500 && left < 3700;
}

static void test_hosts(void)
{
    static const char *const good[] = {"europe-docker.pkg.dev", "us-central1-docker.pkg.dev:443", "gcr.io", "eu.gcr.io",
                                       "US-docker.PKG.dev"};
    static const char *const bad[] = {"pkg.dev",    ".pkg.dev.evil",     "docker.pkg.dev.evil",
                                      "evilgcr.io", "pkg.dev.evil:443",  "europe-docker.pkg.dev:5000",
                                      "gcr.io:80",  "docker.io",         "127.0.0.1:443",
                                      ".gcr.io:x",  "eu-docker.pkgxdev", ""};
    for (size_t i = 0; i < HL_COUNT(good); i++)
        CHECK_SAY(hl_google_host(good[i]), "%s", good[i]);
    for (size_t i = 0; i < HL_COUNT(bad); i++)
        CHECK_SAY(!hl_google_host(bad[i]), "%s", bad[i]);
}

static void make_key(void)
{
    fake.key = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    size_t n = 0;
    PEM_write_bio_PrivateKey(bio, fake.key, NULL, NULL, 0, NULL, NULL);
    long size = BIO_get_mem_data(bio, &text);
    for (long i = 0; i < size; i++) {
        if (text[i] == '\n')
            fake.pem[n++] = '\\';
        fake.pem[n++] = text[i] == '\n' ? 'n' : text[i];
    }
    BIO_free(bio);
}

/* Returns the bytes of one part of a JWT; the caller frees them. */
static char *jwt_part(const char *text, size_t n, size_t *size)
{
    HL_FREE char *copy = calloc(1, n + 4);
    memcpy(copy, text, n);
    for (size_t i = 0; i < n; i++)
        copy[i] = copy[i] == '-' ? '+' : copy[i] == '_' ? '/' : copy[i];
    size_t padding = (4 - n % 4) % 4;
    memset(copy + n, '=', padding);
    char *out = calloc(1, n + 4);
    *size = (size_t)EVP_DecodeBlock((unsigned char *)out, (unsigned char *)copy, (int)(n + padding)) - padding;
    out[*size] = 0;
    return out;
}

/* Returns whether the form is an assertion of the service account, signed by its key. */
static void check_assertion(const char *audience)
{
    char grant[128], jwt[4096];
    struct hl_error err;
    CHECK(!strcmp(field("grant_type", grant, sizeof grant), "urn:ietf:params:oauth:grant-type:jwt-bearer"));
    field("assertion", jwt, sizeof jwt);
    char *dot = strchr(jwt, '.'), *last = strrchr(jwt, '.');
    if (!CHECK(dot && last && dot != last && !strchr(jwt, '=')))
        return;
    size_t n;
    HL_FREE char *header = jwt_part(jwt, (size_t)(dot - jwt), &n);
    CHECK(!strcmp(header, "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"id-1\"}"));
    HL_FREE char *claims = jwt_part(dot + 1, (size_t)(last - dot) - 1, &n);
    HL_JSON cJSON *json = NULL;
    CHECK_OK(hl_json_parse((struct hl_view){(uint8_t *)claims, n}, "claims", &json, &err), err);
    CHECK(hl_json_is(json, "iss", "pusher@p.iam.gserviceaccount.com") && hl_json_is(json, "aud", audience) &&
          hl_json_is(json, "scope", "https://www.googleapis.com/auth/cloud-platform"));
    double iat = cJSON_GetNumberValue(hl_json_get(json, "iat")), now = (double)time(NULL);
    CHECK(iat > now - 60 && iat <= now && cJSON_GetNumberValue(hl_json_get(json, "exp")) == iat + 3600);
    HL_FREE char *signature = jwt_part(last + 1, strlen(last + 1), &n);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    CHECK(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, fake.key) == 1 &&
          EVP_DigestVerify(context, (unsigned char *)signature, n, (unsigned char *)jwt, (size_t)(last - jwt)) == 1);
    EVP_MD_CTX_free(context);
}

static void write_account(const char *path, const char *pem, const char *token_uri)
{
    write_file(at("%s", path),
               "{\"type\":\"service_account\",\"client_email\":\"pusher@p.iam.gserviceaccount.com\","
               "\"private_key_id\":\"id-1\",\"private_key\":\"%s\",\"token_uri\":\"%s\"}",
               pem, token_uri);
}

static void test_service_account(void)
{
    struct hl_error err;
    char uri[128];
    snprintf(uri, sizeof uri, "http://127.0.0.1:%u/token", server.port);
    setenv("GOOGLE_APPLICATION_CREDENTIALS", at(KEY), 1);
    write_account(KEY, fake.pem, uri);
    {
        CREDENTIALS c;
        fake.mode = GOOD;
        WORKS(find(&c, &err), err);
        CHECK(has_token(&c, MARK "-1"));
        CHECK_SAY(strstr(c.where, "pusher@p.iam.gserviceaccount.com in ") == c.where &&
                      strstr(c.where, "key.json (GOOGLE_APPLICATION_CREDENTIALS)"),
                  "%s", c.where);
        check_assertion(uri);
        CHECK(server.requests == 1);
    }
    static const struct {
        int mode;
        const char *word;
    } bad[] = {{REFUSES, "invalid_grant: Token has been expired or ?revoked."},
               {ECHOES, "refused it (401)"},
               {EMPTY, "no usable token"},
               {HTML, "is not JSON"},
               {LONG, "longer than 64 KiB"}};
    for (size_t i = 0; i < HL_COUNT(bad); i++) {
        CREDENTIALS c;
        fake.mode = bad[i].mode;
        FAILS(find(&c, &err), err, bad[i].word);
        CHECK_SAY(strstr(err.message, "key.json") && server.requests == 1, "%s", err.message);
    }
    {
        CREDENTIALS c;
        fake.mode = BUSY;
        WORKS(find(&c, &err), err);
        CHECK(has_token(&c, MARK "-1") && server.requests == 2);
    }
}

static void test_bad_files(void)
{
    struct hl_error err;
    CREDENTIALS c;
    setenv("GOOGLE_APPLICATION_CREDENTIALS", at(KEY), 1);
    fake.mode = GOOD;
    static const char *const uris[] = {"http://tokens.example/",
                                       "ftp://127.0.0.1/",
                                       "token",
                                       "http://10.0.0.1/",
                                       "https://u:" MARK "@tokens.example/",
                                       "http://127.0.0.1.example/"};
    for (size_t i = 0; i < HL_COUNT(uris); i++) {
        write_account(KEY, fake.pem, uris[i]);
        FAILS(find(&c, &err), err, "keys are sent nowhere else");
    }
    write_account(KEY, "-----BEGIN PRIVATE KEY-----\\n" MARK "\\n-----END PRIVATE KEY-----\\n", "");
    FAILS(find(&c, &err), err, "not an RSA key");
    write_account(KEY, MARK, "");
    FAILS(find(&c, &err), err, "not an RSA key");
    write_file(at(KEY), "{\"type\":\"service_account\",\"private_key\":\"" MARK "\"}");
    FAILS(find(&c, &err), err, "client_email");
    write_file(at(KEY), "{\"type\":\"authorized_user\",\"refresh_token\":\"" MARK "\"}");
    FAILS(find(&c, &err), err, "client_id");
    write_file(at(KEY), "{\"type\":\"external_account\",\"x\":\"" MARK "\"}");
    FAILS(find(&c, &err), err, "docker login -u oauth2accesstoken --password-stdin https://" HOST);
    write_file(at(KEY), "{\"type\":\"impersonated_service_account\"}");
    FAILS(find(&c, &err), err, "'impersonated_service_account' are not supported");
    write_file(at(KEY), "{\"x\":\"" MARK "\"}");
    FAILS(find(&c, &err), err, "of type ''");
    write_file(at(KEY), "{\"type\":\"" MARK);
    FAILS(find(&c, &err), err, "key.json (GOOGLE_APPLICATION_CREDENTIALS)");
    unlink(at(KEY));
    FAILS(find(&c, &err), err, "key.json (GOOGLE_APPLICATION_CREDENTIALS): cannot be opened");
    unsetenv("GOOGLE_APPLICATION_CREDENTIALS");
    CHECK(server.requests == 0);
}

/* A key with a passphrase must not ask the terminal, and a key of another kind cannot sign with RS256. */
static void test_other_keys(void)
{
    struct hl_error err;
    CREDENTIALS c;
    EVP_PKEY *keys[] = {fake.key, EVP_EC_gen("P-256")};
    setenv("GOOGLE_APPLICATION_CREDENTIALS", at(KEY), 1);
    for (unsigned i = 0; i < 2; i++) {
        BIO *bio = BIO_new(BIO_s_mem());
        char *text, pem[8192];
        size_t n = 0;
        PEM_write_bio_PrivateKey(bio, keys[i], i ? NULL : EVP_aes_128_cbc(), NULL, 0, NULL,
                                 i ? NULL : (char[]){"phrase"});
        long size = BIO_get_mem_data(bio, &text);
        for (long k = 0; k < size; k++)
            n += (size_t)sprintf(pem + n, text[k] == '\n' ? "\\n" : "%c", text[k]);
        BIO_free(bio);
        write_account(KEY, pem, "");
        FAILS(find(&c, &err), err, "not an RSA key in PEM without a passphrase");
    }
    EVP_PKEY_free(keys[1]);
    unlink(at(KEY));
    unsetenv("GOOGLE_APPLICATION_CREDENTIALS");
}

static void test_user(void)
{
    struct hl_error err;
    char value[256];
    write_file(at(ADC),
               "{\"type\":\"authorized_user\",\"client_id\":\"id.apps\",\"client_secret\":\"" MARK
               "-client&=\",\"refresh_token\":\"1//" MARK "+\",\"token_uri\":\"http://127.0.0.1:%u/token\"}",
               server.port);
    {
        CREDENTIALS c;
        fake.mode = GOOD;
        WORKS(find(&c, &err), err);
        CHECK(has_token(&c, MARK "-1"));
        CHECK_SAY(!strcmp(c.where, "~/.config/gcloud/application_default_credentials.json"), "%s", c.where);
        CHECK(!strcmp(field("grant_type", value, sizeof value), "refresh_token"));
        CHECK(!strcmp(field("client_id", value, sizeof value), "id.apps"));
        CHECK(!strcmp(field("client_secret", value, sizeof value), MARK "-client&="));
        CHECK(!strcmp(field("refresh_token", value, sizeof value), "1//" MARK "+"));
    }
    {
        CREDENTIALS c;
        fake.mode = REFUSES;
        FAILS(find(&c, &err), err, "run 'gcloud auth application-default login' again");
    }
    rename(at(ADC), at("bin/application_default_credentials.json"));
    setenv("CLOUDSDK_CONFIG", at("bin"), 1);
    {
        CREDENTIALS c;
        fake.mode = GOOD;
        WORKS(find(&c, &err), err);
        CHECK(has_token(&c, MARK "-1"));
    }
    /* Credentials in Docker's file come first. */
    write_file(at("home/.docker/config.json"), "{\"auths\":{\"" HOST "\":{\"auth\":\"dXNlcjpTM0NSM1Q=\"}}}");
    {
        CREDENTIALS c;
        WORKS(find(&c, &err), err);
        CHECK(c.user && !strcmp(c.user, "user") && server.requests == 0);
    }
    unlink(at("home/.docker/config.json"));
    unlink(at("bin/application_default_credentials.json"));
    unsetenv("CLOUDSDK_CONFIG");
}

static void test_metadata(void)
{
    struct hl_error err;
    char host[64];
    snprintf(host, sizeof host, "127.0.0.1:%u", server.port);
    setenv("GCE_METADATA_HOST", host, 1);
    {
        CREDENTIALS c;
        fake.mode = GOOD;
        WORKS(find(&c, &err), err);
        CHECK(has_token(&c, MARK "-1") && server.requests == 2);
        CHECK_SAY(strstr(c.where, "the metadata server 127.0.0.1:") == c.where, "%s", c.where);
    }
    {
        CREDENTIALS c;
        fake.mode = ENDING;
        WORKS(find(&c, &err), err);
        CHECK(has_token(&c, MARK "-3"));
    }
    {
        CREDENTIALS c;
        fake.mode = STARTING;
        WORKS(find(&c, &err), err);
        CHECK(has_token(&c, MARK "-1"));
    }
    CREDENTIALS c;
    fake.mode = STRANGER;
    FAILS(find(&c, &err), err, "is not Google's metadata server");
    CHECK(hl_credentials_anonymous(&c));
    fake.mode = NO_ACCOUNT;
    WORKS(find(&c, &err), err);
    CHECK(hl_credentials_anonymous(&c) && server.requests == 2);
    fake.mode = FORBIDS;
    FAILS(find(&c, &err), err, "issued no token: it answered 403");
    CHECK(server.requests == 2);
    fake.mode = HANGING;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    FAILS(find(&c, &err), err, "GCE_METADATA_HOST");
    clock_gettime(CLOCK_MONOTONIC, &end);
    CHECK_SAY(end.tv_sec - begin.tv_sec <= 4, "%ld s", (long)(end.tv_sec - begin.tv_sec));
    /* Other registries never get these tokens. */
    fake.mode = GOOD;
    server_clear(&server);
    WORKS(hl_credentials_find("r.example", "a", http, &c, &err), err);
    CHECK(hl_credentials_anonymous(&c) && server.requests == 0);
    setenv("GCE_METADATA_HOST", "127.0.0.1:1", 1);
    FAILS(find(&c, &err), err, "GCE_METADATA_HOST");
    unsetenv("GCE_METADATA_HOST");
}

int main(void)
{
    struct hl_error err;
    scratch_open();
    CHECK_OK(hl_http_open(&(struct hl_http_options){0}, &http, &err), err);
    make_key();
    server.handle = handle;
    server_start(&server);
    test_hosts();
    test_service_account();
    test_bad_files();
    test_other_keys();
    test_user();
    test_metadata();
    server_stop(&server);
    hl_http_close(http);
    EVP_PKEY_free(fake.key);
    scratch_close();
    return check_summary();
}
