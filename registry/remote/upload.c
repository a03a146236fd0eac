/* Uploads one blob to a registry, whatever that registry does.
 *
 *   HEAD: it is there                                                           done
 *   POST ?mount=&from=, if another repository has it: 201                       done
 *   POST, or a session from the journal, then
 *      whole:   PUT ?digest= with all bytes                                     done
 *      pieces:  PATCH a-b, PATCH b+1-c, ..., PUT ?digest= without bytes         done
 *      stream:  one PATCH of unknown length, hashed meanwhile, PUT ?digest=     done
 *
 * Pieces are for registries that keep the pieces they acknowledged, and lose one that broke. Every blob above
 * HL_UPLOAD_PIECE goes in pieces, unless the registry is known not to support them, or turns out so. Some answer 201 to
 * the first piece (ECR), report a wrong Range, or do not support PATCH. That is remembered for the registry, and the
 * blob is sent whole. Pieces cost no measurable time: docs/performance.md, "Pushing".
 *
 * Every upload that breaks, whole or in pieces, resumes at the offset that the session reports (GET), in this process
 * or, through the journal, in the next one. How much that saves depends on the registry. One that keeps the received
 * part of a body loses nothing. docker-registry signs the offset into the Location: after a request that broke in its
 * middle no Location that it gave is valid any more, GET answers 404 forever, and the layer starts from its beginning.
 *
 * After a failed request one of few steps follows (enum next), by these rules:
 * - If the session's state is unknown, ask for it. If the session does not answer, replace it.
 * - Never send a body twice to one session from its first byte: registries answer 416. A repetition opens a new session
 *   and cancels the old one.
 * - A failure after all bytes were sent may have been a success: HEAD tells.
 * - Six failures in a row without any progress are the end. Between them hl_retry_wait().
 * - The registry checks the digest. Ours is computed only if it objects, to tell a damaged file from a damaged upload.
 */
#include "registry/remote/upload.h"
#include "base/cleanup.h"
#include "registry/net/retry.h"
#include "registry/remote/journal.h"
#include "registry/remote/session.h"
#include <openssl/evp.h>
#include <pthread.h>

#define PIECE_LEAST ((uint64_t)1 << 20) /* the smallest body to try after a 413 (too large) */
#define READ_BYTES ((size_t)1 << 20)
#define ROOM_LEAST ((uint64_t)64 << 10) /* the smallest piece that a registry may demand */
#define NOWHERE UINT64_MAX
#define RESPONSE __attribute__((cleanup(hl_http_response_free))) struct hl_http_response

/* A blob that some thread is uploading, or that is there. */
struct claim {
    struct claim *next;
    bool done;
    char digest[HL_DIGEST_BYTES];
};

struct hl_uploads {
    struct hl_registry *registry;
    struct hl_journal journal;
    bool known_whole;         /* its host is known not to support pieces */
    atomic_bool learnt_whole; /* it turned out so */
    _Atomic uint64_t room;    /* the largest body that it may accept; less than NOWHERE after a 413 */
    _Atomic uint64_t sent;
    pthread_mutex_t lock; /* of `claims` */
    pthread_cond_t ended;
    struct claim *claims;
};

struct upload {
    struct hl_uploads *all;
    const struct hl_content *content; /* NULL: a stream */
    const struct hl_stream *stream;
    struct hl_progress *progress;
    EVP_MD_CTX *sha256; /* of a stream, while it is read */
    bool measured;      /* digest and bytes are known: always so for contents */
    bool touched;       /* the stream was read from since it was rewound */
    bool fresh;         /* nothing was sent to the session yet */
    char digest[HL_DIGEST_BYTES];
    uint64_t bytes;
    const char *from;
    struct hl_session session;
    struct hl_journal_entry entry;
    bool pieces;
    uint64_t piece;
    uint64_t shown;    /* bytes reported to progress */
    uint64_t furthest; /* the most bytes that the registry had at any time */
    unsigned failures; /* since then */
    enum hl_upload_way way;
};

enum next {
    NEXT_SEND,   /* send the bytes that the session lacks */
    NEXT_ASK,    /* ask for the session's state */
    NEXT_REOPEN, /* start over with another session */
    NEXT_DONE,
    NEXT_FAILED /* err says why */
};

