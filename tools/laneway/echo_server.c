/* SPDX-License-Identifier: MIT */
/*
 * echo_server.c - `laneway echo-server`: sends back each message of every link, in order and once.
 *
 * Message n of a client is answered by message n to it. So the link itself says what was answered before a crash: all
 * below the number of the next message to send. What comes again is released without a second answer. When a host lost
 * its files, the numbers of one direction begin anew, and the two go on a constant apart.
 *
 * Each thread has a group and the links that hash to it; the first one has the server, too.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

enum { THREADS_MOST = 64, EVENTS = 64, BURST = 256 };

static const char *parse_threads(const char *text, void *value) {
    uint64_t n;
    if (parse_number(text, &n) || n < 1 || n > THREADS_MOST) return "a whole number from 1 to 64";
    *(uint64_t *)value = n;
    return NULL;
}

static struct {
    uint64_t threads;
    const char *refuse;
    const char *listen;
    int64_t spin;
    bool quiet, no_crc;
} ask = {.threads = 1, .spin = LW_US(20)};

static const struct option_row rows[] = {
    {"threads", 0, parse_threads, &ask.threads, "N", "so many, each with its share of the links (default 1)"},
    {"listen", 0, parse_text, &ask.listen, "ADDRESS",
     "for clients elsewhere: tcp://HOST:PORT or unix:///PATH, or several"},
    {"no-crc", 0, parse_flag, &ask.no_crc, NULL, "no checksums on what goes over TCP"},
    {"refuse", 0, parse_text, &ask.refuse, "TEXT", "refuse every login with these words"},
    {"spin", 0, parse_spin, &ask.spin, "US", "microseconds of looking before sleeping (default 20)"},
    {"quiet", 'q', parse_flag, &ask.quiet, NULL, "no line for each login, up, down"},
    OPTION_END,
};

static const struct usage usage = {
    .command = "echo-server",
    .arguments = "NAME",
    .about = "Is the server NAME, accepts every client and sends back each of its messages, until it\n"
             "is interrupted. It may be killed and started again at any moment: each message is\n"
             "answered once. `laneway echo NAME` is a client.\n\n"
             "With --listen clients come from other hosts, too: `laneway echo tcp://HOST:PORT/NAME`. A\n"
             "HOST of 0.0.0.0 or [::] is every interface, without one it is the loopback; PORT 0 is any\n"
             "free one, and the first line says which. There is no password: whoever can connect is let in.",
    .rows = rows,
    .least = 1,
    .most = 1,
};

/* One thread. The counts are its own until it has ended. */
struct worker {
    pthread_t thread;
    struct lw_group *group;
    struct peer *touched; /* had an event in this turn */
    uint64_t messages, bytes, skipped, logins, refused;
    int error;
};

/* One link. It belongs to its worker, but for its place in the list. */
struct peer {
    struct worker *worker;
    struct lw_link *link;
    struct peer *next; /* in the list of all */
    struct peer *next_touched;
    uint64_t answered; /* number of the next message to answer */
    bool met;          /* `link` is right: the thread that accepted it is done */
    bool known;        /* `answered` is right */
    bool full;         /* no room for an answer: waits for LW_WRITABLE */
    bool is_touched;
    bool awaited; /* it was let in, and is not up yet */
    bool up; /* as we were told: a call on the link may know earlier that it is not, and it is not over before we are */
    bool lost; /* over TCP: its client has not said goodbye, and comes back by itself */
    int error; /* it can't go on */
};

static struct lw_server *server;
static struct worker workers[THREADS_MOST];
static struct peer *peers;
static pthread_mutex_t peers_lock = PTHREAD_MUTEX_INITIALIZER;
static bool stopping; /* atomic */

/* ---- what it says ------------------------------------------------------------------------------------------------- */

/* `code` is a word for programs, NULL where the event says all. */
static void say_json(const char *event, const char *client, const char *code, const char *text) {
    struct json json = json_stdout();
    json_open(&json, NULL, '{');
    json_text(&json, "event", event);
    json_text_or_null(&json, "client", client);
    if (code) json_text(&json, "code", code);
    json_text_or_null(&json, "text", text);
    json_close(&json, '}');
    json_end(&json);
}

