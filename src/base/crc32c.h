/* SPDX-License-Identifier: MIT */
/* base/crc32c.h - the checksum of everything that is kept or sent: CRC-32C (Castagnoli). */
#ifndef LW_BASE_CRC32C_H
#define LW_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of `size` bytes at any address, going on from `crc`; begin with 0. */
uint32_t lw__crc32c(uint32_t crc, const void *data, size_t size);

/* What it chooses from at its first call, for tests: tables, which run everywhere, and instructions, NULL where the
 * processor has none. */
typedef uint32_t lw__crc32c_fn(uint32_t crc, const void *data, size_t size);
lw__crc32c_fn lw__crc32c_portable;
lw__crc32c_fn *lw__crc32c_hardware(void);

#endif
