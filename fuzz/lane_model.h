/* SPDX-License-Identifier: MIT */
/*
 * lane_model - what a lane must be, in plain memory: records, places, marks, room, the lock word. For lane_ops_fuzz.
 *
 * One thing happens at a time here, so what the library argues about in fences is a sequence. What a writer keeps from
 * its last look at the readers is kept here too: room is exact, and so is who is evicted.
 */
#ifndef LW_FUZZ_LANE_MODEL_H
#define LW_FUZZ_LANE_MODEL_H

#include "lane/lane.h"

enum {
    RING = 4096,
    SEGMENT = RING / LW__MARKS,
    SLOTS = 6,
    WRITERS = 3,
    RECORD_MAX = RING / 2 - 16,
    RECORDS = 1 << 14,
    STAGED = 256,
    ALONE = 1024 /* so often in a row a shared writer comes before the lock word is biased towards it */
};

struct record {
    uint64_t pos;
    uint16_t type;
    uint32_t len;
    bool more;
};

enum life { FREE, OPEN, DEAD, AWAY }; /* of a slot */

struct place { /* a slot */
    enum life life;
    unsigned kind; /* LW__SLOT_RELIABLE (durable ones too), LOSSY, WRITER */
    bool durable, lag, evicted, returning;
    uint64_t cap;
    uint32_t head, next; /* records */
    uint32_t copied;     /* a reader by copy has all before */
    uint64_t missed, missed_to;
    struct lw__reader reader;
};

struct handle { /* a writer */
    bool open;
    bool biased, never_biased;
    uint64_t limit, lag_limit, reach, joins, evicted;
    uint32_t slowest;
    struct lw__place done;
    struct lw__writer w;
};

static struct {
    struct record records[RECORDS];
    uint32_t count; /* published: a record's number is its index */
    uint64_t tail, horizon, joins;
    struct lw__mark marks[LW__MARKS];
    bool mark_due; /* a writer died: whether the last mark is there is not known before the next one came */
    struct place places[SLOTS];
    bool shared;
    struct handle handles[WRITERS]; /* exclusive: the first */
    struct handle *inside;          /* a shared writer that was stopped in its section */
    bool by_mark;                   /* it went in without taking the lock */
    uint64_t lock, bias, last, run;
    uint64_t held; /* bytes reserved plus 1 */
    struct record staged[STAGED];
    uint32_t staged_count;
} m;

static uint64_t size_of(uint64_t len) {
    return 8 + (len + 7) / 8 * 8;
}

static uint64_t pos_of(uint32_t i) {
    return i < m.count ? m.records[i].pos : m.tail;
}

static bool by_copy(const struct place *p) {
    return p->lag || p->kind == LW__SLOT_LOSSY;
}

/* ---- room --------------------------------------------------------------------------------------------------------- */

struct view {
    uint64_t reach, lag_limit;
    uint32_t slowest, laggard;
};

static bool holds_back(const struct place *p) {
    return p->life != FREE && p->kind == LW__SLOT_RELIABLE && !p->evicted;
}

static struct view model_view(const struct handle *h) {
    struct view v = {.reach = UINT64_MAX, .lag_limit = UINT64_MAX, .slowest = h->slowest};
    for (uint32_t i = 0; i < SLOTS; i++) {
        const struct place *p = &m.places[i];
        if (!holds_back(p)) continue;
        uint64_t head = pos_of(p->head);
        if (p->lag && p->cap && p->cap < RING && head + p->cap < v.lag_limit) {
            v.lag_limit = head + p->cap;
            v.laggard = i;
        }
        if (head + RING < v.reach) {
            v.reach = head + RING;
            v.slowest = i;
        }
    }
    return v;
}

static bool model_evict(struct place *p) {
    bool was = p->evicted;
    p->evicted = true;
    return !was;
}

/* Evicts those with LAG that are in the way, the one that holds back most first. */
static bool model_make_way(struct handle *h, uint64_t over) {
    const struct place *hint = &m.places[h->slowest];
    if (holds_back(hint) && !hint->lag && pos_of(hint->head) + RING < over) return false;
    for (int tries = 0; tries <= SLOTS; tries++) {
        struct view v = model_view(h);
        if (over <= v.reach && m.tail <= v.lag_limit) return true;
        bool by_reach = over > v.reach;
        if (by_reach) h->slowest = v.slowest;
        struct place *p = &m.places[by_reach ? v.slowest : v.laggard];
        if (!p->lag) return false;
        h->evicted += model_evict(p);
    }
    return false;
}

