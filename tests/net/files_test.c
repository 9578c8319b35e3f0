/* SPDX-License-Identifier: MIT */
/*
 * A link over TCP whose files are lost, restored from an old copy, or find no room, on the one side or the other: what is
 * sent again, what is told to whom, and what is refused until somebody decides. Each side is a process (util/far.h).
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/far.h"

#define HERE "tcp://127.0.0.1:0"

/* ---- two sides --------------------------------------------------------------------------------------------------- */

struct pair {
    char client_dir[T_PATH], server_dir[T_PATH], listen[64];
    struct far *client, *server;
    struct far_how how; /* the client's */
};

static void start_server(struct pair *p) {
    p->server = far_server(p->server_dir, &(struct far_how){.listen = p->listen});
    snprintf(p->listen, sizeof p->listen, "tcp://127.0.0.1:%d", far_port(p->server)); /* from now on */
    p->how.port = far_port(p->server);
}

static void start_client(struct pair *p) {
    p->client = far_client(p->client_dir, &p->how);
    assert_int_equal(far_error(p->client, NULL), 0);
}

static struct pair begin(const char *dir, uint64_t ring_up, uint64_t ring_down) {
    struct pair p = {.how = {.ring_up = ring_up, .ring_down = ring_down}};
    snprintf(p.client_dir, T_PATH, "%s-client", dir);
    snprintf(p.server_dir, T_PATH, "%s-server", dir);
    strcpy(p.listen, HERE);
    start_server(&p);
    start_client(&p);
    FAR_UNTIL(p.client, ups == 1);
    FAR_UNTIL(p.server, ups == 1);
    return p;
}

static void end(struct pair *p) {
    far_leave(p->client);
    far_leave(p->server);
}

static void kill_client(struct pair *p) {
    far_kill(p->client);
    p->client = NULL;
}

static void kill_server(struct pair *p) {
    far_kill(p->server);
    p->server = NULL;
}

static void send_ok(struct far *f, uint64_t first, uint64_t count) {
    assert_int_equal(far_do(f, FAR_SEND, first, count), count);
}

static void get_ok(struct far *f, uint64_t first, uint64_t count) {
    assert_int_equal(far_do(f, FAR_GET, first, count), count);
}

static void hold_ok(struct far *f, uint64_t first, uint64_t count) {
    assert_int_equal(far_do(f, FAR_HOLD, first, count), count);
}

/* So many wait there. */
static void arrived(struct far *f, uint64_t count) {
    FAR_UNTIL(f, waiting == count);
}

/* The other side has released so many of what this one sent, and that is known here. */
static void settled_to(struct far *f, uint64_t count) {
    FAR_UNTIL(f, taken == count);
}

/* Both directions work, from these numbers of messages on. */
static void works(struct pair *p, uint64_t up, uint64_t down) {
    send_ok(p->client, up, 5);
    send_ok(p->server, down, 5);
    get_ok(p->server, up, 5);
    get_ok(p->client, down, 5);
    assert_int_equal(far_do(p->server, FAR_EMPTY, 0, 0), 1);
    assert_int_equal(far_do(p->client, FAR_EMPTY, 0, 0), 1);
}

/* ---- folders ----------------------------------------------------------------------------------------------------- */

