/* SPDX-License-Identifier: MIT */
/*
 * lane/lane.h - the ring in a file: make, map, write, read, look. Knows nothing of names, nodes or waiting; whether an
 * owner is dead it asks its caller. Nothing here waits, and nothing but making and mapping enters the kernel.
 */
#ifndef LW_LANE_LANE_H
#define LW_LANE_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "lane/layout.h"

/* Whether an owner is dead for sure. `closed` is a plain look and may be late; `gone` may enter the kernel, and closes
 * the epoch of one that is dead. */
struct lw__owners {
    bool (*closed)(void *context, uint64_t owner);
    bool (*gone)(void *context, uint64_t owner);
    void *context;
};

/* ---- file.c: the file -------------------------------------------------------------------------------------------- */

struct lw__lane_shape {
    uint64_t ring; /* set, valid */
    uint32_t slots;
    uint64_t start;  /* first position, a multiple of ring */
    uint64_t tail;   /* where the log begins within it: at `start` or after it, before start + ring; 0: at start */
    uint64_t number; /* of the message there */
    const unsigned char *uuid; /* NULL: a new one */
    enum lw__lane_mirror mirror;
    const char *schema;
    uint64_t schema_hash;
    uint64_t evict_lag; /* bytes, seconds; 0: never */
    uint64_t evict_age;
    const char
        *reader; /* a durable reader that is there from the start, away; NULL: none. It holds the writer back from
                           the first record on. Not together with the two above */
};

/* One mapping of a lane. Roles (writer, readers) are built on it and may share it. */
struct lw__lane {
    char *base;
    uint64_t head_size;
    uint64_t ring;
    uint64_t mask;
    uint64_t start; /* first position: a copy, like the ones above, since the file may change under us */
    uint32_t slots_max;
    uint32_t segment_shift; /* a segment is ring / 64 */
    uint64_t record_max;    /* largest payload */
    uint64_t evict_lag;     /* as in struct lw__lane_id */
    uint64_t evict_age;
    enum lw__lane_mirror mirror;
    const struct lw__lane_id *id;
    struct lw__lane_state *state;
    struct lw__lane_ctl *ctl;
    struct lw__slot *slots;
    char *data; /* the ring, twice */
};

/* What is published inline and the stored tail lie within one such piece of the log, which divides a segment. */
static inline uint64_t lw__lane_step(const struct lw__lane *lane) {
    uint64_t segment = UINT64_C(1) << lane->segment_shift;
    return segment < LW__STEP ? segment : LW__STEP;
}

enum lw__access { LW__LOOK, LW__READ, LW__WRITE };

uint64_t lw__lane_file_size(const struct lw__lane_shape *shape);

/* Writes the head of a new lane to a file of lw__lane_file_size() zero bytes. -errno, no text. */
int lw__lane_format(int fd, const struct lw__lane_shape *shape, const unsigned char boot[16]);

/* Maps and checks. LW_ECORRUPT, LW_EVERSION, -ENOMEM, ..., with text that begins with `path`. */
int lw__lane_map(struct lw__lane *lane, int fd, enum lw__access access, const char *path);
void lw__lane_unmap(struct lw__lane *lane);

/* ---- cursor.c: positions ----------------------------------------------------------------------------------------- */

struct lw__place {
    uint64_t pos;
    uint64_t number;
};

/* A cursor's position and number that belong together. False: it never stood still (only garbage does that). */
bool lw__cursor_load(const struct lw__cursor *cursor, struct lw__place *place);

/* The end of the log: from the stored tail over what is committed. 0, or LW_ECORRUPT with `place->pos` where. */
int lw__lane_tail(const struct lw__lane *lane, struct lw__place *place);

/* The oldest mark at or after horizon. 0 or LW_ECORRUPT. */
int lw__lane_oldest(const struct lw__lane *lane, struct lw__place *place);

/* The last mark at or before `pos` that is not before horizon. False: there is none. */
bool lw__lane_mark_before(const struct lw__lane *lane, uint64_t pos, struct lw__place *place);

/* The header at a position, checked: 1 and its size in the ring; 0 nothing there; LW_ECORRUPT. Loads the word once
 * (acquire). */
