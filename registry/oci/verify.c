/* Reads every byte of an image and compares it with its digest, several blobs at once: one core hashes about as fast as
 * one connection or one disk delivers. */
#include "base/cleanup.h"
#include "base/parallel.h"
#include "registry/oci/oci_image.h"
#include "registry/oci/walk.h"
#include <openssl/evp.h>

#define BLOBS_AT_ONCE 4

struct verification {
    const struct hl_walk *walk;
    struct hl_progress *progress;
};

struct hashing {
    EVP_MD_CTX *sha256;
    struct hl_progress *progress;
};

static int hash(void *context, const void *bytes, size_t n, struct hl_error *err)
{
    struct hashing *hashing = context;
    hl_progress_add(hashing->progress, n);
    return EVP_DigestUpdate(hashing->sha256, bytes, n) ? 0 : hl_fail(err, "SHA-256 failed");
}

static int verify_hashed(struct hl_store *store, const struct hl_descriptor *blob, struct hashing *hashing,
                         struct hl_error *err)
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    char found[HL_DIGEST_BYTES];
    if (!EVP_DigestInit_ex(hashing->sha256, EVP_sha256(), NULL))
        return hl_fail(err, "SHA-256 is not available in this libcrypto");
    if (store->class->read(store, blob, 0, blob->bytes, hash, hashing, err))
        return -1;
    if (!EVP_DigestFinal_ex(hashing->sha256, sha256, NULL))
        return hl_fail(err, "SHA-256 failed");
    hl_digest_format(sha256, found);
    return strcmp(found, blob->digest) ? hl_fail(err, "%s: damaged: its content is %s", blob->digest, found) : 0;
}

int hl_blob_check(struct hl_store *store, const struct hl_descriptor *blob, struct hl_progress *progress,
                  struct hl_error *err)
{
    struct hashing hashing = {EVP_MD_CTX_new(), progress};
    int status = hashing.sha256 ? verify_hashed(store, blob, &hashing, err) : hl_no_memory(err);
    EVP_MD_CTX_free(hashing.sha256);
    return status;
}

static int verify_blob(void *context, size_t i, struct hl_error *err)
{
    const struct verification *verification = context;
    return hl_blob_check(verification->walk->store, &verification->walk->blob[i], verification->progress, err);
}

static int add_roots(struct hl_walk *walk, const char *name, struct hl_error *err)
{
    struct hl_store *store = walk->store;
    HL_FREE struct hl_descriptor *roots = NULL;
    struct hl_descriptor root;
    size_t n = 0;
    if (*name || !store->class->list)
        return store->class->resolve(store, name, &root, err) || hl_walk_add(walk, &root, err) ? -1 : 0;
    if (store->class->list(store, &roots, &n, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (hl_walk_add(walk, &roots[i], err))
            return -1;
    return 0;
}

int hl_image_verify(struct hl_store *store, const char *name, struct hl_progress *progress,
                    struct hl_image_verified *out, struct hl_error *err)
{
    HL_WALK walk = {.store = store};
    struct verification verification = {&walk, progress};
    *out = (struct hl_image_verified){.images = 0};
    if (add_roots(&walk, name, err))
        return hl_error_prefix(err, "%s", store->name);
    hl_progress_begin(progress, "verifying", walk.bytes);
    for (size_t i = 0; i < walk.n_documents; i++) /* the walk has checked them */
        hl_progress_add(progress, walk.document[i].descriptor.bytes);
    if (hl_parallel(walk.n_blobs, store->jobs ? store->jobs : BLOBS_AT_ONCE, verify_blob, &verification, err))
        return hl_error_prefix(err, "%s", store->name);
    hl_progress_end(progress);
    *out = (struct hl_image_verified){walk.images, walk.n_documents + walk.n_blobs, walk.bytes};
    return 0;
}
