/* SPDX-License-Identifier: MIT */
/*
 * bench/rtt.h - one message there and one back: what the benchmarks of round trips share.
 *
 * A benchmark says how one trip goes, as an always-inline function, and makes a series of it with rtt_series(): so the
 * loop that is timed is compiled as if it had been written out, and nothing of the frame is in it. Its own state has
 * struct rtt as the first member.
 */
#ifndef BENCH_RTT_H
#define BENCH_RTT_H

#include "duo.h"
#include "payload.h"
#include "samples.h"

#define RTT_ALWAYS static inline __attribute__((always_inline))

enum { RTT_PATIENCE = 1 << 30 /* looks without success, some 20 seconds: the other side is dead */ };

struct rtt {
    /* Makes `count` trips, to be set by the benchmark. */
    void (*run)(struct duo *duo, struct rtt *rtt, uint64_t count);
    /* Called by both sides after each run, untimed; NULL: a run that has ended on side 0 has ended. */
    void (*settle)(struct duo *duo, struct rtt *rtt);
    double (*reference)(struct duo *duo, void *rtt); /* NULL: two cache lines, back and forth */
    enum duo_take take;
    uint64_t trips; /* in a round of value or reference */
    uint64_t taken; /* in a round of samples */
    uint64_t seq;   /* of the next trip */
    char *buffer;   /* for a payload */
    struct samples samples;
};

/* What is in `rtt` stays. Payloads of some kilobytes and more get fewer trips. */
void rtt_open(struct duo *duo, struct rtt *rtt);

/* Measures, and leaves value, reference and percentiles in the page's result. */
void rtt_measure(struct duo *duo, struct rtt *rtt);

/* A round of `run`, in ns a trip: for references of the same kind. Both sides call it. */
double rtt_time(struct duo *duo, struct rtt *rtt, void (*run)(struct duo *duo, struct rtt *rtt, uint64_t count));

void rtt_close(struct rtt *rtt);

RTT_ALWAYS void rtt_check(struct duo *duo, const void *data, size_t len, uint64_t seq, size_t size) {
    if (len != size || payload_differs(data, size, seq)) duo_fail(duo, "trip %llu came wrong", (unsigned long long)seq);
}

RTT_ALWAYS void rtt_series_of(struct duo *duo, struct rtt *rtt, uint64_t count, size_t size,
                              void (*trip)(struct duo *duo, struct rtt *rtt, uint64_t seq, size_t size)) {
    for (; count--; rtt->seq++) trip(duo, rtt, rtt->seq, size);
}

/* A size that the compiler knows, as it knows the size of a user's struct, makes the copies inline. */
RTT_ALWAYS void rtt_series(struct duo *duo, struct rtt *rtt, uint64_t count,
                           void (*trip)(struct duo *duo, struct rtt *rtt, uint64_t seq, size_t size)) {
    switch (duo->options->size) {
    case 8:
        rtt_series_of(duo, rtt, count, 8, trip);
        break;
    case 64:
        rtt_series_of(duo, rtt, count, 64, trip);
        break;
    default:
        rtt_series_of(duo, rtt, count, duo->options->size, trip);
    }
}

#endif