int lw__record_at(const struct lw__lane *lane, uint64_t pos, uint64_t *header, uint64_t *size);

/* The same where it may be overwritten meanwhile: to be believed when horizon is not beyond `pos` afterwards. */
int lw__record_racy(const struct lw__lane *lane, uint64_t pos, uint64_t *header, uint64_t *size);

/* The oldest mark at `from` or beyond that is not before horizon; if there is none, the tail. 0 or LW_ECORRUPT. Good at
 * the moment of the look only: whoever wants to stay there takes the place and looks at horizon again. */
int lw__lane_mark_from(const struct lw__lane *lane, uint64_t from, struct lw__place *place);

/* ---- lock.c, write.c, room.c: the writer ------------------------------------------------------------------------- */

enum lw__section { LW__OUTSIDE, LW__BY_MARK, LW__BY_LOCK };

struct lw__writer {
    struct lw__tx tx; /* first: laneway/fast.h works on it */
    struct lw__lane *lane;
    struct lw__owners owners;
    struct lw__slot *slot; /* of a shared writer; NULL: exclusive */
    uint64_t word;         /* what it puts into the lock word */
    uint64_t holder;       /* who has it instead, after LW_EWRITER */
    enum lw__section section;
    bool biased;        /* the lock word was biased towards us when we left it */
    bool never_biased;  /* never keep it: the caller's choice */
    bool long_alone;    /* one more time that it would have become so */
    bool slow_only;     /* every call takes the slow path: the caller wants to look each time */
    uint64_t limit;     /* records must end 8 bytes before here ... */
    uint64_t lag_limit; /* ... and begin at or before here */
    uint64_t reach;     /* the same, by the places of the readers alone, as they were when `joins` was loaded */
    uint64_t joins;
    uint64_t marked;  /* segment whose mark is written */
    uint32_t slowest; /* slot that held back last */
    uint64_t evicted; /* readers that we evicted */
    uint64_t spare;   /* the next record needs so much more room than it takes: what others wait for is left to them */
    uint64_t held;    /* bytes reserved by the slow path plus 1; 0: none */
    uint64_t held_at; /* where that reservation lies */
    uint64_t fill;    /* batch: where the next record goes */
    uint64_t staged;  /* batch: records in it */
    uint64_t first;   /* batch: header of its first record, stored last */
    uint64_t last_at; /* batch: where its last record lies */
    struct lw__place from; /* shared: between here and tx.pos all is ours ... */
    struct lw__place done; /* ... and so much before: bytes, messages */
};

static inline bool lw__writer_holds(const struct lw__writer *w) {
    return w->tx.edge < 0 || w->held;
}

/* Every call takes the slow path, until that settles it. */
static inline void lw__writer_divert(struct lw__writer *w) {
    if (w->tx.edge > 0) w->tx.edge = 0; /* less: a reservation, and what follows it */
    w->tx.edge_after = w->tx.edge_inside = 0;
}

/* Makes an exclusive writer: takes the lock word for good and finds the end of the log. 0; LW_EWRITER with `holder`;
 * LW_ECORRUPT (holder: the position). */
int lw__writer_take(struct lw__writer *writer, struct lw__lane *lane, uint64_t owner, const struct lw__owners *owners);

/* Makes a shared writer, with a slot. 0; LW_EWRITER with `holder`, an exclusive one; LW_ENOSLOT; LW_ECORRUPT (holder:
 * the position). Its process must be registered for membarriers. */
int lw__writer_join(struct lw__writer *writer, struct lw__lane *lane, uint64_t owner, const struct lw__owners *owners);
void lw__writer_leave(struct lw__writer *writer);

/* A shared writer's section: in it, the tail is ours and known. 0; LW_EWRITER with `holder`, who is inside and did not
 * come out for some microseconds; LW_ECORRUPT (holder: the position); -errno when the kernel refuses the membarrier. An
 * exclusive writer is inside for good. */
int lw__writer_enter(struct lw__writer *writer);
void lw__writer_exit(struct lw__writer *writer);

/* The end of the log, into `tx`; makes the stored state say so. LW_ECORRUPT (holder: the position). */
int lw__writer_find_end(struct lw__writer *writer);

