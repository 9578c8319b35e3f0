/* SPDX-License-Identifier: MIT */
/*
 * Listing and removing links: while they are open, damaged, half made, and while others open them; and what is left of
 * a removal that was killed.
 *
 * pitfall 16: who has a link that was removed finds out, and can open it anew.
 * pitfall 19: leftovers of the dead keep nobody out.
 * pitfall 34: what was removed takes no place any more.
 * pitfall 43: the texts.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/link_util.h"
#include "util/step.h"

/* ---- listing ----------------------------------------------------------------------------------------------------- */

struct list {
    int count, stop_at;
    struct lw_link_info info[16];
    int error[16];
};

static int note(const struct lw_link_info *info, int error, void *user) {
    struct list *l = user;
    l->info[l->count] = *info;
    l->error[l->count++] = error;
    return l->count == l->stop_at ? 42 : 0;
}

static struct list list_of(struct lw_bus *bus, const char *server) {
    struct list l = {.count = 0};
    assert_ok(lw_link_list(bus, server, note, &l));
    return l;
}

static bool is_link(const struct lw_link_info *info, const char *server, const char *client, enum lw_link_state state) {
    if (!strcmp(info->server, server) && !strcmp(info->client, client) && info->state == state) return true;
    print_error("%s/%s in state %d\n", info->server, info->client, (int)info->state);
    return false;
}

static void links_are_listed_with_their_state_and_numbers(void **state) {
    struct tl_party p = tl_party(*state, "me"), host = tl_party(*state, "host");
    struct lw_bus *looker;
    assert_ok(t_bus_open(&looker, *state, NULL, LW_BUS_OBSERVE));
    assert_int_equal(list_of(looker, NULL).count, 0);
    assert_int_equal(list_of(looker, "gateway").count, 0);
    struct lw_server *server = tl_server(&host, "gateway");
    assert_int_equal(list_of(looker, NULL).count, 0);
    static const char *const names[] = {"up", "refused", "down", "away"};
    struct lw_link *up[4], *down[4];
    for (int i = 0; i < 4; i++) {
        up[i] = tl_open(&p, "gateway", names[i], NULL);
        struct lw_login login = tl_login(&host, server, names[i]);
        if (i == 1) assert_ok(lw_login_refuse(&login, "no"));
        if (i != 1) assert_ok(lw_login_accept(&login, host.group, NULL, &down[i]));
    }
    struct lw_link *waiting = tl_open(&p, "other", "waiting", NULL);
    tl_send_many(waiting, 0, 3);
    tl_send_many(up[0], 0, 7);
    tl_send_many(down[0], 0, 9);
    assert_true(tl_gets(down[0], 0, 2) && tl_gets(up[0], 0, 4));
    lw_link_close(down[2], 0, NULL);
    lw_link_close(up[3], 0, NULL);
    struct list l = list_of(looker, NULL);
    assert_int_equal(l.count, 5);
    assert_true(is_link(&l.info[0], "gateway", "away", LW_LINK_DOWN)); /* sorted by name */
    assert_true(is_link(&l.info[1], "gateway", "down", LW_LINK_DOWN));
    assert_true(is_link(&l.info[2], "gateway", "refused", LW_LINK_REFUSED));
    assert_true(is_link(&l.info[3], "gateway", "up", LW_LINK_UP));
    assert_true(is_link(&l.info[4], "other", "waiting", LW_LINK_WAITING));
    const struct lw_link_info *i = &l.info[3];
    assert_int_equal(i->sent, 7);
    assert_int_equal(i->taken, 2);
    assert_true(i->sent_bytes_unread > 0);
    assert_int_equal(i->arrived, 9);
    assert_int_equal(i->released, 4);
    assert_int_equal(i->received, 4);
    assert_int_equal(i->ring_up, TL_RING);
    assert_int_equal(i->ring_down, TL_RING);
    assert_string_equal(i->client_node, "me");
    assert_string_equal(i->server_node, "host");
    assert_int_equal(i->client_pid, getpid());
    assert_int_equal(i->server_pid, getpid());
    assert_string_equal(l.info[0].client_node, "");
    assert_int_equal(l.info[0].client_pid, 0);
    assert_string_equal(l.info[0].server_node, "host");
    assert_string_equal(l.info[1].server_node, "");
    assert_int_equal(l.info[4].sent, 3);
    assert_int_equal(l.info[4].taken, 0);
    assert_int_equal(list_of(looker, "other").count, 1);
    assert_int_equal(list_of(looker, "none").count, 0);
    assert_told(lw_link_list(looker, "../x", note, &l), LW_ENAME, "server");
    l = (struct list){.stop_at = 2};
    assert_int_equal(lw_link_list(looker, NULL, note, &l), 42);
    assert_int_equal(l.count, 2);
    lw_link_close(waiting, 0, NULL);
    for (int k = 0; k < 3; k++) lw_link_close(up[k], 0, NULL);
    lw_link_close(down[0], 0, NULL);
    lw_link_close(down[3], 0, NULL);
    lw_server_close(server);
    assert_ok(lw_bus_close(looker));
    tl_leave(&p);
    tl_leave(&host);
}

