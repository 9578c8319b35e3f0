/* SPDX-License-Identifier: MIT */
/*
 * Many links between two processes that may have 1,024 descriptors each: what they cost, and what happens where a limit
 * is. LW_LINKS says how many (make peers: 10,000). Times and sizes are printed; counts are judged.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "laneway/fast.h"
#include "laneway/link.h"
#include "util/figures.h"
#include "util/util.h"

enum { DESCRIPTORS = 1024, RING = 64 << 10, MAPS_A_LINK = 5, PRIVATE_A_LINK = 4096 };

enum phase { OPENING, TALKING, IDLE };

/* Shared by the test and its two processes. */
struct board {
    const char *dir;
    int links;  /* wanted */
    int phase;  /* what the client is to do */
    int opened; /* by the client */
    int code;   /* why no more */
    char text[512];
    int64_t opened_at;
    int client_ups, client_downs, client_got;
    int server_ups, server_got, server_refused;
    int64_t server_space; /* limit of the server's addresses beyond what it has at first; 0: none, or no more */
};

static int load(const int *number) {
    return __atomic_load_n(number, __ATOMIC_ACQUIRE);
}

static void add(int *number) {
    __atomic_fetch_add(number, 1, __ATOMIC_SEQ_CST);
}

static struct board *board_make(const char *dir, int links) {
    struct board *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(b != MAP_FAILED);
    b->dir = dir;
    b->links = links;
    return b;
}

static void limit(__rlimit_resource_t what, rlim_t soft) {
    struct rlimit l;
    T_NEED(getrlimit(what, &l) == 0);
    l.rlim_cur = soft < l.rlim_max ? soft : l.rlim_max;
    T_NEED(setrlimit(what, &l) == 0);
}

static void limit_space(int64_t more) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    T_NEED(f && fscanf(f, "%ld", &pages) == 1);
    fclose(f);
    limit(RLIMIT_AS, (rlim_t)(pages * sysconf(_SC_PAGESIZE) + more));
}

static int take_all(struct lw_link *link) {
    struct lw_msg m;
    int n = 0, rc;
    while ((rc = lw_link_next(link, &m, 0)) == 1) {
        T_NEED(lw_link_release(link, &m) == 0);
        n++;
    }
    T_NEED(rc == LW_EEMPTY);
    return n;
}

/* ---- the server: answers each message ----------------------------------------------------------------------------- */

static void answer(struct board *b, struct lw_link *link) {
    for (int n = take_all(link); n > 0; n--) {
        T_NEED(lw_link_send(link, 2, "world", 5, 0) >= 0);
        add(&b->server_got);
    }
}

/* Where it can take no more, the text says why, and the client is told. */
static void accept_one(struct board *b, struct lw_group *group, struct lw_login *login) {
    int rc = lw_login_accept(login, group, NULL, NULL);
    if (!rc) return;
    if (!b->server_refused) {
        b->code = rc;
        snprintf(b->text, sizeof b->text, "%s", lw_errtext());
    }
    add(&b->server_refused);
}

static void serve_event(struct board *b, struct lw_group *group, const struct lw_event *e) {
    struct lw_login login = LW_LOGIN_INIT;
    if (e->kind == LW_UP) add(&b->server_ups);
    if (e->kind == LW_READABLE) answer(b, e->link);
    while (e->kind == LW_LOGIN && lw_server_login(e->server, &login) == 1) accept_one(b, group, &login);
}

static int serve(void *arg) {
    struct board *b = arg;
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_server *server;
    struct lw_event events[64];
    limit(RLIMIT_NOFILE, DESCRIPTORS);
    T_NEED(t_bus_open(&bus, b->dir, "hub", 0) == 0 && lw_group_open(&group, bus, NULL) == 0);
    T_NEED(lw_server_open(&server, group, "hub", NULL) == 0);
    bool limited = b->server_space;
    if (limited) limit_space(b->server_space);
    t_say(0);
    for (;;) {
        int n = lw_group_poll(group, events, 64, limited ? LW_SEC(1) / 2 : LW_FOREVER);
        T_NEED(n >= 0);
        for (int i = 0; i < n; i++) serve_event(b, group, &events[i]);
        if (!limited || b->server_space) continue;
        limit(RLIMIT_AS, RLIM_INFINITY);
        limited = false;
    }
}

