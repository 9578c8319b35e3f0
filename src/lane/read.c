/* SPDX-License-Identifier: MIT */
/*
 * lane/read.c - receiving, out of line: what the inline path in laneway/fast.h leaves.
 *
 * A reliable reader's bytes stay as they are from its place on (room.c), so it reads in place. The header word is
 * loaded once, bounded, and only the local copy is used.
 */
#include "lane/lane.h"

/* What the inline path reads when every call is to take the slow path: nothing there, for ever. */
static const uint64_t nothing[2];

void lw__reader_divert(struct lw__reader *r) {
    r->rx.ring = (const char *)nothing;
    r->rx.mask = 0;
    r->rx.looks = 0;
}

void lw__reader_undivert(struct lw__reader *r) {
    lw__reader_divert(r);
    if (r->by_copy) return; /* until something is copied */
    r->rx.ring = r->lane->data;
    r->rx.mask = r->lane->mask;
}

_Static_assert(offsetof(struct lw_msg, flags) == offsetof(struct lw_msg, type) + 2, "lw_sub_next() stores them as one");

int lw__reader_next(struct lw__reader *r, struct lw_msg *msg) {
    uint64_t header, size;
    if (r->by_copy) return lw__reader_next_copy(r, msg);
    int rc = lw__record_at(r->lane, r->rx.pos, &header, &size);
    if (rc <= 0) return rc ? rc : LW_EEMPTY;
    *msg = (struct lw_msg){.data = r->lane->data + (r->rx.pos & r->lane->mask) + 8,
                           .len = (uint32_t)header,
                           .position = r->rx.pos,
                           .next = r->rx.pos + size,
                           .number = r->rx.number++,
                           .type = (uint16_t)(header >> 32),
                           .flags = (uint16_t)(header >> 48 & LW_MSG_MORE)};
    r->rx.pos += size;
#ifdef LW_PLANT_RELEASE_BEFORE_READ
    lw__cursor_store(r->rx.cursor, r->rx.pos, r->rx.number);
#endif
    return 1;
}
