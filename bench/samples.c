/* SPDX-License-Identifier: MIT */
/* bench/samples.c - the times of single trips. */
#include "samples.h"

#include <stdlib.h>

enum { MOST = 1000000 };

void samples_open(struct duo *duo, struct samples *samples) {
    *samples = (struct samples){.ticks = calloc(MOST, sizeof *samples->ticks)};
    if (!samples->ticks) duo_fail(duo, "no memory");
}

void samples_take(struct duo *duo, struct samples *samples, size_t count, void (*trip)(struct duo *duo, void *user),
                  void *user) {
    if (samples->count + count > MOST) return;
    duo_meet(duo);
    for (size_t i = 0; i < count; i++) {
        uint64_t begin = duo_ticks();
        trip(duo, user);
        samples->ticks[samples->count++] = duo_ticks() - begin;
    }
}

void samples_close(struct duo *duo, struct samples *samples) {
    if (duo->side == 0) bench_percentiles(&duo->page->result, samples->ticks, samples->count, duo_ns_per_tick());
    free(samples->ticks);
}
