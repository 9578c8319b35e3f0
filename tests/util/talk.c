/* SPDX-License-Identifier: MIT */
/* util/talk.c - see talk.h. First the two processes, then the test's side of it. */
#include "util/talk.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EVENTS = 8, AT_ONCE = 8, RING = 64 << 10 };
enum { CLIENT, SERVER };

static uint64_t get(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void set(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* ---- either process ---------------------------------------------------------------------------------------------- */

struct talker {
    struct talk_ledger *ledger;
    struct talk_side *side;
    struct history *in, *out;
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_link *link;
    uint32_t life;
    uint64_t next;     /* message to send */
    uint64_t received; /* the number after the last */
    uint64_t burst;    /* client: requests up to here */
    struct lw_msg last;
    uint64_t held; /* messages, up to the last one, that are not released yet */
    bool full;
    uint64_t random;
};

static uint64_t draw(struct talker *t) {
    t->random = t->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return t->random >> 33;
}

static void open_bus(struct talker *t, const char *dir) {
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    opt.dir = dir;
    T_NEED(!lw_bus_open(&t->bus, &opt));
    T_NEED(!lw_group_open(&t->group, t->bus, NULL));
}

static void close_all(struct talker *t) {
    lw_link_close(t->link, 7, "enough");
    T_NEED(!lw_group_close(t->group));
    T_NEED(!lw_bus_close(t->bus));
}

/* Where the link is: what this side has sent, and what it has released. */
static void learn(struct talker *t) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    T_NEED(!lw_link_stat(t->link, &info));
    t->next = info.sent;
    t->received = info.released;
    t->held = 0;
    t->full = false;
    history_sender_resumes(t->out, info.sent);
}

static bool send_copy(struct talker *t, uint64_t count) {
    static _Alignas(8) char bytes[8][HISTORY_MESSAGE];
    struct lw_item items[8];
    for (uint64_t i = 0; i < count; i++) {
        size_t size = history_message(t->out, t->next + i, t->ledger->how.big, bytes[i]);
        items[i] = (struct lw_item){bytes[i], size, history_type(t->next + i)};
    }
    int64_t rc = count > 1 ? lw_link_send_batch(t->link, items, count, 0)
                           : lw_link_send(t->link, items->type, items->data, items->len, 0);
    T_NEED(rc >= 0 || rc == LW_EFULL);
    return rc >= 0;
}

static bool send_in_place(struct talker *t) {
    void *room;
    int rc = lw_link_reserve(t->link, &room, HISTORY_MESSAGE - 64, 0);
    T_NEED(!rc || rc == LW_EFULL);
    if (rc) return false;
    size_t size = history_message(t->out, t->next, t->ledger->how.big, room);
    T_NEED(lw_link_commit(t->link, history_type(t->next), size) >= 0);
    return true;
}

/* By one of the ways that there are. */
static void send_some(struct talker *t, uint64_t count) {
    history_sending(t->out, t->next + count);
    bool sent = count == 1 && draw(t) % 4 == 0 ? send_in_place(t) : send_copy(t, count);
    t->full = !sent;
    if (sent) t->next += count;
    history_sent(t->out, t->next);
    if (!sent) history_sending(t->out, t->next);
}

static void release(struct talker *t) {
    if (!t->held) return;
    history_releasing(t->in, t->last.number + 1);
    T_NEED(!lw_link_release(t->link, &t->last));
    history_released(t->in, t->last.number + 1);
    t->held = 0;
}

static void hold(struct talker *t, const struct lw_msg *msg) {
    history_came(t->in, msg, t->ledger->how.big, t->life);
    t->received = msg->number + 1;
    t->last = *msg;
    t->held++;
}

/* Several are released at a time, and the rest when there is nothing else to do. */
static void release_some(struct talker *t) {
    uint64_t most = t->ledger->how.hold ? t->ledger->how.hold : 8;
    if (t->held >= 1 + draw(t) % most) release(t);
}

static void note_down(struct talker *t, const struct lw_event *e) {
    int code;
    const char *reason = lw_link_reason(e->link, &code);
    t->side->code = e->code;
    t->side->reason_code = code;
    snprintf(t->side->reason, sizeof t->side->reason, "%s", reason);
    if (code == LW_EPROTOCOL || code == LW_EMISMATCH || code == LW_ECORRUPT) t->side->quarrels++;
    set(&t->side->downs, t->side->downs + 1);
}

static void note(struct talker *t, const struct lw_event *e) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    if (e->kind == LW_DOWN) note_down(t, e);
    if (e->kind == LW_RENEWED) t->side->renewed_code = e->code;
    if (e->kind == LW_RENEWED) set(&t->side->renewed, t->side->renewed + 1);
    if (e->kind == LW_REFUSED) set(&t->side->refusals, t->side->refusals + 1);
    if (e->kind != LW_UP) return;
    T_NEED(!lw_link_stat(e->link, &info));
    set(&t->side->connections, info.connections);
    set(&t->side->ups, t->side->ups + 1);
}