static void run(const char *const *argv) {
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void copy(const char *from, const char *to) {
    run((const char *const[]){"rm", "-rf", to, NULL});
    run((const char *const[]){"cp", "-a", from, to, NULL});
}

static void drop(const char *dir, const char *below) {
    char path[2 * T_PATH];
    snprintf(path, sizeof path, "%s/%s", dir, below);
    run((const char *const[]){"rm", "-rf", path, NULL});
}

static const char *saved(const char *dir) {
    static char path[T_PATH + 8];
    snprintf(path, sizeof path, "%s-saved", dir);
    return path;
}

/* ---- files are lost ---------------------------------------------------------------------------------------------- */

/* The server's mirror and what it held: the client has all that it was not told to be consumed. The server's own lane is
 * lost too, so the client gets what had arrived, then the new beginning. */
static void a_server_without_its_files_gets_again_what_it_had_not_released(void **state) {
    struct pair p = begin(*state, 0, 0);
    send_ok(p.client, 0, 30);
    send_ok(p.server, 100, 20);
    get_ok(p.server, 0, 10);
    settled_to(p.client, 10);
    hold_ok(p.server, 10, 5);
    arrived(p.server, 15);
    get_ok(p.client, 100, 4);
    settled_to(p.server, 4);
    hold_ok(p.client, 104, 6);
    arrived(p.client, 10);
    kill_server(&p);
    drop(p.server_dir, "links/" FAR_SERVER "/" FAR_CLIENT);
    send_ok(p.client, 30, 5);
    start_server(&p);
    FAR_UNTIL(p.client, renewals[LW_RENEWED_READER] == 1);
    FAR_UNTIL(p.server, renewals[LW_RENEWED_HERE] == 1);
    get_ok(p.server, 10, 25);
    send_ok(p.server, 500, 3);
    get_ok(p.client, 110, 10); /* of before */
    get_ok(p.client, 500, 3);
    assert_int_equal(far_told(p.client)->renewed, 2);
    assert_int_equal(far_told(p.client)->renewals[LW_RENEWED_THERE], 1);
    works(&p, 35, 503);
    assert_int_equal(far_told(p.server)->renewed, 1);
    end(&p);
}

/* Only what it received: what it sends is in another file. */
static void a_server_without_its_mirror_loses_nothing_of_what_it_sends(void **state) {
    struct pair p = begin(*state, 0, 0);
    send_ok(p.client, 0, 30);
    send_ok(p.server, 100, 20);
    get_ok(p.server, 0, 12);
    settled_to(p.client, 12);
    arrived(p.server, 18);
    hold_ok(p.client, 100, 20);
    kill_server(&p);
    drop(p.server_dir, "links/" FAR_SERVER "/" FAR_CLIENT "/up.lane");
    start_server(&p);
    FAR_UNTIL(p.client, renewals[LW_RENEWED_READER] == 1);
    FAR_UNTIL(p.server, renewals[LW_RENEWED_HERE] == 1);
    get_ok(p.server, 12, 18);
    assert_int_equal(far_do(p.client, FAR_RELEASE, 0, 0), 0);
    settled_to(p.server, 20);
    works(&p, 30, 120);
    end(&p);
}

/* Its host rebooted, and all that it had not sent is gone: what had arrived is received first, also what is held. */
static void a_client_without_its_bus_begins_anew_behind_what_had_arrived(void **state) {
    struct pair p = begin(*state, 0, 0);
    send_ok(p.client, 0, 30);
    send_ok(p.server, 100, 20);
    get_ok(p.server, 0, 10);
    hold_ok(p.server, 10, 5);
    arrived(p.server, 15);
    get_ok(p.client, 100, 4);
    settled_to(p.server, 4);
    hold_ok(p.client, 104, 6);
    kill_client(&p);
    drop(p.client_dir, "");
    start_client(&p);
    send_ok(p.client, 700, 8);
    FAR_UNTIL(p.client, renewals[LW_RENEWED_HERE] == 1);
    FAR_UNTIL(p.server, renewals[LW_RENEWED_READER] == 1);
    get_ok(p.client, 104, 16);
    get_ok(p.server, 15, 15);
    get_ok(p.server, 700, 8);
    assert_int_equal(far_told(p.server)->renewed, 2);
    assert_int_equal(far_told(p.server)->renewals[LW_RENEWED_THERE], 1);
    works(&p, 708, 120);
    settled_to(p.client, 13); /* numbers are of the new log */
    end(&p);
}

/* Twice, before the server has received what was there before the first time. */
static void a_client_without_its_bus_twice(void **state) {
    struct pair p = begin(*state, 0, 0);
    send_ok(p.client, 0, 30);
    hold_ok(p.server, 0, 10);
    arrived(p.server, 20);
    for (uint64_t i = 1; i <= 2; i++) {
        kill_client(&p);
        drop(p.client_dir, "");
        start_client(&p);
        FAR_UNTIL(p.client, ups == 1);
        send_ok(p.client, 1000 * i, 5); /* of the first of these nothing gets there */
    }
    get_ok(p.server, 10, 20);
    get_ok(p.server, 2000, 5);
    works(&p, 2005, 0);
    end(&p);
}

static void both_without_their_buses_are_as_new(void **state) {
    struct pair p = begin(*state, 0, 0);
    send_ok(p.client, 0, 30);
    get_ok(p.server, 0, 20);
    kill_client(&p);
    kill_server(&p);
    drop(p.client_dir, "");
    drop(p.server_dir, "");
    start_client(&p);
    start_server(&p);
    works(&p, 0, 0);
    assert_int_equal(far_told(p.client)->renewed + far_told(p.server)->renewed, 0);
    end(&p);
}

/* ---- half a batch ------------------------------------------------------------------------------------------------ */

static void half_of_a_batch_that_is_released_is_a_place_to_go_on(void **state) {
    struct pair p = begin(*state, 0, 0);
    assert_int_equal(far_do(p.client, FAR_BATCH, 0, 30), 30);
    get_ok(p.server, 0, 14);
    kill_client(&p);
    start_client(&p);
    settled_to(p.client, 14);
    kill_server(&p);
    drop(p.server_dir, "links/" FAR_SERVER "/" FAR_CLIENT);
    start_server(&p);
    get_ok(p.server, 14, 16);
    works(&p, 30, 0);
    end(&p);
}

/* ---- old copies -------------------------------------------------------------------------------------------------- */

static void is_told_why(struct far *f, const char *what) {
    FAR_UNTIL(f, code == LW_EMISMATCH);
    FAR_UNTIL(f, reason_code == LW_EMISMATCH);
    const char *reason = far_told(f)->reason;
    const char *const parts[] = {"link " FAR_SERVER "/" FAR_CLIENT,
                                 what,
                                 "writer: log ",
                                 "written up to ",
                                 "reader: log ",
                                 "arrived up to ",
                                 "(message "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(reason, parts[i])) fail_msg("no \"%s\" in \"%s\"", parts[i], reason);
}

/* All of a bus, or a file of its link. */
static void restore(const char *bus, const char *lane) {
    char from[T_PATH + 128], to[T_PATH + 128];
    if (!lane) {
        copy(saved(bus), bus);
        return;
    }
    snprintf(from, sizeof from, "%s/%s", saved(bus), lane);
    snprintf(to, sizeof to, "%s/%s", bus, lane);
    copy(from, to);
}

/* Messages 0 to 9 of both sides are received, known to be, and of what then is there a copy is made; ten more go both
 * ways, and one side is killed and restored: all of it, or one lane. */
static struct pair with_an_old_copy(const char *dir, bool of_client, const char *lane) {
    struct pair p = begin(dir, 0, 0);
    send_ok(p.client, 0, 10);
    send_ok(p.server, 0, 10);
    get_ok(p.server, 0, 10);
    get_ok(p.client, 0, 10);
    settled_to(p.client, 10);
    settled_to(p.server, 10);
    const char *bus = of_client ? p.client_dir : p.server_dir;
    of_client ? far_leave(p.client) : far_leave(p.server);
    copy(bus, saved(bus));
    of_client ? start_client(&p) : start_server(&p);
    FAR_UNTIL(p.client, state == LW_LINK_UP);
    FAR_UNTIL(p.server, state == LW_LINK_UP);
    send_ok(p.client, 10, 10);
    send_ok(p.server, 10, 10);
    get_ok(p.server, 10, 10);
    get_ok(p.client, 10, 10);
    settled_to(p.client, 20);
    settled_to(p.server, 20);
    of_client ? kill_client(&p) : kill_server(&p);
    restore(bus, lane);
    of_client ? start_client(&p) : start_server(&p);
    return p;
}

static void nothing_moves(struct pair *p) {
    send_ok(p->client, 20, 3);
    send_ok(p->server, 20, 3);
    t_sleep(LW_MS(50)); /* many tries */
    assert_int_equal(far_do(p->server, FAR_EMPTY, 0, 0), 1);
    assert_int_equal(far_do(p->client, FAR_EMPTY, 0, 0), 1);
}

/* From whichever side it was removed: the link goes on with a new log for what that side writes. */
static void goes_on(struct pair *p) {
    FAR_UNTIL(p->client, state == LW_LINK_UP);
    FAR_UNTIL(p->server, state == LW_LINK_UP);
}

static void a_client_from_an_old_copy_is_not_taken(void **state) {
    struct pair p = with_an_old_copy(*state, true, NULL);
    is_told_why(p.client, "more arrived than was written");
    is_told_why(p.server, "more arrived than was written");
    nothing_moves(&p);
    assert_int_equal(far_do(p.client, FAR_REMOVE, 0, 0), 0);
    assert_int_equal(far_told(p.client)->discarded, 3);
    assert_int_equal(far_do(p.client, FAR_CONNECT, (uint64_t)far_port(p.server), 0), 0);
    goes_on(&p);
    get_ok(p.client, 20, 3); /* which the server has */
    works(&p, 500, 23);
    end(&p);
}

static void a_server_from_an_old_copy_is_not_taken(void **state) {
    struct pair p = with_an_old_copy(*state, false, NULL);
    is_told_why(p.client, "restored copy");
    is_told_why(p.server, "restored copy");
    nothing_moves(&p);
    assert_int_equal(far_do(p.server, FAR_REMOVE, 0, 0), 0);
    assert_int_equal(far_told(p.server)->discarded, 3);
    goes_on(&p);
    get_ok(p.server, 20, 3);
    works(&p, 23, 500);
    end(&p);
}

/* Whoever finds it tells the other. */
static void one_lane_of_an_old_copy_is_enough(void **state) {
    static const char *const lanes[] = {
        "remote/" FAR_SERVER "/" FAR_CLIENT "/up.lane", "remote/" FAR_SERVER "/" FAR_CLIENT "/down.lane",
        "links/" FAR_SERVER "/" FAR_CLIENT "/up.lane", "links/" FAR_SERVER "/" FAR_CLIENT "/down.lane"};
    for (size_t i = 0; i < sizeof lanes / sizeof *lanes; i++) {
        struct pair p = with_an_old_copy(*state, i < 2, lanes[i]);
        is_told_why(p.client, "restored copy");
        is_told_why(p.server, "restored copy");
        nothing_moves(&p);
        end(&p);
        drop(p.client_dir, "");
        drop(p.server_dir, "");
    }
}

/* ---- rings ------------------------------------------------------------------------------------------------------- */

static void fill_and_empty(struct far *from, struct far *to, uint64_t *number) {
    for (int round = 0; round < 3; round++) {
        uint64_t sent = (uint64_t)far_do(from, FAR_SEND, *number, 3000);
        assert_true(sent > 100);
        get_ok(to, *number, sent);
        *number += sent;
    }
}

static void rings_of_all_sizes(void **state) {
    static const uint64_t rings[][2] = {
        {64 << 10, 8 << 20}, {8 << 20, 64 << 10}, {128 << 10, 64 << 10}, {1 << 20, 4 << 20}};
    for (size_t i = 0; i < sizeof rings / sizeof *rings; i++) {
        uint64_t up = 0, down = 0;
        struct pair p = begin(*state, rings[i][0], rings[i][1]);
        fill_and_empty(p.client, p.server, &up);
        fill_and_empty(p.server, p.client, &down);
        works(&p, up, down);
        end(&p);
        drop(p.client_dir, "");
        drop(p.server_dir, "");
    }
}

static void other_rings_for_a_link_that_is_there_are_refused(void **state) {
    struct pair p = begin(*state, 128 << 10, 64 << 10);
    const char *text;
    works(&p, 0, 0);
    kill_client(&p);
    p.how.ring_up = 256 << 10;
    p.client = far_client(p.client_dir, &p.how);
    assert_int_equal(far_error(p.client, &text), LW_ESHAPE);
    assert_non_null(strstr(text, "131072"));
    assert_non_null(strstr(text, "262144"));
    kill_client(&p);
    p.how.ring_up = p.how.ring_down = FAR_AS_IT_IS;
    start_client(&p);
    works(&p, 5, 5);
    settled_to(p.server, 10);
    kill_client(&p);
    drop(p.client_dir, ""); /* a new log may have another ring; what the server writes is as the server has it */
    p.how.ring_up = 1 << 20;
    p.how.ring_down = 512 << 10;
    start_client(&p);
    works(&p, 0, 10);
    end(&p);
}

/* ---- full disks -------------------------------------------------------------------------------------------------- */

/* Mounts of a test that is killed go with it. */
static void have_own_mounts(void) {
    static bool done;
    if (!done && (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)))
        fail_msg("mounts of our own: %s", strerror(errno));
    done = true;
}

