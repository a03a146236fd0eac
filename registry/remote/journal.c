/* Files in a folder, each locked by the process that uploads its blob.
 *
 * A note replaces the file with a new one (rename). So a reader sees the old Location or the new one, and a kill at any
 * moment leaves one of them. The lock (flock) belongs to the file, not to its name: the new file is locked before it
 * gets the name. A process that opened the old file and gets its lock finds that the name now leads elsewhere, and
 * leaves the blob alone. No process waits for a lock: the loser uploads its blob without a journal.
 *
 * Nothing is synced to the disk. After a power cut a file may be empty; the blob is then uploaded from its beginning.
 */
#include "registry/remote/journal.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "registry/net/url.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define FILE_LIMIT (HL_URL_LIMIT + 4096)
#define PLACE_BYTES (HL_NAME_LIMIT + 2 + HL_DIGEST_BYTES)
#define PLACE_NAME_BYTES (HL_DIGEST_HEX + 4)
#define CLAIM_TRIES 4 /* while other processes finish and remove their files */

/* Takes a descriptor over from HL_CLOSE. */
static int keep(int *fd)
{
    int kept = *fd;
    *fd = -1;
    return kept;
}

/* Creates the missing folders of a path. */
static int make_folders(const char *path)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof part)
        return -1;
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i])
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0700) && errno != EEXIST)
            return -1;
    }
    return 0;
}

/* Returns the default folder. The XDG Base Directory Specification says to ignore a relative path. */
static bool usual_folder(char out[PATH_MAX])
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = PATH_MAX;
    if (state && *state == '/')
        n = snprintf(out, PATH_MAX, "%s/hotlayer", state);
    else if (home && *home == '/')
        n = snprintf(out, PATH_MAX, "%s/.local/state/hotlayer", home);
    return n < PATH_MAX;
}

static bool too_old(const struct stat *status, int days)
{
    return time(NULL) - status->st_mtime > days * 86400ll;
}

/* Returns for how many days a file of this name is kept; 0: the file is not ours. */
static int days_kept(const char *name)
{
    if (strspn(name, "0123456789abcdef") != HL_DIGEST_HEX)
        return 0;
    if (!strcmp(name + HL_DIGEST_HEX, ".at"))
        return HL_JOURNAL_PLACE_DAYS;
    return !name[HL_DIGEST_HEX] || hl_text_begins(name + HL_DIGEST_HEX, ".new") ? HL_JOURNAL_DAYS : 0;
}

static void sweep(int folder)
{
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir) {
        if (copy >= 0)
            close(copy);
        return;
    }
    for (struct dirent *item; (item = readdir(dir));) {
        struct stat status;
        int days = days_kept(item->d_name);
        if (!days || fstatat(folder, item->d_name, &status, AT_SYMLINK_NOFOLLOW) || !too_old(&status, days))
            continue;
        HL_CLOSE int fd = openat(folder, item->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 || !flock(fd, LOCK_EX | LOCK_NB))
            unlinkat(folder, item->d_name, 0);
    }
    closedir(dir);
}

void hl_journal_open(const char *folder, struct hl_journal *out)
{
    char path[PATH_MAX];
    struct stat status;
    out->folder = -1;
    if (folder ? snprintf(path, sizeof path, "%s", folder) >= PATH_MAX || !*folder : !usual_folder(path))
        return;
    if (make_folders(path))
        return;
    HL_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Reject another user's folder: its content must not direct our requests. */
    if (fd < 0 || fstat(fd, &status) || status.st_uid != geteuid() || fchmod(fd, 0700))
        return;
    sweep(fd);
    out->folder = keep(&fd);
}

void hl_journal_close(struct hl_journal *journal)
{
    if (journal->folder >= 0)
        close(journal->folder);
    journal->folder = -1;
}

static bool make_name(const char *subject, char out[HL_DIGEST_HEX + 1])
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    char digest[HL_DIGEST_BYTES];
    if (!EVP_Digest(subject, strlen(subject), sha256, NULL, EVP_sha256(), NULL))
        return false;
    hl_digest_format(sha256, digest);
    memcpy(out, hl_digest_file(digest), HL_DIGEST_HEX + 1);
    return true;
}

/* Returns whether the entry's name leads to the open file. */
static bool named(const struct hl_journal_entry *entry, int fd)
{
    struct stat open, found;
    return !fstat(fd, &open) && S_ISREG(open.st_mode) &&
           !fstatat(entry->folder, entry->name, &found, AT_SYMLINK_NOFOLLOW) && open.st_ino == found.st_ino &&
           open.st_dev == found.st_dev;
}

