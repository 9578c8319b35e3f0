/* SPDX-License-Identifier: MIT */
/*
 * kill/link_ops.c - links: one side is killed while the other one lives on, over shared memory (link/...) and over a socket
 * (far/...), where each side has a bus of its own. history[0] goes up, from client to server; history[1] goes down.
 *
 * Whoever comes next for the dead side opens it again: what had been sent comes, once and in order, both ways, and what
 * was released does not come again.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "kill/real.h"
#include "util/topic_util.h"

enum { SOME = 3, AFTER = 5, EVENTS = 8 };

/* One side in this process. */
struct side {
    bool serves;
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_server *server;
    struct lw_link *link;
    struct history *in, *out;
    uint64_t next; /* message to send */
    uint32_t life;
    bool up, keeps; /* keeps: releases nothing */
    uint64_t came;  /* in this life */
    struct lw_msg last;
};

static struct side s;

/* `in_place`: over a socket. */
static bool is_far(void) {
    return kill_now->in_place;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static void begin_side(struct side *p, bool serves) {
    *p = (struct side){.serves = serves, .in = &kb->history[!serves], .out = &kb->history[serves]};
    p->bus = tt_bus(serves && is_far() ? kill_far_dir : kill_dir, serves ? "host" : "alice");
    T_NEED(!lw_group_open(&p->group, p->bus, NULL));
    p->life = (uint32_t)__atomic_add_fetch(&kb->lives[serves], 1, __ATOMIC_SEQ_CST);
    history_receiver_died(p->in);
}

static void learn(struct side *p) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    T_NEED(!lw_link_stat(p->link, &info));
    p->next = info.sent;
    history_sender_resumes(p->out, info.sent);
}

static void open_server(struct side *p) {
    struct lw_server_options opt = LW_SERVER_OPTIONS_INIT;
    const char *listen = tt_text("unix://%s.sock", kill_far_dir);
    if (is_far()) opt.listen = listen;
    opt.hello_within = LW_SEC(600); /* of one that is stepped */
    int rc = lw_server_open(&p->server, p->group, "gate", &opt);
    if (rc) fprintf(stderr, "server: %s\n", lw_errtext());
    T_NEED(!rc);
}

static void open_client(struct side *p) {
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    const char *address = is_far() ? tt_text("unix://%s.sock/gate", kill_far_dir) : "gate";
    opt.ring_up = opt.ring_down = 64 << 10;
    opt.retry_max = LW_MS(1);
    opt.login = "let me in";
    opt.login_len = 9;
    int rc = lw_link_open(&p->link, p->group, address, &opt);
    if (rc) fprintf(stderr, "client: %s\n", lw_errtext());
    T_NEED(!rc);
    learn(p);
}

static void open_side(struct side *p) {
    if (p->serves)
        open_server(p);
    else
        open_client(p);
}

