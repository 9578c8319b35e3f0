/* SPDX-License-Identifier: MIT */
/*
 * Forked children with their parent's handles: every call is refused or harmless, the parent does not notice, and a
 * child does not keep a dead parent alive.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/topic_util.h"

/* What the parent had open when it forked. */
struct handles {
    const char *dir;
    struct lw_bus *bus;
    struct lw_pub *idle, *reserved, *staged, *needs_sub;
    struct lw_sub *sub, *durable, *holding, *closed;
    struct lw_msg held;
    void *place;
};

static int any_topic(const char *topic, void *user) {
    (void)topic, (void)user;
    return 0;
}

static int any_reader(const struct lw_reader_info *reader, void *user) {
    (void)reader, (void)user;
    return 0;
}

static int any_node(const struct lw_node_info *node, void *user) {
    (void)node, (void)user;
    return 0;
}

static enum lw_verdict any_message(const struct lw_msg *msg, void *user) {
    (void)msg, (void)user;
    return LW_NEXT;
}

#define REFUSED(call) T_NEED((call) == LW_EFORKED)

static void use_bus(const struct handles *h) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct lw_verify_result verify = LW_VERIFY_RESULT_INIT;
    struct lw_clean_result clean = LW_CLEAN_RESULT_INIT;
    struct lw_pub *pub;
    struct lw_sub *sub;
    REFUSED(lw_pub_open(&pub, h->bus, "idle", NULL));
    T_NEED(!pub && strstr(lw_errtext(), h->dir) && strstr(lw_errtext(), "fork"));
    REFUSED(lw_sub_open(&sub, h->bus, "idle", NULL));
    T_NEED(!sub);
    REFUSED(lw_topic_create(h->bus, "new", NULL));
    REFUSED(lw_topic_stat(h->bus, "idle", &info));
    REFUSED(lw_topic_readers(h->bus, "idle", any_reader, NULL));
    REFUSED(lw_topic_verify(h->bus, "idle", &verify));
    REFUSED(lw_topic_list(h->bus, any_topic, NULL));
    REFUSED(lw_topic_forget(h->bus, "idle", "durable"));
    REFUSED(lw_topic_remove(h->bus, "idle", LW_REMOVE_FORCE));
    REFUSED(lw_bus_clean(h->bus, &clean));
    REFUSED(lw_bus_nodes(h->bus, any_node, NULL));
    T_NEED(strcmp(lw_bus_dir(h->bus), h->dir) == 0 && strcmp(lw_bus_node(h->bus), "parent") == 0);
}

/* In the order in which a program calls them, and after each other in a wrong one. */
static void use_pub(struct lw_pub *pub) {
    struct lw_stats stats = LW_STATS_INIT;
    struct lw_item item = {"x", 1, 0};
    void *at;
    for (int i = 0; i < 2; i++) {
        REFUSED(lw_pub_commit(pub, 0, 0));
        REFUSED(lw_pub_stage(pub, 0, 0));
        REFUSED(lw_pub_flush(pub));
        REFUSED(lw_pub_send(pub, 0, "x", 1, 0));
        REFUSED(lw_pub_send(pub, 0, "x", 1, LW_FOREVER));
        REFUSED(lw_pub_send_batch(pub, &item, 1, LW_FOREVER));
        REFUSED(lw_pub_reserve(pub, &at, 1, LW_FOREVER));
        lw_pub_abort(pub);
        lw_pub_max(pub);
        int rc = lw_pub_stats(pub, &stats);
        T_NEED(rc == 0 || rc == LW_EFORKED);
        T_NEED(strstr(lw_pub_explain(pub), "parent"));
    }
}

static void use_sub(struct lw_sub *sub, const struct lw_msg *held) {
    struct lw_stats stats = LW_STATS_INIT;
    struct lw_msg msg;
    char byte;
    for (int i = 0; i < 2; i++) {
        REFUSED(lw_sub_release(sub, held));
        REFUSED(lw_sub_next(sub, &msg, 0));
        REFUSED(lw_sub_next(sub, &msg, LW_FOREVER));
        REFUSED(lw_sub_recv(sub, &byte, 1, &msg, LW_FOREVER));
        REFUSED(lw_sub_dispatch(sub, any_message, NULL, 0, LW_FOREVER));
        REFUSED(lw_sub_seek(sub, LW_FROM_OLDEST, 0));
        REFUSED(lw_sub_stats(sub, &stats));
        lw_sub_rewind(sub);
    }
}

