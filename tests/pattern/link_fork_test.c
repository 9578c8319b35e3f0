/* SPDX-License-Identifier: MIT */
/* Links in a forked child, and the descriptors that they take. */
#include <string.h>

#include "util/link_util.h"

/* ---- fork -------------------------------------------------------------------------------------------------------- */

#define REFUSED(call) T_NEED((call) == LW_EFORKED)

static enum lw_verdict any_message(const struct lw_msg *msg, void *user) {
    (void)msg, (void)user;
    return LW_NEXT;
}

static int any_link(const struct lw_link_info *info, int error, void *user) {
    (void)info, (void)error, (void)user;
    return 0;
}

static void use_link(struct lw_link *link, struct lw_msg *held) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    struct lw_item item = {"x", 1, 0};
    struct lw_msg m;
    void *place;
    char byte;
    for (int i = 0; i < 2; i++) {
        REFUSED(lw_link_send(link, 0, "x", 1, LW_FOREVER));
        REFUSED(lw_link_reserve(link, &place, 1, LW_FOREVER));
        REFUSED(lw_link_commit(link, 0, 0));
        REFUSED(lw_link_stage(link, 0, 0));
        REFUSED(lw_link_flush(link));
        lw_link_abort(link);
        REFUSED(lw_link_send_batch(link, &item, 1, LW_FOREVER));
        REFUSED(lw_link_next(link, &m, LW_FOREVER));
        REFUSED(lw_link_release(link, held));
        REFUSED(lw_link_recv(link, &byte, 1, &m, LW_FOREVER));
        lw_link_rewind(link);
        lw_link_max(link);
        T_NEED(*lw_link_explain(link));
        REFUSED(lw_link_dispatch(link, any_message, NULL, 0, LW_FOREVER));
        lw_link_cork(link);
        lw_link_uncork(link);
        REFUSED(lw_link_stat(link, &info));
        REFUSED(lw_link_answer(link, &byte, 1));
        T_NEED(!*lw_link_reason(link, NULL));
        REFUSED(lw_link_move(link, NULL, NULL));
        lw_link_state(link);
        T_NEED(!strcmp(lw_link_server(link), "gateway") && !strcmp(lw_link_client(link), "alice"));
    }
}

struct forked {
    const char *dir;
    struct tl_pair *p;
    struct lw_msg held;
    struct lw_login login;
};

static int use_all_body(void *arg) {
    struct forked *f = arg;
    struct tl_pair *p = f->p;
    struct lw_login login = LW_LOGIN_INIT;
    struct lw_link *link;
    struct lw_server *server;
    struct lw_event e;
    use_link(p->up, &f->held);
    use_link(p->down, &f->held);
    REFUSED(lw_link_login(p->down, &login));
    REFUSED(lw_server_login(p->at, &login));
    REFUSED(lw_login_accept(&f->login, p->server.group, NULL, &link));
    REFUSED(lw_login_refuse(&f->login, "no"));
    REFUSED(tl_link_open(&link, p->client.group, "gateway", NULL));
    REFUSED(tl_server_open(&server, p->client.group, "other", NULL));
    REFUSED(lw_server_move(p->at, p->server.group, NULL));
    REFUSED(lw_group_poll(p->server.group, &e, 1, LW_FOREVER));
    REFUSED(lw_link_list(p->server.bus, NULL, any_link, NULL));
    REFUSED(tl_link_remove(p->server.bus, "gateway", "alice", LW_REMOVE_FORCE, NULL));
    struct tl_party own = tl_party(f->dir, "child"); /* with a bus of its own it can do what it likes */
    link = tl_open(&own, "gateway", NULL, "from the child");
    T_NEED(tl_is_told(&own, LW_REFUSED, link, NULL));
    lw_link_close(link, 0, NULL);
    tl_leave(&own);
    lw_link_close(p->up, 1, "forked");
    lw_link_close(p->down, 1, "forked");
    lw_server_close(p->at);
    tl_leave(&p->client);
    tl_leave(&p->server);
    return 0;
}

static void a_forked_child_is_refused_everywhere_and_the_parent_does_not_notice(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct tl_party third = tl_party(*state, "bob");
    struct forked f = {.dir = *state, .p = &p};
    struct lw_link *bob = tl_open(&third, "gateway", NULL, NULL), *down;
    f.login = tl_login(&p.server, p.at, "bob");
    tl_send_many(p.down, 0, 3);
    assert_int_equal(lw_link_next(p.up, &f.held, 0), 1);
    struct t_child child = t_fork(use_all_body, &f);
    struct lw_login login = tl_login(&p.server, p.at, "child");
    assert_memory_equal(login.data, "from the child", 14);
    assert_ok(lw_login_refuse(&login, "you know why"));
    assert_int_equal(t_wait(&child), 0);
    assert_true(tl_quiet(&p.server, LW_MS(20)));
    assert_ok(lw_link_release(p.up, &f.held));
    assert_true(tl_gets_only(p.up, 1, 2));
    tl_send_many(p.up, 0, 3);
    assert_true(tl_gets_only(p.down, 0, 3));
    assert_int_equal(lw_link_state(p.up), LW_LINK_UP);
    assert_ok(lw_login_accept(&f.login, p.server.group, NULL, &down));
    tl_told(&third, LW_UP, bob);
    lw_link_close(bob, 0, NULL);
    lw_link_close(down, 0, NULL);
    tl_pair_end(&p);
    tl_leave(&third);
}

/* ---- what stays behind ------------------------------------------------------------------------------------------- */

static void descriptors_are_given_back(void **state) {
    struct tl_pair p = tl_pair(*state); /* what is opened once for all */
    int before = t_descriptors();
    for (int i = 0; i < 20; i++) {
        const char *name = tt_text("c%d", i);
        struct lw_link *up = tl_open(&p.client, "gateway", name, NULL), *down = tl_accept(&p.server, p.at, name);
        assert_int_equal(t_descriptors(), before + (tl_over() ? 2 : 0)); /* a link takes none but its sockets */
        lw_link_close(up, 0, NULL);
        lw_link_close(down, 0, NULL);
    }
    assert_int_equal(t_descriptors(), before);
    tl_pair_end(&p);
}

int main(void) {
    const struct CMUnitTest everywhere[] = {
        t_test(a_forked_child_is_refused_everywhere_and_the_parent_does_not_notice),
        t_test(descriptors_are_given_back),
    };
    return tl_run_cases(everywhere, sizeof everywhere / sizeof *everywhere, NULL, 0);
}
