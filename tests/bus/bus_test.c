/* SPDX-License-Identifier: MIT */
/* Opening a bus: options, directories, users and groups, observers, what is short (space, descriptors). */
#include "bus/bus.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/util.h"

enum { ANNE = 11111, BERT = 22222, CARL = 33333, TEAM = 23456, MISSING = 77 };

static struct stat stat_of(const char *dir, const char *name) {
    char path[T_PATH + 64];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(lstat(path, &st), 0);
    return st;
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static void a_new_bus_is_private(void **state) {
    struct lw_bus *bus;
    mode_t was = umask(0);
    assert_ok(t_bus_open(&bus, *state, "x", 0));
    umask(was);
    assert_string_equal(lw_bus_dir(bus), *state);
    assert_int_equal(stat_of(*state, ".").st_mode & 07777, 0700);
    assert_int_equal(stat_of(*state, "nodes").st_mode & 07777, 0700);
    assert_int_equal(stat_of(*state, "topics").st_mode & 07777, 0700);
    assert_int_equal(stat_of(*state, "bus").st_mode & 07777, 0600);
    assert_int_equal(stat_of(*state, "nodes/x").st_mode & 07777, 0600);
    lw_bus_close(bus);
}

static void slashes_at_the_end_do_not_matter(void **state) {
    struct lw_bus *a, *b;
    char path[T_PATH + 16];
    snprintf(path, sizeof path, "%s///", (char *)*state);
    assert_ok(t_bus_open(&a, path, "x", 0));
    assert_string_equal(lw_bus_dir(a), *state);
    assert_fails(t_bus_open(&b, *state, "x", 0), LW_EHELD, NULL);
    lw_bus_close(a);
}

static void a_relative_directory_is_fine(void **state) {
    struct lw_bus *bus;
    char up[T_PATH], here[T_PATH];
    snprintf(up, sizeof up, "%s/..", (char *)*state);
    assert_non_null(getcwd(here, sizeof here));
    mkdir(*state, 0700);
    assert_int_equal(chdir(*state), 0);
    assert_ok(t_bus_open(&bus, "sub", "x", 0));
    lw_bus_close(bus);
    assert_ok(t_bus_open(&bus, ".", "x", 0));
    lw_bus_close(bus);
    assert_int_equal(chdir(here), 0);
}

static void missing_parents_are_not_made(void **state) {
    struct lw_bus *bus;
    char path[T_PATH + 16];
    snprintf(path, sizeof path, "%s/a/b", (char *)*state);
    assert_fails(t_bus_open(&bus, path, "x", 0), -ENOENT, path);
    assert_fails(t_bus_open(&bus, path, "x", 0), -ENOENT, "can not make a bus here");
    close(open(*state, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    assert_fails(t_bus_open(&bus, *state, "x", 0), -ENOTDIR, *state);
    assert_fails(t_bus_open(&bus, path, "x", 0), -ENOTDIR, path);
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = 0;
    assert_fails(t_bus_open(&bus, path, "x", 0), -ENAMETOOLONG, "longer than 255");
    assert_null(bus);
}

static void another_interface_number_is_refused_and_both_are_named(void **state) {
    struct lw_bus *bus;
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    opt.dir = *state;
    assert_fails(lw_bus_open_abi(&bus, &opt, LW_ABI + 7), LW_EABI, "interface 12, this library has 5");
    assert_null(bus);
}

static void options_of_other_sizes_are_read_safely(void **state) {
    struct {
        struct lw_bus_options known;
        uint64_t more[2];
    } opt = {.known = LW_BUS_OPTIONS_INIT};
    struct lw_bus *bus;
    opt.known.dir = *state;
    opt.known.size = sizeof opt;
    assert_ok(lw_bus_open(&bus, &opt.known));
    lw_bus_close(bus);
    opt.more[1] = 1;
    assert_fails(lw_bus_open(&bus, &opt.known), LW_EABI, "does not know");
    opt.known.size = offsetof(struct lw_bus_options, group); /* an older program: nothing after is looked at */
    opt.known.group = (const char *)1;
    opt.known.flags = ~0u;
    assert_ok(lw_bus_open(&bus, &opt.known));
    lw_bus_close(bus);
    opt.known.size = 0;
    assert_fails(lw_bus_open(&bus, &opt.known), -EINVAL, "_INIT");
    opt.known = (struct lw_bus_options)LW_BUS_OPTIONS_INIT;
    opt.known.dir = *state;
    opt.known.flags = 0x80;
    assert_fails(lw_bus_open(&bus, &opt.known), -EINVAL, "0x80");
}

static int open_by_environment(void *dir) {
    struct lw_bus *bus;
    setenv("LANEWAY_DIR", dir, 1);
    T_NEED(lw_bus_open(&bus, NULL) == 0);
    T_NEED(strcmp(lw_bus_dir(bus), dir) == 0 && strcmp(lw_bus_node(bus), "_1") == 0);
    return lw_bus_close(bus);
}

static void the_environment_names_the_directory(void **state) {
    struct t_child child = t_fork(open_by_environment, *state);
    assert_int_equal(t_wait(&child), 0);
}

static int nothing(const struct lw_node_info *node, void *user) {
    (void)node, (void)user;
    return 0;
}

static void no_call_leaves_a_descriptor(void **state) {
    struct lw_bus *bus, *keep;
    struct lw_clean_result result = {0};
    char who[LW_NAME_MAX + 1];
    char none[T_PATH + 16];
    snprintf(none, sizeof none, "%s/none", (char *)*state);
    assert_ok(t_bus_open(&keep, *state, "keep", 0));
    int before = t_descriptors();
    for (int64_t i = 0; i < t_loops(1000); i++) {
        assert_ok(t_bus_open(&bus, *state, i % 2 ? NULL : "x", 0));
        uint64_t owner = bus->owner;
        assert_ok(lw_bus_nodes(bus, nothing, NULL));
        assert_int_equal(lw__owner_who(keep, owner, who), getpid());
        assert_ok(lw__bus_clean_nodes(keep, &result));
        assert_int_equal(lw_bus_close(bus), 0);
        assert_true(lw__owner_gone(keep, owner));
        assert_ok(t_bus_open(&bus, *state, "x", LW_BUS_OBSERVE));
        assert_int_equal(lw_bus_close(bus), 0);
        assert_int_equal(t_bus_open(&bus, none, "x", LW_BUS_OBSERVE), LW_ENOBUS);
        assert_int_equal(t_bus_open(&bus, *state, "-", 0), LW_ENAME);
        if (i % 50 == 0) assert_int_equal(t_bus_open(&bus, *state, "keep", 0), LW_EHELD);
    }
    assert_int_equal(t_descriptors(), before);
    lw_bus_close(keep);
}

/* ---- observers --------------------------------------------------------------------------------------------------- */

static void an_observer_makes_nothing(void **state) {
    struct lw_bus *bus, *other;
    assert_fails(t_bus_open(&bus, *state, NULL, LW_BUS_OBSERVE), LW_ENOBUS, *state);
    mkdir(*state, 0700);
    assert_fails(t_bus_open(&bus, *state, NULL, LW_BUS_OBSERVE), LW_ENOBUS, "no bus in this directory");
    assert_int_equal(rmdir(*state), 0);
    assert_ok(t_bus_open(&other, *state, "x", 0));
    assert_ok(t_bus_open(&bus, *state, "ignored", LW_BUS_OBSERVE));
    assert_string_equal(lw_bus_node(bus), "");
    assert_int_equal(bus->owner, 0);
    assert_fails(lw__bus_enter(bus, true), LW_ESTATE, NULL);
    assert_ok(lw__bus_enter(bus, false));
    lw__bus_leave(bus);
    lw_bus_close(bus);
    lw_bus_close(other);
}

static int same_pid(const struct lw_node_info *node, void *pid) {
    return node->alive && node->pid == *(int *)pid ? 1 : 0;
}

static int look_as_bert(void *arg) {
    struct lw_bus *observer = arg, *bus;
    const char *dir = lw_bus_dir(observer);
    int parent = getppid();
    t_become(BERT, BERT);
    T_NEED(t_bus_open(&bus, dir, "b", 0) == -EACCES);
    T_NEED(strstr(lw_errtext(), "you are uid 22222"));
    T_NEED(t_bus_open(&bus, dir, NULL, LW_BUS_OBSERVE) == 0);
    T_NEED(lw_bus_nodes(bus, same_pid, &parent) == 1);
    return lw_bus_close(bus);
}

static void an_observer_with_permission_to_read_only_may_look(void **state) {
    struct lw_bus *bus;
    char command[T_PATH * 2];
    t_need_root();
    assert_ok(t_bus_open(&bus, *state, "x", 0));
    snprintf(command, sizeof command, "chmod -R u=rwX,go=rX %s", (char *)*state);
    assert_int_equal(system(command), 0);
    struct t_child child = t_fork(look_as_bert, bus);
    assert_int_equal(t_wait(&child), 0);
    lw_bus_close(bus);
}

/* ---- users and groups -------------------------------------------------------------------------------------------- */

static void modes_that_let_others_write_are_refused(void **state) {
    struct lw_bus *bus;
    char path[T_PATH + 16];
    assert_ok(t_bus_open(&bus, *state, "x", 0));
    lw_bus_close(bus);
    snprintf(path, sizeof path, "%s/bus", (char *)*state);
    const mode_t bad[] = {0602, 0620, 0666};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(chmod(path, bad[i]), 0);
        assert_fails(t_bus_open(&bus, *state, "x", 0), -EACCES, "chmod 0600");
    }
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(chmod(*state, 0777), 0);
    assert_fails(t_bus_open(&bus, *state, "x", 0), -EACCES, "mode 0777");
    assert_int_equal(chmod(*state, 0700), 0);
    assert_ok(t_bus_open(&bus, *state, "x", 0));
    lw_bus_close(bus);
}

struct user {
    const char *dir, *node, *group;
    uid_t uid;
    gid_t gid;
};

/* Opens as the user, says the owner word or the error, and stays. */
static int be_user(void *arg) {
    const struct user *u = arg;
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    struct lw_bus *bus;
    umask(0077);
    t_become(u->uid, u->gid);
    opt.dir = u->dir;
    opt.node = u->node;
    opt.group = u->group;
    int rc = lw_bus_open(&bus, &opt);
    if (rc == -EACCES) T_NEED(strstr(lw_errtext(), "owner uid") && strstr(lw_errtext(), "you are uid"));
    t_say(rc ? rc : (int64_t)bus->owner);
    t_say(rc ? 0 : lw__owner_gone(bus, (uint64_t)t_listen()));
    t_forever();
}

/* A place for a bus in a directory where all users may make one. */
static const char *common_place(void **state) {
    static char path[T_PATH + 16];
    mkdir(*state, 0777);
    chmod(*state, 0777);
    snprintf(path, sizeof path, "%s/bus", (char *)*state);
    return path;
}

static void anothers_private_bus_is_refused_but_root_may(void **state) {
    t_need_root();
    const char *dir = common_place(state);
    struct user anne = {dir, "x", NULL, ANNE, ANNE}, bert = {dir, "y", NULL, BERT, BERT}, root = {dir, "x", NULL, 0, 0};
    struct t_child a = t_fork(be_user, &anne);
    assert_true(t_hear(&a) > 0);
    struct t_child b = t_fork(be_user, &bert);
    assert_int_equal(t_hear(&b), -EACCES);
    t_kill(&a);
    struct t_child r = t_fork(be_user, &root); /* takes the name over; and what it makes is Anne's */
    assert_true(t_hear(&r) > 0);
    assert_int_equal(stat_of(dir, "nodes/x").st_uid, ANNE);
    t_kill(&r);
    char path[T_PATH * 2];
    snprintf(path, sizeof path, "%s/nodes/x", dir);
    assert_int_equal(unlink(path), 0);
    r = t_fork(be_user, &root);
    assert_true(t_hear(&r) > 0);
    assert_int_equal(stat_of(dir, "nodes/x").st_uid, ANNE);
    t_kill(&r);
    a = t_fork(be_user, &anne);
    assert_true(t_hear(&a) > 0);
    t_kill(&a);
}

static void two_users_of_a_group_share_its_bus(void **state) {
    t_need_root();
    const char *dir = common_place(state);
    struct user anne = {dir, "x", "23456", ANNE, TEAM}, bert = {dir, "y", NULL, BERT, TEAM},
                bert_as_x = {dir, "x", "23456", BERT, TEAM}, carl = {dir, "z", NULL, CARL, CARL};
    struct t_child a = t_fork(be_user, &anne), b, c;
    uint64_t x = (uint64_t)t_hear(&a);
    assert_true((int64_t)x > 0);
    assert_int_equal(stat_of(dir, ".").st_mode & 07777, 02770);
    assert_int_equal(stat_of(dir, ".").st_gid, TEAM);
    assert_int_equal(stat_of(dir, "nodes").st_mode & 07777, 02770);
    assert_int_equal(stat_of(dir, "bus").st_mode & 07777, 0660);
    assert_int_equal(stat_of(dir, "nodes/x").st_mode & 07777, 0660);
    assert_int_equal(stat_of(dir, "nodes/x").st_gid, TEAM);
    b = t_fork(be_user, &bert);
    uint64_t y = (uint64_t)t_hear(&b);
    assert_true((int64_t)y > 0);
    t_tell(&a, (int64_t)y);
    assert_int_equal(t_hear(&a), 0); /* Bert is alive */
    t_kill(&a);
    t_tell(&b, (int64_t)x);
    assert_int_equal(t_hear(&b), 1); /* and Anne is not */
    c = t_fork(be_user, &carl);
    assert_int_equal(t_hear(&c), -EACCES);
    struct t_child again = t_fork(be_user, &bert_as_x); /* Bert takes Anne's name */
    uint64_t taken = (uint64_t)t_hear(&again);
    assert_int_equal(lw__owner_node(taken), lw__owner_node(x));
    assert_true(lw__owner_epoch(taken) > lw__owner_epoch(x));
}

static int be_user_at_once(void *arg) {
    struct user *u = arg;
    t_listen();
    return be_user(u);
}

static void two_users_make_a_groups_bus_at_once(void **state) {
    enum { N = 8 };
    t_need_root();
    const char *dir = common_place(state);
    for (int64_t round = 0; round < t_loops(20); round++) {
        struct user user[N];
        struct t_child child[N];
        char command[T_PATH * 2];
        for (int i = 0; i < N; i++) {
            user[i] = (struct user){dir, NULL, "23456", i % 2 ? ANNE : BERT, TEAM};
            child[i] = t_fork(be_user_at_once, &user[i]);
        }
        for (int i = 0; i < N; i++) t_tell(&child[i], 1);
        for (int i = 0; i < N; i++) assert_true(t_hear(&child[i]) > 0);
        for (int i = 0; i < N; i++) t_kill(&child[i]);
        snprintf(command, sizeof command, "cd %s/.. && rm -r bus && [ -z \"$(ls -A)\" ]", dir);
        assert_int_equal(system(command), 0);
    }
}

static void a_group_that_is_not_ours_or_not_there_is_refused(void **state) {
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    struct lw_bus *bus;
    opt.dir = *state;
    const char *const bad[] = {"no-such-group", "", "12x", "99999999999", "-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        opt.group = bad[i];
        assert_fails(lw_bus_open(&bus, &opt), -EINVAL, "not in /etc/group");
    }
    assert_ok(t_bus_open(&bus, *state, "x", 0));
    opt.group = "23456";
    struct lw_bus *other;
    assert_fails(lw_bus_open(&other, &opt), LW_ESHAPE, "not as a bus for gid 23456");
    lw_bus_close(bus);
}

static int open_for_a_group(void *arg) {
    const struct user *u = arg;
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    struct lw_bus *bus;
    t_become(u->uid, u->gid);
    opt.dir = u->dir;
    opt.group = u->group;
    T_NEED(lw_bus_open(&bus, &opt) == -EPERM);
    T_NEED(strstr(lw_errtext(), "are you in this group"));
    return 0;
}

static void a_bus_for_a_group_of_others_can_not_be_made(void **state) {
    t_need_root();
    struct user carl = {common_place(state), NULL, "23456", CARL, CARL};
    struct t_child child = t_fork(open_for_a_group, &carl);
    assert_int_equal(t_wait(&child), 0);
    assert_int_equal(rmdir(*state), 0); /* nothing was left in it */
}

static void a_group_may_be_named(void **state) {
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    struct lw_bus *bus;
    struct group *mine = getgrgid(getegid());
    if (!mine) t_skip(__func__, "the process's group has no name");
    opt.dir = *state;
    opt.group = mine->gr_name;
    assert_ok(lw_bus_open(&bus, &opt));
    assert_int_equal(stat_of(*state, ".").st_mode & 07777, 02770);
    assert_int_equal(stat_of(*state, ".").st_gid, getegid());
    lw_bus_close(bus);
}

/* Anybody can make the default directory of somebody else before them. */
static int open_default(void *text) {
    struct lw_bus *bus;
    char path[64];
    unsetenv("LANEWAY_DIR");
    t_become(CARL, CARL);
    int rc = lw_bus_open(&bus, NULL);
    snprintf(path, sizeof path, "/dev/shm/laneway-%d", CARL);
    T_NEED(rc == (text ? -EACCES : 0));
    T_NEED(text ? strstr(lw_errtext(), text) && strstr(lw_errtext(), path) : strcmp(lw_bus_dir(bus), path) == 0);
    return rc ? 0 : lw_bus_close(bus);
}

static void the_default_directory_must_be_ones_own(void **state) {
    char path[64], *const texts[] = {NULL, (char *)"link or file", (char *)"owner uid 22222"};
    t_need_root();
    snprintf(path, sizeof path, "/dev/shm/laneway-%d", CARL);
    t_dir_remove(path);
    mkdir(*state, 0700);
    assert_int_equal(chown(*state, CARL, CARL), 0);
    for (int i = 0; i < 3; i++) {
        if (i == 1) assert_int_equal(symlink(*state, path), 0);
        if (i == 2) assert_true(!mkdir(path, 0700) && !chown(path, BERT, TEAM) && !chmod(path, 02770));
        struct t_child child = t_fork(open_default, texts[i]);
        int status = t_wait(&child);
        t_dir_remove(path);
        assert_int_equal(status, 0);
    }
}

/* ---- what is short ----------------------------------------------------------------------------------------------- */

static int open_on_a_tiny_disk(void *dir) {
    struct lw_bus *bus;
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return MISSING;
    mkdir(dir, 0700);
    if (mount("none", dir, "tmpfs", 0, "size=8k,mode=0700")) return MISSING;
    for (int i = 0; i < 3; i++) {
        T_NEED(t_bus_open(&bus, dir, "x", 0) == -ENOSPC);
        T_NEED(strstr(lw_errtext(), "no space for a file"));
        T_NEED(t_bus_open(&bus, dir, NULL, LW_BUS_OBSERVE) == LW_ENOBUS); /* no half of it */
    }
    T_NEED(!mount("none", dir, "tmpfs", MS_REMOUNT, "size=12k,mode=0700"));
    T_NEED(t_bus_open(&bus, dir, "x", 0) == 0); /* the bus, but no text in its node file: one must be able to tidy */
    T_NEED(lw_bus_close(bus) == 0);
    T_NEED(!mount("none", dir, "tmpfs", MS_REMOUNT, "size=16k,mode=0700"));
    int rc = 0;
    for (int i = 0; !rc && i < 70; i++) { /* a larger table does not fit */
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        rc = t_bus_open(&bus, dir, name, 0);
        if (!rc) rc = lw_bus_close(bus);
        T_NEED(rc == 0 || (rc == -ENOSPC && i > 60 && strstr(lw_errtext(), "can not grow")));
    }
    T_NEED(rc == -ENOSPC);
    T_NEED(t_bus_open(&bus, dir, "x", 0) == 0); /* one that is known goes on */
    return lw_bus_close(bus);
}

static void a_full_disk_is_an_error_at_open(void **state) {
    struct t_child child = t_fork(open_on_a_tiny_disk, *state);
    int status = t_wait(&child);
    if (status == MISSING) t_skip(__func__, "needs CAP_SYS_ADMIN, to mount a small file system");
    assert_int_equal(status, 0);
}

static void allow_descriptors(rlim_t n) {
    struct rlimit limit;
    T_NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = n;
    T_NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* With one more descriptor each time, the open fails later each time; and never leaves anything. */
static int open_with_few_descriptors(void *dir) {
    struct lw_bus *bus;
    int lowest = dup(0), rc = -1;
    close(lowest);
    for (int more = 0; rc && more < 20; more++) {
        allow_descriptors((rlim_t)(lowest + more));
        rc = t_bus_open(&bus, dir, "x", 0);
        T_NEED(rc == 0 || (rc == -EMFILE && *lw_errtext()));
        allow_descriptors(1024);
        T_NEED(rc == 0 || (dup(0) == lowest && close(lowest) == 0));
    }
    T_NEED(rc == 0);
    return lw_bus_close(bus);
}

static void without_descriptors_opening_is_an_error(void **state) {
    struct t_child child = t_fork(open_with_few_descriptors, *state);
    assert_int_equal(t_wait(&child), 0);
    char command[T_PATH + 64];
    snprintf(command, sizeof command, "[ -z \"$(find %s -name '.new*')\" ]", (char *)*state);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_new_bus_is_private),
        t_test(slashes_at_the_end_do_not_matter),
        t_test(a_relative_directory_is_fine),
        t_test(missing_parents_are_not_made),
        t_test(another_interface_number_is_refused_and_both_are_named),
        t_test(options_of_other_sizes_are_read_safely),
        t_test(the_environment_names_the_directory),
        t_test(no_call_leaves_a_descriptor),
        t_test(an_observer_makes_nothing),
        t_test(an_observer_with_permission_to_read_only_may_look),
        t_test(modes_that_let_others_write_are_refused),
        t_test(anothers_private_bus_is_refused_but_root_may),
        t_test(two_users_of_a_group_share_its_bus),
        t_test(two_users_make_a_groups_bus_at_once),
        t_test(a_group_that_is_not_ours_or_not_there_is_refused),
        t_test(a_bus_for_a_group_of_others_can_not_be_made),
        t_test(a_group_may_be_named),
        t_test(the_default_directory_must_be_ones_own),
        t_test(a_full_disk_is_an_error_at_open),
        t_test(without_descriptors_opening_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
