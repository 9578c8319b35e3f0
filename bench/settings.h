/* SPDX-License-Identifier: MIT */
/* bench/settings.h - what a benchmark can be told: one table of options, of which each takes some. */
#ifndef BENCH_SETTINGS_H
#define BENCH_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BENCH_ROUNDS_LEAST = 15, /* a result is of at least so many rounds */
    BENCH_ROUNDS_MOST = 1000,
    BENCH_SIZE_MOST = 16 << 20,
    BENCH_BATCH_MOST = 64,
    BENCH_READERS_MOST = 63, /* further ones: a topic has 64 slots unless made otherwise */
    BENCH_WINDOW_MOST = 65536,
    BENCH_LINKS_MOST = 30000
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
    uint64_t window;  /* messages under way at most */
    uint64_t links;
    uint64_t busy; /* of them, in the second part */
    enum bench_api api;
    bool no_bias;  /* shared publishers never keep the lock */
    bool direct;   /* the server asks its link, not its group */
    bool one_core; /* both processes on the same */
    bool no_crc;   /* no checksums over TCP */
    bool sleep;    /* both sides wait in the kernel, at once */
};

/* Which options a benchmark takes: a bit each. */
enum bench_takes {
    BENCH_SIZE = 1 << 0,
    BENCH_RING = 1 << 1,
    BENCH_ROUNDS = 1 << 2,
    BENCH_API = 1 << 3,
    BENCH_RELEASE = 1 << 4,
    BENCH_READERS = 1 << 5,
    BENCH_NO_BIAS = 1 << 6,
    BENCH_BATCH = 1 << 7,
    BENCH_WINDOW = 1 << 8,
    BENCH_LINKS = 1 << 9,
    BENCH_BUSY = 1 << 10,
    BENCH_DIRECT = 1 << 11,
    BENCH_ONE_CORE = 1 << 12,
    BENCH_NO_CRC = 1 << 13,
    BENCH_SLEEP = 1 << 14
};

struct bench_usage {
    const char *bench;
    const char *about; /* sentences for --help */
    unsigned takes;
};

/* Reads the command line into `options`, which has the defaults. */
void bench_options_read(const struct bench_usage *usage, struct bench_options *options, int argc, char **argv);

/* For combinations that do not fit, after bench_options_read(): says so and exits with 2. */
__attribute__((noreturn, format(printf, 1, 2))) void bench_options_refuse(const char *format, ...);

/* Sets the ring size to `best`, or more if the payload needs it, unless the user chose one; refuses that when the
 * payload does not fit. */
void bench_choose_ring(struct bench_options *options, uint64_t best);

#endif
