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
#include "lane/layout.h"

/* Says whether an owner is dead for sure; may enter the kernel and close its epoch. */
struct lw__owners {
    bool (*gone)(void *context, uint64_t owner);
    void *context;
};

/* ---- file.c: the file -------------------------------------------------------------------------------------------- */

struct lw__lane_shape {
    uint64_t ring; /* set, valid */
    uint32_t slots;
    uint64_t start; /* first position, a multiple of ring; and its message's number */
    uint64_t number;
    const char *schema;
    uint64_t schema_hash;
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
    const struct lw__lane_id *id;
    struct lw__lane_state *state;
    struct lw__lane_ctl *ctl;
    struct lw__slot *slots;
    char *data; /* the ring, twice */
};

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

/* ---- write.c, batch.c, room.c: the writer ------------------------------------------------------------------------ */

struct lw__writer {
    struct lw__tx tx; /* first: laneway/fast.h works on it */
    struct lw__lane *lane;
    uint64_t owner;   /* what it put into the lock word */
    uint64_t holder;  /* who has it instead, after LW_EWRITER */
    uint64_t limit;   /* records must end 8 bytes before here */
    uint64_t marked;  /* segment whose mark is written */
    uint32_t slowest; /* slot that held back last */
    bool slow_only;   /* every call takes the slow path: the caller wants to look each time */
    uint64_t held_at; /* where the reservation lies */
    uint64_t fill;    /* batch: where the next record goes */
    uint64_t staged;  /* batch: records in it */
    uint64_t first;   /* batch: header of its first record, stored last */
    uint64_t last_at; /* batch: where its last record lies */
};

/* Takes the lock word for good and finds the end of the log. 0; LW_EWRITER with `holder`; LW_ECORRUPT (holder: the
 * position). */
int lw__writer_take(struct lw__writer *writer, struct lw__lane *lane, uint64_t owner, const struct lw__owners *owners);
void lw__writer_leave(struct lw__writer *writer);

/* Once each, without waiting. LW_EFULL, LW_ETOOBIG, LW_ESTATE; commit returns the position. */
int lw__writer_reserve(struct lw__writer *writer, void **data, uint64_t len);
int lw__writer_stage(struct lw__writer *writer, uint16_t type, uint64_t len);
int64_t lw__writer_commit(struct lw__writer *writer, uint16_t type, uint64_t len);
int64_t lw__writer_flush(struct lw__writer *writer); /* what is staged, without a reservation */
void lw__writer_abort(struct lw__writer *writer);
int64_t lw__writer_send(struct lw__writer *writer, uint16_t type, const void *data, uint64_t len);
int64_t lw__writer_send_batch(struct lw__writer *writer, const struct lw_item *items, size_t count);

/* Room for records that end at `end`. 0, or LW_EFULL with `slowest`, and then nothing was stored. */
int lw__writer_room(struct lw__writer *writer, uint64_t end);

/* ---- read.c, join.c: a reader ------------------------------------------------------------------------------------ */

struct lw__reader {
    struct lw__rx rx; /* first: laneway/fast.h works on it */
    struct lw__lane *lane;
    struct lw__slot *slot;
    uint64_t owner;  /* what it put into the slot's owner word */
    uint64_t ticket; /* and beside it */
    uint32_t index;
};

/* 1 and a message, LW_EEMPTY, LW_ECORRUPT (at rx.pos). */
int lw__reader_next(struct lw__reader *reader, struct lw_msg *msg);

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

/* Takes over a durable slot. LW_EHELD while its owner lives (then *holder is its word). Under the lane's file lock. */
int lw__slot_inherit(struct lw__reader *reader, struct lw__lane *lane, struct lw__slot *slot, uint64_t owner,
                     const struct lw__owners *owners, uint64_t *holder);

/* Gives a joined slot a name for good. Under the lane's file lock. */
void lw__slot_make_durable(struct lw__reader *reader, const char *name);

/* Frees a slot whose owner word is exactly `seen` (dead, or a durable one that is away); `me` owns it in between. */
bool lw__slot_free(struct lw__slot *slot, uint64_t seen, uint64_t me);

/* Frees what dead readers without a name left. Returns how many. */
unsigned lw__lane_sweep(struct lw__lane *lane, uint64_t me, const struct lw__owners *owners);

static inline unsigned lw__slot_kind(uint64_t owner) {
    return (unsigned)(owner & 15);
}

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
