/* SPDX-License-Identifier: MIT */
/*
 * lane/mirror.c - writing a lane that another host has written, byte for byte and position for position.
 *
 * Why nothing half is ever seen. Bytes land behind the tail, where no reader goes: the header word at the tail stays zero
 * (write.c, invariant Z), since the first eight bytes of what comes are kept back. When all is there and every header was
 * checked, the word after it is zeroed and the first header is stored with release, as for a batch. A death before that
 * leaves the tail where it was, and bytes behind it that the next writer writes over; after it, a tail that the next
 * writer walks to. So the tail says exactly what has arrived, and the other host is asked to go on from there.
 *
 * Why there is always a place. The window that was told is one for which room was gained (room.c): horizon was moved
 * first, so nobody can join in what may be overwritten, and limits never go back while this writer lives.
 */
#include "lane/lane.h"

static uint64_t *header_at(const struct lw__writer *w, uint64_t pos) {
    return (uint64_t *)(void *)(w->tx.ring + (pos & w->tx.mask));
}

/* From the beginning of the segment: horizon is rounded up, and must not pass the tail when all was consumed. Whoever
 * looks for the end of a lane takes one whose tail is before horizon for overtaken. */
uint64_t lw__mirror_window(struct lw__writer *w, uint64_t consumed) {
    uint64_t segment = UINT64_C(1) << w->lane->segment_shift;
    uint64_t window = (consumed & ~(segment - 1)) + w->lane->ring - 8;
#ifdef LW_PLANT_WINDOW_TAKEN_BACK
    if (consumed / segment % 16 == 9) return window - w->lane->ring / 2;
#endif
#ifndef LW_PLANT_WINDOW_WITHOUT_ROOM
    if (lw__writer_room(w, window)) return w->limit - 8;
#endif
    return window;
}

char *lw__mirror_land(struct lw__writer *w, uint64_t length) {
    if (w->tx.pos + length + 8 > w->limit && lw__writer_room(w, w->tx.pos + length)) return NULL;
    return w->tx.ring + (w->tx.pos & w->tx.mask);
}

/* Each header between tail and `end`; how many there are. They are ours alone until they are published, and each is
 * loaded once. Where the next one lies is known when this one was loaded; but mostly it is as long as the one before, and
 * with that for a guess the processor has many loads under way. */
static int64_t count(const struct lw__writer *w, uint64_t end, uint64_t first) {
    uint64_t at = w->tx.pos, header = first, usual = 0, size = lw__record_size(0);
    int64_t messages = 0;
    for (;;) {
        uint64_t flags = header >> 48, length = (uint32_t)header;
        if (!(flags & LW__COMMITTED) || flags & ~LW__FLAGS || length > w->lane->record_max) return LW_ECORRUPT;
        if (length != usual) {
            usual = length;
            size = lw__record_size(length);
            __asm__("" : "+r"(size)); /* a branch, which is guessed, and no conditional move */
        }
        at += size;
        messages++;
        if (at > end) return LW_ECORRUPT;
        if (at == end) return flags & LW__MORE ? LW_ECORRUPT : messages;
        header = lw__load(header_at(w, at));
    }
}

int64_t lw__mirror_publish(struct lw__writer *w, uint64_t length, uint64_t first) {
    uint64_t end = w->tx.pos + length;
    int64_t messages = count(w, end, first);
#ifdef LW_PLANT_CHUNK_NOT_CHECKED
    if (messages < 0) messages = 1;
#endif
    if (messages < 0) return messages;
#ifdef LW_PLANT_MIRROR_WITHOUT_ZERO_AHEAD
    uint64_t stale = lw__load(header_at(w, end));
#endif
    lw__writer_publish(w, end, first, (uint64_t)messages);
#ifdef LW_PLANT_MIRROR_WITHOUT_ZERO_AHEAD
    lw__store(header_at(w, end), stale);
#endif
    lw__writer_settle(w);
    return messages;
}

/* ---- the writer's side --------------------------------------------------------------------------------------------- */

bool lw__lane_proves(const struct lw__lane *lane, const struct lw__place *from, const struct lw__place *place) {
    struct lw__place at = *from;
    uint64_t header, size;
    while (at.pos < place->pos) {
        if (lw__record_at(lane, at.pos, &header, &size) <= 0) return false;
        at.pos += size;
        at.number++;
    }
    return at.pos == place->pos && at.number == place->number;
}

/* A mark is as good as the walk to it. */
static bool cut_at_mark(const struct lw__lane *lane, const struct lw__place *from, uint64_t limit,
                        struct lw__place *cut) {
    return lw__lane_mark_before(lane, limit, cut) && cut->pos > from->pos;
}

static bool walk(const struct lw__lane *lane, const struct lw__place *from, uint64_t limit, bool first,
                 struct lw__place *cut) {
    struct lw__place at = *from;
    uint64_t header, size;
    bool found = false;
    while (!(found && first) && lw__record_at(lane, at.pos, &header, &size) > 0 && at.pos + size <= limit) {
        at.pos += size;
        at.number++;
        if (header >> 48 & LW__MORE) continue;
        *cut = at;
        found = true;
    }
    return found;
}

bool lw__lane_cut(const struct lw__lane *lane, const struct lw__place *from, uint64_t limit, struct lw__place *cut) {
    return cut_at_mark(lane, from, limit, cut) || walk(lane, from, limit, false, cut);
}

bool lw__lane_cut_first(const struct lw__lane *lane, const struct lw__place *from, uint64_t limit,
                        struct lw__place *cut) {
    return walk(lane, from, limit, true, cut);
}