/* One line, whole, and at once: somebody looks on. */
static void say_code(const char *event, const char *client, const char *code, const char *text) {
    if (ask.quiet) return;
    flockfile(stdout);
    if (common.json)
        say_json(event, client, code, text);
    else
        printf("%-8s %s%s%s\n", event, client, *client && *text ? ": " : "", text);
    fflush(stdout);
    funlockfile(stdout);
}

static void say(const char *event, const char *client, const char *text) {
    say_code(event, client, NULL, text);
}

/* ---- logins ------------------------------------------------------------------------------------------------------- */

static void tell_login(const struct lw_login *login) {
    char text[64 + LW_ADDRESS_MAX] = "";
    int n = 0;
    if (*login->from) n = snprintf(text, sizeof text, "from %s%s", login->from, login->unread ? ", " : "");
    if (login->unread)
        snprintf(text + n, sizeof text - (size_t)n, "%" PRIu64 " unread%s", login->unread,
                 login->alive ? "" : ", and is away");
    say("login", login->client, text);
}

/* A login that is over (the client ended, or a newer one is waiting) is nobody's loss. */
static void tell_failed(const struct lw_login *login, int rc) {
    if (rc != LW_ESTATE && rc != LW_ENOLINK) say("failed", login->client, lw_errtext());
}

static void refuse(struct worker *worker, struct lw_login *login) {
    int rc = lw_login_refuse(login, ask.refuse);
    worker->refused += rc == 0;
    if (rc)
        tell_failed(login, rc);
    else
        say("refused", login->client, ask.refuse);
}

static struct worker *worker_of(const char *client) {
    uint32_t hash = 2166136261u;
    for (; *client; client++) hash = (hash ^ (unsigned char)*client) * 16777619u;
    return &workers[(hash ^ hash >> 16) % ask.threads];
}

/* Its events may come to the other thread before this returns; meet() has that one wait. */
static int accept_new(struct lw_login *login) {
    struct lw_accept_options options = LW_ACCEPT_OPTIONS_INIT;
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer) return -ENOMEM;
    peer->worker = worker_of(login->client);
    peer->awaited = login->alive;
    options.user = peer;
    pthread_mutex_lock(&peers_lock);
    int rc = lw_login_accept(login, peer->worker->group, &options, &peer->link);
    if (!rc) {
        peer->next = peers;
        peers = peer;
    }
    pthread_mutex_unlock(&peers_lock);
    if (rc) free(peer);
    return rc;
}

static void admit(struct worker *worker, struct lw_login *login) {
    if (ask.refuse) {
        refuse(worker, login);
        return;
    }
    tell_login(login);
    int rc = login->link ? lw_login_accept(login, NULL, NULL, NULL) : accept_new(login);
    worker->logins += rc == 0;
    if (rc) tell_failed(login, rc);
}

static void admit_all(struct worker *worker) {
    struct lw_login login = LW_LOGIN_INIT;
    while (lw_server_login(server, &login) == 1) admit(worker, &login);
}

/* ---- answering ---------------------------------------------------------------------------------------------------- */

/* Where it goes on. Answers go ahead of releases by a turn at most, and none is without its message: else this is no
 * link of an echo-server; or, over TCP, a host lost its files, and what was not released counts as not answered. */
static int learn(struct peer *peer, struct lw_link *link) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    int rc = lw_link_stat(link, &info);
    if (rc) return rc;
    bool fits = info.sent >= info.released && info.sent <= info.arrived;
    if (!fits && !info.remote) return LW_EMISMATCH;
    peer->answered = fits ? info.sent : info.released;
    peer->known = true;
    return 0;
}

/* 0: it may be released. */
static int answer(struct peer *peer, struct lw_link *link, const struct lw_msg *msg) {
    if (msg->number < peer->answered) {
        peer->worker->skipped++;
        return 0;
    }
    int64_t position = lw_link_send(link, msg->type, msg->data, msg->len, 0);
    if (position < 0) return (int)position;
    peer->answered++;
    peer->worker->messages++;
    peer->worker->bytes += msg->len;
    return 0;
}

