/* SPDX-License-Identifier: MIT */
/*
 * util/notes.h - messages of several writers. A shared writer doesn't know its message's number before it is in, so a
 * note says who wrote it and which of that writer's it is; its length, its type and all its bytes follow from the two.
 *
 * Who reads checks what must hold for any number of writers: positions and numbers without a gap, each writer's notes
 * in its order and each once, no batch with something else in it.
 */
#ifndef LW_TESTS_NOTES_H
#define LW_TESTS_NOTES_H

#include "util/lane_util.h"

enum { TN_WRITERS = 16, TN_NOTE = 96 }; /* `who` is below the one, a note has at most so many bytes */

/* A shared writer of owner `id`: it must work. */
void tn_join(struct lw__writer *w, struct lw__lane *lane, unsigned id);
/* The same writer as it is, in another mapping: of the file, or of a copy. */
struct lw__writer tn_moved(const struct lw__writer *w, struct lw__lane *to);

/* A note by `w`, by lw_pub_send() as programs do it: inline when it may be, else the slow way. */
int64_t tn_send(struct lw__writer *w, unsigned who, uint64_t n);
/* The slow way at once. */
int64_t tn_send_slow(struct lw__writer *w, unsigned who, uint64_t n);
/* What a send does between entering and leaving: the caller is inside. */
void tn_put(struct lw__writer *w, unsigned who, uint64_t n);
/* `count` of them as a batch, the first is note n. */
int64_t tn_send_batch(struct lw__writer *w, unsigned who, uint64_t n, unsigned count);
/* What a note or a batch takes in the ring. */
uint64_t tn_size(unsigned who, uint64_t n, unsigned count);

/* As if it had been alone for long: its next send gets it the bias. Nobody may be inside. */
void tn_about_to_be_biased(struct lw__writer *w);
/* Sends note n, and has the bias. */
void tn_bias(struct lw__writer *w, unsigned who, uint64_t n);

/* How many notes of each writer were read. */
struct tn_log {
    uint64_t next[TN_WRITERS];
    uint64_t left; /* of the batch that is being read */
    unsigned who;  /* ... and whose it is */
};

/* Reads to the end and releases; NULL, or what is wrong. */
const char *tn_read(struct lw__reader *r, struct tn_log *log);
/* One note. */
const char *tn_check(const struct lw_msg *msg, struct tn_log *log);

#endif
