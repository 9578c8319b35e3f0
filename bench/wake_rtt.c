/* SPDX-License-Identifier: MIT */
/*
 * bench/wake_rtt.c - one message there and one back over a link, between two sides that go to sleep at once.
 *
 * Each side waits on a group that does not spin, so each message has to wake somebody. The reference is the same with
 * the bare tools of the kernel: each side waits with epoll for its eventfd, and writes to the other's. The kernel has
 * the greater part in both, so the median of the rounds counts, not the best.
 *
 * Who has sent something is often answered before it has come to sleep, and not equally often in both. So all of that is
 * measured a second time, each side waiting before it sends until the other one sleeps for certain: like with like.
 *
 * Then bursts: a hundred messages are sent at once to a sleeper. How often was it rung for, and put to sleep again?
 */
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "ends.h"
#include "links.h"
#include "payload.h"
#include "samples.h"

enum { TRIPS = 200, BURSTS = 200, BURST = 100 };

static const int64_t to_sleep = LW_MS(1);  /* so long, and the other side sleeps, whatever it had to do */
static const int64_t pause_ns = LW_US(60); /* likewise, after it has sent something */

struct wake {
    struct ends ends;
    struct lw_link *link;
    uint64_t seq; /* of the next trip */
    struct samples samples;
    char *buffer;
    int epoll;
    bool pausing;    /* sends to sleepers only */
    double burst_ns; /* a message, for who sends */
};

static int bells[2]; /* an eventfd for each side, made before the sides are */

/* ---- trips -------------------------------------------------------------------------------- */

static void put(struct duo *duo, struct wake *wake, uint64_t seq) {
    size_t size = duo->options->size;
    payload_fill(wake->buffer, size, seq);
    ends_sent(duo, lw_link_send(wake->link, 1, wake->buffer, size, 0));
}

/* One that is there. */
static void get(struct duo *duo, struct wake *wake, uint64_t seq) {
    size_t size = duo->options->size;
    struct lw_msg msg;
    int got = lw_link_next(wake->link, &msg, 0);
    if (got != 1) duo_fail(duo, "next: %s", lw_strerror(got));
    if (msg.len != size || payload_differs(msg.data, size, seq))
        duo_fail(duo, "message %llu came wrong", (unsigned long long)seq);
    lw_link_release(wake->link, &msg);
}

/* On one core the other side needs it to come to sleep. */
static void let_sleep(const struct duo *duo, const struct wake *wake) {
    if (!wake->pausing) return;
    for (int64_t end = now_ns() + pause_ns; now_ns() < end;)
        if (duo->options->one_core) sched_yield();
}

static void trip(struct duo *duo, void *user) {
    struct wake *wake = user;
    if (duo->side == 0) let_sleep(duo, wake), put(duo, wake, wake->seq);
    ends_wait(duo, &wake->ends);
    get(duo, wake, wake->seq);
    if (duo->side == 1) let_sleep(duo, wake), put(duo, wake, wake->seq);
    wake->seq++;
}

static void bare_write(struct duo *duo) {
    uint64_t one = 1;
    if (write(bells[!duo->side], &one, sizeof one) != sizeof one) duo_fail(duo, "write to an eventfd");
}

static void bare_wait(struct duo *duo, int epoll) {
    struct epoll_event event;
    uint64_t count;
    if (epoll_wait(epoll, &event, 1, -1) != 1) duo_fail(duo, "epoll_wait");
    if (read(bells[duo->side], &count, sizeof count) != sizeof count) duo_fail(duo, "read of an eventfd");
}

static void bare_trip(struct duo *duo, void *user) {
    struct wake *wake = user;
    if (duo->side == 0) let_sleep(duo, wake), bare_write(duo);
    bare_wait(duo, wake->epoll);
    if (duo->side == 1) let_sleep(duo, wake), bare_write(duo);
}

/* Without the pauses. */
static double timed(struct duo *duo, void (*one)(struct duo *duo, void *user), const struct wake *wake, void *user) {
    double pauses = wake->pausing ? 2 * (double)pause_ns : 0;
    duo_meet(duo);
    int64_t begin = now_ns();
    for (int i = 0; i < TRIPS; i++) one(duo, user);
    return (double)(now_ns() - begin) / TRIPS - pauses;
}

static double value(struct duo *duo, void *user) {
    return timed(duo, trip, user, user);
}

static double reference(struct duo *duo, void *user) {
    return timed(duo, bare_trip, user, user);
}

static void sample(struct duo *duo, void *user) {
    samples_take(duo, &((struct wake *)user)->samples, TRIPS, trip, user);
}

/* ---- bursts ------------------------------------------------------------------------------- */

static void send_bursts(struct duo *duo, struct wake *wake) {
    int64_t spent = 0;
    for (uint64_t i = 0; i < BURSTS; i++) {
        nanosleep(&(struct timespec){0, (long)to_sleep}, NULL);
        int64_t begin = now_ns();
        for (int n = 0; n < BURST; n++) put(duo, wake, i);
        spent += now_ns() - begin;
        ends_wait(duo, &wake->ends);
        get(duo, wake, i);
    }
    wake->burst_ns = (double)spent / BURSTS / BURST;
}

static void take_bursts(struct duo *duo, struct wake *wake) {
    struct lw_msg msg;
    for (uint64_t i = 0; i < BURSTS; i++) {
        for (int n = 0; n < BURST;) {
            ends_wait(duo, &wake->ends);
            for (; lw_link_next(wake->link, &msg, 0) == 1; n++) {
                if (payload_differs(msg.data, msg.len, i)) duo_fail(duo, "a message of a burst came wrong");
                lw_link_release(wake->link, &msg);
            }
        }
        put(duo, wake, i);
    }
}

