/* SPDX-License-Identifier: MIT */
/*
 * lane/layout.h - every byte of a lane file. docs/spec/lane.md is the same for people; the fingerprint changes with
 * either.
 *
 *     page 0    0     what the file is: written once before the file has its name, covered by a CRC
 *               512   state: boot id, clean, superseded
 *               1024  what the writer's side of a link says (src/pattern/side.h); zero in a topic's lane
 *     page 1    4096  writer line: lock word, bias, last, run, tail
 *               4224  horizon
 *               4352  parked mask: 1,024 bits, readers that sleep
 *               4480  space-wanted mask: 1,024 bits, writers that sleep until there is room
 *               4608  slots ever used, joins
 *               5120  marks: 64 x {position, number}
 *               6144  slots of readers and shared writers: 256 bytes each
 *     head_size       ring: a power of two, mapped twice in a row
 *
 * Records in the ring: a header word {length 32, type 16, flags 16}, the payload, padding to 8 bytes. A position P is
 * found at ring + (P mod ring size). The header at the tail is zero at all times.
 *
 *     ... |hdr|payload..|pad|hdr|payload........|000|  old bytes of the lap before  ...
 *         ^ P (committed)   ^                   ^ tail: P + size + 8 <= limit, so this zero word always has a place
 *
 * Each field says who writes it, who reads it, in which order, and what it means if its writer dies there.
 */
#ifndef LW_LANE_LAYOUT_H
#define LW_LANE_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "laneway/fast.h"

#define LW__LANE_MAGIC UINT64_C(0x454e414c59574c0a) /* "\nLWYLANE" */

enum {
    LW__LANE_VERSION = 3,
    LW__STEP = 16384, /* what is published inline ends in the step in which the stored tail is */
    LW__PAGE = 4096,
    LW__MARKS = 64, /* the ring in so many segments: unit of room, and where a walk may begin */
    LW__SLOT_SIZE = 256,
    LW__SLOTS_MAX = 1024,
    LW__SLOTS_DEFAULT = 64,
    LW__SLOTS_AT = 6144,
    LW__STATE_AT = 512,
    LW__SUPERSEDED_AT = LW__STATE_AT + 24,
    LW__SIDE_AT = 1024,
    LW__MASK_WORDS = LW__SLOTS_MAX / 64,
};
#define LW__RING_MIN UINT64_C(4096)
#define LW__RING_MAX (UINT64_C(64) << 30)
#define LW__RECORD_MAX (UINT64_C(1) << 30)
/* No log comes this far; a tail that says so is damage. What is left to 2^63 keeps every position a positive number. */
#define LW__POSITION_END (UINT64_C(7) << 60)

enum lw__lane_mirror {
    LW__NO_MIRROR,
    LW__MIRROR,      /* of the log of the same uuid */
    LW__EMPTY_MIRROR /* of none yet: its uuid is nobody's, and nothing will ever be in it */
};

/* Page 0, bytes 0-255. Written once, by the creator, before the file has its name; read by all. */
struct lw__lane_id {
    uint64_t magic;
    uint32_t version;
    uint32_t fingerprint; /* of this layout: another one means another arrangement of bytes under the same version */
    unsigned char uuid[16];
    uint64_t ring;      /* bytes */
    uint32_t slots;     /* 1 to 1,024 */
    uint32_t head_size; /* bytes before the ring */
    uint64_t start;     /* first position; a multiple of the ring size */
    uint64_t schema_hash;
    char schema[64];
    uint64_t evict_lag; /* bytes that any reader may be behind before it is evicted; 0: it holds the writers back */
    uint64_t evict_age; /* seconds after which a durable reader without a living process may be evicted; 0: never */
    uint32_t
        mirror; /* enum lw__lane_mirror: what it holds was written on another host; its writer is who receives it */
    char room[104];
    uint32_t crc; /* CRC-32C of all before it */
};

/* Page 0, bytes 512-575. Changed under the lane's file lock (byte 0 of the file), read by all. */
struct lw__lane_state {
    unsigned char boot[16]; /* kernel that used it last. Torn by a death: "another boot", and the adoption runs again */
    uint64_t dirty; /* 0: closed in order, all pages belong together. Set before the first use, cleared by the last one
                       out. Release; a death leaves it set, which is the safe side */
    uint64_t superseded; /* 1: another file may stand at the path. Stored before a full fence and a look at the slots;
                            whoever attaches looks at it after a full fence (pairs). A death leaves 1 with the path
                            unchanged: the next one to hold the file lock clears it. Who waits and finds that somebody
                            removed the file by hand stores it too, without the lock: then it is true for good */
    uint64_t room[4];
};