/* Takes what is there without releasing it: until there is room, nothing is to be told as readable. */
static void hold_the_rest(struct lw_link *link) {
    struct lw_msg msg;
    while (lw_link_next(link, &msg, 0) == 1) {
    }
}

/* Answers some messages and releases them together: what a kill makes come again is skipped. */
static int serve(struct peer *peer, struct lw_link *link) {
    struct lw_msg msg, last;
    int rc = 0, done = 0;
    while (!rc && done < BURST && (rc = lw_link_next(link, &msg, 0)) == 1) {
        rc = answer(peer, link, &msg);
        if (rc) break;
        last = msg;
        done++;
    }
    if (done) lw_link_release(link, &last);
    peer->full = rc == LW_EFULL;
    if (peer->full) hold_the_rest(link);
    return rc == LW_EFULL || rc == LW_EEMPTY || rc == -EINTR ? 0 : rc;
}

static int readable(struct peer *peer, struct lw_link *link) {
    int rc = peer->known ? 0 : learn(peer, link);
    if (rc) return rc;
    if (!peer->full) return serve(peer, link);
    hold_the_rest(link);
    return 0;
}

static int writable(struct peer *peer, struct lw_link *link) {
    if (!peer->full) return 0;
    peer->full = false;
    lw_link_rewind(link);
    return serve(peer, link);
}

/* ---- events ------------------------------------------------------------------------------------------------------- */

static void go_down(struct peer *peer, struct lw_link *link, int code) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    char text[LW_LOGIN_MAX + 32];
    lw_link_stat(link, &info);
    down_text(text, sizeof text, code, info.remote, lw_link_reason(link, NULL));
    say_code("down", lw_link_client(link), lw_errname(code), text);
    peer->up = false;
    peer->lost = info.remote && code != LW_ECLOSED;
    peer->awaited = false;
}

/* The numbers of one direction begin anew: the next message is the next one to answer. */
static void renewed(struct peer *peer, struct lw_link *link, int code) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    say_code("renewed", lw_link_client(link), renewed_name(code), renewed_text(code));
    if (lw_link_stat(link, &info) == 0 && code != LW_RENEWED_READER) peer->answered = info.received;
}

static void ask_again(struct worker *worker, struct peer *peer) {
    struct lw_login login = LW_LOGIN_INIT;
    if (lw_link_login(peer->link, &login) != 1) return;
    admit(worker, &login);
    peer->awaited = true;
}

static int handle_link(struct worker *worker, struct peer *peer, const struct lw_event *event) {
    struct lw_link *link = event->link;
    switch (event->kind) {
    case LW_READABLE:
        return readable(peer, link);
    case LW_WRITABLE:
        return writable(peer, link);
    case LW_LOGIN:
        ask_again(worker, peer);
        return 0;
    case LW_DOWN:
        go_down(peer, link, event->code);
        return 0;
    case LW_RENEWED:
        renewed(peer, link, event->code);
        return 0;
    case LW_UP:
        peer->awaited = peer->lost = false;
        peer->up = true;
        say("up", lw_link_client(link), "");
        return 0;
    case LW_STUCK:
        say("stuck", lw_link_client(link), "it lives, and takes nothing");
        return 0;
    case LW_MOVING:
        say("moving", lw_link_client(link), "");
        return 0;
    default:
        return 0;
    }
}

static void meet(struct peer *peer) {
    pthread_mutex_lock(&peers_lock);
    pthread_mutex_unlock(&peers_lock);
    peer->met = true;
}

static void handle(struct worker *worker, const struct lw_event *event) {
    struct peer *peer = event->user;
    if (event->kind == LW_WOKEN) return;
    if (!peer) { /* the server's are without */
        admit_all(worker);
        return;
    }
    if (!peer->met) meet(peer);
    if (!peer->is_touched) {
        peer->is_touched = true;
        peer->next_touched = worker->touched;
        worker->touched = peer;
    }
    int rc = peer->error ? 0 : handle_link(worker, peer, event);
    if (rc) peer->error = rc;
}

