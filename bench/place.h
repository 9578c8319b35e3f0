/* SPDX-License-Identifier: MIT */
/* bench/place.h - the bus that a benchmark runs on. */
#ifndef BENCH_PLACE_H
#define BENCH_PLACE_H

struct bench_place {
    char dir[256];   /* ours, to be removed; "" when the bus is the user's */
    char bus[272];   /* the bus directory */
    char prefix[32]; /* of topic names */
};

/* Finds a place: the bus that --bus names, or one of our own. 0, or the exit code after saying what
 * failed. */
int bench_place_make(struct bench_place *place);

/* Removes what the run has left there. */
void bench_place_clear(const struct bench_place *place);

#endif