/* ---- the client -------------------------------------------------------------------------------------------------- */

static bool may_ask(struct talker *t) {
    const struct talk_how *how = &t->ledger->how;
    if (get(&t->ledger->quiet) || t->full) return false;
    if (!how->burst) return t->next - t->received < (how->window ? how->window : 16);
    if (t->next >= t->burst && t->received >= t->next) t->burst = t->next + how->burst;
    return t->next < t->burst;
}

static void take_answers(struct talker *t) {
    struct lw_msg msg;
    int rc = 1;
    for (int i = 0; i < AT_ONCE && (rc = lw_link_next(t->link, &msg, 0)) == 1; i++) hold(t, &msg);
    T_NEED(rc == 1 || rc == LW_EEMPTY || rc == -EINTR);
    release_some(t);
}

static void open_client(struct talker *t, const struct talk *talk) {
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    char address[LW_ADDRESS_MAX];
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d/" TALK_SERVER, proxy_port(talk->proxy));
    opt.as = TALK_CLIENT;
    opt.ring_up = t->ledger->how.ring_up;
    opt.ring_down = t->ledger->how.ring_down;
    opt.flags = t->ledger->how.client_flags;
    opt.login = "may I";
    opt.login_len = 5;
    opt.retry_max = 1; /* ns: at once */
    T_NEED(!lw_link_open(&t->link, t->group, address, &opt));
    learn(t);
    t->burst = t->next;
}

