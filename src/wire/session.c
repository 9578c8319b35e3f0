/* SPDX-License-Identifier: MIT */
/* wire/session.c - receiving: bytes to events, with every number bounded before it is used. session_out.c sends. */
#include "wire/session.h"

#include <string.h>

#include "laneway/err.h"

void lw__wire_init(struct lw__wire *w, bool server, uint64_t features, struct lw__greeting *greeting) {
    memset(w, 0, offsetof(struct lw__wire, words));
    w->server = server;
    w->features = features;
    w->greeting = greeting;
}

void lw__wire_lanes(struct lw__wire *w, struct lw__wire_lane *lanes, uint32_t count) {
    w->lanes = lanes;
    w->lane_count = count;
}

const char lw__wire_no_version[] = "no version in common";

int lw__wire_code(const struct lw__wire *w) {
    return w->why == lw__wire_no_version ? LW_EVERSION : LW_EPROTOCOL;
}

int lw__wire_break(struct lw__wire *w, const char *why) {
    w->stage = LW__WIRE_OVER;
    w->why = why;
    return lw__wire_code(w);
}

static struct lw__wire_lane *lane_of(const struct lw__wire *w, uint16_t id, bool writes) {
    if (id >= w->lane_count || w->lanes[id].writes != writes) return NULL;
    return &w->lanes[id];
}

/* ---- where bytes go ----------------------------------------------------------------------------------------------- */

static uint32_t buffered(const struct lw__wire *w) {
    return w->in_end - w->in_at;
}

int lw__wire_want(const struct lw__wire *w, struct iovec to[2]) {
    int n = 0;
    if (w->dest && w->landed < w->head.length)
        to[n++] = (struct iovec){.iov_base = w->dest + w->landed, .iov_len = w->head.length - w->landed};
    to[n++] =
        (struct iovec){.iov_base = (unsigned char *)(uintptr_t)w->in + w->in_end, .iov_len = LW__WIRE_IN - w->in_end};
    return n;
}

void lw__wire_got(struct lw__wire *w, size_t bytes) {
    w->reads++;
    if (w->dest && w->landed < w->head.length) {
        uint64_t direct = w->head.length - w->landed;
        if (direct > bytes) direct = bytes;
        w->landed += direct;
        bytes -= direct;
    }
    w->in_end += (uint32_t)bytes;
}

/* What is left moves to the front, so that a whole frame always has room. */
static void tidy(struct lw__wire *w) {
    if (w->in_at == 0) return;
    memmove(w->in, w->in + w->in_at, buffered(w));
    w->in_end -= w->in_at;
    w->in_at = 0;
}

/* ---- headers ------------------------------------------------------------------------------------------------------ */

/* NULL: it may come now. */
static const char *check_kind(const struct lw__wire *w, const struct lw__frame *f) {
    if (w->stage == LW__WIRE_NEW) return w->server && f->kind == LW__HELLO ? NULL : "a connection begins with HELLO";
    if (f->kind < LW__HELLO || f->kind > LW__CLOSE)
        return w->stage == LW__WIRE_OPEN ? "a frame of unknown kind" : "this is no Laneway connection";
    if (f->kind == LW__BEAT || f->kind == LW__CLOSE) return NULL;
    if (w->stage == LW__WIRE_OPEN) return lw__frame_greets(f->kind) ? "a second greeting" : NULL;
    bool answer = !w->server && (f->kind == LW__WELCOME || f->kind == LW__REFUSE);
    return answer ? NULL : "a frame before the answer to HELLO";
}

static const char *check_greeting(const struct lw__frame *f) {
    uint64_t low = f->number & 0xffff, high = f->number >> 16 & 0xffff;
    if (f->position != LW__WIRE_MAGIC) return "this is no Laneway connection";
    if (low > high || low > LW__WIRE_VERSION || high < LW__WIRE_VERSION) return lw__wire_no_version;
    return NULL;
}

static const char *check_chunk(const struct lw__wire *w, const struct lw__frame *f) {
    const struct lw__wire_lane *lane = lane_of(w, f->lane, false);
    if (!lane || !lane->announced) return "messages on a lane that is not open";
    if (f->length < 8 || f->length % 8 || f->length > lane->ring / 2) return "a chunk of a length that can not be";
    if (f->position != lane->at || f->number != lane->number) return "messages out of order";
    if (lane->at + f->length > lane->window || lane->at + f->length >= LW__WIRE_END)
        return "messages beyond the window";
    return NULL;
}

static const char *check_header(const struct lw__wire *w, const struct lw__frame *f) {
    const char *bad = check_kind(w, f);
    if (bad) return bad;
    if (lw__frame_greets(f->kind) && (bad = check_greeting(f))) return bad;
    if (f->kind == LW__DATA) return check_chunk(w, f);
    if (f->length > LW__CONTROL_MAX) return "a frame that is too long";
    return (f->kind == LW__ACK || f->kind == LW__BEAT) && f->length ? "a frame with bytes that has none" : NULL;
}

