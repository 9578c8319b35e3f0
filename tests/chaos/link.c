/* SPDX-License-Identifier: MIT */
/* chaos/link.c - one life of either side of a pair: sends as fast as it can, and looks at what comes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "chaos/chaos.h"

enum { EVENTS = 8, BURST = 64, BATCH = 12, HELD_MAX = 48 };

struct side {
    struct self *self;
    struct pair *pair;
    struct way *in, *out;
    struct lw_group *group;
    struct lw_server *server; /* of a server */
    struct lw_link *link;     /* NULL: no client was let in yet */
    int port;                 /* client: where it connects to */
    uint64_t next;            /* message to send */
    uint64_t expected;        /* message to come */
    struct lw_msg last;       /* of those that are held */
    uint32_t held;
    bool full;
};

static bool is_client(const struct side *s) {
    return s->self->actor->role == CLIENT;
}

static bool may_send(const struct side *s) {
    return s->link && !s->full && !atomic_load_explicit(&s->out->quiet, memory_order_relaxed);
}

static void complain_way(const struct side *s, const struct way *way, const char *what, uint64_t number) {
    complain(
        s->self->ledger,
        "%s %u over %s: %s %llu; sent %llu to %llu, released %llu to %llu; %llu lost, %llu repeated, %llu reordered, "
        "%llu corrupt",
        is_client(s) ? "client" : "server", s->self->actor->index, s->pair->tcp ? "TCP" : "memory", what,
        (unsigned long long)number, (unsigned long long)way->sent, (unsigned long long)way->tried,
        (unsigned long long)way->released, (unsigned long long)way->releasing, (unsigned long long)way->lost,
        (unsigned long long)way->repeated, (unsigned long long)way->reordered, (unsigned long long)way->corrupt);
    _exit(COMPLAINED);
}

static void need(const struct side *s, const char *call, int64_t rc) {
    if (rc < 0) complain_call(s->self->ledger, s->self->actor, call, rc);
}

/* Where the link says that it is, against what the one before noted. */
static void learn(struct side *s) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    need(s, "lw_link_stat", lw_link_stat(s->link, &info));
    if (!way_sender_at(s->out, info.sent)) complain_way(s, s->out, "sends from", info.sent);
    if (!way_receiver_at(s->in, info.released)) complain_way(s, s->in, "receives from", info.released);
    s->next = info.sent;
    s->expected = info.released;
    s->held = 0;
    s->full = false;
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static int64_t send_copies(struct side *s, uint32_t count) {
    static _Alignas(8) char bytes[BATCH][LINK_MOST];
    struct lw_item item[BATCH];
    for (uint32_t i = 0; i < count; i++) {
        uint64_t number = s->next + i;
        item[i] = (struct lw_item){.data = bytes[i], .len = way_size(s->out, number), .type = way_type(s->out, number)};
        way_fill(s->out, number, bytes[i], item[i].len);
    }
    return count > 1 ? lw_link_send_batch(s->link, item, count, 0)
                     : lw_link_send(s->link, item->type, item->data, item->len, 0);
}

/* Reserved, filled where they lie, and made visible by the last one's commit. */
static int64_t send_in_place(struct side *s, uint32_t count) {
    for (uint64_t number = s->next;; number++) {
        void *room;
        size_t len = way_size(s->out, number);
        int64_t rc = lw_link_reserve(s->link, &room, len + dice(&s->self->dice, 32), 0);
        if (rc) {
            lw_link_abort(s->link);
            return rc;
        }
        way_fill(s->out, number, room, len);
        if (number + 1 == s->next + count) return lw_link_commit(s->link, way_type(s->out, number), len);
        need(s, "lw_link_stage", lw_link_stage(s->link, way_type(s->out, number), len));
    }
}

/* A batch must fit in half a ring. */
static uint32_t pick_count(const struct side *s) {
    size_t bytes = 0;
    uint32_t count = dice(&s->self->dice, 8) ? 1 : dice_between(&s->self->dice, 2, BATCH), n = 0;
    while (n < count && (bytes += way_size(s->out, s->next + n) + 64) < LINK_RING / 2) n++;
    return n;
}

static void send_one(struct side *s) {
    uint32_t count = pick_count(s);
    atomic_store_explicit(&s->out->tried, s->next + count, memory_order_release);
    int64_t rc = dice(&s->self->dice, 4) ? send_copies(s, count) : send_in_place(s, count);
    if (rc < 0 && rc != LW_EFULL) need(s, "send", rc);
    s->full = rc < 0;
    if (!s->full) s->next += count;
    atomic_store_explicit(&s->out->sent, s->next, memory_order_release);
    if (s->full) atomic_store_explicit(&s->out->tried, s->next, memory_order_release);
}