static int client(void *arg) {
    struct talk *talk = arg;
    struct talk_ledger *ledger = talk->ledger;
    struct talker t = {.ledger = ledger, .side = &ledger->side[CLIENT], .in = &ledger->down, .out = &ledger->up};
    struct lw_event events[EVENTS];
    t.life = ledger->life[CLIENT];
    t.random = t.life;
    open_bus(&t, talk->dir[CLIENT]);
    open_client(&t, talk);
    t_say(0);
    while (!get(&ledger->leave[CLIENT])) {
        while (may_ask(&t)) send_some(&t, history_batch(t.next));
        int n = lw_group_poll(t.group, events, EVENTS, LW_MS(1));
        T_NEED(n >= 0 || n == -EINTR);
        for (int i = 0; i < n; i++) {
            if (events[i].kind == LW_READABLE) take_answers(&t);
            if (events[i].kind == LW_WRITABLE) t.full = false;
            note(&t, &events[i]);
        }
        if (n == 0) release(&t);
        set(&ledger->idle, get(&ledger->quiet) && t.received == t.next);
    }
    close_all(&t);
    return 0;
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

static void let_in(struct talker *t, const struct lw_event *e, struct lw_server *server) {
    struct lw_login login = LW_LOGIN_INIT;
    struct lw_link *link = NULL;
    int got = e->code ? lw_link_login(e->link, &login) : lw_server_login(server, &login);
    if (got != 1) return;
    set(&t->side->logins, t->side->logins + 1);
    int rc = lw_login_accept(&login, e->code ? NULL : t->group, NULL, &link);
    if (rc == LW_ESTATE) return;
    if (rc) fprintf(stderr, "login of %s: %s: %s\n", login.client, lw_errname(rc), lw_errtext());
    if (rc) return;
    t->link = link;
    if (!e->code) learn(t);
}

/* Answers what was not answered. Without room for an answer the link rests. */
static void serve(struct talker *t) {
    struct lw_msg msg;
    int rc = 1;
    for (int i = 0; i < AT_ONCE && (rc = lw_link_next(t->link, &msg, 0)) == 1; i++) {
        if (msg.number >= t->next) send_some(t, 1);
        if (t->full) break;
        hold(t, &msg);
    }
    T_NEED(rc == 1 || rc == LW_EEMPTY || rc == -EINTR);
    release_some(t);
    if (!t->full) return;
    release(t);
    lw_link_rewind(t->link);
    lw_link_pause(t->link, 1);
}

static void hear(struct talker *t, const struct lw_event *e, struct lw_server *server) {
    if (e->kind == LW_LOGIN) let_in(t, e, server);
    if (e->kind == LW_LOGIN || e->link != t->link) return;
    if (e->kind == LW_WRITABLE && t->full) {
        t->full = false;
        lw_link_pause(t->link, 0);
    }
    if (e->kind == LW_READABLE) serve(t);
    note(t, e);
}

static struct lw_server *open_server(struct talker *t, const char *listen) {
    struct lw_server_options opt = LW_SERVER_OPTIONS_INIT;
    struct lw_server *server;
    opt.listen = listen;
    opt.flags = t->ledger->how.server_flags;
    int rc = lw_server_open(&server, t->group, TALK_SERVER, &opt);
    if (rc) fprintf(stderr, "server at %s: %s\n", listen, lw_errtext());
    T_NEED(!rc);
    return server;
}

static int server(void *arg) {
    struct talk *talk = arg;
    struct talk_ledger *ledger = talk->ledger;
    struct talker t = {.ledger = ledger, .side = &ledger->side[SERVER], .in = &ledger->up, .out = &ledger->down};
    struct lw_event events[EVENTS];
    t.life = ledger->life[SERVER];
    t.random = t.life;
    open_bus(&t, talk->dir[SERVER]);
    struct lw_server *server = open_server(&t, talk->listen);
    t_say(lw_server_port(server));
    while (!get(&ledger->leave[SERVER])) {
        int n = lw_group_poll(t.group, events, EVENTS, LW_MS(1));
        T_NEED(n >= 0 || n == -EINTR);
        for (int i = 0; i < n; i++) hear(&t, &events[i], server);
        if (n == 0) release(&t);
    }
    lw_server_close(server);
    close_all(&t);
    return 0;
}

/* ---- the test's side --------------------------------------------------------------------------------------------- */

void talk_start_server(struct talk *t) {
    t->ledger->life[SERVER]++;
    set(&t->ledger->leave[SERVER], 0);
    t->server = t_fork(server, t);
    int64_t port = t_hear(&t->server);
    char *colon = strrchr(t->listen, ':');
    snprintf(colon, sizeof t->listen - (size_t)(colon - t->listen), ":%d", (int)port);
}

void talk_start_client(struct talk *t) {
    t->ledger->life[CLIENT]++;
    set(&t->ledger->leave[CLIENT], 0);
    t->client = t_fork(client, t);
    t_hear(&t->client);
}

void talk_kill_client(struct talk *t) {
    t_kill(&t->client);
    history_receiver_died(&t->ledger->down);
}

void talk_kill_server(struct talk *t) {
    t_kill(&t->server);
    history_receiver_died(&t->ledger->up);
}

static void leave(struct talk *t, int who) {
    struct t_child *child = who == CLIENT ? &t->client : &t->server;
    struct history *in = who == CLIENT ? &t->ledger->down : &t->ledger->up;
    set(&t->ledger->leave[who], 1);
    for (siginfo_t info = {0}; !info.si_pid; t_sleep(LW_MS(1) / 5)) {
        history_check(in); /* it may wait for that */
        if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT)) break;
    }
    assert_int_equal(t_wait(child), 0);
    history_receiver_died(in);
}

void talk_leave_client(struct talk *t) {
    leave(t, CLIENT);
}

void talk_leave_server(struct talk *t) {
    leave(t, SERVER);
}

