/* SPDX-License-Identifier: MIT */
/*
 * Nobody who lives is told dead: whatever a peer does or suffers short of dying, its link stays up on both sides, its
 * epoch stays open, and what it holds stays its own. And LW_STUCK decides nothing.
 *
 * Each trial ends with a message there and an answer back, which says how often the peer was told that the server was
 * away (never). LW_TRIALS says how many trials of each kind (make peers: 10,000).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/watch.h"
#include "laneway/fast.h"
#include "laneway/link.h"
#include "util/figures.h"
#include "util/util.h"

enum { PEERS = 3, OFTEN = 100 };

static int trials(void) {
    return t_number("LW_TRIALS", (int)t_loops(OFTEN));
}

/* ---- a peer: does what messages tell it, and answers each --------------------------------------------------------- */

enum command { ECHO, FORK_AND_EXIT, FORK_AND_EXEC, FORK_AND_LIVE, OTHER_BUSES, SAME_NAME };

struct peer {
    const char *dir;
    char name[LW_NAME_MAX + 1];
    struct lw_bus *bus;
    struct lw_link *link;
    int downs;
};

struct answer {
    int downs;
    int pid; /* of the child that lives */
};

static void exec_true(void) {
    char *args[] = {"true", NULL};
    execvp("true", args);
    _exit(1);
}

static int fork_child(enum command command) {
    pid_t pid = fork();
    T_NEED(pid >= 0);
    if (pid == 0) {
        if (command == FORK_AND_EXEC) exec_true();
        if (command == FORK_AND_LIVE) t_forever();
        _exit(0);
    }
    if (command == FORK_AND_LIVE) return pid;
    T_NEED(waitpid(pid, NULL, 0) == pid);
    return 0;
}

static void other_buses(const struct peer *p) {
    struct lw_bus *named, *unnamed;
    char name[2 * LW_NAME_MAX];
    snprintf(name, sizeof name, "%s-too", p->name);
    T_NEED(t_bus_open(&named, p->dir, name, 0) == 0);
    T_NEED(t_bus_open(&unnamed, p->dir, NULL, 0) == 0);
    T_NEED(lw_bus_close(named) == 0 && lw_bus_close(unnamed) == 0);
}

static int obey(const struct peer *p, enum command command) {
    struct lw_bus *bus;
    if (command == OTHER_BUSES) other_buses(p);
    if (command == SAME_NAME) T_NEED(t_bus_open(&bus, p->dir, p->name, 0) == LW_EHELD);
    return command >= FORK_AND_EXIT && command <= FORK_AND_LIVE ? fork_child(command) : 0;
}

static void answer_all(struct peer *p) {
    struct lw_msg m;
    int rc;
    while ((rc = lw_link_next(p->link, &m, 0)) == 1) {
        struct answer a = {.pid = obey(p, (enum command)m.type)};
        a.downs = p->downs;
        T_NEED(lw_link_release(p->link, &m) == 0);
        T_NEED(lw_link_send(p->link, 1, &a, sizeof a, LW_SEC(10)) >= 0);
    }
    T_NEED(rc == LW_EEMPTY);
}

static void be_peer(const char *dir, const char *name) {
    struct peer p = {.dir = dir};
    struct lw_group *group;
    struct lw_event e;
    snprintf(p.name, sizeof p.name, "%s", name);
    T_NEED(t_bus_open(&p.bus, dir, name, 0) == 0 && lw_group_open(&group, p.bus, NULL) == 0);
    T_NEED(lw_link_open(&p.link, group, "hub", NULL) == 0);
    t_say(getpid());
    for (;;) {
        int n = lw_group_poll(group, &e, 1, LW_FOREVER);
        T_NEED(n == 1 || n == -EINTR);
        if (n == 1 && e.kind == LW_DOWN) p.downs++;
        if (n == 1 && e.kind == LW_READABLE) answer_all(&p);
    }
}

