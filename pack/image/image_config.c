/* Our image's config is the base's with our changes. So members that this file does not know pass through: a variant, a
 * health check, members of later specifications.
 *
 *   {architecture, os, ..., config: {Env, User, Entrypoint, ...}, rootfs: {diff_ids}, history}
 *
 * Most programs that read it are written in Go. Go's JSON reads "entrypoint" or "ENTRYPOINT" as "Entrypoint" and takes
 * the last of equal members. So before a member is set, all spellings of it are removed. Labels and the like are data:
 * there, case counts.
 *
 * The builders return false if memory ran out; what they built so far is attached to the root, which is freed.
 */
#include "pack/image/image_config.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/sizes.h"
#include <strings.h>

enum setting_kind {
    OURS,      /* replaces the base's */
    BASES,     /* the base's stays */
    PREPENDED, /* a list of folders: ours, then the base's */
};

/* The NVIDIA variables are read by the host's container toolkit; LD_LIBRARY_PATH names the folder where Cloud Run
 * mounts the driver. OLLAMA_HOST makes the server reachable under a plain "docker run -p"; PORT overrides it where it
 * is set. The entry point is an absolute path, so PATH serves people alone, and a base knows best where its programs
 * are. */
static const struct setting {
    const char *name, *value;
    enum setting_kind kind;
} settings[] = {
    {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", BASES},
    {"LD_LIBRARY_PATH", "/usr/local/nvidia/lib64:/usr/local/nvidia/lib", PREPENDED},
    {"NVIDIA_VISIBLE_DEVICES", "all", OURS},
    {"NVIDIA_DRIVER_CAPABILITIES", "compute,utility", OURS},
    {"OLLAMA_HOST", "0.0.0.0:8080", OURS},
};

#define N_SETTINGS (HL_COUNT(settings))

/* Removes a member in all spellings. */
static void drop(cJSON *object, const char *key)
{
    for (cJSON *item = object ? object->child : NULL, *next; item; item = next) {
        next = item->next;
        if (!strcasecmp(item->string, key))
            cJSON_Delete(cJSON_DetachItemViaPointer(object, item));
    }
}

/* Makes `item`, which it takes over, the only member with this name. */
static bool put(cJSON *object, const char *key, cJSON *item)
{
    if (!item)
        return false;
    drop(object, key);
    if (cJSON_AddItemToObject(object, key, item))
        return true;
    cJSON_Delete(item);
    return false;
}

static bool put_text(cJSON *object, const char *key, const char *text)
{
    return put(object, key, cJSON_CreateString(text));
}

/* Sets an entry of a map. Its keys are data, so only this very spelling is replaced. */
static bool put_entry(cJSON *map, const char *key, cJSON *item)
{
    cJSON_DeleteItemFromObjectCaseSensitive(map, key);
    if (item && cJSON_AddItemToObject(map, key, item))
        return true;
    cJSON_Delete(item);
    return false;
}

/* Detaches and returns a member; NULL if it is absent or null. */
static cJSON *take(cJSON *object, const char *key)
{
    cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(object, key);
    if (!cJSON_IsNull(item))
        return item;
    cJSON_Delete(item);
    return NULL;
}

static int malformed(const char *what, struct hl_error *err)
{
    return hl_fail(err, "its config is damaged: %s", what);
}

/* Returns whether `list` is an object or an array of strings alone, or NULL. */
static bool all_texts(const cJSON *list, bool object)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsString(item))
            return false;
    }
    return !list || (object ? cJSON_IsObject(list) : cJSON_IsArray(list));
}

static bool all_objects(const cJSON *list)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsObject(item))
            return false;
    }
    return !list || cJSON_IsArray(list);
}

/* Fails if a member that is changed below does not have the specified type. */
static int check_members(const cJSON *root, struct hl_error *err)
{
    const cJSON *config = hl_json_get(root, "config");
    const cJSON *user = hl_json_get(config, "User"), *folder = hl_json_get(config, "WorkingDir");
    const cJSON *ports = hl_json_get(config, "ExposedPorts");
    if (config && !cJSON_IsObject(config))
        return malformed("\"config\" is not an object", err);
    if (!all_texts(hl_json_get(config, "Env"), false))
        return malformed("\"Env\" is not a list of strings", err);
    if (!all_texts(hl_json_get(config, "Labels"), true))
        return malformed("\"Labels\" is not an object of strings", err);
    if (ports && !cJSON_IsObject(ports))
        return malformed("\"ExposedPorts\" is not an object", err);
    if ((user && !cJSON_IsString(user)) || (folder && !cJSON_IsString(folder)))
        return malformed("\"User\" or \"WorkingDir\" is not a string", err);
    if (!all_objects(hl_json_get(root, "history")))
        return malformed("\"history\" is not a list of objects", err);
    return 0;
}

