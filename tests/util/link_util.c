/* SPDX-License-Identifier: MIT */
/* util/link_util.c - see link_util.h. */
#include "util/link_util.h"

#include <errno.h>
#include <inttypes.h>

/* ---- parties ----------------------------------------------------------------------------------------------------- */

struct tl_party tl_party(const char *dir, const char *node) {
    struct tl_party p = {.bus = tt_bus(dir, node)};
    T_NEED(!lw_group_open(&p.group, p.bus, NULL));
    tl_drives(p.group);
    return p;
}

void tl_leave(struct tl_party *party) {
    tl_drives_no_more(party->group);
    T_NEED(!lw_group_close(party->group));
    T_NEED(!lw_bus_close(party->bus));
    *party = (struct tl_party){NULL, NULL};
}

static int open_link(struct lw_link **link, const struct tl_party *party, const char *server, const char *as,
                     const char *login) {
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    opt.as = as;
    opt.ring_up = opt.ring_down = TL_RING;
    opt.login = login;
    opt.login_len = login ? strlen(login) : 0;
    return tl_link_open(link, party->group, server, &opt);
}

struct lw_link *tl_open(const struct tl_party *party, const char *server, const char *as, const char *login) {
    struct lw_link *link;
    int rc = open_link(&link, party, server, as, login);
    if (rc) print_error("link %s/%s: %s: %s\n", server, as ? as : "", lw_errname(rc), lw_errtext());
    T_NEED(!rc);
    return link;
}

int tl_try_open(struct lw_link **link, const struct tl_party *party, const char *server, const char *as) {
    return open_link(link, party, server, as, NULL);
}

struct lw_server *tl_server(const struct tl_party *party, const char *name) {
    struct lw_server *server;
    int rc = tl_server_open(&server, party->group, name, NULL);
    if (rc) print_error("server %s: %s: %s\n", name, lw_errname(rc), lw_errtext());
    T_NEED(!rc);
    return server;
}

struct lw_login tl_login(const struct tl_party *party, struct lw_server *server, const char *client) {
    struct lw_login login = LW_LOGIN_INIT;
    tl_settle(); /* who is there is told of before who left something */
    T_NEED(tl_await(party, LW_LOGIN, server, NULL));
    T_NEED(lw_server_login(server, &login) == 1);
    if (client && strcmp(login.client, client) != 0) print_error("login of %s, wanted %s\n", login.client, client);
    T_NEED(!client || !strcmp(login.client, client));
    return login;
}

struct lw_link *tl_accept(const struct tl_party *party, struct lw_server *server, const char *client) {
    struct lw_login login = tl_login(party, server, client);
    struct lw_accept_options opt = LW_ACCEPT_OPTIONS_INIT;
    struct lw_link *link;
    opt.answer = "welcome";
    opt.answer_len = 7;
    int rc = lw_login_accept(&login, party->group, &opt, &link);
    if (rc) print_error("accept %s: %s: %s\n", login.client, lw_errname(rc), lw_errtext());
    T_NEED(!rc);
    return link;
}

void tl_accept_again(const struct tl_party *party, struct lw_link *down) {
    struct lw_login login = LW_LOGIN_INIT;
    T_NEED(tl_await(party, LW_LOGIN, down, NULL));
    T_NEED(lw_link_login(down, &login) == 1 && login.link == down);
    T_NEED(!lw_login_accept(&login, NULL, NULL, NULL));
    T_NEED(tl_await(party, LW_UP, down, NULL));
}

struct tl_pair tl_pair(const char *dir) {
    struct tl_pair p = {.client = tl_party(dir, "alice"), .server = tl_party(dir, "host")};
    p.at = tl_server(&p.server, "gateway");
    p.up = tl_open(&p.client, "gateway", NULL, "hello");
    p.down = tl_accept(&p.server, p.at, "alice");
    /* over a socket, what was left unread by the pair before may be told first */
    T_NEED((tl_over() ? tl_await : tl_is_told)(&p.server, LW_UP, p.down, NULL));
    T_NEED((tl_over() ? tl_await : tl_is_told)(&p.client, LW_UP, p.up, NULL));
    return p;
}

void tl_pair_end(struct tl_pair *p) {
    lw_link_close(p->up, 0, NULL);
    lw_link_close(p->down, 0, NULL);
    lw_server_close(p->at);
    tl_leave(&p->client);
    tl_leave(&p->server);
}