int hl_uploads_open(struct hl_registry *registry, const char *journal, struct hl_uploads **out, struct hl_error *err)
{
    struct hl_uploads *uploads = *out = calloc(1, sizeof *uploads);
    if (!uploads)
        return hl_no_memory(err);
    uploads->registry = registry;
    uploads->known_whole = hl_session_whole_only(hl_registry_reference(registry)->host);
    uploads->room = NOWHERE;
    hl_journal_open(journal, &uploads->journal);
    pthread_mutex_init(&uploads->lock, NULL);
    pthread_cond_init(&uploads->ended, NULL);
    return 0;
}

void hl_uploads_close(struct hl_uploads *uploads)
{
    if (!uploads)
        return;
    for (struct claim *claim = uploads->claims, *next; claim; claim = next) {
        next = claim->next;
        free(claim);
    }
    hl_journal_close(&uploads->journal);
    pthread_cond_destroy(&uploads->ended);
    pthread_mutex_destroy(&uploads->lock);
    free(uploads);
}

uint64_t hl_uploads_bytes(const struct hl_uploads *uploads)
{
    return uploads->sent;
}

/* Claims this blob; waits while another thread has the claim. Sets *there if the repository has the blob already. */
static int claim_blob(struct hl_uploads *all, const char *digest, struct claim **out, bool *there, struct hl_error *err)
{
    struct claim *fresh = calloc(1, sizeof *fresh), *claim;
    *out = NULL;
    *there = false;
    if (!fresh)
        return hl_no_memory(err);
    pthread_mutex_lock(&all->lock);
    for (;;) {
        for (claim = all->claims; claim && strcmp(claim->digest, digest);)
            claim = claim->next;
        if (!claim || claim->done)
            break;
        pthread_cond_wait(&all->ended, &all->lock);
    }
    if (claim) {
        *there = true;
        free(fresh);
    } else {
        memcpy(fresh->digest, digest, HL_DIGEST_BYTES);
        fresh->next = all->claims;
        all->claims = *out = fresh;
    }
    pthread_mutex_unlock(&all->lock);
    return 0;
}

/* Ends a claim. After a failure the next waiting thread may try. */
static void release_claim(struct hl_uploads *all, struct claim *claim, bool done)
{
    pthread_mutex_lock(&all->lock);
    claim->done = done;
    struct claim **at = &all->claims;
    while (!done && *at != claim)
        at = &(*at)->next;
    if (!done) {
        *at = claim->next;
        free(claim);
    }
    pthread_cond_broadcast(&all->ended);
    pthread_mutex_unlock(&all->lock);
}

struct body {
    struct upload *upload;
    uint64_t from, bytes, at; /* the part of the blob, and how much of it is read */
};

static void show(struct upload *upload, uint64_t reached)
{
    if (reached <= upload->shown)
        return;
    hl_progress_add(upload->progress, reached - upload->shown);
    upload->shown = reached;
}

static int read_content(void *context, void *buffer, size_t size, size_t *n, struct hl_error *err)
{
    struct body *body = context;
    struct upload *upload = body->upload;
    uint64_t left = body->bytes - body->at;
    *n = left < size ? (size_t)left : size;
    if (*n && upload->content->read(upload->content->context, body->from + body->at, buffer, *n, err))
        return -1;
    body->at += *n;
    upload->all->sent += *n;
    show(upload, body->from + body->at);
    return 0;
}

static int rewind_content(void *context, struct hl_error *err)
{
    struct body *body = context;
    (void)err;
    body->at = 0;
    return 0;
}

static int read_stream(void *context, void *buffer, size_t size, size_t *n, struct hl_error *err)
{
    struct upload *upload = ((struct body *)context)->upload;
    upload->touched = true;
    if (upload->stream->read(upload->stream->context, buffer, size, n, err))
        return -1;
    if (!upload->measured) {
        upload->bytes += *n;
        if (!EVP_DigestUpdate(upload->sha256, buffer, *n))
            return hl_fail(err, "SHA-256 failed");
    }
    upload->all->sent += *n;
    return 0;
}

static int rewind_stream(void *context, struct hl_error *err)
{
    struct upload *upload = ((struct body *)context)->upload;
    if (upload->touched && upload->stream->rewind(upload->stream->context, err))
        return -1;
    upload->touched = false;
    if (upload->measured)
        return 0;
    upload->bytes = 0;
    return EVP_DigestInit_ex(upload->sha256, EVP_sha256(), NULL) ? 0 : hl_fail(err, "SHA-256 failed");
}

static int end_digest(struct upload *upload, struct hl_error *err)
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    if (!EVP_DigestFinal_ex(upload->sha256, sha256, NULL))
        return hl_fail(err, "SHA-256 failed");
    hl_digest_format(sha256, upload->digest);
    upload->measured = true;
    return 0;
}

