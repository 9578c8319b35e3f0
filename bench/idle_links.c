/* SPDX-License-Identifier: MIT */
/*
 * bench/idle_links.c - what many links cost that have nothing to say, and many that are busy.
 *
 * All clients are in one process and the server in another, each with 1,024 descriptors. Both sides poll groups that
 * spin for a moment and then sleep, as groups do unless told otherwise. Three things are measured:
 *
 *   - the round trip over one of many links, the others being quiet, against that of a server with a single link;
 *   - what they cost while all are quiet: processor time, descriptors, mappings, memory;
 *   - what a message costs that goes over a busy link and comes back, with --busy of them and with one. Each busy link
 *     has up to --window messages under way.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "ends.h"
#include "links.h"
#include "payload.h"
#include "samples.h"

enum {
    SIZE = 8, /* of payload */
    TRIPS = 5000,
    SAMPLES = 2000,
    DESCRIPTORS = 1024,
    BUSY_TURNS = 4,     /* windows that a busy link sends in a round */
    BUSY_LEAST = 20000, /* messages in a round */
    RELEASE = 16,       /* so many messages by one store */
    EVENTS = 64
};

static const int64_t quiet_time = LW_SEC(5);

/* How far a link is in a round of the second part, on the client's side. */
struct flow {
    uint64_t sent, received;
};

struct idle {
    struct ends one, many;
    uint64_t seq; /* of the next trip */
    uint64_t round;
    struct samples samples;
    struct flow *flows;
};

/* ---- what a process has ------------------------------------------------------------------- */

struct possessions {
    double descriptors, mappings, private_bytes, table_bytes, cpu_s;
};

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double count_entries(const char *path) {
    double count = -3; /* itself, . and .. */
    DIR *dir = opendir(path);
    if (!dir) return -1;
    while (readdir(dir)) count++;
    closedir(dir);
    return count;
}

/* Lines of a file; or the number in the line that begins with `key`. */
static double look_in(const char *path, const char *key) {
    char line[1024];
    double lines = 0, found = 0;
    FILE *file = fopen(path, "re");
    if (!file) return -1;
    for (; fgets(line, sizeof line, file); lines++)
        if (key && strncmp(line, key, strlen(key)) == 0) found = strtod(line + strlen(key), NULL);
    fclose(file);
    return key ? found : lines;
}

static struct possessions look_at_self(void) {
    return (struct possessions){.descriptors = count_entries("/proc/self/fd"),
                                .mappings = look_in("/proc/self/maps", NULL),
                                .private_bytes = look_in("/proc/self/status", "RssAnon:") * 1024,
                                .table_bytes = look_in("/proc/self/status", "VmPTE:") * 1024,
                                .cpu_s = cpu_seconds()};
}

/* ---- trips -------------------------------------------------------------------------------- */

static void put(struct duo *duo, struct lw_link *link, uint64_t seq) {
    char buffer[SIZE];
    payload_fill(buffer, SIZE, seq);
    ends_sent(duo, lw_link_send(link, 1, buffer, SIZE, 0));
}

static void check(struct duo *duo, const struct lw_msg *msg, uint64_t seq) {
    if (msg->len != SIZE || payload_differs(msg->data, SIZE, seq)) duo_fail(duo, "message %" PRIu64 " came wrong", seq);
}

static void get(struct duo *duo, struct lw_link *link, struct lw_msg *msg, uint64_t seq) {
    int got = lw_link_next(link, msg, 0);
    if (got != 1) duo_fail(duo, "next: %s", lw_strerror(got));
    check(duo, msg, seq);
}

static void trip(struct duo *duo, struct ends *ends, uint64_t seq) {
    uint64_t number = ends->count / 2;
    struct lw_link *link = ends->links[number];
    struct lw_msg msg;
    if (duo->side == 0) put(duo, link, seq);
    if (ends_wait(duo, ends) != number) duo_fail(duo, "a link that is quiet has something");
    get(duo, link, &msg, seq);
    if (duo->side == 1) put(duo, link, seq);
    lw_link_release(link, &msg);
}

static double timed_trips(struct duo *duo, struct ends *ends, uint64_t *seq) {
    duo_meet(duo);
    int64_t begin = now_ns();
    for (int i = 0; i < TRIPS; i++) trip(duo, ends, (*seq)++);
    return (double)(now_ns() - begin) / TRIPS;
}

static double trips_of_many(struct duo *duo, void *user) {
    struct idle *idle = user;
    return timed_trips(duo, &idle->many, &idle->seq);
}

static double trips_of_one(struct duo *duo, void *user) {
    struct idle *idle = user;
    return timed_trips(duo, &idle->one, &idle->seq);
}

