/* SPDX-License-Identifier: MIT */
/*
 * kill/bus_topic.c - publishing and subscribing on a bus by the public calls: what the library does for a program, locks
 * and files and bells included.
 *
 * Durable subscriber "d" has not released the last messages that are there before. What the child sends is of history[0],
 * whose receiver is "d"; the child's own numbers go on where the earlier publisher ended.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "kill/real.h"
#include "util/topic_util.h"

enum { BEFORE = 5, UNREAD = 3, BATCH = 4, AFTER = 20, BIG = 256 << 10 };

static struct lw_bus *bus; /* the process's own */
static struct lw_pub *pub;
static struct lw_sub *sub;
static struct lw_group *group;
static struct lw_msg last;

/* ---- messages: of history[0] -------------------------------------------------------------------------------------- */

static void send_more(struct lw_pub *by, uint64_t count) {
    char data[HISTORY_MESSAGE];
    struct history *h = &kb->history[0];
    for (uint64_t end = h->sent + count; h->sent < end;) {
        size_t len = history_message(h, h->sent, 0, data);
        history_sending(h, h->sent + 1);
        T_NEED(lw_pub_send(by, history_type(h->sent), data, len, LW_SEC(20)) >= 0);
        history_sent(h, h->sent + 1);
    }
}

/* All that is there; the last `keep` of them are not released. */
static void receive(struct lw_sub *by, uint64_t keep) {
    struct history *h = &kb->history[0];
    struct lw_msg msg, done = {.next = 0};
    uint64_t count = 0, end = h->sent - h->released;
    for (int rc; (rc = lw_sub_next(by, &msg, 0)) != LW_EEMPTY;) {
        T_NEED(rc == 1);
        history_came(h, &msg, 0, (uint32_t)kb->lives[0]);
        if (++count + keep <= end || !keep) done = msg;
    }
    if (!done.next) return;
    history_releasing(h, done.number + 1);
    T_NEED(!lw_sub_release(by, &done));
    history_released(h, done.number + 1);
}

/* ---- before ------------------------------------------------------------------------------------------------------ */

static int a_topic(void *arg) {
    (void)arg;
    struct lw_bus *b = tt_bus(kill_dir, "before");
    struct lw_sub *d = tt_sub(b, "t", "d", LW_FROM_NOW);
    struct lw_pub *p = tt_pub(b, "t");
    kb->lives[0]++;
    send_more(p, BEFORE);
    receive(d, UNREAD);
    history_receiver_died(&kb->history[0]);
    lw_pub_close(p);
    lw_sub_close(d);
    lw_sub_close(tt_sub(b, "t", "other", LW_FROM_NOW));
    T_NEED(!lw_bus_close(b));
    return 0;
}

/* Nobody has sent anything yet: it may have another shape. */
static int a_new_topic(void *arg) {
    (void)arg;
    struct lw_bus *b = tt_bus(kill_dir, "before");
    lw_sub_close(tt_sub(b, "t", "d", LW_FROM_NOW));
    T_NEED(!lw_bus_close(b));
    return 0;
}

static int a_bus(void *arg) {
    (void)arg;
    T_NEED(!lw_bus_close(tt_bus(kill_dir, "before")));
    return 0;
}

/* It has looked at all that there is. */
static void fall_asleep(void) {
    struct lw_event event;
    do
        while (lw_group_poll(group, &event, 1, 0)) continue;
    while (lw_group_arm(group));
}

/* With the lock word, a slot and a bell of one that died, asleep until there is something to read. */
static int a_dead_one(void *arg) {
    a_topic(arg);
    bus = tt_bus(kill_dir, "dead");
    T_NEED(!lw_group_open(&group, bus, NULL));
    pub = tt_pub(bus, "t");
    sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    T_NEED(!lw_sub_move(sub, group, NULL));
    fall_asleep();
    return 0;
}

/* ---- the child --------------------------------------------------------------------------------------------------- */

static void be_there(void *arg) {
    (void)arg;
    bus = tt_bus(kill_dir, "child");
}

static void be_publisher(void *arg) {
    be_there(arg);
    pub = tt_pub(bus, "t");
}

