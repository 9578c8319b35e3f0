/* SPDX-License-Identifier: MIT */
/*
 * lane/write.c - publishing, and taking over from a writer that died.
 *
 * Why a record is there whole or not at all. Invariant Z: the header word at the tail is zero. To publish at P a record
 * that ends at E: (1) payload to P+8..E, (2) zero to the header at E, (3) header to P with release, (4) tail cursor,
 * (5) mark. Before (3) the word at P is zero by Z, so nobody looks past it: a death leaves nothing. (3) is one 8-byte
 * store: it is done or it is not. After (3), Z holds for the new tail E because of (2), which (3) releases. A death
 * between (3) and (4) leaves the stored tail at P: whoever reads it walks over what is committed and stops at Z. A
 * death before (5) leaves a segment without its mark: the next writer writes one when it takes over. The zero word is
 * always inside what the writer may touch, since E + 8 <= limit.
 *
 * The log says itself where it ends, so the inline path leaves (4) out. It goes no further than the end of the step (16
 * KiB, or a segment if that is less) in which the stored tail is. Out of line the tail is stored before (2) too, if it
 * is behind. So who walks goes over less than a step, or over one record or batch, half a ring at most, never over both.
 *
 * A batch is the same with several records between P and E: their headers are stored plainly, all but the first, which
 * is (3). Readers can't reach the others without passing P.
 *
 * One writer at a time does any of this: lock.c says who, and why those before it are over and seen.
 */
#include <string.h>

#include "lane/lane.h"

static uint64_t *header_at(const struct lw__writer *w, uint64_t pos) {
    return (uint64_t *)(void *)(w->tx.ring + (pos & w->tx.mask));
}

/* By whoever is inside. Pairs with lw__cursor_load(). */
static void store_tail(const struct lw__writer *w) {
    struct lw__cursor *tail = &w->lane->ctl->tail;
    if ((lw__load(&tail->pos) & ~UINT64_C(7)) != w->tx.pos) lw__cursor_store(tail, w->tx.pos, w->tx.number);
}

void lw__writer_publish(struct lw__writer *w, uint64_t end, uint64_t header, uint64_t messages) {
#ifndef LW_PLANT_BATCH_BEHIND_OLD_TAIL
    store_tail(w);
#endif
    w->tx.number += messages - 1; /* publishing adds the one */
    lw__tx_publish(&w->tx, w->tx.pos, header_at(w, w->tx.pos), end - w->tx.pos, header);
    store_tail(w);
}

/* A mark for the tail's segment, if it has none yet, and the edge up to which the inline path may go: not into the next
 * segment (which wants a mark), not out of the step in which the stored tail is (from there all walk), not beyond the
 * limit. Pairs with mark_load(). */
void lw__writer_settle(struct lw__writer *w) {
    struct lw__lane *lane = w->lane;
    uint64_t segment = w->tx.pos >> lane->segment_shift;
    if (segment != w->marked) {
        struct lw__mark *mark = &lane->ctl->marks[segment % LW__MARKS];
#ifdef LW_PLANT_MARK_BEFORE_NUMBER
        lw__store_release(&mark->pos, w->tx.pos);
#endif
        lw__store_release(&mark->number, w->tx.number); /* after horizon: see struct lw__mark */
        lw__store_release(&mark->pos, w->tx.pos);
        w->marked = segment;
    }
    w->tx.lap = (uintptr_t)w->tx.ring - (w->tx.pos & ~w->tx.mask);
    uint64_t boundary = (w->tx.pos | (lw__lane_step(lane) - 1)) + 1;
#ifdef LW_PLANT_INLINE_OVER_MARKS
    boundary = w->limit;
#endif
#ifdef LW_PLANT_INLINE_OVER_STEPS
    boundary = (segment + 1) << lane->segment_shift;
#endif
    uint64_t edge = w->limit < boundary ? w->limit : boundary;
    if (w->lag_limit < edge) edge = w->lag_limit;
    w->tx.edge = w->tx.edge_after = w->slow_only || w->slot ? 0 : (int64_t)edge;
    w->tx.edge_inside = w->slow_only || !w->slot || !w->biased ? 0 : (int64_t)edge;
}

/* ---- the end of the log ------------------------------------------------------------------------------------------ */

int lw__writer_find_end(struct lw__writer *w) {
    struct lw__lane *lane = w->lane;
    struct lw__place tail;
#ifdef LW_PLANT_RESUME_WITHOUT_WALK
    int rc = lw__cursor_load(&lane->ctl->tail, &tail) ? 0 : LW_ECORRUPT;
#else
    int rc = lw__lane_tail(lane, &tail);
#endif
    w->holder = tail.pos;
    if (rc) return rc;
    uint64_t header, size;
#ifndef LW_PLANT_RESUME_WITHOUT_WALK
    if (lw__record_at(lane, tail.pos, &header, &size) != 0)
        return LW_ECORRUPT; /* more than a batch behind: not by a death */
#endif
    w->tx.pos = tail.pos;
    w->tx.number = tail.number;
    store_tail(w);
    uint64_t mark = lw__load(&lane->ctl->marks[(tail.pos >> lane->segment_shift) % LW__MARKS].pos);
    bool marked = mark >> lane->segment_shift == tail.pos >> lane->segment_shift && mark <= tail.pos;
    w->marked = marked ? tail.pos >> lane->segment_shift : UINT64_MAX;
    lw__writer_settle(w);
    return 0;
}

/* ---- one record, or the next one of a batch ---------------------------------------------------------------------- */

