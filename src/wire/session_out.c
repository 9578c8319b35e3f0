/* SPDX-License-Identifier: MIT */
/* wire/session_out.c - sending: frames to bytes, in the order in which they were given. */
#include <string.h>

#include "wire/session.h"

enum { SMALL = 512 }; /* bytes of a chunk that are copied */

static uint32_t room(struct lw__wire *w) {
    if (w->closed) return 0;
    if (w->out_at && !w->has_chunk) {
        memmove(w->out, w->out + w->out_at, w->out_end - w->out_at);
        w->out_end -= w->out_at;
        w->out_at = 0;
    }
    return LW__WIRE_OUT - w->out_end;
}

static bool owes(const struct lw__wire *w) {
    for (uint32_t i = 0; i < w->lane_count; i++)
        if (w->lanes[i].owes) return true;
    return false;
}

/* What is owed rides on whatever goes, one lane at a time. */
static void add_ack(struct lw__wire *w, struct lw__frame *f) {
    for (uint32_t tries = 0; tries < w->lane_count; tries++) {
        uint32_t i = w->ack_next < w->lane_count ? w->ack_next : 0;
        struct lw__wire_lane *lane = &w->lanes[i];
        w->ack_next = i + 1;
        if (!lane->owes) continue;
        f->flags |= LW__FRAME_ACK;
        f->ack_lane = (uint16_t)i;
        f->received = lane->received;
        f->consumed = lane->consumed;
        f->consumed_number = lane->consumed_number;
        f->window = lane->window;
        lane->owes = false;
        lane->told = lane->consumed;
        return;
    }
}

static void finish(const struct lw__wire *w, unsigned char *head, struct lw__frame *f, const void *payload) {
    lw__frame_put(head, f);
    if (!lw__wire_checks(w, f->kind)) return;
    f->crc = lw__frame_crc(head, payload, f->length, NULL, 0);
    lw__frame_put(head, f);
}

/* The payload stands already where it is to be. */
static void queue(struct lw__wire *w, struct lw__frame *f) {
    unsigned char *head = w->out + w->out_end;
    finish(w, head, f, head + LW__FRAME);
    w->out_end += LW__FRAME + f->length;
    w->went++;
}

static bool queue_plain(struct lw__wire *w, uint8_t kind, uint8_t flags) {
    struct lw__frame f = {.kind = kind, .flags = flags};
    if (room(w) < LW__FRAME) return false;
    add_ack(w, &f);
    queue(w, &f);
    return true;
}

bool lw__wire_greet(struct lw__wire *w, enum lw__wire_kind kind, const struct lw__greeting *g) {
    struct lw__frame f = {.kind = (uint8_t)kind, .position = LW__WIRE_MAGIC, .received = w->features};
    if (room(w) < LW__FRAME + LW__GREETING_MAX) return false;
    f.number = LW__WIRE_VERSION | LW__WIRE_VERSION << 16;
    f.length = lw__greeting_put(w->out + w->out_end + LW__FRAME, g);
    queue(w, &f);
    w->stage = kind == LW__HELLO ? LW__WIRE_ASKED : LW__WIRE_OPEN;
    return true;
}

bool lw__wire_words(struct lw__wire *w, enum lw__wire_kind kind, const struct lw__words *words) {
    struct lw__frame f = {.kind = (uint8_t)kind};
    if (room(w) < LW__FRAME + LW__WORDS_SIZE + LW__WIRE_WORDS_MAX) return false;
    if (kind == LW__REFUSE) {
        f.position = LW__WIRE_MAGIC;
        f.number = LW__WIRE_VERSION | LW__WIRE_VERSION << 16;
    } else {
        add_ack(w, &f);
    }
    f.length = lw__words_put(w->out + w->out_end + LW__FRAME, words);
    queue(w, &f);
    w->closed = kind == LW__CLOSE;
    return true;
}

bool lw__wire_lane_is(struct lw__wire *w, const struct lw__wire_lane_state *state) {
    struct lw__frame f = {.kind = LW__LANE, .lane = state->id};
    if (room(w) < LW__FRAME + LW__LANE_SIZE || state->id >= w->lane_count) return false;
    f.length = lw__lane_put(w->out + w->out_end + LW__FRAME, state);
    queue(w, &f);
    struct lw__wire_lane *lane = &w->lanes[state->id];
    if (state->role != LW__TAKES || state->status != LW__READY) return true;
    lane->announced = true;
    lane->owes = false;
    lane->told = state->first;
    lane->ring = state->ring;
    lane->at = lane->received = state->end;
    lane->number = state->end_number;
    lane->consumed = state->first;
    lane->consumed_number = state->first_number;
    lane->window = state->window;
    return true;
}