static void be_shared(void *arg) {
    be_there(arg);
    pub = tt_pub_shared(bus, "t");
}

static void be_d(void *arg) {
    be_there(arg);
    kb->lives[0]++;
    T_NEED(!tt_sub_open(&sub, bus, "t", "d", LW_FROM_NOW, 0));
}

static void be_d_with_messages(void *arg) {
    be_d(arg);
    for (int i = 0; i < 2; i++) {
        T_NEED(lw_sub_next(sub, &last, 0) == 1);
        history_came(&kb->history[0], &last, 0, (uint32_t)kb->lives[0]);
    }
}

static void send_one(void *arg) {
    (void)arg;
    send_more(pub, 1);
}

static void send_batch(void *arg) {
    static char data[BATCH][512];
    struct lw_item items[BATCH];
    struct history *h = &kb->history[0];
    (void)arg;
    for (unsigned i = 0; i < BATCH; i++)
        items[i] = (struct lw_item){
            .data = data[i], .len = history_message(h, h->sent + i, 0, data[i]), .type = history_type(h->sent + i)};
    history_sending(h, h->sent + BATCH);
    T_NEED(lw_pub_send_batch(pub, items, BATCH, 0) >= 0);
    history_sent(h, h->sent + BATCH);
}

static void open_pub(void *arg) {
    (void)arg;
    kb->result = lw_pub_open(&pub, bus, "t", &tt_sole);
}

static void open_shared(void *arg) {
    (void)arg;
    kb->result = lw_pub_open(&pub, bus, "t", NULL);
}

static void close_pub(void *arg) {
    (void)arg;
    lw_pub_close(pub);
}

static void open_d(void *arg) {
    (void)arg;
    kb->result = tt_sub_open(&sub, bus, "t", "d", LW_FROM_NOW, 0);
}

static void open_new(void *arg) {
    (void)arg;
    kb->result = tt_sub_open(&sub, bus, "t", "new", LW_FROM_NOW, 0);
}

static void release_both(void *arg) {
    (void)arg;
    history_releasing(&kb->history[0], last.number + 1);
    kb->result = lw_sub_release(sub, &last);
    history_released(&kb->history[0], last.number + 1);
}

static void close_sub(void *arg) {
    (void)arg;
    lw_sub_close(sub);
}

static int create(uint64_t ring) {
    struct lw_shape shape = LW_SHAPE_INIT;
    shape.ring = ring;
    return lw_topic_create(bus, "t", &shape);
}

static void create_small(void *arg) {
    (void)arg;
    kb->result = create(TT_RING);
}

static void make_larger(void *arg) {
    (void)arg;
    kb->result = create(BIG);
}

static void forget(void *arg) {
    (void)arg;
    kb->result = lw_topic_forget(bus, "t", "other");
}

/* It sleeps: parks, and looks once more. */
static void be_sleepy(void *arg) {
    be_there(arg);
    T_NEED(!lw_group_open(&group, bus, NULL));
    sub = tt_sub(bus, "t", NULL, LW_FROM_NOW);
    T_NEED(!lw_sub_move(sub, group, NULL));
    fall_asleep();
    lw_group_wake(group);
    while (!lw_group_poll(group, &(struct lw_event){.kind = 0}, 1, 0)) continue;
}

static void park(void *arg) {
    (void)arg;
    kb->result = lw_group_arm(group) < 0 ? LW_ESTATE : 0;
}

/* ---- recovery, and what must hold --------------------------------------------------------------------------------- */

static void recover(void *arg) {
    (void)arg;
    struct lw_bus *b = tt_bus(kill_dir, "child");
    T_NEED(!lw_bus_clean(b, NULL));
    struct lw_pub *p = tt_pub(b, "t");
    struct lw_sub *d = tt_sub(b, "t", "d", LW_FROM_NOW);
    lw_sub_close(d);
    lw_pub_close(p);
    T_NEED(!lw_bus_close(b));
}