/* A mark: some record (or the tail) begins at `pos`, its number is `number`. Written by the writer after the tail
 * reached `pos`: number release, then pos release. Read by joiners: pos acquire, number acquire, then horizon; valid
 * only if pos lies in a segment of this mark (index: segment mod 64) and pos >= horizon: a mark is written over only
 * after horizon passed its old position, and the release of `number` carries that. A new lane has the start in all of
 * them, and so valid in the first. A death between the two stores leaves a pair that the same test refuses. */
struct lw__mark {
    uint64_t pos;
    uint64_t number;
};

/* Page 1 and what follows. */
struct lw__lane_ctl {
    /* writer line. Written by the holder of `lock` (lock itself: by compare-and-swap) */
    /* 0 or {epoch 32, node 16, writer 15, biased 1}. Writer: 1 + the index of its slot, 0 when exclusive. Taken by
     * compare-and-swap (full), given back by release. A death leaves the dead owner's word: its heir replaces exactly
     * that. lock.c has the argument. */
    uint64_t lock;
    /* The word (without its lowest bit) of the shared writer that may be inside without having taken the lock, or 0.
     * By the holder of the lock, before it is given back; read by the next one after taking it (the lock's release and
     * compare-and-swap carry it). A death leaves it to the next one. */
    uint64_t bias;
    uint64_t last; /* who took the lock last, and how often in a row; by the holder, for the holder */
    uint64_t run;
    /* Out of line, before and after the commit of a record or batch; release pairs with lw__cursor_load. Behind by what
     * was published inline since, less than a step, or, after a death, by one record or batch: whoever reads it walks on
     * over committed headers. */
    struct lw__cursor tail;
    uint64_t room0[9];

    /* Nothing before here may be joined; always a multiple of ring / 64. Written by the writer before a full fence and
     * a second look at the heads; read by joiners after storing their head and a full fence (pairs). A death leaves it
     * higher than needed: records between were not overwritten but can't be joined, no more. */
    uint64_t horizon;
    uint64_t writer_bell; /* of an exclusive writer, as `bell` of a slot: by the holder of `lock` */
    uint64_t room1[14];

    /* One bit a slot: its reader sleeps, or is about to. By the holder of the slot's owner word, by locked operations
     * (others' bits are in the same word); whoever takes a slot over clears it. Read by writers after a commit: plainly,
     * with nothing but the compiler held back between, since whoever sets a bit runs a membarrier before its second look
     * (park.c). A death leaves it set: a writer that comes upon it finds the owner closed, and puts it down. */
    uint64_t parked[LW__MASK_WORDS];
    /* The same for writers that wait for room, looked at by readers after they release. An exclusive writer has no slot
     * and uses bit 0 (there are no shared ones beside it). */
    uint64_t wanted[LW__MASK_WORDS];

    /* Slots at this index and beyond were never taken: the writer looks only below. Raised by joiners (never lowered),
     * before their head and their full fence; read by the writer after its full fence (the same pair as `horizon`). */
    uint64_t slots_used;
    /* Places that were taken at horizon or beyond. Counted by a joiner after it stored its place and before it looks at
     * horizon: the addition is its full fence. Read by the writer after its own full fence: unchanged since its last
     * look at the heads, there is no new one. A death after the store and before the count leaves a dead reader. */
    uint64_t joins;
    uint64_t room2[62];

    struct lw__mark marks[LW__MARKS];
};

/* Bits 0-3 of an owner word in a slot. */
enum lw__slot_kind {
    LW__SLOT_RELIABLE = 1, /* holds the writer back, freed when its owner is dead */
    LW__SLOT_DURABLE = 2,  /* the same, and kept by name when its owner is dead or gone */
    LW__SLOT_PASSING = 3,  /* as reliable, for a moment: a slot being freed, or the second one of a seek */
    LW__SLOT_LOSSY = 4,    /* a reader that holds nobody back: its place is `seen`, its cursor is nowhere */
    LW__SLOT_WRITER = 5    /* a shared writer: its cursor is nowhere */
};

/* Further bits of an owner word: part of it, so that whoever acts on one by compare-and-swap acts on the reader as it
 * was seen, and never on the slot's next owner. */
enum {
    LW__SLOT_EVICTED = 16,   /* holds back no more; what it lost is what horizon passed */
    LW__SLOT_LAG = 32,       /* may be evicted for being more than `cap` behind; reads by copy only */
    LW__SLOT_RETURNING = 64, /* not evicted any more, but its place is not known to be held */
    LW__SLOT_BITS = 127      /* all that this version knows, kind included */
};

