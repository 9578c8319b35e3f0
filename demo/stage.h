/* SPDX-License-Identifier: MIT */
/*
 * demo/stage.h - what all acts of the demo stand on: processes that are started, killed at random and started again,
 * and an end that leaves nothing behind.
 */
#ifndef DEMO_STAGE_H
#define DEMO_STAGE_H

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors.h"

enum {
    CAST_MOST = 16,
    POLL_NS = 200000,
    STALL_S = 20 /* nothing moves for so long: something hangs */
};

/* One that is started, killed and started again. */
struct actor {
    struct part part;
    void (*body)(const struct part *part);
    void (*after_death)(struct actor *actor); /* or NULL */
    const uint64_t *progress;
    pid_t pid; /* 0: does not run */
    bool ended;
    uint64_t born_ns;
    uint64_t early_ns; /* 0, or when to kill this life, wherever it is then */
    uint64_t *points;  /* kill when progress gets here; sorted */
    uint64_t planned;  /* so many points */
    uint64_t next, kills, kills_opening, lives_opened, opening_ns;
};

struct stage {
    uint64_t seed, random;
    bool keep; /* leaves `dir` behind */
    char dir[64];
    char bus[80];
    pid_t self;
    struct input input;
    struct actor *cast[CAST_MOST];
    int cast_count;
    uint64_t moved, moved_ns; /* for the watchdog */
    sigset_t watched, unwatched;
};

static struct stage stage;

/* ---- ending ------------------------------------------------------------------------------------------------------- */

static void stop(struct actor *actor) {
    if (actor->pid <= 0) return;
    kill(actor->pid, SIGKILL);
    waitpid(actor->pid, NULL, 0);
    actor->pid = 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw) {
    (void)status, (void)type, (void)ftw;
    return remove(path);
}

/* At exit, however it comes. */
static void clear_away(void) {
    if (getpid() != stage.self) return;
    for (int i = 0; i < stage.cast_count; i++) stop(stage.cast[i]);
    if (*stage.dir && !stage.keep) nftw(stage.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fputs("demo: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

/* ---- setting up --------------------------------------------------------------------------------------------------- */

static uint64_t dice(uint64_t sides) {
    return mix(stage.seed ^ mix(++stage.random)) % sides;
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* So many moments on the way to `total`. */
static void plan_kills(struct actor *actor, uint64_t kills, uint64_t total) {
    actor->planned = kills;
    actor->points = calloc(kills + 1, sizeof *actor->points);
    if (!actor->points) fail("no memory");
    for (uint64_t i = 0; i < kills; i++) actor->points[i] = total / 100 + dice(total / 100 * 97 + 1);
    qsort(actor->points, kills, sizeof *actor->points, by_size);
}

static void make_actor(struct actor *actor, const char *name, struct notes *notes, void (*body)(const struct part *)) {
    actor->part = (struct part){.name = name, .dir = stage.bus, .notes = notes};
    actor->part.input = &stage.input;
    actor->part.seed = stage.seed;
    actor->body = body;
    stage.cast[stage.cast_count++] = actor;
}

static void *make_ledger(size_t size) {
    void *ledger = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ledger == MAP_FAILED) fail("mmap: %s", strerror(errno));
    return ledger;
}

static void make_place(void) {
    const char *temp = getenv("TMPDIR");
    if (access("/dev/shm", W_OK | X_OK) == 0) temp = "/dev/shm";
    snprintf(stage.dir, sizeof stage.dir, "%s/laneway-demo-XXXXXX", temp && *temp ? temp : "/tmp");
    if (!mkdtemp(stage.dir)) {
        int e = errno;
        *stage.dir = '\0';
        fail("no directory in %s: %s", temp && *temp ? temp : "/tmp", strerror(e));
    }
    snprintf(stage.bus, sizeof stage.bus, "%s/bus", stage.dir);
}

static void watch_signals(void) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    sigemptyset(&stage.watched);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaddset(&stage.watched, signals[i]);
    sigprocmask(SIG_BLOCK, &stage.watched, &stage.unwatched);
    stage.self = getpid();
    atexit(clear_away);
}

/* ---- starting and killing ----------------------------------------------------------------------------------------- */

__attribute__((noreturn)) static void be(const struct actor *actor) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != stage.self) _exit(1);
    sigprocmask(SIG_SETMASK, &stage.unwatched, NULL);
    actor->body(&actor->part);
    _exit(0);
}

