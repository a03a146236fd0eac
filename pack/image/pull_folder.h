/* The folder that a pull fills: the files of models, and the state that the next pull needs. Internal to pull.
 *
 *   DIR/model.hot, DIR/model.hot.001, ...   one model; DIR/NAME/model.hot, ... if there are several
 *   DIR/.hotlayer/pulled.json               which image the files are from, and from which layer each is
 *   DIR/.hotlayer/HEX, .partial-HEX         layers, until their files are extracted
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
    bool head;    /* published last: if the head is there, the whole model is */
    bool present; /* exists and has the right size */
};

struct hl_pull_folder {
    const char *path;             /* as the caller wrote it */
    int root, hidden;             /* open folders; `hidden` is locked: one pull at a time */
    bool made;                    /* created by this pull */
    char digest[HL_DIGEST_BYTES]; /* of the manifest that the files are from; "": none yet */
    bool several;                 /* each model has its own folder */
    struct hl_pull_file *file;
    size_t n;
};

/* Opens the folder or creates it (its parent must exist). Fails if it contains other files than those of an earlier
 * pull. Waits until another pull into it ends. The caller closes it, also after a failure. */
int hl_pull_folder_open(const char *path, struct hl_pull_folder *out, struct hl_error *err);

/* Returns a file's path relative to the folder. */
const char *hl_pull_folder_path(const struct hl_pull_folder *folder, const struct hl_pull_file *file,
                                char out[HL_PULL_PATH_BYTES]);

/* Updates `present` of all files. Returns true if there are files and all are present. */
bool hl_pull_folder_complete(struct hl_pull_folder *folder);

/* Makes these files, of the image `digest`, the folder's. Removes files of an earlier image, heads first, then writes
 * the new list. Takes `file` over on success. */
int hl_pull_folder_plan(struct hl_pull_folder *folder, const char *digest, bool several, struct hl_pull_file *file,
                        size_t n, struct hl_error *err);

/* Creates a file for `file`, without a name yet. *directory is its future folder, open; the caller closes it after the
 * file. */
int hl_pull_folder_create(const struct hl_pull_folder *folder, const struct hl_pull_file *file, int *directory,
                          struct hl_temporary *out, struct hl_error *err);

/* Removes complete and partial layers. */
void hl_pull_folder_clean(const struct hl_pull_folder *folder);

/* Closes the folder. If no pull was planned, removes what hl_pull_folder_open() created. */
void hl_pull_folder_close(struct hl_pull_folder *folder);

#define HL_PULL_FOLDER __attribute__((cleanup(hl_pull_folder_close))) struct hl_pull_folder

#endif