struct lw__slot {
    /* {epoch 32, node 16, policy 12, kind 4}, 0 free. {seconds 32, 0, policy, DURABLE}: a name whose reader is away, and,
     * on a lane with evict_age, since when (seconds of CLOCK_BOOTTIME). Taken by compare-and-swap of exactly the word seen (full): 0, or a closed
     * owner's. Given back by release after cursor.pos = LW__NOWHERE. A death leaves it to the sweep of whoever opens or
     * waits. */
    uint64_t owner;
    uint64_t joined_number; /* by the owner, when it joined: for people */
    uint64_t lost; /* messages that were lost to this durable reader by an unclean reboot; by the maker of a new
                      incarnation, before the file has its name; set to 0 by the owner when it has been told */
    /* By the owner, after it took the slot and before its place; with the owner word it names one handle for good, also
     * in a file that the slot was copied to. Brought by the release of the place. */
    uint64_t ticket;
    /* Coming back from eviction: 1 + the number of the first message that was passed without having been released, 0
     * none; and the number of the first one that was not passed, 0: that of the place. By the owner, the first before
     * its place moves on, the other one after. evict.c says what a death leaves. */
    uint64_t missed;
    uint64_t missed_to;
    uint64_t
        dropped; /* messages lost to this reader since it joined, by lapping or eviction; by the owner: for people */
    uint64_t room0[1];
    /* Shared writer: bit 0 says that it may be inside (lock.c), the rest counts its messages. By the owner: bit 0 set
     * plainly before its look at the lock word, cleared by release. A death leaves it: whoever waits for it sees that
     * the owner is closed. */
    uint64_t section;
    struct lw__cursor seen; /* a lossy reader's place, as `cursor` else; for people, and for who copies the slot */
    uint64_t room1[4];
    /* The reader's place: all before is released. By the owner only: release pairs with the writer's acquire when it
     * looks at the heads, so the owner's reads are over before the bytes are overwritten. LW__NOWHERE: does not count.
     * A death leaves the old place or the new: not released is delivered again. */
    struct lw__cursor cursor;
    /* How far it may be behind, in bytes, if its owner word says LAG; 0: the ring. By the owner before its place. */
    uint64_t cap;
    /* Where to ring for the one who has this slot: {number of the bell of its process plus 1, index}, 0 nowhere. One
     * store moves it. By the owner, before its bit in a mask, whose locked operation releases it. Who reads an old one
     * rings in vain, and the new place was looked at after it was stored. */
    uint64_t bell;
    uint64_t room2[3];
    char name[64]; /* durable: by the maker under the lane's file lock before the kind becomes DURABLE. Else all zero or
                      stale */
};

#define LW__NOWHERE UINT64_MAX

_Static_assert(sizeof(struct lw__lane_id) == 256, "page 0");
_Static_assert(sizeof(struct lw__lane_state) == 64, "state");
_Static_assert(LW__STATE_AT + offsetof(struct lw__lane_state, superseded) == LW__SUPERSEDED_AT, "superseded");
_Static_assert(offsetof(struct lw__lane_ctl, horizon) == 128, "horizon at 4224");
_Static_assert(offsetof(struct lw__lane_ctl, parked) == 256, "parked at 4352");
_Static_assert(offsetof(struct lw__lane_ctl, slots_used) == 512, "slots used at 4608");
_Static_assert(offsetof(struct lw__lane_ctl, marks) == 1024, "marks at 5120");
_Static_assert(sizeof(struct lw__lane_ctl) == LW__SLOTS_AT - LW__PAGE, "slots at 6144");
_Static_assert(sizeof(struct lw__slot) == LW__SLOT_SIZE, "slot");
_Static_assert(offsetof(struct lw__slot, bell) == 160, "bell at 160 of a slot");
_Static_assert(offsetof(struct lw__slot, section) == 64, "a shared writer's mark is not beside its owner word");
_Static_assert(offsetof(struct lw__slot, cursor) == 128, "a reader's place has a line of its own");

/* Over everything that another build could arrange differently. */
enum { LW__LANE_FINGERPRINT = LW__PAGE << 16 ^ LW__SLOT_SIZE << 4 ^ LW__MARKS << 1 ^ LW__SLOTS_AT ^ 0x1a4e };

/* Every header flag of this version; another one is corrupt. */
#define LW__FLAGS (LW__COMMITTED | LW__MORE)

#endif
