/* SPDX-License-Identifier: MIT */
/* util/step.c - see step.h. */
#include "util/step.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

struct task {
    void (*prepare)(void *);
    void (*operate)(void *);
    void *arg;
};

/* Bare, so that few instructions lie between the operation and the stop, under sanitizers too. */
static void stop_here(void) {
    syscall(SYS_tgkill, getpid(), getpid(), SIGSTOP);
}

static int run(void *arg) {
    const struct task *t = arg;
    if (t->prepare) t->prepare(t->arg);
    T_NEED(!ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    stop_here();
    t->operate(t->arg);
    stop_here();
    return 0;
}

/* Waits for its next stop: the signal. */
static int next_stop(struct t_step *step) {
    int status;
    pid_t pid;
    do pid = waitpid(step->child.pid, &status, __WALL);
    while (pid < 0 && errno == EINTR);
    if (pid < 0) fail_msg("stepping: %s", strerror(errno));
    if (!WIFSTOPPED(status)) fail_msg("the child failed after %llu steps", (unsigned long long)step->steps);
    return WSTOPSIG(status);
}

static void go_on(struct t_step *step, enum __ptrace_request how) {
    if (ptrace(how, step->child.pid, NULL, NULL)) fail_msg("ptrace: %s", strerror(errno));
}

/* On one processor: a step is three times as fast when none has to be woken. Children inherit that. As long as any is
 * stepped. */
static void share_a_processor(bool share) {
    static cpu_set_t all;
    static bool known;
    static unsigned stepped;
    cpu_set_t one;
    if (share ? stepped++ : stepped && --stepped) return;
    if (!known) known = !sched_getaffinity(0, sizeof all, &all);
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    if (known) sched_setaffinity(0, sizeof all, share ? &one : &all);
}

struct t_step t_step_begin(void (*prepare)(void *arg), void (*operate)(void *arg), void *arg) {
    struct task task = {prepare, operate, arg};
    share_a_processor(true);
    struct t_step step = {.child = t_fork(run, &task)};
    if (next_stop(&step) != SIGSTOP) fail_msg("the child did not stop");
    return step;
}

bool t_step_on(struct t_step *step) {
    go_on(step, PTRACE_SINGLESTEP);
    step->steps++;
    int signal = next_stop(step);
    if (signal != SIGTRAP && signal != SIGSTOP)
        fail_msg("signal %d after %llu steps", signal, (unsigned long long)step->steps);
    return signal == SIGTRAP;
}

void t_step_finish(struct t_step *step) {
    go_on(step, PTRACE_CONT);
    int signal = next_stop(step);
    if (signal != SIGSTOP) fail_msg("signal %d while it ran on", signal);
}

void t_step_end(struct t_step *step) {
    if (step->child.pid) t_kill(&step->child);
    share_a_processor(false);
}

/* ---- points ------------------------------------------------------------------------------------------------------ */

#ifdef __x86_64__
static uint64_t address_of(const struct t_step *step) {
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, step->child.pid, NULL, &regs)) fail_msg("ptrace: %s", strerror(errno));
    return regs.rip;
}

static void go_back_to(const struct t_step *step, uint64_t address) {
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, step->child.pid, NULL, &regs)) fail_msg("ptrace: %s", strerror(errno));
    regs.rip = address;
    if (ptrace(PTRACE_SETREGS, step->child.pid, NULL, &regs)) fail_msg("ptrace: %s", strerror(errno));
}

static long swap_code(const struct t_step *step, uint64_t address, long code) {
    void *at = (void *)(uintptr_t)address;
    long old = ptrace(PTRACE_PEEKTEXT, step->child.pid, at, NULL);
    if (ptrace(PTRACE_POKETEXT, step->child.pid, at, (void *)code)) fail_msg("ptrace: %s", strerror(errno));
    return old;
}

/* A breakpoint there; over it as often as is wanted. */
bool t_step_to(struct t_step *step, const struct t_point *point) {
    long code = ptrace(PTRACE_PEEKTEXT, step->child.pid, (void *)(uintptr_t)point->address, NULL);
    uint64_t hits = address_of(step) == point->address;
    while (hits < point->hit) {
        if (hits && !t_step_on(step)) return false; /* off the place where it stands */
        swap_code(step, point->address, (long)(((unsigned long)code & ~0xfful) | 0xcc));
        go_on(step, PTRACE_CONT);
        int signal = next_stop(step);
        swap_code(step, point->address, code);
        if (signal != SIGTRAP) return false;
        go_back_to(step, point->address);
        hits++;
    }
    return true;
}
#else
static uint64_t address_of(const struct t_step *step) {
    return step->steps; /* every step is a place of its own */
}

bool t_step_to(struct t_step *step, const struct t_point *point) {
    while (step->steps < point->n)
        if (!t_step_on(step)) return false;
    return true;
}
#endif

struct trace {
    struct t_point *at; /* every instruction */
    uint64_t count;
};

static int by_address(const void *a, const void *b) {
    const struct t_point *x = a, *y = b;
    if (x->address != y->address) return x->address < y->address ? -1 : 1;
    return x->n < y->n ? -1 : x->n > y->n;
}

/* Is the next instruction a system call? */
#ifdef __x86_64__
static bool is_call(const struct t_step *step) {
    void *at = (void *)(uintptr_t)address_of(step);
    return (ptrace(PTRACE_PEEKTEXT, step->child.pid, at, NULL) & 0xffff) == 0x050f;
}