/* ---- the server, in the test -------------------------------------------------------------------------------------- */

struct world {
    const char *dir;
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_server *server;
    struct t_child child[PEERS];
    struct lw_link *link[PEERS];
    int ups, downs, stucks, movings, answers, others_downs;
    struct answer last;
};

static void world_open(struct world *w, const char *dir) {
    struct lw_server_options opt = LW_SERVER_OPTIONS_INIT;
    struct lw_group_options group = LW_GROUP_OPTIONS_INIT;
    *w = (struct world){.dir = dir};
    opt.stuck_after = LW_MS(100);
    group.spin = 0;
    assert_ok(t_bus_open(&w->bus, dir, "hub", 0));
    assert_ok(lw_group_open(&w->group, w->bus, &group));
    assert_ok(lw_server_open(&w->server, w->group, "hub", &opt));
}

static void take_answers(struct world *w, struct lw_link *link) {
    struct lw_msg m;
    int rc;
    while ((rc = lw_link_next(link, &m, 0)) == 1) {
        memcpy(&w->last, m.data, sizeof w->last);
        w->others_downs += w->last.downs;
        w->answers++;
        assert_ok(lw_link_release(link, &m));
    }
    assert_int_equal(rc, LW_EEMPTY);
}

static void let_in(struct world *w, struct lw_login *login) {
    struct lw_link *link;
    int i = login->client[1] - '0';
    assert_in_range(i, 0, PEERS - 1);
    if (login->link)
        assert_ok(lw_login_accept(login, NULL, NULL, &link));
    else
        assert_ok(lw_login_accept(login, w->group, NULL, &link));
    w->link[i] = link;
}

/* Of the server, or of a link whose client came again. */
static void on_login(struct world *w, const struct lw_event *e) {
    struct lw_login login = LW_LOGIN_INIT;
    if (e->server != w->server && lw_link_login(e->link, &login) == 1) let_in(w, &login);
    while (e->server == w->server && lw_server_login(w->server, &login) == 1) let_in(w, &login);
}

static void on_event(struct world *w, const struct lw_event *e) {
    if (e->kind == LW_UP) w->ups++;
    if (e->kind == LW_DOWN) w->downs++;
    if (e->kind == LW_STUCK) w->stucks++;
    if (e->kind == LW_MOVING) w->movings++;
    if (e->kind == LW_READABLE) take_answers(w, e->link);
    if (e->kind == LW_LOGIN) on_login(w, e);
}

/* Polls for so long, or until `*count` is `wanted`; true then. */
static bool turn(struct world *w, int64_t ns, const int *count, int wanted) {
    struct lw_event events[16];
    int64_t end = t_now() + ns, left = ns;
    for (; !count || *count < wanted; left = end - t_now()) {
        if (left < 0) return false;
        int n = lw_group_poll(w->group, events, 16, left);
        if (n < 0) assert_int_equal(n, -EINTR);
        for (int i = 0; i < n; i++) on_event(w, &events[i]);
    }
    return true;
}

static void await(struct world *w, const int *count, int wanted, const char *what) {
    if (!turn(w, LW_SEC(20), count, wanted)) fail_msg("%d %s of %d after 20 s", *count, what, wanted);
}

static void tell(struct world *w, int i, enum command command) {
    assert_ok(lw_link_send(w->link[i], (uint16_t)command, "", 0, LW_SEC(10)));
}

static struct answer ask(struct world *w, int i, enum command command) {
    int before = w->answers;
    tell(w, i, command);
    await(w, &w->answers, before + 1, "answers");
    return w->last;
}

struct start {
    const char *dir;
    int number;
};

static int peer_body(void *arg) {
    const struct start *s = arg;
    char name[8];
    snprintf(name, sizeof name, "p%d", s->number);
    be_peer(s->dir, name);
    return 0;
}

static void peer_start(struct world *w, int i) {
    struct start s = {.dir = w->dir, .number = i};
    int before = w->ups;
    w->child[i] = t_fork(peer_body, &s);
    t_hear(&w->child[i]);
    await(w, &w->ups, before + 1, "links up");
}

