/* SPDX-License-Identifier: MIT */
/*
 * bench/tcp_rate.c - bytes a second over a link over TCP, one way, by loopback.
 *
 * The client sends as fast as it can, message by message in place, with the cork in, and waits when there is no room;
 * every 512 KiB it pulls the cork and polls its group, as who has other links too. The server reads in place and releases,
 * so acknowledgements go back all the time.
 * What counts are the bytes of records, with their headers, until the last one has been released.
 *
 * The reference is a bare connection over which the same bytes go in large pieces. Its sender writes each of them anew
 * and its receiver looks at each, as those of the link do.
 */
#include <stdlib.h>

#include "ends.h"
#include "payload.h"
#include "raw.h"
#include "tcp.h"

enum {
    ROUND_BYTES = 8 << 20, /* of records, in a round, at least ... */
    ROUND_RINGS = 4,       /* ... and so often around the ring: acknowledgements have to come */
    LEAST = 16,            /* messages in a round */
    BURST = 512 << 10,     /* bytes of records that are sent with the cork in */
    AT_ONCE = 64,          /* messages released by one store */
    PIECE = 256 << 10      /* of a bare connection's send */
};

struct flow {
    struct ends ends;
    struct lw_link *link;
    struct raw raw;
    uint64_t seq;    /* of the next message */
    uint64_t count;  /* of messages in a round */
    uint64_t stride; /* bytes of a payload on the bare connection */
    uint64_t batch;  /* of them in a piece */
    uint64_t burst;  /* messages of a burst */
    char *buffer;    /* for a piece */
};

#define ALWAYS static inline __attribute__((always_inline))

static const int64_t patience = LW_SEC(20); /* if the other side dies, the parent ends us before */

static int fds[2]; /* the bare connection, made before the sides are */

static uint64_t record_size(uint64_t size) {
    return 8 + ((size + 7) & ~UINT64_C(7));
}

/* ---- over the link ------------------------------------------------------------------------ */

ALWAYS void put(struct duo *duo, struct flow *flow, uint64_t seq, size_t size) {
    payload_fill(flow->buffer, size, seq);
    ends_sent(duo, lw_link_send(flow->link, 1, flow->buffer, size, patience));
}

ALWAYS void put_in_place(struct duo *duo, struct flow *flow, uint64_t seq, size_t size) {
    void *room;
    int rc = lw_link_reserve(flow->link, &room, size, patience);
    if (rc) duo_fail(duo, "reserve: %s", lw_strerror(rc));
    payload_fill(room, size, seq);
    ends_sent(duo, lw_link_commit(flow->link, 1, size));
}

ALWAYS void put_all(struct duo *duo, struct flow *flow, size_t size) {
    bool in_place = duo->options->api == BENCH_RESERVE;
    lw_link_cork(flow->link);
    for (uint64_t seq = flow->seq, end = seq + flow->count, burst = 0; seq < end; seq++) {
        if (in_place)
            put_in_place(duo, flow, seq, size);
        else
            put(duo, flow, seq, size);
        if (++burst < flow->burst) continue;
        burst = 0;
        lw_link_uncork(flow->link);
        ends_look(duo, &flow->ends);
        lw_link_cork(flow->link);
    }
    lw_link_uncork(flow->link);
}

/* All there is. Returns the number of the next one. */
ALWAYS uint64_t take_some(struct duo *duo, struct flow *flow, uint64_t seq, size_t size) {
    struct lw_msg msg = {0};
    uint64_t held = 0;
    int got;
    for (; (got = lw_link_next(flow->link, &msg, 0)) == 1; seq++) {
        if (msg.len != size || payload_differs(msg.data, size, seq))
            duo_fail(duo, "message %llu came wrong", (unsigned long long)seq);
        if (++held < AT_ONCE) continue;
        lw_link_release(flow->link, &msg);
        held = 0;
    }
    if (got != LW_EEMPTY) duo_fail(duo, "next: %s", lw_strerror(got));
    if (held) lw_link_release(flow->link, &msg);
    return seq;
}

ALWAYS void take_all(struct duo *duo, struct flow *flow, size_t size) {
    for (uint64_t seq = flow->seq, end = seq + flow->count; seq < end;) {
        ends_wait(duo, &flow->ends);
        seq = take_some(duo, flow, seq, size);
    }
}

ALWAYS void run_of(struct duo *duo, struct flow *flow, size_t size) {
    if (duo->side == 0)
        put_all(duo, flow, size);
    else
        take_all(duo, flow, size);
}

/* A size that the compiler knows, as it knows the size of a user's struct, makes the copies inline. */
static void run(struct duo *duo, struct flow *flow) {
    switch (duo->options->size) {
    case 8:
        run_of(duo, flow, 8);
        break;
    case 64:
        run_of(duo, flow, 64);
        break;
    case 1024:
        run_of(duo, flow, 1024);
        break;
    default:
        run_of(duo, flow, duo->options->size);
    }
    flow->seq += flow->count;
}

/* ---- over the bare connection ------------------------------------------------------------- */

static uint64_t raw_left(const struct flow *flow, uint64_t seq) {
    return flow->seq + flow->count - seq;
}