/* An instruction that repeats itself (rep stos, rep movs) is stepped byte by byte. True: it is such a one, and over now. */
static bool end_repeat(struct t_step *step) {
    uint64_t address = address_of(step);
    uint64_t code = (uint64_t)ptrace(PTRACE_PEEKTEXT, step->child.pid, (void *)(uintptr_t)address, NULL);
    unsigned size = (code >> 8 & 0xff) == 0x48 ? 3 : 2, what = (unsigned)(code >> 8 * (size - 1)) & 0xfe;
    if ((code & 0xff) != 0xf3 || (what != 0xa4 && what != 0xaa)) return false;
    long next = swap_code(step, address + size, 0);
    swap_code(step, address + size, (long)(((unsigned long)next & ~0xfful) | 0xcc));
    go_on(step, PTRACE_CONT);
    int signal = next_stop(step);
    swap_code(step, address + size, next);
    if (signal != SIGTRAP) fail_msg("signal %d in the midst of an instruction", signal);
    go_back_to(step, address + size);
    step->steps++;
    return true;
}
#else
static bool end_repeat(struct t_step *step) {
    (void)step;
    return false;
}

static bool is_call(const struct t_step *step) {
    (void)step;
    return true;
}
#endif

static struct trace trace(void (*prepare)(void *), void (*operate)(void *), void *arg, uint64_t most) {
    struct trace t = {.at = malloc(most * sizeof *t.at)};
    struct t_step step = t_step_begin(prepare, operate, arg);
    T_NEED(t.at);
    do t.at[t.count++] = (struct t_point){.n = step.steps, .address = address_of(&step)};
    while (t.count < most && t_step_on(&step));
    t_step_end(&step);
    qsort(t.at, t.count, sizeof *t.at, by_address);
    for (uint64_t i = 0; i < t.count; i++)
        t.at[i].hit = i && t.at[i - 1].address == t.at[i].address ? t.at[i - 1].hit + 1 : 1;
    return t;
}

static int by_count(const void *a, const void *b) {
    const struct t_point *x = a, *y = b;
    return x->n < y->n ? -1 : x->n > y->n;
}

/* How often the instruction of each point was run before: all that were run are in `seen`. */
static void count_hits(struct trace *seen, struct t_point *points, uint64_t count) {
    qsort(seen->at, seen->count, sizeof *seen->at, by_address);
    for (uint64_t i = 0; i < seen->count; i++)
        seen->at[i].hit = i && seen->at[i - 1].address == seen->at[i].address ? seen->at[i - 1].hit + 1 : 1;
    qsort(seen->at, seen->count, sizeof *seen->at, by_count);
    for (uint64_t i = 0; i < count; i++) points[i] = seen->at[points[i].n];
}

uint64_t t_step_changes(void (*prepare)(void *), void (*operate)(void *), void *arg, void (*before)(bool call),
                        bool (*changed)(bool call), struct t_point *points, uint64_t room, uint64_t *steps) {
    enum { MOST = 1 << 20, REPEATED = 64 };
    struct trace seen = {.at = malloc(MOST * sizeof *seen.at)};
    struct t_step step = t_step_begin(prepare, operate, arg);
    uint64_t count = 0, same = 0;
    T_NEED(seen.at);
    for (bool more = true, news = true; more && seen.count < MOST;) {
        seen.at[seen.count++] = (struct t_point){.n = step.steps, .address = address_of(&step)};
        if (news && count < room) points[count++].n = step.steps;
        bool call = is_call(&step);
        before(call);
        same = seen.count > 1 && seen.at[seen.count - 2].address == seen.at[seen.count - 1].address ? same + 1 : 0;
        more = (same > REPEATED && end_repeat(&step)) || t_step_on(&step);
        news = changed(call);
    }
    t_step_end(&step);
    *steps = seen.count;
    count_hits(&seen, points, count);
    free(seen.at);
    return count;
}

uint64_t t_step_points(void (*prepare)(void *), void (*operate)(void *), void *arg, uint64_t most,
                       struct t_point *points, uint64_t room) {
    struct trace t = trace(prepare, operate, arg, most);
    uint64_t count = 0;
    for (uint64_t i = 0; i < t.count; i++) {
        bool last = i + 1 == t.count || t.at[i + 1].address != t.at[i].address;
        if (t.at[i].hit > 2 && !last) continue;
        uint64_t place = count < room ? count : t_random() % (count + 1); /* too many: all alike likely */
        if (place < room) points[place] = t.at[i];
        count++;
    }
    free(t.at);
    return count < room ? count : room;
}

struct t_point t_step_before(void (*prepare)(void *), void (*operate)(void *), void *arg, bool (*happened)(void)) {
    enum { MOST = 1 << 21 };
    uint64_t *all = malloc(MOST * sizeof *all), count = 0;
    struct t_step step = t_step_begin(prepare, operate, arg);
    T_NEED(all);
    do all[count++] = address_of(&step);
    while (count < MOST && t_step_on(&step) && !happened());
    if (!happened()) fail_msg("it did not happen in %llu instructions", (unsigned long long)count);
    t_step_end(&step);
    struct t_point point = {.n = count - 1, .address = all[count - 1]};
    for (uint64_t i = 0; i < count; i++) point.hit += all[i] == point.address;
    free(all);
    return point;
}

static int be_traced(void *arg) {
    (void)arg;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) return 1;
    stop_here();
    return 0;
}

void t_skip_without_ptrace(const char *name) {
    struct t_child child = t_fork(be_traced, NULL);
    int status;
    bool may = waitpid(child.pid, &status, __WALL) == child.pid && WIFSTOPPED(status);
    may = may && !ptrace(PTRACE_SINGLESTEP, child.pid, NULL, NULL);
    may = may && waitpid(child.pid, &status, __WALL) == child.pid && WIFSTOPPED(status);
    if (may) t_kill(&child);
    if (!may) t_skip(name, "needs the right to trace processes (ptrace)");
}
