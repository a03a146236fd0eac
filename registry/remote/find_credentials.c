/* Searches for credentials in one file after another. The first file with some for this registry wins, even if they
 * turn out to be wrong. Trying all of them in turn would send every secret to the registry, and explain no failure.
 */
#include "registry/remote/find_credentials.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "registry/net/google.h"
#include "registry/oci/document.h"
#include "registry/remote/docker_config.h"
#include "registry/remote/helper.h"
#include <limits.h>
#include <stdlib.h>

/* Reads one of the files; `out` stays anonymous if the file has nothing for this registry. */
static int look_into(const char *path, const char *host, const char *repository, struct hl_credentials *out,
                     struct hl_error *err)
{
    char name[128];
    HL_SECRET char *text = NULL;
    struct hl_docker_config config;
    if (hl_secret_read(path, hl_text_path(name, sizeof name, path), true, &text, err) < 0)
        return -1;
    if (!text)
        return 0;
    if (hl_docker_config_read(text, name, host, repository, &config, err) < 0) {
        hl_credentials_free(&config.credentials);
        return -1;
    }
    const char *member = config.store ? "credsStore" : "credHelpers";
    if (*config.helper && hl_helper_get(config.helper, config.server, HL_HELPER_SECONDS, out, err) < 0) {
        hl_credentials_free(&config.credentials);
        return hl_error_prefix(err, "%s in %s", member, name);
    }
    if (*config.helper && !hl_credentials_anonymous(out)) {
        hl_credentials_free(&config.credentials);
        snprintf(out->where, sizeof out->where, "%s in %s", member, name);
        return 0;
    }
    *out = config.credentials;
    if (!hl_credentials_anonymous(out))
        snprintf(out->where, sizeof out->where, "auths in %s", name);
    return 0;
}

/* Joins the variable's value and `rest`; false if the variable is not set, or the path is too long. */
static bool join(char path[PATH_MAX], const char *variable, const char *rest)
{
    const char *value = getenv(variable);
    int n = value && *value ? snprintf(path, PATH_MAX, "%s%s", value, rest) : 0;
    return n > 0 && n < PATH_MAX;
}

#define FILES 4u

/* Makes the path of file number `file`; false if the variable for it is not set. */
static bool path_of(unsigned file, char path[PATH_MAX])
{
    switch (file) {
    case 0:
        return join(path, "REGISTRY_AUTH_FILE", "");
    case 1:
        return join(path, "DOCKER_CONFIG", "/config.json") || join(path, "HOME", "/.docker/config.json");
    case 2:
        return join(path, "XDG_RUNTIME_DIR", "/containers/auth.json") ||
               snprintf(path, PATH_MAX, "/run/containers/%u/auth.json", (unsigned)getuid()) > 0;
    default:
        return join(path, "XDG_CONFIG_HOME", "/containers/auth.json") ||
               join(path, "HOME", "/.config/containers/auth.json");
    }
}

int hl_credentials_find(const char *host, const char *repository, struct hl_http *http, struct hl_credentials *out,
                        struct hl_error *err)
{
    char path[PATH_MAX];
    *out = (struct hl_credentials){0};
    for (unsigned file = 0; file < FILES; file++) {
        if (path_of(file, path) && look_into(path, host, repository, out, err) < 0)
            return -1;
        if (!hl_credentials_anonymous(out))
            return 0;
    }
    return hl_google_host(host) ? hl_google_find(host, http, out, err) : 0;
}