static void spoil(const char *dir, const char *client, const char *way) {
    char path[TT_PATH];
    uint64_t bad = UINT64_MAX;
    tt_poke(tl_client_lane(path, dir, "gateway", client, way), 16, &bad, sizeof bad); /* under the checksum */
}

static void a_damaged_link_is_listed_with_its_error_among_the_others(void **state) {
    struct tl_party p = tl_party(*state, "me");
    static const char *const names[] = {"a", "b", "c", "d"};
    char path[TT_PATH];
    for (int i = 0; i < 4; i++) lw_link_close(tl_open(&p, "gateway", names[i], NULL), 0, NULL);
    spoil(*state, "b", "up");
    spoil(*state, "c", "down");
    tl_lane(path, *state, "gateway", "d", "down");
    assert_int_equal(unlink(path), 0); /* half of it: as if its maker were not done */
    struct list l = list_of(p.bus, NULL);
    assert_int_equal(l.count, 3);
    static const int errors[] = {0, LW_ECORRUPT, LW_ECORRUPT};
    for (int i = 0; i < 3; i++) {
        assert_string_equal(l.info[i].server, "gateway");
        assert_string_equal(l.info[i].client, names[i]);
        assert_int_equal(l.error[i], errors[i]);
        assert_int_equal(l.info[i].client_pid, 0);
    }
    tl_leave(&p);
}

/* ---- removing ---------------------------------------------------------------------------------------------------- */

static void removing_counts_what_was_unread_and_asks_who_has_it(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct lw_bus *bus = tt_bus(*state, "third");
    const char *pid = tt_text("pid %d", (int)getpid());
    uint64_t unread = 99;
    struct lw_msg m;
    assert_told(tl_link_remove(bus, "gateway", "bob", 0, &unread), LW_ENOLINK, "gateway/bob", "laneway ls links");
    assert_int_equal(unread, 0);
    assert_told(tl_link_remove(bus, "nobody", "bob", LW_REMOVE_FORCE, NULL), LW_ENOLINK, "nobody/bob");
    tl_send_many(p.up, 0, 10);
    tl_send_many(p.down, 0, 5);
    assert_true(tl_gets(p.down, 0, 3));
    assert_int_equal(lw_link_next(p.down, &m, 0), 1); /* held is not released */
    assert_told(tl_link_remove(bus, "gateway", "alice", 0, &unread), LW_EHELD, "gateway/alice", "node alice", pid,
                "force");
    lw_link_close(p.up, 0, NULL);
    p.up = NULL;
    assert_told(tl_link_remove(bus, "gateway", "alice", 0, &unread), LW_EHELD, "gateway/alice", "node host", pid);
    assert_true(tl_await(&p.server, LW_DOWN, p.down, NULL));
    lw_link_rewind(p.down); /* it was not disturbed */
    assert_true(tl_gets(p.down, 3, 1));
    lw_link_close(p.down, 0, NULL);
    p.down = NULL;
    assert_ok(tl_link_remove(bus, "gateway", "alice", 0, &unread));
    assert_int_equal(unread, 6 + 5);
    assert_told(tl_link_remove(bus, "gateway", "alice", 0, NULL), LW_ENOLINK, "gateway/alice");
    assert_int_equal(list_of(bus, NULL).count, 0);
    assert_ok(lw_bus_close(bus));
    tl_pair_end(&p);
}