/* Bytes (pos) and messages (number) that this handle published. */
struct lw__place lw__writer_done(const struct lw__writer *writer);

/* Once each, without waiting for room. LW_EFULL, LW_ETOOBIG, LW_ESTATE; commit returns the position. What is in place
 * is for exclusive writers. The two that send also give what lw__writer_enter() does. */
int lw__writer_reserve(struct lw__writer *writer, void **data, uint64_t len);
int lw__writer_stage(struct lw__writer *writer, uint16_t type, uint64_t len);
int64_t lw__writer_commit(struct lw__writer *writer, uint16_t type, uint64_t len);
int64_t lw__writer_flush(struct lw__writer *writer); /* what is staged, without a reservation */
void lw__writer_abort(struct lw__writer *writer);
int64_t lw__writer_send(struct lw__writer *writer, uint16_t type, const void *data, uint64_t len);
int64_t lw__writer_send_batch(struct lw__writer *writer, const struct lw_item *items, size_t count);

/* Commits what is in place from the tail to `end`, so many messages, by the first one's header, and stores the tail. By
 * whoever is inside. */
void lw__writer_publish(struct lw__writer *writer, uint64_t end, uint64_t header, uint64_t messages);

/* Room for records that end at `end`, evicting readers that may be. 0, or LW_EFULL with `slowest`, and then nothing was
 * stored. */
int lw__writer_room(struct lw__writer *writer, uint64_t end);

/* A mark and the inline path's edge for where the tail is now. */
void lw__writer_settle(struct lw__writer *writer);

/* Would a record of `size` bytes in the ring find room? A look without consequences. */
bool lw__writer_might_fit(const struct lw__writer *writer, uint64_t size);

/* ---- mirror.c: writing what another host wrote ------------------------------------------------------------------- */

/* So far the other host may write, when our readers are done with all before `consumed`: never less than before. */
uint64_t lw__mirror_window(struct lw__writer *writer, uint64_t consumed);

/* Where `length` bytes of records behind the tail are to land, all but the first eight. NULL: there is no room. */
char *lw__mirror_land(struct lw__writer *writer, uint64_t length);

/* They have landed, and `first` are the first eight: publishes them all. How many messages; LW_ECORRUPT, and nothing is
 * published: these are no whole records and batches. */
int64_t lw__mirror_publish(struct lw__writer *writer, uint64_t length, uint64_t first);

/* Is `place` where a record begins, or the end, with that number? Within a batch too: half of one may be released.
 * `from` is such a place, at or before it. */
bool lw__lane_proves(const struct lw__lane *lane, const struct lw__place *from, const struct lw__place *place);

/* The last place behind `from` where a batch or single record ends, at `limit` or before. False: there is none. The
 * second: the first such place. */
bool lw__lane_cut(const struct lw__lane *lane, const struct lw__place *from, uint64_t limit, struct lw__place *cut);
bool lw__lane_cut_first(const struct lw__lane *lane, const struct lw__place *from, uint64_t limit,
                        struct lw__place *cut);

/* ---- read.c: a reader -------------------------------------------------------------------------------------------- */

struct lw__reader {
    struct lw__rx rx; /* first: laneway/fast.h works on it */
    struct lw__lane *lane;
    struct lw__slot *slot;
    uint64_t owner;  /* what it put into the slot's owner word */
    uint64_t ticket; /* and beside it */
    uint32_t index;
    bool by_copy;     /* its bytes may be overwritten while it reads: it is lossy, or may be evicted for its lag */
    uint64_t passed;  /* messages that the last LW_EGAP or LW_EEVICTED passed over */
    uint64_t orphans; /* messages below this number that were handed out and not released went with an eviction ... */
    uint64_t orphans_at; /* ... if the place is still here */
    char *copies;        /* by copy: some records ... */
    char *large;         /* ... or a large one */
    uint64_t large_size;
};

/* 1 and a message, LW_EEMPTY, LW_ECORRUPT (at rx.pos). By copy also LW_EGAP (lossy) and LW_EEVICTED (`passed` says how
 * many messages), LW_ECLOSED (the slot is not ours any more), -ENOMEM (a large record). */
int lw__reader_next(struct lw__reader *reader, struct lw_msg *msg);