static void send_some(struct side *s) {
    say(s->self->actor, "sends");
    for (uint32_t i = 0; i < BURST && may_send(s); i++) send_one(s);
}

/* At the end: no more, and does the other side have all of it? */
static void look_at_end(struct side *s) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    if (!s->link || atomic_load_explicit(&s->self->ledger->stage, memory_order_relaxed) == RUN) return;
    atomic_store(&s->out->quiet, true);
    need(s, "lw_link_stat", lw_link_stat(s->link, &info));
    if (info.taken == s->next) atomic_store(&s->out->settled, true);
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

static void release(struct side *s) {
    if (!s->held) return;
    atomic_store_explicit(&s->in->releasing, s->expected, memory_order_release);
    need(s, "lw_link_release", lw_link_release(s->link, &s->last));
    atomic_store_explicit(&s->in->released, s->expected, memory_order_release);
    s->held = 0;
}

static void take(struct side *s, const struct lw_msg *msg) {
    if (!way_take(s->in, msg, s->expected)) complain_way(s, s->in, "got", msg->number);
    s->expected = msg->number + 1;
    s->last = *msg;
    s->held++;
    count(&s->self->actor->messages, 1);
    count(&s->self->actor->bytes, msg->len);
}

/* All that is held comes again. */
static void rewind_it(struct side *s) {
    lw_link_rewind(s->link);
    s->expected -= s->held;
    s->held = 0;
}

static void take_some(struct side *s) {
    struct lw_msg msg;
    int rc = LW_EEMPTY;
    say(s->self->actor, "receives");
    for (uint32_t i = 0; i < BURST && (rc = lw_link_next(s->link, &msg, 0)) == 1; i++) {
        take(s, &msg);
        if (s->held >= dice_between(&s->self->dice, 1, HELD_MAX)) release(s);
    }
    if (rc < 0 && rc != LW_EEMPTY && rc != -EINTR) need(s, "lw_link_next", rc);
    if (dice(&s->self->dice, 512) == 0) rewind_it(s);
}

/* ---- what is told ------------------------------------------------------------------------------------------------ */

/* The library never says these to two sides that belong together. Who connects to a port that a dead proxy had may meet
 * anybody. */
static void check_down(struct side *s, const struct lw_event *e) {
    int code;
    const char *reason = lw_link_reason(e->link, &code);
    if (is_client(s) && s->port != atomic_load(&s->pair->proxy_port)) return;
    if (e->code != LW_EPROTOCOL && e->code != LW_EMISMATCH && e->code != LW_ECORRUPT && e->code != LW_ESHAPE &&
        e->code != LW_EVERSION)
        return;
    complain(s->self->ledger, "%s %u is told LW_DOWN, %s: %.300s", is_client(s) ? "client" : "server",
             s->self->actor->index, lw_errname(e->code), reason);
    _exit(COMPLAINED);
}

static void let_in(struct side *s, const struct lw_event *e) {
    struct lw_login login = LW_LOGIN_INIT;
    struct lw_link *link = NULL;
    say(s->self->actor, "lets in");
    int got = e->code ? lw_link_login(e->link, &login) : lw_server_login(s->server, &login);
    if (got != 1) return;
    int rc = lw_login_accept(&login, login.link ? NULL : s->group, NULL, &link);
    if (rc == LW_ESTATE || rc == LW_EHELD) return; /* a newer one waits, or it is told again */
    need(s, "lw_login_accept", rc);
    if (link == s->link) return;
    s->link = link;
    learn(s);
}

static void hear(struct side *s, const struct lw_event *e) {
    if (e->kind == LW_LOGIN) {
        let_in(s, e);
        return;
    }
    if (e->link != s->link) return;
    if (e->kind == LW_READABLE) take_some(s);
    if (e->kind == LW_WRITABLE) s->full = false;
    if (e->kind == LW_DOWN) check_down(s, e);
    if (e->kind == LW_UP) count(&s->self->actor->ups, 1);
    if (e->kind == LW_REFUSED || e->kind == LW_RENEWED) complain_way(s, s->in, "is told event", (uint64_t)e->kind);
}

static void poll_once(struct side *s) {
    struct lw_event event[EVENTS];
    say(s->self->actor, "polls");
    int n = lw_group_poll(s->group, event, EVENTS, may_send(s) ? 0 : LW_MS(2));
    if (n < 0 && n != -EINTR) need(s, "lw_group_poll", n);
    for (int i = 0; i < n; i++) hear(s, &event[i]);
    if (n == 0) release(s);
}

/* ---- lives ------------------------------------------------------------------------------------------------------- */

