/* SPDX-License-Identifier: MIT */
/* bench/duo.c - a measurement between two processes, each on a core of its own. */
#include "duo.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "place.h"

enum {
    BUDGET_S = 7, /* no round begins later */
    WATCHDOG_S = 60,
    ENOUGH = 5 /* steady rounds */
};

static const double DRIFT = 0.1;

/* ---- the parent: start, wait, clear away -------------------------------------------------- */

struct guard {
    pid_t side[2];
    struct duo_page *page;
    struct bench_place place;
    sigset_t watched, before;
};

/* The first two cores that this process may use; or the first one twice. */
static int choose_cores(int cores[2], bool one) {
    cpu_set_t allowed;
    int found = 0;
    if (sched_getaffinity(0, sizeof allowed, &allowed)) return fail(-errno, "sched_getaffinity");
    for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
        if (CPU_ISSET((size_t)cpu, &allowed)) cores[found++] = cpu;
    if (one && found) cores[1] = cores[0];
    if (one && found) return 0;
    if (found < 2) return fail(LW_ESTATE, "this benchmark needs two cores, and only one is there");
    return 0;
}

static void pin(struct duo *duo, int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    if (sched_setaffinity(0, sizeof set, &set)) duo_fail(duo, "cannot pin to core %d: %s", core, strerror(errno));
}

static void open_bus(struct duo *duo, const char *dir) {
    struct lw_bus_options options = LW_BUS_OPTIONS_INIT;
    char node[LW_NAME_MAX + 1];
    snprintf(node, sizeof node, "%s-%d", common.node ? common.node : "", duo->side);
    options.dir = dir;
    options.node = common.node ? node : NULL;
    options.group = common.group;
    if (lw_bus_open(&duo->bus, &options)) duo_fail(duo, "%s", lw_errtext());
}

__attribute__((noreturn)) static void be_side(struct guard *guard, int number, const int cores[2],
                                              void (*side)(struct duo *), const struct bench_options *options) {
    struct duo duo = {.page = guard->page, .side = number, .options = options};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigprocmask(SIG_SETMASK, &guard->before, NULL);
    snprintf(duo.prefix, sizeof duo.prefix, "%s", guard->place.prefix);
    pin(&duo, cores[number]);
    open_bus(&duo, guard->place.bus);
    side(&duo);
    if (lw_bus_close(duo.bus)) duo_fail(&duo, "lw_bus_close: handles are open");
    _exit(EXIT_OK);
}

static void kill_sides(struct guard *guard) {
    for (int i = 0; i < 2; i++)
        if (guard->side[i] > 0) kill(guard->side[i], SIGKILL);
}

/* Takes a dead side. Returns 0 if it ended well, else the exit code; both are stopped then. */
static int bury(struct guard *guard, pid_t pid, int status) {
    for (int i = 0; i < 2; i++)
        if (guard->side[i] == pid) guard->side[i] = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK) return EXIT_OK;
    kill_sides(guard);
    if (WIFEXITED(status)) return fail(LW_ESTATE, "%s", guard->page->failure);
    return fail(LW_ESTATE, "a process of the benchmark died of signal %d", WTERMSIG(status));
}

static int bury_all(struct guard *guard, int flags) {
    int code = EXIT_OK, status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, flags)) > 0) {
        int ended = bury(guard, pid, status);
        if (!code) code = ended;
    }
    return code;
}

static int wait_for_sides(struct guard *guard) {
    const struct timespec longest = {WATCHDOG_S, 0};
    int code = EXIT_OK;
    while (!code && (guard->side[0] || guard->side[1])) {
        int sig = sigtimedwait(&guard->watched, NULL, &longest);
        if (sig == SIGCHLD)
            code = bury_all(guard, WNOHANG);
        else if (sig > 0)
            code = EXIT_INTERRUPTED;
        else if (errno == EAGAIN)
            code = fail(LW_EEMPTY, "no end after %d seconds", WATCHDOG_S);
    }
    return code;
}

static void watch_signals(struct guard *guard) {
    sigemptyset(&guard->watched);
    sigaddset(&guard->watched, SIGCHLD);
    sigaddset(&guard->watched, SIGINT);
    sigaddset(&guard->watched, SIGTERM);
    sigaddset(&guard->watched, SIGHUP);
    sigprocmask(SIG_BLOCK, &guard->watched, &guard->before);
}

static int run_sides(struct guard *guard, const int cores[2], void (*side)(struct duo *),
                     const struct bench_options *options) {
    int code = EXIT_OK;
    watch_signals(guard);
    for (int i = 0; i < 2 && !code; i++) {
        guard->side[i] = fork();
        if (guard->side[i] == 0) be_side(guard, i, cores, side, options);
        if (guard->side[i] < 0) code = fail(-errno, "fork");
    }
    if (!code) code = wait_for_sides(guard);
    kill_sides(guard);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    return code;
}

