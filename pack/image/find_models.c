/* Finds models in layers, from the highest down: the first file seen with a name counts. A whiteout hides files of the
 * layers below its own alone.
 *
 *   layer 3   models/.wh.old              hides models/old below
 *   layer 2   models/new/model.hot        seen
 *   layer 1   models/new/model.hot.001    seen
 *             models/new/model.hot        replaced by layer 2's
 *             models/old/model.hot        hidden
 *
 * A head is read into memory when it is met (a memfd, which the runtime's own reader opens), since a compressed layer
 * cannot be read backwards.
 */
#include "pack/image/find_models.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "pack/image/tar_reader.h"
#include "pack/meta.h"
#include <ctype.h>
#include <errno.h>
#include <sys/mman.h>

#define FILES_MOST 1024
#define HIDDEN_MOST 4096
#define ENTRIES_MOST (1u << 22) /* of a layer; large distributions have a few hundred thousand files */
#define ENTRY_BYTES 512         /* of the archive, for an entry without contents */
#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"
#define OURS "hotlayer image: "

/* Returns whether one of the first `n` hidden paths covers `path`. */
static bool is_hidden(const struct hl_models *models, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++) {
        const char *hidden = models->hidden[i];
        size_t length = strlen(hidden);
        bool inside = !length || hidden[length - 1] == '/';
        if (!strncmp(path, hidden, length) && (inside || !path[length] || path[length] == '/'))
            return true;
    }
    return false;
}

static int hide(struct hl_models *models, const char *path, size_t length, struct hl_error *err)
{
    if (models->n_hidden == HIDDEN_MOST)
        return hl_fail(err, "more than %d files are removed by layers", HIDDEN_MOST);
    if (!models->hidden && !(models->hidden = calloc(HIDDEN_MOST, sizeof *models->hidden)))
        return hl_no_memory(err);
    char *copy = strndup(path, length);
    models->hidden[models->n_hidden] = copy;
    return copy ? (models->n_hidden++, 0) : hl_no_memory(err);
}

/* Records a whiteout if it concerns models. Returns 1 if the entry is a whiteout, else 0. */
static int take_whiteout(struct hl_models *models, const char *path, struct hl_error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (!hl_text_begins(name, WHITEOUT))
        return 0;
    char hidden[PATH_MAX];
    size_t folder = (size_t)(name - path);
    bool opaque = !strcmp(name, OPAQUE);
    /* Append the removed name. An opaque folder keeps its slash: only its contents are hidden. */
    int n = snprintf(hidden, sizeof hidden, "%.*s%s", (int)folder, path, opaque ? "" : name + strlen(WHITEOUT));
    bool ours = !n || !strcmp(hidden, "models") || hl_text_begins(hidden, "models/");
    return ours && hide(models, hidden, (size_t)n, err) ? -1 : 1;
}

/* "HEAD.hot" is a head, "HEAD.hot.NNN" a shard. */
static bool is_head(const char *name)
{
    return hl_text_ends(name, ".hot");
}

static bool is_shard(const char *name)
{
    size_t length = strlen(name);
    if (length <= 8 || !hl_text_begins(name + length - 8, ".hot."))
        return false;
    for (size_t i = length - 3; i < length; i++)
        if (!isdigit((unsigned char)name[i]))
            return false;
    return true;
}

/* Splits models/NAME/FILE into NAME and FILE; false if the path cannot be a model's file. */
static bool split(const char *path, struct hl_model_file *out)
{
    struct hl_error ignored;
    const char *model = path + strlen("models/"), *slash = strchr(model, '/');
    if (!slash || strchr(slash + 1, '/') || (size_t)(slash - model) >= sizeof out->model ||
        strlen(slash + 1) >= sizeof out->name)
        return false;
    snprintf(out->model, sizeof out->model, "%.*s", (int)(slash - model), model);
    snprintf(out->name, sizeof out->name, "%s", slash + 1);
    return !hl_meta_check_name(out->model, &ignored) && !hl_meta_check_name(out->name, &ignored) &&
           (is_head(out->name) || is_shard(out->name));
}

const struct hl_model_file *hl_models_file(const struct hl_models *models, const char *model, const char *name)
{
    for (size_t i = 0; i < models->n; i++)
        if (!strcmp(models->file[i].model, model) && !strcmp(models->file[i].name, name))
            return &models->file[i];
    return NULL;
}

