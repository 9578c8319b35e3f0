/* SPDX-License-Identifier: MIT */
/*
 * demo/demo.c - `make demo`: real files go through a topic while those who send and receive them are killed.
 *
 * A publisher sends a tar of what is under /usr, in records of mixed sizes, several times over. "archive" is a durable
 * subscriber; "late" is one without a name that joins in the middle. The parent kills the publisher and the archive at
 * random with SIGKILL and starts them again; it decides from their notes (ledger.h, checker.h) what became of the
 * messages. When it ends, no process and no file is left.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors.h"
#include "checker.h"

enum {
    KILLS = 200, /* of each, at points along the way */
    PASSES = 64, /* how often the input is sent */
    POLL_NS = 200000,
    STALL_S = 20 /* nothing moves for so long: something hangs */
};

/* One that is started, killed and started again. */
struct actor {
    struct part part;
    void (*body)(const struct part *part);
    const uint64_t *progress;
    pid_t pid; /* 0: does not run */
    bool ended;
    uint64_t born_ns;
    uint64_t early_ns; /* 0, or when to kill this life, wherever it is then */
    uint64_t *points;  /* kill when progress gets here; sorted */
    uint64_t next, kills, kills_opening, lives_opened, opening_ns;
};

struct demo {
    uint64_t seed, kills, passes, random;
    char dir[64];
    char bus[80];
    pid_t self;
    struct input input;
    struct ledger *ledger;
    struct actor publisher, archive, late;
    struct checker archive_check, late_check;
    uint64_t total, late_at;
    uint64_t vanished, invented; /* messages that the topic had too few or too many of when the publisher came back */
    uint64_t before[2];          /* sent and tried when it died */
    uint16_t resume_checked;     /* the publisher's life for which that was looked at */
    uint64_t begin_ns, end_ns;
    uint64_t moved, moved_ns; /* for the watchdog */
    sigset_t watched, unwatched;
};

static struct demo demo;

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
    if (getpid() != demo.self) return;
    stop(&demo.publisher);
    stop(&demo.archive);
    stop(&demo.late);
    if (*demo.dir) nftw(demo.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
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

/* ---- starting and killing ----------------------------------------------------------------------------------------- */

static uint64_t dice(uint64_t sides) {
    return mix(demo.seed ^ mix(++demo.random)) % sides;
}

__attribute__((noreturn)) static void be(const struct actor *actor) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != demo.self) _exit(1);
    sigprocmask(SIG_SETMASK, &demo.unwatched, NULL);
    actor->body(&actor->part);
    _exit(0);
}

/* Every third life is short: the kill may come while it opens. */
static void start(struct actor *actor) {
    actor->part.life++;
    actor->born_ns = now_ns();
    actor->early_ns = actor->next < demo.kills && dice(3) == 0 ? actor->born_ns + dice(3000000) : 0;
    actor->pid = fork();
    if (actor->pid == 0) be(actor);
    if (actor->pid < 0) fail("fork: %s", strerror(errno));
}

static bool is_open(const struct actor *actor) {
    return note_get(&actor->part.notes->ready) == actor->part.life;
}

static void count_life(struct actor *actor) {
    if (!is_open(actor)) return;
    actor->lives_opened++;
    actor->opening_ns += actor->part.notes->ready_ns - actor->born_ns;
}

/* The topic holds what was sent, or that and the call that was under way. */
static void check_resume(void) {
    const struct notes *notes = demo.publisher.part.notes;
    uint16_t life = demo.publisher.part.life;
    if (demo.resume_checked == life || note_get(&notes->ready) != life) return;
    demo.resume_checked = life;
    uint64_t resumed = note_get(&notes->resumed);
    if (resumed < demo.before[0])
        demo.vanished += demo.before[0] - resumed;
    else if (resumed != demo.before[0] && resumed != demo.before[1])
        demo.invented++;
}

static void after_death(struct actor *actor) {
    count_life(actor);
    if (actor == &demo.publisher) {
        check_resume();
        demo.before[0] = note_get(&actor->part.notes->sent);
        demo.before[1] = note_get(&actor->part.notes->tried);
    } else if (actor == &demo.archive) {
        check_death(&demo.archive_check);
    }
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
    actor->pid = 0;
    after_death(actor);
    if (actor_ended(actor, status)) return; /* a moment before */
    actor->kills++;
    actor->kills_opening += !is_open(actor);
    start(actor);
}