/* Hashes a content as it is now. */
static int hash_content(const struct hl_content *content, char digest[HL_DIGEST_BYTES], struct hl_error *err)
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    HL_FREE char *buffer = malloc(READ_BYTES);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int status = buffer && context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) ? 0 : hl_no_memory(err);
    for (uint64_t offset = 0; !status && offset < content->bytes;) {
        uint64_t left = content->bytes - offset;
        size_t n = left < READ_BYTES ? (size_t)left : READ_BYTES;
        status = content->read(content->context, offset, buffer, n, err);
        if (!status && !EVP_DigestUpdate(context, buffer, n))
            status = hl_fail(err, "SHA-256 failed");
        offset += n;
    }
    if (!status && !EVP_DigestFinal_ex(context, sha256, NULL))
        status = hl_fail(err, "SHA-256 failed");
    EVP_MD_CTX_free(context);
    if (!status)
        hl_digest_format(sha256, digest);
    return status;
}

/* Waits after a temporary failure; err describes it. */
static enum next again(struct upload *upload, enum next next, const struct hl_http_response *response)
{
    if (upload->failures >= HL_RETRY_TIMES)
        return NEXT_FAILED;
    hl_retry_wait(upload->failures++, response);
    return next;
}

/* Gives up pieces, which the registry does not support properly. */
static enum next go_whole(struct upload *upload)
{
    upload->all->learnt_whole = true;
    return upload->failures++ < HL_RETRY_TIMES ? NEXT_REOPEN : NEXT_FAILED;
}

/* Tries smaller bodies: one of `bytes` bytes is too large for the registry, or for a proxy. */
static enum next go_smaller(struct upload *upload, uint64_t bytes, enum next next)
{
    struct hl_uploads *all = upload->all;
    uint64_t room = bytes / 4 > PIECE_LEAST ? bytes / 4 : PIECE_LEAST;
    if (!upload->content || bytes <= PIECE_LEAST || room < upload->session.least || all->learnt_whole ||
        upload->failures++ == 2 * HL_RETRY_TIMES)
        return NEXT_FAILED;
    if (room < all->room)
        all->room = room;
    upload->piece = room;
    return next;
}

static void advance(struct upload *upload, uint64_t offset)
{
    upload->session.offset = offset;
    if (offset <= upload->furthest)
        return;
    upload->furthest = offset;
    upload->failures = 0;
}

/* Updates the journal. */
static void note(struct upload *upload)
{
    if (upload->session.own)
        hl_journal_note(&upload->entry, upload->session.location);
    else
        hl_journal_remove(&upload->entry);
}

/* Asks whether the repository has the blob. A wrong size or digest counts as no: the answer to HEAD may describe an
 * error page. */
static int look_up(const struct upload *upload, bool *there, struct hl_error *err)
{
    RESPONSE response = {0};
    enum hl_http_failure failure;
    struct hl_error other;
    char path[16 + HL_DIGEST_BYTES], length[32];
    snprintf(path, sizeof path, "blobs/%s", upload->digest);
    struct hl_call call = {.method = "HEAD", .path = path, .push = true};
    *there = false;
    if (hl_registry_call(upload->all->registry, &call, &response, &failure, err))
        return -1;
    bool sized = hl_http_header(&response, "content-length", 0, length, sizeof length) && strcmp(length, "0") != 0;
    *there = response.status == 200 && !hl_session_confirms(&response, upload->digest, &other) &&
             (!sized || strtoull(length, NULL, 10) == upload->bytes);
    return 0;
}

/* Returns whether the blob arrived, after a PUT that failed although all bytes may have arrived. */
static bool landed(const struct upload *upload)
{
    struct hl_error err;
    bool there;
    return !look_up(upload, &there, &err) && there;
}

/* Tells a damaged source from a damaged upload: fails if a content lacks the digest that it should have. */
static int check_source(const struct upload *upload, struct hl_error *err)
{
    char digest[HL_DIGEST_BYTES];
    struct hl_error said = *err;
    if (!upload->content)
        return 0;
    if (hash_content(upload->content, digest, err))
        return -1;
    if (strcmp(digest, upload->digest))
        return hl_fail(err, "%s: damaged: its content is %s", upload->digest, digest);
    *err = said;
    return 0;
}

