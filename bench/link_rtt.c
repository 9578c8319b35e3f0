/* SPDX-License-Identifier: MIT */
/*
 * bench/link_rtt.c - one message there and one back, over a link.
 *
 * The client looks for its answer again at once when there is nothing. The server waits on its group, which never
 * sleeps, as a server does that has other links as well; or, with --direct, on the link itself. The reference is what
 * the cores need at the least: two cache lines back and forth.
 */
#include <stdlib.h>

#include "ends.h"
#include "links.h"
#include "payload.h"
#include "samples.h"

enum {
    TRIPS = 10000,  /* in a round of value or reference */
    SAMPLES = 5000, /* in a round of samples */
    LARGE = 4096,   /* payloads from here on get fewer trips */
    PATIENCE = 1 << 30
};

struct rtt {
    struct ends ends;
    struct lw_link *link;
    uint64_t seq; /* of the next trip */
    uint64_t trips;
    struct samples samples;
    char *buffer;
};

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS void put(struct duo *duo, struct rtt *rtt, uint64_t seq, size_t size) {
    payload_fill(rtt->buffer, size, seq);
    ends_sent(duo, lw_link_send(rtt->link, 1, rtt->buffer, size, 0));
}

ALWAYS void check(struct duo *duo, int got, const struct lw_msg *msg, uint64_t seq, size_t size) {
    if (got != 1) duo_fail(duo, "next: %s", lw_strerror(got));
    if (msg->len != size || payload_differs(msg->data, size, seq))
        duo_fail(duo, "trip %llu came wrong", (unsigned long long)seq);
}

ALWAYS void ask(struct duo *duo, struct rtt *rtt, size_t size) {
    struct lw_msg msg;
    uint64_t looks = 0;
    int got;
    put(duo, rtt, rtt->seq, size);
    while ((got = lw_link_next(rtt->link, &msg, 0)) == LW_EEMPTY && ++looks < PATIENCE)
        ;
    check(duo, got, &msg, rtt->seq, size);
    lw_link_release(rtt->link, &msg);
}

ALWAYS void answer(struct duo *duo, struct rtt *rtt, size_t size) {
    struct lw_msg msg;
    if (!duo->options->direct) ends_wait(duo, &rtt->ends);
    int got = lw_link_next(rtt->link, &msg, LW_FOREVER);
    check(duo, got, &msg, rtt->seq, size);
    put(duo, rtt, rtt->seq, size); /* the answer first, as who answers would */
    lw_link_release(rtt->link, &msg);
}

/* A size that the compiler knows, as it knows the size of a user's struct, makes the copies inline. */
ALWAYS void trips_of(struct duo *duo, struct rtt *rtt, uint64_t count, size_t size) {
    for (; count--; rtt->seq++)
        if (duo->side == 0)
            ask(duo, rtt, size);
        else
            answer(duo, rtt, size);
}

static void trips(struct duo *duo, struct rtt *rtt, uint64_t count) {
    switch (duo->options->size) {
    case 8:
        trips_of(duo, rtt, count, 8);
        break;
    case 64:
        trips_of(duo, rtt, count, 64);
        break;
    default:
        trips_of(duo, rtt, count, duo->options->size);
    }
}

static double value(struct duo *duo, void *user) {
    struct rtt *rtt = user;
    duo_meet(duo);
    int64_t begin = now_ns();
    trips(duo, rtt, rtt->trips);
    return (double)(now_ns() - begin) / (double)rtt->trips;
}

static double reference(struct duo *duo, void *user) {
    (void)user;
    return duo_pingpong(duo, TRIPS);
}

static void one_trip(struct duo *duo, void *user) {
    trips(duo, user, 1);
}

static void sample(struct duo *duo, void *user) {
    samples_take(duo, &((struct rtt *)user)->samples, SAMPLES, one_trip, user);
}

static void side(struct duo *duo) {
    const struct duo_steps steps = {value, reference, sample, false};
    size_t size = duo->options->size;
    struct rtt rtt = {.trips = size < LARGE ? TRIPS : 1 + TRIPS * (uint64_t)LARGE / size};
    rtt.buffer = aligned_alloc(64, (size + 64) & ~(size_t)63);
    if (!rtt.buffer) duo_fail(duo, "no memory");
    samples_open(duo, &rtt.samples);
    ends_open(duo, &rtt.ends, "rtt", 1, LW_FOREVER);
    rtt.link = rtt.ends.links[0];
    duo_alternate(duo, &steps, &rtt);
    samples_close(duo, &rtt.samples);
    ends_close(duo, &rtt.ends);
    free(rtt.buffer);
}

int bench_link_rtt(int argc, char **argv) {
    struct bench_options options = {.size = 8, .rounds = 120};
    const struct bench_usage usage = {
        .bench = "link-rtt",
        .about = "Measures a message there and one back over a link, between two processes on two cores, in ns.\n"
                 "The client spins; the server polls a group that never sleeps.\n"
                 "The reference is a bare ping-pong of two cache lines. Both are measured in turn;\n"
                 "the best round of each counts. Runs on a bus of its own, unless --bus names one.",
        .takes = BENCH_SIZE | BENCH_RING | BENCH_ROUNDS | BENCH_DIRECT,
    };
    struct bench_result result = bench_result_init("link-rtt", "ns");
    bench_options_read(&usage, &options, argc, argv);
    bench_choose_ring(&options, 256 << 10);
    int code = duo_run(side, &options, &result);
    if (code) return code;
    result.ratio = result.value / result.reference;
    bench_report(&options, &result);
    return EXIT_OK;
}
