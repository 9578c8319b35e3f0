/* SPDX-License-Identifier: MIT */
/*
 * tally.h - how long many things took, in buckets: percentiles of any number of samples in a fixed room.
 *
 * Below 128 ns each value has a bucket of its own; above, each power of two has 128 of them, so a percentile is less than
 * a hundredth too large. The largest value is kept exactly.
 */
#ifndef LANEWAY_TALLY_H
#define LANEWAY_TALLY_H

#include <stdint.h>

enum { TALLY_FINE = 128, TALLY_BUCKETS = (64 - 6) * TALLY_FINE };

struct tally {
    uint64_t count;
    uint64_t most;
    uint64_t buckets[TALLY_BUCKETS];
};

void tally_add(struct tally *tally, uint64_t value);

/* The value below or at which `share` (0 to 1) of all lie; 0 when there is none. */
uint64_t tally_at(const struct tally *tally, double share);

#endif