static void one_trip(struct duo *duo, void *user) {
    struct idle *idle = user;
    trip(duo, &idle->many, idle->seq++);
}

static void sample(struct duo *duo, void *user) {
    samples_take(duo, &((struct idle *)user)->samples, SAMPLES, one_trip, user);
}

/* ---- busy links: `busy` of the ends', each sends `each` messages --------------------------- */

static uint64_t seq_of(const struct idle *idle, uint64_t link, uint64_t number) {
    return idle->round << 40 ^ link << 24 ^ number;
}

/* Polls until `total` messages have come to the links that can be read; `take` deals with those of one. */
static void take_all(struct duo *duo, struct idle *idle, struct ends *ends, uint64_t total, uint64_t each,
                     uint64_t (*take)(struct duo *duo, struct idle *idle, const struct lw_event *event,
                                      uint64_t each)) {
    struct lw_event events[EVENTS];
    for (uint64_t left = total; left;) {
        int n = lw_group_poll(ends->group, events, EVENTS, LW_FOREVER);
        if (n < 0) duo_fail(duo, "lw_group_poll: %s", lw_strerror(n));
        for (int i = 0; i < n; i++)
            if (events[i].kind == LW_READABLE) left -= take(duo, idle, &events[i], each);
    }
}

static void send_some(struct duo *duo, struct idle *idle, struct lw_link *link, uint64_t number, uint64_t each) {
    struct flow *flow = &idle->flows[number];
    uint64_t most = flow->received + duo->options->window;
    if (most > each) most = each;
    while (flow->sent < most) put(duo, link, seq_of(idle, number, flow->sent++));
}

/* Client: what has come back, and then as many as may be sent. Returns how many came. */
static uint64_t tend(struct duo *duo, struct idle *idle, const struct lw_event *event, uint64_t each) {
    uint64_t number = (uint64_t)(uintptr_t)event->user;
    struct flow *flow = &idle->flows[number];
    uint64_t first = flow->received;
    struct lw_msg msg = {0};
    while (lw_link_next(event->link, &msg, 0) == 1) {
        check(duo, &msg, seq_of(idle, number, flow->received));
        if (++flow->received % RELEASE == 0) lw_link_release(event->link, &msg);
    }
    if (flow->received > first && flow->received % RELEASE) lw_link_release(event->link, &msg);
    send_some(duo, idle, event->link, number, each);
    return flow->received - first;
}

/* Server: all there is; released in between, or who sends without a pause would fill the ring. */
static uint64_t answer(struct duo *duo, struct idle *idle, const struct lw_event *event, uint64_t each) {
    struct lw_msg msg = {0};
    uint64_t n = 0;
    (void)idle, (void)each;
    while (lw_link_next(event->link, &msg, 0) == 1) {
        ends_sent(duo, lw_link_send(event->link, 1, msg.data, msg.len, 0));
        if (++n % RELEASE == 0) lw_link_release(event->link, &msg);
    }
    if (n % RELEASE) lw_link_release(event->link, &msg);
    return n;
}

static double busy_cost(struct duo *duo, struct idle *idle, struct ends *ends, uint64_t busy) {
    uint64_t each = BUSY_TURNS * duo->options->window;
    if (each * busy < BUSY_LEAST) each = BUSY_LEAST / busy;
    idle->round++;
    duo_meet(duo);
    int64_t begin = now_ns();
    if (duo->side == 0) {
        memset(idle->flows, 0, busy * sizeof *idle->flows);
        for (uint64_t i = 0; i < busy; i++) send_some(duo, idle, ends->links[i], i, each);
    }
    take_all(duo, idle, ends, each * busy, each, duo->side ? answer : tend);
    return (double)(now_ns() - begin) / (double)(each * busy);
}

static double busy_many(struct duo *duo, void *user) {
    struct idle *idle = user;
    return busy_cost(duo, idle, &idle->many, duo->options->busy);
}

static double busy_one(struct duo *duo, void *user) {
    struct idle *idle = user;
    return busy_cost(duo, idle, &idle->one, 1);
}

/* ---- the parts ---------------------------------------------------------------------------- */

static void limit_descriptors(struct duo *duo) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = DESCRIPTORS;
    if (limit.rlim_max < DESCRIPTORS || setrlimit(RLIMIT_NOFILE, &limit)) duo_fail(duo, "%d descriptors", DESCRIPTORS);
}

/* What the many links took, for each of them. */
static void leave_possessions(struct duo *duo, const struct possessions *before, double open_s) {
    struct possessions now = look_at_self();
    double links = (double)duo->options->links, *left = duo->page->left[duo->side];
    left[0] = now.descriptors;
    left[1] = (now.mappings - before->mappings) / links;
    left[2] = (now.private_bytes - before->private_bytes) / links;
    left[3] = (now.table_bytes - before->table_bytes) / links;
    left[4] = open_s / links * 1e6;
    duo_meet(duo);
}

