/* SPDX-License-Identifier: MIT */
/* bench/report.h - options and results, the same for every benchmark. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tool.h"

enum {
    BENCH_ROUNDS_LEAST = 15, /* a result is the best round of at least so many */
    BENCH_ROUNDS_MOST = 1000,
    BENCH_SIZE_MOST = 16 << 20,
    BENCH_BATCH_MOST = 64,
    BENCH_READERS_MOST = 63 /* further ones: a topic has 64 slots unless made otherwise */
};

enum bench_api {
    BENCH_BEST, /* what is fastest at this size */
    BENCH_SEND,
    BENCH_RESERVE
};

struct bench_options {
    uint64_t size;    /* payload in bytes */
    uint64_t ring;    /* ring size in bytes; 0: what is fastest */
    uint64_t rounds;  /* how often value and reference are measured in turn */
    uint64_t readers; /* further subscribers */
    uint64_t release; /* the subscriber releases every so many messages */
    uint64_t batch;   /* messages published at once */
    bool no_bias;     /* shared publishers never keep the lock */
    enum bench_api api;
};

/* Rows of the option table. */
#define BENCH_SIZE(options)                                                                                            \
    { "size", 0, parse_size, &(options).size, "N", "bytes of payload (default 8)" }
#define BENCH_RING(options)                                                                                            \
    { "ring", 0, parse_ring, &(options).ring, "SIZE", "bytes of ring (default: what is fastest)" }
#define BENCH_ROUND_COUNT(options)                                                                                     \
    { "rounds", 0, bench_parse_rounds, &(options).rounds, "N", "15 to 1000, within 7 seconds" }
#define BENCH_API(options)                                                                                             \
    { "api", 0, bench_parse_api, &(options).api, "send|reserve", "how to publish (default: what is faster)" }
#define BENCH_RELEASE(options)                                                                                         \
    { "release", 0, parse_count, &(options).release, "K", "release every K-th message" }
#define BENCH_READERS(options)                                                                                         \
    { "readers", 0, bench_parse_readers, &(options).readers, "N", "further subscribers, to 63" }

#define BENCH_NO_BIAS(options)                                                                                         \
    { "no-bias", 0, parse_flag, &(options).no_bias, NULL, "never keep the lock for the next message" }
#define BENCH_BATCH(options)                                                                                           \
    { "batch", 0, bench_parse_batch, &(options).batch, "N", "messages published at once, 1 to 64" }

const char *bench_parse_batch(const char *text, void *value);
const char *bench_parse_rounds(const char *text, void *value);
const char *bench_parse_readers(const char *text, void *value);
const char *bench_parse_api(const char *text, void *value);

/* Reads the command line. */
void bench_options_read(const struct usage *usage, struct bench_options *options, int argc, char **argv);

/* Sets the ring size to `best`, or more if the payload needs it, unless the user chose one; refuses that when the payload
 * does not fit. */
void bench_choose_ring(const struct usage *usage, struct bench_options *options, uint64_t best);

/* NAN where a field has no meaning. */
struct bench_result {
    const char *bench;
    const char *unit; /* of value; percentiles are always ns */
    double value;     /* best round */
    double reference; /* best round of what value is compared with, ns */
    double ratio;     /* value / reference */
    double per_rtt;   /* messages moved while the reference makes one round trip */
    double p50, p99, p999;
    double samples;     /* behind the percentiles */
    double least_share; /* of one of two publishers, in the worst second */
};

/* Prints one result to stdout. */
void bench_report(const struct bench_options *options, const struct bench_result *result);

/* Sorts `samples`, in ticks, and sets the percentiles of `result`. */
void bench_percentiles(struct bench_result *result, uint64_t *samples, size_t count, double ns_per_tick);

#endif