static void close_side(struct side *p) {
    lw_link_close(p->link, 0, NULL);
    lw_server_close(p->server);
    T_NEED(!lw_group_close(p->group) && !lw_bus_close(p->bus));
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static void let_in(struct side *p, const struct lw_event *e) {
    struct lw_login login = LW_LOGIN_INIT;
    struct lw_link *link = NULL;
    int got = e->code ? lw_link_login(e->link, &login) : lw_server_login(p->server, &login);
    if (got != 1) return;
    int rc = lw_login_accept(&login, e->code ? NULL : p->group, NULL, &link);
    if (rc && rc != LW_ESTATE && rc != LW_EHELD) fprintf(stderr, "accept: %s: %s\n", lw_errname(rc), lw_errtext());
    if (rc) return;
    p->link = link;
    if (!e->code) learn(p);
}

static void send_one(struct side *p) {
    char data[HISTORY_MESSAGE];
    size_t len = history_message(p->out, p->next, 0, data);
    history_sending(p->out, p->next + 1);
    int64_t rc = lw_link_send(p->link, history_type(p->next), data, len, 0);
    T_NEED(rc >= 0);
    history_sent(p->out, ++p->next);
}

static void release(struct side *p) {
    if (!p->last.next) return;
    history_releasing(p->in, p->last.number + 1);
    T_NEED(!lw_link_release(p->link, &p->last));
    history_released(p->in, p->last.number + 1);
    p->last.next = 0;
}

static void receive(struct side *p) {
    struct lw_msg msg;
    int rc;
    while ((rc = lw_link_next(p->link, &msg, 0)) == 1) {
        history_came(p->in, &msg, 0, p->life);
        p->last = msg;
        p->came++;
    }
    T_NEED(rc == LW_EEMPTY || rc == LW_EREFUSED || rc == -EINTR);
    if (!p->keeps) release(p);
}

static void turn(struct side *p) {
    struct lw_event events[EVENTS];
    int n = lw_group_poll(p->group, events, EVENTS, LW_MS(1));
    T_NEED(n >= 0 || n == -EINTR);
    for (int i = 0; i < n; i++) {
        if (events[i].kind == LW_LOGIN) let_in(p, &events[i]);
        if (events[i].kind == LW_LOGIN || events[i].link != p->link) continue;
        if (events[i].kind == LW_UP) p->up = true;
        if (events[i].kind == LW_DOWN) p->up = false;
    }
    if (p->link) receive(p);
    while (p->link && p->next < kb_get(&kb->want[p->serves])) send_one(p);
}

/* An instruction at a time it may take long. */
#define TURN_UNTIL(p, condition)                                                                                       \
    do turn(p);                                                                                                        \
    while (!(condition))

/* At full speed: a minute. */
#define SOON(p, condition)                                                                                             \
    do {                                                                                                               \
        T_NEED(t_now() < limit);                                                                                       \
        turn(p);                                                                                                       \
    } while (!(condition))

static bool all_is_there(const struct history *h, uint64_t want) {
    return kb_get(&h->sent) >= want && kb_get(&h->released) >= want;
}

/* The other side lives on. It says when what it was to send is in its lane, and what goes over a socket went. */
static int live(bool serves) {
    struct side p;
    begin_side(&p, serves);
    open_side(&p);
    while (!kb_get(&kb->leave)) {
        p.keeps = kb_get(&kb->number);
        turn(&p);
        uint64_t flushed = p.next;
        turn(&p);
        kb_set(&kb->ready, flushed + 1);
    }
    close_side(&p);
    return 0;
}

static int live_as_server(void *arg) {
    (void)arg;
    return live(true);
}

static int live_as_client(void *arg) {
    (void)arg;
    return live(false);
}

/* ---- the child --------------------------------------------------------------------------------------------------- */

static bool child_serves(void) {
    return kill_now->peer == live_as_client;
}

static void be_there(void *arg) {
    (void)arg;
    begin_side(&s, child_serves());
}

static void log_in(void *arg) {
    (void)arg;
    open_side(&s);
    TURN_UNTIL(&s, s.up);
}

static void be_up(void *arg) {
    be_there(arg);
    log_in(arg);
}

static void be_up_with_more_to_come(void *arg) {
    be_up(arg);
    s.keeps = true;
    kb_set(&kb->want[!s.serves], SOME);
    while (kb_get(&kb->ready) < SOME + 1) t_sleep(LW_US(50)); /* not by polling: it lies there until then */
}

static void be_up_with_messages(void *arg) {
    be_up_with_more_to_come(arg);
    TURN_UNTIL(&s, s.came == SOME);
}

/* It has sent, and the other side has them and keeps them. */
static void be_up_with_sent_ones(void *arg) {
    kb_set(&kb->number, 1);
    be_up(arg);
    for (int i = 0; i < SOME; i++) send_one(&s);
    TURN_UNTIL(&s, kb_get(&s.out->written) == SOME);
    kb_set(&kb->number, 0);
    while (kb_get(&s.out->released) < SOME) t_sleep(LW_US(50));
}

static void send_some(void *arg) {
    (void)arg;
    for (int i = 0; i < SOME; i++) send_one(&s);
    turn(&s);
}

static void take_all(void *arg) {
    (void)arg;
    TURN_UNTIL(&s, s.came == SOME);
}

static void release_all(void *arg) {
    (void)arg;
    release(&s);
    s.keeps = false;
    for (int i = 0; i < 3; i++) turn(&s);
}

/* Until it knows that all is released. */
static void hear_of_it(void *arg) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    (void)arg;
    do {
        turn(&s);
        T_NEED(!lw_link_stat(s.link, &info));
    } while (info.taken < SOME);
}

