/* SPDX-License-Identifier: MIT */
/*
 * bench/payload.h - contents of a message that are a function of its number.
 *
 * The sender writes every byte and the receiver compares every byte with what it must be, so a benchmark pays for the
 * payload as a user does, and a message that is lost, repeated or torn is found. The loops must cost less than what
 * they measure: small payloads are inline, in vectors of 16 bytes that any x86-64 has; large ones are in payload.c.
 */
#ifndef BENCH_PAYLOAD_H
#define BENCH_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint64_t payload_vector __attribute__((vector_size(16), aligned(8), may_alias));

enum { PAYLOAD_BLOCK = 64, PAYLOAD_LARGE = 512 };

void payload_fill_large(void *to, size_t blocks, uint64_t word);
uint64_t payload_differs_large(const void *from, size_t blocks, uint64_t word);

/* The first word of message `seq`; word i of it is this plus i. */
static inline uint64_t payload_base(uint64_t seq) {
    return (seq + 1) * UINT64_C(0x9E3779B97F4A7C15);
}

/* Blocks of 64 bytes. */
static inline void payload_fill_blocks(void *to, size_t blocks, uint64_t word) {
    payload_vector v = {word, word + 1}, *at = to;
    for (; blocks; blocks--, at += 4, v += 8) {
        at[0] = v;
        at[1] = v + 2;
        at[2] = v + 4;
        at[3] = v + 6;
    }
}

static inline uint64_t payload_differs_blocks(const void *from, size_t blocks, uint64_t word) {
    payload_vector v = {word, word + 1}, differs = {0, 0};
    const payload_vector *at = from;
    for (; blocks; blocks--, at += 4, v += 8)
        differs |= (at[0] ^ v) | (at[1] ^ (v + 2)) | (at[2] ^ (v + 4)) | (at[3] ^ (v + 6));
    return differs[0] | differs[1];
}

static inline void payload_fill(void *to, size_t size, uint64_t seq) {
    uint64_t word = payload_base(seq), blocks = size / PAYLOAD_BLOCK;
    char *at = (char *)to + blocks * PAYLOAD_BLOCK;
    if (size >= PAYLOAD_LARGE)
        payload_fill_large(to, blocks, word);
    else
        payload_fill_blocks(to, blocks, word);
    word += blocks * (PAYLOAD_BLOCK / 8);
    for (size_t left = size % PAYLOAD_BLOCK; left; word++) {
        size_t some = left < 8 ? left : 8;
        memcpy(at, &word, some);
        at += some;
        left -= some;
    }
}

/* Zero when the `size` bytes at `from` are those of message `seq`. */
static inline uint64_t payload_differs(const void *from, size_t size, uint64_t seq) {
    uint64_t word = payload_base(seq), blocks = size / PAYLOAD_BLOCK, wrong;
    const char *at = (const char *)from + blocks * PAYLOAD_BLOCK;
    if (size >= PAYLOAD_LARGE)
        wrong = payload_differs_large(from, blocks, word);
    else
        wrong = payload_differs_blocks(from, blocks, word);
    word += blocks * (PAYLOAD_BLOCK / 8);
    for (size_t left = size % PAYLOAD_BLOCK; left; word++) {
        size_t some = left < 8 ? left : 8;
        uint64_t found = word;
        memcpy(&found, at, some);
        wrong |= found ^ word;
        at += some;
        left -= some;
    }
    return wrong;
}

#endif