static void only_the_client_or_the_server_left(void **state) {
    struct tl_pair p = tl_pair(*state);
    lw_link_close(p.down, 0, NULL);
    p.down = NULL;
    assert_told(tl_link_remove(p.server.bus, "gateway", "alice", 0, NULL), LW_EHELD, "node alice");
    assert_int_equal(tl_send(p.up, 0, 0) >= 0, 1);
    assert_int_equal(tl_stat(p.up).sent, 1);
    tl_pair_end(&p);
}

/* pitfall 16. Both sides sleep; each finds out at once, and both begin anew. */
static void pitfall_16_removed_by_force_both_sides_are_told_at_once_and_can_open_it_anew(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct tl_party third = tl_party(*state, "third");
    for (int i = 0; i < 10; i++) {
        uint64_t unread;
        struct lw_msg m;
        tl_send_many(p.up, 0, 4);
        tl_send_many(p.down, 0, 4);
        assert_true(tl_gets(p.up, 0, 4) && tl_gets(p.down, 0, 4));
        assert_true(tl_quiet(&p.client, LW_MS(2)) && tl_quiet(&p.server, LW_MS(2)));
        if (i % 3 == 1) tl_send_many(p.up, 4, 2);
        assert_ok(tl_link_remove(third.bus, "gateway", "alice", LW_REMOVE_FORCE, &unread));
        assert_int_equal(unread, i % 3 == 1 ? 2 : 0);
        int64_t began = t_now();
        tl_told(&p.client, LW_READABLE, p.up);
        tl_told(&p.server, LW_READABLE, p.down);
        assert_true(t_now() - began < LW_MS(500)); /* not by the tick */
        assert_told(lw_link_next(p.up, &m, LW_FOREVER), LW_ECLOSED, "link gateway/alice was removed");
        int rc = lw_link_next(p.down, &m, 0);
        for (int k = 0; k < 2 && rc == 1; k++) rc = lw_link_next(p.down, &m, 0); /* what had come is there */
        assert_int_equal(rc, LW_ECLOSED);
        assert_int_equal(tl_send(p.up, 0, 0), LW_ECLOSED); /* and nothing is taken any more */
        assert_int_equal(tl_send(p.down, 0, 0), LW_ECLOSED);
        tl_told(&p.client, LW_READABLE, p.up); /* level-triggered */
        if (i % 2) {
            lw_link_close(p.down, 0, NULL);
            lw_link_close(p.up, 0, NULL);
            p.up = tl_open(&p.client, "gateway", NULL, NULL);
        } else { /* the client is back before the server has noticed */
            lw_link_close(p.up, 0, NULL);
            p.up = tl_open(&p.client, "gateway", NULL, NULL);
            lw_link_close(p.down, 0, NULL);
        }
        assert_int_equal(lw_link_state(p.up), LW_LINK_WAITING);
        p.down = tl_accept(&p.server, p.at, "alice");
        tl_told(&p.server, LW_UP, p.down);
        tl_told(&p.client, LW_UP, p.up);
        assert_int_equal(tl_stat(p.up).sent, 0);
    }
    tl_leave(&third);
    tl_pair_end(&p);
}

static int waits_for_message_body(void *dir) {
    struct tl_party p = tl_party(dir, "alice");
    struct lw_link *link = tl_open(&p, "gateway", NULL, NULL);
    struct lw_msg m;
    t_say(0);
    T_NEED(lw_link_next(link, &m, LW_SEC(30)) == LW_ECLOSED);
    t_say(1);
    lw_link_close(link, 0, NULL);
    link = tl_open(&p, "gateway", NULL, NULL);
    uint64_t n = tl_send_all(link, 0);
    t_say(2);
    T_NEED(tl_send(link, n, LW_SEC(30)) == LW_ECLOSED);
    t_say(3);
    lw_link_close(link, 0, NULL);
    tl_leave(&p);
    return 0;
}

static void who_sleeps_in_a_call_is_woken_by_the_removal(void **state) {
    struct tl_party p = tl_party(*state, "me");
    struct t_child child = t_fork(waits_for_message_body, *state);
    for (int i = 0; i < 2; i++) {
        t_hear(&child);
        t_sleep(LW_MS(20));
        int64_t began = t_now();
        assert_ok(tl_link_remove(p.bus, "gateway", "alice", LW_REMOVE_FORCE, NULL));
        t_hear(&child);
        assert_true(t_now() - began < LW_MS(500));
    }
    assert_int_equal(t_wait(&child), 0);
    tl_leave(&p);
}