void tl_remove(const char *dir) {
    struct lw_bus *bus = tt_bus(dir, NULL);
    T_NEED(!tl_link_remove(bus, "gateway", "alice", 0, NULL));
    T_NEED(!lw_bus_close(bus));
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static const char *name_of(int kind) {
    static const char *const names[] = {"nothing", "READABLE", "WRITABLE", "UP",    "DOWN",   "REFUSED",
                                        "LOGIN",   "STUCK",    "MOVING",   "WOKEN", "RENEWED"};
    return kind >= 0 && kind <= 10 ? names[kind] : "an error";
}

#define SLICE LW_US(200) /* with others to be driven */

/* One poll, or as much of it as others allow. */
static int poll_once(const struct tl_party *party, struct lw_event *event, int64_t timeout) {
    bool others = tl_drives_others();
    if (others) tl_drive();
    return lw_group_poll(party->group, event, 1, others && timeout > SLICE ? SLICE : timeout);
}

/* The next event, whatever it is. */
static bool next_event(const struct tl_party *party, struct lw_event *event) {
    int rc;
    int64_t end = t_now() + LW_SEC(20);
    do rc = poll_once(party, event, LW_SEC(20));
    while (rc == -EINTR || (rc == 0 && t_now() < end));
    if (rc < 1) *event = (struct lw_event){.kind = 0};
    return rc == 1;
}

static bool is_it(const struct lw_event *event, enum lw_event_kind kind, const void *handle) {
    return event->kind == kind && (!handle || handle == (kind == LW_LOGIN ? (void *)event->server : event->link));
}

bool tl_is_told(const struct tl_party *party, enum lw_event_kind kind, const void *handle, struct lw_event *event) {
    struct lw_event e;
    bool any = next_event(party, &e);
    if (event) *event = e;
    if (any && is_it(&e, kind, handle)) return true;
    print_error("wanted %s, was told %s (code %d)%s%s\n", name_of((int)kind), name_of((int)e.kind), e.code,
                any && e.kind == kind ? " of another handle" : "",
                any && e.kind == LW_DOWN ? lw_link_reason(e.link, NULL) : "");
    return false;
}

bool tl_await(const struct tl_party *party, enum lw_event_kind kind, const void *handle, struct lw_event *event) {
    struct lw_event e;
    for (int64_t end = t_now() + LW_SEC(20); t_now() < end && next_event(party, &e);)
        if (is_it(&e, kind, handle)) {
            if (event) *event = e;
            return true;
        }
    print_error("waited for %s\n", name_of((int)kind));
    return false;
}

bool tl_quiet(const struct tl_party *party, int64_t ns) {
    struct lw_event e;
    tl_settle();
    int64_t end = t_now() + ns, left = ns;
    do {
        int rc = poll_once(party, &e, left > 0 ? left : 0); /* negative is for ever */
        left = end - t_now();
        if (rc == 0 || rc == -EINTR) continue;
        print_error("wanted quiet, was told %s (code %d%s%s)\n", name_of(rc == 1 ? (int)e.kind : -1), e.code,
                    rc == 1 && e.kind == LW_DOWN ? ": " : "",
                    rc == 1 && e.kind == LW_DOWN ? lw_link_reason(e.link, NULL) : "");
        return false;
    } while (left > 0);
    return true;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

int64_t tl_send(struct lw_link *link, uint64_t number, int64_t timeout) {
    char buffer[TT_MESSAGE];
    size_t len = tt_fill(buffer, number);
    if (!tl_drives_others() || timeout == 0) return lw_link_send(link, tt_type(number), buffer, len, timeout);
    int64_t rc, end = timeout < 0 ? INT64_MAX : t_now() + timeout;
    do {
        tl_drive();
        rc = lw_link_send(link, tt_type(number), buffer, len, SLICE);
    } while (rc == LW_EFULL && t_now() < end);
    return rc;
}

void tl_send_many(struct lw_link *link, uint64_t first, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) T_NEED(tl_send(link, first + i, LW_SEC(20)) >= 0);
}

uint64_t tl_send_all(struct lw_link *link, uint64_t first) {
    int64_t rc;
    tl_settle_link(link);
    while ((rc = tl_send(link, first, 0)) >= 0) first++;
    T_NEED(rc == LW_EFULL);
    return first;
}

/* Waits 20 s. */
static int next(struct lw_link *link, struct lw_msg *msg) {
    bool others = tl_drives_others();
    int64_t end = t_now() + LW_SEC(20);
    int rc = lw_link_next(link, msg, others ? 0 : LW_SEC(20));
    while (others && rc == LW_EEMPTY && t_now() < end) {
        tl_drive();
        rc = lw_link_next(link, msg, SLICE);
    }
    return rc;
}

static bool gets_one(struct lw_link *link, uint64_t number) {
    struct lw_msg msg;
    int rc = next(link, &msg);
    if (rc == 1 && tt_read(&msg) == number && lw_link_release(link, &msg) == 0) return true;
    print_error("wanted message %" PRIu64 ", got %s %" PRIu64 "\n", number, rc == 1 ? "message" : lw_errname(rc),
                rc == 1 ? tt_read(&msg) : 0);
    return false;
}

bool tl_gets(struct lw_link *link, uint64_t first, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        if (!gets_one(link, first + i)) return false;
    return true;
}

bool tl_gets_only(struct lw_link *link, uint64_t first, uint64_t count) {
    struct lw_msg msg;
    if (!tl_gets(link, first, count)) return false;
    tl_settle_link(link);
    int rc = lw_link_next(link, &msg, 0);
    if (rc == LW_EEMPTY) return true;
    print_error("wanted no more, got %s\n", rc == 1 ? "a message" : lw_errname(rc));
    return false;
}

bool tl_talk(struct lw_link *up, struct lw_link *down, uint64_t first) {
    tl_send_many(up, first, 5);
    tl_send_many(down, first, 5);
    return tl_gets_only(down, first, 5) && tl_gets_only(up, first, 5);
}

struct lw_link_info tl_stat(struct lw_link *link) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    tl_settle_link(link);
    T_NEED(!lw_link_stat(link, &info));
    return info;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

const char *tl_far(const char *dir) {
    return tt_text("%s-far", dir);
}

const char *tl_lane(char path[TT_PATH], const char *dir, const char *server, const char *client, const char *way) {
    snprintf(path, TT_PATH, "%s/links/%s/%s/%s.lane", dir, server, client, way);
    return path;
}

const char *tl_client_lane(char path[TT_PATH], const char *dir, const char *server, const char *client,
                           const char *way) {
    const char *root = tl_over() == TL_SHARED ? "links" : "remote";
    snprintf(path, TT_PATH, "%s/%s/%s/%s/%s.lane", dir, root, server, client, way);
    return path;
}