static int use_all_body(void *arg) {
    struct handles *h = arg;
    use_bus(h);
    use_pub(h->idle);
    use_pub(h->reserved);
    use_pub(h->staged);
    use_pub(h->needs_sub);
    use_sub(h->sub, &h->held);
    use_sub(h->durable, &h->held);
    use_sub(h->holding, &h->held);
    use_sub(h->closed, &h->held);
    struct lw_bus *own = tt_bus(h->dir, NULL); /* with a bus of its own it can do what it likes */
    struct lw_sub *sub = tt_sub(own, "idle", NULL, LW_FROM_OLDEST);
    T_NEED(tt_gets_only(sub, 0, 3));
    lw_sub_close(sub);
    lw_pub_close(h->idle);
    lw_pub_close(h->reserved);
    if (t_listen()) T_NEED(!lw_bus_close(h->bus)); /* in whatever order */
    lw_pub_close(h->staged);
    lw_sub_close(h->sub);
    lw_sub_close(h->holding);
    T_NEED(!lw_bus_close(own));
    return 0;
}

static struct lw_pub *pub_of(struct handles *h, const char *topic) {
    struct lw_pub *pub = tt_pub(h->bus, topic);
    tt_send_many(pub, 0, 3);
    return pub;
}

static struct handles open_all(const char *dir) {
    struct handles h = {.dir = dir, .bus = tt_bus(dir, "parent")};
    struct lw_pub_options opt = LW_PUB_OPTIONS_INIT;
    opt.flags = LW_PUB_NEED_SUB;
    h.sub = tt_sub(h.bus, "idle", NULL, LW_FROM_NOW);
    h.durable = tt_sub(h.bus, "idle", "durable", LW_FROM_NOW);
    h.holding = tt_sub(h.bus, "idle", NULL, LW_FROM_NOW);
    h.closed = tt_sub(h.bus, "gone", NULL, LW_FROM_NOW);
    h.idle = pub_of(&h, "idle");
    h.reserved = pub_of(&h, "reserved");
    h.staged = pub_of(&h, "staged");
    assert_ok(lw_pub_open(&h.needs_sub, h.bus, "alone", &opt));
    assert_int_equal(lw_sub_next(h.holding, &h.held, 0), 1);
    assert_ok(lw_pub_reserve(h.staged, &h.place, 8, 0));
    assert_ok(lw_pub_stage(h.staged, 1, 8));
    assert_ok(lw_pub_reserve(h.staged, &h.place, 8, 0));
    assert_ok(lw_pub_reserve(h.reserved, &h.place, TT_MESSAGE, 0));
    assert_ok(lw_topic_remove(h.bus, "gone", LW_REMOVE_FORCE));
    struct lw_msg msg;
    assert_int_equal(lw_sub_next(h.closed, &msg, LW_MS(1)), LW_ECLOSED);
    return h;
}

/* Everything goes on where it was. */
static void close_all(struct handles *h) {
    char bytes[TT_MESSAGE];
    size_t len = tt_fill(bytes, 3);
    memcpy(h->place, bytes, len);
    assert_ok(lw_pub_commit(h->reserved, tt_type(3), len));
    assert_ok(lw_pub_commit(h->staged, 2, 8));
    assert_int_equal(tt_read(&h->held), 0);
    assert_ok(lw_sub_release(h->holding, &h->held));
    tt_send_many(h->idle, 3, 3);
    assert_true(tt_gets_only(h->holding, 1, 5));
    assert_true(tt_gets_only(h->sub, 0, 6));
    assert_true(tt_gets_only(h->durable, 0, 6));
    struct lw_sub *late = tt_sub(h->bus, "reserved", NULL, LW_FROM_OLDEST);
    assert_true(tt_gets_only(late, 0, 4));
    lw_sub_close(late);
    assert_ok(lw_topic_verify(h->bus, "staged", NULL));
    assert_ok(lw_topic_verify(h->bus, "idle", NULL));
    lw_pub_close(h->idle);
    lw_pub_close(h->reserved);
    lw_pub_close(h->staged);
    lw_pub_close(h->needs_sub);
    lw_sub_close(h->sub);
    lw_sub_close(h->durable);
    lw_sub_close(h->holding);
    lw_sub_close(h->closed);
    assert_ok(lw_bus_close(h->bus));
}

static void a_child_calls_everything_and_the_parent_does_not_notice(void **state) {
    int before = t_descriptors();
    struct handles h = open_all(*state);
    struct t_child children[4];
    for (int i = 0; i < 4; i++) children[i] = t_fork(use_all_body, &h);
    for (int i = 0; i < 4; i++) t_tell(&children[i], i % 2);
    for (int i = 0; i < 4; i++) assert_int_equal(t_wait(&children[i]), 0);
    close_all(&h);
    assert_int_equal(t_descriptors(), before);
}

