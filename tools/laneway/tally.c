/* SPDX-License-Identifier: MIT */
/* tally.c - counts in buckets; see tally.h. */
#include "tally.h"

/* A value of n + 8 bits loses its lowest n: seven bits and the leading one are kept. */
static unsigned bucket_of(uint64_t value) {
    if (value < TALLY_FINE) return (unsigned)value;
    unsigned lost = 56u - (unsigned)__builtin_clzll(value);
    return (lost + 1) * TALLY_FINE + (unsigned)(value >> lost) % TALLY_FINE;
}

/* The largest value that belongs to a bucket. */
static uint64_t last_of(unsigned bucket) {
    if (bucket < TALLY_FINE) return bucket;
    unsigned lost = bucket / TALLY_FINE - 1;
    return ((TALLY_FINE + UINT64_C(1) + bucket % TALLY_FINE) << lost) - 1;
}

void tally_add(struct tally *tally, uint64_t value) {
    tally->count++;
    tally->buckets[bucket_of(value)]++;
    if (value > tally->most) tally->most = value;
}

uint64_t tally_at(const struct tally *tally, double share) {
    uint64_t wanted = (uint64_t)(share * (double)tally->count), seen = 0;
    if (!tally->count) return 0;
    for (unsigned i = 0; i < TALLY_BUCKETS; i++) {
        seen += tally->buckets[i];
        if (seen > wanted || seen == tally->count) return last_of(i) < tally->most ? last_of(i) : tally->most;
    }
    return tally->most;
}
