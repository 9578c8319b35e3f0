/* SPDX-License-Identifier: MIT */
/* outfile.c - a file that holds each message once; see outfile.h. */
#include "outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

static const uint64_t at_magic = UINT64_C(0x31746177656e616c); /* "lanewat1" */

struct at_entry {
    uint64_t magic;
    uint64_t sequence; /* the larger one is the newer */
    uint64_t who;
    unsigned char uuid[16]; /* of the topic: message numbers begin again in a new one */
    uint64_t number;
    uint64_t offset;
    uint64_t check; /* of all before */
};

/* FNV-1a. */
static uint64_t hash(uint64_t seed, const void *data, size_t len) {
    const unsigned char *bytes = data;
    uint64_t h = seed ? seed : UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < len; i++) h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
    return h;
}

static uint64_t entry_check(const struct at_entry *entry) {
    return hash(0, entry, offsetof(struct at_entry, check));
}

static int fail_path(const char *path, const char *what) {
    int error = errno;
    return fail(-error, "can not %s %s: %s", what, path, strerror(error));
}

/* Two writers of one file would mix it up. The lock goes with the process. */
static int lock_file(struct outfile *out) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (!fcntl(out->fd, F_OFD_SETLK, &whole)) return 0;
    if (errno == EAGAIN || errno == EACCES) return fail(-EBUSY, "another process writes to %s", out->path);
    return 0; /* a filesystem without locks */
}

static int refuse_foreign_at(const struct outfile *out) {
    if (access(out->at_path, F_OK)) return 0;
    return fail(-EEXIST,
                "%s is there: a durable subscriber was writing %s and was killed. Start it again "
                "with its name, or remove %s",
                out->at_path, out->path, out->at_path);
}

int outfile_open(struct outfile *out, const char *path, const char *topic, const char *name) {
    struct stat stat;
    *out = (struct outfile){.path = path, .fd = -1, .at_fd = -1, .durable = name != NULL};
    int n = snprintf(out->at_path, sizeof out->at_path, "%s.at", path);
    if (n >= (int)sizeof out->at_path) return fail(-ENAMETOOLONG, "%s: the name is too long", path);
    out->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (out->fd < 0 || fstat(out->fd, &stat)) return fail_path(path, "open");
    out->plain = !S_ISREG(stat.st_mode);
    if (out->plain) return 0;
    out->who = hash(0, topic, strlen(topic) + 1);
    out->who = name ? hash(out->who, name, strlen(name)) : out->who;
    int result = lock_file(out);
    return result || out->durable ? result : refuse_foreign_at(out);
}

/* Reads the entries; one that does not check has magic 0. How many are good, or -1. */
static int read_entries(struct outfile *out, struct at_entry entries[2], bool *fresh) {
    int good = 0;
    memset(entries, 0, 2 * sizeof entries[0]);
    ssize_t n = pread(out->at_fd, entries, 2 * sizeof entries[0], 0);
    if (n < 0) return -1;
    *fresh = n < (ssize_t)sizeof entries[0]; /* killed between making it and the first entry */
    for (int i = 0; i < 2; i++) {
        if (entries[i].magic == at_magic && entries[i].check == entry_check(&entries[i]))
            good++;
        else
            entries[i].magic = 0;
    }
    return good;
}

/* The entry from where to go on, or NULL. A new incarnation of the topic, or a gap, begins behind
 * all that was written: nothing that is in the file comes again. */
static const struct at_entry *choose_entry(const struct outfile *out, const struct at_entry entries[2], uint64_t number,
                                           bool gap) {
    const struct at_entry *newest = NULL;
    bool known = false;
    for (int i = 0; i < 2; i++) {
        const struct at_entry *entry = &entries[i];
        if (!entry->magic) continue;
        bool same = !memcmp(entry->uuid, out->uuid, sizeof out->uuid);
        if (same && entry->number == number) return entry;
        known |= same;
        if (!newest || entry->sequence > newest->sequence) newest = entry;
    }
    return known && !gap ? NULL : newest;
}

