/* Pulls models from a registry:
 *
 *   manifest -> the layers to fetch -> downloaded in parallel, resumed, digests checked    DIR/.hotlayer/HEX
 *            -> their tar headers: list the files, open the heads, check the sizes         DIR/.hotlayer/pulled.json
 *            -> the files, layer by layer; each layer is removed afterwards                DIR/model.hot.001, ...
 *            -> the heads                                                                  DIR/model.hot
 *
 * The list is written before the first file gets its name, so a run that was killed between files resumes with those
 * that are missing. A layer of `hotlayer image` contains one file. If the list of an earlier image contains that file,
 * the layer is not fetched again: a new runtime around the same weights costs nothing here.
 */
#include "pack/image/pull.h"
#include "base/cleanup.h"
#include "base/parallel.h"
#include "base/text.h"
#include "pack/image/find_models.h"
#include "pack/image/pull_folder.h"
#include "pack/image/tar_reader.h"
#include "registry/oci/download.h"
#include "registry/remote/client.h"

#define JOBS 4
#define PIECE_BYTES ((size_t)1 << 20)
#define UNPACKED_LIMIT ((uint64_t)256 << 30) /* for a compressed layer; a larger one is a decompression bomb */

struct pull {
    struct hl_store *store, *local; /* where the image is; where its checked layers are */
    struct hl_image image;
    const struct hl_pull_options *options;
    struct hl_pull_folder folder;
    struct hl_models models;
    size_t *layer; /* indices of the layers to fetch, no digest twice */
    size_t n_layers;
    struct pending { /* heads that are written but not yet named, by the file's index */
        int directory;
        struct hl_temporary file;
    } * pending;
};

static unsigned jobs_of(const struct pull *pull)
{
    return pull->options->jobs ? pull->options->jobs : JOBS;
}

static const struct hl_descriptor *blob_of(const struct pull *pull, size_t i)
{
    return &pull->image.layer[i].blob;
}

/* --- which layers to fetch --- */

/* Returns the file of layer i, if the layer is ours and its only file is present from an earlier image. */
static const struct hl_pull_file *find_kept(const struct pull *pull, size_t i)
{
    const struct hl_pull_folder *folder = &pull->folder;
    const char *what = pull->image.layer[i].what;
    bool ours = hl_models_ours(&pull->image) && hl_text_begins(what, "hotlayer image: ");
    for (size_t f = 0; ours && !folder->several && f < folder->n; f++)
        if (folder->file[f].present && !strcmp(folder->file[f].layer, blob_of(pull, i)->digest))
            return &folder->file[f];
    return NULL;
}

/* Returns whether a file of this layer is missing, according to the list in the folder. */
static bool is_missing(const struct pull *pull, const char *digest)
{
    for (size_t f = 0; f < pull->folder.n; f++)
        if (!pull->folder.file[f].present && !strcmp(pull->folder.file[f].layer, digest))
            return true;
    return false;
}

static int choose_layers(struct pull *pull, bool known, struct hl_error *err)
{
    pull->layer = calloc(pull->image.n_layers + 1, sizeof *pull->layer);
    if (!pull->layer)
        return hl_no_memory(err);
    for (size_t i = 0; i < pull->image.n_layers; i++) {
        const char *digest = blob_of(pull, i)->digest;
        bool wanted = known ? is_missing(pull, digest) : hl_models_may_hold(&pull->image, i) && !find_kept(pull, i);
        for (size_t l = 0; l < pull->n_layers; l++)
            wanted &= strcmp(blob_of(pull, pull->layer[l])->digest, digest) != 0;
        if (wanted)
            pull->layer[pull->n_layers++] = i;
    }
    return 0;
}

/* --- fetching --- */

static int fetch_layer(void *context, size_t i, struct hl_error *err)
{
    const struct pull *pull = context;
    const struct hl_descriptor *blob = blob_of(pull, pull->layer[i]);
    if (pull->local == pull->store)
        return hl_blob_check(pull->store, blob, pull->options->progress, err);
    return hl_download(pull->store, blob, pull->folder.hidden, pull->options->progress, err);
}