static bool is_due(const struct actor *actor) {
    if (!actor->pid) return false;
    if (actor->early_ns && now_ns() >= actor->early_ns) return true;
    return actor->next < demo.kills && note_get(actor->progress) >= actor->points[actor->next];
}

static void kill_if_due(struct actor *actor) {
    if (!is_due(actor)) return;
    if (actor->next < demo.kills && note_get(actor->progress) >= actor->points[actor->next]) actor->next++;
    kill_one(actor);
}

/* The publisher waits for a kill that is due: so each of them happens, however slow this machine is. */
static void move_gate(void) {
    uint64_t gate = demo.total, slack = demo.total / 50 + 1;
    const struct actor *actors[] = {&demo.publisher, &demo.archive};
    for (int i = 0; i < 2; i++) {
        if (actors[i]->next == demo.kills) continue;
        uint64_t point = actors[i]->points[actors[i]->next] + slack;
        if (point < gate) gate = point;
    }
    if (!is_open(&demo.late) && demo.late_at + slack < gate) gate = demo.late_at + slack;
    note_set(&demo.ledger->gate, gate);
}

/* ---- the run ------------------------------------------------------------------------------------------------------ */

static void look_for_end(struct actor *actor) {
    int status;
    if (!actor->pid || waitpid(actor->pid, &status, WNOHANG) != actor->pid) return;
    actor->pid = 0;
    after_death(actor);
    if (!actor_ended(actor, status)) fail("%s was killed by somebody else", actor->part.name);
}

static uint64_t sent(void) {
    return note_get(&demo.ledger->publisher.sent);
}

static void watch_for_stall(void) {
    uint64_t moved =
        sent() + demo.archive_check.next + demo.late_check.next + demo.publisher.kills + demo.archive.kills;
    uint64_t now = now_ns();
    if (moved != demo.moved || !demo.moved_ns) {
        demo.moved = moved;
        demo.moved_ns = now;
    } else if (now - demo.moved_ns > (uint64_t)STALL_S * 1000000000) {
        fail("nothing has moved for %d seconds: %" PRIu64 " sent, archive at %" PRIu64 ", late at %" PRIu64, STALL_S,
             sent(), demo.archive_check.next, demo.late_check.next);
    }
}

static void show_progress(bool last) {
    static uint64_t shown_ns;
    uint64_t now = now_ns();
    if (!isatty(STDERR_FILENO) || (now - shown_ns < 100000000 && !last)) return;
    shown_ns = now;
    if (last)
        fputs("\r\033[K", stderr);
    else
        fprintf(stderr,
                "\r  %3" PRIu64 " %%   %" PRIu64 " messages   publisher killed %" PRIu64 "x, archive %" PRIu64 "x ",
                100 * sent() / demo.total, sent(), demo.publisher.kills, demo.archive.kills);
}

/* Sleeps a moment. Ends the demo when the user wants that. */
static void sleep_and_hear(void) {
    const struct timespec moment = {0, POLL_NS};
    int sig = sigtimedwait(&demo.watched, NULL, &moment);
    if (sig <= 0 || sig == SIGCHLD) return;
    show_progress(true);
    fputs("demo: interrupted\n", stderr);
    exit(128 + sig);
}

static void step(void) {
    check_log(&demo.archive_check);
    check_log(&demo.late_check);
    check_resume();
    look_for_end(&demo.publisher);
    look_for_end(&demo.archive);
    look_for_end(&demo.late);
    kill_if_due(&demo.publisher);
    kill_if_due(&demo.archive);
    if (!demo.late.part.life && sent() >= demo.late_at) start(&demo.late);
    move_gate();
    watch_for_stall();
    show_progress(false);
}

static void run(void) {
    demo.begin_ns = now_ns();
    start(&demo.archive);
    while (!demo.publisher.ended || !demo.archive.ended || !demo.late.ended) {
        if (!demo.publisher.part.life && note_get(&demo.ledger->archive.ready)) start(&demo.publisher);
        step();
        sleep_and_hear();
    }
    demo.end_ns = now_ns();
    show_progress(true);
    check_end(&demo.archive_check, demo.total);
    check_end(&demo.late_check, demo.total);
}

