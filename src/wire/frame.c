/* SPDX-License-Identifier: MIT */
/* wire/frame.c - frames and their payloads, to bytes and back. What comes from a peer is bounded here, once. */
#include "wire/frame.h"

#include <string.h>

#include "base/crc32c.h"

/* ---- numbers ------------------------------------------------------------------------------------------------------ */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "as in a lane, numbers are little-endian");

static inline void put(unsigned char *to, uint64_t value, size_t bytes) {
    memcpy(to, &value, bytes);
}

static inline uint64_t get(const unsigned char *from, size_t bytes) {
    uint64_t value = 0;
    memcpy(&value, from, bytes);
    return value;
}

/* ---- headers ------------------------------------------------------------------------------------------------------ */

void lw__frame_put(unsigned char to[LW__FRAME], const struct lw__frame *f) {
    put(to, f->crc, 4);
    put(to + 4, f->length, 4);
    to[8] = f->kind;
    to[9] = f->flags;
    put(to + 10, f->lane, 2);
    put(to + 12, f->ack_lane, 2);
    put(to + 14, f->ack_reader, 2);
    put(to + 16, f->position, 8);
    put(to + 24, f->number, 8);
    put(to + 32, f->received, 8);
    put(to + 40, f->consumed, 8);
    put(to + 48, f->consumed_number, 8);
    put(to + 56, f->window, 8);
}

void lw__frame_get(struct lw__frame *f, const unsigned char from[LW__FRAME]) {
    *f = (struct lw__frame){.crc = (uint32_t)get(from, 4),
                            .length = (uint32_t)get(from + 4, 4),
                            .kind = from[8],
                            .flags = from[9],
                            .lane = (uint16_t)get(from + 10, 2),
                            .ack_lane = (uint16_t)get(from + 12, 2),
                            .ack_reader = (uint16_t)get(from + 14, 2),
                            .position = get(from + 16, 8),
                            .number = get(from + 24, 8),
                            .received = get(from + 32, 8),
                            .consumed = get(from + 40, 8),
                            .consumed_number = get(from + 48, 8),
                            .window = get(from + 56, 8)};
}

uint32_t lw__frame_crc(const unsigned char head[LW__FRAME], const void *a, size_t a_size, const void *b,
                       size_t b_size) {
    uint32_t crc = lw__crc32c(0, head + 4, LW__FRAME - 4);
    if (a_size) crc = lw__crc32c(crc, a, a_size);
    return b_size ? lw__crc32c(crc, b, b_size) : crc;
}

/* ---- lanes -------------------------------------------------------------------------------------------------------- */

uint32_t lw__lane_put(unsigned char *to, const struct lw__wire_lane_state *l) {
    memset(to, 0, LW__LANE_SIZE);
    put(to, l->id, 2);
    to[2] = l->role;
    to[3] = l->status;
    put(to + 4, l->flags, 4);
    memcpy(to + 8, l->uuid, 16);
    put(to + 24, l->ring, 8);
    put(to + 32, l->start, 8);
    put(to + 40, l->first, 8);
    put(to + 48, l->first_number, 8);
    put(to + 56, l->end, 8);
    put(to + 64, l->end_number, 8);
    put(to + 72, l->window, 8);
    put(to + 80, l->record_max, 8);
    return LW__LANE_SIZE;
}

static bool is_place(uint64_t position) {
    return position % 8 == 0 && position < LW__WIRE_END;
}

static const char *check_places(const struct lw__wire_lane_state *l) {
    if (!is_place(l->start) || !is_place(l->first) || !is_place(l->end) || !is_place(l->window))
        return "a position that can not be";
    if (l->start % l->ring) return "a log that begins within a ring";
    if (l->first < l->start || l->end < l->first || l->end - l->first > l->ring) return "positions out of order";
    if (l->first_number >= LW__WIRE_END || l->end_number >= LW__WIRE_END) return "a number that can not be";
    if (l->end_number < l->first_number || l->end_number - l->first_number > (l->end - l->first) / 8)
        return "more messages than bytes for them";
    if ((l->end == l->first) != (l->end_number == l->first_number)) return "bytes without messages";
    return NULL;
}

/* What every lane keeps to, whoever has it. */
static const char *check_lane(const struct lw__wire_lane_state *l) {
    if (l->role != LW__OFFERS && l->role != LW__TAKES) return "a lane that is neither written nor read";
    if (l->status > LW__DRAINING) return "a lane of unknown status";
    if (l->ring < LW__WIRE_RING_MIN || l->ring > LW__WIRE_RING_MAX || l->ring & (l->ring - 1))
        return "a ring of a size that can not be";
    if (l->record_max > l->ring / 2 - 16) return "a record that would not fit";
    return check_places(l);
}

const char *lw__lane_get(struct lw__wire_lane_state *l, const unsigned char *from, uint32_t length) {
    if (length != LW__LANE_SIZE) return "a lane of another size";
    *l = (struct lw__wire_lane_state){.id = (uint16_t)get(from, 2),
                                      .role = from[2],
                                      .status = from[3],
                                      .flags = (uint32_t)get(from + 4, 4),
                                      .ring = get(from + 24, 8),
                                      .start = get(from + 32, 8),
                                      .first = get(from + 40, 8),
                                      .first_number = get(from + 48, 8),
                                      .end = get(from + 56, 8),
                                      .end_number = get(from + 64, 8),
                                      .window = get(from + 72, 8),
                                      .record_max = get(from + 80, 8)};
    memcpy(l->uuid, from + 8, 16);
    return check_lane(l);
}

