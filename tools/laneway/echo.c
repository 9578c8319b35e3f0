/* SPDX-License-Identifier: MIT */
/*
 * echo.c - `laneway echo`: sends numbered messages over a link and checks that each comes back, once and in order.
 *
 * All it has to remember is in the link: the number of the next message to send, and of the next echo to come. So it may
 * be killed and started again, and so may the server. A message carries its number, when it was sent, and a checksum.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tally.h"
#include "tool.h"

static struct {
    const char *as;
    uint64_t count, size, rate, window, ring;
    int64_t timeout, spin;
    bool quiet, progress, no_crc;
} ask = {.size = 64, .window = 1, .timeout = LW_FOREVER, .spin = LW_US(20)};

static const struct option_row rows[] = {
    {"as", 0, parse_text, &ask.as, "NAME", "our name towards the server (default: the node's)"},
    {"count", 0, parse_count, &ask.count, "N", "send N messages, then wait for their echoes (default: until stopped)"},
    {"size", 0, parse_room, &ask.size, "BYTES", "of a message, from 24 on (default 64)"},
    {"rate", 0, parse_count, &ask.rate, "N", "send at most N messages a second"},
    {"window", 0, parse_count, &ask.window, "N", "at most so many without an echo at a time (default 1)"},
    {"ring", 0, parse_ring, &ask.ring, "SIZE", "bytes of each ring of the link, a power of two from 64K to 64G"},
    {"spin", 0, parse_spin, &ask.spin, "US", "microseconds of looking before sleeping (default 20)"},
    {"timeout", 0, parse_seconds, &ask.timeout, "S", "without an echo, wait so long (default: for ever)"},
    {"no-crc", 0, parse_flag, &ask.no_crc, NULL, "no checksums on what goes over TCP (each message has its own)"},
    {"quiet", 'q', parse_flag, &ask.quiet, NULL, "say nothing about the server's coming and going"},
    {"progress", 0, parse_flag, &ask.progress, NULL, "show progress from the beginning"},
    OPTION_END,
};

static const struct usage usage = {
    .command = "echo",
    .arguments = "SERVER|ADDRESS",
    .about = "Sends numbered messages to an echo-server and checks that each comes back once and in\n"
             "order; prints rates and how long the round trip took. Either side may be killed and\n"
             "started again: started under the same name it goes on with the sequence where it was.\n\n"
             "ADDRESS is that of a server on another host, as its echo-server --listen prints it:\n"
             "tcp://HOST:PORT/SERVER, or unix:///PATH/SERVER.",
    .rows = rows,
    .least = 1,
    .most = 1,
};

struct run {
    struct lw_group *group;
    struct lw_link *link;
    const char *server; /* its name, or its address */
    struct tally took;
    struct progress progress;
    uint64_t first;    /* number of this run's first message */
    uint64_t next;     /* number of the next one to send */
    uint64_t expected; /* what the next echo carries */
    uint64_t echoes, bytes, lost, repeated, corrupt, downs;
    int64_t begin, end, paced_at;
    int64_t moved;  /* when the last echo came */
    uint64_t paced; /* sent in this schedule */
    bool full, told_waiting;
    bool remote;
    bool anew; /* the numbers of echoes began anew: what was sent by an earlier run is not known any more */
};

/* ---- messages ----------------------------------------------------------------------------------------------------- */

struct head {
    uint64_t number;
    int64_t sent_at;
    uint64_t sum; /* of all the rest */
};

static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 32) * UINT64_C(0x9fb21c651e98df25);
    return x ^ x >> 28;
}

static uint64_t sum_of(const void *message, size_t len) {
    const char *at = message, *end = at + len;
    struct head head;
    uint64_t word = 0;
    memcpy(&head, at, sizeof head);
    uint64_t sum = mix(mix(len ^ head.number) + (uint64_t)head.sent_at);
    for (at += sizeof head; at + 8 <= end; at += 8) {
        memcpy(&word, at, 8);
        sum = mix(sum + word);
    }
    word = 0;
    memcpy(&word, at, (size_t)(end - at));
    return mix(sum + word);
}

