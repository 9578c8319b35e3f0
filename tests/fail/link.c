/* SPDX-License-Identifier: MIT */
/*
 * fail/link.c - scenarios: links, over shared memory and over sockets, where the client's calls fail, or the server's.
 *
 * Both sides are in this process, one after the other, so a run is nearly the same each time. The calls of one side are
 * counted, those of the other are not, and succeed: whatever happens to its peer.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fail/run.h"
#include "util/topic_util.h"

enum over { SHARED, TCP, UNIX };
enum side { CLIENT, SERVER };
enum { SOME = 3, EVENTS = 8 };

#define NAME "gateway"

struct pair {
    enum over over;
    enum side counted;
    struct lw_bus *bus[2];
    struct lw_group *group[2];
    struct lw_link *link[2];
    bool up[2], resumed[2];
    struct lw_server *server;
    struct lw_login login;
    bool asked; /* the login is to be accepted */
};

/* A call by a side: counted and allowed to fail, or neither. */
#define BY(side, call) ((side) == p->counted ? SETUP(call) : OTHER(call))
#define BY_HOT(side, call) ((side) == p->counted ? CALL(call) : OTHER(call))
#define BY_VOID(side, call)                                                                                            \
    do {                                                                                                               \
        if ((side) == p->counted)                                                                                      \
            VOID(call);                                                                                                \
        else                                                                                                           \
            (call);                                                                                                    \
    } while (0)

/* What the side sends, and what it receives. */
static struct stream *out(enum side side) {
    return &run.ledger->streams[side];
}
static struct stream *in(enum side side) {
    return &run.ledger->streams[!side];
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

static void address(const struct pair *p, char to[LW_ADDRESS_MAX], const char *name) {
    unsigned id = (unsigned)getpid();
    if (p->over == TCP)
        snprintf(to, LW_ADDRESS_MAX, "tcp://127.%u.%u.%u:7411%s", 1 + id / 62500 % 250, 1 + id / 250 % 250,
                 1 + id % 250, name);
    else
        snprintf(to, LW_ADDRESS_MAX, "unix://%.*s/socket%s", (int)(strrchr(run.dir, '/') - run.dir), run.dir, name);
}

static bool open_side(struct pair *p, enum side side) {
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    struct lw_group_options gopt = LW_GROUP_OPTIONS_INIT;
    char dir[RUN_PATH + 8];
    snprintf(dir, sizeof dir, "%s%s", run.dir, p->over && side == CLIENT ? "-far" : "");
    opt.dir = dir;
    opt.node = side == CLIENT ? "alice" : "host";
    gopt.spin = 0;
    return BY(side, lw_bus_open(&p->bus[side], &opt)) >= 0 &&
           BY(side, lw_group_open(&p->group[side], p->bus[side], &gopt)) >= 0;
}

static bool open_server(struct pair *p) {
    struct lw_server_options opt = LW_SERVER_OPTIONS_INIT;
    char at[LW_ADDRESS_MAX];
    address(p, at, "");
    if (p->over) opt.listen = at;
    return BY(SERVER, lw_server_open(&p->server, p->group[SERVER], NAME, &opt)) >= 0;
}

/* Everything that was accepted before is there. */
static bool resume(struct pair *p, enum side side) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    if (BY(side, lw_link_stat(p->link[side], &info)) < 0) return false;
    stream_resumes(out(side), info.sent);
    p->resumed[side] = true;
    return true;
}

static bool open_client(struct pair *p) {
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    char to[LW_ADDRESS_MAX];
    address(p, to, "/" NAME);
    opt.ring_up = opt.ring_down = TT_RING;
    opt.login = "hello";
    opt.login_len = 5;
    opt.retry_max = LW_MS(2);
    const char *server = p->over ? to : NAME;
    return BY(CLIENT, lw_link_open(&p->link[CLIENT], p->group[CLIENT], server, &opt)) >= 0 && resume(p, CLIENT);
}

static void close_link(struct pair *p, enum side side) {
    BY_VOID(side, lw_link_close(p->link[side], 1, "bye"));
    p->link[side] = NULL;
    p->up[side] = p->resumed[side] = false;
}

static void close_server(struct pair *p) {
    BY_VOID(SERVER, lw_server_close(p->server));
    p->server = NULL;
    p->asked = false;
}

