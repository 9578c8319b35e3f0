/* SPDX-License-Identifier: MIT */
/*
 * bench/lane_rtt.c - one message there and one back, over two topics.
 *
 * Side 0 publishes on "ping" and waits on "pong", side 1 answers. Both look again at once when there
 * is nothing, as a program does that owns its core. The reference is what the cores need at the
 * least: two cache lines back and forth.
 */
#include "duo.h"
#include "lane.h"
#include "rtt.h"

struct topics {
    struct rtt rtt;
    struct lw_pub *pub;
    struct lw_sub *sub;
};

RTT_ALWAYS void put(struct duo *duo, struct topics *topics, uint64_t seq, size_t size) {
    payload_fill(topics->rtt.buffer, size, seq);
    if (lw_pub_send(topics->pub, 1, topics->rtt.buffer, size, 0) < 0) duo_fail(duo, "send: %s", lw_errtext());
}

RTT_ALWAYS void get(struct duo *duo, struct topics *topics, struct lw_msg *msg, uint64_t seq, size_t size) {
    uint64_t looks = 0;
    int got;
    while ((got = lw_sub_next(topics->sub, msg, 0)) == LW_EEMPTY && ++looks < RTT_PATIENCE)
        ;
    if (got != 1) duo_fail(duo, "next: %s", lw_strerror(got));
    rtt_check(duo, msg->data, msg->len, seq, size);
}

RTT_ALWAYS void trip(struct duo *duo, struct rtt *rtt, uint64_t seq, size_t size) {
    struct topics *topics = (struct topics *)rtt;
    struct lw_msg msg;
    if (duo->side == 0) put(duo, topics, seq, size);
    get(duo, topics, &msg, seq, size);
    if (duo->side == 1) put(duo, topics, seq, size); /* the answer first, as who answers would */
    lw_sub_release(topics->sub, &msg);
}

static void run(struct duo *duo, struct rtt *rtt, uint64_t count) {
    rtt_series(duo, rtt, count, trip);
}

static void side(struct duo *duo) {
    struct topics topics = {.rtt = {.run = run, .trips = 10000, .taken = 5000}};
    topics.pub = duo_publish(duo, duo->side ? "pong" : "ping", LW_PUB_EXCLUSIVE);
    topics.sub = duo_subscribe(duo, duo->side ? "ping" : "pong", 0);
    rtt_open(duo, &topics.rtt);
    duo_meet(duo);
    rtt_measure(duo, &topics.rtt);
    rtt_close(&topics.rtt);
    lw_pub_close(topics.pub);
    lw_sub_close(topics.sub);
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
    return duo_compare(side, &options, &result);
}