/* Each message has other bytes, so that a part of another one is noticed. */
static void build(void *message, size_t len, uint64_t number) {
    struct head head = {.number = number};
    char *at = (char *)message + sizeof head, *end = (char *)message + len;
    for (uint64_t word = number + 1; at < end; at += 8, word = mix(word + 1))
        memcpy(at, &word, end - at < 8 ? (size_t)(end - at) : 8);
    head.sent_at = now_ns();
    memcpy(message, &head, sizeof head);
    head.sum = sum_of(message, len);
    memcpy(message, &head, sizeof head);
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

static bool all_sent(const struct run *run) {
    return ask.count && run->next - run->first >= ask.count;
}

/* Sent, and not come back. */
static uint64_t outstanding(const struct run *run) {
    return run->next > run->expected ? run->next - run->expected : 0;
}

static bool window_open(const struct run *run) {
    return outstanding(run) < ask.window && !run->full && !all_sent(run);
}

/* How long until the next message is due; 0: it is. Who is late by more than a tenth of a second does not catch up. */
static int64_t until_due(struct run *run) {
    if (!ask.rate) return 0;
    int64_t now = now_ns();
    double due = (double)run->paced_at + (double)run->paced * 1e9 / (double)ask.rate;
    if (!run->paced_at || (double)now > due + 1e8) {
        run->paced_at = now;
        run->paced = 0;
        return 0;
    }
    return (double)now >= due ? 0 : (int64_t)(due - (double)now) + 1;
}

/* Built in the ring itself. LW_EFULL: the group tells when there is room. */
static int send_one(struct run *run) {
    void *room;
    int rc = lw_link_reserve(run->link, &room, ask.size, 0);
    run->full = rc == LW_EFULL;
    if (rc) return run->full ? 0 : rc;
    build(room, ask.size, run->next);
    int64_t position = lw_link_commit(run->link, 1, ask.size);
    if (position < 0) return (int)position;
    if (!outstanding(run)) run->moved = now_ns(); /* from now on there is something to wait for */
    run->next++;
    run->paced++;
    return 0;
}

static int send_what_is_due(struct run *run) {
    int rc = 0;
    for (int i = 0; i < 64 && !rc && window_open(run) && !until_due(run); i++) rc = send_one(run);
    return rc;
}

/* ---- receiving ---------------------------------------------------------------------------------------------------- */

/* The first thing that is wrong is told at once, the sums at the end. */
static void tell_wrong(const struct run *run, uint64_t number, const char *what, uint64_t carries) {
    if (run->lost + run->repeated + run->corrupt == 0)
        warning("echo %" PRIu64 " of link %s/%s %s %" PRIu64, number, run->server, lw_link_client(run->link), what,
                carries);
}

static void check_number(struct run *run, const struct lw_msg *msg, uint64_t number) {
    if (number > run->expected) {
        tell_wrong(run, msg->number, "leaves messages out: it is message", number);
        run->lost += number - run->expected;
    } else if (number < run->expected) {
        tell_wrong(run, msg->number, "comes again: it is message", number);
        run->repeated++;
    }
    if (number >= run->expected) run->expected = number + 1;
}

/* Of a run whose host lost its files: nobody knows what to expect. */
static bool is_of_lost_run(const struct run *run, const struct head *head) {
    return run->anew && (head->sent_at < run->begin || head->number >= run->next);
}

/* An echo of an earlier run's message is checked like the others; how long that run was dead says nothing. */
static void take_one(struct run *run, const struct lw_msg *msg) {
    struct head head = {.number = 0};
    if (msg->len >= sizeof head) memcpy(&head, msg->data, sizeof head);
    run->echoes++;
    run->bytes += msg->len;
    if (msg->len < sizeof head || head.sum != sum_of(msg->data, msg->len)) {
        tell_wrong(run, msg->number, "is not what was sent; its bytes:", msg->len);
        run->corrupt++;
        run->expected++;
        return;
    }
    if (is_of_lost_run(run, &head)) return;
    check_number(run, msg, head.number);
    int64_t now = now_ns();
    if (head.number >= run->first && now >= head.sent_at) tally_add(&run->took, (uint64_t)(now - head.sent_at));
    run->end = run->moved = now;
}

/* Some at a time, so that sending goes on, too. They are given back together. */
static int take_some(struct run *run) {
    struct lw_msg msg;
    int got = 0, n = 0;
    while (n < 256 && (got = lw_link_next(run->link, &msg, 0)) == 1) {
        take_one(run, &msg);
        n++;
    }
    if (n) lw_link_release(run->link, &msg);
    progress_show(&run->progress, run->echoes, run->bytes);
    return got == 1 || got == LW_EEMPTY || got == -EINTR ? 0 : got;
}

/* ---- the other side ----------------------------------------------------------------------------------------------- */

static void tell(struct run *run, const char *what, const char *why) {
    if (ask.quiet) return;
    progress_end(&run->progress);
    warning("server %s %s%s%s", run->server, what, *why ? ": " : "", why);
}

/* Two sides that do not belong together stay so until somebody decides which one is given up. */
static void advise(const struct run *run) {
    const char *server = lw_link_server(run->link), *client = lw_link_client(run->link);
    warning(
        "what one side has is a restored copy, or another link's. Give one side up: `laneway rm links %s/%s` here, or "
        "`laneway rm links %s/%s` on the server's host; it says how many messages are discarded",
        run->server, client, server, client);
}

static void go_down(struct run *run, int code) {
    char text[LW_LOGIN_MAX + 32];
    run->downs++;
    down_text(text, sizeof text, code, run->remote, lw_link_reason(run->link, NULL));
    tell(run, code == LW_EDEAD || code == LW_ECLOSED ? "is away" : "does not take this link", text);
    if (code == LW_EMISMATCH && !ask.quiet) advise(run);
}

/* What was lost with the server's files is counted as lost; of our own nothing is known. */
static void be_renewed(struct run *run, int code) {
    if (code == LW_RENEWED_HERE) run->anew = true;
    tell(run, "is connected anew", renewed_text(code));
}

static int handle(struct run *run, const struct lw_event *event) {
    switch (event->kind) {
    case LW_READABLE:
        return take_some(run);
    case LW_WRITABLE:
        run->full = false;
        return 0;
    case LW_REFUSED:
        return LW_EREFUSED;
    case LW_DOWN:
        go_down(run, event->code);
        return 0;
    case LW_RENEWED:
        be_renewed(run, event->code);
        return 0;
    case LW_UP:
        if (run->downs || run->told_waiting) tell(run, "is up", "");
        return 0;
    case LW_STUCK:
        tell(run, "lives, and takes nothing", "");
        return 0;
    case LW_MOVING:
        tell(run, "goes on", "");
        return 0;
    default:
        return 0;
    }
}

/* ---- the run ------------------------------------------------------------------------------------------------------ */

static bool awaits(const struct run *run) {
    return outstanding(run) > 0;
}

/* After two seconds without an echo, says once that the server is not there. */
static int look_at_clock(struct run *run) {
    if (!awaits(run)) return 0;
    int64_t waited = now_ns() - run->moved;
    if (ask.timeout >= 0 && waited >= ask.timeout) return LW_EEMPTY;
    if (waited < LW_SEC(2) || run->told_waiting || lw_link_state(run->link) == LW_LINK_UP) return 0;
    tell(run, "is not there; waiting for it", "");
    run->told_waiting = true;
    return 0;
}

static int64_t shorter(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Until an echo can come, a message is due, or it is time to look at the clock. */
static int64_t nap_length(struct run *run) {
    int64_t nap = LW_MS(WAIT_SLICE_MS);
    if (window_open(run)) nap = shorter(nap, until_due(run));
    if (awaits(run) && ask.timeout >= 0) {
        int64_t left = run->moved + ask.timeout - now_ns();
        nap = shorter(nap, left > 0 ? left : 0);
    }
    return nap;
}

static int turn(struct run *run) {
    struct lw_event events[8];
    int rc = send_what_is_due(run);
    int n = rc ? 0 : lw_group_poll(run->group, events, 8, nap_length(run));
    for (int i = 0; i < n && !rc; i++) rc = handle(run, &events[i]);
    if (n < 0 && n != -EINTR) rc = n;
    return rc ? rc : look_at_clock(run);
}

/* 0, or what ended it. */
static int echo(struct run *run) {
    int rc = 0;
    run->begin = run->moved = run->end = now_ns();
    while (!rc && (!all_sent(run) || awaits(run))) rc = stop_asked() ? -EINTR : turn(run);
    return rc;
}

/* ---- what came of it ---------------------------------------------------------------------------------------------- */

static uint64_t rate_of(const struct run *run) {
    int64_t ns = run->end - run->begin;
    return ns > 0 ? (uint64_t)((double)run->echoes * 1e9 / (double)ns) : 0;
}

static void print_json(const struct run *run) {
    static const struct {
        const char *name;
        double share;
    } shares[] = {{"p50_ns", .5}, {"p99_ns", .99}, {"p999_ns", .999}, {"max_ns", 1}};
    struct json json = json_stdout();
    json_open(&json, NULL, '{');
    json_text(&json, "server", lw_link_server(run->link));
    json_text(&json, "client", lw_link_client(run->link));
    json_text_or_null(&json, "address", run->remote ? run->server : NULL);
    json_number(&json, "sent", run->next - run->first);
    json_number(&json, "echoes", run->echoes);
    json_number(&json, "bytes", run->bytes);
    json_number(&json, "elapsed_ns", (uint64_t)(run->end - run->begin));
    json_number(&json, "rate", rate_of(run));
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        json_number_or_null(&json, shares[i].name, tally_at(&run->took, shares[i].share));
    json_number(&json, "lost", run->lost);
    json_number(&json, "repeated", run->repeated);
    json_number(&json, "corrupt", run->corrupt);
    json_number(&json, "downs", run->downs);
    json_number(&json, "next_number", run->next);
    json_number(&json, "outstanding", outstanding(run));
    json_close(&json, '}');
    json_end(&json);
}

static void print_text(const struct run *run) {
    printf("echoes      %" PRIu64 " messages, %" PRIu64 " bytes in %.3f s, %" PRIu64 " messages/s\n", run->echoes,
           run->bytes, (double)(run->end - run->begin) / 1e9, rate_of(run));
    if (run->took.count)
        printf("round trip  p50 %.1f us, p99 %.1f us, p99.9 %.1f us, max %.1f us\n",
               (double)tally_at(&run->took, .5) / 1e3, (double)tally_at(&run->took, .99) / 1e3,
               (double)tally_at(&run->took, .999) / 1e3, (double)run->took.most / 1e3);
    printf("checked     %" PRIu64 " lost, %" PRIu64 " repeated, %" PRIu64 " corrupt\n", run->lost, run->repeated,
           run->corrupt);
    if (awaits(run))
        printf("in the link %" PRIu64 " messages whose echo has not come; the next run of this name takes them\n",
               outstanding(run));
}

/* The library's sentence is about set-up calls only. */
static int report(const struct run *run, int rc) {
    const char *client = lw_link_client(run->link);
    bool is_up = lw_link_state(run->link) == LW_LINK_UP;
    const char *words = is_up ? "" : lw_link_reason(run->link, NULL);
    if (rc == -EINTR && stop_asked()) return EXIT_INTERRUPTED;
    if (rc == LW_EREFUSED) return fail(rc, "server %s refused %s: %s", run->server, client, words);
    if (rc == LW_EEMPTY)
        return fail(rc, "link %s/%s: no echo within the time given; %s%s%s", run->server, client,
                    is_up ? "the server is there" : "the server is not there", *words ? ": " : "", words);
    if (rc == LW_ECLOSED) return fail(rc, "link %s/%s was removed (closed)", run->server, client);
    if (rc == LW_ETOOBIG)
        return fail(rc, "link %s/%s: --size is too big: at most %zu bytes fit, see --ring", run->server, client,
                    lw_link_max(run->link));
    if (rc) return fail(rc, "link %s/%s: %s", run->server, client, lw_strerror(rc));
    return EXIT_OK;
}

static int finish(struct run *run, int rc) {
    bool wrong = run->lost || run->repeated || run->corrupt;
    progress_end(&run->progress);
    int result = report(run, rc);
    if (result != EXIT_OK && result != EXIT_INTERRUPTED) return result;
    if (wrong)
        return fail(run->corrupt ? LW_ECORRUPT : LW_EGAP,
                    "link %s/%s: of %" PRIu64 " echoes: %" PRIu64 " lost, %" PRIu64 " repeated, %" PRIu64 " corrupt",
                    run->server, lw_link_client(run->link), run->echoes, run->lost, run->repeated, run->corrupt);
    if (common.json)
        print_json(run);
    else
        print_text(run);
    return result;
}

/* Where the sequence is, the link knows. */
static int begin(struct run *run) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    int rc = lw_link_stat(run->link, &info);
    run->first = run->next = info.sent;
    run->expected = info.received;
    run->remote = info.remote;
    run->anew = info.received > info.sent; /* more echoes than messages: this host has lost its files once */
    if (run->anew) run->expected = run->next;
    return rc;
}

static int work(struct lw_bus *bus, struct run *run) {
    struct lw_group_options group = LW_GROUP_OPTIONS_INIT;
    struct lw_link_options options = LW_LINK_OPTIONS_INIT;
    static const char login[] = "laneway echo";
    group.spin = ask.spin;
    options.flags = ask.no_crc ? LW_LINK_NO_CRC : 0u;
    options.as = ask.as;
    options.ring_up = options.ring_down = ask.ring;
    options.login = login;
    options.login_len = sizeof login - 1;
    int rc = lw_group_open(&run->group, bus, &group);
    if (!rc) rc = lw_link_open(&run->link, run->group, run->server, &options);
    if (rc) return fail_call(rc);
    progress_begin(&run->progress, ask.progress, false);
    rc = begin(run);
    return finish(run, rc ? rc : echo(run));
}

int echo_main(int argc, char **argv) {
    static struct run run; /* the tally is large */
    struct lw_bus *bus = NULL;
    run.server = argv[options_read(&usage, argc, argv)];
    if (ask.size < sizeof(struct head)) options_refuse(&usage, "--size: a message has at least 24 bytes");
    stop_on_signals();
    int result = bus_join(&bus);
    if (result) return result;
    result = work(bus, &run);
    lw_link_close(run.link, 0, NULL);
    lw_group_close(run.group);
    lw_bus_close(bus);
    return result;
}
