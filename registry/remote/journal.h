/* A journal of unfinished uploads, so that a push resumes where a killed one stopped.
 *
 * It is a folder (0700) with one file (0600) for each unfinished blob: the blob, its repository, and the Location of
 * its session. A Location lets its holder write into that session only, and the bytes must in the end have the blob's
 * digest. A Location on another host is not recorded (upload.c): a signature in it may be worth more.
 *
 * The journal only ever saves work, so it never fails. If the folder cannot be created, a file cannot be read or
 * another process has locked it, the blob is uploaded as if there were no journal.
 */
#ifndef HL_REGISTRY_REMOTE_JOURNAL_H
#define HL_REGISTRY_REMOTE_JOURNAL_H

#include "registry/oci/reference.h"

#define HL_JOURNAL_DAYS 7        /* for uploads: no known registry keeps a session longer */
#define HL_JOURNAL_PLACE_DAYS 90 /* for repositories to mount from; counted from the last push that saw the blob */

struct hl_journal {
    int folder; /* -1: no journal */
};

/* Opens the journal. `folder` NULL means $XDG_STATE_HOME/hotlayer, or ~/.local/state/hotlayer; "" means no journal.
 * Removes files that are older than HL_JOURNAL_DAYS. */
void hl_journal_open(const char *folder, struct hl_journal *out);
void hl_journal_close(struct hl_journal *journal);

/* One blob's file, locked while this process holds it. */
struct hl_journal_entry {
    int folder, fd;                                        /* fd is -1: nothing is recorded */
    char subject[2 * HL_NAME_LIMIT + 4 + HL_DIGEST_BYTES]; /* HOST/REPOSITORY@DIGEST */
    char name[HL_DIGEST_HEX + 1];
};

/* Claims the file of one blob. *location is the one that an earlier push recorded, NULL if there is nothing to resume;
 * the caller frees it. The functions below accept `out` whether the claim succeeded or not. */
void hl_journal_claim(const struct hl_journal *journal, const struct hl_reference *where, const char *digest,
                      struct hl_journal_entry *out, char **location);
/* Records the session's Location atomically. */
void hl_journal_note(struct hl_journal_entry *entry, const char *location);
/* Removes the file: the upload is complete, or its session is gone. */
void hl_journal_remove(struct hl_journal_entry *entry);
/* Keeps the recorded Location for the next push; removes a file without one. */
void hl_journal_release(struct hl_journal_entry *entry);

/* Records that the blob is in this repository. */
void hl_journal_remember(const struct hl_journal *journal, const struct hl_reference *where, const char *digest);
/* Finds a repository of the same host, other than `where`, that had the blob; false if none is known. */
bool hl_journal_recall(const struct hl_journal *journal, const struct hl_reference *where, const char *digest,
                       char repository[HL_NAME_LIMIT + 1]);

#endif