/* ---- the client --------------------------------------------------------------------------------------------------- */

struct client {
    struct board *board;
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_link **links;
};

static void client_begin(struct client *c, struct board *b) {
    *c = (struct client){.board = b, .links = calloc((size_t)b->links, sizeof *c->links)};
    T_NEED(c->links && t_bus_open(&c->bus, b->dir, "client", 0) == 0 && lw_group_open(&c->group, c->bus, NULL) == 0);
}

static int open_next(struct client *c) {
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    char name[32];
    snprintf(name, sizeof name, "c%d", c->board->opened);
    opt.as = name;
    opt.ring_up = opt.ring_down = RING;
    return lw_link_open(&c->links[c->board->opened], c->group, "hub", &opt);
}

/* Until one is refused, or there are as many as wanted. */
static void open_all(struct client *c) {
    struct board *b = c->board;
    int rc = 0;
    while (b->opened < b->links && (rc = open_next(c)) == 0) add(&b->opened);
    if (rc) {
        b->code = rc;
        snprintf(b->text, sizeof b->text, "%s", lw_errtext());
    }
    b->opened_at = t_now();
}

static void client_turn(struct client *c, int64_t ns) {
    struct lw_event events[64];
    int n = lw_group_poll(c->group, events, 64, ns);
    T_NEED(n >= 0);
    for (int i = 0; i < n; i++) {
        if (events[i].kind == LW_UP) add(&c->board->client_ups);
        if (events[i].kind == LW_DOWN) add(&c->board->client_downs);
        if (events[i].kind == LW_READABLE)
            for (int got = take_all(events[i].link); got > 0; got--) add(&c->board->client_got);
    }
}

static void send_all(struct client *c) {
    for (int i = 0; i < c->board->opened; i++) T_NEED(lw_link_send(c->links[i], 1, "hello", 5, 0) >= 0);
}

/* TALKING: a message on each link, once. */
static int be_client(void *arg) {
    struct board *b = arg;
    struct client c;
    limit(RLIMIT_NOFILE, DESCRIPTORS);
    client_begin(&c, b);
    open_all(&c);
    t_say(b->opened);
    for (int was = OPENING, now; b->opened; was = now) {
        now = load(&b->phase);
        if (now == TALKING && was != TALKING) send_all(&c);
        client_turn(&c, LW_SEC(1) / 2);
    }
    return 0;
}

/* ---- the conductor ------------------------------------------------------------------------------------------------ */

static void await(const int *number, int wanted, const char *what) {
    int64_t end = t_now() + LW_SEC(100);
    while (load(number) < wanted) {
        if (t_now() > end) fail_msg("%d %s of %d after 100 s", load(number), what, wanted);
        t_sleep(LW_MS(1));
    }
}

static void print_time(const char *what, int64_t since) {
    printf("    %s: %.2f s (load %.1f)\n", what, (double)(t_now() - since) / 1e9, t_load());
    fflush(stdout);
}

static void talk(struct board *b, int each) {
    int64_t begin = t_now();
    __atomic_store_n(&b->phase, IDLE, __ATOMIC_RELEASE);
    t_sleep(LW_SEC(1)); /* until the client has seen it */
    int before = load(&b->client_got);
    begin = t_now();
    __atomic_store_n(&b->phase, TALKING, __ATOMIC_RELEASE);
    await(&b->client_got, before + each, "answers");
    print_time("a message each way on each (up to 0.5 s until begun)", begin);
}