/* ---- figures ------------------------------------------------------------------------------ */

/* Leaves what happened since `from`, each divided by `by`. */
static void leave_counts(struct duo *duo, const struct wake *wake, const struct lw_group_stats *from, double by,
                         double *left) {
    struct lw_group_stats now = ends_stats(&wake->ends);
    left[0] = (double)(now.rings - from->rings) / by;
    left[1] = (double)(now.parks - from->parks) / by;
    left[2] = (double)(now.sleeps - from->sleeps) / by;
    left[3] = (double)(now.tick_finds - from->tick_finds);
    left[8] = (double)(now.ticks - from->ticks);
    duo_meet(duo);
}

/* To sleepers only. */
static void run_asleep(struct duo *duo, struct wake *wake) {
    const struct duo_steps steps = {value, reference, NULL, DUO_MEDIAN};
    struct bench_result *result = &duo->page->result, asleep;
    uint64_t first = wake->seq;
    struct lw_group_stats from = ends_stats(&wake->ends);
    wake->pausing = true;
    asleep = duo_alternate_aside(duo, &steps, wake);
    wake->pausing = false;
    double sleeps = (double)(ends_stats(&wake->ends).sleeps - from.sleeps);
    duo->page->left[duo->side][13] = sleeps / (double)(wake->seq - first);
    duo_meet(duo);
    if (duo->side) return;
    bench_add(result, "asleep", asleep.value, "ns, when each side sleeps before it is sent to");
    bench_add(result, "asleep_reference", asleep.reference, "ns");
    bench_add(result, "asleep_ratio", asleep.value / asleep.reference, "");
    bench_add(result, "asleep_sleeps", duo->page->left[0][13] + duo->page->left[1][13], "in a round trip");
}

static void add_figures(struct duo *duo, const struct wake *wake) {
    struct bench_result *result = &duo->page->result;
    double(*left)[DUO_LEFT] = duo->page->left;
    bench_add(result, "extra", result->value - result->reference, "ns more than the reference");
    bench_add(result, "trip_rings", left[0][0] + left[1][0], "sleeps that a sender ended, both sides, in a round trip");
    bench_add(result, "trip_parks", left[0][1] + left[1][1], "times that handles were put to sleep");
    bench_add(result, "trip_sleeps", left[0][2] + left[1][2], "sleeps in the kernel");
    bench_add(result, "burst_rings", left[1][4], "the same for a burst of 100 messages, receiver only");
    bench_add(result, "burst_parks", left[1][5], "");
    bench_add(result, "burst_sleeps", left[1][6], "");
    bench_add(result, "burst_ns", wake->burst_ns, "ns a message of a burst, for the sender");
    bench_add(result, "ticks", left[0][8] + left[1][8] + left[0][12] + left[1][12], "sleeps that ended by themselves");
    bench_add(result, "unrung", left[0][3] + left[1][3] + left[0][7] + left[1][7], "messages found only by a tick");
}

static void open_wake(struct duo *duo, struct wake *wake) {
    struct epoll_event event = {.events = EPOLLIN};
    wake->buffer = malloc(duo->options->size + 64);
    if (!wake->buffer) duo_fail(duo, "no memory");
    wake->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (wake->epoll < 0 || epoll_ctl(wake->epoll, EPOLL_CTL_ADD, bells[duo->side], &event)) duo_fail(duo, "epoll");
    samples_open(duo, &wake->samples);
    ends_open(duo, &wake->ends, "wake", 1, 0);
    wake->link = wake->ends.links[0];
}

static void side(struct duo *duo) {
    const struct duo_steps steps = {value, reference, sample, DUO_MEDIAN};
    double *left = duo->page->left[duo->side];
    struct wake wake = {.seq = 0};
    open_wake(duo, &wake);
    struct lw_group_stats from = ends_stats(&wake.ends);
    duo_alternate(duo, &steps, &wake);
    leave_counts(duo, &wake, &from, (double)wake.seq, left);
    from = ends_stats(&wake.ends);
    (duo->side == 0 ? send_bursts : take_bursts)(duo, &wake);
    leave_counts(duo, &wake, &from, BURSTS, left + 4);
    if (duo->side == 0) add_figures(duo, &wake);
    run_asleep(duo, &wake);
    samples_close(duo, &wake.samples);
    ends_close(duo, &wake.ends);
    close(wake.epoll);
    free(wake.buffer);
}

int bench_wake_rtt(int argc, char **argv) {
    struct bench_options options = {.size = 8, .rounds = 100};
    const struct bench_usage usage = {
        .bench = "wake-rtt",
        .about = "Measures a message there and one back over a link between two processes that sleep, in ns.\n"
                 "The reference is the same with an eventfd and epoll on each side. Both are measured in turn;\n"
                 "the median of the rounds counts. Then sends bursts of 100 messages to a sleeper; and measures again\n"
                 "with a pause before each message, so that it always comes to a sleeper (asleep).\n"
                 "Runs on a bus of its own, unless --bus names one.",
        .takes = BENCH_SIZE | BENCH_RING | BENCH_ROUNDS | BENCH_ONE_CORE,
    };
    struct bench_result result = bench_result_init("wake-rtt", "ns");
    bench_options_read(&usage, &options, argc, argv);
    bench_choose_ring(&options, 1 << 20);
    if (options.ring / BURST / 2 < options.size + 16)
        bench_options_refuse("--ring: a burst of %d messages does not fit in half of it", BURST);
    for (int i = 0; i < 2; i++)
        if ((bells[i] = eventfd(0, EFD_CLOEXEC)) < 0) return fail(LW_ESTATE, "no eventfd");
    int code = duo_compare(side, &options, &result);
    close(bells[0]);
    close(bells[1]);
    return code;
}
