/* SPDX-License-Identifier: MIT */
/*
 * A link over TCP is cut at byte N, for every N of its first login, and of what two sides say who talk all the time. See
 * cut_test.c.
 */
#include <inttypes.h>

#include "util/talk.h"

/* Small chunks, acknowledgements and answers between each other. */
static void at_every_byte_of_a_resume_and_what_follows_while_both_sides_talk(void **state) {
    struct talk *t = talk_begin(*state, &(struct talk_how){.window = 4});
    talk_cuts(t, 0, 2500, 1);
    talk_end(t);
}

/* ---- the first login --------------------------------------------------------------------------------------------- */

enum { FEW = 3, LOGIN_MOST = 900 }; /* messages; bytes of a login and of what follows it */

/* Sends back what comes, and removes the links of those who have gone. */
static void echo(struct lw_bus *bus, struct lw_server *server, struct lw_group *group, const struct lw_event *e) {
    struct lw_login login = LW_LOGIN_INIT;
    struct lw_msg msg;
    char client[LW_NAME_MAX + 1];
    if (e->kind == LW_LOGIN && !e->code && lw_server_login(server, &login) == 1)
        lw_login_accept(&login, group, NULL, NULL);
    if (e->kind == LW_READABLE && lw_link_next(e->link, &msg, 0) == 1) {
        T_NEED(lw_link_send(e->link, msg.type, msg.data, msg.len, 0) >= 0);
        T_NEED(!lw_link_release(e->link, &msg));
    }
    if (e->kind != LW_DOWN || e->code != LW_ECLOSED) return;
    snprintf(client, sizeof client, "%s", lw_link_client(e->link));
    lw_link_close(e->link, 0, NULL);
    T_NEED(!lw_link_remove(bus, TALK_SERVER, client, 0, NULL));
}

static int server_of_many(void *dir) {
    struct lw_server_options opt = LW_SERVER_OPTIONS_INIT;
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_server *server;
    struct lw_event e;
    opt.listen = "tcp://127.0.0.1:0";
    T_NEED(!t_bus_open(&bus, dir, NULL, 0) && !lw_group_open(&group, bus, NULL));
    T_NEED(!lw_server_open(&server, group, TALK_SERVER, &opt));
    t_say(lw_server_port(server));
    for (;;)
        if (lw_group_poll(group, &e, 1, LW_FOREVER) > 0) echo(bus, server, group, &e);
}

struct newcomers {
    const char *dir;
    int port;
};

/* A new link: some messages there and back, and away with it. */
static void come_and_go(struct lw_bus *bus, struct lw_group *group, const char *address, int64_t number) {
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    struct lw_link *link;
    struct lw_msg msg;
    char as[24];
    snprintf(as, sizeof as, "c%" PRId64, number);
    opt.as = as;
    opt.ring_up = opt.ring_down = 64 << 10;
    opt.retry_max = 1;
    T_NEED(!lw_link_open(&link, group, address, &opt));
    for (uint16_t i = 0; i < FEW; i++) T_NEED(lw_link_send(link, i, &number, i ? sizeof number : 0, 0) >= 0);
    for (uint16_t i = 0; i < FEW; i++) {
        T_NEED(lw_link_next(link, &msg, LW_SEC(20)) == 1);
        T_NEED(msg.type == i && msg.number == i && msg.len == (i ? sizeof number : 0));
        T_NEED(!i || *(const int64_t *)msg.data == number);
        T_NEED(!lw_link_release(link, &msg));
    }
    lw_link_close(link, 0, NULL);
    T_NEED(!lw_link_remove(bus, address, as, 0, NULL));
}

static int newcomers(void *arg) {
    const struct newcomers *n = arg;
    struct lw_bus *bus;
    struct lw_group *group;
    char address[LW_ADDRESS_MAX];
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d/" TALK_SERVER, n->port);
    T_NEED(!t_bus_open(&bus, n->dir, NULL, 0) && !lw_group_open(&group, bus, NULL));
    for (int64_t number; (number = t_listen()) >= 0;) {
        come_and_go(bus, group, address, number);
        t_say(number);
    }
    return 0;
}

/* The first connection of each newcomer is cut. */
static void sweep_newcomers(struct proxy *proxy, struct t_child *client, int dir, enum proxy_fault what) {
    static int64_t number;
    for (int64_t n = 0; n < LOGIN_MOST; n += talk_stride(1), number++) {
        proxy_set(proxy, &(struct proxy_plan){.dir = dir, .at = n, .what = what, .times = 1});
        t_tell(client, number);
        assert_int_equal(t_hear(client), number);
    }
}

static void at_every_byte_of_the_first_login(void **state) {
    char there[T_PATH], here[T_PATH], upstream[32];
    snprintf(there, sizeof there, "%s-server", (char *)*state);
    snprintf(here, sizeof here, "%s-client", (char *)*state);
    struct t_child server = t_fork(server_of_many, there);
    snprintf(upstream, sizeof upstream, "127.0.0.1:%d", (int)t_hear(&server));
    struct proxy *proxy = proxy_start(upstream);
    assert_non_null(proxy);
    struct newcomers n = {.dir = here, .port = proxy_port(proxy)};
    struct t_child client = t_fork(newcomers, &n);
    for (int dir = 0; dir < 2; dir++) {
        sweep_newcomers(proxy, &client, dir, CUT_RST);
        sweep_newcomers(proxy, &client, dir, CUT_FIN);
    }
    printf("%" PRIu64 " cuts, %" PRIu64 " connections\n", proxy_count(proxy).cuts, proxy_count(proxy).connections);
    assert_true(proxy_count(proxy).cuts >= (uint64_t)(4 * LOGIN_MOST / talk_stride(1) * 3 / 4));
    t_tell(&client, -1);
    assert_int_equal(t_wait(&client), 0);
    proxy_stop(proxy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(at_every_byte_of_the_first_login),
        t_test(at_every_byte_of_a_resume_and_what_follows_while_both_sides_talk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