/* Some die while they come back. */
static void perhaps_die_soon(struct self *self) {
    if (is_witness(self->ledger, (uint32_t)(self->actor - self->ledger->actor)) || dice(&self->dice, 8)) return;
    self_ambush(self, SIGKILL, dice_between(&self->dice, 10, 2000) * INT64_C(1000));
}

static void open_bus(struct side *s) {
    perhaps_die_soon(s->self);
    self_open(s->self, 0);
    need(s, "lw_group_open", lw_group_open(&s->group, s->self->bus, NULL));
}

static void open_server(struct side *s) {
    struct lw_server_options opt = LW_SERVER_OPTIONS_INIT;
    char name[LW_NAME_MAX + 1], listen[80] = "tcp://";
    int64_t until = 0;
    int rc;
    snprintf(name, sizeof name, "server-%u", s->self->actor->index);
    pair_host(s->self->ledger, s->self->actor->index, listen + 6, sizeof listen - 16);
    snprintf(listen + strlen(listen), 8, ":%d", atomic_load(&s->pair->server_port));
    if (s->pair->tcp) opt.listen = listen;
    say(s->self->actor, "opens a server");
    while (self_again(s->self, rc = lw_server_open(&s->server, s->group, name, &opt), &until)) continue;
    need(s, "lw_server_open", rc);
    atomic_store(&s->pair->server_port, lw_server_port(s->server));
}

static void open_client(struct side *s) {
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    char name[LW_NAME_MAX + 1], server[LW_ADDRESS_MAX];
    int64_t until = 0;
    int rc;
    snprintf(name, sizeof name, "client-%u", s->self->actor->index);
    snprintf(server, sizeof server, "tcp://127.0.0.1:%d/server-%u", s->port, s->self->actor->index);
    opt.as = name;
    opt.ring_up = opt.ring_down = LINK_RING;
    opt.retry_max = LW_MS(1);
    say(s->self->actor, "opens a link");
    const char *to = s->pair->tcp ? server : strrchr(server, '/') + 1;
    while (self_again(s->self, rc = lw_link_open(&s->link, s->group, to, &opt), &until)) continue;
    need(s, "lw_link_open", rc);
    learn(s);
}

/* The proxy has another port since it was started anew: the same link, by another address. */
static void follow_proxy(struct side *s) {
    int port = atomic_load(&s->pair->proxy_port);
    if (!is_client(s) || !s->pair->tcp || !port || port == s->port) return;
    release(s);
    lw_link_close(s->link, 0, "elsewhere");
    s->link = NULL;
    s->port = port;
    open_client(s);
}

/* What the herd wants. True: an orderly end. */
static bool obey(struct side *s) {
    struct self *self = s->self;
    if (atomic_load_explicit(&self->actor->order, memory_order_relaxed) == NO_ORDER) return false;
    int order = atomic_exchange(&self->actor->order, NO_ORDER);
    if (order == DIE || order == STOP)
        self_ambush(self, order == DIE ? SIGKILL : SIGSTOP, dice_between(&self->dice, 500, 60000));
    return order == LEAVE;
}

static void live(struct side *s) {
    while (!obey(s) && !pair_is_complete(s->pair)) {
        if (may_send(s)) send_some(s);
        poll_once(s);
        look_at_end(s);
        follow_proxy(s);
    }
}

/* What is held is not released. */
static void close_all(struct side *s) {
    struct lw_server *server = s->server;
    bool server_first = dice(&s->self->dice, 2);
    say(s->self->actor, "closes its link");
    if (server_first) lw_server_close(server);
    lw_link_close(s->link, 1, "enough");
    if (!server_first) lw_server_close(server);
    need(s, "lw_group_close", lw_group_close(s->group));
    self_close(s->self);
}

static bool waits_for_proxy(struct side *s) {
    s->port = atomic_load(&s->pair->proxy_port);
    return s->pair->tcp && !s->port && !pair_is_complete(s->pair);
}

void client_live(struct self *self) {
    struct pair *pair = &self->ledger->pair[self->actor->index];
    struct side s = {.self = self, .pair = pair, .in = &pair->way[DOWN], .out = &pair->way[UP]};
    while (waits_for_proxy(&s)) {
        say(self->actor, "waits for the proxy");
        nap(LW_MS(1));
    }
    open_bus(&s);
    open_client(&s);
    live(&s);
    close_all(&s);
}

void server_live(struct self *self) {
    struct pair *pair = &self->ledger->pair[self->actor->index];
    struct side s = {.self = self, .pair = pair, .in = &pair->way[UP], .out = &pair->way[DOWN]};
    open_bus(&s);
    open_server(&s);
    live(&s);
    close_all(&s);
}
