/* SPDX-License-Identifier: MIT */
/*
 * wire/pair.h - two sessions, a client and a server, over two pipes in memory, for tests and fuzz targets. Whoever includes
 * it defines MUST(condition) first.
 *
 * The client writes the lanes of even numbers, the server those of odd ones. The byte at a position of a lane is a function
 * of both, and so is the count of messages in a chunk: what arrives can be checked without a memory of what was sent.
 * Each lane has something of an earlier connection: more was written than has arrived.
 */
#ifndef LW_TESTS_WIRE_PAIR_H
#define LW_TESTS_WIRE_PAIR_H

#include <stdlib.h>
#include <string.h>

#include "wire/session.h"

enum { RING = 4096, LANES = 5, GUARD = 64, PIPE = 1 << 14, ARRIVED = 24, WRITTEN = 64 };

#define PAIR_USE static __attribute__((unused))

/* One way. The byte at `flip_at` comes with `flip` in it; those from `cut_at` on do not come; those before `split_at` come
 * apart from those after. */
struct pipe {
    unsigned char bytes[PIPE];
    size_t head, tail;
    uint64_t total, flip_at, cut_at, split_at;
    unsigned char flip;
};

/* What one side has of a lane. */
struct pair_lane {
    unsigned char memory[GUARD + 2 * RING + GUARD]; /* the writer's chunk, or the reader's mirror */
    uint64_t came, came_number;                     /* reader: whole chunks */
    uint64_t freed, freed_number;
    uint64_t window;
    uint64_t chunks;
};

struct pair_end {
    struct lw__wire wire;
    struct lw__greeting theirs;
    struct lw__wire_lane lanes[LANES];
    struct pair_lane have[LANES];
    uint32_t count; /* of lanes */
    bool server;
    bool lenient; /* content is not checked */
    bool records; /* content is records */
    bool draining;
    bool silent; /* does not answer the greeting by itself */
    unsigned greetings, refusals, said, closed, acked, beats, wrong;
    uint64_t chunks;
    struct lw__words last; /* that came */
    int error;
};

struct pair {
    struct pair_end end[2]; /* client, server */
    struct pipe pipe[2];    /* to the server, to the client */
    size_t push, pull;      /* bytes that are sent, and read, at a time */
};

/* ---- content ------------------------------------------------------------------------------------------------------ */

PAIR_USE unsigned char content_at(uint16_t lane, uint64_t position) {
    return (unsigned char)((position * UINT64_C(0x9e3779b97f4a7c15) >> 40) + lane * 37u);
}

PAIR_USE uint64_t messages_at(uint64_t position, uint64_t length) {
    return length < 8 ? 0 : 1 + (position * 7 + length) % (length / 8);
}

PAIR_USE bool content_is(uint16_t lane, uint64_t position, const void *bytes, uint64_t length) {
    for (uint64_t i = 0; i < length; i++)
        if (((const unsigned char *)bytes)[i] != content_at(lane, position + i)) return false;
    return true;
}

/* ---- what both say ------------------------------------------------------------------------------------------------ */

PAIR_USE struct lw__wire_lane_state pair_state(uint16_t id, enum lw__lane_role role) {
    uint64_t start = (id + 1) * UINT64_C(3) * RING, number = id * UINT64_C(1000);
    struct lw__wire_lane_state s = {.id = id, .role = (uint8_t)role, .ring = RING, .start = start, .first = start};
    memset(s.uuid, 0x10 + id, sizeof s.uuid);
    s.first_number = number;
    s.end = start + (role == LW__OFFERS ? WRITTEN : ARRIVED);
    s.end_number = number + (role == LW__OFFERS ? 3 : 1);
    s.window = role == LW__TAKES ? start + RING : 0;
    s.record_max = RING / 2 - 16;
    return s;
}

PAIR_USE bool pair_writes(const struct pair_end *e, uint32_t id) {
    return (id % 2 == 0) != e->server;
}

