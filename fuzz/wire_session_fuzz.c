/* SPDX-License-Identifier: MIT */
/*
 * wire_session_fuzz - one session that is open, client or server, with an arbitrary peer: any frames in any pieces, between
 * any calls of the sending side. After every step all numbers are within their bounds and nothing went back; nothing is
 * written but where a chunk lies; what goes out is whole frames, in order, with checksums that fit.
 *
 * The input is {role and features 1}, then steps {what 1, ...}. The checksum of a frame is mended before it is given, but
 * for one kind of step. Frames begin as ones that would be right now, and then some bytes of them are replaced.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) wrong(#condition, __LINE__);                                                                 \
    } while (0)

static void wrong(const char *what, int line) {
    fprintf(stderr, "wire_session_fuzz.c:%d: not so: %s\n", line, what);
    abort();
}

#include "wire/pair.h"

static const uint8_t *input, *input_end;
static struct pair_end e;
static struct lw__wire_lane before[LANES];
static size_t piece;

static uint8_t byte(void) {
    return input < input_end ? *input++ : 0;
}

static uint64_t number(void) {
    static const uint64_t special[] = {UINT64_MAX,       UINT64_MAX - 7,    LW__WIRE_END,
                                       LW__WIRE_END - 8, UINT64_C(1) << 63, RING};
    uint8_t b = byte();
    return b < 250 ? b : special[b - 250];
}

/* ---- what goes out ------------------------------------------------------------------------------------------------ */

static unsigned char out[2 * LW__WIRE_OUT + 2 * RING];
static size_t out_size;
static uint64_t frames_out;
static bool last_out;

/* Takes whole frames from what was sent. */
static void check_out(void) {
    struct lw__frame f;
    size_t at = 0;
    for (; out_size - at >= LW__FRAME; at += LW__FRAME + f.length) {
        lw__frame_get(&f, out + at);
        MUST(!last_out && f.kind >= LW__HELLO && f.kind <= LW__CLOSE);
        MUST(f.length <= (f.kind == LW__DATA ? RING / 2 : LW__CONTROL_MAX));
        if (out_size - at < LW__FRAME + f.length) break;
        uint32_t crc = lw__frame_crc(out + at, out + at + LW__FRAME, f.length, NULL, 0);
        MUST(f.crc == crc || (f.crc == 0 && !e.wire.crc && !lw__frame_greets(f.kind)));
        if (f.kind == LW__DATA) MUST(content_is(f.lane, f.position, out + at + LW__FRAME, f.length));
        last_out = f.kind == LW__CLOSE;
        frames_out++;
    }
    memmove(out, out + at, out_size - at);
    out_size -= at;
}

static void send_some(size_t most) {
    MUST(out_size + most <= sizeof out);
    out_size += end_take(&e, out + out_size, most);
    check_out();
    if (!lw__wire_has_output(&e.wire)) MUST(out_size == 0 && frames_out == e.wire.went);
}

static void do_words(void) {
    static struct lw__words w;
    uint8_t kind = byte();
    w.length = byte() * 4u;
    if (e.wire.stage == LW__WIRE_OPEN || kind % 8 == 0) lw__wire_words(&e.wire, kind % 8 ? LW__SAY : LW__CLOSE, &w);
}

static void do_write(void) {
    uint16_t lane = byte() % LANES;
    uint64_t length = byte() * UINT64_C(8);
    if (lane < e.count && e.lanes[lane].writes) end_write(&e, lane, length > RING / 2 ? 2048 : length);
}

static void do_release(void) {
    uint16_t lane = byte() % LANES;
    uint64_t back = byte() * UINT64_C(8);
    if (lane < e.wire.lane_count && !e.lanes[lane].writes && e.lanes[lane].announced) end_release(&e, lane, back);
}

/* ---- what comes in ------------------------------------------------------------------------------------------------ */

static unsigned char frame[LW__FRAME + 2 * LW__CONTROL_MAX];

