/* SPDX-License-Identifier: MIT */
/*
 * bench/samples.h - the times of single trips, for percentiles. They come from rounds of their own, with a time stamp
 * at each trip, so that the time stamps do not disturb the value.
 */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include "duo.h"

struct samples {
    uint64_t *ticks;
    size_t count;
};

void samples_open(struct duo *duo, struct samples *samples);

/* A round of `count` trips, unless there are enough. Both sides call it. */
void samples_take(struct duo *duo, struct samples *samples, size_t count, void (*trip)(struct duo *duo, void *user),
                  void *user);

/* Sets the percentiles of the page's result, if this is side 0, and frees. */
void samples_close(struct duo *duo, struct samples *samples);

#endif
