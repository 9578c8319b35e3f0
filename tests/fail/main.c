/* SPDX-License-Identifier: MIT */
/*
 * fail/main.c - runs the scenarios: each call that the library makes fails once, in each of its ways, or stays so, or is
 * the process's last.
 *
 *     fail [--kinds once,stays,at,after] [--only PATTERN] [--every K] [--from N] [--to N]
 *     fail [--kinds ...] [--only PATTERN] --seconds S [--seed N]     as many as there is time for, at random
 *     fail --list | --calls
 *     fail --act SCENARIO DIR       prepares it and runs it once: for strace to interfere with
 *     fail --recover SCENARIO DIR   and once more, after it was killed
 *
 * A run is a process, so that a crash, a hang, and what it leaves behind are its own. It says what was made to fail
 * where (addr2line -e fail ADDRESS).
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fail/run.h"
#include "util/util.h"

enum { PATIENCE = 100, MANY = 25 }; /* seconds a run may take on any machine; failures that are shown */

static const char *const kinds[SHIM_KINDS] = {"once", "stays", "at", "after"};

static struct how {
    uint64_t every, from, to, seconds;
    bool kinds[SHIM_KINDS];
    const char *only;
} how = {.every = 1, .from = 1, .to = UINT64_MAX, .only = "*"};

const struct scenario *const scenarios[] = {topic_scenarios, group_scenarios, admin_scenarios,
                                            fork_scenarios,  link_scenarios,  NULL};

static unsigned failures;
static uint64_t runs, most; /* calls of a run of the scenario in which none fails */

/* ---- one process ------------------------------------------------------------------------------------------------- */