PAIR_USE struct lw__greeting pair_greeting(const struct pair_end *e) {
    struct lw__greeting g = {.server = "gate", .client = "alice", .epoch = 3, .beat = 1000000, .session = 7};
    g.service = LW__SERVICE_LINK;
    g.what = e->server ? 2 : 1;
    g.lanes = (uint16_t)e->count;
    g.length = 5;
    memcpy(g.words, "hello", 5);
    for (uint16_t i = 0; i < e->count; i++) g.lane[i] = pair_state(i, pair_writes(e, i) ? LW__OFFERS : LW__TAKES);
    return g;
}

/* ---- one end ------------------------------------------------------------------------------------------------------ */

PAIR_USE void end_open(struct pair_end *e, bool server, uint32_t lanes, uint64_t features) {
    memset(e, 0, sizeof *e);
    e->server = server;
    e->count = lanes;
    lw__wire_init(&e->wire, server, features, &e->theirs);
}

/* After the greetings. */
PAIR_USE void end_lanes(struct pair_end *e) {
    for (uint16_t i = 0; i < e->count; i++) {
        bool writes = pair_writes(e, i);
        struct lw__wire_lane_state s = pair_state(i, writes ? LW__OFFERS : LW__TAKES);
        e->lanes[i] = (struct lw__wire_lane){.writes = writes, .ring = writes ? RING : 0, .at = writes ? s.end : 0};
        memset(e->have[i].memory, 0xee, sizeof e->have[i].memory);
        e->have[i].came = s.end;
        e->have[i].came_number = s.end_number;
        e->have[i].freed = s.first;
        e->have[i].freed_number = s.first_number;
        e->have[i].window = s.window;
    }
    for (uint32_t i = e->count; i < LANES; i++) /* not the session's */
        e->lanes[i] = (struct lw__wire_lane){.announced = true, .ring = RING, .window = RING};
    lw__wire_lanes(&e->wire, e->lanes, e->count);
}

PAIR_USE void end_say_lanes(struct pair_end *e, enum lw__lane_status status) {
    for (uint16_t i = 0; i < e->count; i++) {
        struct lw__wire_lane_state s = pair_state(i, LW__TAKES);
        s.status = (uint8_t)status;
        if (!pair_writes(e, i)) MUST(lw__wire_lane_is(&e->wire, &s) || e->lenient);
    }
}

PAIR_USE void end_on_greeting(struct pair_end *e) {
    struct lw__greeting g = pair_greeting(e);
    e->greetings++;
    if (e->silent) return;
    end_lanes(e);
    if (e->server) MUST(lw__wire_greet(&e->wire, LW__WELCOME, &g) || e->lenient);
    end_say_lanes(e, e->draining ? LW__DRAINING : LW__READY);
}

PAIR_USE void end_on_lane(struct pair_end *e) {
    char why[LW__WHY];
    const struct lw__wire_lane_state *take = &e->wire.state;
    if (take->role != LW__TAKES || take->status != LW__READY) return;
    struct lw__wire_lane_state offer = pair_state(take->id, LW__OFFERS);
    const char *bad = lw__wire_check_take(&offer, take, why);
    if (bad) {
        MUST(e->lenient);
        e->error = lw__wire_break(&e->wire, "the take");
        return;
    }
    lw__wire_start(&e->wire, take->id, take);
}

PAIR_USE unsigned char *end_place(struct pair_end *e, uint16_t lane, uint64_t position) {
    return e->have[lane].memory + GUARD + position % RING;
}

/* Nothing but the bytes of the chunk without its first eight was written. */
PAIR_USE void end_check_memory(struct pair_end *e, uint16_t lane, uint64_t position, uint64_t length) {
    unsigned char *memory = e->have[lane].memory, *place = end_place(e, lane, position);
    memset(place + 8, 0xee, length - 8);
    for (size_t i = 0; i < sizeof e->have[lane].memory; i++) MUST(memory[i] == 0xee);
}

PAIR_USE uint64_t count_records(uint64_t first, const unsigned char *bytes, uint64_t length) {
    uint64_t count = 0;
    for (uint64_t at = 0; at + 8 <= length; count++) {
        if (at) memcpy(&first, bytes + at, 8);
        at += ((first & UINT32_MAX) + 15) & ~UINT64_C(7);
    }
    return count;
}

