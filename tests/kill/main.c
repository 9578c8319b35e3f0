/* SPDX-License-Identifier: MIT */
/*
 * kill/main.c - kills, and stops, at every instruction of each operation; prints a line for each and the totals. Exits 1 when
 * something is wrong: then it says which operation and step.
 */
#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "kill/kill.h"

static const char usage[] =
    "Usage: kill [OPTION...]\n"
    "Kills a process at every instruction of an operation, and who recovers from it too; judges what is left.\n"
    "  --list       the operations\n"
    "  --op NAME    only this one, or those that a pattern matches: '@(lane|evict)/*'\n"
    "  --brief      those of a short run\n"
    "  --stride N   every so many states of an operation (1)\n"
    "  --from N     from this instruction on (0); --to N: and before this one\n"
    "  --inner N    of recoveries, kill: 0 none; a lane's at each instruction, others' at so many of each state (4)\n"
    "  --apart N    ... once in so many states (1)\n"
    "  --stop N     stop each operation at so many instructions, too: 0 none (0)\n"
    "  --verbose    how long each kill takes that is one by SIGKILL\n"
    "  --seed N     repeats a run's choices\n";

static struct {
    const char *pattern;
    bool brief, list;
} options;

/* ---- options ----------------------------------------------------------------------------------------------------- */

static int read_number(uint64_t least, uint64_t *number) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(optarg, &end, 0);
    if (errno || *end || end == optarg || n < least) return fprintf(stderr, "kill: %s: no number\n", optarg), -1;
    *number = n;
    return 0;
}

static int read_option(int letter) {
    switch (letter) {
    case 'l':
        return options.list = true, 0;
    case 'o':
        return options.pattern = optarg, 0;
    case 'b':
        return options.brief = true, 0;
    case 'n':
        return read_number(1, &kill_how.stride);
    case 'f':
        return read_number(0, &kill_how.from);
    case 't':
        return read_number(0, &kill_how.to);
    case 'i':
        return read_number(0, &kill_how.inner);
    case 'a':
        return read_number(1, &kill_how.apart);
    case 'p':
        return read_number(0, &kill_how.stops);
    case 'v':
        return kill_how.verbose = true, 0;
    case 's':
        return setenv("LW_TEST_SEED", optarg, 1);
    default:
        return fputs(usage, letter == 'h' ? stdout : stderr), letter == 'h' ? 1 : -1;
    }
}

static int read_options(int argc, char **argv) {
    static const struct option known[] = {{"list", 0, NULL, 'l'},   {"op", 1, NULL, 'o'},      {"brief", 0, NULL, 'b'},
                                          {"stride", 1, NULL, 'n'}, {"from", 1, NULL, 'f'},    {"to", 1, NULL, 't'},
                                          {"inner", 1, NULL, 'i'},  {"apart", 1, NULL, 'a'},   {"stop", 1, NULL, 'p'},
                                          {"seed", 1, NULL, 's'},   {"verbose", 0, NULL, 'v'}, {"help", 0, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    int letter, rc = 0;
    while (!rc && (letter = getopt_long(argc, argv, "", known, NULL)) != -1) rc = read_option(letter);
    if (!rc && optind < argc) return fputs(usage, stderr), -1;
    return rc;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static void add(struct kill_tally *to, const struct kill_tally *more) {
    uint64_t *sum = (uint64_t *)to;
    const uint64_t *each = (const uint64_t *)more;
    for (size_t i = 0; i < sizeof *to / sizeof *sum; i++) sum[i] += each[i];
}

static void print(const char *name, const struct kill_tally *t, int64_t ns) {
    printf("%-34s %8" PRIu64 " %7" PRIu64 " %9" PRIu64 " %8" PRIu64 " %7" PRIu64 "  %" PRIu64 "/%" PRIu64 "/%" PRIu64
           " %6.1f s\n",
           name, t->boundaries, t->states, t->inner_boundaries, t->inner_states, t->stops, t->lost, t->repeated,
           t->reordered, (double)ns / 1e9);
    fflush(stdout);
}

static bool is_wanted(const struct kill_op *op) {
    if (options.brief && !op->brief) return false;
    return !options.pattern || !fnmatch(options.pattern, op->name, FNM_EXTMATCH);
}

static int run(const struct kill_op *op, struct kill_tally *sum) {
    int64_t begin = t_now();
    kill_tally = (struct kill_tally){0};
    int rc = op->run(op);
    print(op->name, &kill_tally, t_now() - begin);
    add(sum, &kill_tally);
    return rc;
}

static int run_all(void) {
    struct kill_tally sum = {0};
    int64_t begin = t_now();
    unsigned count = 0, bad = 0;
    printf("%-34s %8s %7s %9s %8s %7s  lost/repeated/reordered\n", "operation", "bounds", "states", "inner", "states",
           "stops");
    for (const struct kill_op *const *table = kill_tables; *table; table++)
        for (const struct kill_op *op = *table; op->name; op++) {
            if (!is_wanted(op)) continue;
            count++;
            bad += run(op, &sum) != 0;
        }
    print("all", &sum, t_now() - begin);
    printf("kill: %u operations, %" PRIu64 " instructions stepped and %" PRIu64 " of recoveries, %" PRIu64
           " states judged%s; %" PRIu64 " stops; %" PRIu64 " places not come by again; lost %" PRIu64
           ", repeated %" PRIu64 ", reordered %" PRIu64 "; %u operations went wrong\n",
           count, sum.boundaries, sum.inner_boundaries, sum.states + sum.inner_states,
           kill_how.stride > 1 ? " (a sample)" : ", which are all of the operations'", sum.stops, sum.missed, sum.lost,
           sum.repeated, sum.reordered, bad);
    return bad || !count;
}

static int list(void) {
    for (const struct kill_op *const *table = kill_tables; *table; table++)
        for (const struct kill_op *op = *table; op->name; op++) puts(op->name);
    return 0;
}

int main(int argc, char **argv) {
    int rc = read_options(argc, argv);
    if (rc) return rc < 0 ? 2 : 0;
    if (options.list) return list();
    printf("kill: seed %s\n", getenv("LW_TEST_SEED") ? getenv("LW_TEST_SEED") : "(none given)");
    return run_all();
}
