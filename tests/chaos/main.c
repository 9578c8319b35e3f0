/* SPDX-License-Identifier: MIT */
/*
 * chaos/main.c - writers and readers on one shared topic, and links beside them, killed and stopped at random for some
 * seconds. Prints the seed first, and last what happened in a line of each. Exits 1 when something is wrong: then it says
 * what, and the bus stays.
 */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "chaos/chaos.h"

static const char usage[] =
    "Usage: chaos [OPTION...]\n"
    "Writers and readers on one topic, and links; one of them is killed every few milliseconds.\n"
    "  --seconds N   how long (120)\n"
    "  --writers N   up to 32 (8)\n"
    "  --readers N   up to 32 (8)\n"
    "  --ring BYTES  a power of two from 65536 (random, up to 1 MiB)\n"
    "  --every MS    a kill or stop so often, on average (4)\n"
    "  --links N     pairs of client and server over shared memory, up to 16 with the next (0)\n"
    "  --tcp N       the same over TCP, through a proxy that cuts (0)\n"
    "  --break MS    a kill, stop, restart or cut of links so often, on average (1000)\n"
    "  --seed N      repeats a run's choices, not its timing\n"
    "  --dir DIR     where to make the bus (TMPDIR, or /dev/shm)\n";

struct options {
    int64_t seconds;
    uint32_t every, breaks;
    const char *dir;
};

/* ---- options ----------------------------------------------------------------------------------------------------- */

static int read_number(const char *text, uint64_t least, uint64_t most, uint64_t *number) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 0);
    if (errno || *end || end == text || n < least || n > most) {
        fprintf(stderr, "chaos: %s: give a number from %llu to %llu\n", text, (unsigned long long)least,
                (unsigned long long)most);
        return -1;
    }
    *number = n;
    return 0;
}

static int read_option(int letter, struct options *opt, struct ledger *ledger) {
    uint64_t n = 0;
    switch (letter) {
    case 't':
        return read_number(optarg, 1, 1000000, &n) ? -1 : (opt->seconds = (int64_t)n, 0);
    case 'w':
        return read_number(optarg, 1, WRITERS_MAX, &n) ? -1 : (ledger->writers = (uint32_t)n, 0);
    case 'r':
        return read_number(optarg, 1, READERS_MAX, &n) ? -1 : (ledger->readers = (uint32_t)n, 0);
    case 'b':
        if (read_number(optarg, 65536, 1 << 30, &n)) return -1;
        if (n & (n - 1)) return fprintf(stderr, "chaos: %s is no power of two\n", optarg), -1;
        return ledger->ring = n, 0;
    case 'e':
        return read_number(optarg, 1, 10000, &n) ? -1 : (opt->every = (uint32_t)n, 0);
    case 'l':
        return read_number(optarg, 0, PAIRS_MAX / 2, &n) ? -1 : (ledger->links = (uint32_t)n, 0);
    case 'c':
        return read_number(optarg, 0, PAIRS_MAX / 2, &n) ? -1 : (ledger->tcp = (uint32_t)n, 0);
    case 'k':
        return read_number(optarg, 1, 100000, &n) ? -1 : (opt->breaks = (uint32_t)n, 0);
    case 's':
        return read_number(optarg, 0, UINT64_MAX, &ledger->seed);
    case 'd':
        return opt->dir = optarg, 0;
    default:
        return fputs(usage, letter == 'h' ? stdout : stderr), letter == 'h' ? 1 : -1;
    }
}

/* 0; 1: help was asked for; -1. */
static int read_options(int argc, char **argv, struct options *opt, struct ledger *ledger) {
    static const struct option known[] = {
        {"seconds", 1, NULL, 't'}, {"writers", 1, NULL, 'w'}, {"readers", 1, NULL, 'r'}, {"ring", 1, NULL, 'b'},
        {"every", 1, NULL, 'e'},   {"seed", 1, NULL, 's'},    {"links", 1, NULL, 'l'},   {"tcp", 1, NULL, 'c'},
        {"break", 1, NULL, 'k'},   {"dir", 1, NULL, 'd'},     {"help", 0, NULL, 'h'},    {NULL, 0, NULL, 0}};
    int letter, rc = 0;
    while (!rc && (letter = getopt_long(argc, argv, "", known, NULL)) != -1) rc = read_option(letter, opt, ledger);
    if (!rc && optind < argc) return fputs(usage, stderr), -1;
    return rc;
}

/* ---- the cast ---------------------------------------------------------------------------------------------------- */

