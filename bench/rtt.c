/* SPDX-License-Identifier: MIT */
/* bench/rtt.c - one message there and one back: rounds, samples, references. */
#include "rtt.h"

#include <stdlib.h>

enum {
    LARGE = 4096, /* payloads from here on get fewer trips */
    TRIPS = 10000 /* of cache lines */
};

void rtt_open(struct duo *duo, struct rtt *rtt) {
    size_t size = duo->options->size;
    if (size >= LARGE) rtt->trips = 1 + rtt->trips * LARGE / size;
    rtt->buffer = aligned_alloc(64, (size + 64) & ~(size_t)63);
    if (!rtt->buffer) duo_fail(duo, "no memory");
    samples_open(duo, &rtt->samples);
}

static void settle(struct duo *duo, struct rtt *rtt) {
    if (rtt->settle) rtt->settle(duo, rtt);
}

double rtt_time(struct duo *duo, struct rtt *rtt, void (*run)(struct duo *duo, struct rtt *rtt, uint64_t count)) {
    duo_meet(duo);
    int64_t begin = now_ns();
    run(duo, rtt, rtt->trips);
    int64_t spent = now_ns() - begin;
    settle(duo, rtt);
    return (double)spent / (double)rtt->trips;
}

static double value(struct duo *duo, void *user) {
    struct rtt *rtt = user;
    return rtt_time(duo, rtt, rtt->run);
}

static double cache_lines(struct duo *duo, void *user) {
    (void)user;
    return duo_pingpong(duo, TRIPS);
}

static void one_trip(struct duo *duo, void *user) {
    struct rtt *rtt = user;
    rtt->run(duo, rtt, 1);
}

static void sample(struct duo *duo, void *user) {
    struct rtt *rtt = user;
    samples_take(duo, &rtt->samples, rtt->taken, one_trip, user);
    settle(duo, rtt);
}

void rtt_measure(struct duo *duo, struct rtt *rtt) {
    const struct duo_steps steps = {value, rtt->reference ? rtt->reference : cache_lines, sample, rtt->take};
    duo_alternate(duo, &steps, rtt);
    samples_close(duo, &rtt->samples);
}

void rtt_close(struct rtt *rtt) {
    free(rtt->buffer);
}