/* ---- closing ------------------------------------------------------------------------------------------------------ */

/* Nobody on the other side, nothing left to answer: kept open it would only be in the way of `rm links`. */
static bool is_over(const struct peer *peer) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    struct lw_login login = LW_LOGIN_INIT;
    if (peer->error) return true;
    if (peer->full || peer->lost || peer->up || lw_link_state(peer->link) == LW_LINK_UP) return false;
    if (lw_link_stat(peer->link, &info) || info.arrived > info.released) return false;
    if (peer->awaited && (info.remote || info.client_pid)) return false;
    return lw_link_login(peer->link, &login) != 1;
}

static void tell_error(const struct peer *peer) {
    const char *text = peer->error == LW_EMISMATCH ? "what is in the link is not of an echo-server" : NULL;
    if (peer->error == LW_ECLOSED) text = "the link was removed";
    say("closed", lw_link_client(peer->link), text ? text : lw_strerror(peer->error));
}

static void close_peer(struct peer *peer) {
    struct peer **at = &peers;
    pthread_mutex_lock(&peers_lock);
    while (*at != peer) at = &(*at)->next;
    *at = peer->next;
    pthread_mutex_unlock(&peers_lock);
    if (peer->error) tell_error(peer);
    lw_link_close(peer->link, peer->error, peer->error ? lw_strerror(peer->error) : NULL);
    free(peer);
}

/* After all events of a turn: one that is closed has none left among them. */
static void close_those_over(struct worker *worker) {
    struct peer *next;
    for (struct peer *peer = worker->touched; peer; peer = next) {
        next = peer->next_touched;
        peer->is_touched = false;
        if (is_over(peer)) close_peer(peer);
    }
    worker->touched = NULL;
}

/* ---- threads ------------------------------------------------------------------------------------------------------ */

static void stop_all(void) {
    __atomic_store_n(&stopping, true, __ATOMIC_RELEASE);
    for (uint64_t i = 0; i < ask.threads; i++) lw_group_wake(workers[i].group);
}

static void *work(void *user) {
    struct worker *worker = user;
    struct lw_event events[EVENTS];
    while (!__atomic_load_n(&stopping, __ATOMIC_ACQUIRE) && !stop_asked()) {
        int n = lw_group_poll(worker->group, events, EVENTS, LW_FOREVER);
        for (int i = 0; i < n; i++) handle(worker, &events[i]);
        close_those_over(worker);
        if (n >= 0 || n == -EINTR) continue;
        worker->error = n;
        break;
    }
    stop_all();
    return NULL;
}

/* Signals go to the first thread, which is the process's own. */
static int run_threads(void) {
    sigset_t all, before;
    uint64_t started = 1;
    int rc = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; started < ask.threads && !rc; started += !rc)
        rc = -pthread_create(&workers[started].thread, NULL, work, &workers[started]);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc) stop_all();
    work(&workers[0]);
    for (uint64_t i = 1; i < started; i++) pthread_join(workers[i].thread, NULL);
    for (uint64_t i = 0; i < ask.threads && !rc; i++) rc = workers[i].error;
    return rc;
}

/* ---- beginning and ending ----------------------------------------------------------------------------------------- */

static int open_all(struct lw_bus *bus, const char *name) {
    struct lw_group_options group = LW_GROUP_OPTIONS_INIT;
    struct lw_server_options options = LW_SERVER_OPTIONS_INIT;
    int rc = 0;
    group.spin = ask.spin;
    options.listen = ask.listen;
    options.flags = ask.no_crc ? LW_LINK_NO_CRC : 0u;
    for (uint64_t i = 0; i < ask.threads && !rc; i++) rc = lw_group_open(&workers[i].group, bus, &group);
    return rc ? rc : lw_server_open(&server, workers[0].group, name, &options);
}