static uint64_t count_all(struct lw_sub *by) {
    struct lw_msg msg;
    uint64_t count = 0;
    for (; lw_sub_next(by, &msg, 0) == 1; count++) T_NEED(!lw_sub_release(by, &msg));
    return count;
}

/* Who comes finds out what the dead one had sent: the number of the next message says it. */
static int verify(void *arg) {
    (void)arg;
    struct history *h = &kb->history[0];
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct lw_clean_result left = LW_CLEAN_RESULT_INIT;
    struct lw_bus *b = tt_bus(kill_dir, "heir");
    struct lw_pub *p = tt_pub(b, "t");
    T_NEED(!lw_topic_stat(b, "t", &info));
    history_sender_resumes(h, info.number);
    kb->lives[0]++;
    history_receiver_died(h);
    struct lw_sub *d = tt_sub(b, "t", "d", LW_FROM_NOW), *late = tt_sub(b, "t", NULL, LW_FROM_NOW);
    send_more(p, AFTER);
    receive(d, 0);
    T_NEED(count_all(late) == AFTER);
    T_NEED(!lw_bus_clean(b, &left));
    left = (struct lw_clean_result)LW_CLEAN_RESULT_INIT;
    T_NEED(!lw_bus_clean(b, &left) && !left.nodes && !left.readers && !left.writers && !left.files);
    lw_sub_close(late);
    lw_sub_close(d);
    lw_pub_close(p);
    T_NEED(!lw_bus_close(b));
    return 0;
}

/* A topic that may or may not have come into being. */
static int verify_new(void *arg) {
    (void)arg;
    struct lw_bus *b = tt_bus(kill_dir, "heir");
    struct lw_sub *d = tt_sub(b, "t", "d", LW_FROM_NOW);
    lw_sub_close(d);
    T_NEED(!lw_bus_close(b));
    return verify(NULL);
}

/* ---- ringing: the peer sleeps ------------------------------------------------------------------------------------- */

/* Receives all as it comes: woken, not by the clock unless a ring was lost with its ringer. */
static int be_asleep(void *arg) {
    struct lw_group *g;
    struct lw_event event;
    (void)arg;
    struct lw_bus *b = tt_bus(kill_dir, "sleeper");
    struct history *h = &kb->history[0];
    kb->lives[0]++;
    T_NEED(!lw_group_open(&g, b, NULL));
    struct lw_sub *d = tt_sub(b, "t", "d", LW_FROM_NOW);
    T_NEED(!lw_sub_move(d, g, NULL));
    receive(d, 0);
    kb_set(&kb->ready, 1);
    while (!kb_get(&kb->leave) || kb_get(&h->released) < kb_get(&h->sent)) {
        lw_group_poll(g, &event, 1, LW_MS(50));
        receive(d, 0);
    }
    lw_sub_close(d);
    T_NEED(!lw_group_close(g) && !lw_bus_close(b));
    return 0;
}

static void be_ringer(void *arg) {
    while (!kb_get(&kb->ready)) t_sleep(LW_US(100));
    be_publisher(arg);
}

static void recover_beside_the_sleeper(void *arg) {
    (void)arg;
    struct lw_bus *b = tt_bus(kill_dir, "child");
    T_NEED(!lw_bus_clean(b, NULL));
    lw_pub_close(tt_pub(b, "t"));
    T_NEED(!lw_bus_close(b));
}

static int verify_awake(void *arg) {
    (void)arg;
    struct history *h = &kb->history[0];
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct lw_bus *b = tt_bus(kill_dir, "heir");
    struct lw_pub *p = tt_pub(b, "t");
    T_NEED(!lw_topic_stat(b, "t", &info));
    history_sender_resumes(h, info.number);
    send_more(p, AFTER);
    for (int64_t end = t_now() + LW_SEC(20); kb_get(&h->released) < h->sent; t_sleep(LW_US(200))) T_NEED(t_now() < end);
    lw_pub_close(p);
    T_NEED(!lw_bus_close(b));
    return 0;
}

/* ---- stops ------------------------------------------------------------------------------------------------------- */

/* The stopped one has a lock that others wait for, five seconds. */
static bool is_locked(int rc) {
    return rc == -ETIMEDOUT || rc == -EAGAIN;
}

