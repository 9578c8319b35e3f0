/* SPDX-License-Identifier: MIT */
/*
 * bench/duo.h - a measurement between two processes, each on a core of its own.
 *
 * duo_run() forks two sides and waits for both. It holds the bus directory and clears everything
 * away, also when a side dies or the user interrupts. The sides share one page: a barrier, the lines
 * of the reference ping-pong, and what they report.
 */
#ifndef BENCH_DUO_H
#define BENCH_DUO_H

#include <stdint.h>

#include "laneway/laneway.h"
#include "report.h"

enum { DUO_LEFT = 16 };

#define DUO_LINE _Alignas(128) /* two cache lines: the next one is fetched with it */

struct duo_page {
    DUO_LINE uint64_t met[2 * 16]; /* [0] and [16]: how often each side came to the barrier */
    DUO_LINE uint64_t ping;
    DUO_LINE uint64_t pong;
    DUO_LINE uint64_t begin_ns; /* of a round that ends on the other side */
    uint64_t end_ns;
    uint64_t go_on;   /* one more round? side 0 decides */
    uint64_t lost[2]; /* so often each side lost its core in this round */
    struct bench_result result;
    double left[2][DUO_LEFT]; /* figures that a side leaves for the other to read after the next meeting */
    int failed;               /* a side has said why */
    char failure[512];
};

struct duo {
    struct duo_page *page;
    int side; /* 0 or 1 */
    uint64_t meetings;
    const struct bench_options *options;
    struct lw_bus *bus; /* each side has its own handle */
    char prefix[32];    /* of topic names, so that a shared bus serves */
};

/* Runs `side` in two processes. Returns 0, or the exit code after saying what failed. `result` is
 * what side 0 left in the page. */
int duo_run(void (*side)(struct duo *duo), const struct bench_options *options, struct bench_result *result);

/* The same, and reports how the value compares with the reference. Returns the exit code. */
int duo_compare(void (*side)(struct duo *duo), const struct bench_options *options, struct bench_result *result);

/* Waits until the other side comes here too. In two steps, for a side that has something to do meanwhile: it comes, and
 * then looks whether the other one has. */
void duo_meet(struct duo *duo);
void duo_come(struct duo *duo);
bool duo_met(const struct duo *duo);

/* Lets time pass in a loop around duo_met(). */
void duo_pass(const struct duo *duo);

/* Ends the run: the sentence is what the user sees. */
__attribute__((noreturn, format(printf, 2, 3))) void duo_fail(struct duo *duo, const char *format, ...);

/* Opens a topic of this run. `flags` as in lw_pub_options, lw_sub_options. */
struct lw_pub *duo_publish(struct duo *duo, const char *topic, unsigned flags);
struct lw_sub *duo_subscribe(struct duo *duo, const char *topic, unsigned flags);

/* The reference: nanoseconds a round trip of two cache lines, mean of `trips`. Both sides call it;
 * side 0 gets the figure. */
double duo_pingpong(struct duo *duo, uint64_t trips);

enum duo_take {
    DUO_BEST,       /* the best of the steady rounds */
    DUO_MEDIAN,     /* where the kernel has a part in it: of all rounds ... */
    DUO_UNDISTURBED /* ... or of those in which nobody else got the cores */
};

/* What is measured in turn. Both sides run each step; the figure of side 0, lower is better,
 * counts. `also` may be NULL. */
struct duo_steps {
    double (*value)(struct duo *duo, void *user);
    double (*reference)(struct duo *duo, void *user);
    void (*also)(struct duo *duo, void *user);
    enum duo_take take;
};

/* Alternates the steps and leaves the best or the median of each in the page's result. */
void duo_alternate(struct duo *duo, const struct duo_steps *steps, void *user);

/* The same for a second comparison: the page's result stays as it was, and side 0 gets what was found. */
struct bench_result duo_alternate_aside(struct duo *duo, const struct duo_steps *steps, void *user);

/* For a step that begins on side 0 and ends on side 1: the time in between, on both sides. */
void duo_begin(struct duo *duo);
double duo_end(struct duo *duo);

/* duo_end() is these, with a duo_meet() between them. */
void duo_stop(struct duo *duo);
double duo_spent(const struct duo *duo);

/* For spins that are not what is measured. */
static inline void duo_relax(void) {
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("isb" ::: "memory");
#endif
}

/* Time stamps that cost little, and how long a tick is. */
uint64_t duo_ticks(void);
double duo_ns_per_tick(void);

#endif