/* Writes the contents of an entry of `bytes` bytes into a file. */
static int read_head(struct hl_tar *tar, uint64_t bytes, int fd, struct hl_error *err)
{
    const size_t piece = (size_t)1 << 20;
    HL_FREE char *buffer = malloc(piece);
    uint64_t done = 0;
    if (!buffer || fd < 0)
        return hl_fail(err, "no memory for a file of %llu bytes", (unsigned long long)bytes);
    for (size_t n = 1; n;) {
        if (hl_tar_read(tar, buffer, piece, &n, err))
            return -1;
        if (!done && (n < sizeof HL_HEADER_MAGIC - 1 || memcmp(buffer, HL_HEADER_MAGIC, sizeof HL_HEADER_MAGIC - 1)))
            return hl_fail(err, "not a .hot file: it does not begin with \"" HL_HEADER_MAGIC "\"");
        if (n > bytes - done)
            return hl_fail(err, "longer than the %llu bytes that its header says", (unsigned long long)bytes);
        done += n;
        if (hl_file_write(fd, buffer, n) < 0)
            return hl_fail(err, "cannot keep it in memory: %s", strerror(errno));
    }
    return done == bytes
               ? 0
               : hl_fail(err, "it ends after %llu of %llu bytes", (unsigned long long)done, (unsigned long long)bytes);
}

/* Opens a head; messages name it by its path in the image. */
static int open_head(struct hl_tar *tar, const struct hl_tar_entry *entry, struct hl_hot **out, struct hl_error *err)
{
    char path[40];
    HL_CLOSE int fd = memfd_create("model.hot", MFD_CLOEXEC);
    if (access("/proc/self/fd", X_OK))
        return hl_fail(err, "cannot open the head: /proc is not mounted");
    if (read_head(tar, entry->bytes, fd, err))
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (hl_hot_open(path, out, err)) {
        struct hl_error plain = *err;
        bool named = hl_text_begins(plain.message, path) && plain.message[strlen(path)] == ':';
        return named ? hl_fail(err, "%s", plain.message + strlen(path) + 2) : -1;
    }
    char *name = strdup(entry->path);
    if (!name) {
        hl_hot_close(*out);
        *out = NULL;
        return hl_no_memory(err);
    }
    free((*out)->path);
    (*out)->path = name;
    return 0;
}

int hl_models_add(struct hl_models *models, const struct hl_model_file *file, struct hl_error *err)
{
    if (models->n == FILES_MOST)
        return hl_fail(err, "more than %d files of models", FILES_MOST);
    if (!models->file && !(models->file = calloc(FILES_MOST, sizeof *models->file)))
        return hl_no_memory(err);
    models->file[models->n++] = *file;
    return 0;
}

static int take_file(struct hl_models *models, struct hl_tar *tar, const struct hl_tar_entry *entry,
                     struct hl_model_file *file, struct hl_error *err)
{
    bool head = is_head(file->name);
    uint64_t limit = head ? HL_HEAD_LIMIT - models->head_bytes : HL_SHARD_LIMIT + HL_PAGE_BYTES;
    if (entry->kind != HL_TAR_FILE || entry->sparse)
        return hl_fail(err, "%s: %s: refused", entry->path,
                       entry->kind == HL_TAR_FOLDER ? "a folder in the place of a file"
                       : entry->kind == HL_TAR_FILE ? "a sparse file"
                                                    : "a link or a device, not a file");
    if (entry->bytes > limit) /* checked before any of it is read */
        return hl_fail(err, "%s: claims to have %llu bytes; at most %llu are accepted", entry->path,
                       (unsigned long long)entry->bytes, (unsigned long long)limit);
    if (head && open_head(tar, entry, &file->head, err))
        return hl_error_prefix(err, "%s", entry->path);
    models->head_bytes += head ? entry->bytes : 0;
    file->bytes = entry->bytes;
    if (!hl_models_add(models, file, err))
        return 0;
    hl_hot_close(file->head);
    return -1;
}

/* Handles an entry that is not a model's file; it may still take the place of one. */
static int take_other(struct hl_models *models, const struct hl_tar_entry *entry, struct hl_error *err)
{
    bool link = entry->kind == HL_TAR_SYMLINK || entry->kind == HL_TAR_HARDLINK;
    const char *inside = entry->path + strlen("models");
    bool on_the_way = !*inside || !strchr(inside + 1, '/'); /* models, or models/NAME */
    if (on_the_way && (link || (!*inside && entry->kind != HL_TAR_FOLDER)))
        return hl_fail(err, "%s: a link or a file in the place of a folder: refused", entry->path);
    bool hides = on_the_way && entry->kind != HL_TAR_FOLDER && models->n_hidden < HIDDEN_MOST;
    return hides ? hide(models, entry->path, strlen(entry->path), err) : 0;
}

