/* SPDX-License-Identifier: MIT */
/*
 * Links over sockets, what only they have: addresses, who is at the door, who is sent away and why. All that links have in
 * common is in link_*_test.c, which run over TCP as well; connections that end and begin are in remote_life_test.c.
 *
 * pitfall 12: one name is one client's, also from elsewhere.
 * pitfall 43: the texts.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pattern/remote.h"
#include "util/link_util.h"

static bool is_told_down(const struct tl_party *party, struct lw_link *link, int code, const char *why) {
    struct lw_event e;
    int said;
    if (!tl_is_told(party, LW_DOWN, link, &e)) return false;
    const char *reason = lw_link_reason(link, &said);
    if (e.code == code && said == code && strstr(reason, why)) return true;
    print_error("wanted %s and \"%s\", was told %s and %s \"%s\"\n", lw_errname(code), why, lw_errname(e.code),
                lw_errname(said), reason);
    return false;
}
#define told_down(party, link, code, why) assert_true(is_told_down((party), (link), (code), (why)))

static struct lw_server *listens_at(const struct tl_party *party, const char *name, const char *listen) {
    struct lw_server_options opt = LW_SERVER_OPTIONS_INIT;
    struct lw_server *server;
    opt.listen = listen;
    int rc = lw_server_open(&server, party->group, name, &opt);
    if (rc) print_error("%s: %s\n", lw_errname(rc), lw_errtext());
    T_NEED(!rc);
    lw_server_close(server);
    T_NEED(!tl_server_open(&server, party->group, name, &opt));
    return server;
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static void addresses_of_servers_say_what_is_wrong_with_them(void **state) {
    struct tl_party p = tl_party(*state, "me");
    static const struct {
        const char *address, *why;
    } bad[] = {{"tcp:/127.0.0.1:7000/gateway", "A-Z"}, /* a name, and a bad one */
               {"http://127.0.0.1:80/gateway", "neither"},
               {"://", "neither"},
               {"shm://x/gateway", "server's name is enough"},
               {"tcp://127.0.0.1:7000", "server's name is missing"},
               {"tcp://127.0.0.1:7000/", "server's name is missing"},
               {"tcp://127.0.0.1/gateway", "port is missing"},
               {"tcp://127.0.0.1:/gateway", "port is missing"},
               {"tcp:///gateway", "port is missing"},
               {"tcp://127.0.0.1:65536/gateway", "0 to 65535"},
               {"tcp://127.0.0.1:99999999999999999999/gateway", "0 to 65535"},
               {"tcp://127.0.0.1:-1/gateway", "0 to 65535"},
               {"tcp://127.0.0.1:+1/gateway", "0 to 65535"},
               {"tcp://127.0.0.1: 1/gateway", "0 to 65535"},
               {"tcp://127.0.0.1:80x/gateway", "0 to 65535"},
               {"tcp://127.0.0.1:80/x/gateway", "/ too many"},
               {"tcp://::1:80/gateway", "goes into []"},
               {"tcp://[::1:80/gateway", "without its ]"},
               {"tcp://[::1]x:80/gateway", "without its ]"},
               {"tcp://[]:80/gateway", "no address in the []"},
               {"tcp://[127.0.0.1/gateway", "port is missing"},
               {"tcp://no.such.host.invalid:80/gateway", "neither an address nor in /etc/hosts"},
               {"tcp://127.0.0.256:80/gateway", "neither an address"},
               {"tcp://127.0.0.1:80/-bad", "A-Z"},
               {"tcp://127.0.0.1:80/a b", "A-Z"},
               {"unix:///gateway", "must begin with /"},
               {"unix://tmp/x/gateway", "must begin with /"}};
    struct lw_link *link;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_told(lw_link_open(&link, p.group, bad[i].address, NULL), LW_ENAME, bad[i].why);
        assert_null(link);
    }
    char longest[400];
    snprintf(longest, sizeof longest, "unix:///%0107d/gateway", 0);
    assert_told(lw_link_open(&link, p.group, longest, NULL), LW_ENAME, "too long", "107");
    snprintf(longest, sizeof longest, "tcp://127.0.0.1:80/%064d", 0);
    assert_told(lw_link_open(&link, p.group, longest, NULL), LW_ENAME, "name is too long");
    snprintf(longest, sizeof longest, "tcp://%0300d:80/gateway", 0);
    assert_told(lw_link_open(&link, p.group, longest, NULL), LW_ENAME, "too long");
    char path[TT_PATH];
    snprintf(path, sizeof path, "%s/remote", (const char *)*state);
    assert_false(tt_exists(path)); /* nothing was made */
    tl_leave(&p);
}