/* Handles the response to the PUT that completes a blob. `lost` is the step to take if the session is gone. */
static enum next after_put(struct upload *upload, int result, enum hl_http_failure failure,
                           const struct hl_http_response *response, enum next lost, struct hl_error *err)
{
    long status = response->status;
    if (result && failure != HL_HTTP_TRANSIENT)
        return NEXT_FAILED;
    if (!result && status == 201)
        return hl_session_confirms(response, upload->digest, err) ? NEXT_FAILED : NEXT_DONE;
    if (!result && (status == 401 || status == 403))
        return NEXT_FAILED;
    bool gone = status == 404 || status == 416, success = status / 100 == 2;
    if (result || success || gone || hl_retry_passing(status)) {
        if (landed(upload))
            return NEXT_DONE;
        if (success)
            hl_fail(err, "the registry answered %ld to the end of an upload, but does not have the blob", status);
        return again(upload, gone || success ? NEXT_REOPEN : lost, result ? NULL : response);
    }
    if (check_source(upload, err))
        return NEXT_FAILED;
    return upload->pieces ? go_whole(upload) : NEXT_FAILED;
}

static enum next ask(struct upload *upload, struct hl_error *err)
{
    bool alive;
    if (hl_session_ask(upload->all->registry, &upload->session, &alive, err))
        return NEXT_FAILED;
    if (!alive || upload->session.offset > upload->bytes || (!upload->session.offset && upload->bytes))
        return NEXT_REOPEN;
    upload->pieces = upload->content != NULL;
    advance(upload, upload->session.offset);
    return NEXT_SEND;
}

static enum next commit(struct upload *upload, struct hl_error *err)
{
    RESPONSE response = {0};
    enum hl_http_failure failure;
    int result =
        hl_session_put(upload->all->registry, &upload->session, upload->digest, NULL, &response, &failure, err);
    return after_put(upload, result, failure, &response, NEXT_ASK, err);
}

static enum next send_whole(struct upload *upload, struct hl_error *err)
{
    RESPONSE response = {0};
    enum hl_http_failure failure;
    struct body part = {.upload = upload, .bytes = upload->bytes};
    struct hl_http_body body = {upload->bytes, upload->content ? read_content : read_stream,
                                upload->content ? rewind_content : rewind_stream, &part};
    if (body.rewind(&part, err))
        return NEXT_FAILED;
    int result =
        hl_session_put(upload->all->registry, &upload->session, upload->digest, &body, &response, &failure, err);
    if (!result && response.status == 413)
        return go_smaller(upload, upload->bytes, NEXT_REOPEN);
    bool can_tell = upload->content && !upload->all->known_whole && !upload->all->learnt_whole;
    return after_put(upload, result, failure, &response, can_tell ? NEXT_ASK : NEXT_REOPEN, err);
}

/* Handles a response to a piece up to `end` that reports another offset or refuses the piece. The offset that the
 * session itself reports decides: the piece's end is good, and so is another offset than the refused one. Bytes of a
 * killed client may still be arriving: then the offset that ask() got is stale a moment later, and the piece gets a
 * 416. */
static enum next settle(struct upload *upload, const struct hl_http_response *response, uint64_t begin, uint64_t end,
                        struct hl_error *err)
{
    uint64_t has = NOWHERE;
    bool refused = response->status == 416;
    if (refused && hl_session_range(response, &has) && has != begin && has <= upload->bytes) {
        advance(upload, has);
        return again(upload, NEXT_SEND, NULL);
    }
    enum next next = ask(upload, err);
    if (next != NEXT_SEND)
        return next == NEXT_REOPEN ? go_whole(upload) : next;
    if (refused ? upload->session.offset == begin : upload->session.offset != end)
        return go_whole(upload);
    return refused ? again(upload, NEXT_SEND, NULL) : NEXT_SEND;
}

static enum next after_piece(struct upload *upload, const struct hl_http_response *response, uint64_t begin,
                             uint64_t end, struct hl_error *err)
{
    long status = response->status;
    uint64_t has = end;
    if (status == 200 || status == 202 || status == 204) {
        hl_session_range(response, &has);
        if (has != end)
            return settle(upload, response, begin, end, err);
        advance(upload, end);
        note(upload);
        return NEXT_SEND;
    }
    if (status == 416)
        return settle(upload, response, begin, end, err);
    if (hl_retry_passing(status))
        return again(upload, NEXT_ASK, response);
    if (status == 401 || status == 403)
        return NEXT_FAILED;
    if (status == 413)
        return go_smaller(upload, end - begin, NEXT_ASK);
    if (status == 404 && begin)
        return again(upload, NEXT_REOPEN, response); /* it knew the session before */
    return go_whole(upload);
}