static void close_link(void *arg) {
    (void)arg;
    lw_link_close(s.link, 0, "enough");
    s.link = NULL;
}

/* ---- recovery, and what must hold --------------------------------------------------------------------------------- */

static void recover(void *arg) {
    (void)arg;
    begin_side(&s, child_serves());
    s.keeps = true;
    open_side(&s);
    TURN_UNTIL(&s, s.up);
    close_side(&s);
}

static int verify(void *arg) {
    int64_t limit = t_now() + LW_SEC(60);
    (void)arg;
    begin_side(&s, child_serves());
    open_side(&s);
    SOON(&s, s.up && s.link);
    for (int i = 0; i < 2; i++) kb_set(&kb->want[i], kb_get(&kb->history[i].sent) + AFTER);
    kb_set(&kb->number, 0);
    SOON(&s, all_is_there(&kb->history[0], kb->want[0]) && all_is_there(&kb->history[1], kb->want[1]));
    close_side(&s);
    return 0;
}

/* ---- stops ------------------------------------------------------------------------------------------------------- */

/* Nobody gets the name of who is stopped. Messages go on as far as there is somebody to take them. */
static const char *nobody_gets_its_name(void) {
    struct lw_bus *b;
    bool is_there = kb_get(&kb->lives[child_serves()]) > 0;
    const char *dir = child_serves() && is_far() ? kill_far_dir : kill_dir;
    int rc = t_bus_open(&b, dir, child_serves() ? "host" : "alice", 0);
    if (rc == 0 && is_there) return "the name of the stopped one was given away";
    return rc && rc != LW_EHELD && rc != -ETIMEDOUT ? t_words("it is told %s", lw_errname(rc)) : NULL;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

#define OP(name_, far_, peer_, prepare_, operate_)                                                                     \
    .name = name_, .in_place = far_, .run = kill_real, .peer = peer_, .prepare = prepare_, .operate = operate_,        \
    .recover = recover, .verify = verify, .meanwhile = nobody_gets_its_name
#define CLIENT(name_, far_, prepare_, operate_) OP(name_, far_, live_as_server, prepare_, operate_)
#define SERVER(name_, far_, prepare_, operate_) OP(name_, far_, live_as_client, prepare_, operate_)

const struct kill_op kill_link_ops[] = {{CLIENT("link/login", false, be_there, log_in)},
                                        {SERVER("link/accept", false, be_there, log_in), .brief = true},
                                        {CLIENT("link/send", false, be_up, send_some), .brief = true},
                                        {SERVER("link/server-sends", false, be_up, send_some)},
                                        {SERVER("link/take", false, be_up_with_more_to_come, take_all)},
                                        {SERVER("link/release", false, be_up_with_messages, release_all)},
                                        {CLIENT("link/client-takes", false, be_up_with_more_to_come, take_all)},
                                        {CLIENT("link/client-releases", false, be_up_with_messages, release_all)},
                                        {CLIENT("link/close", false, be_up, close_link)},
                                        {SERVER("link/server-closes", false, be_up, close_link)},
                                        {.name = NULL}};

const struct kill_op kill_far_ops[] = {
    {CLIENT("far/login", true, be_there, log_in), .brief = true},
    {SERVER("far/accept", true, be_there, log_in)},
    {CLIENT("far/send", true, be_up, send_some)},
    {SERVER("far/server-sends", true, be_up, send_some)},
    {SERVER("far/land", true, be_up_with_more_to_come, take_all), .brief = true},
    {CLIENT("far/client-lands", true, be_up_with_more_to_come, take_all)},
    {SERVER("far/release-and-tell", true, be_up_with_messages, release_all)},
    {CLIENT("far/client-releases-and-tells", true, be_up_with_messages, release_all)},
    {CLIENT("far/hear-an-ack", true, be_up_with_sent_ones, hear_of_it), .brief = true},
    {SERVER("far/server-hears-an-ack", true, be_up_with_sent_ones, hear_of_it)},
    {CLIENT("far/close", true, be_up, close_link)},
    {SERVER("far/server-closes", true, be_up, close_link)},
    {.name = NULL}};