static bool model_knows(const struct handle *h, uint64_t over) {
    return over <= h->reach && m.tail <= h->lag_limit && m.joins == h->joins;
}

/* Room up to `end` and for the zero behind it. */
static bool model_room(struct handle *h, uint64_t end) {
    uint64_t over = end + 8;
    if (over <= h->limit && m.tail <= h->lag_limit) return true;
    if (!model_knows(h, over) && !model_make_way(h, over)) return false;
    uint64_t need = over > RING ? over - RING : 0, target = (need + SEGMENT - 1) / SEGMENT * SEGMENT;
    if (target > m.horizon) m.horizon = target;
    if (!model_knows(h, over)) {
        struct view v = model_view(h);
        h->reach = v.reach;
        h->lag_limit = v.lag_limit;
        h->slowest = v.slowest;
        h->joins = m.joins;
    }
    h->limit = (h->reach < m.horizon + RING ? h->reach : m.horizon + RING);
    return true;
}

/* ---- publishing --------------------------------------------------------------------------------------------------- */

/* A segment's mark is the first tail in it. */
static void model_mark(void) {
    struct lw__mark *mark = &m.marks[m.tail / SEGMENT % LW__MARKS];
    if (mark->pos / SEGMENT != m.tail / SEGMENT) *mark = (struct lw__mark){.pos = m.tail, .number = m.count};
    m.mark_due = false;
}

static void model_stage(uint16_t type, uint64_t len) {
    m.staged[m.staged_count++] = (struct record){.type = type, .len = (uint32_t)len};
}

static void model_publish(struct handle *h) {
    for (uint32_t i = 0; i < m.staged_count; i++) {
        m.records[m.count] = m.staged[i];
        m.records[m.count].more = i + 1 < m.staged_count;
        m.records[m.count++].pos = m.tail;
        m.tail += size_of(m.staged[i].len);
        h->done.pos += size_of(m.staged[i].len);
        h->done.number++;
    }
    m.staged_count = 0;
    m.held = 0;
    model_mark();
}

/* ---- the lock ----------------------------------------------------------------------------------------------------- */

/* 0, or LW_EWRITER while another one is stopped inside. */
static int model_enter(struct handle *h) {
    if (!m.shared) return 0;
    bool mark = h->biased && m.lock == (h->w.word | 1);
    if (!mark) h->biased = false;
    if (m.inside && m.by_mark) m.lock = 0; /* taken from it, and given back unused */
    if (m.inside) return LW_EWRITER;
    m.inside = h;
    m.by_mark = mark;
    if (mark) return 0;
    m.run = m.last == h->w.word ? m.run + 1 : 1;
    m.last = m.lock = h->w.word;
    h->biased = m.run >= ALONE && !h->never_biased;
    m.bias = h->biased ? h->w.word : 0;
    model_mark();
    return 0;
}

static void model_exit(struct handle *h) {
    if (!m.shared) return;
    if (!m.by_mark) m.lock = h->biased ? h->w.word | 1 : 0;
    m.inside = NULL;
}

static void model_leave(struct handle *h) {
    h->open = false;
    if (!m.shared) {
        m.lock = 0;
    } else if (m.bias == h->w.word && model_enter(h) == 0) {
        m.lock = m.bias = 0;
        m.inside = NULL;
    }
}

/* ---- places ------------------------------------------------------------------------------------------------------- */

/* The first or last record that a walk may begin at: a mark at or after horizon, at or before `last`. */
static bool model_mark_in(uint64_t last, bool first, uint32_t *index) {
    bool found = false;
    uint64_t best = 0;
    for (int i = 0; i < LW__MARKS; i++) {
        const struct lw__mark *mark = &m.marks[i];
        if (mark->pos < m.horizon || mark->pos > last) continue;
        if (found && (first ? mark->pos >= best : mark->pos <= best)) continue;
        best = mark->pos;
        *index = (uint32_t)mark->number;
        found = true;
    }
    return found;
}