static enum next send_piece(struct upload *upload, struct hl_error *err)
{
    RESPONSE response = {0};
    enum hl_http_failure failure;
    char range[80];
    uint64_t begin = upload->session.offset, left = upload->bytes - begin;
    struct body part = {.upload = upload, .from = begin, .bytes = left < upload->piece ? left : upload->piece};
    struct hl_http_body body = {part.bytes, read_content, rewind_content, &part};
    if (!left)
        return commit(upload, err);
    /* No unit and no total, unlike in RFC 9110. */
    snprintf(range, sizeof range, "Content-Range: %llu-%llu", (unsigned long long)begin,
             (unsigned long long)(begin + part.bytes - 1));
    if (hl_session_patch(upload->all->registry, &upload->session, range, &body, &response, &failure, err))
        return failure == HL_HTTP_TRANSIENT ? again(upload, NEXT_ASK, NULL) : NEXT_FAILED;
    return after_piece(upload, &response, begin, begin + part.bytes, err);
}

/* Reads the whole stream for its digest, for a registry that wants the digest or the length in advance. */
static int measure(struct upload *upload, struct hl_error *err)
{
    struct body body = {.upload = upload};
    HL_FREE char *buffer = malloc(READ_BYTES);
    uint64_t sent = 0;
    if (!buffer)
        return hl_no_memory(err);
    if (rewind_stream(&body, err))
        return -1;
    for (size_t n = 1; n; sent += n)
        if (read_stream(&body, buffer, READ_BYTES, &n, err))
            return -1;
    upload->all->sent -= sent;
    return end_digest(upload, err);
}

static enum next after_stream(struct upload *upload, const struct hl_http_response *response, struct hl_error *err)
{
    long status = response->status;
    if (status / 100 == 2) {
        if (end_digest(upload, err))
            return NEXT_FAILED;
        advance(upload, upload->bytes);
        return commit(upload, err);
    }
    if (hl_retry_passing(status))
        return again(upload, NEXT_REOPEN, response);
    if (status == 401 || status == 403 || status == 413 || measure(upload, err))
        return NEXT_FAILED;
    return landed(upload) ? NEXT_DONE : go_whole(upload);
}

/* Sends a stream. If its digest is known, the stream was sent to its end before, or measured. */
static enum next send_stream(struct upload *upload, struct hl_error *err)
{
    RESPONSE response = {0};
    enum hl_http_failure failure;
    struct body part = {.upload = upload};
    struct hl_http_body body = {HL_HTTP_UNKNOWN, read_stream, rewind_stream, &part};
    if (upload->measured && !upload->fresh)
        return upload->session.offset == upload->bytes ? commit(upload, err) : NEXT_REOPEN;
    upload->fresh = false;
    if (upload->measured)
        return send_whole(upload, err);
    if (rewind_stream(&part, err))
        return NEXT_FAILED;
    if (hl_session_patch(upload->all->registry, &upload->session, NULL, &body, &response, &failure, err))
        return failure == HL_HTTP_TRANSIENT ? again(upload, NEXT_REOPEN, NULL) : NEXT_FAILED;
    return after_stream(upload, &response, err);
}

/* Chooses how the blob is sent into the session that was just opened. */
static void choose_way(struct upload *upload)
{
    const struct hl_uploads *all = upload->all;
    const struct hl_session *session = &upload->session;
    uint64_t piece = HL_UPLOAD_PIECE, room = all->room;
    if (session->most && session->most < piece)
        piece = session->most;
    if (room < piece)
        piece = room;
    if (session->least > piece)
        piece = session->least;
    upload->piece = piece > ROOM_LEAST ? piece : ROOM_LEAST;
    upload->pieces = upload->content && upload->bytes > upload->piece && !all->learnt_whole &&
                     (!all->known_whole || session->least || room != NOWHERE);
}

static enum next reopen(struct upload *upload, struct hl_error *err)
{
    enum hl_session_made made;
    hl_session_cancel(upload->all->registry, &upload->session);
    if (hl_session_open(upload->all->registry, upload->digest, upload->from, &upload->session, &made, err))
        return NEXT_FAILED;
    upload->from = NULL;
    if (made == HL_SESSION_MOUNTED) {
        upload->way = HL_UPLOAD_MOUNTED;
        return NEXT_DONE;
    }
    upload->fresh = true;
    choose_way(upload);
    note(upload);
    return NEXT_SEND;
}

