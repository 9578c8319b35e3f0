/* SPDX-License-Identifier: MIT */
/*
 * wire_frames_fuzz - any bytes as the header and as the payload of each kind of frame. What is taken keeps to the limits
 * of docs/spec/wire.md, and says the same bytes again.
 *
 * The input is {what 1, a header 64, a payload}; a short header is filled up with zeros. The lowest bit of the first byte
 * asks for lengths that fit, so that more inputs come as far as the numbers; the rest of it says what the payload is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) wrong(#condition, __LINE__);                                                                 \
    } while (0)

static void wrong(const char *what, int line) {
    fprintf(stderr, "wire_frames_fuzz.c:%d: not so: %s\n", line, what);
    abort();
}

static void put_number(unsigned char *to, int bytes, uint64_t value) {
    for (int i = 0; i < bytes; i++) to[i] = (unsigned char)(value >> 8 * i);
}

static void check_header(const unsigned char head[LW__FRAME], const unsigned char *payload, size_t size) {
    unsigned char again[LW__FRAME];
    struct lw__frame frame;
    lw__frame_get(&frame, head);
    lw__frame_put(again, &frame);
    MUST(memcmp(head, again, LW__FRAME) == 0);
    uint32_t whole = lw__crc32c(lw__crc32c(0, head + 4, LW__FRAME - 4), payload, size);
    for (size_t cut = 0; cut <= size; cut += 1 + size / 7)
        MUST(lw__frame_crc(head, payload, cut, payload + cut, size - cut) == whole);
}

static void check_state(const struct lw__wire_lane_state *l) {
    MUST(l->role == LW__OFFERS || l->role == LW__TAKES);
    MUST(l->status == LW__READY || l->status == LW__DRAINING);
    MUST(l->ring >= 4096 && l->ring <= UINT64_C(1) << 36 && __builtin_popcountll(l->ring) == 1);
    MUST((l->start | l->first | l->end | l->window) % 8 == 0 && l->start % l->ring == 0);
    MUST(l->start <= l->first && l->first <= l->end && l->end <= l->first + l->ring);
    MUST(l->end < LW__WIRE_END && l->window < LW__WIRE_END && l->end_number < LW__WIRE_END);
    MUST(lw__wire_in_order(l->first, l->first_number, l->end, l->end_number));
    MUST(l->record_max <= l->ring / 2);
}

/* The same, but for what is not looked at. */
static void check_lane(unsigned char *payload, size_t size) {
    unsigned char again[LW__CONTROL_MAX];
    struct lw__wire_lane_state lane;
    if (lw__lane_get(&lane, payload, (uint32_t)size)) return;
    MUST(size == LW__LANE_SIZE);
    check_state(&lane);
    MUST(lw__lane_put(again, &lane) == size);
    memset(payload + 88, 0, 8);
    MUST(memcmp(again, payload, size) == 0);
}

static void check_name(const char *name) {
    size_t length = strnlen(name, LW__WIRE_NAME);
    MUST(length >= 1 && length < LW__WIRE_NAME && name[0] != '.' && name[0] != '-');
    MUST(!memchr(name, '/', length));
}

static void fit_greeting(unsigned char *payload, size_t size) {
    if (size < LW__GREETING_SIZE) return;
    size_t lanes = payload[162] % (LW__WIRE_LANES + 1), rest = size - LW__GREETING_SIZE;
    if (lanes * LW__LANE_SIZE > rest) lanes = rest / LW__LANE_SIZE;
    put_number(payload + 162, 2, lanes);
    put_number(payload + 164, 4, rest - lanes * LW__LANE_SIZE);
}

static void check_greeting(unsigned char *payload, size_t size, bool fit) {
    static struct lw__greeting g;
    unsigned char again[LW__CONTROL_MAX];
    if (fit) fit_greeting(payload, size);
    if (lw__greeting_get(&g, payload, (uint32_t)size)) return;
    MUST(size <= LW__GREETING_MAX && g.lanes <= LW__WIRE_LANES && g.length <= LW__WIRE_WORDS_MAX);
    check_name(g.server);
    check_name(g.client);
    for (int i = 0; i < g.lanes; i++) {
        check_state(&g.lane[i]);
        memset(payload + LW__GREETING_SIZE + i * LW__LANE_SIZE + 88, 0, 8);
    }
    MUST(lw__greeting_put(again, &g) == size && memcmp(again, payload, size) == 0);
}

static void check_words(unsigned char *payload, size_t size, bool fit) {
    static struct lw__words w;
    unsigned char again[LW__CONTROL_MAX];
    if (fit && size >= LW__WORDS_SIZE) put_number(payload + 24, 4, size - LW__WORDS_SIZE);
    if (lw__words_get(&w, payload, (uint32_t)size)) return;
    MUST(w.length <= LW__WIRE_WORDS_MAX && size == LW__WORDS_SIZE + w.length);
    memset(payload + 28, 0, 4);
    MUST(lw__words_put(again, &w) == size && memcmp(again, payload, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    unsigned char head[LW__FRAME] = {0};
    if (size < 1 || size > 1 + LW__FRAME + LW__CONTROL_MAX) return 0;
    uint8_t what = bytes[0];
    size_t header = size - 1 < LW__FRAME ? size - 1 : LW__FRAME, length = size - 1 - header;
    memcpy(head, bytes + 1, header);
    unsigned char *payload = malloc(length + 1),
                  *at = payload + 1; /* exactly as long as it is, and at an odd address */
    if (!payload) return 0;
    if (length) memcpy(at, bytes + 1 + header, length);
    check_header(head, at, length);
    if (what / 2 % 3 == 0) check_lane(at, length);
    if (what / 2 % 3 == 1) check_greeting(at, length, what & 1);
    if (what / 2 % 3 == 2) check_words(at, length, what & 1);
    free(payload);
    return 0;
}