static void addresses_to_listen_at_say_what_is_wrong_with_them(void **state) {
    struct tl_party p = tl_party(*state, "me");
    struct lw_server_options opt = LW_SERVER_OPTIONS_INIT;
    struct lw_server *server;
    static const struct {
        const char *listen, *why;
    } bad[] = {{"", "no address"},
               {" , ,", "no address"},
               {"7000", "neither tcp:// nor unix://"},
               {"tcp://127.0.0.1", "port is missing"},
               {"tcp://127.0.0.1:7000/gateway", "/ too many"},
               {"tcp://:x", "0 to 65535"},
               {"tcp://:0, tcp://:0,nonsense", "neither"},
               {"tcp://:0,tcp://:0,tcp://:0,tcp://:0,tcp://:0,tcp://:0,tcp://:0,tcp://:0,tcp://:0", "more than 8"},
               {"unix://x", "must begin with /"}};
    int before = t_descriptors();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        opt.listen = bad[i].listen;
        int rc = lw_server_open(&server, p.group, "gateway", &opt);
        assert_told(rc, rc == -EINVAL ? -EINVAL : LW_ENAME, bad[i].why);
        assert_null(server);
    }
    assert_int_equal(t_descriptors(), before);
    opt.listen = "tcp://192.0.2.1:0"; /* of no interface of ours */
    assert_told(lw_server_open(&server, p.group, "gateway", &opt), -EADDRNOTAVAIL, "listening at tcp://192.0.2.1:0");
    opt.listen = tt_text("unix://%s/no/such/folder", (const char *)*state);
    assert_told(lw_server_open(&server, p.group, "gateway", &opt), -ENOENT, "listening at unix://");
    struct lw_server *first = listens_at(&p, "first", "tcp://127.0.0.1:0");
    opt.listen = tt_text("tcp://127.0.0.1:%d", lw_server_port(first));
    assert_told(lw_server_open(&server, p.group, "gateway", &opt), -EADDRINUSE, opt.listen, "another port");
    opt.listen = NULL; /* the name is free */
    opt.hello_within = -1;
    assert_told(lw_server_open(&server, p.group, "gateway", &opt), -EINVAL, "hello_within");
    opt.hello_within = 0;
    opt.flags = 2;
    assert_told(lw_server_open(&server, p.group, "gateway", &opt), -EINVAL, "0x2");
    opt.flags = 0;
    assert_ok(lw_server_open(&server, p.group, "gateway", &opt));
    assert_int_equal(lw_server_port(server), 0);
    lw_server_close(server);
    lw_server_close(first);
    tl_leave(&p);
}

static void options_of_links_are_checked(void **state) {
    struct tl_party p = tl_party(*state, "me");
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    struct lw_link *link;
    opt.flags = 2;
    assert_told(lw_link_open(&link, p.group, "tcp://:1/gateway", &opt), -EINVAL, "flags", "0x2");
    opt.flags = 0;
    opt.retry_max = -1;
    assert_told(lw_link_open(&link, p.group, "tcp://:1/gateway", &opt), -EINVAL, "retry_max");
    tl_leave(&p);
}

static bool has_ipv6(void) {
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof a);
    if (fd >= 0) close(fd);
    return has;
}