static bool lock(struct hl_journal_entry *entry)
{
    for (unsigned i = 0; i < CLAIM_TRIES; i++) {
        HL_CLOSE int fd =
            openat(entry->folder, entry->name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
            return false;
        if (named(entry, fd)) {
            entry->fd = keep(&fd);
            return true;
        }
    }
    return false;
}

/* Reads the document in an open file if it is ours and about `subject`. The caller frees it with cJSON_Delete(). */
static cJSON *read_file(int fd, const char *subject, int days)
{
    struct stat status;
    struct hl_error err;
    HL_JSON cJSON *json = NULL;
    HL_FREE char *text = malloc(FILE_LIMIT);
    if (!text || fstat(fd, &status) || !S_ISREG(status.st_mode) || too_old(&status, days))
        return NULL;
    ssize_t n = pread(fd, text, FILE_LIMIT, 0);
    if (n <= 0 || n == FILE_LIMIT)
        return NULL;
    struct hl_view view = {(const uint8_t *)text, (size_t)n};
    if (hl_json_parse(view, subject, &json, &err) || !hl_json_is(json, "subject", subject))
        return NULL;
    cJSON *found = json;
    json = NULL;
    return found;
}

static char *read_location(const struct hl_journal_entry *entry)
{
    HL_JSON cJSON *json = read_file(entry->fd, entry->subject, HL_JOURNAL_DAYS);
    const char *location = hl_json_text(json, "location");
    return location && (hl_text_begins(location, "http://") || hl_text_begins(location, "https://")) ? strdup(location)
                                                                                                     : NULL;
}

void hl_journal_claim(const struct hl_journal *journal, const struct hl_reference *where, const char *digest,
                      struct hl_journal_entry *out, char **location)
{
    *out = (struct hl_journal_entry){.folder = journal->folder, .fd = -1};
    *location = NULL;
    snprintf(out->subject, sizeof out->subject, "%s/%s@%s", where->host, where->repository, digest);
    if (out->folder >= 0 && make_name(out->subject, out->name) && lock(out))
        *location = read_location(out);
}

/* Writes {"subject": ..., KEY: VALUE} to NAME atomically. Returns an open and locked file, or -1. */
static int write_file(int folder, const char *name, const char *subject, const char *key, const char *value)
{
    char fresh[HL_DIGEST_HEX + 32];
    HL_JSON cJSON *json = cJSON_CreateObject();
    bool complete = cJSON_AddStringToObject(json, "subject", subject) && cJSON_AddStringToObject(json, key, value);
    HL_FREE char *text = complete ? cJSON_PrintUnformatted(json) : NULL;
    snprintf(fresh, sizeof fresh, "%.*s.new%ld", HL_DIGEST_HEX, name, (long)gettid());
    HL_CLOSE int fd =
        text ? openat(folder, fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600) : -1;
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) || hl_file_write(fd, text, strlen(text)) ||
        renameat(folder, fresh, folder, name)) {
        unlinkat(folder, fresh, 0);
        return -1;
    }
    return keep(&fd);
}

void hl_journal_note(struct hl_journal_entry *entry, const char *location)
{
    if (entry->fd < 0)
        return;
    int fd = write_file(entry->folder, entry->name, entry->subject, "location", location);
    if (fd < 0) {
        hl_journal_remove(entry); /* the file's content is stale */
        return;
    }
    close(entry->fd);
    entry->fd = fd;
}

void hl_journal_remove(struct hl_journal_entry *entry)
{
    if (entry->fd < 0)
        return;
    unlinkat(entry->folder, entry->name, 0);
    close(entry->fd);
    entry->fd = -1;
}

void hl_journal_release(struct hl_journal_entry *entry)
{
    struct stat status;
    if (entry->fd >= 0 && (fstat(entry->fd, &status) || !status.st_size)) {
        hl_journal_remove(entry);
        return;
    }
    if (entry->fd >= 0)
        close(entry->fd);
    entry->fd = -1;
}

/* Makes HOST@DIGEST, and the name of the file that tells where the blob is. */
static bool name_place(const struct hl_reference *where, const char *digest, char subject[PLACE_BYTES],
                       char name[PLACE_NAME_BYTES])
{
    snprintf(subject, PLACE_BYTES, "%s@%s", where->host, digest);
    if (!make_name(subject, name))
        return false;
    memcpy(name + HL_DIGEST_HEX, ".at", 4);
    return true;
}

void hl_journal_remember(const struct hl_journal *journal, const struct hl_reference *where, const char *digest)
{
    char subject[PLACE_BYTES], name[PLACE_NAME_BYTES];
    if (journal->folder < 0 || !name_place(where, digest, subject, name))
        return;
    int fd = write_file(journal->folder, name, subject, "repository", where->repository);
    if (fd >= 0)
        close(fd);
}

bool hl_journal_recall(const struct hl_journal *journal, const struct hl_reference *where, const char *digest,
                       char repository[HL_NAME_LIMIT + 1])
{
    char subject[PLACE_BYTES], name[PLACE_NAME_BYTES];
    if (journal->folder < 0 || !name_place(where, digest, subject, name))
        return false;
    HL_CLOSE int fd = openat(journal->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    HL_JSON cJSON *json = fd < 0 ? NULL : read_file(fd, subject, HL_JOURNAL_PLACE_DAYS);
    const char *text = hl_json_text(json, "repository");
    if (!text || !strcmp(text, where->repository) || strlen(text) > HL_NAME_LIMIT ||
        text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-/")])
        return false;
    memcpy(repository, text, strlen(text) + 1);
    return true;
}
