/* SPDX-License-Identifier: MIT */
/*
 * chaos/message.c - what is in a message.
 *
 *     type     writer 8 | rest of the batch 8
 *     word 0   life 20 | sequence 28 | check 16, over all of them and the length
 *     then     pseudo-random words that follow from word 0, to the last byte
 */
#include <string.h>

#include "chaos/chaos.h"

#define STEP UINT64_C(0x9e3779b97f4a7c15)

static uint64_t first_word(size_t len, const struct origin *origin) {
    uint64_t word = origin->life | (uint64_t)origin->seq << 20;
    uint64_t check = dice_mix(dice_mix(word + STEP) + (uint64_t)len + ((uint64_t)message_type(origin) << 40));
    return word | check << 48;
}

static uint64_t word_at(uint64_t first, size_t i) {
    uint64_t z = first + i * STEP;
    z = (z ^ z >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    return z ^ z >> 32;
}

uint16_t message_type(const struct origin *origin) {
    return (uint16_t)(origin->writer << 8 | origin->rest);
}

void message_fill(void *data, size_t len, const struct origin *origin) {
    char *to = data;
    uint64_t first = first_word(len, origin);
    memcpy(to, &first, 8);
    for (size_t at = 8; at < len; at += 8) {
        uint64_t word = word_at(first, at / 8);
        memcpy(to + at, &word, len - at < 8 ? len - at : 8);
    }
}

static bool is_filled(const char *data, size_t len, uint64_t first) {
    size_t at = 8;
    for (; at + 8 <= len; at += 8) {
        uint64_t word;
        memcpy(&word, data + at, 8);
        if (word != word_at(first, at / 8)) return false;
    }
    uint64_t last = word_at(first, at / 8);
    return memcmp(data + at, &last, len - at) == 0;
}

uint64_t message_word(const struct lw_msg *msg) {
    uint64_t word = 0;
    memcpy(&word, msg->data, msg->len < 8 ? msg->len : 8);
    return word;
}

bool message_check(const struct lw_msg *msg, struct origin *origin) {
    uint64_t first = message_word(msg);
    *origin = (struct origin){
        .writer = msg->type >> 8, .life = first & 0xfffff, .seq = first >> 20 & 0xfffffff, .rest = msg->type & 0xff};
    bool more = msg->flags & LW_MSG_MORE;
    if (msg->len < 8 || origin->writer >= WRITERS_MAX || more != (origin->rest > 0)) return false;
    return first == first_word(msg->len, origin) && is_filled(msg->data, msg->len, first);
}

uint64_t message_hash(uint64_t position, size_t len, uint16_t type, uint64_t word) {
    return dice_mix(dice_mix(dice_mix(position + STEP) ^ word) + ((uint64_t)len << 16 | type));
}
