/* The folder that a pull fills: the files of models, and what the next pull wants to know of this one. Internal to
 * pull.
 *
 *   DIR/model.hot, DIR/model.hot.001, ...   of one model; DIR/NAME/model.hot, ... of several
 *   DIR/.hotlayer/pulled.json               which image they are of, and from which layer each is
 *   DIR/.hotlayer/HEX, .partial-HEX         layers, until their files are taken out
 */
#ifndef HL_PACK_IMAGE_PULL_FOLDER_H
#define HL_PACK_IMAGE_PULL_FOLDER_H

#include "base/temporary.h"
#include "hotlayer/layout.h"
#include "registry/oci/document.h"

#define HL_PULL_PATH_BYTES (2 * (HL_MODEL_NAME_MAX + 1))

struct hl_pull_file {
    char model[HL_MODEL_NAME_MAX + 1];
    char name[HL_MODEL_NAME_MAX + 1];
    uint64_t bytes;
    char layer[HL_DIGEST_BYTES];
    bool head;    /* published last: where there is a head, there is the whole model */
    bool present; /* there, and of the right size */
};

struct hl_pull_folder {
    const char *path;             /* as the caller wrote it */
    int root, hidden;             /* open folders; `hidden` is locked: one pull at a time */
    bool made;                    /* by this pull */
    char digest[HL_DIGEST_BYTES]; /* of the manifest that the files are of; "": none yet */
    bool several;                 /* each model has a folder of its own */
    struct hl_pull_file *file;
    size_t n;
};

/* Opens the folder, or makes it (its parent exists). One with other files than those of an earlier pull is refused.
 * Waits for another pull that is at work in it. The caller closes it, also after a failure. */
int hl_pull_folder_open(const char *path, struct hl_pull_folder *out, struct hl_error *err);

/* Where a file is, below the folder. */
const char *hl_pull_folder_path(const struct hl_pull_folder *folder, const struct hl_pull_file *file,
                                char out[HL_PULL_PATH_BYTES]);

/* Looks which files are there. True: all, and there are some. */
bool hl_pull_folder_complete(struct hl_pull_folder *folder);

/* Makes these files, of the image `digest`, the folder's: removes those of an earlier image, heads first, then writes
 * down what is to come. Takes `file` over when this succeeds. */
int hl_pull_folder_plan(struct hl_pull_folder *folder, const char *digest, bool several, struct hl_pull_file *file,
                        size_t n, struct hl_error *err);

/* A new file for `file`, without a name; *directory is where it will be, an open folder that the caller closes after
 * it. */
int hl_pull_folder_create(const struct hl_pull_folder *folder, const struct hl_pull_file *file, int *directory,
                          struct hl_temporary *out, struct hl_error *err);

/* Removes layers and parts of them. */
void hl_pull_folder_clean(const struct hl_pull_folder *folder);

/* Takes back what hl_pull_folder_open() made, as long as nothing came into it. */
void hl_pull_folder_close(struct hl_pull_folder *folder);

#define HL_PULL_FOLDER __attribute__((cleanup(hl_pull_folder_close))) struct hl_pull_folder

#endif