int lw__writer_reserve(struct lw__writer *w, void **data, uint64_t len) {
    if (lw__writer_holds(w)) return LW_ESTATE;
#ifndef LW_PLANT_SIZE_NOT_CHECKED
    if (len > w->lane->record_max) return LW_ETOOBIG;
#endif
    uint64_t at = w->staged ? w->fill : w->tx.pos, end = at + lw__record_size(len);
    if (end + 8 - w->tx.pos > w->lane->ring / 2) return LW_ETOOBIG; /* of a batch: it would not fit as a whole */
    int rc = lw__writer_room(w, end);
    if (rc) return rc;
    w->held_at = at;
    w->held = len + 1;
    w->tx.edge = 0; /* whatever comes next comes here */
    *data = w->tx.ring + (at & w->tx.mask) + 8;
    return 0;
}

/* The inline reserve leaves held_at to us. */
static uint64_t held_at(const struct lw__writer *w) {
    return w->held ? w->held_at : w->tx.pos;
}

static bool fits(const struct lw__writer *w, uint64_t len) {
    return len < (w->held ? w->held : lw__tx_held(&w->tx));
}

int lw__writer_stage(struct lw__writer *w, uint16_t type, uint64_t len) {
    if (!fits(w, len)) return LW_ESTATE;
    uint64_t at = held_at(w), header = lw__header(len, type, LW__COMMITTED | LW__MORE);
#ifdef LW_PLANT_BATCH_FIRST_HEADER_FIRST
    lw__store(header_at(w, at), header);
#endif
    if (w->staged++ == 0)
        w->first = header;
    else
        lw__store(header_at(w, at), header);
    w->last_at = at;
    w->fill = at + lw__record_size(len);
    w->tx.edge = 0;
    w->held = 0;
    return 0;
}

int64_t lw__writer_commit(struct lw__writer *w, uint16_t type, uint64_t len) {
    if (!fits(w, len)) return LW_ESTATE;
    uint64_t pos = w->tx.pos, at = held_at(w), end = at + lw__record_size(len);
    uint64_t last = lw__header(len, type, LW__COMMITTED), first = w->staged ? w->first : last;
    if (w->staged) lw__store(header_at(w, at), last);
    lw__writer_publish(w, end, first, w->staged + 1);
    w->staged = w->held = 0;
    lw__writer_settle(w);
    return (int64_t)pos;
}

/* The last one staged becomes the last of the batch. */
int64_t lw__writer_flush(struct lw__writer *w) {
    if (lw__writer_holds(w) || !w->staged) return LW_ESTATE;
    uint64_t pos = w->tx.pos, no_more = ~(LW__MORE << 48);
    if (w->staged == 1)
        w->first &= no_more;
    else
        lw__store(header_at(w, w->last_at), lw__load(header_at(w, w->last_at)) & no_more);
    lw__writer_publish(w, w->fill, w->first, w->staged);
    w->staged = 0;
    lw__writer_settle(w);
    return (int64_t)pos;
}

void lw__writer_abort(struct lw__writer *w) {
    if (w->slot) return; /* a shared one has nothing in place, and the tail is not ours here */
    w->staged = w->held = 0;
    lw__writer_settle(w);
}

static int64_t send_inside(struct lw__writer *w, uint16_t type, const void *data, uint64_t len) {
    void *place;
    int rc = lw__writer_reserve(w, &place, len);
    if (rc) {
        if (!lw__writer_holds(w)) lw__writer_settle(w);
        return rc;
    }
#ifdef LW_PLANT_COMMIT_BEFORE_COPY
    int64_t pos = lw__writer_commit(w, type, len);
    if (len) memcpy(place, data, len);
    return pos;
#endif
    if (len) memcpy(place, data, len);
    return lw__writer_commit(w, type, len);
}

int64_t lw__writer_send(struct lw__writer *w, uint16_t type, const void *data, uint64_t len) {
    if (w->staged || lw__writer_holds(w)) return LW_ESTATE;
    int rc = lw__writer_enter(w);
    if (rc) return rc;
    int64_t pos = send_inside(w, type, data, len);
    lw__writer_exit(w);
    return pos;
}

/* ---- batches by copy --------------------------------------------------------------------------------------------- */

/* What the batch takes in the ring; UINT64_MAX if one of its messages never fits. */
static uint64_t batch_size(const struct lw__writer *w, const struct lw_item *items, size_t count) {
    uint64_t size = 0;
    for (size_t i = 0; i < count && size <= w->lane->ring; i++) {
        if (items[i].len > w->lane->record_max) return UINT64_MAX;
        size += lw__record_size(items[i].len);
    }
    return size;
}

/* Headers and payloads of all, but the first header: that is the commit. There is room for `size` bytes from the tail. */
static int64_t publish_batch(struct lw__writer *w, const struct lw_item *items, size_t count, uint64_t size) {
    uint64_t pos = w->tx.pos, at = pos, first = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t len = items[i].len, flags = LW__COMMITTED | (i + 1 < count ? LW__MORE : 0);
        uint64_t *here = header_at(w, at), header = lw__header(len, items[i].type, flags);
        if (len) memcpy(here + 1, items[i].data, len);
        if (i)
            lw__store(here, header);
        else
            first = header;
        at += lw__record_size(len);
    }
    lw__writer_publish(w, pos + size, first, count);
    lw__writer_settle(w);
    return (int64_t)pos;
}

int64_t lw__writer_send_batch(struct lw__writer *w, const struct lw_item *items, size_t count) {
    if (w->staged || lw__writer_holds(w) || !count) return LW_ESTATE;
    uint64_t size = batch_size(w, items, count);
    if (size > w->lane->ring / 2 - 8) return LW_ETOOBIG;
    int rc = lw__writer_enter(w);
    if (rc) return rc;
    int64_t pos = lw__writer_room(w, w->tx.pos + size);
    if (!pos) pos = publish_batch(w, items, count, size);
    lw__writer_exit(w);
    return pos;
}