static int refuse_entries(const struct outfile *out, uint64_t number) {
    return fail(LW_EMISMATCH,
                "%s does not know message %" PRIu64 ": the subscriber was used without --out %s in "
                "between. To go on at the end of %s, remove %s",
                out->at_path, number, out->path, out->path, out->at_path);
}

static int cut_file(struct outfile *out, uint64_t offset) {
    struct stat stat;
    if (fstat(out->fd, &stat)) return fail_path(out->path, "look at");
    if ((uint64_t)stat.st_size < offset)
        return fail(LW_EMISMATCH, "%s is shorter than it was; to go on at its end, remove %s", out->path, out->at_path);
    if (ftruncate(out->fd, (off_t)offset)) return fail_path(out->path, "truncate");
    return 0;
}

/* The first entry of a file that was ended cleanly, or is new: its size is the offset. */
static int begin_fresh(struct outfile *out, uint64_t number, uint64_t *offset) {
    struct stat stat;
    if (fstat(out->fd, &stat)) return fail_path(out->path, "look at");
    *offset = (uint64_t)stat.st_size;
    return outfile_record(out, number, *offset);
}

static int begin_again(struct outfile *out, const struct at_entry entries[2], uint64_t number, bool gap,
                       uint64_t *offset) {
    const struct at_entry *entry = choose_entry(out, entries, number, gap);
    if (!entry) return refuse_entries(out, number);
    if (entry->who != out->who)
        return fail(LW_EMISMATCH, "%s was left by another subscriber, which was killed", out->at_path);
    *offset = entry->offset;
    out->slot = entry == &entries[0];
    out->sequence = 1 + (entries[0].sequence > entries[1].sequence ? entries[0].sequence : entries[1].sequence);
    int result = cut_file(out, *offset);
    bool known = !memcmp(entry->uuid, out->uuid, sizeof out->uuid), same = known && entry->number == number;
    if (known && entry->number < number) out->missing = number - entry->number;
    return result || same ? result : outfile_record(out, number, *offset);
}

static int begin_durable(struct outfile *out, uint64_t number, bool gap, uint64_t *offset) {
    struct at_entry entries[2];
    bool fresh;
    out->at_fd = open(out->at_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (out->at_fd < 0) return fail_path(out->at_path, "open");
    int good = read_entries(out, entries, &fresh);
    if (good < 0) return fail_path(out->at_path, "read");
    if (fresh) return begin_fresh(out, number, offset);
    if (!good) return fail(LW_ECORRUPT, "%s is damaged; to go on at the end of %s, remove it", out->at_path, out->path);
    return begin_again(out, entries, number, gap, offset);
}

int outfile_begin(struct outfile *out, const unsigned char *uuid, uint64_t number, bool gap, uint64_t *offset) {
    *offset = 0;
    memcpy(out->uuid, uuid, sizeof out->uuid);
    if (out->plain) return 0;
    return out->durable ? begin_durable(out, number, gap, offset) : cut_file(out, 0);
}

int outfile_record(struct outfile *out, uint64_t number, uint64_t offset) {
    if (out->at_fd < 0) return 0;
    struct at_entry entry = {.magic = at_magic, .sequence = out->sequence, .who = out->who};
    memcpy(entry.uuid, out->uuid, sizeof entry.uuid);
    entry.number = number;
    entry.offset = offset;
    entry.check = entry_check(&entry);
    ssize_t n = pwrite(out->at_fd, &entry, sizeof entry, (off_t)(out->slot * sizeof entry));
    if (n != (ssize_t)sizeof entry) {
        errno = n < 0 ? errno : ENOSPC;
        return fail_path(out->at_path, "write");
    }
    out->sequence++;
    out->slot ^= 1;
    return 0;
}

int outfile_end(struct outfile *out, uint64_t offset) {
    if (out->plain) return 0;
    int result = cut_file(out, offset);
    if (!result && out->at_fd >= 0 && unlink(out->at_path)) return fail_path(out->at_path, "remove");
    return result;
}

void outfile_close(struct outfile *out) {
    if (out->fd >= 0) close(out->fd);
    if (out->at_fd >= 0) close(out->at_fd);
    out->fd = out->at_fd = -1;
}
