/* SPDX-License-Identifier: MIT */
/*
 * bench/lane_rate.c - messages a second from one process to another, by an exclusive publisher or a lone one of a shared
 * topic, and what further subscribers, reliable or lossy, cost the publisher.
 *
 * Side 0 publishes, side 1 reads. A round is from before the first send to after the last release. How both go about it
 * is what was fastest when all of it was measured: a subscriber that finds nothing lets the publisher get ahead for a
 * microsecond, so that the two are not always at the same cache line, and releases every 16th message; small messages
 * go by send through a ring of 16 MiB, large ones are built in place in one of 4 MiB. Options change each of these.
 *
 * Further subscribers are handles in the reading process. Reliable ones are all moved to the end of the log each 1/64 of
 * the ring, so that they are never the ones that hold the publisher back. Lossy ones read all of it at the same points.
 */
#include <stdlib.h>

#include "duo.h"
#include "lane.h"
#include "payload.h"

enum {
    ROUND_BYTES = 64 << 20, /* of ring that a round fills, ... */
    MOST = 4000000,         /* ... or so many messages, ... */
    LEAST = 16,             /* ... and not fewer than this */
    BURSTS = 8,             /* in a round of lane-readers */
    TRIPS = 10000,          /* of the reference */
    BACK_OFF = 64,
    PATIENCE = 20000000 /* some 20 seconds of that: the other side is dead */
};

/* One topic, and this side's end of it. */
struct stream {
    struct lw_pub *pub;
    struct lw_sub *sub;
    struct lw_sub *further[BENCH_READERS_MOST];
    uint64_t furthers;
    bool lossy;       /* the further ones */
    uint64_t seq;     /* of the next message */
    uint64_t move_at; /* position at which the further ones move next */
    uint64_t count;   /* messages in a round */
    char *buffer;
};

#define ALWAYS static inline __attribute__((always_inline))

static const int64_t patience = LW_SEC(20); /* if the other side dies, the parent ends us before */

/* ---- publishing --------------------------------------------------------------------------- */

ALWAYS void put_copy(struct duo *duo, struct stream *stream, uint64_t seq, size_t size) {
    payload_fill(stream->buffer, size, seq);
    if (lw_pub_send(stream->pub, 1, stream->buffer, size, patience) < 0) duo_fail(duo, "send: %s", lw_errtext());
}

ALWAYS void put_in_place(struct duo *duo, struct stream *stream, uint64_t seq, size_t size) {
    void *room;
    if (lw_pub_reserve(stream->pub, &room, size, patience)) duo_fail(duo, "reserve: %s", lw_errtext());
    payload_fill(room, size, seq);
    lw_pub_commit(stream->pub, 1, size);
}