PAIR_USE void end_on_chunk(struct pair_end *e, const struct lw__wire_event *event) {
    struct pair_lane *have = &e->have[event->lane];
    uint64_t messages = messages_at(event->position, event->length);
    if (e->records) messages = count_records(event->first, end_place(e, event->lane, event->position), event->length);
    bool same =
        content_is(event->lane, event->position, &event->first, 8) &&
        content_is(event->lane, event->position + 8, end_place(e, event->lane, event->position) + 8, event->length - 8);
    MUST(e->lenient || (same && event->position == have->came && event->number == have->came_number));
    e->wrong += !same;
    end_check_memory(e, event->lane, event->position, event->length);
    lw__wire_counted(&e->wire, event->lane, messages);
    have->came = event->position + event->length;
    have->came_number = event->number + messages;
    have->chunks++;
    e->chunks++;
    lw__wire_owe(&e->wire, event->lane, have->came, have->freed, have->freed_number, have->window);
}

PAIR_USE void end_check_ack(const struct pair_end *e, uint16_t id) {
    const struct lw__wire_lane *l = &e->lanes[id];
    MUST(id < e->count && l->writes && l->ready);
    MUST(l->consumed <= l->received && l->received <= l->at && l->at <= l->window);
    MUST(l->window <= l->consumed + RING);
}

PAIR_USE void end_event(struct pair_end *e, const struct lw__wire_event *event) {
    MUST(e->closed == 0 && e->refusals == 0); /* nothing comes after these */
    switch (event->kind) {
    case LW__WIRE_GREETING:
        return end_on_greeting(e);
    case LW__WIRE_BEGIN:
        return lw__wire_land(&e->wire, (char *)end_place(e, event->lane, event->position));
    case LW__WIRE_CHUNK:
        return end_on_chunk(e, event);
    case LW__WIRE_LANE:
        return end_on_lane(e);
    case LW__WIRE_ACKED:
        e->acked++;
        return end_check_ack(e, event->lane);
    case LW__WIRE_BEAT:
        e->beats++;
        return;
    case LW__WIRE_REFUSED:
    case LW__WIRE_SAID:
    case LW__WIRE_CLOSED:
        e->last = e->wire.words;
        e->refusals += event->kind == LW__WIRE_REFUSED;
        e->said += event->kind == LW__WIRE_SAID;
        e->closed += event->kind == LW__WIRE_CLOSED;
        return;
    default:
        MUST(event->kind == LW__WIRE_GREETING); /* no other */
    }
}

PAIR_USE void end_turn(struct pair_end *e) {
    struct lw__wire_event event;
    int rc;
    while ((rc = lw__wire_next(&e->wire, &event)) > 0) end_event(e, &event);
    if (rc < 0) e->error = rc;
    MUST((rc < 0) == (e->wire.why != NULL));
}

/* Gives it these bytes, `piece` at a time. */
PAIR_USE void end_feed(struct pair_end *e, const unsigned char *bytes, size_t size, size_t piece) {
    while (size && e->wire.stage != LW__WIRE_OVER) {
        struct iovec to[2];
        int n = lw__wire_want(&e->wire, to);
        size_t part = size < piece ? size : piece, went = 0;
        for (int i = 0; i < n; i++) {
            size_t k = part - went < to[i].iov_len ? part - went : to[i].iov_len;
            MUST(to[i].iov_len > 0);
            if (k) memcpy(to[i].iov_base, bytes + went, k);
            went += k;
        }
        MUST(went > 0);
        lw__wire_got(&e->wire, went);
        bytes += went;
        size -= went;
        end_turn(e);
    }
}

