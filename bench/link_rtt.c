/* SPDX-License-Identifier: MIT */
/*
 * bench/link_rtt.c - one message there and one back, over a link.
 *
 * The client looks for its answer again at once when there is nothing. The server waits on its group, which never
 * sleeps, as a server does that has other links as well; or, with --direct, on the link itself. The reference is what
 * the cores need at the least: two cache lines back and forth.
 */
#include "ends.h"
#include "links.h"
#include "rtt.h"

struct line {
    struct rtt rtt;
    struct ends ends;
    struct lw_link *link;
};

RTT_ALWAYS void put(struct duo *duo, struct line *line, uint64_t seq, size_t size) {
    payload_fill(line->rtt.buffer, size, seq);
    ends_sent(duo, lw_link_send(line->link, 1, line->rtt.buffer, size, 0));
}

RTT_ALWAYS void check(struct duo *duo, int got, const struct lw_msg *msg, uint64_t seq, size_t size) {
    if (got != 1) duo_fail(duo, "next: %s", lw_strerror(got));
    rtt_check(duo, msg->data, msg->len, seq, size);
}

RTT_ALWAYS void ask(struct duo *duo, struct line *line, uint64_t seq, size_t size) {
    struct lw_msg msg;
    uint64_t looks = 0;
    int got;
    put(duo, line, seq, size);
    while ((got = lw_link_next(line->link, &msg, 0)) == LW_EEMPTY && ++looks < RTT_PATIENCE)
        ;
    check(duo, got, &msg, seq, size);
    lw_link_release(line->link, &msg);
}

RTT_ALWAYS void answer(struct duo *duo, struct line *line, uint64_t seq, size_t size) {
    struct lw_msg msg;
    if (!duo->options->direct) ends_wait(duo, &line->ends);
    int got = lw_link_next(line->link, &msg, LW_FOREVER);
    check(duo, got, &msg, seq, size);
    put(duo, line, seq, size); /* the answer first, as who answers would */
    lw_link_release(line->link, &msg);
}

RTT_ALWAYS void trip(struct duo *duo, struct rtt *rtt, uint64_t seq, size_t size) {
    if (duo->side == 0)
        ask(duo, (struct line *)rtt, seq, size);
    else
        answer(duo, (struct line *)rtt, seq, size);
}

static void run(struct duo *duo, struct rtt *rtt, uint64_t count) {
    rtt_series(duo, rtt, count, trip);
}

static void side(struct duo *duo) {
    struct line line = {.rtt = {.run = run, .trips = 10000, .taken = 5000}};
    rtt_open(duo, &line.rtt);
    ends_open(duo, &line.ends, "rtt", 1, LW_FOREVER);
    line.link = line.ends.links[0];
    rtt_measure(duo, &line.rtt);
    rtt_close(&line.rtt);
    ends_close(duo, &line.ends);
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
    return duo_compare(side, &options, &result);
}
