/* SPDX-License-Identifier: MIT */
/*
 * bench/contend_rate.c - two publishers of one topic and its reader, on two cores.
 *
 * Each side of the pair publishes, pinned to its core; the reader is a third process that may run on both, so it shares
 * them with the publishers as the kernel likes. In turn with that, side 0 publishes alone and the reader has the other
 * core. The reader compares every byte, and that each publisher's messages come in order.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "duo.h"
#include "lane.h"
#include "payload.h"

enum { SECONDS = 4, TRIPS = 10000, LOOK_AT_CLOCK = 64, BACK_OFF = 64, PATIENT = 1000 };

static const int64_t patience = LW_SEC(20), tick = LW_MS(1);

/* Shared by the three. */
struct contest {
    DUO_LINE uint64_t spread; /* 1: the reader may run on both cores */
    uint64_t ready;           /* 1: it subscribes */
    uint64_t end;
    DUO_LINE uint64_t read; /* messages */
    DUO_LINE uint64_t sent[2 * 16];
};

struct reader {
    struct lw_sub *sub;
    uint64_t next[2]; /* of each publisher */
    uint64_t count;
};

struct writer {
    struct lw_pub *pub;
    struct contest *contest;
    struct lw_item items[BENCH_BATCH_MOST];
    char *buffer;
    uint64_t seq;
    pid_t reader; /* of side 0 */
    double best_alone, best_both, least_share;
};

/* ---- the reader --------------------------------------------------------------------------- */

static void may_run_on(bool both) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (both) CPU_SET(0, &set);
    CPU_SET(1, &set);
    sched_setaffinity(0, sizeof set, &set); /* other numbers on this machine: then it stays where it is */
}

/* Up to 16 messages, released together. Returns what came after them: 1, LW_EEMPTY, an error. */
static inline __attribute__((always_inline)) int take_some(struct duo *duo, struct reader *r, struct lw_msg *msg,
                                                           size_t size) {
    int rc = 1;
    for (int i = 0; rc == 1 && i < 16; i++) {
        unsigned who = msg->type & 1;
        if (msg->len != size || payload_differs(msg->data, size, r->next[who] * 2 + who))
            duo_fail(duo, "message %llu of publisher %u came wrong", (unsigned long long)r->next[who], who);
        r->next[who]++;
        r->count++;
        struct lw_msg more;
        if (i < 15 && (rc = lw_sub_next(r->sub, &more, 0)) == 1) *msg = more;
    }
    lw_sub_release(r->sub, msg);
    return rc;
}

static int take(struct duo *duo, struct reader *r, struct lw_msg *msg) {
    switch (duo->options->size) {
    case 8:
        return take_some(duo, r, msg, 8);
    case 64:
        return take_some(duo, r, msg, 64);
    default:
        return take_some(duo, r, msg, duo->options->size);
    }
}

/* With a core for itself it spins, and lets the publisher get ahead for a microsecond, as in lane-rate. */
static int next_message(struct reader *r, struct lw_msg *msg, bool alone) {
    int rc;
    for (int looks = 0; (rc = lw_sub_next(r->sub, msg, 0)) == LW_EEMPTY && alone && looks < PATIENT; looks++)
        for (int i = 0; i < BACK_OFF; i++) duo_relax();
    return rc == LW_EEMPTY ? lw_sub_next(r->sub, msg, tick) : rc;
}

static void read_all(struct duo *duo, struct contest *contest) {
    struct reader r = {.sub = duo_subscribe(duo, "contest", 0)};
    uint64_t spread = 2;
    struct lw_msg msg;
    __atomic_store_n(&contest->ready, 1, __ATOMIC_RELEASE);
    for (;;) {
        uint64_t now = __atomic_load_n(&contest->spread, __ATOMIC_RELAXED);
        if (now != spread) may_run_on((spread = now));
        int rc = next_message(&r, &msg, !spread);
        if (rc == LW_EEMPTY && __atomic_load_n(&contest->end, __ATOMIC_ACQUIRE)) break;
        if (rc == LW_EEMPTY) continue;
        if (rc == 1) rc = take(duo, &r, &msg);
        if (rc != 1 && rc != LW_EEMPTY) duo_fail(duo, "next: %s", lw_strerror(rc));
        __atomic_store_n(&contest->read, r.count, __ATOMIC_RELEASE);
    }
    lw_sub_close(r.sub);
}

/* A process of side 0, on the same bus. Dies with it. */
static pid_t start_reader(struct duo *duo, struct contest *contest) {
    struct lw_bus_options options = LW_BUS_OPTIONS_INIT;
    options.dir = lw_bus_dir(duo->bus);
    pid_t pid = fork();
    if (pid < 0) duo_fail(duo, "fork");
    while (pid && !__atomic_load_n(&contest->ready, __ATOMIC_ACQUIRE))
        if (waitpid(pid, NULL, WNOHANG)) _exit(EXIT_FAILED);
    if (pid) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (lw_bus_open(&duo->bus, &options)) duo_fail(duo, "%s", lw_errtext());
    read_all(duo, contest);
    lw_bus_close(duo->bus);
    _exit(0);
}

/* ---- the publishers ----------------------------------------------------------------------- */

static inline __attribute__((always_inline)) void put(struct duo *duo, struct writer *w, size_t size, uint64_t batch) {
    for (uint64_t i = 0; i < batch; i++)
        payload_fill(w->buffer + i * size, size, (w->seq + i) * 2 + (unsigned)duo->side);
    int64_t rc = batch == 1 ? lw_pub_send(w->pub, (uint16_t)duo->side, w->buffer, size, patience)
                            : lw_pub_send_batch(w->pub, w->items, batch, patience);
    if (rc < 0) duo_fail(duo, "send: %s", lw_errtext());
    w->seq += batch;
}