/* A link to this address works, and says where the other side is. */
static void link_by(const char *dir, const struct tl_party *host, struct lw_server *server, const char *address,
                    const char *from) {
    struct tl_party client = tl_party(tl_far(dir), "alice");
    struct lw_link *up = tl_open(&client, address, NULL, "hello");
    struct lw_login login = tl_login(host, server, "alice");
    struct lw_link *down;
    assert_true(!strncmp(login.from, from, strlen(from)));
    assert_memory_equal(login.data, "hello", 5);
    assert_ok(lw_login_accept(&login, host->group, NULL, &down));
    tl_told(host, LW_UP, down);
    tl_told(&client, LW_UP, up);
    assert_true(tl_talk(up, down, 0));
    struct lw_link_info info = tl_stat(up);
    assert_int_equal(info.remote, LW_LINK_OF_CLIENT);
    assert_int_equal(info.connections, 1);
    assert_string_equal(info.address, address);
    assert_string_equal(info.server_node, "");
    assert_string_equal(tl_stat(down).address, login.from);
    lw_link_close(up, 0, NULL);
    tl_told(host, LW_DOWN, down);
    lw_link_close(down, 0, NULL);
    assert_ok(lw_link_remove(client.bus, address, "alice", 0, NULL));
    assert_ok(lw_link_remove(host->bus, "gateway", "alice", 0, NULL));
    tl_leave(&client);
}

static void one_server_listens_at_several_addresses_of_every_kind(void **state) {
    struct tl_party host = tl_party(*state, "host");
    char socket_path[T_PATH];
    snprintf(socket_path, sizeof socket_path, "%s.socket", (const char *)*state);
    const char *also = has_ipv6() ? ",tcp://[::1]:0" : "";
    struct lw_server *server =
        listens_at(&host, "gateway", tt_text("tcp://localhost:0, unix://%s%s", socket_path, also));
    int port = lw_server_port(server);
    assert_in_range(port, 1, 65535);
    link_by(*state, &host, server, tt_text("tcp://127.0.0.1:%d/gateway", port), "tcp://127.0.0.1:");
    link_by(*state, &host, server, tt_text("tcp://localhost:%d/gateway", port), "tcp://127.0.0.1:");
    link_by(*state, &host, server, tt_text("tcp://:%d/gateway", port), "tcp://127.0.0.1:");
    link_by(*state, &host, server, tt_text("unix://%s/gateway", socket_path), "unix://");
    lw_server_close(server);
    assert_false(tt_exists(socket_path));
    if (has_ipv6()) {
        server = listens_at(&host, "gateway", "tcp://[::1]:0,tcp://127.0.0.1:0");
        link_by(*state, &host, server, tt_text("tcp://[::1]:%d/gateway", lw_server_port(server)), "tcp://[::1]:");
        lw_server_close(server);
    }
    tl_leave(&host);
}

static void the_socket_file_of_a_dead_server_is_in_nobodys_way_and_that_of_a_living_one_is(void **state) {
    struct tl_party host = tl_party(*state, "host");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct lw_server_options opt = LW_SERVER_OPTIONS_INIT;
    struct lw_server *server;
    snprintf(a.sun_path, sizeof a.sun_path, "%s.socket", (const char *)*state);
    opt.listen = tt_text("unix://%s", a.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_told(lw_server_open(&server, host.group, "gateway", &opt), -EADDRINUSE, a.sun_path);
    assert_int_equal(close(fd), 0); /* it stays behind */
    assert_ok(lw_server_open(&server, host.group, "gateway", &opt));
    lw_server_close(server);
    tt_make_file(a.sun_path, 10); /* what is no socket stays */
    assert_told(lw_server_open(&server, host.group, "gateway", &opt), -EADDRINUSE, a.sun_path);
    assert_true(tt_exists(a.sun_path));
    tl_leave(&host);
}

/* ---- not let in -------------------------------------------------------------------------------------------------- */

static void a_client_waits_for_a_server_that_is_not_there_yet(void **state) {
    struct tl_party client = tl_party(tl_far(*state), "alice"), host = tl_party(*state, "host");
    int code;
    struct lw_link *up = tl_open(&client, tl_address(host.bus, "gateway"), NULL, NULL);
    assert_true(tl_quiet(&client, LW_MS(100))); /* that nobody is there is no news */
    assert_int_equal(lw_link_state(up), LW_LINK_WAITING);
    assert_non_null(strstr(lw_link_reason(up, &code), "connecting to tcp://127."));
    assert_int_equal(code, -ECONNREFUSED);
    tl_send_many(up, 0, 10);
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link *down = tl_accept(&host, server, "alice");
    tl_told(&client, LW_UP, up);
    assert_string_equal(lw_link_reason(up, &code), "");
    assert_int_equal(code, 0);
    assert_true(tl_gets_only(down, 0, 10));
    lw_link_close(up, 0, NULL);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&client);
    tl_leave(&host);
}