static void raw_put_all(struct duo *duo, struct flow *flow) {
    for (uint64_t seq = flow->seq, left; (left = raw_left(flow, seq));) {
        uint64_t some = left < flow->batch ? left : flow->batch;
        for (uint64_t i = 0; i < some; i++) payload_fill(flow->buffer + i * flow->stride, flow->stride, seq++);
        raw_send(duo, &flow->raw, flow->buffer, some * flow->stride);
    }
}

/* Of a piece that begins with message `seq`, `bytes` have come: looks at those that are whole and were not looked at. */
static uint64_t raw_check(struct duo *duo, const struct flow *flow, uint64_t seq, uint64_t checked, uint64_t bytes) {
    for (; (checked + 1) * flow->stride <= bytes; checked++)
        if (payload_differs(flow->buffer + checked * flow->stride, flow->stride, seq + checked))
            duo_fail(duo, "bytes of the bare connection came wrong");
    return checked;
}

static void raw_take_all(struct duo *duo, struct flow *flow) {
    for (uint64_t seq = flow->seq, left; (left = raw_left(flow, seq));) {
        uint64_t some = left < flow->batch ? left : flow->batch, checked = 0, bytes = 0;
        while (checked < some) {
            bytes += raw_recv_some(duo, &flow->raw, flow->buffer + bytes, some * flow->stride - bytes);
            checked = raw_check(duo, flow, seq, checked, bytes);
        }
        seq += some;
    }
}

/* ---- rounds ------------------------------------------------------------------------------- */

static double value(struct duo *duo, void *user) {
    struct flow *flow = user;
    duo_begin(duo);
    run(duo, flow);
    duo_stop(duo);
    ends_meet(duo,
              &flow->ends); /* the last messages are to leave the sender, and their acknowledgements the receiver */
    return duo_spent(duo) / (double)(flow->count * record_size(duo->options->size));
}

static double reference(struct duo *duo, void *user) {
    struct flow *flow = user;
    duo_begin(duo);
    (duo->side == 0 ? raw_put_all : raw_take_all)(duo, flow);
    duo_stop(duo);
    duo_meet(duo);
    return duo_spent(duo) / (double)(flow->count * flow->stride);
}

static uint64_t round_bytes(const struct bench_options *options) {
    uint64_t bytes = ROUND_RINGS * options->ring;
    return bytes < ROUND_BYTES ? ROUND_BYTES : bytes;
}

static void open_flow(struct duo *duo, struct flow *flow) {
    uint64_t size = duo->options->size;
    flow->count = round_bytes(duo->options) / record_size(size);
    if (flow->count < LEAST) flow->count = LEAST;
    flow->stride = record_size(size) - 8;
    flow->burst = 1 + BURST / record_size(size);
    flow->batch = flow->stride < PIECE ? PIECE / flow->stride : 1;
    flow->buffer = aligned_alloc(64, (flow->batch * flow->stride + 64) & ~UINT64_C(63));
    if (!flow->buffer) duo_fail(duo, "no memory");
    flow->raw = raw_side(duo, fds, RAW_SPIN);
    ends_open_tcp(duo, &flow->ends, "rate", 1, LW_FOREVER);
    flow->link = flow->ends.links[0];
}

static void side(struct duo *duo) {
    const struct duo_steps steps = {value, reference, NULL, DUO_UNDISTURBED};
    struct flow flow = {.seq = 0};
    open_flow(duo, &flow);
    duo_alternate(duo, &steps, &flow);
    ends_close(duo, &flow.ends);
    raw_done(&flow.raw);
    free(flow.buffer);
}

/* From ns a byte to bytes a second, as rates are told. */
static int report(const struct bench_options *options, struct bench_result *result) {
    double messages = 1e9 / result->value / (double)record_size(options->size);
    result->ratio = result->reference / result->value;
    result->value = 1e3 / result->value;
    result->reference = 1e3 / result->reference;
    bench_add(result, "messages", messages, "messages/s");
    bench_report(options, result);
    return EXIT_OK;
}

int bench_tcp_rate(int argc, char **argv) {
    struct bench_options options = {.size = 64, .rounds = 200, .api = BENCH_RESERVE};
    const struct bench_usage usage = {
        .bench = "tcp-rate",
        .about = "Measures how many bytes of messages a second (headers of 8 bytes included) go one way over a link\n"
                 "over TCP, by loopback between two processes on two cores, in MB/s (10^6).\n"
                 "The reference is a bare connection over which the payloads go in pieces of 256 KiB.\n"
                 "Both are measured in turn; the median of the rounds counts.\n"
                 "Runs on a bus of its own, unless --bus names one.",
        .takes = BENCH_SIZE | BENCH_RING | BENCH_ROUNDS | BENCH_API | BENCH_NO_CRC,
    };
    struct bench_result result = bench_result_init("tcp-rate", "MB/s");
    result.reference_unit = "MB/s";
    bench_options_read(&usage, &options, argc, argv);
    if (!options.size) bench_options_refuse("--size 0: a bare connection has no empty messages");
    bench_choose_ring(&options, 2 << 20);
    int code = raw_open(fds);
    if (code) return code;
    code = duo_run(side, &options, &result);
    raw_close(fds);
    return code ? code : report(&options, &result);
}