/* Checks the layers. Those of a registry are downloaded into the folder; those of a layout stay where they are. */
static int fetch_layers(struct pull *pull, struct hl_pulled *out, struct hl_error *err)
{
    uint64_t total = 0;
    for (size_t i = 0; i < pull->n_layers; i++) {
        const struct hl_descriptor *blob = blob_of(pull, pull->layer[i]);
        total += blob->bytes;
        if (hl_store_registry(pull->store) && !hl_download_is_done(pull->folder.hidden, blob))
            out->fetched += blob->bytes;
    }
    if (!hl_store_registry(pull->store))
        pull->local = pull->store;
    else if (hl_store_open_folder(pull->folder.hidden, pull->folder.path, &pull->local, err))
        return -1;
    hl_progress_begin(pull->options->progress, "pulling", total);
    if (hl_parallel(pull->n_layers, jobs_of(pull), fetch_layer, pull, err))
        return hl_error_prefix(err, "%s", pull->store->name);
    hl_progress_end(pull->options->progress);
    return 0;
}

/* --- which files they contain --- */

static int take_kept(struct pull *pull, const struct hl_pull_file *kept, size_t layer, struct hl_error *err)
{
    struct hl_model_file file = {.bytes = kept->bytes, .layer = layer};
    char path[PATH_MAX];
    if (hl_models_file(&pull->models, kept->model, kept->name)) /* replaced by a higher layer */
        return 0;
    memcpy(file.model, kept->model, sizeof file.model);
    memcpy(file.name, kept->name, sizeof file.name);
    if (kept->head && snprintf(path, sizeof path, "%s/%s", pull->folder.path, kept->name) >= (int)sizeof path)
        return hl_fail(err, "%s: the path is too long", pull->folder.path);
    if (kept->head && hl_hot_open(path, &file.head, err))
        return -1;
    if (!hl_models_add(&pull->models, &file, err))
        return 0;
    hl_hot_close(file.head);
    return -1;
}

static int list_files(struct pull *pull, struct hl_error *err)
{
    const struct hl_image *image = &pull->image;
    for (size_t i = image->n_layers; i--;) {
        const struct hl_pull_file *kept = find_kept(pull, i);
        if (!hl_models_may_hold(image, i))
            continue;
        if (kept ? take_kept(pull, kept, i, err)
                 : hl_models_scan(&pull->models, pull->local, &image->layer[i].blob, i, UNPACKED_LIMIT, err))
            return -1;
        if (pull->models.partial)
            return hl_fail(err, "layer %s contains more than %llu bytes: refused", image->layer[i].blob.digest,
                           (unsigned long long)UNPACKED_LIMIT);
    }
    return hl_models_check(&pull->models, err);
}

static bool is_wanted(const struct hl_models *models, const struct hl_model_file *file)
{
    for (size_t i = 0; i < models->n && !file->head; i++)
        for (uint32_t s = 0; models->file[i].head && s < models->file[i].head->header->n_shards; s++)
            if (hl_models_shard(models, &models->file[i], s) == file)
                return true;
    return file->head;
}

/* Makes the folder's list from the models found: the heads and the shards that they name. */
static int plan_files(struct pull *pull, struct hl_error *err)
{
    const struct hl_models *models = &pull->models;
    HL_FREE struct hl_pull_file *file = calloc(models->n + 1, sizeof *file);
    bool several = false;
    size_t n = 0;
    if (!file)
        return hl_no_memory(err);
    for (size_t i = 0; i < models->n; i++) {
        const struct hl_model_file *found = &models->file[i];
        if (!is_wanted(models, found))
            continue;
        file[n].bytes = found->bytes;
        file[n].head = found->head;
        memcpy(file[n].model, found->model, sizeof file[n].model);
        memcpy(file[n].name, found->name, sizeof file[n].name);
        memcpy(file[n].layer, blob_of(pull, found->layer)->digest, HL_DIGEST_BYTES);
        several |= strcmp(file[n].model, file[0].model) != 0;
        n++;
    }
    if (!n)
        return hl_fail(err, "its layers contain no model");
    if (hl_pull_folder_plan(&pull->folder, pull->image.manifest.digest, several, file, n, err))
        return -1;
    file = NULL; /* the folder owns it now */
    return 0;
}

/* --- extracting them --- */

static int write_file(struct pull *pull, struct hl_tar *tar, uint64_t bytes, struct hl_temporary *file,
                      struct hl_error *err)
{
    HL_FREE char *buffer = malloc(PIECE_BYTES);
    if (!buffer)
        return hl_no_memory(err);
    for (size_t n = 1; n;) {
        if (hl_tar_read(tar, buffer, PIECE_BYTES, &n, err))
            return -1;
        if (n > bytes)
            return hl_fail(err, "longer than expected");
        bytes -= n;
        if (hl_temporary_write(file, buffer, n, err))
            return -1;
        hl_progress_add(pull->options->progress, n);
    }
    return bytes ? hl_fail(err, "ends %llu bytes early", (unsigned long long)bytes) : 0;
}

