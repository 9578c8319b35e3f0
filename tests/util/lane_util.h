/* SPDX-License-Identifier: MIT */
/*
 * util/lane_util.h - lanes for tests: a file in memory, owners that die when the test says so, and messages that say
 * themselves who they are. A message's bytes and type follow from its number and length, so whoever receives one can
 * tell that it is whole, unchanged and the one that it should be.
 *
 * Checks return NULL, or what is wrong in words, so that children and cmocka cases can share them: T_SOUND() in a case.
 */
#ifndef LW_TESTS_LANE_UTIL_H
#define LW_TESTS_LANE_UTIL_H

#include "lane/lane.h"
#include "util/util.h"

struct t_lane {
    int fd; /* passes to forked children, which map it again */
    uint64_t size;
    struct lw__lane lane;
};

/* `start` must be a multiple of `ring`; other than 0, numbers begin at T_NUMBER. */
enum { T_NUMBER = 1000003 };
struct t_lane t_lane_make(uint64_t ring, uint32_t slots, uint64_t start);
struct t_lane t_lane_make_shaped(const struct lw__lane_shape *shape);
void t_lane_end(struct t_lane *lane);

/* One more mapping of the same file, as another process has it. */
struct lw__lane t_lane_map(const struct t_lane *lane, enum lw__access access);

/* All bytes of the file, in memory of our own; put them back. */
char *t_lane_save(const struct t_lane *lane);
void t_lane_restore(const struct t_lane *lane, const char *bytes);
/* The first byte that differs from what was saved; -1: none. */
int64_t t_lane_differs(const struct t_lane *lane, const char *bytes);

/* ---- owners: 1 to 65,535, alive until they are said to be dead; forked children see that too --------------------- */

void t_owner_set(unsigned id, bool alive);
bool t_owner_alive(unsigned id);
extern const struct lw__owners t_owners;
static inline uint64_t t_owner(unsigned id, unsigned kind) {
    return (uint64_t)id << 32 | 1 << 16 | kind;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

void t_fill(void *data, uint64_t len, uint64_t number);
uint16_t t_type(uint64_t number, uint64_t len);
bool t_fits(const struct lw_msg *msg);

/* Sends the next message, inline when laneway/fast.h would not go the slow way. Also by reserve and commit. */
int64_t t_send(struct lw__writer *w, uint64_t len);
int64_t t_send_in_place(struct lw__writer *w, uint64_t reserve, uint64_t len);
/* A batch of `count` messages of `len` bytes: by copy, or staged in place (by turns the last one too, and then
 * flushed). */
enum { T_BATCH_MAX = 64 };
int64_t t_send_batch(struct lw__writer *w, const uint64_t *len, unsigned count);
int64_t t_stage_batch(struct lw__writer *w, const uint64_t *len, unsigned count);

/* The next message, inline or not by turns. */
int t_next(struct lw__reader *r, struct lw_msg *msg);
int t_release(struct lw__reader *r, const struct lw_msg *msg);

/* ---- the usual steps --------------------------------------------------------------------------------------------- */

/* They must work; in a child or in a case. */
void t_write_as(struct lw__writer *w, struct lw__lane *lane, unsigned id);
void t_read_as(struct lw__reader *r, struct lw__lane *lane, unsigned id, enum lw_from from, uint64_t position);
void t_durable_as(struct lw__reader *r, struct lw__lane *lane, unsigned id, const char *name, enum lw_from from);

/* ---- checks ------------------------------------------------------------------------------------------------------ */

#define T_SOUND(check)                                                                                                 \
    do {                                                                                                               \
        const char *t_trouble = (check);                                                                               \
        if (t_trouble) fail_msg("%s: %s", #check, t_trouble);                                                          \
    } while (0)

/* Reads to the end and releases: each message whole, in order, none missing, no batch cut. Adds to `count` (may be
 * NULL). */
const char *t_drain(struct lw__reader *r, uint64_t *count);
/* At rest: verify finds nothing, and the header at the tail is zero. `tail` may be NULL. */
const char *t_at_rest(const struct lw__lane *lane, struct lw__place *tail);
/* Everything retained, read from the oldest on: ends with message `last`. Takes a slot for a moment. */
const char *t_retained(struct lw__lane *lane, uint64_t last);
/* Goes on as owner `id` after a death: takes the writer's part, at message `low` to `high` (that it is goes to
 * *number), writes more than a lap while a new reader reads all of it. For lanes without readers that stand still. */
const char *t_goes_on(struct lw__lane *lane, unsigned id, uint64_t low, uint64_t high, uint64_t *number);

/* Words for T_SOUND, printf style; kept in one buffer. */
const char *t_words(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