bool lw__wire_beat(struct lw__wire *w, bool ask) {
    return queue_plain(w, LW__BEAT, ask ? LW__FRAME_ASK : 0);
}

bool lw__wire_ack(struct lw__wire *w) {
    while (owes(w))
        if (!queue_plain(w, LW__ACK, 0)) return false;
    return true;
}

void lw__wire_start(struct lw__wire *w, uint16_t id, const struct lw__wire_lane_state *take) {
    struct lw__wire_lane *lane = &w->lanes[id];
    lane->ready = true;
    lane->at = lane->received = take->end;
    lane->number = take->end_number;
    lane->consumed = take->first;
    lane->consumed_number = take->first_number;
    lane->window = take->window;
}

/* ---- chunks ------------------------------------------------------------------------------------------------------- */

static bool may_go(const struct lw__wire *w, uint16_t id, uint64_t length) {
    if (w->has_chunk || w->closed || id >= w->lane_count || length < 8 || length % 8) return false;
    const struct lw__wire_lane *lane = &w->lanes[id];
    return lane->ready && length <= UINT32_MAX && length <= lane->ring / 2 && lane->at + length <= lane->window;
}

bool lw__wire_chunk(struct lw__wire *w, uint16_t id, const void *bytes, uint64_t length, uint64_t messages) {
    if (!may_go(w, id, length)) return false;
    struct lw__wire_lane *lane = &w->lanes[id];
    struct lw__frame f = {.kind = LW__DATA, .lane = id, .length = (uint32_t)length};
    f.position = w->chunk_at = lane->at;
    f.number = w->chunk_number = lane->number;
    add_ack(w, &f);
    lane->at += length;
    lane->number += messages;
    if (length <= SMALL && room(w) >= LW__FRAME + length) { /* one piece is sent faster than two */
        memcpy(w->out + w->out_end + LW__FRAME, bytes, length);
        queue(w, &f);
        return true;
    }
    finish(w, w->chunk_head, &f, bytes);
    w->chunk_lane = id;
    w->chunk = bytes;
    w->chunk_sent = 0;
    w->chunk_size = LW__FRAME + length;
    w->chunk_after = w->out_end;
    w->has_chunk = true;
    w->went++;
    return true;
}

static int add(struct iovec *v, int n, const void *base, size_t size) {
    if (!size) return n;
    v[n] = (struct iovec){.iov_base = (void *)(uintptr_t)base, .iov_len = size};
    return n + 1;
}

/* Before the chunk, its header, its bytes, after it. */
int lw__wire_put(const struct lw__wire *w, struct iovec v[4]) {
    uint32_t cut = w->has_chunk ? w->chunk_after : w->out_end;
    int n = add(v, 0, w->out + w->out_at, cut - w->out_at);
    if (!w->has_chunk) return n;
    uint64_t at = w->chunk_sent;
    if (at < LW__FRAME) n = add(v, n, w->chunk_head + at, LW__FRAME - at);
    at = at < LW__FRAME ? 0 : at - LW__FRAME;
    n = add(v, n, w->chunk + at, w->chunk_size - LW__FRAME - at);
    return add(v, n, w->out + cut, w->out_end - cut);
}

static size_t take(uint64_t most, size_t *bytes) {
    size_t part = *bytes < most ? *bytes : (size_t)most;
    *bytes -= part;
    return part;
}

void lw__wire_sent(struct lw__wire *w, size_t bytes) {
    uint32_t cut = w->has_chunk ? w->chunk_after : w->out_end;
    w->out_at += (uint32_t)take(cut - w->out_at, &bytes);
    if (w->has_chunk && w->out_at == cut) {
        w->chunk_sent += take(w->chunk_size - w->chunk_sent, &bytes);
        if (w->chunk_sent == w->chunk_size) {
            w->has_chunk = false;
            w->out_at += (uint32_t)take(w->out_end - w->out_at, &bytes);
        }
    }
    if (w->out_at == w->out_end && !w->has_chunk) w->out_at = w->out_end = 0;
}