/* Takes up to `most` bytes of what it wants to send. */
PAIR_USE size_t end_take(struct pair_end *e, unsigned char *to, size_t most) {
    struct iovec from[4];
    size_t went = 0;
    int n = lw__wire_put(&e->wire, from);
    MUST(n <= 4 && (n > 0) == lw__wire_has_output(&e->wire));
    for (int i = 0; i < n; i++) {
        size_t k = most - went < from[i].iov_len ? most - went : from[i].iov_len;
        if (k) memcpy(to + went, from[i].iov_base, k);
        went += k;
    }
    lw__wire_sent(&e->wire, went);
    return went;
}

/* False: it may not go now. */
PAIR_USE bool end_write(struct pair_end *e, uint16_t lane, uint64_t length) {
    uint64_t position = e->lanes[lane].at;
    unsigned char *chunk = e->have[lane].memory + GUARD;
    if (e->wire.has_chunk) return false;
    for (uint64_t i = 0; i < length; i++) chunk[i] = content_at(lane, position + i);
    return lw__wire_chunk(&e->wire, lane, chunk, length, messages_at(position, length));
}

/* All that came is released, and the window goes as far as it can, less `back` bytes. */
PAIR_USE void end_release(struct pair_end *e, uint16_t lane, uint64_t back) {
    struct pair_lane *have = &e->have[lane];
    have->freed = have->came;
    have->freed_number = have->came_number;
    uint64_t window = have->freed + RING - back;
    if (window > have->window) have->window = window;
    lw__wire_owe(&e->wire, lane, have->came, have->freed, have->freed_number, have->window);
}

/* ---- both --------------------------------------------------------------------------------------------------------- */

PAIR_USE struct pair *pair_open(uint32_t lanes, uint64_t client_features, uint64_t server_features) {
    struct pair *p = calloc(1, sizeof *p);
    MUST(p != NULL);
    end_open(&p->end[0], false, lanes, client_features);
    end_open(&p->end[1], true, lanes, server_features);
    for (int i = 0; i < 2; i++) p->pipe[i].flip_at = p->pipe[i].cut_at = p->pipe[i].split_at = UINT64_MAX;
    p->push = p->pull = SIZE_MAX;
    return p;
}

/* What the end wants to send, up to `most` bytes, into its pipe. */
PAIR_USE size_t pair_push(struct pair *p, int from, size_t most) {
    struct pipe *pipe = &p->pipe[from];
    if (pipe->head == pipe->tail) pipe->head = pipe->tail = 0;
    size_t room = PIPE - pipe->tail,
           went = end_take(&p->end[from], pipe->bytes + pipe->tail, most < room ? most : room);
    if (pipe->flip_at >= pipe->total && pipe->flip_at - pipe->total < went)
        pipe->bytes[pipe->tail + (pipe->flip_at - pipe->total)] ^= pipe->flip;
    pipe->total += went;
    pipe->tail += went;
    if (pipe->total > pipe->cut_at) {
        uint64_t over = pipe->total - pipe->cut_at;
        if (over > went) over = went;
        pipe->tail -= over;
    }
    return went;
}

/* What is in the pipe from the other end, up to `most` bytes. */
PAIR_USE size_t pair_pull(struct pair *p, int to, size_t most) {
    struct pipe *pipe = &p->pipe[1 - to];
    size_t have = pipe->tail - pipe->head, went = most < have ? most : have;
    uint64_t at = pipe->total - have;
    if (at < pipe->split_at && pipe->split_at - at < went) went = pipe->split_at - at;
    end_feed(&p->end[to], pipe->bytes + pipe->head, went, went);
    pipe->head += went;
    return went;
}

/* Until nothing moves. */
PAIR_USE void pair_settle(struct pair *p) {
    size_t moved;
    do {
        moved = 0;
        for (int i = 0; i < 2; i++)
            for (size_t went; (went = pair_push(p, i, p->push)); moved += went) continue;
        for (int i = 0; i < 2; i++)
            for (size_t went; (went = pair_pull(p, i, p->pull)); moved += went) continue;
    } while (moved);
}

PAIR_USE void pair_greet(struct pair *p) {
    struct lw__greeting g = pair_greeting(&p->end[0]);
    MUST(lw__wire_greet(&p->end[0].wire, LW__HELLO, &g));
    pair_settle(p);
}

#endif