static uint64_t connections_of(const struct lw_link *link) {
    return lw__load(&lw__link_mine(link)->connections);
}

static void who_was_refused_stays_so_without_asking_again_until_the_server_starts_anew(void **state) {
    struct tl_party client = tl_party(tl_far(*state), "alice"), host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link *up = tl_open(&client, tl_address(host.bus, "gateway"), NULL, NULL), *down;
    struct lw_login login = tl_login(&host, server, "alice");
    tl_send_many(up, 0, 3);
    assert_ok(lw_login_refuse(&login, "not you"));
    tl_told(&client, LW_REFUSED, up);
    assert_string_equal(lw_link_reason(up, NULL), "not you");
    uint64_t before = connections_of(up);
    assert_true(tl_quiet(&host, LW_MS(150)) && tl_quiet(&client, LW_MS(150)));
    assert_int_equal(connections_of(up), before);
    assert_int_equal(tl_send(up, 3, 0), LW_EREFUSED);
    lw_server_close(server);
    server = tl_server(&host, "gateway");
    login = tl_login(&host, server, "alice"); /* another start of the server may see that otherwise */
    assert_int_equal(login.unread, 3);
    assert_ok(lw_login_accept(&login, host.group, NULL, &down));
    assert_true(tl_await(&client, LW_UP, up, NULL));
    assert_ok(tl_send(up, 3, LW_SEC(20)));
    assert_true(tl_gets_only(down, 0, 4));
    lw_link_close(up, 0, NULL);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&client);
    tl_leave(&host);
}

static void a_server_of_another_name_says_which_one_it_is(void **state) {
    struct tl_party client = tl_party(tl_far(*state), "alice"), host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link *up = tl_open(&client, tt_text("%s/getaway", tl_listens(host.bus, "gateway")), NULL, NULL);
    told_down(&client, up, LW_ENOSERVER, "no server getaway is here, but gateway");
    assert_int_equal(lw_link_state(up), LW_LINK_WAITING);
    uint64_t before = connections_of(up);
    assert_true(tl_quiet(&client, LW_MS(100)) && tl_quiet(&host, LW_MS(10))); /* told once, and tried again and again */
    T_UNTIL(connections_of(up) > before + 1);
    assert_ok(tl_send(up, 0, 0));
    lw_link_close(up, 0, NULL);
    lw_server_close(server);
    tl_leave(&client);
    tl_leave(&host);
}

