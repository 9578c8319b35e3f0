/* SPDX-License-Identifier: MIT */
/*
 * bench/link_rate.c - messages a second that go over a link and come back.
 *
 * The client has up to --window messages under way; the server polls a group that never sleeps and sends each message
 * back from where it lies. What comes back is compared byte for byte. As in lane-rate, who finds nothing lets the other
 * get ahead for a microsecond, and messages are released 16 at a time.
 */
#include <stdlib.h>

#include "ends.h"
#include "links.h"
#include "payload.h"

enum {
    ROUND_BYTES = 16 << 20, /* of payload that a round moves, ... */
    MOST = 200000,          /* ... or so many messages */
    TRIPS = 10000,          /* of the reference */
    AT_ONCE = 16,           /* messages released by one store */
    BACK_OFF = 64
};

struct rate {
    struct ends ends;
    struct lw_link *link;
    uint64_t seq;   /* of the first message of the round */
    uint64_t count; /* messages in a round */
    char *buffer;
};

#define ALWAYS static inline __attribute__((always_inline))

static const int64_t patience = LW_SEC(20);

static void back_off(void) {
    for (int i = 0; i < BACK_OFF; i++) duo_relax();
}

/* ---- the client --------------------------------------------------------------------------- */

ALWAYS void put(struct duo *duo, struct rate *rate, uint64_t seq, size_t size) {
    payload_fill(rate->buffer, size, seq);
    ends_sent(duo, lw_link_send(rate->link, 1, rate->buffer, size, patience));
}

/* Up to AT_ONCE answers. Returns how many. */
ALWAYS uint64_t get_some(struct duo *duo, struct rate *rate, uint64_t seq, size_t size) {
    struct lw_msg msg = {0};
    uint64_t n = 0;
    int got = LW_EEMPTY;
    for (; n < AT_ONCE && (got = lw_link_next(rate->link, &msg, 0)) == 1; n++)
        if (msg.len != size || payload_differs(msg.data, size, seq + n))
            duo_fail(duo, "message %llu came wrong", (unsigned long long)(seq + n));
    if (got != 1 && got != LW_EEMPTY) duo_fail(duo, "next: %s", lw_strerror(got));
    if (n) lw_link_release(rate->link, &msg);
    return n;
}

ALWAYS void ask(struct duo *duo, struct rate *rate, size_t size) {
    uint64_t sent = rate->seq, received = sent, end = sent + rate->count, window = duo->options->window;
    while (received < end) {
        uint64_t most = received + window < end ? received + window : end;
        if (most > sent + AT_ONCE) most = sent + AT_ONCE;
        bool any = sent < most;
        while (sent < most) put(duo, rate, sent++, size);
        uint64_t n = get_some(duo, rate, received, size);
        received += n;
        if (!n && !any) back_off();
    }
}

/* ---- the server --------------------------------------------------------------------------- */

/* All there is. Returns how many. */
ALWAYS uint64_t answer_some(struct duo *duo, struct rate *rate, size_t size) {
    struct lw_msg msg = {0};
    uint64_t n = 0;
    int got;
    while ((got = lw_link_next(rate->link, &msg, 0)) == 1) {
        if (msg.len != size) duo_fail(duo, "a message of %zu bytes came", msg.len);
        ends_sent(duo, lw_link_send(rate->link, 1, msg.data, size, patience));
        if (++n % AT_ONCE == 0) lw_link_release(rate->link, &msg);
    }
    if (got != LW_EEMPTY) duo_fail(duo, "next: %s", lw_strerror(got));
    if (n % AT_ONCE) lw_link_release(rate->link, &msg);
    return n;
}

ALWAYS void answer(struct duo *duo, struct rate *rate, size_t size) {
    for (uint64_t left = rate->count; left;) {
        ends_wait(duo, &rate->ends);
        left -= answer_some(duo, rate, size);
        if (left) back_off();
    }
}

/* ---- rounds ------------------------------------------------------------------------------- */

ALWAYS void run_of(struct duo *duo, struct rate *rate, size_t size) {
    if (duo->side == 0)
        ask(duo, rate, size);
    else
        answer(duo, rate, size);
}

/* A size that the compiler knows, as it knows the size of a user's struct, makes the copies inline. */
static void run(struct duo *duo, struct rate *rate) {
    switch (duo->options->size) {
    case 8:
        run_of(duo, rate, 8);
        break;
    case 64:
        run_of(duo, rate, 64);
        break;
    case 1024:
        run_of(duo, rate, 1024);
        break;
    default:
        run_of(duo, rate, duo->options->size);
    }
    rate->seq += rate->count;
}

static double value(struct duo *duo, void *user) {
    struct rate *rate = user;
    duo_meet(duo);
    int64_t begin = now_ns();
    run(duo, rate);
    return (double)(now_ns() - begin) / (double)rate->count;
}

static double reference(struct duo *duo, void *user) {
    (void)user;
    return duo_pingpong(duo, TRIPS);
}

static void side(struct duo *duo) {
    const struct duo_steps steps = {value, reference, NULL, DUO_BEST};
    size_t size = duo->options->size;
    uint64_t count = 1 + ROUND_BYTES / (size + 1);
    struct rate rate = {.count = count > MOST ? MOST : count};
    rate.buffer = aligned_alloc(64, (size + 64) & ~(size_t)63);
    if (!rate.buffer) duo_fail(duo, "no memory");
    ends_open(duo, &rate.ends, "rate", 1, LW_FOREVER);
    rate.link = rate.ends.links[0];
    duo_alternate(duo, &steps, &rate);
    ends_close(duo, &rate.ends);
    free(rate.buffer);
}

/* What is under way must fit in a quarter of a ring: neither side waits for room while the other waits for it. */
static void choose_window(struct bench_options *options) {
    uint64_t most = options->ring / 4 / (options->size + 16);
    if (options->window > most) options->window = most ? most : 1;
}

int bench_link_rate(int argc, char **argv) {
    struct bench_options options = {.size = 8, .rounds = 120, .window = 1024};
    const struct bench_usage usage = {
        .bench = "link-rate",
        .about = "Measures messages a second that go over a link to the server and come back, with many under way\n"
                 "(1024, unless --window says otherwise, and never more than a quarter of a ring holds).\n"
                 "The reference is a bare ping-pong of two cache lines; per_rtt is how many messages come back\n"
                 "in the time of one. Both are measured in turn; the best round of each counts.\n"
                 "Runs on a bus of its own, unless --bus names one.",
        .takes = BENCH_SIZE | BENCH_RING | BENCH_ROUNDS | BENCH_WINDOW,
    };
    struct bench_result result = bench_result_init("link-rate", "msg/s");
    bench_options_read(&usage, &options, argc, argv);
    bench_choose_ring(&options, 1 << 20);
    choose_window(&options);
    int code = duo_run(side, &options, &result);
    if (code) return code;
    result.per_rtt = result.reference / result.value;
    result.value = 1e9 / result.value;
    bench_report(&options, &result);
    return EXIT_OK;
}
