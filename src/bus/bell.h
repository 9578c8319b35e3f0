/* SPDX-License-Identifier: MIT */
/*
 * bus/bell.h - how a sleeping group is woken: a small file and a FIFO, bells/<node>.<number> and bells/<node>.<number>~.
 *
 *     0     what it is          64   word: {turn 62, state 2}
 *     128   summary             192  rings
 *     256   ready words: a bit for each index; a bit of the summary stands for 16 of them
 *
 * Whoever rings sets the bit of its index and the bit of the summary, both every time, then looks at the word, and
 * writes a byte to the FIFO if that says asleep. bell.c has the argument.
 */
#ifndef LW_BUS_BELL_H
#define LW_BUS_BELL_H

#include "base/atomic.h"
#include "bus/bus.h"

enum {
    LW__BELL_WORDS = 1024,                 /* ready words at most */
    LW__BELL_INDEXES = LW__BELL_WORDS * 64 /* index 0 is for the group itself */
};

enum lw__bell_state { LW__AWAKE, LW__ASLEEP, LW__RUNG };

struct lw__bell_page {
    char magic[8];
    uint32_t version;
    uint32_t words; /* ready words in this file; both written once, before the file has its name */
    uint64_t room0[6];
    /* {turn 62, state 2}. By its group: AWAKE, and with the next turn ASLEEP, before a full fence and a look at summary.
     * By ringers: exactly the ASLEEP that they saw to RUNG, after the byte is in the FIFO. A death of a ringer before the
     * byte leaves ASLEEP: the next ringer rings; after it, the group wakes anyway. */
    uint64_t word;
    uint64_t room1[7];
    uint64_t summary; /* a bit for 16 ready words. Set by ringers after the ready bit, taken (exchange) by the group */
    uint64_t room2[7];
    uint64_t rings; /* sleeps that ringers ended; counted by them, for people */
    uint64_t room3[7];
    uint64_t ready[]; /* set by ringers, taken by the group after the summary */
};

/* Our own. */
struct lw__bell {
    struct lw__bell_page *page;
    uint32_t words;
    uint32_t number;
    int fifo;
    uint64_t turn;
    bool asleep;
};

/* Makes file and FIFO, of a number that this node had not yet. Negative with text. Inside enter/leave. */
int lw__bell_make(struct lw__bell *bell, struct lw_bus *bus, uint32_t words);
void lw__bell_drop(struct lw__bell *bell, struct lw_bus *bus);
/* In a forked child. */
void lw__bell_cut(struct lw__bell *bell);

/* For the slots: where to ring for the handle of this index. */
static inline uint64_t lw__bell_word(const struct lw__bell *bell, uint32_t index) {
    return (uint64_t)(bell->number + 1) << 32 | index;
}

/* The group says that it sleeps from now on. False: somebody has rung already; do not sleep. */
bool lw__bell_sleep(struct lw__bell *bell);
/* ... that it does not any more. Empties the FIFO, if there may be something in it: what is left ends the next sleep. */
void lw__bell_wake(struct lw__bell *bell, bool drain);

static inline bool lw__bell_has_rung(const struct lw__bell *bell) {
    return __atomic_load_n(&bell->page->summary, __ATOMIC_RELAXED) != 0;
}

/* Calls `each` for every index that was rung for. */
void lw__bell_collect(struct lw__bell *bell, void (*each)(void *context, uint32_t index), void *context);

/* Rings our own bell. Safe in signal handlers. */
void lw__bell_ring_own(struct lw__bell *bell, uint32_t index);

/* Rings the bell that a slot of `owner` says, of this process or another. Nothing happens when there is none (any more).
 * Never waits. From any thread, not from signal handlers. */
void lw__bell_ring(struct lw_bus *bus, uint64_t owner, uint64_t bell);

/* The bells of others that this bus handle has open. */
void lw__bell_close_peers(struct lw_bus *bus);

#endif