/* An address that no other test has. */
struct talk *talk_begin(const char *dir, const struct talk_how *how) {
    struct talk *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->ledger = mmap(NULL, sizeof *t->ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(t->ledger, MAP_FAILED);
    if (how) t->ledger->how = *how;
    if (!t->ledger->how.ring_up) t->ledger->how.ring_up = RING;
    if (!t->ledger->how.ring_down) t->ledger->how.ring_down = RING;
    t->ledger->up.salt = 1;
    t->ledger->down.salt = 2;
    snprintf(t->dir[CLIENT], T_PATH, "%s-client", dir);
    snprintf(t->dir[SERVER], T_PATH, "%s-server", dir);
    unsigned id = (unsigned)getpid();
    snprintf(t->listen, sizeof t->listen, "tcp://127.%u.%u.%u:0", 1 + id / 62500 % 250, 1 + id / 250 % 250,
             1 + id % 250);
    talk_start_server(t);
    t->proxy = proxy_start(t->listen + strlen("tcp://"));
    assert_non_null(t->proxy);
    talk_start_client(t);
    return t;
}

void talk_end(struct talk *t) {
    if (t->client.pid) t_kill(&t->client);
    if (t->server.pid) t_kill(&t->server);
    proxy_stop(t->proxy);
    munmap(t->ledger, sizeof *t->ledger);
    free(t);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static void print_side(const char *name, const struct talk_side *s) {
    fprintf(stderr, "%s: up %" PRIu64 ", down %" PRIu64 " (%s), renewed %" PRIu64 ", %" PRIu64 " logins; \"%s\"\n",
            name, s->ups, s->downs, s->code ? lw_errname((int)s->code) : "-", s->renewed, s->logins, s->reason);
}

void talk_fail(struct talk *t, const char *what) {
    struct proxy_counts c = proxy_count(t->proxy);
    const struct talk_ledger *l = t->ledger;
    print_side("client", &l->side[CLIENT]);
    print_side("server", &l->side[SERVER]);
    fprintf(stderr,
            "requests: sent %" PRIu64 ", released %" PRIu64 "; answers: sent %" PRIu64 ", released %" PRIu64
            "; proxy: %" PRIu64 " connections, %" PRIu64 " cuts, %d live\n",
            get(&l->up.sent), get(&l->up.released), get(&l->down.sent), get(&l->down.released), c.connections, c.cuts,
            c.live);
    fail_msg("%s", what);
    abort();
}

static void need_alive(struct talk *t, const struct t_child *child, const char *name) {
    siginfo_t info = {0};
    if (!child->pid || waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid) return;
    fprintf(stderr, "the %s has ended: %d\n", name, info.si_status);
    talk_fail(t, "a process has ended by itself");
}

void talk_look(struct talk *t) {
    history_check(&t->ledger->up);
    history_check(&t->ledger->down);
    need_alive(t, &t->client, "client");
    need_alive(t, &t->server, "server");
    if (t->ledger->side[CLIENT].quarrels + t->ledger->side[SERVER].quarrels) talk_fail(t, "the two sides quarrel");
    if (!history_is_clean(&t->ledger->up) || !history_is_clean(&t->ledger->down)) {
        history_verdict(&t->ledger->up, "requests");
        history_verdict(&t->ledger->down, "answers");
        talk_fail(t, "lost, repeated, out of order or corrupt");
    }
}

bool talk_settles(struct talk *t) {
    struct talk_ledger *l = t->ledger;
    proxy_set(t->proxy, NULL);
    set(&l->quiet, 1);
    TALK_UNTIL(t, get(&l->idle) && history_is_complete(&l->up) && history_is_complete(&l->down));
    bool up = history_verdict(&l->up, "requests"), down = history_verdict(&l->down, "answers");
    return up && down;
}

void talk_goes_on(struct talk *t) {
    set(&t->ledger->idle, 0);
    set(&t->ledger->quiet, 0);
}

void talk_some(struct talk *t, uint64_t requests) {
    uint64_t end = get(&t->ledger->down.released) + requests;
    TALK_UNTIL(t, get(&t->ledger->down.released) >= end);
}

/* ---- cuts -------------------------------------------------------------------------------------------------------- */

int64_t talk_stride(int64_t every) {
    return getenv("LW_TEST_SHORT") ? 13 * every : every;
}

/* Cuts connection after connection, at from, from + every, ..., to - 1 bytes of a direction. */
static void sweep(struct talk *t, int dir, enum proxy_fault what, int64_t from, int64_t to, int64_t step) {
    int64_t count = (to - from + step - 1) / step + 1; /* one more: the first cut may be another */
    uint64_t before = proxy_count(t->proxy).cuts;
    proxy_set(t->proxy, &(struct proxy_plan){.dir = dir, .at = from, .what = what, .step = step, .times = (int)count});
    proxy_cut_now(t->proxy, what); /* the connection that there is has no plan */
    TALK_UNTIL(t, proxy_count(t->proxy).cuts >= before + (uint64_t)count);
    assert_true(talk_settles(t));
    talk_goes_on(t);
}

void talk_cuts(struct talk *t, int64_t from, int64_t to, int64_t every) {
    int64_t begin = t_now();
    uint64_t before = proxy_count(t->proxy).cuts, ups = t->ledger->side[CLIENT].ups;
    for (int dir = 0; dir < 2; dir++) {
        sweep(t, dir, CUT_RST, from, to, talk_stride(every));
        sweep(t, dir, CUT_FIN, from, to, talk_stride(every));
    }
    printf("%" PRIu64 " cuts, %" PRIu64 " times up, %" PRIu64 " requests and answers: %" PRId64 " ms\n",
           proxy_count(t->proxy).cuts - before, t->ledger->side[CLIENT].ups - ups, t->ledger->up.sent,
           (t_now() - begin) / LW_MS(1));
}