/* ---- what must never have happened -------------------------------------------------------------------------------- */

struct epochs {
    uint32_t epoch[PEERS];
    int alive;
};

static int note_epoch(const struct lw_node_info *node, void *user) {
    struct epochs *e = user;
    if (node->name[0] != 'p' || node->name[2]) return 0;
    e->epoch[node->name[1] - '0'] = node->epoch;
    e->alive += node->alive;
    return 0;
}

static struct epochs epochs_of(const struct world *w) {
    struct epochs e = {.alive = 0};
    assert_ok(lw_bus_nodes(w->bus, note_epoch, &e));
    return e;
}

/* All links of `peers` peers are as they were. */
static void all_well(struct world *w, int peers, const struct epochs *before) {
    for (int i = 0; i < peers; i++) {
        ask(w, i, ECHO);
        assert_int_equal(lw_link_state(w->link[i]), LW_LINK_UP);
    }
    struct epochs now = epochs_of(w);
    assert_memory_equal(now.epoch, before->epoch, sizeof now.epoch);
    assert_int_equal(now.alive, peers);
    assert_int_equal(w->downs, 0);
    assert_int_equal(w->others_downs, 0);
}

static void world_close(struct world *w) {
    for (int i = 0; i < PEERS; i++) {
        if (w->child[i].pid) t_kill(&w->child[i]);
        lw_link_close(w->link[i], 0, NULL);
    }
    lw_server_close(w->server);
    assert_ok(lw_group_close(w->group));
    assert_ok(lw_bus_close(w->bus));
}

static struct epochs begin(struct world *w, const char *dir) {
    world_open(w, dir);
    for (int i = 0; i < PEERS; i++) peer_start(w, i);
    return epochs_of(w);
}

/* ---- no false report ---------------------------------------------------------------------------------------------- */

static void a_stopped_peer_is_not_dead(void **state) {
    struct world w;
    struct epochs before = begin(&w, *state);
    for (int n = 0, i = 0; n < trials(); n++, i = n % PEERS) {
        t_stop(&w.child[i]);
        turn(&w, (int64_t)(t_random() % LW_MS(2)), NULL, 0);
        t_go_on(&w.child[i]);
        if (n % 16 == 0) all_well(&w, PEERS, &before);
    }
    all_well(&w, PEERS, &before);
    world_close(&w);
}

/* Children that live on are kept for a while, then killed. */
static void a_peer_that_forks_is_not_dead(void **state) {
    struct world w;
    enum { KEPT = 8 };
    pid_t kept[KEPT] = {0};
    struct epochs before = begin(&w, *state);
    for (int n = 0; n < trials(); n++) {
        ask(&w, n % PEERS, FORK_AND_EXIT);
        ask(&w, n % PEERS, FORK_AND_EXEC);
        if (kept[n % KEPT]) kill(kept[n % KEPT], SIGKILL);
        kept[n % KEPT] = ask(&w, n % PEERS, FORK_AND_LIVE).pid;
        all_well(&w, PEERS, &before);
    }
    for (int n = 0; n < KEPT; n++)
        if (kept[n]) kill(kept[n], SIGKILL);
    turn(&w, LW_MS(20), NULL, 0);
    all_well(&w, PEERS, &before);
    world_close(&w);
}

/* The child has copies of all descriptors for as long as it takes to close them, and none afterwards. */
static void a_peer_whose_child_lives_is_dead_when_it_is(void **state) {
    struct world w;
    int n = trials(), downs = 0;
    int64_t *times = calloc((size_t)n, sizeof *times);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    world_open(&w, *state);
    for (int i = 0; i < n; i++) {
        peer_start(&w, 0);
        pid_t child = ask(&w, 0, FORK_AND_LIVE).pid;
        int64_t begin = t_now();
        kill(w.child[0].pid, SIGKILL);
        await(&w, &w.downs, ++downs, "deaths");
        times[i] = t_now() - begin;
        assert_int_equal(kill(child, 0), 0);
        kill(child, SIGKILL);
        t_kill(&w.child[0]);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_int_equal(lw_link_state(w.link[0]), LW_LINK_DOWN);
    }
    t_print_times("seen dead, its child lives", times, n);
    assert_int_equal(w.downs, n);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    free(times);
    world_close(&w);
}