/* Extracts a file; a shard gets its name now, a head when all shards have theirs. */
static int extract(struct pull *pull, struct hl_tar *tar, size_t f, struct hl_error *err)
{
    struct hl_pull_file *file = &pull->folder.file[f];
    struct pending *pending = &pull->pending[f];
    if (hl_pull_folder_create(&pull->folder, file, &pending->directory, &pending->file, err) ||
        write_file(pull, tar, file->bytes, &pending->file, err))
        return -1;
    if (file->head)
        return 0;
    if (hl_temporary_publish(&pending->file, file->name, err))
        return -1;
    file->present = true;
    close(pending->directory);
    pending->directory = -1;
    return 0;
}

/* Returns the index of the missing file that this entry is; SIZE_MAX: none. */
static size_t find_file(const struct pull *pull, const char *digest, const struct hl_tar_entry *entry)
{
    for (size_t f = 0; f < pull->folder.n; f++) {
        const struct hl_pull_file *file = &pull->folder.file[f];
        char path[HL_PULL_PATH_BYTES + 8];
        snprintf(path, sizeof path, "models/%s/%s", file->model, file->name);
        if (!strcmp(file->layer, digest) && !file->present && pull->pending[f].file.fd < 0 &&
            !strcmp(path, entry->path))
            return f;
    }
    return SIZE_MAX;
}

static size_t count_missing(const struct pull *pull, const char *digest)
{
    size_t n = 0;
    for (size_t f = 0; f < pull->folder.n; f++)
        n += !strcmp(pull->folder.file[f].layer, digest) && !pull->folder.file[f].present;
    return n;
}

static int extract_layer(void *context, size_t i, struct hl_error *err)
{
    struct pull *pull = context;
    const struct hl_descriptor *blob = blob_of(pull, pull->layer[i]);
    size_t missing = count_missing(pull, blob->digest);
    struct hl_tar_entry entry;
    HL_TAR *tar = NULL;
    if (missing && hl_tar_open(pull->local, blob, &tar, err))
        return -1;
    while (missing) {
        int found = hl_tar_next(tar, &entry, err);
        if (found <= 0)
            return found ? -1 : hl_fail(err, "layer %s lacks a file that it contained before", blob->digest);
        size_t f = find_file(pull, blob->digest, &entry);
        if (f == SIZE_MAX)
            continue;
        if (entry.kind != HL_TAR_FILE || entry.sparse || entry.bytes != pull->folder.file[f].bytes)
            return hl_fail(err, "%s is not the file listed before", entry.path);
        if (extract(pull, tar, f, err))
            return hl_error_prefix(err, "%s", entry.path);
        missing--;
    }
    if (pull->local != pull->store && !count_missing(pull, blob->digest)) /* a pending head counts as missing */
        unlinkat(pull->folder.hidden, hl_digest_file(blob->digest), 0);
    return 0;
}

static int publish_heads(struct pull *pull, struct hl_error *err)
{
    for (size_t f = 0; f < pull->folder.n; f++) {
        struct hl_pull_file *file = &pull->folder.file[f];
        if (file->present)
            continue;
        if (hl_temporary_publish(&pull->pending[f].file, file->name, err))
            return hl_error_prefix(err, "%s/%s", pull->folder.path, file->name);
        file->present = true;
    }
    return 0;
}

static int extract_files(struct pull *pull, struct hl_error *err)
{
    uint64_t total = 0;
    pull->pending = calloc(pull->folder.n + 1, sizeof *pull->pending);
    if (!pull->pending)
        return hl_no_memory(err);
    for (size_t f = 0; f < pull->folder.n; f++) {
        pull->pending[f] = (struct pending){.directory = -1, .file.fd = -1};
        total += pull->folder.file[f].present ? 0 : pull->folder.file[f].bytes;
    }
    hl_progress_begin(pull->options->progress, "unpacking", total);
    if (hl_parallel(pull->n_layers, jobs_of(pull), extract_layer, pull, err))
        return hl_error_prefix(err, "%s", pull->folder.path);
    hl_progress_end(pull->options->progress);
    return publish_heads(pull, err);
}

/* --- the whole pull --- */