static struct ledger *open_ledger(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    NEED(fd >= 0 && !ftruncate(fd, sizeof(struct ledger)));
    struct ledger *l = mmap(NULL, sizeof *l, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEED(l != MAP_FAILED);
    close(fd);
    return l;
}

/* Mappings of files of the bus. */
static int count_maps(void) {
    char line[1024];
    int n = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    NEED(maps);
    while (fgets(line, sizeof line, maps)) n += strstr(line, run.dir) != NULL;
    fclose(maps);
    return n;
}

static void act(const struct scenario *s, const struct shim_plan *plan, struct shim_report *report) {
    shim_begin(plan, report);
    run.strict = !plan->n;
    s->act();
    shim_calm();
}

static void nothing_is_kept(int descriptors) {
    unsigned kept = shim_kept();
    if (kept) FAILED("%u pieces of memory or mappings are kept", kept);
    if (t_descriptors() != descriptors) FAILED("%d descriptors, there were %d", t_descriptors(), descriptors);
    if (count_maps()) FAILED("%d mappings of the bus are left", count_maps());
}

/* The same again must work, from what the first has left. */
static void again(const struct scenario *s) {
    struct shim_report report;
    int descriptors = t_descriptors();
    act(s, &(struct shim_plan){.n = 0}, &report);
    run.ledger->killed = false;
    nothing_is_kept(descriptors);
    for (int i = 0; i < STREAMS; i++)
        if (!stream_is_complete(&run.ledger->streams[i]))
            FAILED("stream %d: %" PRIu64 " of %" PRIu64 " came", i, run.ledger->streams[i].released,
                   run.ledger->streams[i].sent);
}

static void prepare(const struct scenario *s) {
    static struct shim_report report;
    shim_begin(&(struct shim_plan){.n = 0}, &report);
    run.strict = true;
    if (s->prepare) s->prepare();
}

static void run_once(const struct scenario *s, const struct shim_plan *plan) {
    prepare(s);
    int descriptors = t_descriptors();
    act(s, plan, &run.ledger->report);
    if (plan->n) run.strict = false;
    nothing_is_kept(descriptors);
    again(s);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static int in_child(void (*body)(const struct scenario *, const struct shim_plan *), const struct scenario *s,
                    const struct shim_plan *plan) {
    int status;
    fflush(NULL);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (!pid) {
        alarm(PATIENCE);
        body(s, plan);
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0) NEED(errno == EINTR);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void recover(const struct scenario *s, const struct shim_plan *plan) {
    (void)plan;
    run.ledger->killed = true;
    again(s);
}

static void make_dir(const struct scenario *s, char dir[T_PATH]) {
    if (s->disk) {
        snprintf(dir, T_PATH, "/var/tmp/laneway-test-XXXXXX");
        NEED(mkdtemp(dir));
    } else {
        t_dir_make(dir);
    }
    snprintf(run.dir, sizeof run.dir, "%.200s/bus", dir);
}

/* False: it was not carried out, all calls were made. */
static bool try_plan(const struct scenario *s, const struct shim_plan *plan, uint32_t *variants) {
    char dir[T_PATH], path[T_PATH + 8];
    make_dir(s, dir);
    snprintf(path, sizeof path, "%s/ledger", dir);
    run.ledger = open_ledger(path);
    int64_t begin = t_now();
    int status = in_child(run_once, s, plan);
    const struct shim_report *r = &run.ledger->report;
    if (plan->kind >= SHIM_DIE_AT && status == -SIGKILL) status = in_child(recover, s, NULL);
    if (status && failures++ < MANY)
        printf("FAIL %s: %s %s %s, call %" PRIu64 " (--from %" PRIu64 " --kinds %s), at 0x%zx: %s %d\n", s->name,
               kinds[plan->kind], r->name, shim_error(r->error), plan->n, plan->n, kinds[plan->kind], (size_t)r->site,
               status == -SIGALRM ? "hangs, signal"
               : status < 0       ? "signal"
                                  : "status",
               abs(status));
    if (getenv("LW_FAIL_TELL"))
        printf("%s: %" PRIu64 " %s %s: %" PRIu64 " calls, %" PRId64 " ms\n", s->name, plan->n, r->name,
               shim_error(r->error), r->calls, (t_now() - begin) / LW_MS(1));
    runs++;
    if (!plan->n) most = r->calls;
    bool done = r->done;
    *variants = r->variants;
    munmap(run.ledger, sizeof *run.ledger);
    t_dir_remove(dir);
    return done;
}

static void sample(const struct scenario *s, enum shim_kind kind, uint64_t calls, int64_t share) {
    uint32_t variants;
    int64_t end = t_now() + share;
    do {
        uint64_t n = 1 + t_random() % calls, variant = t_random() % SHIM_VARIANTS;
        try_plan(s, &(struct shim_plan){.kind = kind, .n = n, .variant = (uint32_t)variant}, &variants);
    } while (t_now() < end);
}

static void try_all(const struct scenario *s, enum shim_kind kind) {
    uint64_t n = how.from > 1 ? how.from : 1 + t_random() % how.every;
    for (bool more = true; more && n <= how.to; n += how.every) {
        struct shim_plan plan = {.kind = kind, .n = n};
        for (uint32_t variants = 1; plan.variant < variants; plan.variant++)
            more = try_plan(s, &plan, &variants) && more;
    }
}

static unsigned count_scenarios(void) {
    unsigned n = 0;
    for (size_t i = 0; scenarios[i]; i++)
        for (const struct scenario *s = scenarios[i]; s->name; s++) n += !fnmatch(how.only, s->name, 0);
    return n;
}

static void sweep(const struct scenario *s, enum shim_kind kind) {
    int64_t begun = t_now();
    uint64_t before = runs, calls = most;
    if (how.seconds)
        sample(s, kind, calls, LW_SEC((int64_t)how.seconds) / (SHIM_KINDS * count_scenarios()));
    else
        try_all(s, kind);
    printf("%-22s %-6s %5" PRIu64 " calls, %5" PRIu64 " runs, %6.1f s\n", s->name, kinds[kind], calls, runs - before,
           (double)(t_now() - begun) / 1e9);
}

static void sweep_all(void) {
    uint32_t variants;
    for (size_t i = 0; scenarios[i]; i++)
        for (const struct scenario *s = scenarios[i]; s->name; s++) {
            if (fnmatch(how.only, s->name, 0)) continue;
            unsigned before = failures;
            most = 0;
            try_plan(s, &(struct shim_plan){.n = 0}, &variants);
            for (enum shim_kind kind = 0; kind < SHIM_KINDS && (failures == before || how.from > 1); kind++)
                if (how.kinds[kind]) sweep(s, kind);
            printf("%s %s\n", failures == before ? "ok" : "not ok", s->name);
        }
    printf("%" PRIu64 " runs, %u failed\n", runs, failures);
}

/* ---- one for strace ---------------------------------------------------------------------------------------------- */

static const struct scenario *find(const char *name) {
    for (size_t i = 0; scenarios[i]; i++)
        for (const struct scenario *s = scenarios[i]; s->name; s++)
            if (!strcmp(s->name, name)) return s;
    FAILED("no scenario %s", name);
}

static void for_strace(const char *name, const char *dir, bool recovers) {
    const struct scenario *s = find(name);
    char path[T_PATH];
    snprintf(run.dir, sizeof run.dir, "%.200s/bus", dir);
    snprintf(path, sizeof path, "%.200s/ledger", dir);
    run.ledger = open_ledger(path);
    alarm(PATIENCE);
    if (recovers) {
        recover(s, NULL);
        return;
    }
    prepare(s);
    getpgid(-77); /* where the scenario begins, in what strace says */
    act(s, &(struct shim_plan){.n = 0}, &run.ledger->report);
    getpgid(-77);
}

/* ---- the command line -------------------------------------------------------------------------------------------- */

static void read_kinds(const char *list) {
    for (int i = 0; i < SHIM_KINDS; i++) how.kinds[i] = strstr(list, kinds[i]) != NULL;
}

static void list(void) {
    for (size_t i = 0; scenarios[i]; i++)
        for (const struct scenario *s = scenarios[i]; s->name; s++) printf("%s%s\n", s->name, s->disk ? " disk" : "");
}

int main(int argc, char **argv) {
    read_kinds("once,stays,at,after");
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 2 && !strcmp(argv[1], "--calls")) return shim_print_calls(), 0;
    if (argc == 2 && !strcmp(argv[1], "--list")) return list(), 0;
    if (argc == 4 && (!strcmp(argv[1], "--act") || !strcmp(argv[1], "--recover")))
        return for_strace(argv[2], argv[3], argv[1][2] == 'r'), 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t number = strtoull(argv[i + 1], NULL, 0);
        if (!strcmp(argv[i], "--every")) how.every = number ? number : 1;
        if (!strcmp(argv[i], "--from")) how.from = how.to = number;
        if (!strcmp(argv[i], "--to")) how.to = number;
        if (!strcmp(argv[i], "--seconds")) how.seconds = number;
        if (!strcmp(argv[i], "--seed")) setenv("LW_TEST_SEED", argv[i + 1], 1);
        if (!strcmp(argv[i], "--only")) how.only = argv[i + 1];
        if (!strcmp(argv[i], "--kinds")) read_kinds(argv[i + 1]);
    }
    sweep_all();
    return failures != 0;
}
