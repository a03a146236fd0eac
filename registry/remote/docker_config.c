/* config.json and auth.json, of which three members matter:
 *
 *   {
 *     "auths":       {KEY: {"auth": base64("USER:PASSWORD"), "identitytoken": ..., "registrytoken": ...}},
 *     "credHelpers": {HOST: NAME},
 *     "credsStore":  NAME
 *   }
 *
 * KEY is a name that some program once gave the registry. It is a host, or a URL of version 1 or 2 of Docker's protocol
 * (Docker Hub is "https://index.docker.io/v1/" to this day). In podman's files it may be a host and the first parts of
 * a repository. So keys are not looked up but compared one by one, and the most exact one counts.
 */
#include "registry/remote/docker_config.h"
#include "base/json.h"
#include "base/sizes.h"
#include <strings.h>

#define HUB_SERVER "https://index.docker.io/v1/"

static bool is_hub(const char *host, size_t n)
{
    static const char *const names[] = {"docker.io", "index.docker.io", "registry-1.docker.io"};
    for (size_t i = 0; i < HL_COUNT(names); i++)
        if (strlen(names[i]) == n && !strncasecmp(names[i], host, n))
            return true;
    return false;
}

static bool same_host(const char *a, size_t n, const char *b)
{
    return (n == strlen(b) && !strncasecmp(a, b, n)) || (is_hub(a, n) && is_hub(b, strlen(b)));
}

/* Returns whether the path of n bytes is the whole repository, or a part of it that ends before a slash. */
static bool holds(const char *path, size_t n, const char *repository)
{
    return repository && !strncmp(path, repository, n) && (!repository[n] || repository[n] == '/');
}

/* Returns how exactly a key of the file names this registry; 0: not at all. */
static size_t match(const char *key, const char *host, const char *repository)
{
    bool url = true;
    const char *name = key;
    if (!strncasecmp(key, "https://", 8))
        name += 8;
    else if (!strncasecmp(key, "http://", 7))
        name += 7;
    else
        url = false;
    size_t n = strcspn(name, "/");
    if (!same_host(name, n, host))
        return 0;
    const char *path = name + n + (name[n] == '/');
    size_t length = strlen(path);
    if (!name[n] && !url)
        return 2;
    if (url || !length || !strcmp(path, "v1/") || !strcmp(path, "v2/"))
        return 1;
    length -= path[length - 1] == '/';
    return holds(path, length, repository) ? 2 + length : 0;
}

static const cJSON *best_match(const cJSON *object, const char *host, const char *repository)
{
    const cJSON *item, *best = NULL;
    size_t exact = 0;
    cJSON_ArrayForEach(item, object)
    {
        size_t this = match(item->string, host, repository);
        if (this > exact) {
            exact = this;
            best = item;
        }
    }
    return best;
}

/* Returns whether the name may become a part of a program's name. */
static bool helper_valid(const char *name)
{
    size_t n = strlen(name);
    return n && n < HL_HELPER_NAME_BYTES && name[0] != '.' &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

static int read_helper(const cJSON *json, const char *name, const char *host, struct hl_docker_config *out,
                       struct hl_error *err)
{
    const cJSON *helpers = hl_json_get(json, "credHelpers"), *store = hl_json_get(json, "credsStore");
    if (helpers && !cJSON_IsObject(helpers))
        return hl_fail(err, "%s: \"credHelpers\" is not an object", name);
    const cJSON *own = best_match(helpers, host, NULL), *chosen = own ? own : store;
    if (!chosen)
        return 0;
    const char *helper = cJSON_GetStringValue(chosen), *member = own ? "credHelpers" : "credsStore";
    if (helper && !*helper)
        return 0; /* in Docker's files this means that the file itself holds the host's credentials */
    if (!helper || !helper_valid(helper))
        return hl_fail(
            err,
            "%s: \"%s\" names no program for %s; it should be the NAME of a docker-credential-NAME: letters, "
            "digits, '.', '_' and '-'",
            name, member, host);
    memcpy(out->helper, helper, strlen(helper) + 1);
    out->store = !own;
    snprintf(out->server, sizeof out->server, "%s", is_hub(host, strlen(host)) ? HUB_SERVER : host);
    return 0;
}

/* Reads a member's text; *out stays NULL if it is absent or empty. */
static int read_text(const cJSON *entry, const char *member, const char **out)
{
    const cJSON *item = hl_json_get(entry, member);
    if (item && !cJSON_IsString(item))
        return -1;
    *out = item && *item->valuestring ? item->valuestring : NULL;
    return 0;
}

/* Stores user and secret. The user "<token>" marks the secret as an identity token. */
static int take_user(const char *user, size_t n, const char *secret, struct hl_credentials *out, struct hl_error *err)
{
    if (n == 7 && !memcmp(user, "<token>", 7)) {
        out->identity_token = hl_secret_copy(secret, err);
        return out->identity_token ? 0 : -1;
    }
    out->user = strndup(user, n);
    out->secret = hl_secret_copy(secret, err);
    return out->user && out->secret ? 0 : hl_no_memory(err);
}

static int read_entry(const cJSON *entry, const char *name, const char *host, struct hl_credentials *out,
                      struct hl_error *err)
{
    const char *bearer = NULL, *identity = NULL, *auth = NULL, *user = NULL, *password = NULL;
    if (!cJSON_IsObject(entry) || read_text(entry, "registrytoken", &bearer) < 0 ||
        read_text(entry, "identitytoken", &identity) < 0 || read_text(entry, "auth", &auth) < 0 ||
        read_text(entry, "username", &user) < 0 || read_text(entry, "password", &password) < 0)
        return hl_fail(err,
                       "%s: the entry of \"auths\" for %s is not an object of texts; 'docker login' writes a good one",
                       name, host);
    if (bearer)
        return (out->bearer = hl_secret_copy(bearer, err)) ? 0 : -1;
    if (identity)
        return (out->identity_token = hl_secret_copy(identity, err)) ? 0 : -1;
    if (auth) {
        HL_SECRET char *both = hl_secret_from_base64(auth);
        const char *colon = both ? strchr(both, ':') : NULL;
        if (!colon)
            return hl_fail(err,
                           "%s: the \"auth\" of %s is not USER:PASSWORD in base64; 'docker login' writes a good one",
                           name, host);
        return colon == both && !colon[1] ? 0 : take_user(both, (size_t)(colon - both), colon + 1, out, err);
    }
    return user ? take_user(user, strlen(user), password ? password : "", out, err) : 0;
}

int hl_docker_config_read(const char *text, const char *name, const char *host, const char *repository,
                          struct hl_docker_config *out, struct hl_error *err)
{
    *out = (struct hl_docker_config){0};
    if (!text[strspn(text, " \t\r\n")])
        return 0; /* Docker accepts an empty file */
    HL_SECRET_JSON cJSON *json = NULL;
    struct hl_view view = {(const uint8_t *)text, strlen(text)};
    if (hl_json_parse(view, name, &json, err) < 0)
        return -1;
    const cJSON *auths = hl_json_get(json, "auths");
    if (auths && !cJSON_IsObject(auths))
        return hl_fail(err, "%s: \"auths\" is not an object", name);
    if (read_helper(json, name, host, out, err) < 0)
        return -1;
    const cJSON *entry = best_match(auths, host, repository);
    return entry && !cJSON_IsNull(entry) ? read_entry(entry, name, host, &out->credentials, err) : 0;
}
