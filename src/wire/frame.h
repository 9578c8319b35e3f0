/* SPDX-License-Identifier: MIT */
/*
 * wire/frame.h - every byte of what goes over a connection. docs/spec/wire.md is the same for people.
 *
 * All is frames: a header of 64 bytes and a payload. All numbers are little-endian.
 *
 *      0  crc         CRC-32C of the header from byte 4 on and of the payload; 0 without that feature
 *      4  length      bytes of payload
 *      8  kind        9 flags      10 lane       12 ack_lane     14 ack_reader
 *     16  position    of the first byte of the payload in its lane
 *     24  number      of the first message
 *     32  received    of ack_lane: all before has arrived ...
 *     40  consumed    ... and is released by its reader ...
 *     48  consumed_number
 *     56  window      ... and so far the sender may go
 *
 * HELLO, WELCOME and REFUSE open a connection. Theirs stay where they are in every version: position is LW__WIRE_MAGIC,
 * number {lowest version 16, highest 16}, received the features. What is zero here, and bits without a name, are sent as
 * zero and not looked at.
 */
#ifndef LW_WIRE_FRAME_H
#define LW_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LW__WIRE_MAGIC UINT64_C(0x0a594157454e414c) /* "LANEWAY\n" as bytes */

/* No position and no number comes this far. What is left to 2^63 is more than any ring, so that sums do not wrap. */
#define LW__WIRE_END (UINT64_C(7) << 60)
#define LW__WIRE_RING_MIN UINT64_C(4096)
#define LW__WIRE_RING_MAX (UINT64_C(64) << 30)
#define LW__WIRE_BEAT_MAX UINT64_C(3600000000000) /* an hour in ns */

enum {
    LW__FRAME = 64,
    LW__WIRE_VERSION = 1,   /* the highest that this library speaks, and the lowest */
    LW__CONTROL_MAX = 4032, /* payload of any frame but DATA */
    LW__WIRE_WORDS_MAX = 1024,
    LW__WIRE_NAME = 64, /* names are padded with zeros to so many bytes */
    LW__WIRE_LANES = 16 /* in a greeting; others are told later */
};

enum lw__wire_kind {
    LW__HELLO = 1, /* client's first: a greeting */
    LW__WELCOME,   /* server's answer: a greeting */
    LW__REFUSE,    /* server's other answer: words */
    LW__DATA,      /* bytes of a lane, whole records and batches */
    LW__ACK,       /* nothing but its acknowledgement */
    LW__BEAT,      /* alive */
    LW__LANE,      /* what the one side has of a lane: a lane */
    LW__SAY,       /* what a side of a link says beside its messages: words */
    LW__CLOSE      /* the last frame of who sends it: words */
};

enum { LW__FRAME_ACK = 1 /* the acknowledgement counts */, LW__FRAME_ASK = 2 /* of BEAT: answer with one at once */ };
enum { LW__FEATURE_CRC = 1 };

struct lw__frame {
    uint32_t crc;
    uint32_t length;
    uint8_t kind;
    uint8_t flags;
    uint16_t lane;
    uint16_t ack_lane;
    uint16_t ack_reader;
    uint64_t position;
    uint64_t number;
    uint64_t received;
    uint64_t consumed;
    uint64_t consumed_number;
    uint64_t window;
};

void lw__frame_put(unsigned char to[LW__FRAME], const struct lw__frame *frame);
void lw__frame_get(struct lw__frame *frame, const unsigned char from[LW__FRAME]);

/* Of a header as it is sent and a payload in two parts. */
uint32_t lw__frame_crc(const unsigned char head[LW__FRAME], const void *a, size_t a_size, const void *b, size_t b_size);

static inline bool lw__frame_greets(uint8_t kind) {
    return kind >= LW__HELLO && kind <= LW__REFUSE;
}

/* ---- payloads ----------------------------------------------------------------------------------------------------- */

/* What one side has of a lane. Of its writer: the log. Of its reader: the mirror. 96 bytes:
 *
 *      0  id 16   2 role 8   3 status 8   4 flags 32    8 uuid   24 ring   32 start
 *     40  first, its number   56 end, its number   72 window   80 record_max   88 zero
 */
enum { LW__LANE_SIZE = 96 };
enum lw__lane_role { LW__OFFERS = 1, LW__TAKES = 2 };
enum lw__lane_status {
    LW__READY,   /* send from `end` on */
    LW__DRAINING /* not yet: readers are at an earlier log of this lane. Another LANE will say READY */
};
enum { LW__LANE_FRESH = 1 }; /* the mirror was made for this: whatever the reader had before is gone */