ALWAYS void put_all(struct duo *duo, struct stream *stream, size_t size) {
    uint64_t seq = stream->seq, end = seq + stream->count;
    if (duo->options->api == BENCH_RESERVE)
        for (; seq < end; seq++) put_in_place(duo, stream, seq, size);
    else
        for (; seq < end; seq++) put_copy(duo, stream, seq, size);
    stream->seq = end;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* Reads all there is, and compares what was not lost. */
static void read_lossy(struct duo *duo, struct lw_sub *sub) {
    size_t size = duo->options->size;
    struct lw_msg msg;
    for (int got; (got = lw_sub_next(sub, &msg, 0)) != LW_EEMPTY;) {
        if (got != 1 && got != LW_EGAP) duo_fail(duo, "lossy next: %s", lw_strerror(got));
        if (got == 1 && (msg.len != size || payload_differs(msg.data, size, msg.number)))
            duo_fail(duo, "lossy: message %llu came wrong", (unsigned long long)msg.number);
        if (got == 1) lw_sub_release(sub, &msg);
    }
}

/* Of no effect without further ones: move_at is out of reach then. */
static void move_further(struct duo *duo, struct stream *stream, uint64_t position) {
    for (uint64_t i = 0; i < stream->furthers; i++)
        if (stream->lossy)
            read_lossy(duo, stream->further[i]);
        else if (lw_sub_seek(stream->further[i], LW_FROM_NOW, 0))
            duo_fail(duo, "seek: %s", lw_errtext());
    if (stream->furthers) stream->move_at = position + duo->options->ring / 64;
}

/* Nothing there: comes back in a microsecond, some 64 of the processor's pauses. */
ALWAYS int next_message(struct lw_sub *sub, struct lw_msg *msg) {
    int got;
    for (uint64_t looks = 0; (got = lw_sub_next(sub, msg, 0)) == LW_EEMPTY && looks < PATIENCE; looks++)
        for (int i = 0; i < BACK_OFF; i++) duo_relax();
    return got;
}

ALWAYS void get_all(struct duo *duo, struct stream *stream, size_t size) {
    uint64_t every = duo->options->release, left = every;
    struct lw_msg msg;
    for (uint64_t seq = stream->seq, end = seq + stream->count; seq < end; seq++) {
        int got = next_message(stream->sub, &msg);
        if (got != 1) duo_fail(duo, "next: %s", lw_strerror(got));
        if (msg.len != size || payload_differs(msg.data, size, seq))
            duo_fail(duo, "message %llu came wrong", (unsigned long long)seq);
        if (--left == 0 || seq + 1 == end) {
            lw_sub_release(stream->sub, &msg);
            left = every;
        }
        if (msg.position >= stream->move_at) move_further(duo, stream, msg.position);
    }
    stream->seq += stream->count;
}

/* ---- rounds ------------------------------------------------------------------------------- */

ALWAYS void run_of(struct duo *duo, struct stream *stream, size_t size) {
    if (duo->side == 0)
        put_all(duo, stream, size);
    else
        get_all(duo, stream, size);
}

/* A size that the compiler knows, as it knows the size of a user's struct, makes the copies inline. */
static void run(struct duo *duo, struct stream *stream) {
    switch (duo->options->size) {
    case 8:
        run_of(duo, stream, 8);
        break;
    case 64:
        run_of(duo, stream, 64);
        break;
    case 1024:
        run_of(duo, stream, 1024);
        break;
    default:
        run_of(duo, stream, duo->options->size);
    }
}

static void open_stream(struct duo *duo, struct stream *stream, const char *topic, unsigned pub_flags,
                        uint64_t furthers, bool lossy) {
    size_t size = duo->options->size;
    uint64_t count = ROUND_BYTES / (size + 8);
    *stream = (struct stream){.furthers = furthers, .lossy = lossy};
    stream->count = count > MOST ? MOST : count < LEAST ? LEAST : count;
    stream->buffer = aligned_alloc(64, (size + 64) & ~(size_t)63);
    if (!stream->buffer) duo_fail(duo, "no memory");
    if (duo->side == 0) {
        stream->pub = duo_publish(duo, topic, pub_flags);
    } else {
        stream->sub = duo_subscribe(duo, topic, 0);
        for (uint64_t i = 0; i < furthers; i++)
            stream->further[i] = duo_subscribe(duo, topic, lossy ? LW_SUB_LOSSY : 0);
        if (!furthers) stream->move_at = UINT64_MAX;
    }
    duo_meet(duo);
}

static void close_stream(struct stream *stream) {
    lw_pub_close(stream->pub);
    lw_sub_close(stream->sub);
    for (uint64_t i = 0; i < stream->furthers; i++) lw_sub_close(stream->further[i]);
    free(stream->buffer);
}

/* What was fastest. In place is for exclusive publishers. */
static void choose(struct bench_options *options, bool shared) {
    bool large = options->size >= PAYLOAD_LARGE;
    if (options->api == BENCH_BEST || shared) options->api = large && !shared ? BENCH_RESERVE : BENCH_SEND;
    bench_choose_ring(options, large ? 4 << 20 : 16 << 20);
    uint64_t most = options->ring / 4 / (options->size + 16);
    if (options->release > most) options->release = most ? most : 1; /* a publisher must not wait for what is held */
}

/* ---- lane-rate ---------------------------------------------------------------------------- */

static double rate_value(struct duo *duo, void *user) {
    struct stream *stream = user;
    duo_begin(duo);
    run(duo, stream);
    return duo_end(duo) / (double)stream->count;
}

static double rate_reference(struct duo *duo, void *user) {
    (void)user;
    return duo_pingpong(duo, TRIPS);
}

static void rate_of(struct duo *duo, unsigned flags) {
    const struct duo_steps steps = {rate_value, rate_reference, NULL, DUO_BEST};
    struct stream stream;
    open_stream(duo, &stream, "rate", flags, duo->options->readers, false);
    duo_alternate(duo, &steps, &stream);
    close_stream(&stream);
}

static void rate_side(struct duo *duo) {
    rate_of(duo, LW_PUB_EXCLUSIVE);
}

static void shared_side(struct duo *duo) {
    rate_of(duo, duo->options->no_bias ? LW_PUB_NO_BIAS : 0);
}

static int report_rate(const struct bench_options *options, struct bench_result *result, void (*side)(struct duo *)) {
    int code = duo_run(side, options, result);
    if (code) return code;
    result->per_rtt = result->reference / result->value;
    result->value = 1e9 / result->value;
    bench_report(options, result);
    return EXIT_OK;
}

int bench_lane_rate(int argc, char **argv) {
    struct bench_options options = {.size = 8, .rounds = 300, .release = 16};
    const struct bench_usage usage = {
        .bench = "lane-rate",
        .about = "Measures messages a second from one process to another on two cores.\n"
                 "The reference is a bare ping-pong of two cache lines; per_rtt is how many messages\n"
                 "move in the time of one. Both are measured in turn; the best round of each counts.\n"
                 "Runs on a bus of its own, unless --bus names one.",
        .takes = BENCH_SIZE | BENCH_RING | BENCH_ROUNDS | BENCH_API | BENCH_RELEASE | BENCH_READERS,
    };
    struct bench_result result = bench_result_init("lane-rate", "msg/s");
    bench_options_read(&usage, &options, argc, argv);
    choose(&options, false);
    return report_rate(&options, &result, rate_side);
}

int bench_shared_rate(int argc, char **argv) {
    struct bench_options options = {.size = 8, .rounds = 300, .release = 16};
    const struct bench_usage usage = {
        .bench = "shared-rate",
        .about = "Measures messages a second from the only publisher of a shared topic to another process,\n"
                 "on two cores. Reference and figures as in lane-rate.\n"
                 "Runs on a bus of its own, unless --bus names one.",
        .takes = BENCH_SIZE | BENCH_RING | BENCH_ROUNDS | BENCH_RELEASE | BENCH_READERS | BENCH_NO_BIAS,
    };
    struct bench_result result = bench_result_init("shared-rate", "msg/s");
    bench_options_read(&usage, &options, argc, argv);
    choose(&options, true);
    return report_rate(&options, &result, shared_side);
}

/* ---- lane-readers, lossy-rate ------------------------------------------------------------- */

struct pair {
    struct stream alone, crowded;
};

/* The publisher's own time a message, without waiting for room: it sends bursts of half a ring, and the other side has
 * caught up before each. */
static double cost(struct duo *duo, struct stream *stream) {
    int64_t spent = 0;
    for (int i = 0; i < BURSTS; i++) {
        duo_meet(duo);
        int64_t begin = now_ns();
        run(duo, stream);
        spent += now_ns() - begin;
        if (duo->side == 1) move_further(duo, stream, stream->move_at);
    }
    return (double)spent / (double)stream->count / BURSTS;
}

static double readers_value(struct duo *duo, void *user) {
    return cost(duo, &((struct pair *)user)->crowded);
}

static double readers_reference(struct duo *duo, void *user) {
    return cost(duo, &((struct pair *)user)->alone);
}

static void cost_of(struct duo *duo, bool lossy) {
    const struct duo_steps steps = {readers_value, readers_reference, NULL, DUO_BEST};
    struct pair pair;
    open_stream(duo, &pair.alone, "alone", LW_PUB_EXCLUSIVE, 0, false);
    open_stream(duo, &pair.crowded, "crowded", LW_PUB_EXCLUSIVE, duo->options->readers, lossy);
    pair.alone.count = pair.crowded.count = duo->options->ring / 2 / (duo->options->size + 16);
    duo_alternate(duo, &steps, &pair);
    close_stream(&pair.alone);
    close_stream(&pair.crowded);
}

static void readers_side(struct duo *duo) {
    cost_of(duo, false);
}

static void lossy_side(struct duo *duo) {
    cost_of(duo, true);
}

int bench_lane_readers(int argc, char **argv) {
    struct bench_options options = {.size = 8, .rounds = 60, .release = 16, .readers = 16};
    const struct bench_usage usage = {
        .bench = "lane-readers",
        .about = "Measures what a message costs the publisher, in ns, with further subscribers (16, unless\n"
                 "--readers says otherwise). The reference is the same topic without them. Both are measured in\n"
                 "turn; the best round of each counts. The further subscribers belong to the reading process,\n"
                 "which moves them to the end each 1/64 of the ring.\n"
                 "Runs on a bus of its own, unless --bus names one.",
        .takes = BENCH_SIZE | BENCH_RING | BENCH_ROUNDS | BENCH_API | BENCH_RELEASE | BENCH_READERS,
    };
    struct bench_result result = bench_result_init("lane-readers", "ns");
    bench_options_read(&usage, &options, argc, argv);
    choose(&options, false);
    return duo_compare(readers_side, &options, &result);
}

int bench_lossy_rate(int argc, char **argv) {
    struct bench_options options = {.size = 8, .rounds = 60, .release = 16, .readers = 1};
    const struct bench_usage usage = {
        .bench = "lossy-rate",
        .about = "Measures what a message costs the publisher, in ns, with lossy subscribers (one, unless\n"
                 "--readers says otherwise) beside a reliable one. The reference is the same topic without them.\n"
                 "Both are measured in turn; the best round of each counts. The lossy subscribers belong to the\n"
                 "reading process and receive everything, each 1/64 of the ring.\n"
                 "Runs on a bus of its own, unless --bus names one.",
        .takes = BENCH_SIZE | BENCH_RING | BENCH_ROUNDS | BENCH_API | BENCH_RELEASE | BENCH_READERS,
    };
    struct bench_result result = bench_result_init("lossy-rate", "ns");
    bench_options_read(&usage, &options, argc, argv);
    choose(&options, false);
    return duo_compare(lossy_side, &options, &result);
}
