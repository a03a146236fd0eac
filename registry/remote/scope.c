/* Scopes are sets of pairs of a resource and an action. A resource's name may hold colons (a host with its port), so
 * the actions begin after the last one. Lists have only a few entries and are searched linearly.
 */
#include "registry/remote/scope.h"
#include <string.h>

struct scope {
    const char *resource; /* "repository:NAME" */
    size_t resource_bytes;
    const char *actions; /* "pull,push" */
    size_t actions_bytes;
};

const char *hl_scope_next(const char **at, size_t *n)
{
    const char *text = *at + strspn(*at, " ");
    *n = strcspn(text, " ");
    *at = text + *n;
    return *n ? text : NULL;
}

static bool next_scope(const char **at, struct scope *out)
{
    size_t n;
    const char *text = hl_scope_next(at, &n), *colon = text ? memrchr(text, ':', n) : NULL;
    if (!text)
        return false;
    out->resource = text;
    out->resource_bytes = colon ? (size_t)(colon - text) : n;
    out->actions = colon ? colon + 1 : text + n;
    out->actions_bytes = (size_t)(text + n - out->actions);
    return true;
}

static bool next_action(const struct scope *scope, size_t *at, const char **action, size_t *n)
{
    while (*at < scope->actions_bytes && scope->actions[*at] == ',')
        ++*at;
    *action = scope->actions + *at;
    for (*n = 0; *at < scope->actions_bytes && scope->actions[*at] != ','; ++*at)
        ++*n;
    return *n > 0;
}

static bool same_resource(const struct scope *a, const struct scope *b)
{
    return a->resource_bytes == b->resource_bytes && !memcmp(a->resource, b->resource, a->resource_bytes);
}

static bool allows(const struct scope *scope, const char *action, size_t n)
{
    const char *own;
    size_t m, at = 0;
    while (next_action(scope, &at, &own, &m))
        if (m == n && !memcmp(own, action, n))
            return true;
    return false;
}

/* Returns whether any scope of the list allows this action on the resource of `wanted`. */
static bool list_allows(const char *list, const struct scope *wanted, const char *action, size_t n)
{
    struct scope scope;
    while (next_scope(&list, &scope))
        if (same_resource(&scope, wanted) && allows(&scope, action, n))
            return true;
    return false;
}

static bool list_names(const char *list, const struct scope *wanted)
{
    struct scope scope;
    while (next_scope(&list, &scope))
        if (same_resource(&scope, wanted))
            return true;
    return false;
}

bool hl_scope_covers(const char *have, const char *want)
{
    struct scope wanted;
    while (next_scope(&want, &wanted)) {
        const char *action;
        size_t n, at = 0;
        if (!list_names(have, &wanted))
            return false;
        while (next_action(&wanted, &at, &action, &n))
            if (!list_allows(have, &wanted, action, n))
                return false;
    }
    return true;
}

/* Appends those actions of `scope` that `list` does not allow (NULL: all). *any: some were appended before. */
static void add_actions(struct hl_secret_text *out, const struct scope *scope, const char *list, bool *any)
{
    const char *action;
    size_t n, at = 0;
    while (next_action(scope, &at, &action, &n)) {
        if (list && list_allows(list, scope, action, n))
            continue;
        hl_secret_add(out, *any ? "," : ":");
        hl_secret_add_bytes(out, action, n);
        *any = true;
    }
}

static void add_resource(struct hl_secret_text *out, const struct scope *scope)
{
    if (out->size)
        hl_secret_add(out, " ");
    hl_secret_add_bytes(out, scope->resource, scope->resource_bytes);
}

int hl_scope_join(const char *first, const char *second, char **out, struct hl_error *err)
{
    HL_SECRET_TEXT all = {0};
    struct scope scope, more;
    for (const char *at = first; next_scope(&at, &scope);) {
        bool any = false;
        add_resource(&all, &scope);
        add_actions(&all, &scope, NULL, &any);
        for (const char *rest = second; next_scope(&rest, &more);)
            if (same_resource(&scope, &more))
                add_actions(&all, &more, first, &any);
    }
    for (const char *at = second; next_scope(&at, &scope);) {
        bool any = false;
        if (list_names(first, &scope))
            continue;
        add_resource(&all, &scope);
        add_actions(&all, &scope, NULL, &any);
    }
    return hl_secret_take(&all, out, err);
}