static int run(struct upload *upload, enum next next, struct hl_error *err)
{
    while (next != NEXT_DONE && next != NEXT_FAILED) {
        if (next == NEXT_ASK)
            next = ask(upload, err);
        else if (next == NEXT_REOPEN)
            next = reopen(upload, err);
        else if (!upload->content)
            next = send_stream(upload, err);
        else
            next = upload->pieces ? send_piece(upload, err) : send_whole(upload, err);
    }
    return next == NEXT_DONE ? 0 : -1;
}

/* Resumes where an earlier push stopped, if the journal has a Location and the registry still knows it. */
static enum next resume(struct upload *upload)
{
    struct hl_error err;
    char *location = NULL;
    if (upload->all->known_whole || upload->all->learnt_whole || upload->bytes <= PIECE_LEAST)
        return NEXT_REOPEN;
    hl_journal_claim(&upload->all->journal, hl_registry_reference(upload->all->registry), upload->digest,
                     &upload->entry, &location);
    if (!location)
        return NEXT_REOPEN;
    upload->session = (struct hl_session){.location = location, .own = true};
    upload->piece = HL_UPLOAD_PIECE;
    enum next next = ask(upload, &err);
    if (next == NEXT_SEND)
        show(upload, upload->session.offset);
    else
        hl_session_close(&upload->session);
    return next == NEXT_SEND ? NEXT_SEND : NEXT_REOPEN;
}

/* Closes or cancels the session. One that is in the journal stays open for the next push. */
static void end(struct upload *upload, bool done)
{
    bool kept = !done && upload->entry.fd >= 0 && upload->session.location && upload->session.own;
    if (done || kept)
        hl_session_close(&upload->session);
    else
        hl_session_cancel(upload->all->registry, &upload->session);
    if (kept)
        hl_journal_release(&upload->entry);
    else
        hl_journal_remove(&upload->entry);
}

static int send_content(struct upload *upload, struct hl_error *err)
{
    struct hl_uploads *all = upload->all;
    const struct hl_reference *where = hl_registry_reference(all->registry);
    char known[HL_NAME_LIMIT + 1];
    bool there;
    if (look_up(upload, &there, err))
        return -1;
    int status = 0;
    if (there) {
        upload->way = HL_UPLOAD_PRESENT;
    } else {
        if (!upload->from && hl_journal_recall(&all->journal, where, upload->digest, known))
            upload->from = known;
        status = run(upload, resume(upload), err);
        end(upload, !status);
    }
    if (!status)
        hl_journal_remember(&all->journal, where, upload->digest);
    return status;
}

int hl_upload_content(struct hl_uploads *uploads, const struct hl_content *content, const char *from,
                      struct hl_progress *progress, char digest[HL_DIGEST_BYTES], enum hl_upload_way *way,
                      struct hl_error *err)
{
    struct upload upload = {.all = uploads,
                            .content = content,
                            .progress = progress,
                            .measured = true,
                            .bytes = content->bytes,
                            .from = from,
                            .entry.fd = -1};
    struct claim *claim;
    bool there;
    memcpy(upload.digest, content->digest, HL_DIGEST_BYTES);
    if (!*upload.digest && hash_content(content, upload.digest, err))
        return -1;
    if (claim_blob(uploads, upload.digest, &claim, &there, err))
        return -1;
    upload.way = there ? HL_UPLOAD_PRESENT : HL_UPLOAD_SENT;
    int status = there ? 0 : send_content(&upload, err);
    if (claim)
        release_claim(uploads, claim, !status);
    if (status)
        return -1;
    show(&upload, upload.bytes);
    memcpy(digest, upload.digest, HL_DIGEST_BYTES);
    *way = upload.way;
    return 0;
}

int hl_upload_stream(struct hl_uploads *uploads, const struct hl_stream *stream, struct hl_descriptor *out,
                     struct hl_error *err)
{
    struct upload upload = {.all = uploads, .stream = stream, .entry.fd = -1, .sha256 = EVP_MD_CTX_new()};
    if (!upload.sha256)
        return hl_no_memory(err);
    int status = run(&upload, NEXT_REOPEN, err);
    end(&upload, !status);
    if (!status)
        hl_journal_remember(&uploads->journal, hl_registry_reference(uploads->registry), upload.digest);
    EVP_MD_CTX_free(upload.sha256);
    memcpy(out->digest, upload.digest, HL_DIGEST_BYTES);
    out->bytes = upload.bytes;
    return status;
}