/* What a client writes for one of the addresses: with the port that was chosen, which is known of the first one. */
static void client_address(char *to, size_t size, const char *address, bool *chosen, const char *name) {
    size_t length = strlen(address);
    bool tcp = strncmp(address, "tcp://", 6) == 0;
    if (tcp && !*chosen && length > 2 && strcmp(address + length - 2, ":0") == 0)
        snprintf(to, size, "%.*s:%d/%s", (int)length - 2, address, lw_server_port(server), name);
    else
        snprintf(to, size, "%s/%s", address, name);
    *chosen |= tcp;
}

enum { ADDRESSES = 8 };

/* What clients write, of as many addresses as there are. */
static int client_addresses(char (*to)[LW_ADDRESS_MAX + LW_NAME_MAX + 16], const char *name) {
    char list[ADDRESSES * LW_ADDRESS_MAX], *rest = list, *address;
    bool chosen = false;
    int n = 0;
    snprintf(list, sizeof list, "%s", ask.listen ? ask.listen : "");
    while (n < ADDRESSES && (address = strsep(&rest, ", ")))
        if (*address) client_address(to[n++], sizeof *to, address, &chosen, name);
    return n;
}

static void tell_ready(const char *name) {
    char addresses[ADDRESSES][LW_ADDRESS_MAX + LW_NAME_MAX + 16];
    int n = client_addresses(addresses, name);
    struct json json = json_stdout();
    if (ask.quiet) return;
    if (!common.json) {
        printf("ready    %s", name);
        for (int i = 0; i < n; i++) printf(" %s", addresses[i]);
        putchar('\n');
    } else {
        json_open(&json, NULL, '{');
        json_text(&json, "event", "ready");
        json_null(&json, "client");
        json_text(&json, "text", name);
        if (n) json_open(&json, "addresses", '[');
        for (int i = 0; i < n; i++) json_text(&json, NULL, addresses[i]);
        if (n) json_close(&json, ']');
        json_close(&json, '}');
        json_end(&json);
    }
    fflush(stdout);
}

static void close_all(void) {
    lw_server_close(server);
    while (peers) close_peer(peers);
    for (uint64_t i = 0; i < ask.threads; i++) lw_group_close(workers[i].group);
}

static struct worker sum_up(void) {
    struct worker sum = {.messages = 0};
    for (uint64_t i = 0; i < ask.threads; i++) {
        sum.messages += workers[i].messages;
        sum.bytes += workers[i].bytes;
        sum.skipped += workers[i].skipped;
        sum.logins += workers[i].logins;
        sum.refused += workers[i].refused;
    }
    return sum;
}

static void print_summary(const char *name) {
    struct worker sum = sum_up();
    struct json json = json_stdout();
    if (!common.json) {
        printf("server %s: %" PRIu64 " logins, %" PRIu64 " refused; %" PRIu64 " messages answered, %" PRIu64
               " bytes; %" PRIu64 " came again and were not answered twice\n",
               name, sum.logins, sum.refused, sum.messages, sum.bytes, sum.skipped);
        return;
    }
    json_open(&json, NULL, '{');
    json_text(&json, "event", "end");
    json_text(&json, "server", name);
    json_number(&json, "logins", sum.logins);
    json_number(&json, "refused", sum.refused);
    json_number(&json, "messages", sum.messages);
    json_number(&json, "bytes", sum.bytes);
    json_number(&json, "skipped", sum.skipped);
    json_close(&json, '}');
    json_end(&json);
}

static int be_server(struct lw_bus *bus, const char *name) {
    int rc = open_all(bus, name);
    if (rc) return fail_call(rc);
    tell_ready(name);
    rc = run_threads();
    if (rc) return fail(rc, "server %s: %s", name, lw_strerror(rc));
    print_summary(name);
    return stop_asked() ? EXIT_INTERRUPTED : EXIT_OK;
}

int echo_server_main(int argc, char **argv) {
    struct lw_bus *bus = NULL;
    const char *name = argv[options_read(&usage, argc, argv)];
    stop_on_signals();
    int result = bus_join(&bus);
    if (result) return result;
    result = be_server(bus, name);
    close_all();
    lw_bus_close(bus);
    return result;
}