static void put_many(struct duo *duo, struct writer *w) {
    size_t size = duo->options->size;
    uint64_t batch = duo->options->batch;
    if (batch == 1 && size == 8)
        for (int i = 0; i < LOOK_AT_CLOCK; i++) put(duo, w, 8, 1);
    else if (batch == 1 && size == 64)
        for (int i = 0; i < LOOK_AT_CLOCK; i++) put(duo, w, 64, 1);
    else
        for (uint64_t i = 0; i < LOOK_AT_CLOCK; i += batch) put(duo, w, size, batch);
}

static void put_until(struct duo *duo, struct writer *w, int64_t end) {
    uint64_t first = w->seq;
    do put_many(duo, w);
    while (now_ns() < end);
    w->contest->sent[16 * duo->side] = w->seq - first;
}

/* What the reader says is in the page when it has failed. */
static void wait_until_read(struct writer *w, uint64_t count) {
    while (__atomic_load_n(&w->contest->read, __ATOMIC_ACQUIRE) < count) {
        if (waitpid(w->reader, NULL, WNOHANG)) _exit(EXIT_FAILED);
        nanosleep(&(struct timespec){0, 100000}, NULL);
    }
}

/* Everybody sleeps in between: a side that spins would take a core from the others. */
static uint64_t period(struct duo *duo, struct writer *w, bool both, int64_t length) {
    uint64_t *sent = w->contest->sent;
    if (duo->side == 0) __atomic_store_n(&w->contest->spread, both, __ATOMIC_RELAXED);
    sent[16 * duo->side] = 0;
    duo_meet(duo);
    int64_t end = now_ns() + length;
    if (both || duo->side == 0)
        put_until(duo, w, end);
    else
        nanosleep(&(struct timespec){length / LW_SEC(1), length % LW_SEC(1)}, NULL);
    duo_meet(duo);
    return sent[0] + sent[16];
}

static double bigger(double a, double b) {
    return a > b ? a : b;
}

static void one_second(struct duo *duo, struct writer *w, uint64_t *total) {
    uint64_t *sent = w->contest->sent, both, alone;
    *total += alone = period(duo, w, false, LW_MS(300));
    if (duo->side == 0) wait_until_read(w, *total);
    *total += both = period(duo, w, true, LW_SEC(1));
    if (duo->side == 0) wait_until_read(w, *total);
    uint64_t least = sent[0] < sent[16] ? sent[0] : sent[16];
    w->best_alone = bigger(w->best_alone, (double)alone / 0.3e9);
    w->best_both = bigger(w->best_both, (double)both / 1e9);
    double share = (double)least / (double)both;
    if (share < w->least_share) w->least_share = share;
    duo_meet(duo);
}

static void open_writer(struct duo *duo, struct writer *w) {
    size_t size = duo->options->size;
    w->buffer = malloc(size * duo->options->batch + 64);
    if (!w->buffer) duo_fail(duo, "no memory");
    for (uint64_t i = 0; i < duo->options->batch; i++)
        w->items[i] = (struct lw_item){.data = w->buffer + i * size, .len = size, .type = (uint16_t)duo->side};
    w->pub = duo_publish(duo, "contest", duo->options->no_bias ? LW_PUB_NO_BIAS : 0);
}

static struct contest *shared; /* made before the sides are */

static void contend_side(struct duo *duo) {
    struct writer w = {.contest = shared, .least_share = 1};
    pid_t reader = w.reader = duo->side == 0 ? start_reader(duo, shared) : 0;
    uint64_t total = 0;
    int status = 0;
    open_writer(duo, &w);
    duo_meet(duo);
    double reference = duo_pingpong(duo, TRIPS);
    for (int i = 0; i < SECONDS; i++) one_second(duo, &w, &total);
    lw_pub_close(w.pub);
    __atomic_store_n(&shared->end, 1, __ATOMIC_RELEASE);
    if (reader && (waitpid(reader, &status, 0) != reader || status)) duo_fail(duo, "%s", duo->page->failure);
    if (duo->side) return;
    struct bench_result *result = &duo->page->result;
    result->value = w.best_both * 1e9;
    result->reference = 1 / w.best_alone;
    result->ratio = w.best_both / w.best_alone;
    result->per_rtt = reference * w.best_both;
    result->least_share = w.least_share;
}

int bench_contend_rate(int argc, char **argv) {
    struct bench_options options = {.size = 8, .batch = 1};
    const struct bench_usage usage = {
        .bench = "contend-rate",
        .about = "Measures messages a second of two publishers of a topic and its reader, three processes on two\n"
                 "cores, in periods of a second. The reference is a lone publisher of the same topic, in ns a\n"
                 "message; ratio is the rate of two against that of one. The best period of each counts;\n"
                 "least_share is what the slower publisher got in the worst second.\n"
                 "Runs on a bus of its own, unless --bus names one.",
        .takes = BENCH_SIZE | BENCH_RING | BENCH_BATCH | BENCH_NO_BIAS,
    };
    struct bench_result result = bench_result_init("contend-rate", "msg/s");
    bench_options_read(&usage, &options, argc, argv);
    bench_choose_ring(&options, 16 << 20);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return fail(LW_ESTATE, "no memory");
    int code = duo_run(contend_side, &options, &result);
    munmap(shared, sizeof *shared);
    if (!code) bench_report(&options, &result);
    return code;
}