static void a_peer_that_uses_other_buses_is_not_dead(void **state) {
    struct world w;
    struct epochs before = begin(&w, *state);
    for (int n = 0; n < trials(); n++) {
        ask(&w, n % PEERS, OTHER_BUSES);
        if (n % 16 == 0) ask(&w, n % PEERS, SAME_NAME);
        if (n % 16 == 0) all_well(&w, PEERS, &before);
    }
    all_well(&w, PEERS, &before);
    world_close(&w);
}

/* ---- beside others ------------------------------------------------------------------------------------------------ */

struct work {
    const char *dir;
    int times;
};

/* 20 ms each: so long one waits for a cleaner to let go of the lock. */
static int start_under_held_names(void *arg) {
    const struct work *work = arg;
    struct lw_bus *bus;
    char name[8];
    for (int n = 0; n < work->times; n++) {
        snprintf(name, sizeof name, "p%d", n % PEERS);
        T_NEED(t_bus_open(&bus, work->dir, name, 0) == LW_EHELD);
    }
    return 0;
}

static int clean_all_the_time(void *arg) {
    const struct work *work = arg;
    struct lw_bus *bus;
    T_NEED(t_bus_open(&bus, work->dir, NULL, 0) == 0);
    for (int n = 0; n < work->times; n++) T_NEED(lw_bus_clean(bus, NULL) == 0);
    return lw_bus_close(bus);
}

static int skip_node(const struct lw_node_info *node, void *user) {
    (void)user;
    if (node->name[0] == 'p' && !node->name[2]) T_NEED(node->alive);
    return 0;
}

static int list_all_the_time(void *arg) {
    const struct work *work = arg;
    struct lw_bus *bus;
    T_NEED(t_bus_open(&bus, work->dir, NULL, LW_BUS_OBSERVE) == 0);
    for (int n = 0; n < work->times; n++) T_NEED(lw_bus_nodes(bus, skip_node, NULL) == 0);
    return lw_bus_close(bus);
}

static bool is_over(const struct t_child *child) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

/* While `count` processes do it, so often in all. */
static void well_beside(const char *dir, int (*body)(void *), int count) {
    struct t_child children[4];
    struct world w;
    struct epochs before = begin(&w, dir);
    struct work work = {.dir = dir, .times = trials() / count + 1};
    for (int i = 0; i < count; i++) children[i] = t_fork(body, &work);
    for (int i = 0; i < count; i++) {
        while (!is_over(&children[i])) all_well(&w, PEERS, &before);
        assert_int_equal(t_wait(&children[i]), 0);
    }
    turn(&w, LW_MS(20), NULL, 0);
    all_well(&w, PEERS, &before);
    world_close(&w);
}

static void failed_starts_of_a_held_name_kill_nobody(void **state) {
    well_beside(*state, start_under_held_names, 4);
}

static void cleaning_all_the_time_kills_nobody(void **state) {
    well_beside(*state, clean_all_the_time, 2);
}

static void listing_all_the_time_kills_nobody(void **state) {
    well_beside(*state, list_all_the_time, 2);
}