/* Processor time while nothing goes on. Before, the others are put to sleep. */
static void leave_quiet(struct duo *duo, struct ends *many) {
    struct lw_event event;
    duo_meet(duo);
    lw_group_poll(many->group, &event, 1, LW_MS(300));
    double begin = cpu_seconds();
    for (int64_t end = now_ns() + quiet_time, now; (now = now_ns()) < end;)
        lw_group_poll(many->group, &event, 1, end - now);
    duo->page->left[duo->side][5] = cpu_seconds() - begin;
    duo_meet(duo);
}

static void add_possessions(struct duo *duo) {
    struct bench_result *result = &duo->page->result;
    double *client = duo->page->left[0], *server = duo->page->left[1];
    bench_add(result, "idle_cpu_client", client[5] * 1e3, "ms of processor time in 5 s with nothing going on");
    bench_add(result, "idle_cpu_server", server[5] * 1e3, "ms");
    bench_add(result, "fds_client", client[0], "descriptors of the process");
    bench_add(result, "fds_server", server[0], "");
    bench_add(result, "maps_client", client[1], "mappings a link");
    bench_add(result, "maps_server", server[1], "");
    bench_add(result, "private_client", client[2], "bytes of private memory a link");
    bench_add(result, "private_server", server[2], "");
    bench_add(result, "tables_client", client[3], "bytes of page tables a link");
    bench_add(result, "tables_server", server[3], "");
    bench_add(result, "open_us", client[4], "us to open a link on both sides");
}

static void run_busy(struct duo *duo, struct idle *idle) {
    const struct duo_steps steps = {busy_many, busy_one, NULL, DUO_BEST};
    struct bench_result *result = &duo->page->result;
    if (!duo->options->busy) return;
    struct bench_result busy = duo_alternate_aside(duo, &steps, idle);
    if (duo->side) return;
    bench_add(result, "busy", busy.value, "ns a message, with many busy links");
    bench_add(result, "busy_one", busy.reference, "ns a message, with one");
    bench_add(result, "busy_ratio", busy.value / busy.reference, "");
    bench_add(result, "busy_steady", busy.steady, "undisturbed rounds");
}

static void open_idle(struct duo *duo, struct idle *idle) {
    limit_descriptors(duo);
    ends_check_space(duo, 1);
    idle->flows = calloc(duo->options->links, sizeof *idle->flows);
    if (!idle->flows) duo_fail(duo, "no memory");
    ends_open(duo, &idle->one, "one", 1, LW_US(20));
    struct possessions before = look_at_self();
    int64_t begin = now_ns();
    ends_open(duo, &idle->many, "many", duo->options->links, LW_US(20));
    leave_possessions(duo, &before, (double)(now_ns() - begin) / 1e9);
    samples_open(duo, &idle->samples);
}

static void side(struct duo *duo) {
    const struct duo_steps steps = {trips_of_many, trips_of_one, sample, DUO_BEST};
    struct idle idle = {.seq = 0};
    open_idle(duo, &idle);
    duo_alternate(duo, &steps, &idle);
    leave_quiet(duo, &idle.many);
    if (duo->side == 0) add_possessions(duo);
    run_busy(duo, &idle);
    samples_close(duo, &idle.samples);
    ends_close(duo, &idle.one);
    ends_close(duo, &idle.many);
    free(idle.flows);
}

int bench_idle_links(int argc, char **argv) {
    struct bench_options options = {.size = SIZE, .rounds = 60, .links = 10000, .busy = 1000, .window = 16};
    const struct bench_usage usage = {
        .bench = "idle-links",
        .about = "Measures the round trip over one of 10,000 links, the others being quiet, in ns. The reference is\n"
                 "that of a server with one link. Both are measured in turn; the best round of each counts.\n"
                 "Then what quiet links cost, and what a message costs over 1,000 busy ones and over one, there\n"
                 "and back, with 16 under way on each. 10,000 links take 1.6 GB on the bus while it runs.\n"
                 "Runs on a bus of its own, unless --bus names one.",
        .takes = BENCH_RING | BENCH_ROUNDS | BENCH_WINDOW | BENCH_LINKS | BENCH_BUSY,
    };
    struct bench_result result = bench_result_init("idle-links", "ns");
    bench_options_read(&usage, &options, argc, argv);
    bench_choose_ring(&options, 64 << 10);
    if (options.busy > options.links) options.busy = options.links;
    if (options.ring / 2 / (SIZE + 16) < options.window)
        bench_options_refuse("--window %" PRIu64 " does not fit in half a ring", options.window);
    return duo_compare(side, &options, &result);
}