/* Handles one entry. The first `visible` hidden paths and the first `seen` files are those of higher layers. */
static int take_entry(struct hl_models *models, struct hl_tar *tar, const struct hl_tar_entry *entry, size_t index,
                      size_t visible, size_t seen, struct hl_error *err)
{
    struct hl_model_file file = {.layer = index};
    int whiteout = take_whiteout(models, entry->path, err);
    if (whiteout)
        return whiteout < 0 ? -1 : 0;
    if ((strcmp(entry->path, "models") && !hl_text_begins(entry->path, "models/")) ||
        is_hidden(models, visible, entry->path))
        return 0;
    if (!entry->path[strlen("models")] || !split(entry->path, &file))
        return take_other(models, entry, err);
    const struct hl_model_file *other = hl_models_file(models, file.model, file.name);
    if (!other)
        return take_file(models, tar, entry, &file, err);
    return other < models->file + seen ? 0 : hl_fail(err, "%s: occurs twice in one layer", entry->path);
}

static int scan(struct hl_models *models, struct hl_tar *tar, size_t index, bool compressed, uint64_t most,
                struct hl_error *err)
{
    size_t visible = models->n_hidden, seen = models->n;
    struct hl_tar_entry entry;
    unsigned entries = 0;
    int found;
    while ((found = hl_tar_next(tar, &entry, err)) > 0) {
        size_t before = models->n;
        if (entries++ == ENTRIES_MOST)
            return hl_fail(err, "more than %u files", ENTRIES_MOST);
        if (take_entry(models, tar, &entry, index, visible, seen, err))
            return -1;
        if (!compressed || (models->n > before && models->file[before].head))
            continue; /* nothing was skipped */
        if (entry.bytes + ENTRY_BYTES > most) {
            models->partial = true;
            return 0;
        }
        most -= entry.bytes + ENTRY_BYTES;
    }
    return found;
}

int hl_models_scan(struct hl_models *models, struct hl_store *store, const struct hl_descriptor *layer, size_t index,
                   uint64_t most, struct hl_error *err)
{
    HL_TAR *tar = NULL;
    if (hl_tar_open(store, layer, &tar, err))
        return -1;
    return scan(models, tar, index, layer->kind != HL_KIND_TAR, most, err)
               ? hl_error_prefix(err, "layer %.19s", layer->digest)
               : 0;
}

static bool is_ours(const struct hl_image *image, size_t i, const char *what)
{
    return hl_text_begins(image->layer[i].what, OURS) && hl_text_begins(image->layer[i].what + strlen(OURS), what);
}

bool hl_models_ours(const struct hl_image *image)
{
    for (size_t i = 0; i < image->n_layers; i++)
        if (is_ours(image, i, "model "))
            return true;
    return false;
}

const char *hl_models_named(const struct hl_image *image, size_t i)
{
    struct hl_error ignored;
    const char *name = image->layer[i].what + strlen(OURS "model ");
    return is_ours(image, i, "model ") && !hl_meta_check_name(name, &ignored) ? name : NULL;
}

bool hl_models_may_hold(const struct hl_image *image, size_t i)
{
    if (!hl_models_ours(image))
        return true;
    for (size_t below = 0; below <= i; below++)
        if (is_ours(image, below, ""))
            return !is_ours(image, i, "runtime");
    return false;
}

int hl_models_find(struct hl_store *store, const struct hl_image *image, struct hl_models *out, struct hl_error *err)
{
    bool ours = hl_models_ours(image);
    for (size_t i = image->n_layers; i--;)
        if ((!ours || is_ours(image, i, "model ")) &&
            hl_models_scan(out, store, &image->layer[i].blob, i, HL_LOOK_LIMIT, err))
            return -1;
    return 0;
}

const struct hl_model_file *hl_models_shard(const struct hl_models *models, const struct hl_model_file *head,
                                            uint32_t index)
{
    char name[sizeof head->name + 12];
    snprintf(name, sizeof name, "%s.%03u", head->name, index + 1);
    return hl_models_file(models, head->model, name);
}

int hl_models_check(const struct hl_models *models, struct hl_error *err)
{
    for (size_t i = 0; i < models->n; i++) {
        const struct hl_model_file *head = &models->file[i], *shard;
        for (uint32_t s = 0; head->head && s < head->head->header->n_shards; s++) {
            uint64_t bytes = head->head->header->shard[s].bytes + HL_PAGE_BYTES;
            shard = hl_models_shard(models, head, s);
            if (!shard)
                return hl_fail(err, "models/%s/%s.%03u is missing: shard %u of %u", head->model, head->name, s + 1,
                               s + 1, head->head->header->n_shards);
            if (shard->bytes != bytes)
                return hl_fail(err, "models/%s/%s has %llu bytes, %s says %llu", head->model, shard->name,
                               (unsigned long long)shard->bytes, head->name, (unsigned long long)bytes);
        }
    }
    return 0;
}

void hl_models_free(struct hl_models *models)
{
    for (size_t i = 0; i < models->n; i++)
        hl_hot_close(models->file[i].head);
    for (size_t i = 0; i < models->n_hidden; i++)
        free(models->hidden[i]);
    free(models->file);
    free(models->hidden);
    *models = (struct hl_models){.n = 0};
}
