/* A pull does not harm other files on the disk. It writes into a folder that was empty or belongs to an earlier pull.
 * It follows no link in it and uses only names of a model's files.
 *
 * A file gets its name when it is complete, so it is present if its size is right. The head gets its name last, so an
 * interrupted pull leaves shards that nothing takes for a model.
 */
#include "pack/image/pull_folder.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "pack/meta.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#define HIDDEN ".hotlayer"
#define STATE "pulled.json"
#define FILES_MOST 4096

const char *hl_pull_folder_path(const struct hl_pull_folder *folder, const struct hl_pull_file *file,
                                char out[HL_PULL_PATH_BYTES])
{
    snprintf(out, HL_PULL_PATH_BYTES, "%s%s%s", folder->several ? file->model : "", folder->several ? "/" : "",
             file->name);
    return out;
}

/* Opens the folder of a file, created if `make`, through no link. Returns the descriptor, or -1 with errno. */
static int open_place(const struct hl_pull_folder *folder, const struct hl_pull_file *file, bool make)
{
    const char *name = folder->several ? file->model : ".";
    if (folder->several && make && mkdirat(folder->root, name, 0755) && errno != EEXIST)
        return -1;
    return openat(folder->root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static bool is_present(const struct hl_pull_folder *folder, const struct hl_pull_file *file)
{
    struct stat status;
    HL_CLOSE int place = open_place(folder, file, false);
    return place >= 0 && !fstatat(place, file->name, &status, AT_SYMLINK_NOFOLLOW) && S_ISREG(status.st_mode) &&
           (uint64_t)status.st_size == file->bytes;
}

bool hl_pull_folder_complete(struct hl_pull_folder *folder)
{
    bool all = folder->n > 0;
    for (size_t i = 0; i < folder->n; i++)
        all &= folder->file[i].present = is_present(folder, &folder->file[i]);
    return all;
}

static int read_file(const cJSON *json, struct hl_pull_file *out, struct hl_error *err)
{
    const char *model = hl_json_text(json, "model"), *name = hl_json_text(json, "name"),
               *layer = hl_json_text(json, "layer");
    if (!model || !name || !layer || hl_meta_check_name(model, err) || hl_meta_check_name(name, err) ||
        !hl_digest_valid(layer) || !hl_json_count(hl_json_get(json, "bytes"), HL_BLOB_LIMIT, &out->bytes))
        return -1;
    memcpy(out->model, model, strlen(model) + 1);
    memcpy(out->name, name, strlen(name) + 1);
    memcpy(out->layer, layer, HL_DIGEST_BYTES);
    out->head = hl_json_true(json, "head");
    return 0;
}

static int read_state(struct hl_pull_folder *folder, struct hl_error *err)
{
    char path[PATH_MAX];
    HL_JSON cJSON *json = NULL;
    const cJSON *item;
    if (snprintf(path, sizeof path, "%s/" HIDDEN, folder->path) >= (int)sizeof path)
        return hl_fail(err, "%s: the path is too long", folder->path);
    if (hl_json_read(path, STATE, true, &json, err))
        return -1;
    if (!json)
        return 0;
    const cJSON *files = hl_json_get(json, "files");
    const char *digest = hl_json_text(json, "manifest");
    int n = cJSON_GetArraySize(files);
    folder->several = hl_json_true(json, "several");
    folder->file = n > 0 && n <= FILES_MOST ? calloc((size_t)n, sizeof *folder->file) : NULL;
    if (!folder->file || !digest || !hl_digest_valid(digest))
        return hl_fail(err, "%s/" STATE " was not written by a pull; remove the folder", path);
    memcpy(folder->digest, digest, HL_DIGEST_BYTES);
    cJSON_ArrayForEach(item, files)
    {
        if (read_file(item, &folder->file[folder->n], err))
            return hl_fail(err, "%s/" STATE " was not written by a pull; remove the folder", path);
        folder->n++;
    }
    return 0;
}

static bool is_known(const struct hl_pull_folder *folder, const char *model, const char *name)
{
    bool hidden = hl_text_begins(name, HIDDEN); /* also temporary files of a pull that was killed */
    if (!strcmp(name, ".") || !strcmp(name, "..") || hidden)
        return true;
    for (size_t i = 0; folder->file && i < folder->n; i++) {
        const struct hl_pull_file *file = &folder->file[i];
        if (model ? !strcmp(file->model, model) && !strcmp(file->name, name)
                  : !strcmp(folder->several ? file->model : file->name, name))
            return true;
    }
    return false;
}

/* Fails if the folder (of a model, or NULL) contains a file that no pull put there. */
static int check_contents(const struct hl_pull_folder *folder, int directory, const char *model, struct hl_error *err)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    int status = 0;
    if (!stream) {
        status = hl_fail(err, "%s: %s", folder->path, strerror(errno));
        return copy < 0 ? status : (close(copy), status);
    }
    for (struct dirent *entry; !status && (entry = readdir(stream));)
        if (!is_known(folder, model, entry->d_name))
            status = hl_fail(err,
                             "%s%s%s: the file '%.100s' is not from an earlier pull; choose another "
                             "folder with -o DIR",
                             folder->path, model ? "/" : "", model ? model : "", entry->d_name);
    closedir(stream);
    return status;
}

static int check_all_contents(const struct hl_pull_folder *folder, struct hl_error *err)
{
    if (check_contents(folder, folder->root, NULL, err))
        return -1;
    for (size_t i = 0; folder->several && folder->file && i < folder->n; i++) {
        HL_CLOSE int place = open_place(folder, &folder->file[i], false);
        if (place < 0 && errno != ENOENT)
            return hl_fail(err, "%s/%s: %s", folder->path, folder->file[i].model, strerror(errno));
        if (place >= 0 && check_contents(folder, place, folder->file[i].model, err))
            return -1;
    }
    return 0;
}

/* Returns whether the locked folder still has its name: an earlier pull may have failed and removed it. */
static bool is_current(const struct hl_pull_folder *folder)
{
    struct stat named, opened;
    return !fstatat(folder->root, HIDDEN, &named, AT_SYMLINK_NOFOLLOW) && !fstat(folder->hidden, &opened) &&
           named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
}

static int open_hidden(struct hl_pull_folder *folder, struct hl_error *err)
{
    for (;;) {
        if (mkdirat(folder->root, HIDDEN, 0755) && errno != EEXIST)
            return hl_fail(err, "%s/" HIDDEN ": %s", folder->path, strerror(errno));
        folder->hidden = openat(folder->root, HIDDEN, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (folder->hidden < 0)
            return hl_fail(err, "%s/" HIDDEN ": %s", folder->path, strerror(errno));
        while (flock(folder->hidden, LOCK_EX))
            if (errno != EINTR)
                return hl_fail(err, "%s/" HIDDEN ": cannot lock it: %s", folder->path, strerror(errno));
        if (is_current(folder))
            return 0;
        close(folder->hidden);
    }
}

int hl_pull_folder_open(const char *path, struct hl_pull_folder *out, struct hl_error *err)
{
    struct stat status;
    *out = (struct hl_pull_folder){.path = path, .root = -1, .hidden = -1};
    out->made = !mkdir(path, 0755);
    if (!out->made && errno != EEXIST)
        return hl_fail(err, "%s: cannot create the folder: %s", path, strerror(errno));
    out->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (out->root < 0)
        return hl_fail(err, "%s: %s", path, strerror(errno));
    /* Create nothing, not even the hidden folder, in a folder that is not ours. */
    if (fstatat(out->root, HIDDEN, &status, AT_SYMLINK_NOFOLLOW) && check_contents(out, out->root, NULL, err))
        return -1;
    return open_hidden(out, err) || read_state(out, err) || check_all_contents(out, err) ? -1 : 0;
}

static cJSON *make_state(const struct hl_pull_folder *folder)
{
    cJSON *root = cJSON_CreateObject(), *files = NULL;
    bool complete = cJSON_AddStringToObject(root, "manifest", folder->digest) &&
                    cJSON_AddBoolToObject(root, "several", folder->several) &&
                    (files = cJSON_AddArrayToObject(root, "files"));
    for (size_t i = 0; complete && i < folder->n; i++) {
        const struct hl_pull_file *file = &folder->file[i];
        cJSON *json = cJSON_CreateObject();
        complete = cJSON_AddItemToArray(files, json) && cJSON_AddStringToObject(json, "model", file->model) &&
                   cJSON_AddStringToObject(json, "name", file->name) &&
                   cJSON_AddNumberToObject(json, "bytes", (double)file->bytes) &&
                   cJSON_AddStringToObject(json, "layer", file->layer) &&
                   cJSON_AddBoolToObject(json, "head", file->head);
    }
    if (complete)
        return root;
    cJSON_Delete(root);
    return NULL;
}

static int write_state(const struct hl_pull_folder *folder, struct hl_error *err)
{
    HL_JSON cJSON *json = make_state(folder);
    HL_FREE char *text = json ? cJSON_Print(json) : NULL;
    if (!text)
        return hl_no_memory(err);
    return hl_temporary_save(folder->hidden, STATE, text, err)
               ? hl_error_prefix(err, "%s/" HIDDEN "/" STATE, folder->path)
               : 0;
}

/* Returns whether the new image has this file of an earlier pull unchanged. */
static bool is_kept(const struct hl_pull_folder *folder, const struct hl_pull_file *old, bool several,
                    const struct hl_pull_file *file, size_t n)
{
    for (size_t i = 0; folder->several == several && i < n; i++)
        if (!strcmp(file[i].layer, old->layer) && !strcmp(file[i].name, old->name) &&
            !strcmp(file[i].model, old->model) && file[i].bytes == old->bytes)
            return true;
    return false;
}

static int remove_old(const struct hl_pull_folder *folder, bool heads, bool several, const struct hl_pull_file *file,
                      size_t n, struct hl_error *err)
{
    for (size_t i = 0; i < folder->n; i++) {
        const struct hl_pull_file *old = &folder->file[i];
        if (old->head != heads || is_kept(folder, old, several, file, n))
            continue;
        HL_CLOSE int place = open_place(folder, old, false);
        if (place >= 0 && unlinkat(place, old->name, 0) && errno != ENOENT)
            return hl_fail(err, "%s/%s: cannot remove it: %s", folder->path, old->name, strerror(errno));
        if (folder->several)
            unlinkat(folder->root, old->model, AT_REMOVEDIR); /* if it is empty */
    }
    return 0;
}

int hl_pull_folder_plan(struct hl_pull_folder *folder, const char *digest, bool several, struct hl_pull_file *file,
                        size_t n, struct hl_error *err)
{
    if (remove_old(folder, true, several, file, n, err) || remove_old(folder, false, several, file, n, err))
        return -1;
    struct hl_pull_folder planned = *folder;
    memcpy(planned.digest, digest, HL_DIGEST_BYTES);
    planned.several = several;
    planned.file = file;
    planned.n = n;
    if (write_state(&planned, err))
        return -1;
    free(folder->file);
    *folder = planned;
    hl_pull_folder_complete(folder);
    return 0;
}

int hl_pull_folder_create(const struct hl_pull_folder *folder, const struct hl_pull_file *file, int *directory,
                          struct hl_temporary *out, struct hl_error *err)
{
    *out = (struct hl_temporary){.fd = -1};
    *directory = open_place(folder, file, true);
    if (*directory < 0)
        return hl_fail(err, "%s/%s: %s", folder->path, folder->several ? file->model : "", strerror(errno));
    return hl_temporary_open(out, *directory, err) ? hl_error_prefix(err, "%s", folder->path) : 0;
}

void hl_pull_folder_clean(const struct hl_pull_folder *folder)
{
    int copy = openat(folder->hidden, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    for (struct dirent *entry; stream && (entry = readdir(stream));)
        if (strcmp(entry->d_name, STATE) != 0 && strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(folder->hidden, entry->d_name, 0);
    if (stream)
        closedir(stream);
    else if (copy >= 0)
        close(copy);
}

void hl_pull_folder_close(struct hl_pull_folder *folder)
{
    if (!folder->n && folder->hidden >= 0 && !unlinkat(folder->root, HIDDEN, AT_REMOVEDIR) && folder->made)
        rmdir(folder->path);
    if (folder->hidden >= 0)
        close(folder->hidden);
    if (folder->root >= 0)
        close(folder->root);
    free(folder->file);
    *folder = (struct hl_pull_folder){.root = -1, .hidden = -1};
}
