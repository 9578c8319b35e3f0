/* SPDX-License-Identifier: MIT */
/* watch_test - deaths are heard at once, and nobody is taken for dead who is not. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus/watch.h"
#include "util/group_util.h"
#include "util/link_util.h"
#include "util/seccomp.h"

static const char *dir_of;

static int live_as_x(void *arg) {
    (void)arg;
    tt_bus(dir_of, "x");
    t_say(0);
    t_forever();
}

static struct t_child node_x(const char *dir) {
    dir_of = dir;
    struct t_child child = t_fork(live_as_x, NULL);
    t_hear(&child);
    return child;
}

static void need_inotify(const struct lw_bus *bus, const char *name) {
    if (lw__watch_fd(bus) < 0) t_skip(name, "no inotify instance is to be had (fs.inotify.max_user_instances)");
}

/* Polls until a death was counted; returns how long that took, ns. */
static int64_t hears_death(struct lw_group *g, const struct lw_bus *bus, uint64_t before, int64_t since) {
    while (lw__watch_deaths(bus) == before && t_now() - since < LW_SEC(5)) tg_poll(g, LW_MS(1) / 2);
    assert_true(lw__watch_deaths(bus) > before);
    return t_now() - since;
}

static void poll_for(struct lw_group *g, int64_t ns) {
    for (int64_t end = t_now() + ns; t_now() < end;) tg_poll(g, LW_MS(20));
}