/* The first mark at `from` or beyond, else the end. */
static uint32_t model_mark_from(uint64_t from) {
    uint64_t best = m.tail;
    uint32_t index = m.count;
    for (int i = 0; i < LW__MARKS; i++) {
        const struct lw__mark *mark = &m.marks[i];
        if (mark->pos < m.horizon || mark->pos < from || mark->pos >= best) continue;
        best = mark->pos;
        index = (uint32_t)mark->number;
    }
    return index;
}

static bool model_place(enum lw_from from, uint64_t position, uint32_t *index) {
    *index = m.count;
    if (from == LW_FROM_NOW) return true;
    if (from == LW_FROM_OLDEST) return model_mark_in(m.tail, true, index);
    if (position % 8 || !model_mark_in(position, false, index)) return false;
    while (*index < m.count && m.records[*index].pos < position) ++*index;
    return pos_of(*index) == position;
}

/* Did a joiner come so far as to hold a mark? Then it counted. */
static bool model_holds(enum lw_from from, uint64_t position) {
    uint32_t index;
    return from != LW_FROM_POSITION ||
           (position % 8 == 0 && !(position >> 63) && model_mark_in(position, false, &index));
}

static void model_sweep(void) {
    for (int i = 0; i < SLOTS; i++)
        if (m.places[i].life == DEAD && !m.places[i].durable) m.places[i].life = FREE;
}

static bool free_slot(void) {
    for (int i = 0; i < SLOTS; i++)
        if (m.places[i].life == FREE) return true;
    return false;
}

/* As lw__slot_take: the dead are swept only when nothing is free. */
static bool model_take(void) {
    if (free_slot()) return true;
    model_sweep();
    return free_slot();
}

/* ---- eviction ----------------------------------------------------------------------------------------------------- */

static bool model_pending(const struct place *p) {
    return p->missed && p->head <= p->missed_to;
}

/* Those before its place: it may have sought back. */
static uint64_t model_missed(const struct place *p) {
    uint64_t to = p->head < p->missed_to ? p->head : p->missed_to;
    return model_pending(p) && to > p->missed - 1 ? to - (p->missed - 1) : 0;
}

static void model_cut(struct place *p, uint64_t number) {
    if (p->missed && number >= p->missed) p->missed = number < p->missed_to ? number + 1 : 0;
}

/* An eighth of the ring before horizon comes, and a quarter of the cap before it is too far behind again. */
static uint64_t model_room_for(const struct place *p) {
    uint64_t from = m.horizon + RING / 8;
    if (!p->lag || !p->cap || p->cap > RING || m.tail <= p->cap) return from;
    uint64_t within = m.tail - p->cap + p->cap / 4;
    return within > from ? within : from;
}

/* Returns how many were passed that had not been handed out. */
static uint32_t model_come_back(struct place *p) {
    uint32_t to = p->head, was = p->next;
    if (m.horizon > pos_of(p->head)) {
        if (!model_pending(p) || p->head + 1 < p->missed) p->missed = p->head + 1;
        to = m.horizon > pos_of(p->next) ? model_mark_from(model_room_for(p)) : p->next;
        p->missed_to = to;
    }
    m.joins++;
    p->evicted = p->returning = false;
    p->head = to;
    if (to > p->next) p->next = to;
    p->copied = p->next;
    return p->next - was;
}

/* What receiving gives. 1: the record at next - 1. */
static int model_next(struct place *p, uint32_t *passed) {
    *passed = 0;
    if (by_copy(p) && p->next >= p->copied) {
        if (p->kind == LW__SLOT_LOSSY && m.horizon > pos_of(p->next)) {
            uint32_t to = model_mark_from(m.horizon + RING / 8);
            *passed = to - p->next;
            p->head = p->next = p->copied = to;
            return LW_EGAP;
        }
        if (p->evicted && (*passed = model_come_back(p))) return LW_EEVICTED;
        p->copied = m.count;
    }
    if (p->next >= m.count) return LW_EEMPTY;
    p->next++;
    return 1;
}

#endif