/* ---- acknowledgements --------------------------------------------------------------------------------------------- */

/* Nothing goes back, nothing is beyond what was sent: a chunk that is still on its way can not have arrived. */
static const char *check_ack(const struct lw__wire *w, const struct lw__frame *f) {
    const struct lw__wire_lane *lane = lane_of(w, f->ack_lane, true);
    if (!lane || !lane->ready || f->ack_reader) return "an acknowledgement of a lane that is not open";
    bool flies = w->has_chunk && w->chunk_lane == f->ack_lane;
    uint64_t at = flies ? w->chunk_at : lane->at, number = flies ? w->chunk_number : lane->number;
    if (f->received > at || f->received < lane->received || f->received % 8)
        return "an acknowledgement of what was not sent";
    if (f->consumed > f->received || f->consumed < lane->consumed || f->consumed % 8)
        return "messages consumed that did not arrive";
    if (!lw__wire_in_order(lane->consumed, lane->consumed_number, f->consumed, f->consumed_number) ||
        !lw__wire_in_order(f->consumed, f->consumed_number, at, number))
        return "a wrong count of messages consumed";
    if (f->window < lane->window || f->window % 8 || f->window > f->consumed + lane->ring) return "a window taken back";
    return NULL;
}

/* True: there is news. */
static bool take_ack(struct lw__wire_lane *lane, const struct lw__frame *f) {
    bool news = f->received != lane->received || f->consumed != lane->consumed || f->window != lane->window;
    lane->received = f->received;
    lane->consumed = f->consumed;
    lane->consumed_number = f->consumed_number;
    lane->window = f->window;
    return news;
}

void lw__wire_owe(struct lw__wire *w, uint16_t id, uint64_t received, uint64_t consumed, uint64_t consumed_number,
                  uint64_t window) {
    struct lw__wire_lane *lane = lane_of(w, id, false);
    if (!lane || !lane->announced) return;
    if (received == lane->received && consumed == lane->consumed && window == lane->window) return;
    lane->received = received;
    lane->consumed = consumed;
    lane->consumed_number = consumed_number;
    lane->window = window;
    lane->owes = true;
}

/* ---- chunks ------------------------------------------------------------------------------------------------------- */

/* The first eight bytes stay here, what else is in the buffer goes there. */
void lw__wire_land(struct lw__wire *w, char *payload) {
    uint64_t have = buffered(w);
    if (w->head.kind != LW__DATA || w->dest || have < 8) return;
    if (have > w->head.length) have = w->head.length;
    memcpy(&w->first, w->in + w->in_at, 8);
    memcpy(payload + 8, w->in + w->in_at + 8, have - 8);
#ifdef LW_PLANT_FIRST_WORD_LANDS
    memcpy(payload, &w->first, 8);
#endif
    w->dest = payload;
    w->in_at += (uint32_t)have;
    w->landed = have;
    tidy(w); /* from here on bytes go behind what is there: directly, then to the buffer */
}

void lw__wire_counted(struct lw__wire *w, uint16_t lane, uint64_t messages) {
    w->lanes[lane].number += messages;
}

static int end_chunk(struct lw__wire *w, struct lw__wire_event *event) {
    struct lw__wire_lane *lane = &w->lanes[w->head.lane];
    uint64_t length = w->head.length;
#ifndef LW_PLANT_CHUNK_CHECKSUM_NOT_CHECKED
    if (w->crc && lw__frame_crc(w->head_bytes, &w->first, 8, w->dest + 8, length - 8) != w->head.crc)
        return lw__wire_break(w, "a wrong checksum");
#endif
    *event = (struct lw__wire_event){.kind = LW__WIRE_CHUNK,
                                     .lane = w->head.lane,
                                     .position = lane->at,
                                     .number = lane->number,
                                     .length = length,
                                     .first = w->first};
    lane->at += length;
    w->head.kind = 0;
    w->dest = NULL;
    w->frames++;
    return 1;
}

/* ---- frames ------------------------------------------------------------------------------------------------------- */

static int tell_ack(struct lw__wire *w, struct lw__wire_event *event) {
    const char *bad = check_ack(w, &w->head);
    w->has_acked = false;
    w->head.flags &= (uint8_t)~LW__FRAME_ACK;
    if (bad) return lw__wire_break(w, bad);
    *event = (struct lw__wire_event){.kind = LW__WIRE_ACKED, .lane = w->head.ack_lane};
    return take_ack(&w->lanes[w->head.ack_lane], &w->head);
}

