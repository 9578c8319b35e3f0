/* SPDX-License-Identifier: MIT */
/*
 * wire/session.h - one side of one connection, as a pure state machine: bytes in, events out; frames in, bytes out. No
 * sockets, no clock, no memory of its own, no idea of lanes but positions.
 *
 *     client  NEW --HELLO--> ASKED --WELCOME--> OPEN --CLOSE--> OVER        REFUSE: ASKED -> OVER
 *     server  NEW <--HELLO-- ASKED <--WELCOME-- OPEN                       anything wrong: OVER, with `why`
 *
 * Receiving: lw__wire_want() says where the next bytes are to go, lw__wire_got() that they came, and lw__wire_next() what
 * they mean, until it returns 0. Small payloads go through the session's buffer; a chunk of a lane is announced
 * (LW__WIRE_BEGIN), the caller says where it lies (lw__wire_land), and what is not in the buffer yet goes there directly. Its
 * first eight bytes are kept back and handed over at the end (LW__WIRE_CHUNK), when its checksum was found right.
 *
 * Sending: frames are put in a queue; lw__wire_put() says what is to be sent next, lw__wire_sent() how much went. A chunk is
 * sent from where it lies, which must not change until it went; there is one at a time. Frames keep their order.
 *
 * On each lane one side writes. The writer goes no further than the window that it was given, and a window is never taken
 * back; so what comes always has a place, and the caller can always read on.
 */
#ifndef LW_WIRE_SESSION_H
#define LW_WIRE_SESSION_H

#include <sys/uio.h>

#include "wire/frame.h"

enum { LW__WIRE_IN = LW__FRAME + LW__CONTROL_MAX, LW__WIRE_OUT = LW__FRAME + LW__CONTROL_MAX };

enum lw__wire_stage { LW__WIRE_NEW, LW__WIRE_ASKED, LW__WIRE_OPEN, LW__WIRE_OVER };

struct lw__wire_lane {
    bool writes;    /* this side does */
    bool ready;     /* the reader has said from where on */
    bool announced; /* reader's side: it has said so */
    bool owes;      /* reader's side: the acknowledgement says more than the last one that went */
    uint64_t ring;
    uint64_t at;     /* the next chunk begins here ... */
    uint64_t number; /* ... with this message */
    uint64_t window; /* so far the writer may go */
    uint64_t received;
    uint64_t consumed;
    uint64_t consumed_number;
    uint64_t told; /* reader's side: consumed, in the last acknowledgement that went */
};

enum lw__wire_event_kind {
    LW__WIRE_GREETING = 1, /* HELLO or WELCOME: `greeting` is filled in */
    LW__WIRE_REFUSED,      /* `words` */
    LW__WIRE_BEGIN,        /* a chunk comes: call lw__wire_land() before lw__wire_next() */
    LW__WIRE_CHUNK,        /* ... and is whole: position, number, length; `first` are its first eight bytes */
    LW__WIRE_ACKED,        /* lane: received, consumed, window of it have changed */
    LW__WIRE_LANE,         /* `state`: what the other side has of a lane */
    LW__WIRE_SAID,         /* `words` */
    LW__WIRE_CLOSED,       /* `words`; nothing comes after it: what was acknowledged with it is told before */
    LW__WIRE_BEAT          /* it lives */
};

struct lw__wire_event {
    enum lw__wire_event_kind kind;
    uint16_t lane;
    uint64_t position;
    uint64_t number;
    uint64_t length;
    uint64_t first;
};

struct lw__wire {
    bool server;
    bool crc; /* each frame is checked */
    enum lw__wire_stage stage;
    uint64_t features; /* offered; after the greetings: agreed */
    const char *why;   /* why it is over, when the other side broke the rules */
    uint64_t frames;   /* that came */
    uint64_t reads;    /* pieces that came */
    uint64_t went;     /* frames that were queued */
    struct lw__wire_lane *lanes;
    uint32_t lane_count;
    /* receiving */
    uint32_t in_at, in_end;
    bool has_acked; /* the acknowledgement of the frame that was given last is still to be told */
    struct lw__frame head;
    unsigned char head_bytes[LW__FRAME];
    char *dest;
    uint64_t landed; /* bytes of the chunk */
    uint64_t first;
    /* sending */
    uint32_t out_at, out_end;
    uint32_t chunk_after; /* bytes of `out` that go before the chunk */
    bool has_chunk;
    bool closed;       /* CLOSE is queued, the last that goes */
    bool ask_back;     /* it was asked whether we live */
    uint32_t ack_next; /* the lane whose turn it is to tell what it owes */
    uint16_t chunk_lane;
    uint64_t chunk_at, chunk_number; /* where it begins */
    const char *chunk;
    uint64_t chunk_sent, chunk_size; /* with its header */
    unsigned char chunk_head[LW__FRAME];
    struct lw__greeting *greeting; /* where the next greeting goes: the caller's, until it has come */
    struct lw__words words;
    struct lw__wire_lane_state state;
    unsigned char in[LW__WIRE_IN];
    unsigned char out[LW__WIRE_OUT];
};