static void damaged_links_are_removed_by_force_alone(void **state) {
    struct tl_party p = tl_party(*state, "me");
    for (int i = 0; i < 3; i++) {
        struct lw_link *link, *up = tl_open(&p, "gateway", "a", NULL);
        tl_send_many(up, 0, 3);
        lw_link_close(up, 0, NULL);
        if (i != 1) spoil(*state, "a", "up");
        if (i != 0) spoil(*state, "a", "down");
        assert_told(tl_try_open(&link, &p, "gateway", "a"), LW_ECORRUPT, "link gateway/a",
                    "laneway rm links gateway/a --force");
        assert_told(tl_link_remove(p.bus, "gateway", "a", 0, NULL), LW_ECORRUPT, "gateway/a", "--force");
        assert_told(tl_try_open(&link, &p, "gateway", "a"), LW_ECORRUPT, "gateway/a"); /* nothing half removed */
        assert_ok(tl_link_remove(p.bus, "gateway", "a", LW_REMOVE_FORCE, NULL));
        assert_int_equal(list_of(p.bus, NULL).count, 0);
        up = tl_open(&p, "gateway", "a", NULL);
        assert_int_equal(tl_stat(up).sent, 0);
        lw_link_close(up, 0, NULL);
        assert_ok(tl_link_remove(p.bus, "gateway", "a", 0, NULL));
    }
    tl_leave(&p);
}

static void half_a_link_is_a_removal_that_the_next_one_finishes(void **state) {
    struct tl_party p = tl_party(*state, "me");
    char path[TT_PATH];
    for (int i = 0; i < 8; i++) {
        const char *gone = i & 1 ? "up" : "down";
        uint64_t unread = 9;
        struct lw_link *link = tl_open(&p, "gateway", "a", NULL);
        tl_send_many(link, 0, 3);
        lw_link_close(link, 0, NULL);
        assert_int_equal(unlink(tl_client_lane(path, *state, "gateway", "a", gone)), 0);
        if (i & 2) {
            link = tl_open(&p, "gateway", "a", NULL);
            assert_int_equal(tl_stat(link).sent, 0); /* what was begun is finished: it is a new one */
            assert_int_equal(lw_link_state(link), LW_LINK_WAITING);
            lw_link_close(link, 0, NULL);
        }
        assert_ok(tl_link_remove(p.bus, "gateway", "a", i & 4 ? LW_REMOVE_FORCE : 0, &unread));
        assert_int_equal(unread, i & 3 ? 0 : 3);
        assert_false(tt_exists(tl_client_lane(path, *state, "gateway", "a", "up")));
        assert_false(tt_exists(tl_client_lane(path, *state, "gateway", "a", "down")));
    }
    tl_leave(&p);
}

/* ---- a remover that is killed ------------------------------------------------------------------------------------ */