/* Every third life is short: the kill may come while it opens. */
static void start(struct actor *actor) {
    actor->part.life++;
    actor->born_ns = now_ns();
    actor->early_ns = actor->next < actor->planned && dice(3) == 0 ? actor->born_ns + dice(3000000) : 0;
    actor->pid = fork();
    if (actor->pid == 0) be(actor);
    if (actor->pid < 0) fail("fork: %s", strerror(errno));
}

static bool is_open(const struct actor *actor) {
    return note_get(&actor->part.notes->ready) == actor->part.life;
}

static void count_death(struct actor *actor) {
    actor->pid = 0;
    if (is_open(actor)) {
        actor->lives_opened++;
        actor->opening_ns += actor->part.notes->ready_ns - actor->born_ns;
    }
    if (actor->after_death) actor->after_death(actor);
}

/* By itself, and well? Not by our SIGKILL then. */
static bool actor_ended(struct actor *actor, int status) {
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return false;
    if (WIFSIGNALED(status)) fail("%s died of signal %d", actor->part.name, WTERMSIG(status));
    if (WEXITSTATUS(status)) fail("%s gave up: %s", actor->part.name, actor->part.notes->trouble);
    actor->ended = true;
    return true;
}

static void kill_one(struct actor *actor) {
    int status;
    kill(actor->pid, SIGKILL);
    waitpid(actor->pid, &status, 0);
    count_death(actor);
    if (actor_ended(actor, status)) return; /* a moment before */
    actor->kills++;
    actor->kills_opening += !is_open(actor);
    start(actor);
}

static bool is_past_point(const struct actor *actor) {
    return actor->next < actor->planned && note_get(actor->progress) >= actor->points[actor->next];
}

static void kill_if_due(struct actor *actor) {
    bool early = actor->early_ns && now_ns() >= actor->early_ns, past = is_past_point(actor);
    if (!actor->pid || !(early || past)) return;
    actor->next += past;
    kill_one(actor);
}

static void look_for_end(struct actor *actor) {
    int status;
    if (!actor->pid || waitpid(actor->pid, &status, WNOHANG) != actor->pid) return;
    count_death(actor);
    if (!actor_ended(actor, status)) fail("%s was killed by somebody else", actor->part.name);
}

/* Whoever is to get to a point of `actor` waits a little behind it until the kill was done: so each of them happens,
 * however slow this machine is. */
static uint64_t gate_of(const struct actor *actor, uint64_t gate, uint64_t slack) {
    if (actor->next == actor->planned) return gate;
    uint64_t point = actor->points[actor->next] + slack;
    return point < gate ? point : gate;
}

/* ---- waiting ------------------------------------------------------------------------------------------------------ */

/* True: nothing has moved for too long. */
static bool has_stalled(uint64_t moved) {
    uint64_t now = now_ns();
    if (moved != stage.moved || !stage.moved_ns) {
        stage.moved = moved;
        stage.moved_ns = now;
    }
    return now - stage.moved_ns > (uint64_t)STALL_S * 1000000000;
}

/* Is it time for another line of progress? */
static bool is_time_to_show(void) {
    static uint64_t shown_ns;
    uint64_t now = now_ns();
    if (!isatty(STDERR_FILENO) || now - shown_ns < 100000000) return false;
    shown_ns = now;
    return true;
}

static void clear_progress(void) {
    if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
}

/* Sleeps a moment. Ends the demo when the user wants that. */
static void sleep_and_hear(void) {
    const struct timespec moment = {0, POLL_NS};
    int sig = sigtimedwait(&stage.watched, NULL, &moment);
    if (sig <= 0 || sig == SIGCHLD) return;
    clear_progress();
    fputs("demo: interrupted\n", stderr);
    exit(128 + sig);
}

/* ---- what came of it ---------------------------------------------------------------------------------------------- */

struct outcome {
    uint64_t messages, lost, repeated;
    bool good; /* besides */
};

static struct lw_bus *observe(const char *dir) {
    struct lw_bus_options options = LW_BUS_OPTIONS_INIT;
    struct lw_bus *bus;
    options.dir = dir;
    options.flags = LW_BUS_OBSERVE;
    if (lw_bus_open(&bus, &options)) fail("%s", lw_errtext());
    return bus;
}

static void show_kills(const struct actor *actor) {
    double ms = actor->lives_opened ? (double)actor->opening_ns / (double)actor->lives_opened / 1e6 : 0;
    printf("  %-10s killed %" PRIu64 " times, %" PRIu64 " of them while it was opening; back at work after %.1f ms\n",
           actor->part.name, actor->kills, actor->kills_opening, ms);
}

#endif
