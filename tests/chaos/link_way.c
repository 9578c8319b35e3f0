/* SPDX-License-Identifier: MIT */
/* chaos/link_way.c - one direction of a link: everything about a message follows from its number. */
#include <string.h>

#include "chaos/chaos.h"

#define STEP UINT64_C(0x9e3779b97f4a7c15)

static uint64_t first_word(const struct way *way, uint64_t number) {
    return dice_mix(number * STEP + way->salt);
}

static uint64_t next_word(uint64_t word) {
    word = (word + STEP) * UINT64_C(0xbf58476d1ce4e5b9);
    return word ^ word >> 31;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* Mostly small, and now and then one of each size up to the largest. */
size_t way_size(const struct way *way, uint64_t number) {
    uint64_t word = first_word(way, number), kind = word % 2048;
    size_t size = (size_t)(word >> 20);
    if (kind == 0) return size % (LINK_MOST + 1);
    if (kind < 16) return size % 4097;
    if (kind < 256) return size % 1025;
    return size % 65;
}

uint16_t way_type(const struct way *way, uint64_t number) {
    return (uint16_t)(first_word(way, number) >> 48);
}

void way_fill(const struct way *way, uint64_t number, void *to, size_t len) {
    uint64_t word = first_word(way, number);
    for (size_t at = 0; at < len; at += 8, word = next_word(word))
        memcpy((char *)to + at, &word, len - at < 8 ? len - at : 8);
}

static bool is_whole(const struct way *way, const struct lw_msg *msg) {
    const char *data = msg->data;
    uint64_t word = first_word(way, msg->number), found;
    size_t at = 0;
    if (msg->len != way_size(way, msg->number) || msg->type != way_type(way, msg->number)) return false;
    for (; at + 8 <= msg->len; at += 8, word = next_word(word)) {
        memcpy(&found, data + at, 8);
        if (found != word) return false;
    }
    return at == msg->len || memcmp(data + at, &word, msg->len - at) == 0;
}

/* ---- the order --------------------------------------------------------------------------------------------------- */

bool way_sender_at(struct way *way, uint64_t at) {
    uint64_t sent = atomic_load(&way->sent), tried = atomic_load(&way->tried);
    if (at < sent) count(&way->lost, sent - at);
    if (at != sent && at != tried) return false; /* an operation is done, or not */
    atomic_store(&way->tried, at);
    atomic_store(&way->sent, at);
    return true;
}

bool way_receiver_at(struct way *way, uint64_t at) {
    uint64_t released = atomic_load(&way->released), releasing = atomic_load(&way->releasing);
    if (at < released) count(&way->repeated, released - at);
    if (at > releasing) count(&way->lost, at - releasing);
    if (at != released && at != releasing) return false;
    atomic_store(&way->releasing, at);
    atomic_store(&way->released, at);
    return true;
}

bool way_take(struct way *way, const struct lw_msg *msg, uint64_t expected) {
    uint64_t seen = atomic_load_explicit(&way->seen, memory_order_relaxed), n = msg->number;
    bool fine = n == expected;
    if (n > expected)
        count(&way->lost, n - expected);
    else if (n < atomic_load_explicit(&way->released, memory_order_relaxed))
        count(&way->repeated, 1);
    else if (n < expected)
        count(&way->reordered, 1);
    if (!is_whole(way, msg)) {
        count(&way->corrupt, 1);
        fine = false;
    }
    if (n < seen)
        count(&way->again, 1);
    else
        atomic_store_explicit(&way->seen, n + 1, memory_order_relaxed);
    return fine;
}

bool way_is_complete(const struct way *way) {
    return atomic_load(&way->settled) && atomic_load(&way->released) == atomic_load(&way->sent);
}

bool pair_is_complete(const struct pair *pair) {
    return way_is_complete(&pair->way[UP]) && way_is_complete(&pair->way[DOWN]);
}