static void rings_larger_than_the_server_allows_are_told_with_the_numbers(void **state) {
    struct tl_party client = tl_party(tl_far(*state), "alice"), host = tl_party(*state, "host");
    struct lw_server_options opt = LW_SERVER_OPTIONS_INIT;
    struct lw_link_options rings = LW_LINK_OPTIONS_INIT;
    struct lw_server *server;
    struct lw_link *up;
    opt.ring_max = 128 << 10;
    assert_ok(tl_server_open(&server, host.group, "gateway", &opt));
    for (int i = 0; i < 2; i++) {
        const char *name = tt_text("c%d", i);
        rings = (struct lw_link_options)LW_LINK_OPTIONS_INIT;
        rings.as = name;
        rings.ring_up = i ? 64 << 10 : 256 << 10;
        rings.ring_down = i ? 256 << 10 : 64 << 10;
        assert_ok(tl_link_open(&up, client.group, tl_address(host.bus, "gateway"), &rings));
        told_down(&client, up, LW_ESHAPE, "262144");
        assert_non_null(strstr(lw_link_reason(up, NULL), "to 131072"));
        lw_link_close(up, 0, NULL);
    }
    rings.as = "fits";
    rings.ring_up = rings.ring_down = 128 << 10;
    assert_ok(tl_link_open(&up, client.group, tl_address(host.bus, "gateway"), &rings));
    struct lw_link *down = tl_accept(&host, server, "fits");
    tl_told(&client, LW_UP, up);
    assert_int_equal(tl_stat(down).ring_up, 128 << 10);
    assert_int_equal(tl_stat(down).ring_down, 128 << 10);
    assert_true(tl_talk(up, down, 0));
    lw_link_close(up, 0, NULL);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&client);
    tl_leave(&host);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* The host polls as well: who is at its door is looked at there. */
static bool is_sent_away(const struct tl_party *client, const struct tl_party *host, struct lw_link *up) {
    struct lw_event e;
    int code;
    do {
        int n = lw_group_poll(host->group, &e, 1, 0);
        if (n) print_error("the host was told %d\n", (int)e.kind);
        if (n || lw_link_state(up) == LW_LINK_UP) return false;
    } while (lw_group_poll(client->group, &e, 1, LW_MS(1)) < 1);
    return e.kind == LW_DOWN && e.code == LW_EHELD && strstr(lw_link_reason(up, &code), "own host has this name") &&
           code == LW_EHELD;
}

static void pitfall_12_a_local_clients_name_is_not_for_a_remote_one(void **state) {
    struct tl_party client = tl_party(tl_far(*state), "alice"), host = tl_party(*state, "host");
    struct lw_server *server = tl_server(&host, "gateway");
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    struct lw_link *local, *up, *down = NULL;
    opt.as = "alice";
    assert_ok(lw_link_open(&local, host.group, "gateway", &opt));
    struct lw_login login = tl_login(&host, server, "alice");
    for (int i = 0; i < 3; i++) { /* not yet let in; let in; closed on both sides */
        if (i == 1) assert_ok(lw_login_accept(&login, host.group, NULL, &down));
        for (int k = 0; k < 2 && i == 1; k++) tl_told(&host, LW_UP, NULL);
        if (i == 2) lw_link_close(local, 0, NULL);
        if (i == 2) lw_link_close(down, 0, NULL);
        for (int k = 0; k < 2; k++) { /* also when it comes again */
            up = tl_open(&client, tl_address(host.bus, "gateway"), NULL, NULL);
            assert_true(is_sent_away(&client, &host, up));
            lw_link_close(up, 0, NULL);
        }
        if (i == 1) assert_true(tl_talk(local, down, 0));
    }
    lw_server_close(server);
    tl_leave(&client);
    tl_leave(&host);
}

static void pitfall_12_a_remote_clients_name_is_not_for_a_local_one(void **state) {
    struct tl_pair p = tl_pair(*state); /* on one bus, and over TCP all the same */
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    struct lw_link *local;
    opt.as = "alice";
    for (int i = 0; i < 2; i++) { /* up; closed on both sides */
        assert_told(lw_link_open(&local, p.server.group, "gateway", &opt), LW_EHELD, "link gateway/alice");
        assert_null(local);
        if (i) break;
        assert_true(tl_talk(p.up, p.down, 0));
        lw_link_close(p.up, 0, NULL);
        lw_link_close(p.down, 0, NULL);
        p.up = p.down = NULL;
    }
    assert_ok(lw_link_remove(p.server.bus, "gateway", "alice", 0, NULL));
    assert_ok(lw_link_open(&local, p.server.group, "gateway", &opt));
    lw_link_close(local, 0, NULL);
    tl_pair_end(&p);
}