/* Of one of the two, in peace. */
static void print_use(const char *who, pid_t pid, int links, int64_t cpu, int64_t ns) {
    int descriptors = t_descriptors_of(pid), maps = t_maps_of(pid);
    int64_t own = t_private_of(pid);
    printf("    %s: %.3f CPU s in %.1f s of peace, %d descriptors, %.2f maps a link, %.0f bytes of own memory a link\n",
           who, (double)cpu / 1e9, (double)ns / 1e9, descriptors, (double)maps / links, (double)own / links);
    assert_in_range(descriptors, 1, 64);
    if (links < 1000) return; /* what a process has anyway would be most of it */
    assert_in_range(maps, 1, links * MAPS_A_LINK + 100);
    assert_in_range(own, 1, (int64_t)links * PRIVATE_A_LINK + (1 << 20));
}

static void rest(struct board *b, const struct t_child *server, const struct t_child *client) {
    int64_t ns = t_loops(LW_SEC(5));
    __atomic_store_n(&b->phase, IDLE, __ATOMIC_RELEASE);
    t_sleep(LW_SEC(1));
    int64_t of_server = t_cpu_ns(server->pid), of_client = t_cpu_ns(client->pid), begin = t_now();
    t_sleep(ns);
    of_server = t_cpu_ns(server->pid) - of_server;
    of_client = t_cpu_ns(client->pid) - of_client;
    ns = t_now() - begin;
    print_use("server", server->pid, b->links, of_server, ns);
    print_use("client", client->pid, b->links, of_client, ns);
}

static struct t_child client_start(struct board *b) {
    struct t_child client = t_fork(be_client, b);
    int64_t said, end = t_now() + LW_SEC(100);
    while (!t_heard(&client, 1000, &said))
        if (t_now() > end) fail_msg("%d links open after 100 s", load(&b->opened));
    return client;
}

static void need_room(const char *name, int links) {
    if (t_room() < links * INT64_C(2) * (RING + 32 * 1024)) t_skip(name, "too little space in /dev/shm");
}

static void many_links_between_two_processes(void **state) {
    int links = t_number("LW_LINKS", (int)t_loops(300));
    need_room(__func__, links);
    struct board *b = board_make(*state, links);
    struct t_child server = t_fork(serve, b);
    t_hear(&server);
    int64_t begin = t_now();
    struct t_child client = client_start(b);
    printf("    %d links opened: %.2f s\n", load(&b->opened), (double)(b->opened_at - begin) / 1e9);
    if (b->code) fail_msg("%s", b->text);
    await(&b->client_ups, links, "links up");
    await(&b->server_ups, links, "links up");
    print_time("all up", begin);
    talk(b, links);
    rest(b, &server, &client);
    begin = t_now();
    t_kill(&server);
    print_time("server killed", begin);
    await(&b->client_downs, links, "links down");
    print_time("all down", begin);
    begin = t_now();
    server = t_fork(serve, b);
    await(&b->client_ups, 2 * links, "links up again");
    await(&b->server_ups, 2 * links, "links up again");
    print_time("all up again after the server's start", begin);
    talk(b, links);
    t_kill(&client);
    t_kill(&server);
    assert_int_equal(b->client_got, 2 * links);
    assert_int_equal(b->server_got, 2 * links);
    munmap(b, sizeof *b);
}

/* ---- limits ------------------------------------------------------------------------------------------------------- */

/* The client's addresses end: so many links that it has more than this. */
static int be_short_of_space(void *arg) {
    struct board *b = arg;
    struct client c;
    client_begin(&c, b);
    limit_space(INT64_C(16) << 20);
    open_all(&c);
    t_say(b->opened);
    send_all(&c);
    while (load(&b->client_got) < b->opened) client_turn(&c, LW_SEC(1));
    t_say(0);
    t_forever();
}

static void assert_named(const struct board *b, int code, const char *advice) {
    printf("    %d links, then: %s\n", b->opened, b->text);
    assert_int_equal(b->code, code);
    assert_non_null(strstr(b->text, advice));
}