static const char *read_greeting(struct lw__wire *w, const unsigned char *payload) {
    const char *bad = lw__greeting_get(w->greeting, payload, w->head.length);
    if (bad) return bad;
    if (!w->server && (w->head.received & ~w->features)) return "features that were not offered";
    w->features &= w->head.received;
    w->crc = w->features & LW__FEATURE_CRC;
    w->stage = w->server ? LW__WIRE_ASKED : LW__WIRE_OPEN;
    return NULL;
}

/* Each side says once that it is ready, and nothing of that lane after it: what was agreed is being worked on. */
static const char *read_lane(struct lw__wire *w, const unsigned char *payload) {
    const char *bad = lw__lane_get(&w->state, payload, w->head.length);
    if (bad) return bad;
    const struct lw__wire_lane *lane = lane_of(w, w->state.id, w->state.role == LW__TAKES);
    if (!lane || w->head.lane != w->state.id) return "a lane that nobody has";
    return lane->ready || lane->announced ? "a lane that is open already" : NULL;
}

static const char *read_payload(struct lw__wire *w, const unsigned char *payload, struct lw__wire_event *event) {
    static const enum lw__wire_event_kind kinds[] = {
        [LW__HELLO] = LW__WIRE_GREETING, [LW__WELCOME] = LW__WIRE_GREETING, [LW__REFUSE] = LW__WIRE_REFUSED,
        [LW__ACK] = LW__WIRE_BEAT,       [LW__BEAT] = LW__WIRE_BEAT,        [LW__LANE] = LW__WIRE_LANE,
        [LW__SAY] = LW__WIRE_SAID,       [LW__CLOSE] = LW__WIRE_CLOSED};
    *event = (struct lw__wire_event){.kind = kinds[w->head.kind], .lane = w->head.lane};
    switch (w->head.kind) {
    case LW__HELLO:
    case LW__WELCOME:
        return read_greeting(w, payload);
    case LW__REFUSE:
    case LW__SAY:
    case LW__CLOSE:
        if (w->head.kind != LW__SAY) w->stage = LW__WIRE_OVER;
        return lw__words_get(&w->words, payload, w->head.length);
    case LW__LANE:
        return read_lane(w, payload);
    default:
        w->ask_back |= w->head.kind == LW__BEAT && w->head.flags & LW__FRAME_ASK;
        return NULL;
    }
}

static int read_control(struct lw__wire *w, struct lw__wire_event *event) {
    const unsigned char *payload = w->in + w->in_at;
    if (buffered(w) < w->head.length) return 0;
    if (lw__wire_checks(w, w->head.kind) &&
        lw__frame_crc(w->head_bytes, payload, w->head.length, NULL, 0) != w->head.crc)
        return lw__wire_break(w, "a wrong checksum");
    if (w->head.kind == LW__CLOSE && w->head.flags & LW__FRAME_ACK) { /* nothing may be told after it */
        int rc = tell_ack(w, event);
        if (rc) return rc;
    }
    const char *bad = read_payload(w, payload, event);
    w->in_at += w->head.length;
    w->head.kind = 0;
    w->frames++;
    return bad ? lw__wire_break(w, bad) : 1;
}

/* What of the frame whose header is there is still to come. */
static int go_on(struct lw__wire *w, struct lw__wire_event *event) {
    if (w->head.kind != LW__DATA) return read_control(w, event);
    if (w->dest) return w->landed < w->head.length ? 0 : end_chunk(w, event);
    if (buffered(w) < 8) return 0;
    *event = (struct lw__wire_event){.kind = LW__WIRE_BEGIN,
                                     .lane = w->head.lane,
                                     .position = w->head.position,
                                     .number = w->head.number,
                                     .length = w->head.length};
    return 1;
}

static int begin_frame(struct lw__wire *w) {
    memcpy(w->head_bytes, w->in + w->in_at, LW__FRAME);
    lw__frame_get(&w->head, w->head_bytes);
    const char *bad = check_header(w, &w->head);
    if (bad) return lw__wire_break(w, bad);
    w->in_at += LW__FRAME;
    w->landed = 0;
    w->dest = NULL;
    return 0;
}

int lw__wire_next(struct lw__wire *w, struct lw__wire_event *event) {
    for (;;) {
        if (w->has_acked) {
            int rc = tell_ack(w, event);
            if (rc) return rc;
        }
        if (w->stage == LW__WIRE_OVER) return w->why ? lw__wire_code(w) : 0;
        if (!w->head.kind) {
            if (buffered(w) < LW__FRAME) return tidy(w), 0;
            int rc = begin_frame(w);
            if (rc) return rc;
        }
        int rc = go_on(w, event);
        if (rc <= 0) return !rc && !w->dest ? (tidy(w), 0) : rc;
        if (!w->head.kind) w->has_acked = w->head.flags & LW__FRAME_ACK;
        if (event->kind != LW__WIRE_BEAT || !w->has_acked) return 1;
    }
}
