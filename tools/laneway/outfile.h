/* SPDX-License-Identifier: MIT */
/*
 * outfile.h - the FILE of `laneway sub --out FILE`: each message is in it exactly once, whenever
 * the process is killed.
 *
 * A durable subscriber gets again what it had not released. So the file offset of the first message
 * that comes must be known. It stands in FILE.at, in one of two entries {number of a message, file
 * offset where it begins}. A step is:
 *
 *     1. write messages a .. b-1 to FILE                     (behind the offset of a)
 *     2. write {b, offset of b} over the older entry         (the newer one is {a, offset of a})
 *     3. release the messages up to b                        (one store: the place is a or b)
 *
 * Killed before 3, the messages come again from a, whose entry is untouched; killed after it, from b,
 * whose entry is there. What lies behind that offset is cut off and written again. At a clean end
 * FILE.at is removed, and the size of FILE is the offset of the message that comes next.
 *
 * Without a durable name nothing comes again; the file is begun anew and there is no FILE.at.
 */
#ifndef LANEWAY_OUTFILE_H
#define LANEWAY_OUTFILE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct outfile {
    const char *path;
    char at_path[PATH_MAX];
    int fd, at_fd; /* -1 when not open */
    bool plain;    /* not a regular file: written like stdout */
    bool durable;
    uint64_t who; /* hash of topic and subscriber name */
    unsigned char uuid[16];
    uint64_t sequence; /* of the next entry */
    uint64_t missing;  /* messages that came to an end between the last entry and where outfile_begin() went on */
    unsigned slot;     /* where it goes, 0 or 1 */
};

/* All return 0 or, after saying what is wrong, an exit code. `name` is the durable name or NULL. */

int outfile_open(struct outfile *out, const char *path, const char *topic, const char *name);

/* Says where message `number` of the topic's incarnation `uuid` goes. `gap`: messages were lost before
 * it, or may have been without being told: a subscriber that may be evicted and is killed loses what it
 * had been handed out, which nobody but FILE.at knows of. */
int outfile_begin(struct outfile *out, const unsigned char *uuid, uint64_t number, bool gap, uint64_t *offset);

/* Step 2: message `number` will begin at `offset`, and all before it is written. */
int outfile_record(struct outfile *out, uint64_t number, uint64_t offset);

/* The clean end, at `offset`. */
int outfile_end(struct outfile *out, uint64_t offset);

void outfile_close(struct outfile *out);

#endif