static void a_death_is_heard_at_once(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me");
    struct lw_group *g = tg_group(bus, 0);
    need_inotify(bus, __func__);
    for (int i = 0; i < 5; i++) {
        struct t_child child = node_x(*state);
        uint64_t before = lw__watch_deaths(bus);
        poll_for(g, LW_MS(30));
        assert_int_equal(lw__watch_deaths(bus), before);
        int64_t begin = t_now();
        t_kill(&child);
        int64_t took = hears_death(g, bus, before, begin);
        printf("heard after %.3f ms\n", (double)took / 1e6);
        assert_true(took < t_prompt());
    }
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

static void who_is_stopped_is_not_dead(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me");
    struct lw_group *g = tg_group(bus, 0);
    struct t_child child = node_x(*state);
    uint64_t before = lw__watch_deaths(bus);
    t_stop(&child);
    poll_for(g, LW_MS(300));
    t_go_on(&child);
    poll_for(g, LW_MS(100));
    assert_int_equal(lw__watch_deaths(bus), before);
    t_kill(&child);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* A start that fails opens and closes the file of who lives: a false alarm. A true one that comes while it is still
 * looked into is heard as fast as any. */
static void a_death_after_a_false_alarm_is_heard_at_once(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me"), *second;
    struct lw_group *g = tg_group(bus, 0);
    need_inotify(bus, __func__);
    struct t_child child = node_x(*state);
    uint64_t before = lw__watch_deaths(bus);
    assert_fails(t_bus_open(&second, *state, "x", 0), LW_EHELD, "x");
    poll_for(g, LW_MS(700));
    assert_int_equal(lw__watch_deaths(bus), before);
    int64_t begin = t_now();
    t_kill(&child);
    int64_t took = hears_death(g, bus, before, begin);
    printf("heard after %.3f ms\n", (double)took / 1e6);
    assert_true(took < LW_MS(150));
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* ---- more than the kernel keeps ----------------------------------------------------------------------------------- */

static uint64_t events_kept(void) {
    unsigned long long n = 0;
    FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    if (!file || fscanf(file, "%llu", &n) != 1) n = 0;
    if (file) fclose(file);
    return n;
}

/* Closes files in the nodes' folder until no event more is kept. By turns: two alike in a row are one. */
static void fill_the_queue(const char *dir) {
    for (uint64_t i = 0; i < events_kept() + 10; i++) {
        int fd = open(tt_text("%s/nodes/.%c", dir, i % 2 ? 'a' : 'b'), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0 && !close(fd));
    }
}

struct folder {
    struct lw__watch_folder link; /* first */
    int all, some;
};

static void touched(struct lw__watch_folder *folder, const char *name) {
    struct folder *f = (struct folder *)(void *)folder;
    if (name)
        f->some++;
    else
        f->all++;
}

/* What was dropped was the death of x, and a touch: so all are looked at, in the folder as well. */
static void when_events_were_dropped_all_are_looked_at(void **state) {
    struct lw_bus *bus = tt_bus(*state, "me");
    struct lw_group *g = tg_group(bus, 0);
    struct folder folder = {.link = {.path = "bells", .touched = touched}};
    need_inotify(bus, __func__);
    if (!events_kept() || events_kept() > 300000) t_skip(__func__, "fs.inotify.max_queued_events is too large");
    assert_ok(lw__bus_enter(bus, true));
    assert_ok(lw__watch_add(bus, &folder.link));
    lw__bus_leave(bus);
    struct t_child child = node_x(*state);
    poll_for(g, LW_MS(30));
    uint64_t before = lw__watch_deaths(bus);
    fill_the_queue(*state);
    t_kill(&child);
    int64_t begin = t_now();
    assert_ok(lw__watch_touch(bus, "bells/me.0"));
    int64_t took = hears_death(g, bus, before, begin);
    printf("%llu events; heard after %.3f ms\n", (unsigned long long)events_kept(), (double)took / 1e6);
    assert_true(took < t_prompt());
    assert_int_equal(folder.all, 1);
    assert_int_equal(folder.some, 0);
    struct lw_bus *heir = tt_bus(*state, "x"); /* dead for all, by its epoch */
    assert_ok(lw_bus_close(heir));
    poll_for(g, LW_MS(30)); /* and it hears again */
    assert_ok(lw__watch_touch(bus, "bells/me.0"));
    poll_for(g, LW_MS(30));
    assert_int_equal(folder.some, 1);
    lw__watch_remove(bus, &folder.link);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* ---- without inotify ---------------------------------------------------------------------------------------------- */

static struct tl_party deaf_party(const char *node) {
    t_refuse(SYS_inotify_init1, EMFILE);
    struct tl_party p = tl_party(dir_of, node);
    T_NEED(lw__watch_fd(p.bus) < 0);
    return p;
}

static int be_peer(void *arg) {
    struct tl_party p = tl_party(dir_of, "host");
    struct lw_sub *sub = tt_sub(p.bus, "t", NULL, LW_FROM_NOW);
    struct lw_server *server = tl_server(&p, "gateway");
    (void)arg, (void)sub;
    t_say(0);
    tl_accept(&p, server, "alice");
    t_forever();
}

/* A client, and a publisher that waits for room; it says when it was told of each. */
static int be_deaf_client(void *arg) {
    struct tl_party p = deaf_party("alice");
    struct lw_link *link = tl_open(&p, "gateway", NULL, NULL);
    struct lw_pub *pub = tt_pub(p.bus, "t");
    struct lw_event event;
    (void)arg;
    T_NEED(tl_await(&p, LW_UP, link, NULL) && !lw_pub_move(pub, p.group, NULL));
    tt_send_all(pub, 0);
    while (lw_group_poll(p.group, &event, 1, LW_MS(100)) > 0) continue;
    t_say(0);
    bool down = false, room = false;
    while (!down || !room) {
        T_NEED(lw_group_poll(p.group, &event, 1, LW_SEC(20)) == 1);
        T_NEED(event.kind == LW_DOWN ? event.link == link && event.code == LW_EDEAD : event.kind == LW_WRITABLE);
        *(event.kind == LW_DOWN ? &down : &room) = true;
        t_say(t_now());
    }
    lw_link_close(link, 0, NULL);
    lw_pub_close(pub);
    tl_leave(&p);
    return 0;
}

static void without_inotify_deaths_are_told_by_the_clock(void **state) {
    t_need_filters();
    dir_of = *state;
    struct t_child peer = t_fork(be_peer, NULL);
    t_hear(&peer);
    struct t_child client = t_fork(be_deaf_client, NULL);
    t_hear(&client);
    int64_t begin = t_now();
    t_kill(&peer);
    for (int i = 0; i < 2; i++) {
        int64_t took = t_hear(&client) - begin;
        printf("told after %.3f ms\n", (double)took / 1e6);
        assert_true(took < t_prompt());
    }
    assert_int_equal(t_wait(&client), 0);
}

static int be_deaf_server(void *arg) {
    struct tl_party p = deaf_party("host");
    struct lw_server *server = tl_server(&p, "gateway");
    (void)arg;
    t_say(0);
    for (int i = 0; i < 3; i++) {
        struct lw_link *link = tl_accept(&p, server, "alice");
        struct lw_event event;
        T_NEED(tl_await(&p, LW_DOWN, link, &event) && event.code == LW_EDEAD);
        t_say(t_now());
        lw_link_close(link, 0, NULL);
    }
    lw_server_close(server);
    tl_leave(&p);
    return 0;
}

static int be_client(void *arg) {
    struct tl_party p = tl_party(dir_of, "alice");
    (void)arg;
    T_NEED(tl_await(&p, LW_UP, tl_open(&p, "gateway", NULL, NULL), NULL));
    t_say(0);
    t_forever();
}

static void without_inotify_logins_and_their_ends_are_told_by_the_clock(void **state) {
    t_need_filters();
    dir_of = *state;
    struct t_child server = t_fork(be_deaf_server, NULL);
    t_hear(&server);
    for (int i = 0; i < 3; i++) {
        int64_t begin = t_now();
        struct t_child client = t_fork(be_client, NULL);
        t_hear(&client);
        printf("let in after %.3f ms\n", (double)(t_now() - begin) / 1e6);
        assert_true(t_now() - begin < LW_SEC(1));
        begin = t_now();
        t_kill(&client);
        assert_true(t_hear(&server) - begin < t_prompt());
    }
    assert_int_equal(t_wait(&server), 0);
}

/* ---- fork and threads --------------------------------------------------------------------------------------------- */

static struct lw_bus *of_parent;

static int hear_nothing(void *arg) {
    int descriptors = *(int *)arg;
    T_NEED(lw__watch_fd(of_parent) < 0 && lw__watch_next(of_parent) == INT64_MAX);
    lw__watch_turn(of_parent, 0);
    struct lw_bus *own = tt_bus(dir_of, NULL);
    struct lw_group *g = tg_group(own, 0);
    t_say(0);
    uint64_t before = lw__watch_deaths(own);
    t_listen();
    hears_death(g, own, before, t_now());
    T_NEED(!lw_group_close(g) && !lw_bus_close(own));
    T_NEED(t_descriptors() <= descriptors + 2); /* the two pipes; of the parent's bus nothing is open */
    t_say(1);
    return 0;
}

static void a_forked_child_hears_nothing_and_takes_nothing_away(void **state) {
    int descriptors = t_descriptors();
    struct lw_bus *bus = of_parent = tt_bus(*state, "me");
    struct lw_group *g = tg_group(bus, 0);
    need_inotify(bus, __func__);
    struct t_child x = node_x(*state), child = t_fork(hear_nothing, &descriptors);
    t_hear(&child);
    poll_for(g, LW_MS(30));
    uint64_t before = lw__watch_deaths(bus);
    t_kill(&x);
    t_tell(&child, 0);
    assert_true(hears_death(g, bus, before, t_now()) < t_prompt());
    t_hear(&child);
    assert_int_equal(t_wait(&child), 0);
    assert_ok(lw_group_close(g));
    assert_ok(lw_bus_close(bus));
}

/* Holds back both publishers. */
static int hold_both(void *arg) {
    struct lw_bus *bus = tt_bus(dir_of, "x");
    (void)arg;
    tt_sub(bus, "t0", NULL, LW_FROM_NOW);
    tt_sub(bus, "t1", NULL, LW_FROM_NOW);
    t_say(0);
    t_forever();
}

struct waiter {
    struct lw_bus *bus;
    const char *topic;
    pthread_barrier_t *full;
    int64_t told;
};

static void *wait_for_room(void *arg) {
    struct waiter *w = arg;
    struct lw_group *g = tg_group(w->bus, 0);
    struct lw_pub *pub = tt_pub(w->bus, w->topic);
    T_NEED(!lw_pub_move(pub, g, NULL));
    tt_send_all(pub, 0);
    pthread_barrier_wait(w->full);
    T_NEED(tg_poll(g, LW_SEC(20)).kind == LW_WRITABLE);
    w->told = t_now();
    lw_pub_close(pub);
    T_NEED(!lw_group_close(g));
    return NULL;
}

/* Whichever thread reads the event, both act on it. */
static void one_death_is_told_in_two_threads(void **state) {
    struct lw_bus *bus = tt_bus(dir_of = *state, "me");
    for (int64_t round = 0; round < 5; round++) {
        pthread_barrier_t full;
        pthread_t thread[2];
        struct waiter w[2] = {{bus, "t0", &full, 0}, {bus, "t1", &full, 0}};
        struct t_child child = t_fork(hold_both, NULL);
        t_hear(&child);
        pthread_barrier_init(&full, NULL, 3);
        for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&thread[i], NULL, wait_for_room, &w[i]), 0);
        pthread_barrier_wait(&full);
        t_sleep(LW_MS(5) * round); /* asleep by then, or not */
        int64_t begin = t_now();
        t_kill(&child);
        for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
        for (int i = 0; i < 2; i++) assert_true(w[i].told - begin < t_prompt());
        pthread_barrier_destroy(&full);
    }
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(when_events_were_dropped_all_are_looked_at),
        t_test(without_inotify_deaths_are_told_by_the_clock),
        t_test(without_inotify_logins_and_their_ends_are_told_by_the_clock),
        t_test(a_forked_child_hears_nothing_and_takes_nothing_away),
        t_test(one_death_is_told_in_two_threads),
        t_test(a_death_is_heard_at_once),
        t_test(who_is_stopped_is_not_dead),
        t_test(a_death_after_a_false_alarm_is_heard_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
