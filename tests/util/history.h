/* SPDX-License-Identifier: MIT */
/*
 * util/history.h - decides what was lost, repeated, out of order or corrupt between one sender and one receiver, however many
 * processes each of them took. It asks Laneway nothing.
 *
 * Both note what they do in memory that outlives them: before a call (what is tried) and after it returned (what is done).
 * A SIGKILL in between leaves both words as they are, so it is known what has happened for sure, and what may have.
 * Message n is of n alone, its length, type and bytes, so the receiver says of each whether it is what it should be.
 *
 *     lost          send had taken it, and it never came
 *     repeated      it came again although its release had returned
 *     redelivered   it came again, and was not released: allowed, and counted apart
 *
 * Parent: history_check() again and again (the receiver waits when too much is unchecked), history_receiver_died() when it is
 * reaped, history_verdict() at the end.
 */
#ifndef LW_TESTS_HISTORY_H
#define LW_TESTS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "laneway/laneway.h"

enum { HISTORY_LOG = 1 << 13, HISTORY_MESSAGE = 32 << 10 };

struct history_delivery {
    uint64_t number;
    uint64_t released; /* as it was then */
    uint32_t life;     /* the how many-th process of the receiver this is */
    bool intact;
};

struct history {
    uint64_t salt; /* so that two streams have different bytes */
    /* the sender's */
    _Alignas(64) uint64_t tried, sent; /* messages, with and without those of the call that is under way */
    /* the receiver's */
    _Alignas(64) uint64_t releasing, released, written;
    /* the checker's */
    _Alignas(64) uint64_t checked;
    uint64_t next, previous; /* to come, and the last that came */
    uint32_t life;
    bool any;
    uint64_t resume[2]; /* where the receiver may begin: released and releasing when it died */
    uint64_t lost, repeated, redelivered, reordered, corrupt, invented;
    struct history_delivery log[HISTORY_LOG];
};

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* Sizes of 0, 1, 8, 64 and 300 bytes; of each hundred one has `big` bytes (0: none is that). */
size_t history_message(const struct history *h, uint64_t number, size_t big, void *to);
/* How many messages from this one on go in one batch. */
uint64_t history_batch(uint64_t number);
static inline uint16_t history_type(uint64_t number) {
    return (uint16_t)number;
}

/* ---- notes ------------------------------------------------------------------------------------------------------- */

void history_sending(struct history *h, uint64_t end);
void history_sent(struct history *h, uint64_t end);
/* A new process of the sender finds that so many were sent. */
void history_sender_resumes(struct history *h, uint64_t end);

void history_came(struct history *h, const struct lw_msg *msg, size_t big, uint32_t life);
void history_releasing(struct history *h, uint64_t end);
void history_released(struct history *h, uint64_t end);

/* ---- by the checker ---------------------------------------------------------------------------------------------- */

void history_check(struct history *h);
void history_receiver_died(struct history *h);
/* So far, is all well? */
bool history_is_clean(const struct history *h);
/* All that was sent was received and released. */
bool history_is_complete(const struct history *h);
/* Both, and says what is not. */
bool history_verdict(struct history *h, const char *name);

static inline uint64_t history_get(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

#endif
