/* SPDX-License-Identifier: MIT */
/*
 * bench/tcp_rtt.c - one message there and one back, over a link over TCP by loopback.
 *
 * Both sides wait on their groups, which never sleep; or, with --sleep, sleep at once. The reference is a bare TCP
 * connection over which payloads of the same size go back and forth: both sides call recv until there is something; or
 * wait with epoll. The kernel has the greater part in both, so the median of the rounds counts, not the best.
 *
 * With more links than one, each side has all of them in its one group and one is used. The reference is then the same
 * with a server that has one link; and the bare connection is measured as well.
 */
#include <stdlib.h>

#include "ends.h"
#include "raw.h"
#include "rtt.h"
#include "tcp.h"

struct lines {
    struct rtt rtt;
    struct ends many, one;
    struct raw raw;
    char *inbox; /* of the bare connection */
};

static int fds[2]; /* the bare connection, made before the sides are */

/* ---- over links --------------------------------------------------------------------------- */

RTT_ALWAYS void put(struct duo *duo, struct rtt *rtt, struct lw_link *link, uint64_t seq, size_t size) {
    payload_fill(rtt->buffer, size, seq);
    ends_sent(duo, lw_link_send(link, 1, rtt->buffer, size, 0));
}

RTT_ALWAYS void trip_over(struct duo *duo, struct rtt *rtt, struct ends *ends, uint64_t seq, size_t size) {
    uint64_t number = ends->count / 2;
    struct lw_link *link = ends->links[number];
    struct lw_msg msg;
    if (duo->side == 0) put(duo, rtt, link, seq, size);
    if (ends_wait(duo, ends) != number) duo_fail(duo, "a link that is quiet has something");
    int got = lw_link_next(link, &msg, 0);
    if (got != 1) duo_fail(duo, "next: %s", lw_strerror(got));
    rtt_check(duo, msg.data, msg.len, seq, size);
    if (duo->side == 1) put(duo, rtt, link, seq, size); /* the answer first, as who answers would */
    lw_link_release(link, &msg);
}

RTT_ALWAYS void trip_of_many(struct duo *duo, struct rtt *rtt, uint64_t seq, size_t size) {
    trip_over(duo, rtt, &((struct lines *)rtt)->many, seq, size);
}

RTT_ALWAYS void trip_of_one(struct duo *duo, struct rtt *rtt, uint64_t seq, size_t size) {
    trip_over(duo, rtt, &((struct lines *)rtt)->one, seq, size);
}

static void run_many(struct duo *duo, struct rtt *rtt, uint64_t count) {
    rtt_series(duo, rtt, count, trip_of_many);
}

static void run_one(struct duo *duo, struct rtt *rtt, uint64_t count) {
    rtt_series(duo, rtt, count, trip_of_one);
}

/* The last answer is on its way still; and all links are to be heard of now and then, those that are not measured too. */
static void settle(struct duo *duo, struct rtt *rtt) {
    struct lines *lines = (struct lines *)rtt;
    ends_meet(duo, &lines->many);
    if (lines->one.count) ends_meet(duo, &lines->one);
}

/* ---- over the bare connection ------------------------------------------------------------- */

RTT_ALWAYS void raw_put(struct duo *duo, struct lines *lines, uint64_t seq, size_t size) {
    payload_fill(lines->rtt.buffer, size, seq);
    raw_send(duo, &lines->raw, lines->rtt.buffer, size);
}

RTT_ALWAYS void raw_trip(struct duo *duo, struct rtt *rtt, uint64_t seq, size_t size) {
    struct lines *lines = (struct lines *)rtt;
    if (duo->side == 0) raw_put(duo, lines, seq, size);
    raw_recv(duo, &lines->raw, lines->inbox, size);
    rtt_check(duo, lines->inbox, size, seq, size);
    if (duo->side == 1) raw_put(duo, lines, seq, size);
}

static void run_raw(struct duo *duo, struct rtt *rtt, uint64_t count) {
    rtt_series(duo, rtt, count, raw_trip);
}

/* ---- rounds ------------------------------------------------------------------------------- */

static double many(struct duo *duo, void *user) {
    return rtt_time(duo, user, run_many);
}

static double one(struct duo *duo, void *user) {
    return rtt_time(duo, user, run_one);
}

static double bare(struct duo *duo, void *user) {
    return rtt_time(duo, user, run_raw);
}

static void compare_with_bare(struct duo *duo, struct lines *lines) {
    const struct duo_steps steps = {many, bare, NULL, DUO_UNDISTURBED};
    struct bench_result found = duo_alternate_aside(duo, &steps, lines);
    if (duo->side) return;
    bench_add(&duo->page->result, "bare", found.reference, "ns, of a bare connection");
    bench_add(&duo->page->result, "bare_ratio", found.value / found.reference, "");
}

static void open_lines(struct duo *duo, struct lines *lines) {
    const struct bench_options *options = duo->options;
    int64_t spin = options->sleep ? 0 : LW_FOREVER;
    lines->raw = raw_side(duo, fds, options->sleep ? RAW_EPOLL : RAW_SPIN);
    lines->inbox = malloc(options->size);
    if (!lines->inbox) duo_fail(duo, "no memory");
    rtt_open(duo, &lines->rtt);
    ends_check_space(duo, 2);
    ends_open_tcp(duo, &lines->many, "rtt", options->links, spin);
    if (options->links > 1) ends_open_tcp(duo, &lines->one, "one", 1, spin);
}

static void side(struct duo *duo) {
    struct lines lines = {
        .rtt = {.run = run_many, .settle = settle, .take = DUO_UNDISTURBED, .trips = 200, .taken = 200}};
    bool crowded = duo->options->links > 1;
    lines.rtt.reference = crowded ? one : bare;
    open_lines(duo, &lines);
    rtt_measure(duo, &lines.rtt);
    if (crowded) compare_with_bare(duo, &lines);
    if (crowded) ends_close(duo, &lines.one);
    ends_close(duo, &lines.many);
    raw_done(&lines.raw);
    rtt_close(&lines.rtt);
    free(lines.inbox);
}

int bench_tcp_rtt(int argc, char **argv) {
    struct bench_options options = {.size = 8, .rounds = 120, .links = 1};
    const struct bench_usage usage = {
        .bench = "tcp-rtt",
        .about =
            "Measures a message there and one back over a link over TCP, by loopback between two processes on two\n"
            "cores, in ns. Both spin, unless --sleep is given. The reference is the same with a bare connection;\n"
            "with more --links than one it is that of a server with a single link.\n"
            "Both are measured in turn; the median of the rounds counts.\n"
            "Runs on a bus of its own, unless --bus names one.",
        .takes = BENCH_SIZE | BENCH_RING | BENCH_ROUNDS | BENCH_SLEEP | BENCH_NO_CRC | BENCH_LINKS,
    };
    struct bench_result result = bench_result_init("tcp-rtt", "ns");
    bench_options_read(&usage, &options, argc, argv);
    if (!options.size) bench_options_refuse("--size 0: a bare connection has no empty messages");
    bench_choose_ring(&options, options.links > 1 ? 64 << 10 : 256 << 10);
    int code = raw_open(fds);
    if (code) return code;
    code = duo_compare(side, &options, &result);
    raw_close(fds);
    return code;
}