/* Returns the setting that an entry of Env names; NULL: not one of ours. */
static const struct setting *find_setting(const char *entry)
{
    size_t length = strcspn(entry, "=");
    for (size_t i = 0; i < N_SETTINGS; i++)
        if (strlen(settings[i].name) == length && !strncmp(settings[i].name, entry, length))
            return &settings[i];
    return NULL;
}

/* Adds NAME=VALUE, combined with the base's entry (or NULL) as the setting's kind says. */
static bool add_setting(cJSON *environment, const struct setting *setting, const char *base)
{
    HL_FREE char *text = NULL;
    const char *value = base && base[strcspn(base, "=")] ? strchr(base, '=') + 1 : "";
    size_t length = strlen(setting->value);
    bool has_ours = !strncmp(value, setting->value, length) && (!value[length] || value[length] == ':');
    if (base && (setting->kind == BASES || (setting->kind == PREPENDED && has_ours)))
        return cJSON_AddItemToArray(environment, cJSON_CreateString(base));
    bool follows = setting->kind == PREPENDED && *value;
    if (asprintf(&text, "%s=%s%s%s", setting->name, setting->value, follows ? ":" : "", follows ? value : "") < 0) {
        text = NULL;
        return false;
    }
    return cJSON_AddItemToArray(environment, cJSON_CreateString(text));
}

/* Sets Env: the base's entries in their order, then those of ours that the base lacks. */
static bool put_environment(cJSON *config)
{
    HL_JSON cJSON *base = take(config, "Env");
    cJSON *environment = cJSON_CreateArray();
    const cJSON *entry;
    bool placed[N_SETTINGS] = {false};
    if (!put(config, "Env", environment))
        return false;
    cJSON_ArrayForEach(entry, base)
    {
        const struct setting *setting = find_setting(entry->valuestring);
        if (!setting && !cJSON_AddItemToArray(environment, cJSON_CreateString(entry->valuestring)))
            return false;
        if (!setting || placed[setting - settings]) /* of equal names the first counts */
            continue;
        placed[setting - settings] = true;
        if (!add_setting(environment, setting, entry->valuestring))
            return false;
    }
    for (size_t i = 0; i < N_SETTINGS; i++)
        if (!placed[i] && !add_setting(environment, &settings[i], NULL))
            return false;
    return true;
}

/* Returns whether a user is a number from 1 up, with or without a numeric group. A name could belong to any user, also
 * to root: /etc/passwd lies in a layer. */
static bool is_plain_user(const char *user)
{
    size_t digits = strspn(user, "0123456789"), group = user[digits] ? strspn(user + digits + 1, "0123456789") : 0;
    if (!digits || digits > 9 || strspn(user, "0") == digits)
        return false;
    return !user[digits] || (user[digits] == ':' && group && group <= 9 && !user[digits + 1 + group]);
}

static bool put_process(cJSON *config)
{
    static const char *const entrypoint[] = {"/usr/bin/hotlayerd", "serve"};
    cJSON *ports = take(config, "ExposedPorts");
    HL_JSON cJSON *user = take(config, "User");
    HL_JSON cJSON *folder = take(config, "WorkingDir");
    if (!put(config, "ExposedPorts", ports ? ports : cJSON_CreateObject()))
        return false;
    ports = cJSON_GetObjectItemCaseSensitive(config, "ExposedPorts");
    const char *base_user = user ? user->valuestring : "", *base_folder = folder ? folder->valuestring : "";
    drop(config, "Cmd");
    return put_entry(ports, "8080/tcp", cJSON_CreateObject()) &&
           put_text(config, "User", is_plain_user(base_user) ? base_user : HL_CONFIG_USER) && put_environment(config) &&
           put(config, "Entrypoint", cJSON_CreateStringArray(entrypoint, 2)) &&
           put_text(config, "WorkingDir", *base_folder ? base_folder : "/") &&
           put_text(config, "StopSignal", "SIGTERM");
}

