/* SPDX-License-Identifier: MIT */
/*
 * kill/evict.h - durable reader "d", which may be evicted: what operations here and meetings in lane/evict_step_test.c
 * share. What is checked is a sum: what its lives released, what the next one is told that it missed, and what it still
 * gets, are together all that was published.
 */
#ifndef LW_TESTS_KILL_EVICT_H
#define LW_TESTS_KILL_EVICT_H

#include "kill/kill.h"
#include "util/reader_util.h"

enum { KE_RING = 4096, KE_CAP = 1024, KE_WRITER = KILL_BEFORE };

struct ke_scene {
    struct lw__writer w; /* the child's */
    struct lw__reader r;
    struct lw__place old; /* the reader's place before */
    enum lw_from from;
    uint64_t position, released;
    unsigned policy;
    bool in_place;
    bool between; /* a writer has gone by meanwhile: a place may count although it is lost */
};
extern struct ke_scene ke;

void ke_begin(uint32_t slots, uint64_t age);

int64_t ke_write_laps(struct lw__writer *w, uint64_t bytes);
void ke_write(struct lw__lane *lane, uint64_t bytes); /* by a writer that comes and goes */

/* It has released three messages, and was handed `held` more when it closed; then the writer went on. */
void ke_make_d(unsigned held, uint64_t bytes);
struct lw__slot *ke_slot_of_d(struct lw__lane *lane);

/* In the child: nobody yet, a writer, who goes on as "d". */
void ke_be_nobody(void *arg);
void ke_be_writer(void *arg);
void ke_inherit(void *arg);
/* Evicted a second time, with the child as its living owner that was handed some messages. */
void ke_be_d(void *arg);

/* Who was killed leaves a sum that is right, and nothing else. */
struct kill_verdict ke_adds_up(struct lw__lane *lane);

#endif