/* Sends every call past the inline path, and back: by copy, what was copied is forgotten. */
void lw__reader_divert(struct lw__reader *reader);
void lw__reader_undivert(struct lw__reader *reader);

/* ---- copy.c: a reader by copy ------------------------------------------------------------------------------------ */

/* Memory for copies: before a slot is taken for a reader by copy. -ENOMEM. */
int lw__reader_make_copies(struct lw__reader *reader);
void lw__reader_free_copies(struct lw__reader *reader);

int lw__reader_next_copy(struct lw__reader *reader, struct lw_msg *msg);

/* ---- evict.c ----------------------------------------------------------------------------------------------------- */

/* Takes from exactly the reader that was seen the right to hold writers back. */
bool lw__slot_evict(struct lw__slot *slot, uint64_t seen);

/* On a lane with evict_age: a durable reader whose owner, seen, is dead is away from now on, if it was not yet. */
bool lw__slot_note_away(const struct lw__lane *lane, struct lw__slot *slot, uint64_t seen);

/* Evicts such a one if it is away for long enough. */
bool lw__slot_evict_old(const struct lw__lane *lane, struct lw__slot *slot, uint64_t seen);

/* Ends our eviction: at our own place if nothing was lost, else at a mark with room; `passed` is how many messages that
 * were not handed out lie before it. LW_ECORRUPT; LW_ECLOSED, the slot is not ours any more. */
int lw__reader_come_back(struct lw__reader *reader);

/* After coming back: where what was missed ends, should nobody have said so yet. */
void lw__slot_end_missed(struct lw__slot *slot, const struct lw__place *place);

/* Messages below `number` are done with: they are not missed any more. */
void lw__slot_cut_missed(struct lw__slot *slot, uint64_t number);

/* How many messages this durable reader missed, as far as nobody released anything after them: its next owner is told. */
uint64_t lw__slot_missed(const struct lw__slot *slot);

/* ---- join.c, slot.c: any reader ---------------------------------------------------------------------------------- */

/* A free slot, taken for `owner` (kind included), nowhere yet. LW_ENOSLOT. */
int lw__reader_take(struct lw__reader *reader, struct lw__lane *lane, uint64_t owner, const struct lw__owners *owners);

/* Sets the reader up on a slot that `owner` has. It is nowhere yet. */
void lw__reader_bind(struct lw__reader *reader, struct lw__lane *lane, struct lw__slot *slot, uint64_t owner);

/* Joins at `from`; the slot must be nowhere or be given up on failure. LW_EPOSITION, LW_ECORRUPT. */
int lw__reader_join(struct lw__reader *reader, enum lw_from from, uint64_t position);

/* Goes on where the slot's cursor is. LW_ECORRUPT when that can't be. */
int lw__reader_resume(struct lw__reader *reader);

/* Moves to another place. Dies with the old or the new one. LW_EPOSITION, LW_ENOSLOT, LW_ECORRUPT. */
int lw__reader_seek(struct lw__reader *reader, enum lw_from from, uint64_t position, const struct lw__owners *owners);

/* Gives the slot back; a durable one keeps its place and name. */
void lw__reader_leave(struct lw__reader *reader);

/* ---- slot.c: slots of others ------------------------------------------------------------------------------------- */

/* The slot of a durable name, or NULL. Under the lane's file lock. */
struct lw__slot *lw__slot_find(const struct lw__lane *lane, const char *name);

/* Takes over a durable slot, which is evicted then if it is now, or was about to come back. LW_EHELD while its owner lives (then *holder is its word).
 * Under the lane's file lock. */
int lw__slot_inherit(struct lw__reader *reader, struct lw__lane *lane, struct lw__slot *slot, uint64_t owner,
                     const struct lw__owners *owners, uint64_t *holder);

/* Gives a joined slot a name for good. Under the lane's file lock. */
void lw__slot_make_durable(struct lw__reader *reader, const char *name);

/* Frees a slot whose owner word is exactly `seen` (dead, or a durable one that is away); `me` owns it in between. */
bool lw__slot_free(struct lw__slot *slot, uint64_t seen, uint64_t me);

