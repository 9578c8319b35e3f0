/* SPDX-License-Identifier: MIT */
/*
 * bench/lane_rtt.c - one message there and one back, over two topics.
 *
 * Side 0 publishes on "ping" and waits on "pong", side 1 answers. Both look again at once when there
 * is nothing, as a program does that owns its core. The reference is what the cores need at the
 * least: two cache lines back and forth.
 */
#include <stdlib.h>

#include "duo.h"
#include "lane.h"
#include "payload.h"
#include "samples.h"

enum {
    TRIPS = 10000,     /* in a round of value or reference */
    SAMPLES = 5000,    /* in a round of samples */
    LARGE = 4096,      /* payloads from here on get fewer trips */
    PATIENCE = 1 << 30 /* looks without success, some 20 seconds: the other side is dead */
};

struct rtt {
    struct lw_pub *pub;
    struct lw_sub *sub;
    uint64_t seq; /* of the next trip */
    uint64_t trips;
    struct samples samples;
    char *buffer;
};

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS void put(struct duo *duo, struct rtt *rtt, uint64_t seq, size_t size) {
    payload_fill(rtt->buffer, size, seq);
    if (lw_pub_send(rtt->pub, 1, rtt->buffer, size, 0) < 0) duo_fail(duo, "send: %s", lw_errtext());
}

ALWAYS void get(struct duo *duo, struct rtt *rtt, struct lw_msg *msg, uint64_t seq, size_t size) {
    uint64_t looks = 0;
    int got;
    while ((got = lw_sub_next(rtt->sub, msg, 0)) == LW_EEMPTY && ++looks < PATIENCE)
        ;
    if (got != 1) duo_fail(duo, "next: %s", lw_strerror(got));
    if (msg->len != size || payload_differs(msg->data, size, seq))
        duo_fail(duo, "trip %llu came back wrong", (unsigned long long)seq);
}

ALWAYS void trip(struct duo *duo, struct rtt *rtt, size_t size) {
    struct lw_msg msg;
    if (duo->side == 0) put(duo, rtt, rtt->seq, size);
    get(duo, rtt, &msg, rtt->seq, size);
    if (duo->side == 1) put(duo, rtt, rtt->seq, size); /* the answer first, as who answers would */
    lw_sub_release(rtt->sub, &msg);
    rtt->seq++;
}

/* A size that the compiler knows, as it knows the size of a user's struct, makes the copies inline. */
ALWAYS void trips_of(struct duo *duo, struct rtt *rtt, uint64_t count, size_t size) {
    while (count--) trip(duo, rtt, size);
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

static void open_topics(struct duo *duo, struct rtt *rtt) {
    size_t size = duo->options->size;
    rtt->pub = duo_publish(duo, duo->side ? "pong" : "ping", LW_PUB_EXCLUSIVE);
    rtt->sub = duo_subscribe(duo, duo->side ? "ping" : "pong", 0);
    rtt->trips = size < LARGE ? TRIPS : 1 + TRIPS * (uint64_t)LARGE / size;
    samples_open(duo, &rtt->samples);
    rtt->buffer = aligned_alloc(64, (size + 64) & ~(size_t)63);
    if (!rtt->buffer) duo_fail(duo, "no memory");
    duo_meet(duo);
}

static void side(struct duo *duo) {
    const struct duo_steps steps = {value, reference, sample, false};
    struct rtt rtt = {.seq = 0};
    open_topics(duo, &rtt);
    duo_alternate(duo, &steps, &rtt);
    lw_pub_close(rtt.pub);
    lw_sub_close(rtt.sub);
    samples_close(duo, &rtt.samples);
    free(rtt.buffer);
}

int bench_lane_rtt(int argc, char **argv) {
    struct bench_options options = {.size = 8, .rounds = 120};
    const struct bench_usage usage = {
        .bench = "lane-rtt",
        .about = "Measures a message there and one back between two processes on two cores, in ns.\n"
                 "The reference is a bare ping-pong of two cache lines. Both are measured in turn;\n"
                 "the best round of each counts. Runs on a bus of its own, unless --bus names one.",
        .takes = BENCH_SIZE | BENCH_RING | BENCH_ROUNDS,
    };
    struct bench_result result = bench_result_init("lane-rtt", "ns");
    bench_options_read(&usage, &options, argc, argv);
    bench_choose_ring(&options, 256 << 10);
    int code = duo_run(side, &options, &result);
    if (code) return code;
    result.ratio = result.value / result.reference;
    bench_report(&options, &result);
    return EXIT_OK;
}