/* ---- setting up --------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t *make_points(void) {
    uint64_t *points = calloc(demo.kills + 1, sizeof *points);
    if (!points) fail("no memory");
    for (uint64_t i = 0; i < demo.kills; i++) points[i] = demo.total / 100 + dice(demo.total / 100 * 97);
    qsort(points, demo.kills, sizeof *points, by_size);
    return points;
}

static void make_actor(struct actor *actor, const char *name, struct notes *notes, void (*body)(const struct part *)) {
    actor->part = (struct part){.name = name, .dir = demo.bus, .ledger = demo.ledger, .notes = notes};
    actor->part.input = &demo.input;
    actor->part.seed = demo.seed;
    actor->part.total = demo.total;
    actor->body = body;
}

static void make_actors(void) {
    make_actor(&demo.publisher, "publisher", &demo.ledger->publisher, be_publisher);
    make_actor(&demo.archive, "archive", &demo.ledger->archive, be_subscriber);
    make_actor(&demo.late, "late", &demo.ledger->late, be_subscriber);
    demo.publisher.points = make_points();
    demo.publisher.progress = &demo.ledger->publisher.sent;
    demo.archive.points = make_points();
    demo.archive.progress = &demo.ledger->archive.released;
    demo.archive.part.durable = "archive";
    demo.archive.part.from = LW_FROM_OLDEST;
    demo.late.part.from = dice(2) ? LW_FROM_OLDEST : LW_FROM_NOW;
    demo.late_at = demo.total / 100 * (30 + dice(40));
    demo.archive_check = (struct checker){.input = &demo.input, .notes = &demo.ledger->archive, .begun = true};
    demo.late_check = (struct checker){.input = &demo.input, .notes = &demo.ledger->late};
}

static void make_place(void) {
    const char *temp = getenv("TMPDIR");
    if (access("/dev/shm", W_OK | X_OK) == 0) temp = "/dev/shm";
    snprintf(demo.dir, sizeof demo.dir, "%s/laneway-demo-XXXXXX", temp && *temp ? temp : "/tmp");
    if (!mkdtemp(demo.dir)) {
        int e = errno;
        *demo.dir = '\0';
        fail("cannot make a directory in %s: %s", temp && *temp ? temp : "/tmp", strerror(e));
    }
    snprintf(demo.bus, sizeof demo.bus, "%s/bus", demo.dir);
    demo.ledger =
        mmap(NULL, sizeof *demo.ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (demo.ledger == MAP_FAILED) fail("mmap: %s", strerror(errno));
}

static void watch_signals(void) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    sigemptyset(&demo.watched);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaddset(&demo.watched, signals[i]);
    sigprocmask(SIG_BLOCK, &demo.watched, &demo.unwatched);
    demo.self = getpid();
    atexit(clear_away);
}

/* ---- what came of it ---------------------------------------------------------------------------------------------- */

static double seconds(void) {
    return (double)(demo.end_ns - demo.begin_ns) / 1e9;
}

static void show_start(void) {
    printf("\n  input      %d MB of files of /usr%s, cut in %" PRIu64 " records of 0 to %d bytes\n",
           INPUT_SIZE / 1000000, demo.input.repeated ? " (some of them twice)" : "", demo.input.count, RECORD_MOST);
    printf("  topic      \"%s\" in %s, a ring of %d KiB\n", TOPIC, demo.bus, RING >> 10);
    fflush(stdout);
}

static void show_sent(void) {
    double mb = INPUT_SIZE / 1e6 * (double)demo.passes;
    printf("  sent       the input %" PRIu64 " times: %" PRIu64
           " messages, %.0f MB in %.1f s, %.0f messages/s, %.0f MB/s\n",
           demo.passes, demo.total, mb, seconds(), (double)demo.total / seconds(), mb / seconds());
}

static void show_kills(const struct actor *actor) {
    double ms = actor->lives_opened ? (double)actor->opening_ns / (double)actor->lives_opened / 1e6 : 0;
    printf("  %-10s killed %" PRIu64 " times, %" PRIu64 " of them while it was opening; back at work after %.1f ms\n",
           actor->part.name, actor->kills, actor->kills_opening, ms);
}

