/* SPDX-License-Identifier: MIT */
/*
 * A link between two hosts: two network namespaces with a wire (veth) between them. The wire is pulled, the server moves to
 * another address, a host reboots. Needs root and the program `ip`.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/far.h"

/* ---- hosts ------------------------------------------------------------------------------------------------------- */

struct hosts {
    char name[2][32]; /* the client's, the server's */
    char dir[2][T_PATH];
    struct far *client, *server;
};

static bool ip(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool ip(const char *format, ...) {
    char command[256] = "ip ", *words[32];
    int n = 0, status = -1;
    va_list args;
    va_start(args, format);
    vsnprintf(command + 3, sizeof command - 3, format, args);
    va_end(args);
    for (char *rest = command, *word; (word = strsep(&rest, " "));) words[n++] = word;
    words[n] = NULL;
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDERR_FILENO);
        execvp("ip", words);
        _exit(127);
    }
    return waitpid(pid, &status, 0) == pid && status == 0;
}

static struct hosts hosts; /* one pair at a time, taken away after each case */

static void take_away(void) {
    for (int i = 0; i < 2; i++)
        if (*hosts.name[i]) ip("netns del %s", hosts.name[i]);
    memset(&hosts, 0, sizeof hosts);
}

static int teardown(void **state) {
    int rc = t_teardown(state);
    take_away();
    return rc;
}

static bool wire_up(const struct hosts *h) {
    bool good = ip("link add name lw0 netns %s type veth peer name lw0 netns %s", h->name[0], h->name[1]);
    for (int i = 0; i < 2; i++) {
        good = good && ip("-n %s addr add 10.77.0.%d/24 dev lw0", h->name[i], i + 1);
        good = good && ip("-n %s link set lw0 up", h->name[i]);
        good = good && ip("-n %s link set lo up", h->name[i]);
    }
    return good;
}

static struct hosts *two_hosts(const char *name, const char *dir) {
    t_skip_unless_root(name);
    for (int i = 0; i < 2; i++) {
        snprintf(hosts.name[i], sizeof hosts.name[i], "laneway-test-%d-%d", (int)getpid(), i);
        snprintf(hosts.dir[i], T_PATH, "%s-%d", dir, i);
        if (!ip("netns add %s", hosts.name[i])) {
            memset(&hosts, 0, sizeof hosts);
            t_skip(name, "needs `ip netns add`");
        }
    }
    if (!wire_up(&hosts)) t_skip(name, "needs veth");
    return &hosts;
}

static void start_server(struct hosts *h, const char *listen) {
    h->server = far_server(h->dir[1], &(struct far_how){.listen = listen, .namespace = h->name[1]});
}

static void start_client(struct hosts *h, const char *to) {
    h->client = far_client(h->dir[0], &(struct far_how){.to = to, .namespace = h->name[0], .retry_max = LW_MS(50)});
    assert_int_equal(far_error(h->client, NULL), 0);
}

static void reboot(struct far **f, const char *dir) {
    far_kill(*f);
    *f = NULL;
    t_dir_remove(dir);
}

static void end(struct hosts *h) {
    far_leave(h->client);
    far_leave(h->server);
}

static void sends(struct far *f, uint64_t first, uint64_t count) {
    assert_int_equal(far_do(f, FAR_SEND, first, count), count);
}

