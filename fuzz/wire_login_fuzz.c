/* SPDX-License-Identifier: MIT */
/*
 * wire_login_fuzz - a login by anybody: a greeting of any contents comes to a server or to a client, in pieces; what it
 * says of lanes is judged against what this side has of them.
 *
 * The input is {role 1, piece 1, features 1, versions 4, for each side of a lane 7, then the payload}.
 * With role & 2 the payload is a good greeting with the rest of the input written over it, as {offset 2, byte 1}...: so
 * that the fuzzer is soon past the first checks. The checksum always fits.
 *
 * A true history of a lane must go on, and what goes on must be safe for the writer: that is held against a second
 * formulation of the rules.
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
    fprintf(stderr, "wire_login_fuzz.c:%d: not so: %s\n", line, what);
    abort();
}

#include "wire/pair.h"

static const uint8_t *input, *input_end;

static uint8_t byte(void) {
    return input < input_end ? *input++ : 0;
}

/* ---- verdicts ----------------------------------------------------------------------------------------------------- */

/* Few values, so that they meet: one of two logs, some positions of one message each, numbers a bit off. */
static struct lw__wire_lane_state any_state(uint16_t id, enum lw__lane_role role) {
    struct lw__wire_lane_state s = pair_state(id, role);
    memset(s.uuid, byte() % 3, 16);
    uint64_t first = byte(), more = byte();
    if (byte() % 16 == 0) s.ring *= 2;
    if (first >= 240) s.start += RING * 2;
    s.first = s.start + first % 16 * 8;
    s.end = s.first + more % 32 * 8;
    s.first_number += first % 16 + (byte() == 1);
    s.end_number = s.first_number + more % 32;
    if (byte() == 1 && s.end_number > s.first_number + 1) s.end_number--;
    s.window = s.first + s.ring - byte() / 128 * 8u;
    return s;
}

static bool place_fits(uint64_t from, uint64_t from_number, uint64_t to, uint64_t to_number) {
    if (from == to) return from_number == to_number;
    return from < to && from_number < to_number && to_number - from_number <= (to - from) / 8;
}

static bool goes_on(const struct lw__wire_lane_state *o, const struct lw__wire_lane_state *m) {
    bool same = memcmp(o->uuid, m->uuid, 16) == 0 && o->ring == m->ring;
    return same && place_fits(o->first, o->first_number, m->first, m->first_number) &&
           place_fits(m->end, m->end_number, o->end, o->end_number);
}

static void check_verdict(const struct lw__wire_lane_state *offer, const struct lw__wire_lane_state *mirror) {
    char why[LW__WHY];
    memset(why, 'x', sizeof why);
    enum lw__verdict verdict = lw__wire_judge(offer, mirror, why);
    bool same = memcmp(offer->uuid, mirror->uuid, 16) == 0;
    MUST((verdict == LW__GO_ON) == goes_on(offer, mirror));
    if (verdict == LW__ANEW) MUST(!same && mirror->end == mirror->start);
    if (verdict == LW__NEW_LOG) MUST(!same && mirror->end != mirror->start && offer->first == offer->start);
    if (verdict == LW__MISMATCH)
        MUST(memchr(why, 0, sizeof why) && strstr(why, "; writer: log ") && strstr(why, "; reader: log "));
    bool window = mirror->window >= mirror->end && mirror->window <= mirror->first + mirror->ring;
    MUST((lw__wire_check_take(offer, mirror, why) == NULL) == (goes_on(offer, mirror) && window));
    MUST(memchr(why, 0, sizeof why) || verdict == LW__GO_ON || verdict == LW__ANEW || verdict == LW__NEW_LOG);
}

/* ---- greetings ---------------------------------------------------------------------------------------------------- */

static uint32_t any_payload(unsigned char *payload, bool good, bool server) {
    if (!good) {
        uint32_t size = (uint32_t)(input_end - input);
        if (size > LW__CONTROL_MAX) size = LW__CONTROL_MAX;
        memcpy(payload, input, size);
        input += size;
        return size;
    }
    const struct pair_end like = {.count = 2, .server = !server};
    struct lw__greeting g = pair_greeting(&like);
    uint32_t size = lw__greeting_put(payload, &g);
    while (input_end - input >= 3) {
        uint32_t at = byte();
        at |= (uint32_t)byte() << 8;
        payload[at % size] = byte();
    }
    return size;
}

static void check_login(struct pair_end *e) {
    const struct lw__greeting *g = &e->theirs;
    struct lw__wire *w = &e->wire;
    MUST(e->greetings <= 1 && (e->greetings == 1) == (w->why == NULL && e->refusals + e->closed == 0));
    MUST(w->crc == !!(w->features & LW__FEATURE_CRC) || !e->greetings);
    if (!e->greetings) return;
    MUST(w->stage == (e->server ? LW__WIRE_ASKED : LW__WIRE_OPEN));
    MUST(g->lanes <= LW__WIRE_LANES && g->length <= LW__WIRE_WORDS_MAX);
    for (uint16_t i = 0; i < g->lanes; i++)
        for (uint16_t j = 0; j < g->lanes; j++) check_verdict(&g->lane[i], &g->lane[j]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static unsigned char frame[LW__FRAME + LW__CONTROL_MAX];
    static struct pair_end e;
    input = bytes;
    input_end = bytes + size;
    uint8_t role = byte(), piece = byte(), features = byte();
    struct lw__frame f = {.kind = role & 1 ? LW__HELLO : LW__WELCOME, .position = LW__WIRE_MAGIC};
    f.received = features & 15;
    f.number = LW__WIRE_VERSION | LW__WIRE_VERSION << 16;
    for (int i = 0; i < 4; i++) f.number ^= (uint64_t)byte() << 8 * i;
    struct lw__wire_lane_state offer = any_state(0, LW__OFFERS), mirror = any_state(0, LW__TAKES);
    check_verdict(&offer, &mirror);
    check_verdict(&mirror, &offer);
    end_open(&e, role & 1, 2, features >> 4);
    e.silent = e.lenient = true;
    struct lw__greeting hello = pair_greeting(&e);
    if (!e.server) MUST(lw__wire_greet(&e.wire, LW__HELLO, &hello));
    f.length = any_payload(frame + LW__FRAME, role & 2, e.server);
    lw__frame_put(frame, &f);
    f.crc = lw__frame_crc(frame, frame + LW__FRAME, f.length, NULL, 0);
    lw__frame_put(frame, &f);
    end_feed(&e, frame, LW__FRAME + f.length, 1 + piece);
    check_login(&e);
    return 0;
}