static void right_data(struct lw__frame *f, unsigned char *payload) {
    const struct lw__wire_lane *l = &e.lanes[f->lane % LANES];
    f->lane %= LANES;
    f->position = l->at;
    f->number = l->number;
    f->length = byte() * 8u;
    for (uint32_t i = 0; i < f->length; i++) payload[i] = content_at(f->lane, f->position + i);
}

static void right_ack(struct lw__frame *f) {
    const struct lw__wire_lane *l = &e.lanes[f->ack_lane % LANES];
    uint64_t got = number(), freed = number(), more = number();
    f->ack_lane %= LANES;
    f->flags |= LW__FRAME_ACK;
    f->received = got % 4 ? l->at : l->received + got;
    f->consumed = freed % 4 ? f->received : l->consumed + freed;
    f->consumed_number = freed % 4 == 1 ? l->number : l->consumed_number + freed % 32;
    f->window = more % 4 ? f->consumed + RING : l->window + more;
}

static void right_lane(struct lw__frame *f, unsigned char *payload) {
    struct lw__wire_lane_state s = pair_state(f->lane % LANES, byte() & 1 ? LW__TAKES : LW__OFFERS);
    f->lane = s.id;
    s.status = byte() & 1;
    f->length = lw__lane_put(payload, &s);
}

static void right_words(struct lw__frame *f, unsigned char *payload) {
    static struct lw__words w;
    w.length = byte() * 4u;
    f->length = lw__words_put(payload, &w);
}

static void right_greeting(struct lw__frame *f, unsigned char *payload) {
    const struct pair_end like = {.count = e.count, .server = !e.server};
    struct lw__greeting g = pair_greeting(&like);
    f->length = lw__greeting_put(payload, &g);
    f->position = LW__WIRE_MAGIC;
    f->number = LW__WIRE_VERSION | LW__WIRE_VERSION << 16;
    f->received = byte() & 3;
}

static void give(struct lw__frame *f, uint8_t changes, bool mend) {
    static unsigned char bytes[sizeof frame];
    lw__frame_put(frame, f);
    for (; changes; changes--) {
        uint32_t at = byte();
        if (at >= 192) at = LW__FRAME + (at - 192) * 8 + byte() % 8;
        frame[at % (LW__FRAME + f->length)] = byte();
    }
    size_t size = LW__FRAME + f->length; /* what follows begins here, whatever the header says */
    lw__frame_get(f, frame);
    f->crc = f->length <= sizeof frame - LW__FRAME ? lw__frame_crc(frame, frame + LW__FRAME, f->length, NULL, 0) : 0;
    if (mend) lw__frame_put(frame, f);
    memcpy(bytes, frame, size); /* the session must not depend on the rest */
    end_feed(&e, bytes, size, piece);
}

static void do_frame(bool mend) {
    struct lw__frame f = {0};
    uint8_t kind = byte(), lane = byte();
    f.kind = kind % 16;
    f.lane = lane & 15;
    f.ack_lane = lane >> 4;
    if (f.kind == LW__DATA) right_data(&f, frame + LW__FRAME);
    if (f.kind == LW__LANE) right_lane(&f, frame + LW__FRAME);
    if (f.kind == LW__SAY || f.kind == LW__CLOSE || f.kind == LW__REFUSE) right_words(&f, frame + LW__FRAME);
    if (f.kind == LW__HELLO || f.kind == LW__WELCOME) right_greeting(&f, frame + LW__FRAME);
    if (kind & 16) right_ack(&f);
    if (kind & 32) f.flags |= byte();
    give(&f, kind >> 6 == 3 ? byte() % 8 : 0, mend);
}

static void do_garbage(void) {
    unsigned char bytes[256];
    size_t size = byte();
    for (size_t i = 0; i < size; i++) bytes[i] = byte();
    end_feed(&e, bytes, size, piece);
}