static void cast(struct ledger *ledger) {
    static const enum kind kinds[] = {DURABLE, LOSSY, LAGGING, RELIABLE, DURABLE, LOSSY, LAGGING, DURABLE};
    uint32_t n = 0;
    for (uint32_t i = 0; i < ledger->writers; i++) ledger->actor[n++] = (struct actor){.role = WRITER, .index = i};
    for (uint32_t i = 0; i < ledger->readers; i++)
        ledger->actor[n++] = (struct actor){.role = READER, .index = i, .kind = kinds[i % 8]};
    ledger->actor[n++] = (struct actor){.role = LOOKER};
    ledger->actors = n;
    links_cast(ledger);
    ledger->alone = NOBODY;
}

static int make_dir(struct ledger *ledger, const char *in) {
    if (!in) in = getenv("TMPDIR");
    if (!in) in = "/dev/shm";
    int n = snprintf(ledger->dir, sizeof ledger->dir, "%s/laneway-chaos-XXXXXX", in);
    if (n < (int)sizeof ledger->dir - 8 && mkdtemp(ledger->dir)) {
        snprintf(ledger->far, sizeof ledger->far, "%.*s/far", n, ledger->dir);
        strcat(ledger->dir, "/bus");
        return 0;
    }
    fprintf(stderr, "chaos: making a directory in %s: %s\n", in, strerror(errno));
    return -1;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static void remove_dir(struct ledger *ledger) {
    ledger->dir[strlen(ledger->dir) - strlen("/bus")] = 0;
    nftw(ledger->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- the summary ------------------------------------------------------------------------------------------------- */

/* `when`: "" at the end. */
static void report(const struct herd *herd, const char *when) {
    const struct ledger *ledger = herd->ledger;
    uint64_t messages = 0, bytes = 0, gaps = 0, evictions = 0, told = 0, held = 0;
    uint64_t kills = 0, stops = 0;
    for (uint32_t i = 0; i < ledger->first_link; i++) {
        const struct actor *a = &ledger->actor[i];
        kills += herd->animal[i].kills;
        stops += herd->animal[i].stops;
        messages += a->role == WRITER ? a->messages : 0;
        bytes += a->role == WRITER ? a->bytes : 0;
        gaps += a->gaps;
        evictions += a->evictions;
        told += a->told;
        held += a->held;
    }
    if (held) printf("chaos: %llu names of the dead looked held for a moment\n", (unsigned long long)held);
    printf("chaos%s: %llu messages, %.1f MB, %llu kills, %llu stops, %llu evictions, %llu gaps (%llu messages told), "
           "%llu lost, %llu repeated, %llu reordered\n",
           when, (unsigned long long)messages, (double)bytes / 1e6, (unsigned long long)kills,
           (unsigned long long)stops, (unsigned long long)evictions, (unsigned long long)gaps, (unsigned long long)told,
           (unsigned long long)ledger->lost, (unsigned long long)ledger->repeated,
           (unsigned long long)ledger->reordered);
    fflush(stdout);
    if (!messages || !herd->kills) complain(herd->ledger, "nothing happened");
    links_report(herd, when);
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static uint32_t any(struct herd *herd) {
    return dice(&herd->dice, herd->ledger->first_link);
}

static void hurt_one(struct herd *herd) {
    struct dice *d = &herd->dice;
    uint32_t what = dice(d, 16);
    if (what == 0)
        herd_stop(herd, any(herd), LW_MS(dice(d, dice(d, 4) ? 30 : 200)));
    else
        herd_kill(herd, any(herd));
}

/* One writer alone: the lock comes to be biased towards it. Then the others come back: while it runs, right after it
 * died, or while it is stopped, perhaps in the midst of a send. */
static int64_t change_phase(struct herd *herd) {
    struct dice *d = &herd->dice;
    struct ledger *ledger = herd->ledger;
    int alone = atomic_load(&ledger->alone);
    if (alone == NOBODY) {
        atomic_store(&ledger->alone, (int)dice(d, ledger->writers));
        return LW_MS(dice_between(d, 10, 120));
    }
    uint32_t how = dice(d, 3);
    if (how == 1) herd_kill(herd, (uint32_t)alone);
    if (how == 2) herd_stop(herd, (uint32_t)alone, LW_MS(dice_between(d, 5, 100)));
    atomic_store(&ledger->alone, NOBODY);
    return LW_MS(dice_between(d, 5, 150));
}

/* When something is due that happens so often on average. */
static int64_t in_about(struct herd *herd, uint32_t ms) {
    return now() + (int64_t)dice(&herd->dice, 2 * ms * 1000) * 1000;
}

static bool be_calm(struct herd *herd, double part) {
    if (!herd_calm(herd)) return false;
    witnesses_look(herd, part);
    return true;
}

static bool run(struct herd *herd, const struct options *opt) {
    int64_t begin = now(), end = begin + LW_SEC(opt->seconds), hurt = 0, phase = 0, calm = 0;
    int64_t tell = begin + LW_SEC(600), broken = herd->ledger->links + herd->ledger->tcp ? 0 : INT64_MAX;
    bool fine = true;
    for (int64_t t = begin; fine && t < end; t = now()) {
        if (t >= hurt) {
            hurt_one(herd);
            hurt = in_about(herd, opt->every);
        }
        if (t >= broken) {
            links_hurt(herd);
            broken = in_about(herd, opt->breaks);
        }
        if (t >= phase) phase = now() + change_phase(herd);
        fine = herd_look(herd);
        if (fine && t >= calm) {
            fine = be_calm(herd, (double)(t - begin) / (double)(end - begin));
            calm = in_about(herd, 2000);
        }
        if (t >= tell) {
            tell += LW_SEC(600);
            report(herd, " so far");
        }
        nap(LW_MS(1) / 5);
    }
    witnesses_look(herd, 1);
    return fine;
}

static bool is_over(const struct herd *herd, enum role role) {
    for (uint32_t i = 0; i < herd->ledger->actors; i++)
        if (herd->ledger->actor[i].role == role && herd->animal[i].pid) return false;
    return true;
}

/* Some writers end in order, some are killed, and what they leave is for the end. */
static bool finish_writers(struct herd *herd) {
    struct ledger *ledger = herd->ledger;
    atomic_store(&ledger->alone, NOBODY);
    for (uint32_t i = 0; i < ledger->actors; i++) herd_go_on(herd, i);
    for (uint32_t i = 0; i < ledger->writers; i++)
        if (dice(&herd->dice, 2)) herd_kill(herd, i);
    atomic_store(&ledger->stage, FINISH);
    bool fine = true;
    while (fine && !(is_over(herd, WRITER) && is_over(herd, LOOKER))) {
        fine = herd_look(herd);
        nap(LW_MS(1));
    }
    return fine;
}

static bool everybody_reads(const struct herd *herd) {
    for (uint32_t i = 0; i < herd->ledger->actors; i++)
        if (herd->ledger->actor[i].role == READER && !herd->animal[i].pid) return false;
    return true;
}

/* Readers without a name may leave their slots to the end; the others read all there is. */
static bool finish_readers(struct herd *herd) {
    struct ledger *ledger = herd->ledger;
    bool fine = true;
    while (fine && !everybody_reads(herd)) fine = herd_look(herd);
    atomic_store(&ledger->stage, DRAIN);
    for (uint32_t i = 0; i < ledger->actors; i++) {
        enum kind kind = ledger->actor[i].kind;
        if (ledger->actor[i].role == READER && (kind == RELIABLE || kind == LOSSY)) herd_kill(herd, i);
    }
    while (fine && !herd_is_over(herd)) {
        fine = herd_look(herd);
        nap(LW_MS(1));
    }
    return fine;
}

/* ---- the end -------------------------------------------------------------------------------------------------------- */

static int judge(struct herd *herd) {
    struct ledger *ledger = herd->ledger;
    uint32_t n = ledger->complaints;
    for (uint32_t i = 0; i < n && i < COMPLAINTS_MAX; i++) fprintf(stderr, "chaos: %s\n", ledger->complaint[i]);
    if (!n) {
        remove_dir(ledger);
        return 0;
    }
    herd_describe(herd);
    fprintf(stderr, "chaos: %u complaints; the bus is %s\n", n, ledger->dir);
    return 1;
}

int main(int argc, char **argv) {
    static struct herd herd;
    struct options opt = {.seconds = 120, .every = 4, .breaks = 1000};
    struct ledger *ledger = ledger_make();
    if (!ledger) return perror("chaos: ledger"), 1;
    ledger->pid = (int)getpid();
    ledger->writers = ledger->readers = 8;
    if (getrandom(&ledger->seed, 4, 0) < 0) ledger->seed = (uint64_t)now();
    int rc = read_options(argc, argv, &opt, ledger);
    if (rc) return rc < 0 ? 2 : 0;
    herd.ledger = ledger;
    herd.dice.state = ledger->seed;
    if (!ledger->ring) ledger->ring = UINT64_C(65536) << dice(&herd.dice, 5);
    cast(ledger);
    if (make_dir(ledger, opt.dir)) return 1;
    printf("chaos: --seed %llu --writers %u --readers %u --ring %llu --links %u --tcp %u\n",
           (unsigned long long)ledger->seed, ledger->writers, ledger->readers, (unsigned long long)ledger->ring,
           ledger->links, ledger->tcp);
    fflush(stdout);
    verdict_prepare(ledger);
    bool fine = !ledger->complaints && run(&herd, &opt) && finish_writers(&herd) && finish_readers(&herd);
    herd_end(&herd);
    if (fine) links_verdict(ledger);
    if (fine) verdict_end(ledger);
    report(&herd, "");
    return judge(&herd);
}