/* ---- greetings and words ------------------------------------------------------------------------------------------ */

static uint32_t bounded(uint32_t length) {
    return length <= LW__WIRE_WORDS_MAX ? length : LW__WIRE_WORDS_MAX;
}

uint32_t lw__greeting_put(unsigned char *to, const struct lw__greeting *g) {
    uint16_t lanes = g->lanes <= LW__WIRE_LANES ? g->lanes : LW__WIRE_LANES;
    uint32_t size = LW__GREETING_SIZE, length = bounded(g->length);
    memcpy(to, g->server, LW__WIRE_NAME);
    memcpy(to + 64, g->client, LW__WIRE_NAME);
    memcpy(to + 128, g->host, 16);
    put(to + 144, g->epoch, 8);
    put(to + 152, g->beat, 8);
    put(to + 160, g->service, 2);
    put(to + 162, lanes, 2);
    put(to + 164, length, 4);
    put(to + 168, g->session, 8);
    put(to + 176, g->what, 4);
    put(to + 180, (uint32_t)g->code, 4);
    put(to + 184, g->accepted, 8);
    for (int i = 0; i < lanes; i++) size += lw__lane_put(to + size, &g->lane[i]);
    memcpy(to + size, g->words, length);
    return size + length;
}

static bool in_names(unsigned char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* A name, since it becomes a path, and nothing but zeros behind it. */
static bool get_name(char name[LW__WIRE_NAME], const unsigned char *from) {
    size_t length = in_names(from[0]);
    memcpy(name, from, LW__WIRE_NAME);
    while (length && length < LW__WIRE_NAME && (in_names(from[length]) || from[length] == '.' || from[length] == '-'))
        length++;
    for (size_t i = length; i < LW__WIRE_NAME; i++)
        if (from[i]) return false;
    return length && length < LW__WIRE_NAME;
}

/* Each lane once. */
static const char *get_lanes(struct lw__greeting *g, const unsigned char *from) {
    for (uint32_t i = 0; i < g->lanes; i++) {
        const char *bad = lw__lane_get(&g->lane[i], from + (size_t)i * LW__LANE_SIZE, LW__LANE_SIZE);
        if (bad) return bad;
        for (uint32_t j = 0; j < i; j++)
            if (g->lane[j].id == g->lane[i].id) return "a lane that is there twice";
    }
    return NULL;
}

const char *lw__greeting_get(struct lw__greeting *g, const unsigned char *from, uint32_t length) {
    if (length < LW__GREETING_SIZE) return "a greeting that is cut off";
    *g = (struct lw__greeting){.epoch = get(from + 144, 8),
                               .beat = get(from + 152, 8),
                               .service = (uint16_t)get(from + 160, 2),
                               .lanes = (uint16_t)get(from + 162, 2),
                               .length = (uint32_t)get(from + 164, 4),
                               .session = get(from + 168, 8),
                               .what = (uint32_t)get(from + 176, 4),
                               .code = (int32_t)get(from + 180, 4),
                               .accepted = get(from + 184, 8)};
    if (!get_name(g->server, from) || !get_name(g->client, from + 64)) return "a name that is none";
    memcpy(g->host, from + 128, 16);
    if (g->lanes > LW__WIRE_LANES || g->length > LW__WIRE_WORDS_MAX) return "too many lanes or words";
    uint32_t size = LW__GREETING_SIZE + g->lanes * (uint32_t)LW__LANE_SIZE;
    if (length != size + g->length) return "a greeting of another size";
    if (g->beat > LW__WIRE_BEAT_MAX) return "a beat that nobody would wait for";
    memcpy(g->words, from + size, g->length);
    return get_lanes(g, from + LW__GREETING_SIZE);
}

uint32_t lw__words_put(unsigned char *to, const struct lw__words *w) {
    uint32_t length = bounded(w->length);
    put(to, w->what, 4);
    put(to + 4, (uint32_t)w->code, 4);
    put(to + 8, w->session, 8);
    put(to + 16, w->accepted, 8);
    put(to + 24, length, 4);
    put(to + 28, 0, 4);
    memcpy(to + LW__WORDS_SIZE, w->words, length);
    return LW__WORDS_SIZE + length;
}

const char *lw__words_get(struct lw__words *w, const unsigned char *from, uint32_t length) {
    if (length < LW__WORDS_SIZE) return "words that are cut off";
    w->what = (uint32_t)get(from, 4);
    w->code = (int32_t)get(from + 4, 4);
    w->session = get(from + 8, 8);
    w->accepted = get(from + 16, 8);
    w->length = (uint32_t)get(from + 24, 4);
    if (w->length > LW__WIRE_WORDS_MAX || length != LW__WORDS_SIZE + w->length) return "words of another size";
    memcpy(w->words, from + LW__WORDS_SIZE, w->length);
    return NULL;
}