static int remover_body(void *dir) {
    struct lw_bus *bus = tt_bus(dir, "remover");
    T_NEED(!ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    raise(SIGSTOP);
    int rc = tl_link_remove(bus, "gateway", "alice", LW_REMOVE_FORCE, NULL);
    _exit(rc ? 1 : 0); /* traced: its next calls are not ours to count */
}

/* Killed before its n-th system call. False: it was over before. */
static bool kill_remover(const char *dir, int n) {
    struct t_child child = t_fork(remover_body, (void *)(uintptr_t)dir);
    int status;
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    assert_true(WIFSTOPPED(status));
    for (int stops = 0; stops < 2 * n - 1; stops++) { /* in and out of each */
        assert_int_equal(ptrace(PTRACE_SYSCALL, child.pid, NULL, NULL), 0);
        assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
        if (WIFSTOPPED(status)) continue;
        assert_int_equal(WEXITSTATUS(status), 0);
        child.pid = 0;
        return false;
    }
    t_kill(&child);
    return true;
}

/* What a server does: lets in whoever asks, closes what is over. */
static void serve_once(struct tl_pair *p) {
    struct lw_event e;
    struct lw_login login = LW_LOGIN_INIT;
    struct lw_msg m;
    if (lw_group_poll(p->server.group, &e, 1, LW_MS(50)) < 1) return;
    int rc = 0;
    if (e.kind == LW_READABLE) rc = lw_link_next(p->down, &m, 0);
    if (rc == 1) assert_ok(lw_link_release(p->down, &m));
    if (e.kind == LW_LOGIN && p->down && e.link == p->down) {
        if (lw_link_login(p->down, &login) == 1) rc = lw_login_accept(&login, NULL, NULL, NULL);
    } else if (e.kind == LW_LOGIN && lw_server_login(p->at, &login) == 1) {
        assert_ok(lw_login_accept(&login, p->server.group, NULL, &p->down));
    }
    if (rc != LW_ECLOSED && rc != LW_ENOLINK) return;
    lw_link_close(p->down, 0, NULL);
    p->down = NULL;
}

/* Did the client find out that it is over? */
static bool is_over(struct tl_pair *p) {
    struct lw_event e;
    struct lw_msg m;
    (void)!lw_group_poll(p->client.group, &e, 1, 0);
    int rc = lw_link_next(p->up, &m, 0);
    if (rc == LW_EEMPTY) rc = (int)tl_send(p->up, 0, 0);
    assert_true(rc >= 0 || rc == LW_ECLOSED);
    return rc < 0;
}

/* Both sides had it open when the remover came. Whatever they were left with, they go on, or open it anew. */
static void both_find_their_way(struct tl_pair *p) {
    if (is_over(p)) {
        lw_link_close(p->up, 0, NULL);
        p->up = tl_open(&p->client, "gateway", NULL, NULL);
    }
    int64_t end = t_now() + LW_SEC(20);
    struct lw_event e;
    do {
        serve_once(p);
        (void)!lw_group_poll(p->client.group, &e, 1, 0);
        assert_true(t_now() < end);
    } while (lw_link_state(p->up) != LW_LINK_UP || !p->down || lw_link_state(p->down) != LW_LINK_UP);
    struct lw_msg m;
    while (lw_link_next(p->down, &m, 0) == 1) assert_ok(lw_link_release(p->down, &m));
    tl_send_many(p->up, 5, 3);
    tl_send_many(p->down, 5, 3);
    assert_true(tl_gets_only(p->down, 5, 3) && tl_gets_only(p->up, 5, 3));
}

static void pitfall_19_a_remover_killed_at_any_system_call_leaves_a_link_that_works(void **state) {
    t_need_ptrace();
    int n = 1;
    for (bool more = true; more; n++) {
        char dir[T_PATH];
        snprintf(dir, sizeof dir, "%s/%d", (const char *)*state, n);
        (void)!mkdir(*state, 0700);
        struct tl_pair p = tl_pair(dir);
        more = kill_remover(dir, n);
        both_find_their_way(&p);
        lw_link_close(p.up, 0, NULL);
        lw_link_close(p.down, 0, NULL);
        p.up = p.down = NULL;
        int rc = tl_link_remove(p.client.bus, "gateway", "alice", 0, NULL);
        assert_true(!rc || rc == LW_ENOLINK);
        tl_pair_end(&p);
        t_dir_remove(dir);
    }
    print_message("%d places\n", n - 1);
    assert_true(n > 10);
}

/* The same with nobody there. */
static void a_killed_removal_of_a_link_that_nobody_has_is_finished_by_the_next(void **state) {
    t_need_ptrace();
    int n = 1;
    struct tl_party p = tl_party(*state, "me");
    for (bool more = true; more; n++) {
        struct lw_link *link = tl_open(&p, "gateway", "alice", NULL);
        tl_send_many(link, 0, 3);
        lw_link_close(link, 0, NULL);
        more = kill_remover(*state, n);
        if (n % 2) { /* opened by the next */
            link = tl_open(&p, "gateway", "alice", NULL);
            uint64_t sent = tl_stat(link).sent;
            assert_true(sent == 0 || sent == 3);
            tl_send_many(link, sent, 1);
            lw_link_close(link, 0, NULL);
        }
        int rc = tl_link_remove(p.bus, "gateway", "alice", 0, NULL);
        assert_true(!rc || (rc == LW_ENOLINK && !(n % 2)));
    }
    tl_leave(&p);
}

/* ---- a remover that is overtaken --------------------------------------------------------------------------------- */

static char up_path[TT_PATH];
static struct lw_bus *removers;

static void prepare_removal(void *dir) {
    removers = tt_bus(dir, "remover");
}

static void remove_it(void *dir) {
    (void)dir;
    (void)!tl_link_remove(removers, "gateway", "alice", 0, NULL);
}

static bool is_announced(void) {
    uint64_t word;
    tt_peek(up_path, TT_LANE_SUPERSEDED, &word, sizeof word);
    return word;
}

/* A client comes at the last moment before the removal is announced: it is seen, and keeps its link. */
static void who_comes_just_before_the_removal_is_announced_keeps_the_link(void **state) {
    t_need_ptrace();
    struct tl_party p = tl_party(*state, "me");
    lw_link_close(tl_open(&p, "gateway", "alice", NULL), 0, NULL);
    tl_client_lane(up_path, *state, "gateway", "alice", "up");
    struct t_point last = t_step_before(prepare_removal, remove_it, *state, is_announced);
    assert_ok(tl_link_remove(p.bus, "gateway", "alice", 0, NULL));
    lw_link_close(tl_open(&p, "gateway", "alice", NULL), 0, NULL);
    struct t_step step = t_step_begin(prepare_removal, remove_it, *state);
    if (!t_step_to(&step, &last)) {
        t_step_end(&step);
        tl_leave(&p);
        t_skip(__func__, "the remover does not take the same way twice");
    }
    assert_false(is_announced());
    struct lw_link *link = tl_open(&p, "gateway", "alice", NULL);
    t_step_finish(&step);
    t_step_end(&step);
    struct lw_msg m;
    assert_int_equal(lw_link_next(link, &m, 0), LW_EEMPTY);
    assert_true(tt_exists(up_path));
    lw_link_close(link, 0, NULL);
    tl_leave(&p);
}

/* ---- removing and opening at the same time ----------------------------------------------------------------------- */

struct racer {
    const char *dir;
    int index;
    int64_t rounds;
    unsigned force; /* some removers use it */
};

/* Opens, says hello, closes; whoever removes it meanwhile is told of. */
static int opener_body(void *arg) {
    const struct racer *r = arg;
    struct tl_party p = tl_party(r->dir, NULL);
    uint64_t opened = 0;
    for (int64_t i = 0; i < r->rounds; i++) {
        struct lw_link *link;
        struct lw_msg m;
        int rc = tl_try_open(&link, &p, "gateway", tt_text("c%d", (int)(t_random() % 2)));
        if (rc != 0 && rc != LW_EHELD) print_error("open: %s: %s\n", lw_errname(rc), lw_errtext());
        T_NEED(rc == 0 || rc == LW_EHELD);
        if (rc) continue;
        opened++;
        rc = (int)tl_send(link, 1, 0);
        T_NEED(rc >= 0 || rc == LW_ECLOSED || rc == LW_EFULL);
        rc = lw_link_next(link, &m, 0);
        T_NEED(rc == LW_EEMPTY || (rc == LW_ECLOSED && r->force)); /* nothing is removed from under who has it */
        lw_link_close(link, 0, NULL);
    }
    T_NEED(opened > 0);
    tl_leave(&p);
    return 0;
}

static int removal_body(void *arg) {
    const struct racer *r = arg;
    struct lw_bus *bus = tt_bus(r->dir, NULL);
    for (int64_t i = 0; i < r->rounds; i++) {
        int rc = tl_link_remove(bus, "gateway", tt_text("c%d", (int)(i % 2)), r->index % 2 ? r->force : 0, NULL);
        if (rc && rc != LW_ENOLINK && rc != LW_EHELD) print_error("remove: %s: %s\n", lw_errname(rc), lw_errtext());
        T_NEED(!rc || rc == LW_ENOLINK || rc == LW_EHELD);
        if (i % 16 == 0) {
            struct list l = {.count = 0};
            T_NEED(!lw_link_list(bus, NULL, note, &l) && l.count <= 2);
        }
    }
    T_NEED(!lw_bus_close(bus));
    return 0;
}

static void race(const char *dir, unsigned force) {
    struct racer r[5];
    struct t_child children[5];
    for (int i = 0; i < 5; i++) {
        r[i] = (struct racer){dir, i, t_loops(4000) + 400, force};
        children[i] = t_fork(i < 3 ? opener_body : removal_body, &r[i]);
    }
    for (int i = 0; i < 5; i++) assert_int_equal(t_wait(&children[i]), 0);
}

static void links_are_removed_and_opened_by_many_at_the_same_time(void **state) {
    race(*state, LW_REMOVE_FORCE);
    race(*state, 0);
    struct tl_party p = tl_party(*state, "me");
    for (int i = 0; i < 2; i++) {
        const char *name = tt_text("c%d", i);
        struct lw_link *link = tl_open(&p, "gateway", name, NULL);
        lw_link_close(link, 0, NULL);
        assert_ok(tl_link_remove(p.bus, "gateway", name, 0, NULL));
    }
    assert_int_equal(list_of(p.bus, NULL).count, 0);
    tl_leave(&p);
}

/* ---- nothing is left --------------------------------------------------------------------------------------------- */

static int count_node(const struct lw_node_info *node, void *user) {
    (void)node;
    *(int *)user += 1;
    return 0;
}

static void pitfall_34_ten_thousand_links_made_and_removed_leave_nothing_behind(void **state) {
    struct tl_party p = tl_party(*state, "me");
    struct lw_server *server = tl_server(&p, "gateway");
    int64_t n = t_loops(10000);
    int files = 0, nodes = 0, descriptors = 0, after = 0;
    for (int64_t i = 0; i < n; i++) {
        const char *name = tt_text("c%d", (int)i);
        struct lw_link *up = tl_open(&p, "gateway", name, NULL);
        if (i % 10 == 0) { /* some with a server's side */
            struct lw_link *down = tl_accept(&p, server, name);
            lw_link_close(down, 0, NULL);
        }
        lw_link_close(up, 0, NULL);
        assert_ok(tl_link_remove(p.bus, "gateway", name, 0, NULL));
        if (i) continue;
        files = tt_count_files(*state);
        descriptors = t_descriptors();
        assert_ok(lw_bus_nodes(p.bus, count_node, &nodes));
    }
    struct lw_link *up = tl_open(&p, "other", "c", NULL); /* of a server that never was: its folder goes as well */
    lw_link_close(up, 0, NULL);
    assert_ok(tl_link_remove(p.bus, "other", "c", 0, NULL));
    char path[TT_PATH];
    snprintf(path, sizeof path, "%s/links/other", (const char *)*state);
    assert_false(tt_exists(path));
    assert_int_equal(tt_count_files(*state), files);
    assert_int_equal(t_descriptors(), descriptors);
    assert_ok(lw_bus_nodes(p.bus, count_node, &after));
    assert_int_equal(after, nodes);
    assert_true(tl_quiet(&p, LW_MS(10)));
    struct stat st;
    snprintf(path, sizeof path, "%s/links/gateway", (const char *)*state);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_nlink, 2); /* no folder of a client */
    lw_server_close(server);
    tl_leave(&p);
}

int main(void) {
    const struct CMUnitTest everywhere[] = {
        t_test(who_sleeps_in_a_call_is_woken_by_the_removal),
        t_test(damaged_links_are_removed_by_force_alone),
        t_test(half_a_link_is_a_removal_that_the_next_one_finishes),
        t_test(a_killed_removal_of_a_link_that_nobody_has_is_finished_by_the_next),
        t_test(links_are_removed_and_opened_by_many_at_the_same_time),
        t_test(pitfall_34_ten_thousand_links_made_and_removed_leave_nothing_behind),
    };
    const struct CMUnitTest shared_memory_only[] = {
        t_test(who_comes_just_before_the_removal_is_announced_keeps_the_link),
        t_test(links_are_listed_with_their_state_and_numbers),
        t_test(a_damaged_link_is_listed_with_its_error_among_the_others),
        t_test(removing_counts_what_was_unread_and_asks_who_has_it),
        t_test(only_the_client_or_the_server_left),
        t_test(pitfall_16_removed_by_force_both_sides_are_told_at_once_and_can_open_it_anew),
        t_test(pitfall_19_a_remover_killed_at_any_system_call_leaves_a_link_that_works),
    };
    return tl_run(everywhere, shared_memory_only);
}
