/* A layer of an image, compressed or not -> the models in it -> their files in a folder. The first byte chooses the
 * kind of the layer, and whether to pull it too. Only the files that a pull makes may appear, and no entry's path may
 * lead out of the layer. */
#include "base/cleanup.h"
#include "base/sizes.h"
#include "pack/image/find_models.h"
#include "pack/image/pull.h"
#include "pack/image/tar_reader.h"
#include "tests/fuzz/guard.h"
#include "tests/unit/pack/image/image_by_hand.h"
#include <dirent.h>
#include <ftw.h>

static const uint8_t *layer_bytes;

static int serve(struct hl_store *store, const struct hl_descriptor *blob, uint64_t offset, uint64_t n,
                 hl_http_sink *sink, void *context, struct hl_error *err)
{
    (void)store;
    if (!hl_in_range(offset, n, blob->bytes))
        abort();
    return sink(context, layer_bytes + offset, (size_t)n, err);
}

static const struct hl_store_class class = {.read = serve};

static void check_path(const char *path)
{
    size_t length = strlen(path);
    if (path[0] == '/' || !strcmp(path, "..") || !strncmp(path, "../", 3) || strstr(path, "/../") ||
        (length > 2 && !strcmp(path + length - 3, "/..")))
        abort();
}

static void walk(struct hl_store *store, const struct hl_descriptor *layer)
{
    struct hl_error err;
    struct hl_tar_entry entry;
    HL_TAR *tar = NULL;
    char buffer[1000];
    if (hl_tar_open(store, layer, &tar, &err))
        return;
    for (unsigned i = 0; i < 1000 && hl_tar_next(tar, &entry, &err) > 0; i++) {
        check_path(entry.path);
        size_t n = 1;
        for (unsigned k = 0; k < 50 && n && !hl_tar_read(tar, buffer, sizeof buffer, &n, &err); k++)
            ;
    }
}

static void look(struct hl_store *store, const struct hl_descriptor *layer)
{
    struct hl_error err;
    HL_MODELS models = {.n = 0};
    if (hl_models_scan(&models, store, layer, 0, 1 << 20, &err) ||
        hl_models_scan(&models, store, layer, 1, 1 << 20, &err))
        return;
    hl_models_check(&models, &err);
    for (size_t i = 0; i < models.n; i++)
        if (strchr(models.file[i].model, '/') || strchr(models.file[i].name, '/') || models.file[i].name[0] == '.')
            abort();
}

static int take_away(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

/* The folder holds "image" and "out"; "out" holds the files of a pull, or nothing. */
static void pull(const char folder[64], const uint8_t *data, size_t size, int filter)
{
    struct hl_error err;
    char path[128];
    struct hand hand;
    snprintf(path, sizeof path, "%s/image", folder);
    hand_begin(&hand, path);
    memcpy(hand.tar, data, size);
    hand.bytes = size;
    hand.filter = filter;
    hand_layer(&hand, "fuzz");
    hand_end(&hand, "x");
    HL_STORE *store = NULL;
    struct hl_pulled pulled = {.n = 0};
    char out[128];
    snprintf(out, sizeof out, "%s/out", folder);
    const struct hl_pull_options options = {.directory = out, .jobs = 1};
    if (hl_store_open_layout(path, &store, &err))
        abort();
    if (hl_pull(store, "", &options, &pulled, &err) == 0 && pulled.n == 0)
        abort();
    hl_pulled_free(&pulled);
    DIR *dir = opendir(folder);
    unsigned n = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && strcmp(entry->d_name, "image") &&
             strcmp(entry->d_name, "out");
    if (!dir || n)
        abort();
    closedir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum hl_document_kind kinds[] = {HL_KIND_TAR, HL_KIND_GZIP, HL_KIND_ZSTD};
    static const int filters[] = {0, 'g', 'z'};
    if (!size)
        return 0;
    unsigned kind = data[0] % 3;
    layer_bytes = guarded(data + 1, size - 1);
    if (!layer_bytes)
        return 0;
    struct hl_store store = {.class = &class, .name = "fuzz"};
    struct hl_descriptor layer = {.bytes = size - 1, .kind = kinds[kind]};
    walk(&store, &layer);
    look(&store, &layer);
    if (data[0] & 64) { /* this one is slow: it writes and syncs */
        char folder[64];
        snprintf(folder, sizeof folder, "%s/hotlayer-fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
        if (!mkdtemp(folder))
            abort();
        pull(folder, data + 1, size - 1, filters[kind]);
        nftw(folder, take_away, 16, FTW_DEPTH | FTW_PHYS);
    }
    return 0;
}
