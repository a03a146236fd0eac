/* What is known of uploads that were not finished, so that a push which was killed goes on where it stopped.
 *
 * A folder (0700) with one file (0600) for each blob that is under way: which blob of which repository, and the
 * Location of its session. A Location lets its holder write into that session and into nothing else, since what is
 * written must in the end have the blob's digest; those that lead to another host, where a signature in them may be
 * worth more, are not written down (upload.c).
 *
 * The journal only ever saves work: nothing about it is a failure. Where the folder cannot be made, a file cannot be
 * read or another process has it, the blob is sent as if there were no journal.
 */
#ifndef HL_REGISTRY_REMOTE_JOURNAL_H
#define HL_REGISTRY_REMOTE_JOURNAL_H

#include "registry/oci/reference.h"

#define HL_JOURNAL_DAYS 7        /* for uploads: no registry that is known keeps a session longer */
#define HL_JOURNAL_PLACE_DAYS 90 /* for places to mount from; counted from the last push that met them */

struct hl_journal {
    int folder; /* -1: there is none */
};

/* `folder` NULL means $XDG_STATE_HOME/hotlayer, or ~/.local/state/hotlayer; "" means no journal. Sweeps what is older
 * than HL_JOURNAL_DAYS. */
void hl_journal_open(const char *folder, struct hl_journal *out);
void hl_journal_close(struct hl_journal *journal);

/* One blob's file, locked while this process holds it. */
struct hl_journal_entry {
    int folder, fd;                                        /* fd is -1: nothing is written down */
    char subject[2 * HL_NAME_LIMIT + 4 + HL_DIGEST_BYTES]; /* HOST/REPOSITORY@DIGEST */
    char name[HL_DIGEST_HEX + 1];
};

/* Claims the file of one blob. *location is what an earlier push left, NULL if there is nothing to go on with; the
 * caller frees it. `out` may be given to the functions below whatever came of it. */
void hl_journal_claim(const struct hl_journal *journal, const struct hl_reference *where, const char *digest,
                      struct hl_journal_entry *out, char **location);
/* Writes the session's Location down, in one step. */
void hl_journal_note(struct hl_journal_entry *entry, const char *location);
/* The upload is done, or its session is gone: nothing stays. */
void hl_journal_remove(struct hl_journal_entry *entry);
/* What was noted stays, for the next push; a file in which nothing was noted goes. */
void hl_journal_release(struct hl_journal_entry *entry);

/* The blob is in this repository. */
void hl_journal_remember(const struct hl_journal *journal, const struct hl_reference *where, const char *digest);
/* A repository of the same host that had the blob, and is not `where` itself; false when none is known. */
bool hl_journal_recall(const struct hl_journal *journal, const struct hl_reference *where, const char *digest,
                       char repository[HL_NAME_LIMIT + 1]);

#endif