static void mount_small(const char *dir, const char *size, bool again) {
    char option[64];
    snprintf(option, sizeof option, "size=%s,mode=0700", size);
    have_own_mounts();
    if (!again) assert_int_equal(mkdir(dir, 0700), 0);
    if (mount("none", dir, "tmpfs", again ? MS_REMOUNT : 0, option)) fail_msg("mount: %s", strerror(errno));
}

/* Also of a case that failed. */
static int teardown(void **state) {
    static const char *const sides[] = {"client", "server"};
    char path[T_PATH + 16];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s-%s", (const char *)*state, sides[i]);
        umount2(path, MNT_DETACH);
    }
    return t_teardown(state);
}

static void no_room_for_the_servers_mirror(void **state) {
    t_need_root();
    struct pair p = {.how = {.ring_up = 4 << 20, .retry_max = LW_MS(20)}};
    snprintf(p.client_dir, T_PATH, "%s-client", (char *)*state);
    snprintf(p.server_dir, T_PATH, "%s-server", (char *)*state);
    mount_small(p.server_dir, "1m", false);
    strcpy(p.listen, HERE);
    start_server(&p);
    start_client(&p);
    send_ok(p.client, 0, 10);
    FAR_UNTIL(p.client, downs >= 1);
    assert_int_equal(far_told(p.client)->code, -ENOSPC);
    assert_non_null(strstr(far_told(p.client)->reason, "no space for a file of"));
    FAR_UNTIL(p.server, logins >= 1); /* it has answered, which the client may know before */
    assert_int_equal(far_error(p.server, NULL), -ENOSPC);
    mount_small(p.server_dir, "32m", true);
    FAR_UNTIL(p.client, ups == 1);
    get_ok(p.server, 0, 10);
    works(&p, 10, 0);
    end(&p);
}