/* Opens the models as the runtime will and returns their paths. */
static int finish(struct pull *pull, struct hl_pulled *out, struct hl_error *err)
{
    const struct hl_pull_folder *folder = &pull->folder;
    out->model = calloc(folder->n + 1, sizeof *out->model);
    if (!out->model)
        return hl_no_memory(err);
    for (size_t f = 0; f < folder->n; f++) {
        char below[HL_PULL_PATH_BYTES];
        struct hl_hot *hot;
        out->bytes += folder->file[f].bytes;
        if (!folder->file[f].head)
            continue;
        struct hl_pulled_model *model = &out->model[out->n];
        if (asprintf(&model->path, "%s/%s", folder->path, hl_pull_folder_path(folder, &folder->file[f], below)) < 0) {
            model->path = NULL;
            return hl_no_memory(err);
        }
        out->n++;
        if (!(model->name = strdup(folder->file[f].model)))
            return hl_no_memory(err);
        if (hl_hot_open(model->path, &hot, err))
            return -1;
        int status = hl_hot_map_weights(hot, err);
        hl_hot_close(hot);
        if (status)
            return -1;
    }
    hl_pull_folder_clean(folder);
    return 0;
}

static int pull_into(struct pull *pull, const char *directory, struct hl_pulled *out, struct hl_error *err)
{
    if (hl_pull_folder_open(directory, &pull->folder, err))
        return -1;
    bool complete = hl_pull_folder_complete(&pull->folder);
    bool known = !strcmp(pull->folder.digest, pull->image.manifest.digest);
    if (known && complete)
        return finish(pull, out, err);
    if (choose_layers(pull, known, err) || fetch_layers(pull, out, err))
        return -1;
    if (!known && (list_files(pull, err) || plan_files(pull, err))) {
        hl_pull_folder_clean(&pull->folder); /* the layers have the right digests: another attempt would fail too */
        return hl_error_prefix(err, "%s", pull->store->name);
    }
    return extract_files(pull, err) || finish(pull, out, err) ? -1 : 0;
}

static int take_name(const struct pull *pull, const char *name, char out[HL_MODEL_NAME_MAX + 1], struct hl_error *err)
{
    if (*out && strcmp(out, name) != 0)
        return hl_fail_as(err, HL_ERROR_USAGE, "%s: contains several models; choose a folder with -o DIR",
                          pull->store->name);
    snprintf(out, HL_MODEL_NAME_MAX + 1, "%s", name);
    return 0;
}

/* Returns the name of the image's only model, from its history, else from its layers. Fails before layers are fetched
 * if a foreign image has no model, as far as a look into its layers can tell. */
static int name_folder(struct pull *pull, char out[HL_MODEL_NAME_MAX + 1], struct hl_error *err)
{
    HL_MODELS models = {.n = 0};
    const struct hl_image *image = &pull->image;
    bool any = pull->options->directory, ours = hl_models_ours(image);
    out[0] = 0;
    for (size_t i = 0; !any && i < image->n_layers; i++) {
        const char *name = hl_models_named(image, i);
        if (name && take_name(pull, name, out, err))
            return -1;
    }
    if (!ours && hl_models_find(pull->store, image, &models, err))
        return hl_error_prefix(err, "%s", pull->store->name);
    for (size_t i = 0; !any && i < models.n; i++)
        if (models.file[i].head && take_name(pull, models.file[i].model, out, err))
            return -1;
    if ((any && (ours || models.partial || models.head_bytes)) || *out)
        return 0;
    return hl_fail(err, "%s: no model in this image: no models/NAME/*.hot in its layers", pull->store->name);
}

static void pull_free(struct pull *pull)
{
    for (size_t f = 0; pull->pending && f < pull->folder.n; f++) {
        hl_temporary_discard(&pull->pending[f].file);
        if (pull->pending[f].directory >= 0)
            close(pull->pending[f].directory);
    }
    free(pull->pending);
    free(pull->layer);
    hl_models_free(&pull->models);
    if (pull->local != pull->store)
        hl_store_close(&pull->local);
    hl_image_free(&pull->image);
    hl_pull_folder_close(&pull->folder);
}

int hl_pull(struct hl_store *store, const char *name, const struct hl_pull_options *options, struct hl_pulled *out,
            struct hl_error *err)
{
    __attribute__((cleanup(pull_free))) struct pull pull = {
        .store = store, .options = options, .folder = {.root = -1, .hidden = -1}};
    char directory[HL_MODEL_NAME_MAX + 1];
    *out = (struct hl_pulled){.bytes = 0};
    if (hl_image_open(store, name, &pull.image, err) || name_folder(&pull, directory, err))
        return -1;
    memcpy(out->digest, pull.image.manifest.digest, HL_DIGEST_BYTES);
    return pull_into(&pull, options->directory ? options->directory : directory, out, err);
}

void hl_pulled_free(struct hl_pulled *pulled)
{
    for (size_t i = 0; i < pulled->n; i++) {
        free(pulled->model[i].name);
        free(pulled->model[i].path);
    }
    free(pulled->model);
    *pulled = (struct hl_pulled){.n = 0};
}