static void pitfall_12_of_two_remote_clients_of_one_name_the_second_waits_until_the_first_has_gone(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct tl_party other = tl_party(tl_far(*state), "alice");
    struct lw_event e;
    struct lw_link *second = tl_open(&other, tl_address(p.server.bus, "gateway"), NULL, "I am another");
    told_down(&other, second, LW_EHELD, "the name alice is in use from tcp://127.");
    tl_send_many(second, 100, 5);
    assert_true(tl_talk(p.up, p.down, 0));
    assert_int_equal(lw_link_state(p.down), LW_LINK_UP);
    assert_true(tl_quiet(&other, LW_MS(50)) && tl_quiet(&p.server, LW_MS(10)));
    lw_link_close(p.up, 0, NULL);
    p.up = NULL;
    tl_told(&p.server, LW_DOWN, p.down);
    struct lw_login login = LW_LOGIN_INIT;
    tl_told(&p.server, LW_LOGIN, p.down);
    assert_int_equal(lw_link_login(p.down, &login), 1);
    assert_memory_equal(login.data, "I am another", 12);
    assert_ok(lw_login_accept(&login, NULL, NULL, NULL));
    assert_true(tl_is_told(&p.server, LW_RENEWED, p.down, &e)); /* and nobody takes it for the first one */
    assert_int_equal(e.code, LW_RENEWED_THERE);
    assert_true(tl_is_told(&p.server, LW_RENEWED, p.down, &e)); /* it had none of what the first one had received */
    assert_int_equal(e.code, LW_RENEWED_READER);
    tl_told(&p.server, LW_UP, p.down);
    assert_true(tl_await(&other, LW_UP, second, NULL));
    assert_true(tl_gets_only(p.down, 100, 5));
    assert_int_equal(tl_stat(p.down).released, 5);
    lw_link_close(second, 0, NULL);
    tl_leave(&other);
    tl_pair_end(&p);
}

/* ---- at the door ------------------------------------------------------------------------------------------------- */

/* A connection to the server, by a program that is no client. */
static int knock_at(const struct lw_server *server) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)lw_server_port(server))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    T_NEED(fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof a));
    return fd;
}