/* Nobody is even suspected, so nobody looks: with many peers that would take long. */
static void starts_and_cleaning_alarm_nobody(void **state) {
    struct work work = {.dir = *state, .times = 10};
    struct world w;
    world_open(&w, *state);
    turn(&w, LW_MS(20), NULL, 0);
    uint64_t deaths = lw__watch_deaths(w.bus);
    for (int i = 0; i < PEERS; i++) peer_start(&w, i);
    turn(&w, LW_MS(20), NULL, 0);
    assert_int_equal(lw__watch_deaths(w.bus), deaths);
    assert_int_equal(lw__watch_next(w.bus), INT64_MAX);
    struct t_child cleaner = t_fork(clean_all_the_time, &work);
    assert_int_equal(t_wait(&cleaner), 0);
    turn(&w, LW_MS(5), NULL, 0);
    assert_in_range(lw__watch_deaths(w.bus), deaths, deaths + 2); /* the cleaner's own */
    assert_int_equal(lw__watch_next(w.bus), INT64_MAX);
    world_close(&w);
}

/* ---- namespaces --------------------------------------------------------------------------------------------------- */

enum { PID = 100 };

static pid_t fork_as(pid_t pid) {
    struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&pid, .set_tid_size = 1};
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

/* The first process of a pid namespace, in a mount namespace where the bus is elsewhere: on each order it ends the peer
 * that there is and starts another, under the same pid. */
static int spawn_peers(const char *dir) {
    char name[8];
    pid_t last = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    T_NEED(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount(dir, "/mnt", NULL, MS_BIND, NULL) == 0);
    for (;;) {
        int number = (int)t_listen();
        if (last) T_NEED(kill(last, SIGKILL) == 0 && waitpid(last, NULL, 0) == last);
        T_NEED((last = fork_as(PID)) >= 0);
        if (last) continue;
        snprintf(name, sizeof name, "p%d", number);
        be_peer("/mnt", name);
    }
}

/* Of the children: a day later, where the kernel can do that. */
static bool shift_clocks(void) {
    if (unshare(CLONE_NEWTIME)) return false;
    int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    bool shifted = fd >= 0 && dprintf(fd, "monotonic 86400 0\nboottime 86400 0\n") > 0;
    if (fd >= 0) close(fd);
    return shifted;
}

static int enter_namespaces(void *arg) {
    if (!shift_clocks()) print_message("the clocks are the same in all namespaces here\n");
    if (unshare(CLONE_NEWPID | CLONE_NEWNS)) {
        t_say(-1);
        return 0;
    }
    t_say(0);
    pid_t pid = fork();
    T_NEED(pid >= 0);
    if (!pid) return spawn_peers(arg);
    T_NEED(waitpid(pid, NULL, 0) == pid);
    return 0;
}

/* Peer 0 is dead, 1 has its pid; and so on. Peer 2 is there all the time. */
static void a_pid_that_is_used_again_means_nothing(void **state) {
    struct world w;
    t_need_root();
    world_open(&w, *state);
    struct t_child spawner = t_fork(enter_namespaces, *state);
    if (t_hear(&spawner) < 0) t_skip(__func__, "no namespaces to be had");
    peer_start(&w, 2);
    for (int n = 0; n < trials(); n++) {
        t_tell(&spawner, n % 2);
        assert_int_equal(t_hear(&spawner), PID);
        await(&w, &w.ups, n + 2, "links up");
        await(&w, &w.downs, n, "deaths");
        turn(&w, LW_MS(1), NULL, 0);
        assert_int_equal(w.downs, n);
        assert_int_equal(lw_link_state(w.link[n % 2]), LW_LINK_UP);
        if (n) assert_int_equal(lw_link_state(w.link[1 - n % 2]), LW_LINK_DOWN);
        ask(&w, n % 2, ECHO);
        ask(&w, 2, ECHO);
    }
    assert_int_equal(w.ups, trials() + 1);
    assert_int_equal(w.others_downs, 0);
    t_kill(&spawner);
    world_close(&w);
}