/* The server's lane is larger than what the client had in mind. */
static void no_room_for_the_clients_mirror(void **state) {
    t_need_root();
    struct pair p = begin(*state, 64 << 10, 4 << 20);
    send_ok(p.server, 0, 10);
    get_ok(p.client, 0, 4);
    settled_to(p.server, 4);
    kill_client(&p);
    drop(p.client_dir, "");
    mount_small(p.client_dir, "1m", false);
    p.how.ring_down = 64 << 10;
    p.how.retry_max = LW_MS(20);
    start_client(&p);
    FAR_UNTIL(p.client, code == -ENOSPC);
    FAR_UNTIL(p.server, code == -ENOSPC);
    assert_non_null(strstr(far_told(p.client)->reason, "no space for a file of"));
    assert_non_null(strstr(far_told(p.server)->reason, "no space for a file of"));
    mount_small(p.client_dir, "32m", true);
    get_ok(p.client, 4, 6);
    works(&p, 0, 10);
    end(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_server_without_its_files_gets_again_what_it_had_not_released),
        t_test(a_server_without_its_mirror_loses_nothing_of_what_it_sends),
        t_test(a_client_without_its_bus_begins_anew_behind_what_had_arrived),
        t_test(a_client_without_its_bus_twice),
        t_test(both_without_their_buses_are_as_new),
        t_test(half_of_a_batch_that_is_released_is_a_place_to_go_on),
        t_test(a_client_from_an_old_copy_is_not_taken),
        t_test(a_server_from_an_old_copy_is_not_taken),
        t_test(one_lane_of_an_old_copy_is_enough),
        t_test(rings_of_all_sizes),
        t_test(other_rings_for_a_link_that_is_there_are_refused),
        cmocka_unit_test_setup_teardown(no_room_for_the_servers_mirror, t_setup, teardown),
        cmocka_unit_test_setup_teardown(no_room_for_the_clients_mirror, t_setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