static int wait_body(void *arg) {
    (void)arg;
    t_listen();
    return 0;
}

static void a_child_that_does_nothing_harms_nothing(void **state) {
    struct handles h = open_all(*state);
    struct t_child child = t_fork(wait_body, NULL);
    t_kill(&child);
    child = t_fork(wait_body, NULL);
    t_tell(&child, 0);
    assert_int_equal(t_wait(&child), 0);
    close_all(&h);
}

/* ---- a parent that dies before its child ------------------------------------------------------------------------- */

/* Opens, leaves a grandchild with all of it behind, and waits to be killed. */
static int parent_body(void *arg) {
    struct lw_bus *bus = tt_bus(arg, "parent");
    struct lw_pub *pub = tt_pub(bus, "t");
    struct lw_sub *sub = tt_sub(bus, "t", "durable", LW_FROM_NOW);
    tt_sub(bus, "t", NULL, LW_FROM_NOW);
    tt_send_many(pub, 0, 5);
    T_NEED(tt_gets(sub, 0, 2));
    pid_t grandchild = fork();
    if (grandchild == 0) t_say(getpid()); /* from here on it has closed what it inherited */
    t_forever();
}

static int see_pid(const struct lw_writer_info *writer, void *user) {
    *(int *)user = writer->pid;
    return 0;
}

static void a_dead_parent_is_dead_though_its_child_lives(void **state) {
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct t_child parent = t_fork(parent_body, *state);
    pid_t grandchild = (pid_t)t_hear(&parent);
    int pid = 0;
    assert_ok(lw_topic_writers(bus, "t", see_pid, &pid));
    assert_int_equal(pid, parent.pid);
    t_kill(&parent);
    int alive = kill(grandchild, 0);
    struct lw_pub *pub;
    struct lw_sub *sub;
    int pub_rc = lw_pub_open(&pub, bus, "t", NULL);
    int sub_rc = tt_sub_open(&sub, bus, "t", "durable", LW_FROM_NOW, 0);
    kill(grandchild, SIGKILL);
    assert_int_equal(alive, 0);
    assert_ok(pub_rc);
    assert_ok(sub_rc);
    assert_true(tt_gets_only(sub, 2, 3));
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    assert_ok(lw_topic_stat(bus, "t", &info));
    assert_int_equal(info.readers, 1);
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

/* ---- inside a handler -------------------------------------------------------------------------------------------- */

struct forking {
    struct lw_sub *sub;
    struct lw_msg before; /* held by the parent */
    enum lw_verdict then;
    pid_t child;
};

static enum lw_verdict fork_in_it(const struct lw_msg *msg, void *user) {
    struct forking *f = user;
    (void)msg;
    f->child = fork();
    return f->then;
}

static void a_fork_inside_a_handler_ends_the_dispatch_in_the_child(void **state) {
    static const enum lw_verdict verdicts[] = {LW_NEXT, LW_STOP, LW_KEEP};
    struct lw_bus *bus = tt_bus(*state, NULL);
    struct lw_pub *pub = tt_pub(bus, "t");
    struct forking f = {.sub = tt_sub(bus, "t", NULL, LW_FROM_NOW)};
    tt_send_many(pub, 0, 4);
    assert_int_equal(lw_sub_next(f.sub, &f.before, 0), 1);
    for (int i = 0; i < 3; i++) {
        f.then = verdicts[i];
        int64_t rc = lw_sub_dispatch(f.sub, fork_in_it, &f, 1, 0);
        if (f.child == 0) {
            T_NEED(rc == (f.then != LW_KEEP));
            use_sub(f.sub, &f.before);
            lw_sub_close(f.sub);
            lw_pub_close(pub);
            _exit(lw_bus_close(bus) ? 1 : 0);
        }
        int status = -1;
        assert_int_equal(waitpid(f.child, &status, 0), f.child);
        assert_int_equal(status, 0);
        assert_int_equal(rc, f.then != LW_KEEP);
    }
    assert_true(tt_gets_only(f.sub, 3, 1));
    lw_sub_close(f.sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_child_calls_everything_and_the_parent_does_not_notice),
        t_test(a_child_that_does_nothing_harms_nothing),
        t_test(a_dead_parent_is_dead_though_its_child_lives),
        t_test(a_fork_inside_a_handler_ends_the_dispatch_in_the_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