static void a_peer_in_other_namespaces_is_not_dead(void **state) {
    struct world w;
    t_need_root();
    world_open(&w, *state);
    struct t_child spawner = t_fork(enter_namespaces, *state);
    if (t_hear(&spawner) < 0) t_skip(__func__, "no namespaces to be had");
    t_tell(&spawner, 0);
    assert_int_equal(t_hear(&spawner), PID);
    await(&w, &w.ups, 1, "links up");
    struct epochs before = epochs_of(&w);
    for (int n = 0; n < trials(); n++) {
        if (n < 8) assert_true(ask(&w, 0, FORK_AND_LIVE).pid > 1);
        ask(&w, 0, FORK_AND_EXEC);
        ask(&w, 0, OTHER_BUSES);
        all_well(&w, 1, &before);
    }
    t_kill(&spawner);
    await(&w, &w.downs, 1, "deaths");
    world_close(&w);
}

/* ---- stuck -------------------------------------------------------------------------------------------------------- */

static void a_stopped_peer_with_messages_is_told_stuck(void **state) {
    struct world w;
    struct epochs before = begin(&w, *state);
    int n = t_number("LW_TRIALS", 0) ? 100 : (int)t_loops(20);
    int64_t *times = calloc((size_t)n, sizeof *times);
    for (int i = 0; i < n; i++) {
        turn(&w, (int64_t)(t_random() % LW_MS(60)), NULL, 0);
        t_stop(&w.child[0]);
        int64_t begin = t_now();
        tell(&w, 0, ECHO);
        await(&w, &w.stucks, i + 1, "stuck");
        times[i] = t_now() - begin;
        if (times[i] < LW_MS(100)) fail_msg("told after %.3f ms", (double)times[i] / 1e6);
        assert_int_equal(lw_link_state(w.link[0]), LW_LINK_UP);
        tell(&w, 0, ECHO); /* decides nothing */
        assert_int_equal(w.movings, i);
        t_go_on(&w.child[0]);
        await(&w, &w.movings, i + 1, "moving");
        all_well(&w, PEERS, &before);
    }
    t_print_times("told stuck, 100 ms wanted", times, n);
    assert_int_equal(w.stucks, n);
    free(times);
    world_close(&w);
}

static void a_stopped_idle_peer_is_not_told_stuck(void **state) {
    struct world w;
    struct epochs before = begin(&w, *state);
    for (int i = 0; i < 2; i++) {
        t_stop(&w.child[0]);
        turn(&w, LW_MS(400), NULL, 0);
        assert_int_equal(w.stucks, 0);
        t_go_on(&w.child[0]);
        all_well(&w, PEERS, &before);
    }
    assert_int_equal(w.stucks + w.movings, 0);
    world_close(&w);
}

/* The time counts from the message, not from the last look, however long ago that was. */
static void a_server_that_did_not_poll_tells_no_stuck_too_soon(void **state) {
    struct world w;
    struct epochs before = begin(&w, *state);
    turn(&w, LW_MS(200), NULL, 0);
    t_stop(&w.child[0]);
    t_sleep(LW_MS(300));
    tell(&w, 0, ECHO);
    turn(&w, LW_MS(80), NULL, 0);
    assert_int_equal(w.stucks, 0);
    t_go_on(&w.child[0]);
    all_well(&w, PEERS, &before);
    world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_stopped_peer_is_not_dead),
        t_test(a_peer_that_forks_is_not_dead),
        t_test(a_peer_whose_child_lives_is_dead_when_it_is),
        t_test(a_peer_that_uses_other_buses_is_not_dead),
        t_test(failed_starts_of_a_held_name_kill_nobody),
        t_test(cleaning_all_the_time_kills_nobody),
        t_test(listing_all_the_time_kills_nobody),
        t_test(starts_and_cleaning_alarm_nobody),
        t_test(a_pid_that_is_used_again_means_nothing),
        t_test(a_peer_in_other_namespaces_is_not_dead),
        t_test(a_stopped_peer_with_messages_is_told_stuck),
        t_test(a_stopped_idle_peer_is_not_told_stuck),
        t_test(a_server_that_did_not_poll_tells_no_stuck_too_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
