/* SPDX-License-Identifier: MIT */
/* base/bytes.h - random bytes and small arithmetic. */
#ifndef LW_BASE_BYTES_H
#define LW_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 16 random bytes, a version 4 UUID. */
void lw__uuid_make(unsigned char uuid[16]);

static inline bool lw__is_power_of_two(uint64_t x) {
    return x && !(x & (x - 1));
}

/* Rounds up to a multiple of `unit`, a power of two. */
static inline uint64_t lw__round_up(uint64_t x, uint64_t unit) {
    return (x + unit - 1) & ~(unit - 1);
}

#endif
