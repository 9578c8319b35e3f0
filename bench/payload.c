/* SPDX-License-Identifier: MIT */
/*
 * bench/payload.c - filling and comparing large payloads, with vectors of 32 bytes where the processor has them: with
 * those of 16 the comparing would take longer than a kilobyte takes from core to core.
 */
#include "payload.h"

#if defined __x86_64__

typedef uint64_t wide __attribute__((vector_size(32), aligned(8), may_alias));

__attribute__((target("avx2"))) static void fill_wide(void *to, size_t blocks, uint64_t word) {
    wide v = {word, word + 1, word + 2, word + 3}, *at = to;
    for (; blocks; blocks--, at += 2, v += 8) {
        at[0] = v;
        at[1] = v + 4;
    }
}

__attribute__((target("avx2"))) static uint64_t differs_wide(const void *from, size_t blocks, uint64_t word) {
    wide v = {word, word + 1, word + 2, word + 3}, differs = {0, 0, 0, 0};
    const wide *at = from;
    for (; blocks; blocks--, at += 2, v += 8) differs |= (at[0] ^ v) | (at[1] ^ (v + 4));
    return differs[0] | differs[1] | differs[2] | differs[3];
}

static int has_wide(void) {
    return __builtin_cpu_supports("avx2");
}

#else
#define fill_wide payload_fill_blocks
#define differs_wide payload_differs_blocks

static int has_wide(void) {
    return 0;
}
#endif

void payload_fill_large(void *to, size_t blocks, uint64_t word) {
    if (has_wide())
        fill_wide(to, blocks, word);
    else
        payload_fill_blocks(to, blocks, word);
}

uint64_t payload_differs_large(const void *from, size_t blocks, uint64_t word) {
    return has_wide() ? differs_wide(from, blocks, word) : payload_differs_blocks(from, blocks, word);
}