struct lw__wire_lane_state {
    uint16_t id;
    uint8_t role;
    uint8_t status;
    uint32_t flags;
    unsigned char uuid[16];
    uint64_t ring;  /* bytes, a power of two */
    uint64_t start; /* where this log begins */
    uint64_t first; /* writer: the oldest that was not consumed. Reader: all before is released */
    uint64_t first_number;
    uint64_t end; /* writer: the end of the log. Reader: all before has arrived */
    uint64_t end_number;
    uint64_t window;     /* reader: so far the writer may go */
    uint64_t record_max; /* payload of the longest record; 0: not told */
};

/* HELLO and WELCOME. 192 bytes, then the lanes, then the words:
 *
 *      0  server   64 client   128 host uuid   144 epoch   152 beat
 *    160  service 16   162 lanes 16   164 bytes of words 32   168 session   176 what 32   180 code 32   184 accepted
 */
enum {
    LW__GREETING_SIZE = 192,
    LW__GREETING_MAX = LW__GREETING_SIZE + LW__WIRE_LANES * LW__LANE_SIZE + LW__WIRE_WORDS_MAX
};
enum lw__wire_service { LW__SERVICE_LINK = 1 };

struct lw__greeting {
    char server[LW__WIRE_NAME];
    char client[LW__WIRE_NAME];
    unsigned char host[16]; /* of who says it: told in errors, decides nothing */
    uint64_t epoch;         /* counts the connections of this client: a later one fences the one before */
    uint64_t beat;          /* ns: who says this sends something at least so often; 0: not told */
    uint16_t service;
    uint16_t lanes;
    uint64_t session;
    uint32_t what;
    int32_t code;
    uint64_t accepted;
    uint32_t length; /* of words */
    struct lw__wire_lane_state lane[LW__WIRE_LANES];
    unsigned char words[LW__WIRE_WORDS_MAX];
};

/* REFUSE, SAY, CLOSE. 32 bytes, then the words:
 *
 *      0  what 32   4 code 32   8 session   16 accepted   24 bytes of words 32   28 zero
 */
enum { LW__WORDS_SIZE = 32 };
struct lw__words {
    uint32_t what;
    int32_t code;
    uint64_t session;
    uint64_t accepted;
    uint32_t length;
    unsigned char words[LW__WIRE_WORDS_MAX];
};

/* Each returns how many bytes it wrote; there is room for LW__CONTROL_MAX. */
uint32_t lw__lane_put(unsigned char *to, const struct lw__wire_lane_state *lane);
uint32_t lw__greeting_put(unsigned char *to, const struct lw__greeting *greeting);
uint32_t lw__words_put(unsigned char *to, const struct lw__words *words);

/* NULL, or what is wrong with it. */
const char *lw__lane_get(struct lw__wire_lane_state *lane, const unsigned char *from, uint32_t length);
const char *lw__greeting_get(struct lw__greeting *greeting, const unsigned char *from, uint32_t length);
const char *lw__words_get(struct lw__words *words, const unsigned char *from, uint32_t length);

/* ---- what two sides have of one lane ------------------------------------------------------------------------------- */

enum lw__verdict {
    LW__GO_ON,   /* the same log: from the mirror's end on */
    LW__ANEW,    /* another log, but nothing ever came into the mirror: one is made for `offer`, from its `first` on */
    LW__NEW_LOG, /* the writer's log is a new one: the mirror's messages first, then one is made for it */
    LW__MISMATCH /* neither: what was sent and what arrived do not belong together */
};

enum { LW__WHY = 480 };

/* Is the one place before the other, or the same, with as many messages between as there are bytes for? */
static inline bool lw__wire_in_order(uint64_t a, uint64_t a_number, uint64_t b, uint64_t b_number) {
    return a <= b && a_number <= b_number && (a == b) == (a_number == b_number) && b_number - a_number <= (b - a) / 8;
}

/* By the reader's side: `mirror` is what it has. `why` (LW__WHY bytes) gets the reason for a mismatch. */
enum lw__verdict lw__wire_judge(const struct lw__wire_lane_state *offer, const struct lw__wire_lane_state *mirror,
                                char *why);

/* By the writer's side: may it go on from what the mirror says? NULL, or why not (in `why`). That a record begins at
 * take->end, and that it has this number, is the caller's to look up in its log. */
const char *lw__wire_check_take(const struct lw__wire_lane_state *offer, const struct lw__wire_lane_state *take,
                                char *why);

#endif