/* `features` that this side is ready for. `greeting` gets the other side's. */
void lw__wire_init(struct lw__wire *wire, bool server, uint64_t features, struct lw__greeting *greeting);

/* The lanes of the session, by id: the caller's memory; ring, writes and, where this side writes, what it offers (at: end)
 * are set. From here on the rules for DATA, ACK and LANE are checked. */
void lw__wire_lanes(struct lw__wire *wire, struct lw__wire_lane *lanes, uint32_t count);

/* ---- receiving ---------------------------------------------------------------------------------------------------- */

int lw__wire_want(const struct lw__wire *wire, struct iovec to[2]);
void lw__wire_got(struct lw__wire *wire, size_t bytes);

/* 1: an event. 0: more bytes are needed. LW_EPROTOCOL or LW_EVERSION, with `why`: it is over. */
int lw__wire_next(struct lw__wire *wire, struct lw__wire_event *event);
/* Where the payload of the chunk that began lies; its first eight bytes are left alone. Until this is called,
 * lw__wire_next() says LW__WIRE_BEGIN again. */
void lw__wire_land(struct lw__wire *wire, char *payload);
/* So many messages were in the chunk that is whole; the next one begins with the one after them. */
void lw__wire_counted(struct lw__wire *wire, uint16_t lane, uint64_t messages);
/* The caller found something wrong in it: it is over. Returns LW_EPROTOCOL. */
int lw__wire_break(struct lw__wire *wire, const char *why);
/* Of one that is over with a `why`. */
int lw__wire_code(const struct lw__wire *wire);
extern const char lw__wire_no_version[];

/* This side reads the lane: so much arrived, was consumed, and may come. Nothing ever goes back. */
void lw__wire_owe(struct lw__wire *wire, uint16_t lane, uint64_t received, uint64_t consumed, uint64_t consumed_number,
                  uint64_t window);

/* ---- sending ------------------------------------------------------------------------------------------------------ */

/* Each: false, no room in the queue now; or CLOSE is in it, after which nothing goes. */
bool lw__wire_greet(struct lw__wire *wire, enum lw__wire_kind kind, const struct lw__greeting *greeting);
bool lw__wire_words(struct lw__wire *wire, enum lw__wire_kind kind, const struct lw__words *words);
bool lw__wire_lane_is(struct lw__wire *wire, const struct lw__wire_lane_state *state);
bool lw__wire_beat(struct lw__wire *wire, bool ask);
/* What is owed, in frames of their own; true when nothing is owed any more. */
bool lw__wire_ack(struct lw__wire *wire);

/* The writer goes on at a place that lw__wire_check_take() allows. */
void lw__wire_start(struct lw__wire *wire, uint16_t lane, const struct lw__wire_lane_state *take);

/* A chunk of `messages` from `at` on: whole records and batches, at most half a ring and 4 GiB less 8 bytes. False: one is
 * under way, or it may not go: the reader is not ready for it, or it is beyond the window. */
bool lw__wire_chunk(struct lw__wire *wire, uint16_t lane, const void *bytes, uint64_t length, uint64_t messages);

int lw__wire_put(const struct lw__wire *wire, struct iovec from[4]);
void lw__wire_sent(struct lw__wire *wire, size_t bytes);

/* Does a frame of this kind carry a checksum that counts? Greetings, and all before they are done, always. */
static inline bool lw__wire_checks(const struct lw__wire *wire, uint8_t kind) {
    return wire->crc || lw__frame_greets(kind) || wire->stage != LW__WIRE_OPEN;
}

static inline bool lw__wire_has_output(const struct lw__wire *wire) {
    return wire->has_chunk || wire->out_at != wire->out_end;
}

#endif