/* One that comes now sends and receives, or is told that the child is the writer or has the topic's lock. */
static const char *others_go_on(void) {
    struct lw_bus *b = tt_bus(kill_dir, "other");
    struct lw_sub *s;
    struct lw_pub *p;
    struct lw_msg msg;
    int rc = tt_sub_open(&s, b, "t", NULL, LW_FROM_OLDEST, 0);
    if (rc == LW_ENOTOPIC || is_locked(rc)) return NULL;
    if (rc) return t_words("a subscriber is told %s: %s", lw_errname(rc), lw_errtext());
    uint64_t count = 0, sent = kb_get(&kb->history[0].sent);
    for (; lw_sub_next(s, &msg, 0) == 1; count++)
        if (msg.number != count || lw_sub_release(s, &msg)) return "messages are missing";
    if (count < sent) return t_words("%" PRIu64 " messages, not %" PRIu64, count, sent);
    lw_sub_close(s);
    rc = tt_sub_open(&s, b, "t", "d", LW_FROM_NOW, 0);
    if (!rc) lw_sub_close(s);
    if (rc && rc != LW_EHELD && !is_locked(rc)) return t_words("\"d\" is told %s: %s", lw_errname(rc), lw_errtext());
    if (!rc && kill_now->inside) return "the place of the stopped one was given away";
    rc = lw_pub_open(&p, b, "t", &tt_sole);
    if (!rc) lw_pub_close(p);
    if (rc && rc != LW_EWRITER && !is_locked(rc))
        return t_words("a publisher is told %s: %s", lw_errname(rc), lw_errtext());
    if (!rc && kill_now->both) return "the stopped one is not the publisher any more";
    rc = lw_bus_clean(b, NULL);
    if (rc && !is_locked(rc)) return t_words("cleaning: %s: %s", lw_errname(rc), lw_errtext());
    return lw_bus_close(b) ? "the bus can not be closed" : NULL;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

/* `both`: the child is the publisher all the time; `inside`: it is "d". */
#define OP(name_, set_up_, prepare_, operate_)                                                                         \
    .name = "topic/" name_, .run = kill_real, .set_up_body = set_up_, .prepare = prepare_, .operate = operate_,        \
    .recover = recover
#define FINE .verify = verify, .meanwhile = others_go_on

const struct kill_op kill_topic_ops[] = {
    {OP("send", a_topic, be_publisher, send_one), FINE, .both = true, .brief = true},
    {OP("send-shared", a_topic, be_shared, send_one), FINE, .both = true},
    {OP("send-batch", a_topic, be_publisher, send_batch), FINE, .both = true},
    {OP("send-past-a-dead-sleeper", a_dead_one, be_publisher, send_one), FINE, .both = true},
    {OP("release", a_topic, be_d_with_messages, release_both), FINE, .inside = true, .brief = true},
    {OP("open-pub", a_topic, be_there, open_pub), FINE, .brief = true},
    {OP("open-pub-after-a-dead-one", a_dead_one, be_there, open_pub), FINE},
    {OP("open-pub-shared", a_topic, be_there, open_shared), FINE},
    {OP("close-pub", a_topic, be_publisher, close_pub), FINE},
    {OP("open-durable", a_topic, be_there, open_d), FINE, .brief = true},
    {OP("open-new-durable", a_topic, be_there, open_new), FINE},
    {OP("close-durable", a_topic, be_d, close_sub), FINE},
    {OP("park", a_topic, be_sleepy, park), FINE, .brief = true},
    {OP("create", a_bus, be_there, create_small), .verify = verify_new, .meanwhile = others_go_on},
    {OP("make-larger", a_new_topic, be_there, make_larger), FINE, .brief = true},
    {OP("forget", a_topic, be_there, forget), FINE},
    {.name = "topic/ring",
     .run = kill_real,
     .set_up_body = a_topic,
     .peer = be_asleep,
     .prepare = be_ringer,
     .operate = send_one,
     .recover = recover_beside_the_sleeper,
     .verify = verify_awake,
     .brief = true},
    {.name = NULL}};