/* Was it closed from the other end? */
static bool is_closed(int fd) {
    char bytes[256];
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

static void the_silent_are_sent_away_and_keep_nobody_out(void **state) {
    enum { SILENT = 12 };
    struct tl_party host = tl_party(*state, "host"), client = tl_party(tl_far(*state), "alice");
    struct lw_server_options opt = LW_SERVER_OPTIONS_INIT;
    struct lw_server *server;
    int fds[SILENT];
    opt.listen = "tcp://127.0.0.1:0";
    opt.guests_max = 4;
    opt.hello_within = LW_MS(300);
    assert_ok(tl_server_open(&server, host.group, "gateway", &opt));
    for (int i = 0; i < SILENT; i++) fds[i] = knock_at(server);
    assert_true(tl_quiet(&host, LW_MS(10)));
    T_UNTIL((tl_quiet(&host, LW_MS(1)), is_closed(fds[0]))); /* the oldest has to go first */
    const char *address = tt_text("tcp://127.0.0.1:%d/gateway", lw_server_port(server));
    struct lw_link *up = tl_open(&client, address, NULL, NULL), *down = tl_accept(&host, server, "alice");
    tl_told(&client, LW_UP, up);
    assert_true(tl_talk(up, down, 0));
    for (int i = 0; i < SILENT; i++) {
        T_UNTIL(lw_link_state(up) == LW_LINK_UP &&
                (lw_group_poll(host.group, &(struct lw_event){0}, 1, 0), is_closed(fds[i])));
        close(fds[i]);
    }
    lw_link_close(up, 0, NULL);
    lw_link_close(down, 0, NULL);
    lw_server_close(server);
    tl_leave(&client);
    tl_leave(&host);
}

static void who_says_nonsense_at_the_door_is_sent_away_and_nobody_else_notices(void **state) {
    struct tl_pair p = tl_pair(*state);
    struct tl_party host = tl_party(*state, "second");
    struct lw_server *server = listens_at(&host, "second", "tcp://127.0.0.1:0");
    static const char web[] =
        "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nUser-Agent: something else altogether\r\n\r\n";
    for (int64_t i = 0; i < t_loops(100) + 4; i++) {
        char bytes[1024];
        int fd = knock_at(server);
        for (size_t k = 0; k < sizeof bytes; k++) bytes[k] = (char)t_random();
        bool text = i % 2;
        ssize_t size = text ? (ssize_t)sizeof web - 1 : (ssize_t)sizeof bytes;
        assert_int_equal(send(fd, text ? web : bytes, (size_t)size, MSG_NOSIGNAL), size);
        T_UNTIL((tl_quiet(&host, 0), is_closed(fd)));
        close(fd);
    }
    assert_true(tl_talk(p.up, p.down, 0));
    lw_server_close(server);
    tl_leave(&host);
    tl_pair_end(&p);
}

/* ---- checksums --------------------------------------------------------------------------------------------------- */

static void checksums_are_used_unless_one_side_wants_none(void **state) {
    for (unsigned sides = 0; sides < 4; sides++) {
        struct tl_party client = tl_party(tl_far(*state), "alice"), host = tl_party(*state, "host");
        struct lw_server_options sopt = LW_SERVER_OPTIONS_INIT;
        struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
        struct lw_server *server;
        struct lw_link *up;
        sopt.flags = sides & 1 ? LW_LINK_NO_CRC : 0;
        opt.flags = sides & 2 ? LW_LINK_NO_CRC : 0;
        assert_ok(tl_server_open(&server, host.group, "gateway", &sopt));
        assert_ok(tl_link_open(&up, client.group, tl_address(host.bus, "gateway"), &opt));
        struct lw_link *down = tl_accept(&host, server, "alice");
        tl_told(&client, LW_UP, up);
        assert_int_equal(up->remote->conn->wire.crc, sides == 0);
        assert_int_equal(down->remote->conn->wire.crc, sides == 0);
        assert_true(tl_talk(up, down, 0));
        lw_link_close(up, 0, NULL);
        lw_link_close(down, 0, NULL);
        lw_server_close(server);
        tl_leave(&client);
        tl_leave(&host);
    }
}

/* ---- listing and removing ---------------------------------------------------------------------------------------- */

struct seen {
    int count;
    struct lw_link_info info[8];
};

static int note(const struct lw_link_info *info, int error, void *user) {
    struct seen *s = user;
    assert_int_equal(error, 0);
    s->info[s->count++] = *info;
    return 0;
}

static void both_sides_are_listed_and_removed_each_by_itself(void **state) {
    struct tl_pair p = tl_pair(*state); /* on one bus */
    const char *address = tl_address(p.client.bus, "gateway");
    struct seen s = {.count = 0};
    uint64_t unread;
    tl_send_many(p.up, 0, 7);
    tl_send_many(p.down, 0, 3);
    assert_true(tl_gets(p.down, 0, 2));
    tl_settle();
    assert_ok(lw_link_list(p.client.bus, NULL, note, &s));
    assert_int_equal(s.count, 2);
    for (int i = 0; i < 2; i++) { /* the server's, the client's */
        assert_string_equal(s.info[i].server, "gateway");
        assert_string_equal(s.info[i].client, "alice");
        assert_int_equal(s.info[i].remote, i ? LW_LINK_OF_CLIENT : LW_LINK_OF_SERVER);
        assert_int_equal(s.info[i].state, LW_LINK_UP);
        assert_int_equal(s.info[i].sent, 7);
        assert_int_equal(s.info[i].taken, 2);
        assert_int_equal(s.info[i].arrived, 3);
        assert_int_equal(s.info[i].released, 0);
    }
    assert_told(lw_link_remove(p.client.bus, address, "alice", 0, NULL), LW_EHELD, "node alice");
    assert_told(lw_link_remove(p.client.bus, "gateway", "alice", 0, NULL), LW_EHELD, "node host");
    lw_link_close(p.up, 0, NULL);
    p.up = NULL;
    assert_ok(lw_link_remove(p.client.bus, address, "alice", 0, &unread));
    assert_int_equal(unread, 5 + 3);
    assert_told(lw_link_remove(p.client.bus, address, "alice", 0, NULL), LW_ENOLINK, "gateway/alice");
    assert_told(lw_link_remove(p.client.bus, "gateway", "alice", 0, NULL), LW_EHELD, "node host");
    lw_link_close(p.down, 0, NULL);
    p.down = NULL;
    assert_ok(lw_link_remove(p.client.bus, "gateway", "alice", 0, &unread));
    assert_int_equal(unread, 5 + 3);
    tl_pair_end(&p);
}

/* ---- what a peer made up ----------------------------------------------------------------------------------------- */

static struct lw_link *unconnected(const struct tl_party *p) {
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    struct lw_link *link;
    opt.as = "alice";
    T_NEED(!lw_link_open(&link, p->group, "tcp://127.0.0.1:1/gateway", &opt));
    return link;
}

/* The place of the other side's reader is what that side said, and only bounded when it comes. */
static void a_place_is_mended(const char *dir, size_t size, int count, uint64_t at, uint64_t number, uint64_t taken) {
    static const char bytes[4096];
    struct tl_party p = tl_party(dir, "me");
    struct lw_link *link = unconnected(&p);
    for (int i = 0; i < count; i++) assert_true(lw_link_send(link, 1, bytes, size, 0) >= 0);
    lw_link_close(link, 0, NULL);
    char path[TT_PATH];
    const uint64_t place[2] = {at, number};
    snprintf(path, sizeof path, "%s/remote/gateway/alice/up.lane", dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0 && pwrite(fd, place, sizeof place, TL_SLOT + 128) == sizeof place);
    close(fd);
    link = unconnected(&p);
    assert_int_equal(tl_stat(link).taken, taken);
    assert_int_equal(tl_stat(link).sent, count);
    lw_link_close(link, 0, NULL);
    assert_ok(lw_link_remove(p.bus, "tcp://127.0.0.1:1/gateway", "alice", 0, NULL));
    tl_leave(&p);
}

static void pitfall_25_a_place_where_no_message_begins_is_mended(void **state) {
    a_place_is_mended(*state, 10, 5, 32, 1, 1);
    a_place_is_mended(*state, 4000, 5, 8, 0, 0); /* records larger than a segment of the ring */
    a_place_is_mended(*state, 4000, 5, 4016, 1, 1);
    a_place_is_mended(*state, 10, 5, 24, 3, 1); /* a place, and another's number */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(addresses_of_servers_say_what_is_wrong_with_them),
        t_test(addresses_to_listen_at_say_what_is_wrong_with_them),
        t_test(options_of_links_are_checked),
        t_test(one_server_listens_at_several_addresses_of_every_kind),
        t_test(the_socket_file_of_a_dead_server_is_in_nobodys_way_and_that_of_a_living_one_is),
        t_test(a_client_waits_for_a_server_that_is_not_there_yet),
        t_test(who_was_refused_stays_so_without_asking_again_until_the_server_starts_anew),
        t_test(a_server_of_another_name_says_which_one_it_is),
        t_test(rings_larger_than_the_server_allows_are_told_with_the_numbers),
        t_test(pitfall_12_a_local_clients_name_is_not_for_a_remote_one),
        t_test(pitfall_12_a_remote_clients_name_is_not_for_a_local_one),
        t_test(pitfall_12_of_two_remote_clients_of_one_name_the_second_waits_until_the_first_has_gone),
        t_test(the_silent_are_sent_away_and_keep_nobody_out),
        t_test(who_says_nonsense_at_the_door_is_sent_away_and_nobody_else_notices),
        t_test(checksums_are_used_unless_one_side_wants_none),
        t_test(both_sides_are_listed_and_removed_each_by_itself),
        t_test(pitfall_25_a_place_where_no_message_begins_is_mended),
    };
    setenv("LW_TEST_LINKS", "tcp", 1);
    cmocka_set_test_filter(getenv("LW_TEST_CASE"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
