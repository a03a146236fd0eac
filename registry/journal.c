/* Files in a folder, each locked by whoever works on its blob.
 *
 * A note replaces the file by a new one (rename), so that a reader sees the old Location or the new one, and a kill at
 * any moment leaves one of them. The lock (flock) is on the file that the name leads to, not on the name: the new file
 * is locked before it gets the name. Whoever opens the old one and gets its lock finds that the name leads elsewhere by
 * then, and leaves the blob alone. Nobody waits for a lock: the loser sends its blob without a journal.
 *
 * Nothing is synced to the disk. After a power cut a file may be empty, and the blob is sent anew.
 */
#include "registry/journal.h"
#include "hotlayer/cleanup.h"
#include "pack/files.h"
#include "pack/json.h"
#include "registry/http.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define ENTRY_LIMIT (HL_HTTP_URL_LIMIT + 4096)
#define CLAIM_TRIES 4 /* while others finish and remove theirs */

/* Makes a path's folders as far as they are missing. */
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

/* The XDG Base Directory Specification: a relative path is to be ignored. */
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

static bool is_entry(const char *name)
{
    return strspn(name, "0123456789abcdef") == HL_DIGEST_HEX && (!name[HL_DIGEST_HEX] || !strcmp(name + 64, ".new"));
}

static bool too_old(const struct stat *status)
{
    return time(NULL) - status->st_mtime > HL_JOURNAL_DAYS * 86400ll;
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
        if (!is_entry(item->d_name) || fstatat(folder, item->d_name, &status, AT_SYMLINK_NOFOLLOW) || !too_old(&status))
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
    /* Another user's folder: what they left must not send our requests anywhere. */
    if (fd < 0 || fstat(fd, &status) || status.st_uid != geteuid() || fchmod(fd, 0700))
        return;
    sweep(fd);
    out->folder = fd;
    fd = -1;
}

void hl_journal_close(struct hl_journal *journal)
{
    if (journal->folder >= 0)
        close(journal->folder);
    journal->folder = -1;
}

static bool make_name(struct hl_journal_entry *entry)
{
    unsigned char sha256[EVP_MAX_MD_SIZE];
    char digest[HL_DIGEST_BYTES];
    if (!EVP_Digest(entry->subject, strlen(entry->subject), sha256, NULL, EVP_sha256(), NULL))
        return false;
    hl_digest_format(sha256, digest);
    memcpy(entry->name, hl_digest_file(digest), sizeof entry->name);
    return true;
}

/* Does the entry's name lead to the file that is open? */
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
            entry->fd = fd;
            fd = -1;
            return true;
        }
    }
    return false;
}

static char *read_location(const struct hl_journal_entry *entry)
{
    struct stat status;
    struct hl_error err;
    HL_JSON cJSON *json = NULL;
    HL_FREE char *text = malloc(ENTRY_LIMIT);
    if (!text || fstat(entry->fd, &status) || too_old(&status))
        return NULL;
    ssize_t n = pread(entry->fd, text, ENTRY_LIMIT, 0);
    if (n <= 0 || n == ENTRY_LIMIT)
        return NULL;
    struct hl_view view = {(const uint8_t *)text, (size_t)n};
    if (hl_json_parse(view, entry->name, &json, &err) || !hl_json_is(json, "upload", entry->subject))
        return NULL;
    const char *location = hl_json_text(json, "location");
    return location && (!strncmp(location, "http://", 7) || !strncmp(location, "https://", 8)) ? strdup(location)
                                                                                               : NULL;
}

void hl_journal_claim(const struct hl_journal *journal, const struct hl_reference *where, const char *digest,
                      struct hl_journal_entry *out, char **location)
{
    *out = (struct hl_journal_entry){.folder = journal->folder, .fd = -1};
    *location = NULL;
    snprintf(out->subject, sizeof out->subject, "%s/%s@%s", where->host, where->repository, digest);
    if (out->folder >= 0 && make_name(out) && lock(out))
        *location = read_location(out);
}

/* A locked file with this text, still without the entry's name; -1 if that fails. */
static int new_file(const struct hl_journal_entry *entry, const char *name, const char *text)
{
    HL_CLOSE int fd = openat(entry->folder, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) || hl_file_write(fd, text, strlen(text)))
        return -1;
    int made = fd;
    fd = -1;
    return made;
}

void hl_journal_note(struct hl_journal_entry *entry, const char *location)
{
    char name[sizeof entry->name + 4];
    if (entry->fd < 0)
        return;
    HL_JSON cJSON *json = cJSON_CreateObject();
    bool complete =
        cJSON_AddStringToObject(json, "upload", entry->subject) && cJSON_AddStringToObject(json, "location", location);
    HL_FREE char *text = complete ? cJSON_PrintUnformatted(json) : NULL;
    snprintf(name, sizeof name, "%s.new", entry->name);
    int fd = text ? new_file(entry, name, text) : -1;
    if (fd < 0 || renameat(entry->folder, name, entry->folder, entry->name)) {
        /* What the file says is no longer true. */
        if (fd >= 0)
            close(fd);
        unlinkat(entry->folder, name, 0);
        hl_journal_remove(entry);
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