int duo_run(void (*side)(struct duo *duo), const struct bench_options *options, struct bench_result *result) {
    struct guard guard = {.side = {0, 0}};
    int cores[2], code = choose_cores(cores, options->one_core);
    if (code) return code;
    guard.page = mmap(NULL, sizeof *guard.page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (guard.page == MAP_FAILED) return fail(-errno, "mmap");
    guard.page->result = *result;
    if (!(code = bench_place_make(&guard.place))) {
        code = run_sides(&guard, cores, side, options);
        bench_place_clear(&guard.place);
        sigprocmask(SIG_SETMASK, &guard.before, NULL);
    }
    *result = guard.page->result;
    munmap(guard.page, sizeof *guard.page);
    return code;
}

int duo_compare(void (*side)(struct duo *duo), const struct bench_options *options, struct bench_result *result) {
    int code = duo_run(side, options, result);
    if (code) return code;
    result->ratio = result->value / result->reference;
    bench_report(options, result);
    return EXIT_OK;
}

/* ---- a side ------------------------------------------------------------------------------- */

/* The first words count: what the other side says may be that we are gone. */
void duo_fail(struct duo *duo, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (!__atomic_exchange_n(&duo->page->failed, 1, __ATOMIC_RELAXED))
        vsnprintf(duo->page->failure, sizeof duo->page->failure, format, args);
    va_end(args);
    _exit(EXIT_FAILED);
}

void duo_come(struct duo *duo) {
    __atomic_store_n(&duo->page->met[16 * duo->side], ++duo->meetings, __ATOMIC_RELEASE);
}

bool duo_met(const struct duo *duo) {
    return __atomic_load_n(&duo->page->met[16 * !duo->side], __ATOMIC_ACQUIRE) >= duo->meetings;
}

void duo_pass(const struct duo *duo) {
    if (duo->options->one_core)
        sched_yield();
    else
        duo_relax();
}

/* Nobody looks for a dead partner here: then the parent kills us. */
void duo_meet(struct duo *duo) {
    duo_come(duo);
    while (!duo_met(duo)) duo_pass(duo);
}

static void topic_name(const struct duo *duo, const char *topic, char name[96]) {
    snprintf(name, 96, "%s%s", duo->prefix, topic);
}

struct lw_pub *duo_publish(struct duo *duo, const char *topic, unsigned flags) {
    struct lw_pub_options options = LW_PUB_OPTIONS_INIT;
    struct lw_pub *pub;
    char name[96];
    topic_name(duo, topic, name);
    options.flags = flags;
    options.shape.ring = duo->options->ring;
    if (lw_pub_open(&pub, duo->bus, name, &options)) duo_fail(duo, "%s", lw_errtext());
    return pub;
}

struct lw_sub *duo_subscribe(struct duo *duo, const char *topic, unsigned flags) {
    struct lw_sub_options options = LW_SUB_OPTIONS_INIT;
    struct lw_sub *sub;
    char name[96];
    topic_name(duo, topic, name);
    options.flags = flags;
    options.shape.ring = duo->options->ring;
    if (lw_sub_open(&sub, duo->bus, name, &options)) duo_fail(duo, "%s", lw_errtext());
    return sub;
}

/* The cheapest exchange that two cores can make: each owns a line and spins on the other's. Without a pause in the spin:
 * with one it is faster, but falls into one of several rhythms, from 48 to 105 ns on the same two cores, and the best
 * round would tell of luck. lane-rtt spins in the same way. */
double duo_pingpong(struct duo *duo, uint64_t trips) {
    struct duo_page *page = duo->page;
    uint64_t *mine = duo->side ? &page->pong : &page->ping;
    uint64_t *theirs = duo->side ? &page->ping : &page->pong;
    uint64_t first = *mine, begin;
    duo_meet(duo);
    begin = (uint64_t)now_ns();
    for (uint64_t i = first + 1; i <= first + trips; i++) {
        if (duo->side == 0) __atomic_store_n(mine, i, __ATOMIC_RELEASE);
        while (__atomic_load_n(theirs, __ATOMIC_ACQUIRE) != i)
            ;
        if (duo->side == 1) __atomic_store_n(mine, i, __ATOMIC_RELEASE);
    }
    return (double)((uint64_t)now_ns() - begin) / (double)trips;
}

void duo_begin(struct duo *duo) {
    duo_meet(duo);
    if (duo->side == 0) duo->page->begin_ns = (uint64_t)now_ns();
}

void duo_stop(struct duo *duo) {
    if (duo->side == 1) duo->page->end_ns = (uint64_t)now_ns();
}

double duo_spent(const struct duo *duo) {
    return (double)(duo->page->end_ns - duo->page->begin_ns);
}

double duo_end(struct duo *duo) {
    duo_stop(duo);
    duo_meet(duo);
    return duo_spent(duo);
}

/* A virtual machine's cores are moved about: two lines then take 50 ns at one time and 500 at another. So a round
 * counts only if the reference was the same before and after its value, and about the same as in the fastest fifth; and
 * only if neither side lost its core to somebody else meanwhile: on a machine that has other things to do, the
 * references that agree would be those that were disturbed alike, and the best value one that was not. */
struct round {
    double value, reference;
    bool counts;
};

/* How often somebody else got our core. */
static uint64_t preemptions(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (uint64_t)usage.ru_nivcsw;
}

static bool about(double a, double b) {
    return a < b * (1 + DRIFT) && b < a * (1 + DRIFT);
}

static int by_reference(const void *a, const void *b) {
    double x = ((const struct round *)a)->reference, y = ((const struct round *)b)->reference;
    return (x > y) - (x < y);
}

/* Puts those that count in front. Returns how many they are. */
static size_t move_forward(struct round *rounds, size_t count) {
    size_t counting = 0;
    for (size_t i = 0; i < count; i++) {
        struct round round = rounds[i];
        if (!round.counts) continue;
        rounds[i] = rounds[counting];
        rounds[counting++] = round;
    }
    return counting;
}

/* Puts the steady ones in front, if they are enough. Returns how many rounds to look at; `*steady_rounds` is the same, or
 * 0 when that is all of them, for want of better ones. */
static size_t choose_rounds(struct round *rounds, size_t count, double *steady_rounds) {
    size_t steady = move_forward(rounds, count), first = 0, end;
    *steady_rounds = 0;
    if (steady < ENOUGH) return count;
    qsort(rounds, steady, sizeof *rounds, by_reference);
    double usual = rounds[steady / 5].reference;
    while (!about(rounds[first].reference, usual)) first++;
    for (end = first; end < steady && about(rounds[end].reference, usual);) end++;
    memmove(rounds, rounds + first, (end - first) * sizeof *rounds);
    *steady_rounds = (double)(end - first);
    return end - first;
}

static void take_best(struct bench_result *result, struct round *rounds, size_t count) {
    size_t chosen = choose_rounds(rounds, count, &result->steady);
    result->value = rounds[0].value;
    result->reference = rounds[0].reference;
    for (size_t i = 1; i < chosen; i++) {
        if (rounds[i].value < result->value) result->value = rounds[i].value;
        if (rounds[i].reference < result->reference) result->reference = rounds[i].reference;
    }
}

static int by_value(const void *a, const void *b) {
    double x = ((const struct round *)a)->value, y = ((const struct round *)b)->value;
    return (x > y) - (x < y);
}

static void take_median(struct bench_result *result, struct round *rounds, size_t count) {
    qsort(rounds, count, sizeof *rounds, by_reference);
    result->reference = rounds[count / 2].reference;
    qsort(rounds, count, sizeof *rounds, by_value);
    result->value = rounds[count / 2].value;
}

static void take_undisturbed(struct bench_result *result, struct round *rounds, size_t count) {
    size_t undisturbed = move_forward(rounds, count);
    bool enough = undisturbed >= ENOUGH;
    result->steady = enough ? (double)undisturbed : 0;
    take_median(result, rounds, enough ? undisturbed : count);
}

static bool another_round(struct duo *duo, size_t count, size_t steady, int64_t begin) {
    bool late = now_ns() - begin > LW_SEC(BUDGET_S) && count >= BENCH_ROUNDS_LEAST;
    if (duo->side == 0) duo->page->go_on = steady < duo->options->rounds && count < BENCH_ROUNDS_MOST && !late;
    duo_meet(duo);
    return duo->page->go_on;
}

static struct round one_round(struct duo *duo, const struct duo_steps *steps, void *user) {
    uint64_t *lost = duo->page->lost, first = preemptions();
    double before = steps->reference(duo, user);
    double value = steps->value(duo, user);
    double after = steps->reference(duo, user);
    lost[duo->side] = preemptions() - first;
    duo_meet(duo);
    bool steady = steps->take == DUO_UNDISTURBED || about(before, after);
    return (struct round){value, (before + after) / 2, steady && !lost[0] && !lost[1]};
}

/* The first round only warms up. */
void duo_alternate(struct duo *duo, const struct duo_steps *steps, void *user) {
    static void (*const take[])(struct bench_result *, struct round *, size_t) = {take_best, take_median,
                                                                                  take_undisturbed};
    struct round rounds[BENCH_ROUNDS_MOST];
    int64_t begin = now_ns();
    size_t count = 0, steady = 0;
    steps->reference(duo, user);
    steps->value(duo, user);
    while (another_round(duo, count, steady, begin)) {
        rounds[count] = one_round(duo, steps, user);
        steady += steps->take == DUO_MEDIAN || rounds[count].counts;
        count++;
        if (steps->also) steps->also(duo, user);
    }
    if (duo->side == 0) take[steps->take](&duo->page->result, rounds, count);
}

struct bench_result duo_alternate_aside(struct duo *duo, const struct duo_steps *steps, void *user) {
    struct bench_result before = duo->page->result, found;
    duo_alternate(duo, steps, user);
    found = duo->page->result;
    if (duo->side == 0) duo->page->result = before;
    return found;
}

/* ---- time --------------------------------------------------------------------------------- */

uint64_t duo_ticks(void) {
#if defined __x86_64__
    return __builtin_ia32_rdtsc();
#else
    return (uint64_t)now_ns();
#endif
}

double duo_ns_per_tick(void) {
    int64_t begin = now_ns(), end;
    uint64_t ticks = duo_ticks();
    do end = now_ns();
    while (end - begin < LW_MS(20));
    return (double)(end - begin) / (double)(duo_ticks() - ticks);
}