static void a_client_without_addresses_is_told_and_goes_on(void **state) {
    struct board *b = board_make(*state, 300);
    struct t_child server = t_fork(serve, b), client;
    t_hear(&server);
    client = t_fork(be_short_of_space, b);
    assert_in_range(t_hear(&client), 10, 299);
    assert_named(b, -ENOMEM, "ulimit -v");
    t_hear(&client); /* each link has carried its message */
    munmap(b, sizeof *b);
}

/* Who came meanwhile is not forgotten. */
static void a_server_without_addresses_goes_on(void **state) {
    struct board *b = board_make(*state, 100);
    b->server_space = INT64_C(16) << 20;
    struct t_child server = t_fork(serve, b);
    t_hear(&server);
    client_start(b);
    T_UNTIL(load(&b->server_ups) >= 10);
    t_sleep(LW_SEC(1));
    printf("    %d of 100 links up\n", load(&b->server_ups));
    assert_in_range(load(&b->server_ups), 10, 99);
    talk(b, load(&b->server_ups));
    __atomic_store_n(&b->server_space, 0, __ATOMIC_RELEASE);
    await(&b->client_got, 100, "answers");
    assert_int_equal(load(&b->server_refused), 0);
    munmap(b, sizeof *b);
}

/* vm.max_map_count: no test for every day. */
static void a_client_without_mappings_is_told_and_goes_on(void **state) {
    int links = t_number("LW_LINKS_TOO_MANY", 0);
    need_room(__func__, links);
    struct board *b = board_make(*state, links);
    struct t_child server = t_fork(serve, b);
    t_hear(&server);
    client_start(b);
    assert_named(b, -ENOMEM, "vm.max_map_count");
    assert_in_range(b->opened, 1000, links - 1);
    T_UNTIL(load(&b->server_refused) + load(&b->server_ups) >= b->opened);
    printf("    the server has %d, and took no more %d times\n", b->server_ups, b->server_refused);
    talk(b, b->server_ups);
    munmap(b, sizeof *b);
}

/* Descriptors: as many as it has, and no more. */
static int be_short_of_descriptors(void *arg) {
    struct board *b = arg;
    struct client c;
    struct rlimit before;
    client_begin(&c, b);
    b->links = 1;
    open_all(&c);
    while (!load(&b->client_ups)) client_turn(&c, LW_SEC(1));
    T_NEED(getrlimit(RLIMIT_NOFILE, &before) == 0);
    int next = dup(0);
    close(next);
    limit(RLIMIT_NOFILE, (rlim_t)next);
    b->links = 2;
    open_all(&c);
    t_say(b->opened);
    send_all(&c);
    while (load(&b->client_got) < 1) client_turn(&c, LW_SEC(1));
    t_say(0);
    int64_t end = t_now() + LW_SEC(3); /* the server is killed meanwhile: that can't be seen without one */
    while (t_now() < end) client_turn(&c, LW_SEC(1) / 2);
    limit(RLIMIT_NOFILE, before.rlim_cur);
    t_say(0);
    while (!load(&b->client_downs)) client_turn(&c, LW_SEC(1));
    t_forever();
}

static void a_client_without_descriptors_is_told_and_goes_on(void **state) {
    struct board *b = board_make(*state, 2);
    struct t_child server = t_fork(serve, b), client;
    t_hear(&server);
    client = t_fork(be_short_of_descriptors, b);
    assert_int_equal(t_hear(&client), 1);
    assert_named(b, -EMFILE, "ulimit -n");
    t_hear(&client);
    t_kill(&server);
    t_hear(&client);
    T_UNTIL(load(&b->client_downs) == 1); /* late, but not never */
    munmap(b, sizeof *b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(many_links_between_two_processes),
        t_test(a_client_without_addresses_is_told_and_goes_on),
        t_test(a_server_without_addresses_goes_on),
        t_test(a_client_without_descriptors_is_told_and_goes_on),
    };
    const struct CMUnitTest long_ones[] = {t_test(a_client_without_mappings_is_told_and_goes_on)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return t_number("LW_LINKS_TOO_MANY", 0) ? failed + cmocka_run_group_tests(long_ones, NULL, NULL) : failed;
}