static void close_all(struct pair *p) {
    close_link(p, CLIENT);
    close_link(p, SERVER);
    close_server(p);
    for (enum side side = CLIENT; side <= SERVER; side++) {
        NEED(BY(side, lw_group_close(p->group[side])) == 0);
        NEED(BY(side, lw_bus_close(p->bus[side])) == 0);
    }
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

/* One that could not be let in for want of something is let in later. */
static void let_in(struct pair *p) {
    struct lw_link *link = NULL;
    bool again = p->login.link;
    int64_t rc = BY(SERVER, lw_login_accept(&p->login, again ? NULL : p->group[SERVER], NULL, &link));
    p->asked = rc < 0 && rc != LW_ESTATE;
    if (rc < 0) return;
    p->link[SERVER] = link;
    if (!p->resumed[SERVER]) resume(p, SERVER);
}

static void hear_login(struct pair *p, const struct lw_event *e) {
    p->login = (struct lw_login)LW_LOGIN_INIT;
    int64_t got =
        e->code ? BY(SERVER, lw_link_login(e->link, &p->login)) : BY(SERVER, lw_server_login(p->server, &p->login));
    p->asked = got == 1;
}

static void receive(struct pair *p, enum side side) {
    struct stream *s = in(side);
    struct lw_msg msg;
    while (BY_HOT(side, lw_link_next(p->link[side], &msg, 0)) == 1) {
        stream_came(s, &msg);
        stream_releasing(s, &msg);
        if (BY_HOT(side, lw_link_release(p->link[side], &msg)) < 0) return;
        stream_released(s);
    }
}

static void hear(struct pair *p, enum side side, const struct lw_event *e) {
    if (e->kind == LW_LOGIN) hear_login(p, e);
    if (e->kind == LW_LOGIN || e->link != p->link[side]) return;
    if (e->kind == LW_UP) p->up[side] = true;
    if (e->kind == LW_DOWN) p->up[side] = false;
    if (e->kind == LW_READABLE) receive(p, side);
    if (e->kind == LW_REFUSED || e->kind == LW_RENEWED) FAILED("event %d, code %s", e->kind, lw_errname(e->code));
    if (e->kind == LW_DOWN && e->code != LW_ECLOSED && e->code != LW_EDEAD && run.strict)
        FAILED("down: %s: %s", lw_errname(e->code), lw_link_reason(e->link, NULL));
}

static void turn(struct pair *p, enum side side) {
    struct lw_event events[EVENTS];
    int64_t timeout = side == p->counted ? LW_US(300) : 0;
    int64_t n = BY_HOT(side, lw_group_poll(p->group[side], events, EVENTS, timeout));
    for (int64_t i = 0; i < n; i++) hear(p, side, &events[i]);
    if (p->asked) let_in(p);
}

static void both(struct pair *p) {
    turn(p, CLIENT);
    turn(p, SERVER);
}

/* ---- what happens ------------------------------------------------------------------------------------------------ */

static bool are_up(void *arg) {
    struct pair *p = arg;
    both(p);
    return p->up[CLIENT] && p->up[SERVER];
}

static bool all_came(void *arg) {
    struct pair *p = arg;
    both(p);
    return stream_is_complete(out(CLIENT)) && stream_is_complete(out(SERVER));
}

static int64_t send_over(void *link, uint16_t type, const void *data, size_t len) {
    return lw_link_send(link, type, data, len, 0);
}

static void say(struct pair *p, enum side side) {
    for (int i = 0; i < SOME && p->resumed[side]; i++) stream_send(out(side), send_over, p->link[side]);
}

static bool talk(struct pair *p) {
    run_wait(are_up, p, "both to be up");
    if (!p->resumed[SERVER] && !resume(p, SERVER)) return false;
    say(p, CLIENT);
    say(p, SERVER);
    run_wait(all_came, p, "all that was sent");
    return true;
}

static bool server_restarts(struct pair *p) {
    say(p, CLIENT);
    close_link(p, SERVER);
    close_server(p);
    say(p, CLIENT);
    return open_server(p) && talk(p);
}

static bool client_restarts(struct pair *p) {
    say(p, CLIENT);
    close_link(p, CLIENT);
    return open_client(p) && talk(p);
}

static bool open_all(struct pair *p) {
    return open_side(p, SERVER) && open_side(p, CLIENT) && open_client(p) && open_server(p);
}

static void go(enum over over, enum side counted) {
    struct pair pair = {.over = over, .counted = counted}, *p = &pair;
    if (open_all(p) && talk(p) && server_restarts(p)) client_restarts(p);
    close_all(p);
}

/* Messages that are sent before the other side was ever there, and while it is away. */
static void prepare_tcp(void) {
    struct pair pair = {.over = TCP, .counted = CLIENT}, *p = &pair;
    NEED(open_all(p) && talk(p));
    say(p, CLIENT);
    say(p, SERVER);
    close_all(p);
}

static void shared_client(void) {
    go(SHARED, CLIENT);
}
static void shared_server(void) {
    go(SHARED, SERVER);
}
static void tcp_client(void) {
    go(TCP, CLIENT);
}
static void tcp_server(void) {
    go(TCP, SERVER);
}
static void unix_client(void) {
    go(UNIX, CLIENT);
}
static void unix_server(void) {
    go(UNIX, SERVER);
}

const struct scenario link_scenarios[] = {
    {"link-client", NULL, shared_client, false},
    {"link-server", NULL, shared_server, false},
    {"link-disk-client", NULL, shared_client, true},
    {"tcp-client", NULL, tcp_client, false},
    {"tcp-server", NULL, tcp_server, false},
    {"tcp-old-client", prepare_tcp, tcp_client, false},
    {"tcp-old-server", prepare_tcp, tcp_server, false},
    {"unix-client", NULL, unix_client, false},
    {"unix-server", NULL, unix_server, false},
    {0},
};