static bool put_labels(cJSON *config, const struct hl_config_spec *spec)
{
    cJSON *labels = take(config, "Labels");
    if (!put(config, "Labels", labels ? labels : cJSON_CreateObject()))
        return false;
    labels = cJSON_GetObjectItemCaseSensitive(config, "Labels");
    for (size_t i = 0; i < spec->n_labels; i++)
        if (spec->label[i].value && *spec->label[i].value &&
            !put_entry(labels, spec->label[i].key, cJSON_CreateString(spec->label[i].value)))
            return false;
    return true;
}

static bool put_config(cJSON *root, const struct hl_config_spec *spec)
{
    cJSON *config = take(root, "config");
    if (!put(root, "config", config ? config : cJSON_CreateObject()))
        return false;
    config = cJSON_GetObjectItemCaseSensitive(root, "config");
    drop(config, "OnBuild"); /* instructions for the next build, and this is it */
    return (!spec->process || put_process(config)) && put_labels(config, spec);
}

static bool put_rootfs(cJSON *root, const struct hl_config_spec *spec)
{
    cJSON *rootfs = cJSON_CreateObject();
    if (!put(root, "rootfs", rootfs) || !cJSON_AddStringToObject(rootfs, "type", "layers"))
        return false;
    cJSON *diff_ids = cJSON_AddArrayToObject(rootfs, "diff_ids");
    for (size_t i = 0; spec->base && i < spec->base->n_layers; i++)
        if (!cJSON_AddItemToArray(diff_ids, cJSON_CreateString(spec->base->layer[i].diff_id)))
            return false;
    for (size_t i = 0; i < spec->n_layers; i++)
        if (!cJSON_AddItemToArray(diff_ids, cJSON_CreateString(spec->layer[i].diff_id)))
            return false;
    return true;
}

static bool add_history(cJSON *history, const char *created, const char *what, const char *comment)
{
    cJSON *entry = cJSON_CreateObject();
    return cJSON_AddItemToArray(history, entry) && (!*created || cJSON_AddStringToObject(entry, "created", created)) &&
           cJSON_AddStringToObject(entry, "created_by", what) &&
           (!comment || cJSON_AddStringToObject(entry, "comment", comment));
}

/* Adds our history. Either every layer has an entry or no layer has one; otherwise readers count wrong. */
static bool put_history(cJSON *root, const struct hl_config_spec *spec)
{
    cJSON *history = take(root, "history");
    bool has_history = history != NULL;
    if (!put(root, "history", history ? history : cJSON_CreateArray()))
        return false;
    history = cJSON_GetObjectItemCaseSensitive(root, "history");
    for (size_t i = 0; !has_history && spec->base && i < spec->base->n_layers; i++) {
        char what[64];
        snprintf(what, sizeof what, "layer %zu of %zu of the base", i + 1, spec->base->n_layers);
        if (!add_history(history, "", what, NULL))
            return false;
    }
    for (size_t i = 0; i < spec->n_layers; i++)
        if (!add_history(history, spec->created, spec->layer[i].what, spec->layer[i].comment))
            return false;
    return true;
}

static bool build(cJSON *root, const struct hl_config_spec *spec)
{
    drop(root, "created");
    return (!*spec->created || put_text(root, "created", spec->created)) && put_text(root, "architecture", "amd64") &&
           put_text(root, "os", "linux") && put_config(root, spec) && put_rootfs(root, spec) && put_history(root, spec);
}

static int read_base(const struct hl_image *base, cJSON **out, struct hl_error *err)
{
    struct hl_view text = {(const uint8_t *)base->config_text, base->config_bytes};
    return hl_json_parse(text, base->config.digest, out, err) || check_members(*out, err) ? -1 : 0;
}

int hl_image_config_check(const struct hl_image *base, struct hl_error *err)
{
    HL_JSON cJSON *root = NULL;
    return read_base(base, &root, err);
}

int hl_image_config_make(const struct hl_config_spec *spec, cJSON **out, struct hl_error *err)
{
    *out = NULL;
    HL_JSON cJSON *root = NULL;
    if (spec->base && read_base(spec->base, &root, err))
        return -1;
    if (!spec->base)
        root = cJSON_CreateObject();
    if (!root || !build(root, spec))
        return hl_no_memory(err);
    *out = root;
    root = NULL;
    return 0;
}