/* Clears the bits of a slot that nobody living has: a durable place is away from now on, another one free. `me` owns it
 * in between. */
bool lw__slot_put_down(const struct lw__lane *lane, struct lw__slot *slot, uint64_t seen, uint64_t me);

/* Frees what dead readers without a name and dead writers left; notes since when durable ones are dead. Returns how many were freed. */
unsigned lw__lane_sweep(struct lw__lane *lane, uint64_t me, const struct lw__owners *owners);

/* A free slot, taken for `owner` (kind included), nowhere yet. NULL: there is none. */
struct lw__slot *lw__slot_take(struct lw__lane *lane, uint64_t owner, const struct lw__owners *owners);

static inline unsigned lw__slot_kind(uint64_t owner) {
    return (unsigned)(owner & 15);
}

/* What a durable reader's word becomes when it is away from now on. Since when is only noted where somebody asks. */
static inline uint64_t lw__slot_away(const struct lw__lane *lane, uint64_t owner) {
    return (lane->evict_age ? lw__seconds() & UINT32_MAX : 0) << 32 | (owner & 0xffff);
}

/* Does somebody subscribe with this slot, alive or durable? */
bool lw__slot_subscribes(const struct lw__slot *slot);

/* An owner word without what others, or coming back, do to it. */
static inline uint64_t lw__slot_settled(uint64_t owner) {
    return owner & ~(uint64_t)(LW__SLOT_EVICTED | LW__SLOT_RETURNING);
}

/* The process of an owner word, without what the slot adds. */
static inline uint64_t lw__slot_process(uint64_t owner) {
    return owner & ~UINT64_C(0xffff);
}

/* ---- park.c: who sleeps ------------------------------------------------------------------------------------------ */

/* Never empty: the masks of a handle whose every commit, or release, is to go the slow path. */
extern const uint64_t lw__masks_always[LW__MASK_WORDS];

static inline uint32_t lw__mask_words(const struct lw__lane *lane) {
    return (lane->slots_max + 63) / 64;
}

/* What the inline path looks at: the mask, if one word is all of it. */
static inline const uint64_t *lw__mask_of(const struct lw__lane *lane, const uint64_t *mask) {
    return lw__mask_words(lane) == 1 ? mask : lw__masks_always;
}

/* Does anybody sleep? As lw__is_any(). */
bool lw__mask_any(const struct lw__lane *lane, const uint64_t *mask);

/* Where to ring for this reader or writer, 0 nowhere. */
void lw__reader_bell(struct lw__reader *reader, uint64_t bell);
void lw__writer_bell(struct lw__writer *writer, uint64_t bell);

/* It sleeps from now on, or not any more. Before it sleeps: a membarrier, and one more look. */
void lw__reader_park(struct lw__reader *reader, bool on);
void lw__writer_park(struct lw__writer *writer, bool on);

bool lw__slot_is_parked(const struct lw__lane *lane, const struct lw__slot *slot);

/* Nobody sleeps on this slot any more: by whoever took it over, or is about to give it back. */
void lw__slot_unpark(const struct lw__lane *lane, struct lw__slot *slot);

struct lw__ringer {
    void (*ring)(void *context, uint64_t owner, uint64_t bell);
    void *context;
};

/* Rings for each that sleeps, and puts down what the dead have left (`me` owns it in between). After a full fence, or a
 * look at the mask as in lw__is_any(). */
void lw__lane_ring_readers(struct lw__lane *lane, uint64_t me, const struct lw__owners *owners,
                           const struct lw__ringer *ringer);
void lw__lane_ring_writers(struct lw__lane *lane, uint64_t me, const struct lw__owners *owners,
                           const struct lw__ringer *ringer);

/* ---- inspect.c: looking on --------------------------------------------------------------------------------------- */

struct lw__lane_check {
    uint64_t from, to;
    uint64_t records, batches, bytes;
    uint64_t skipped; /* bytes overwritten while looking */
    uint64_t bad;     /* position of the trouble */
    const char *what; /* the trouble */
};

/* Walks over everything retained. 0 or LW_ECORRUPT. Reads only; a writer may be running. */
int lw__lane_verify(const struct lw__lane *lane, struct lw__lane_check *check);

#endif