static void gets(struct far *f, uint64_t first, uint64_t count) {
    assert_int_equal(far_do(f, FAR_GET, first, count), count);
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

#define FIRST "tcp://10.77.0.2:7411"
#define SECOND "tcp://10.77.0.99:7411"
#define SIXTH "tcp://[fd77::2]:7411"

static void a_wire_that_is_pulled_and_put_in_again(void **state) {
    struct hosts *h = two_hosts(__func__, *state);
    uint64_t number = 0;
    start_server(h, FIRST);
    start_client(h, FIRST);
    sends(h->client, 0, 10);
    gets(h->server, 0, 10);
    for (int64_t i = 0; i < 3; i++) {
        number += 10;
        assert_true(ip("-n %s link set lw0 down", h->name[i % 2]));
        sends(h->client, number, 10);
        sends(h->server, number, 10);
        t_sleep(LW_MS(100));
        assert_true(ip("-n %s link set lw0 up", h->name[i % 2]));
        gets(h->server, number, 10);
        gets(h->client, number, 10);
    }
    assert_int_equal(far_do(h->client, FAR_EMPTY, 0, 0), 1);
    assert_int_equal(far_do(h->server, FAR_EMPTY, 0, 0), 1);
    end(h);
}

/* Nobody says that it is gone: its silence does. */
static void a_wire_that_stays_out_is_told(void **state) {
    struct hosts *h = two_hosts(__func__, *state);
    start_server(h, FIRST);
    start_client(h, FIRST);
    sends(h->client, 0, 10);
    gets(h->server, 0, 10);
    assert_true(ip("-n %s link set lw0 down", h->name[0]));
    sends(h->client, 10, 10);
    FAR_UNTIL(h->client, downs == 1);
    FAR_UNTIL(h->server, downs == 1);
    assert_true(ip("-n %s link set lw0 up", h->name[0]));
    gets(h->server, 10, 10);
    FAR_UNTIL(h->client, ups == 2);
    end(h);
}

static void a_server_that_moves_to_another_address(void **state) {
    struct hosts *h = two_hosts(__func__, *state);
    start_server(h, FIRST);
    start_client(h, FIRST);
    sends(h->client, 0, 10);
    sends(h->server, 0, 10);
    gets(h->server, 0, 4);
    gets(h->client, 0, 10);
    far_leave(h->server);
    assert_true(ip("-n %s addr del 10.77.0.2/24 dev lw0", h->name[1]));
    assert_true(ip("-n %s addr add 10.77.0.99/24 dev lw0", h->name[1]));
    start_server(h, SECOND);
    sends(h->client, 10, 5);
    far_leave(h->client);
    start_client(h, SECOND);
    gets(h->server, 4, 11);
    sends(h->server, 10, 5);
    gets(h->client, 10, 5);
    assert_int_equal(far_told(h->client)->renewed, 0);
    assert_int_equal(far_told(h->server)->renewed, 0);
    end(h);
}

static void a_host_that_reboots_is_told_of(void **state) {
    struct hosts *h = two_hosts(__func__, *state);
    start_server(h, FIRST);
    start_client(h, FIRST);
    sends(h->client, 0, 20);
    gets(h->server, 0, 8);
    FAR_UNTIL(h->client, taken == 8);
    reboot(&h->server, h->dir[1]);
    start_server(h, FIRST);
    FAR_UNTIL(h->client, renewals[LW_RENEWED_READER] == 1);
    gets(h->server, 8, 12);
    sends(h->client, 20, 4);
    FAR_UNTIL(h->server, waiting == 4);
    reboot(&h->client, h->dir[0]);
    start_client(h, FIRST);
    sends(h->client, 900, 3);
    gets(h->server, 20, 4);
    gets(h->server, 900, 3);
    assert_int_equal(far_told(h->server)->renewals[LW_RENEWED_THERE], 1);
    end(h);
}

static void over_ipv6(void **state) {
    struct hosts *h = two_hosts(__func__, *state);
    for (int i = 0; i < 2; i++)
        if (!ip("-n %s -6 addr add fd77::%d/64 dev lw0 nodad", h->name[i], i + 1)) t_skip(__func__, "needs IPv6");
    start_server(h, SIXTH);
    start_client(h, SIXTH);
    sends(h->client, 0, 20);
    gets(h->server, 0, 20);
    sends(h->server, 0, 20);
    gets(h->client, 0, 20);
    assert_non_null(strstr(far_told(h->server)->from, "[fd77::1]"));
    end(h);
}

#define net_test(function) cmocka_unit_test_setup_teardown(function, t_setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        net_test(a_wire_that_is_pulled_and_put_in_again), net_test(a_server_that_moves_to_another_address),
        net_test(a_host_that_reboots_is_told_of),         net_test(over_ipv6),
        net_test(a_wire_that_stays_out_is_told), /* takes ten seconds: not in a short run */
    };
    size_t count = sizeof tests / sizeof *tests - (getenv("LW_TEST_SHORT") != NULL);
    return _cmocka_run_group_tests("tests", tests, count, NULL, NULL);
}
