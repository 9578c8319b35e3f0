/* SPDX-License-Identifier: MIT */
/* base/crc32c.h - the checksum of everything that is kept or sent: CRC-32C (Castagnoli). */
#ifndef LW_BASE_CRC32C_H
#define LW_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of `size` bytes at any address, going on from `crc`; begin with 0. */
uint32_t lw__crc32c(uint32_t crc, const void *data, size_t size);

/* What it chooses from at its first call, for tests: tables, which run everywhere, and instructions, plain and wide, NULL
 * where the processor has none. */
typedef uint32_t lw__crc32c_fn(uint32_t crc, const void *data, size_t size);
lw__crc32c_fn lw__crc32c_portable;
lw__crc32c_fn *lw__crc32c_hardware(void);
lw__crc32c_fn *lw__crc32c_wide(void);

/* X(N, x^N modulo P), reflected: what the wide way multiplies by. Here for the test that works them out. */
/* clang-format off */
#define LW__CRC32C_POWERS(X) \
    X(95, 0x493c7d27) \
    X(159, 0xf20c0dfe) \
    X(223, 0xba4fc28e) \
    X(287, 0x3da6d0cb) \
    X(351, 0xddc0152b) \
    X(415, 0x1c291d04) \
    X(479, 0x9e4addf8) \
    X(543, 0x740eef02) \
    X(991, 0x0d3b6092) \
    X(1055, 0x6992cea2) \
    X(2015, 0xb9e02b86) \
    X(2079, 0xdcb17aa4) \
    X(4063, 0xdd7e3b0c) \
    X(4127, 0xbd6f81f8) \
    X(8159, 0x170076fa) \
    X(16351, 0xa51b6135) \
    X(24543, 0x359674f7) \
    X(90079, 0x2deb01bb)
/* clang-format on */

#endif