/* ---- after each step ---------------------------------------------------------------------------------------------- */

static bool within(const void *base, size_t size, const struct iovec *v) {
    uintptr_t low = (uintptr_t)base, at = (uintptr_t)v->iov_base;
    return at >= low && v->iov_len <= size && at - low <= size - v->iov_len;
}

static void check_want(void) {
    struct iovec to[2];
    const struct lw__wire *w = &e.wire;
    int n = lw__wire_want(w, to);
    MUST(n == 1 || n == 2);
    MUST(within(w->in, sizeof w->in, &to[n - 1]) && (to[n - 1].iov_len > 0 || w->stage == LW__WIRE_OVER));
    if (n == 2)
        MUST(w->dest && to[0].iov_len > 0 && within(e.have[w->head.lane].memory + GUARD + 8, 2 * RING - 8, &to[0]));
}

static void check_lane(uint16_t id) {
    const struct lw__wire_lane *l = &e.lanes[id], *old = &before[id];
    MUST(l->writes == pair_writes(&e, id) && (l->ring == RING || (!l->writes && !l->announced)));
    if (old->ready || old->announced) {
        MUST(l->ready == old->ready && l->announced == old->announced);
        MUST(l->at >= old->at && l->number >= old->number && l->window >= old->window);
        MUST(l->received >= old->received && l->consumed >= old->consumed &&
             l->consumed_number >= old->consumed_number);
    }
    if (l->writes && l->ready) end_check_ack(&e, id);
    if (!l->writes && l->announced) MUST(l->at <= l->window && l->received <= l->at && l->window <= l->consumed + RING);
    if (l->writes && l->ready) MUST(lw__wire_in_order(l->consumed, l->consumed_number, l->at, l->number));
}

static void check(void) {
    const struct lw__wire *w = &e.wire;
    MUST(w->in_at <= w->in_end && w->in_end <= LW__WIRE_IN && w->out_at <= w->out_end && w->out_end <= LW__WIRE_OUT);
    MUST((w->stage == LW__WIRE_OVER) == (w->why || e.closed || e.refusals));
    check_want();
    for (uint16_t i = 0; i < w->lane_count; i++) check_lane(i);
    memcpy(before, e.lanes, sizeof before);
}

static void step(void) {
    uint8_t what = byte();
    switch (what % 16) {
    case 0:
        return do_words();
    case 1:
        if (e.wire.stage != LW__WIRE_NEW) lw__wire_beat(&e.wire, what & 16);
        return;
    case 2:
        lw__wire_ack(&e.wire);
        return;
    case 3:
    case 4:
        return do_write();
    case 5:
        return do_release();
    case 6:
    case 7:
        return send_some(what & 16 ? LW__WIRE_OUT : 1 + byte());
    case 8:
        piece = what & 16 ? 5000 : 1 + byte() % 100;
        return;
    case 9:
        return do_garbage();
    case 10:
        return do_frame(false);
    default:
        return do_frame(true);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    input = bytes;
    input_end = bytes + size;
    uint8_t begin = byte();
    end_open(&e, begin & 1, begin & 2 ? 2 : LANES, begin >> 2 & 3);
    e.lenient = true;
    e.draining = begin & 16;
    memset(before, 0, sizeof before);
    out_size = frames_out = 0;
    last_out = false;
    piece = 5000;
    struct lw__greeting hello = pair_greeting(&e);
    if (!e.server && begin & 32) lw__wire_greet(&e.wire, LW__HELLO, &hello);
    if (e.server && begin & 32) {
        struct lw__frame f = {.kind = LW__HELLO};
        right_greeting(&f, frame + LW__FRAME);
        give(&f, 0, true);
    }
    for (check(); input < input_end; check()) step();
    for (size_t left = 0; left < 4; left++) send_some(LW__WIRE_OUT);
    MUST(!lw__wire_has_output(&e.wire));
    return 0;
}
