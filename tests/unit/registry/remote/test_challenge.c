/* registry/remote/challenge.c: challenges that registries send, those that the grammar allows, and malformed ones. */
#include "base/sizes.h"
#include "registry/remote/challenge.h"
#include "tests/unit/check.h"

static void expect(const char *value, int scheme, const char *realm, const char *service, const char *scope)
{
    struct hl_challenge c;
    bool good = hl_challenge_parse(value, &c);
    CHECK_SAY(good == (scheme != HL_CHALLENGE_NONE) && (int)c.scheme == scheme, "%s: scheme %d", value, c.scheme);
    if (good)
        CHECK_SAY(!strcmp(c.realm, realm) && !strcmp(c.service, service) && !strcmp(c.scope, scope),
                  "%s: '%s' '%s' '%s'", value, c.realm, c.service, c.scope);
}

static void test_registries(void)
{
    expect("Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull\"",
           HL_CHALLENGE_BEARER, "https://auth.docker.io/token", "registry.docker.io", "repository:a/b:pull");
    expect("Bearer realm=\"https://eu-docker.pkg.dev/v2/token\",service=\"eu-docker.pkg.dev\"", HL_CHALLENGE_BEARER,
           "https://eu-docker.pkg.dev/v2/token", "eu-docker.pkg.dev", "");
    expect("Basic realm=\"Registry Realm\"", HL_CHALLENGE_BASIC, "Registry Realm", "", "");
    expect("Basic", HL_CHALLENGE_BASIC, "", "", "");
    expect("Bearer realm=\"https://r/t\",service=\"s\",scope=\"repository:a:pull,push repository:b:pull\"",
           HL_CHALLENGE_BEARER, "https://r/t", "s", "repository:a:pull,push repository:b:pull");
}

static void test_several(void)
{
    expect("Basic realm=\"a, b\", Bearer realm=\"https://r/t\", service=s", HL_CHALLENGE_BEARER, "https://r/t", "s",
           "");
    expect("Bearer realm=\"https://r/t\", Basic realm=\"x\"", HL_CHALLENGE_BEARER, "https://r/t", "", "");
    expect("Bearer realm=\"https://first/\", Bearer realm=\"https://second/\"", HL_CHALLENGE_BEARER, "https://first/",
           "", "");
    expect("Negotiate, Basic realm=x", HL_CHALLENGE_BASIC, "x", "", "");
    expect("Negotiate YII+/abc==, Basic realm=x", HL_CHALLENGE_BASIC, "x", "", "");
    expect("NTLM abc=,Bearer realm=\"https://r/\"", HL_CHALLENGE_BEARER, "https://r/", "", "");
    expect("Digest realm=\"Bearer realm=\\\"https://evil/\\\"\", nonce=\"n\", qop=\"auth\"", HL_CHALLENGE_NONE, "", "",
           "");
    expect("Digest realm=d, nonce=\"a,b\", Basic realm=x, Mutual a=b", HL_CHALLENGE_BASIC, "x", "", "");
    expect("Bearer error=\"invalid_token\", Basic realm=x", HL_CHALLENGE_BASIC, "x", "", "");
}

static void test_grammar(void)
{
    struct hl_challenge c;
    expect("bEARER REALM = \"https://r/\\a\\\"\\\\,\" ,\tSeRvIcE\t=\ts", HL_CHALLENGE_BEARER, "https://r/a\"\\,", "s",
           "");
    expect(" , ,Bearer  realm=https://r/t?a=b,,service=s, ,", HL_CHALLENGE_BEARER, "https://r/t?a=b", "s", "");
    expect("Bearer realm=\"https://r/\",realm=\"https://other/\"", HL_CHALLENGE_BEARER, "https://r/", "", "");
    expect("Bearer realm=\"https://r/\",unknown=\"x, Bearer realm=y\"", HL_CHALLENGE_BEARER, "https://r/", "", "");
    CHECK(hl_challenge_parse("Bearer realm=r, error=\"insufficient_scope\", error_description=\"no\"", &c) &&
          !strcmp(c.error, "insufficient_scope"));
}

static void test_bad(void)
{
    static const char *const bad[] = {
        "",
        ",, ,",
        "=",
        "\"Bearer\"",
        "Bearer",
        "Bearer realm=",
        "Bearer realm=\"\"",
        "Bearer realm=\"https://r/",
        "Bearer realm=\"https://r/\\",
        "Bearer realm=\"https://r/\\\"",
        "Bearer realm=\"https://r/\" service=\"s\"",
        "Bearer realm=\"https://r/\"x",
        "Bearer realm=\"https://r/\", =x",
        "Bearer realm=\"https://r/\", service=\"s",
        "Bearer realm=\"https://r/\", scope=\"a\nb\"",
        "Bearer realm=\"https://r/\x1b[2J\"",
        "Bearer realm=https://r/\x7f",
        "Bearer realm=a\"b\"",
        "Bearer one two",
        "Bearer@ realm=r",
        "Basic realm=x y=z",
        "Unknown a=b",
    };
    for (size_t i = 0; i < HL_COUNT(bad); i++)
        expect(bad[i], HL_CHALLENGE_NONE, "", "", "");
}

/* Accepts a field that is full except for its NUL, and refuses one byte more; the fields of other schemes do not
 * matter. */
static void test_lengths(void)
{
    struct hl_challenge c;
    char value[8192], long_text[sizeof c.realm + 1];
    memset(long_text, 'a', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    snprintf(value, sizeof value, "Bearer realm=\"%s\"", long_text + 1);
    CHECK(hl_challenge_parse(value, &c) && strlen(c.realm) == sizeof c.realm - 1);
    snprintf(value, sizeof value, "Bearer realm=\"%s\"", long_text);
    CHECK(!hl_challenge_parse(value, &c) && c.scheme == HL_CHALLENGE_NONE);
    snprintf(value, sizeof value, "Bearer realm=r, scope=\"%s\"", long_text);
    CHECK(!hl_challenge_parse(value, &c));
    snprintf(value, sizeof value, "Digest realm=\"%s\", Basic realm=x, Basic realm=\"%s\"", long_text, long_text);
    CHECK(hl_challenge_parse(value, &c) && c.scheme == HL_CHALLENGE_BASIC && !strcmp(c.realm, "x"));
    snprintf(value, sizeof value, "Bearer realm=r, %s=x, realm%s=y", long_text, long_text);
    CHECK(hl_challenge_parse(value, &c) && !strcmp(c.realm, "r"));
    memset(value, ' ', sizeof value - 1);
    value[sizeof value - 1] = 0;
    CHECK(!hl_challenge_parse(value, &c));
}

int main(void)
{
    test_registries();
    test_several();
    test_grammar();
    test_bad();
    test_lengths();
    return check_summary();
}