static void show_subscriber(const struct actor *actor, const struct checker *checker, const char *how) {
    printf("  %-10s %s: %" PRIu64 " messages", actor->part.name, how, checker->next - checker->first);
    if (actor->kills) printf(", %" PRIu64 " redelivered (it had not released them)", checker->redelivered);
    putchar('\n');
}

static bool show_sums(const struct actor *actor, const struct checker *checker) {
    uint64_t expected = check_expected(&demo.input, checker->first, demo.total);
    bool equal = expected == checker->sum;
    printf("  checksums  %-7s of what was sent to it %016" PRIx64 ", of what it got %016" PRIx64 ": %s\n",
           actor->part.name, expected, checker->sum, equal ? "equal" : "DIFFERENT");
    return equal;
}

static bool verify(void) {
    struct lw_bus_options options = LW_BUS_OPTIONS_INIT;
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct lw_bus *bus;
    options.dir = demo.bus;
    options.flags = LW_BUS_OBSERVE;
    if (lw_bus_open(&bus, &options)) fail("%s", lw_errtext());
    bool sound = !lw_topic_verify(bus, TOPIC, NULL) && !lw_topic_stat(bus, TOPIC, &info) && info.number == demo.total;
    if (!sound) printf("  topic      NOT SOUND: %s\n\n", lw_errtext());
    lw_bus_close(bus);
    return sound;
}

static bool show_end(void) {
    const struct checker *archive = &demo.archive_check, *late = &demo.late_check;
    uint64_t order = archive->out_of_order + late->out_of_order + demo.invented;
    uint64_t corrupt = archive->corrupt + late->corrupt;
    uint64_t lost = archive->lost + late->lost + demo.vanished, repeated = archive->repeated + late->repeated;
    char joined[96];
    show_sent();
    show_kills(&demo.publisher);
    show_kills(&demo.archive);
    show_subscriber(&demo.archive, archive, "durable");
    snprintf(joined, sizeof joined, "joined late, from %s, at message %" PRIu64,
             demo.late.part.from == LW_FROM_NOW ? "now" : "the oldest", late->first);
    show_subscriber(&demo.late, late, joined);
    bool good = show_sums(&demo.archive, archive);
    good &= show_sums(&demo.late, late);
    printf("  checker    %" PRIu64 " out of order, %" PRIu64 " corrupt\n\n", order, corrupt);
    good &= verify();
    printf("demo: %" PRIu64 " messages, %" PRIu64 " lost, %" PRIu64 " repeated\n", demo.total, lost, repeated);
    return good && !order && !corrupt && !lost && !repeated;
}

/* ---- command line ------------------------------------------------------------------------------------------------- */

static void usage(FILE *to) {
    fprintf(to,
            "usage: demo [--seed N] [--kills N] [--passes N]\n\n"
            "  --seed N    play an earlier run again: the same records, the same moments to kill\n"
            "  --kills N   kill each of the two at least so often (default %d)\n"
            "  --passes N  send the %d MB so many times (default %d)\n",
            KILLS, INPUT_SIZE / 1000000, PASSES);
}

static uint64_t number_of(const char *text) {
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 0);
    if (errno || *end || end == text || *text == '-') {
        usage(stderr);
        exit(2);
    }
    return number;
}

static void read_options(int argc, char **argv) {
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"kills", required_argument, NULL, 'k'},
                                            {"passes", required_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    demo.kills = KILLS;
    demo.passes = PASSES;
    if (getrandom(&demo.seed, sizeof demo.seed, 0) < 0) demo.seed = now_ns();
    demo.seed >>= 32;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') usage(stdout);
        if (option == 'h' || option == '?') exit(option == 'h' ? 0 : 2);
        uint64_t number = number_of(optarg);
        *(option == 's' ? &demo.seed : option == 'k' ? &demo.kills : &demo.passes) = number;
    }
    if (optind < argc || demo.passes == 0 || demo.passes > 1000 || demo.kills > 10000) usage(stderr), exit(2);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    watch_signals();
    printf("Laneway %s: files go through a topic while its users are killed. --seed %" PRIu64 " plays this again.\n",
           lw_version(), demo.seed);
    fflush(stdout);
    if (!input_make(&demo.input, demo.seed)) fail("there is nothing to send: tar gives nothing of /usr");
    make_place();
    demo.total = demo.input.count * demo.passes;
    make_actors();
    show_start();
    run();
    return show_end() ? 0 : 1;
}
