/* SPDX-License-Identifier: MIT */
/* util/far.c - see far.h. First what the process does, then the test's side of it. */
#include "util/far.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/topic_util.h"

/* Shared with the process. */
struct page {
    struct far_told told;
    uint64_t asked, answered; /* count */
    enum far_what what;
    uint64_t a, b;
    int64_t result;
    int64_t error;
    char text[512];
};

struct far {
    struct page *page;
    struct t_child child;
    struct far_how how;
    bool server;
    int port;
    char dir[T_PATH];
};

static uint64_t get(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void set(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* ---- the process ------------------------------------------------------------------------------------------------- */

struct self {
    const struct far *far;
    struct page *page;
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_server *server;
    struct lw_link *link;
    struct lw_login login;
    bool waiting; /* the login is not answered */
    struct lw_msg last;
};

static void address_of(const struct far *f, int port, char address[LW_ADDRESS_MAX]) {
    if (f->how.to)
        snprintf(address, LW_ADDRESS_MAX, "%s/" FAR_SERVER, f->how.to);
    else
        snprintf(address, LW_ADDRESS_MAX, "tcp://127.0.0.1:%d/" FAR_SERVER, port);
}

static uint64_t ring(uint64_t wish) {
    return wish == FAR_AS_IT_IS ? 0 : wish ? wish : TT_RING;
}

static int connect_to(struct self *s, int port) {
    const struct far_how *how = &s->far->how;
    struct lw_link_options opt = LW_LINK_OPTIONS_INIT;
    char address[LW_ADDRESS_MAX];
    address_of(s->far, port, address);
    opt.as = how->as ? how->as : FAR_CLIENT;
    opt.ring_up = ring(how->ring_up);
    opt.ring_down = ring(how->ring_down);
    opt.retry_max = how->retry_max ? how->retry_max : 1;
    return lw_link_open(&s->link, s->group, address, &opt);
}

static int listen_at(struct self *s) {
    const struct far_how *how = &s->far->how;
    struct lw_server_options opt = LW_SERVER_OPTIONS_INIT;
    opt.listen = how->listen;
    opt.hello_within = how->hello_within;
    opt.guests_max = how->guests_max;
    return lw_server_open(&s->server, s->group, FAR_SERVER, &opt);
}

/* ---- its events */

static int let_in(struct self *s) {
    struct lw_link *link = NULL;
    int rc = lw_login_accept(&s->login, s->login.link ? NULL : s->group, NULL, &link);
    s->waiting = false;
    if (!rc && s->link && s->link != link) lw_link_close(s->link, 0, "another has come");
    if (!rc) s->link = link;
    snprintf(s->page->text, sizeof s->page->text, "%s", rc ? lw_errtext() : "");
    return rc;
}

static void on_login(struct self *s, const struct lw_event *e) {
    s->login = (struct lw_login)LW_LOGIN_INIT;
    if ((e->code ? lw_link_login(e->link, &s->login) : lw_server_login(e->server, &s->login)) != 1) return;
    snprintf(s->page->told.from, sizeof s->page->told.from, "%s", s->login.from);
    s->waiting = s->far->how.waits;
    if (s->far->how.refuses)
        lw_login_refuse(&s->login, "not today");
    else if (!s->waiting)
        s->page->error = let_in(s);
    set(&s->page->told.logins, s->page->told.logins + 1);
}

static void on_down(struct self *s, const struct lw_event *e) {
    struct far_told *t = &s->page->told;
    int code;
    const char *reason = lw_link_reason(e->link, &code);
    snprintf(t->reason, sizeof t->reason, "%s", reason); /* first: the test waits for the codes and then reads it */
    __atomic_store_n(&t->reason_code, code, __ATOMIC_RELEASE);
    __atomic_store_n(&t->code, e->code, __ATOMIC_RELEASE);
    set(&t->downs, t->downs + 1);
}

static void hear(struct self *s, const struct lw_event *e) {
    struct far_told *t = &s->page->told;
    if (e->kind == LW_LOGIN) on_login(s, e);
    if (e->kind == LW_LOGIN || e->link != s->link) return;
    if (e->kind == LW_DOWN) on_down(s, e);
    if (e->kind == LW_RENEWED) {
        t->renewals[e->code]++;
        set(&t->renewed, t->renewed + 1);
    }
    if (e->kind == LW_REFUSED) set(&t->refusals, t->refusals + 1);
    if (e->kind == LW_UP) set(&t->ups, t->ups + 1);
}

static void look(struct self *s) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    if (!s->link || lw_link_stat(s->link, &info)) return;
    set(&s->page->told.connections, info.connections);
    set(&s->page->told.waiting, info.arrived - info.received);
    set(&s->page->told.taken, info.taken);
    s->page->told.state = info.state;
}

/* The numbers before the events: whoever waits for an event finds what it was about. */
static void poll_once(struct self *s, int64_t timeout) {
    struct lw_event events[8];
    int n = lw_group_poll(s->group, events, 8, timeout);
    T_NEED(n >= 0 || n == -EINTR);
    look(s);
    for (int i = 0; i < n; i++) hear(s, &events[i]);
    bool readable = n > 0 && events[n - 1].kind == LW_READABLE; /* told again and again until somebody asks for it */
    if (readable) t_sleep(LW_US(200));
    look(s);
}

/* ---- what it can do */

static int64_t send_some(struct self *s, uint64_t first, uint64_t count) {
    char buffer[TT_MESSAGE];
    for (uint64_t i = 0; i < count; i++) {
        size_t len = tt_fill(buffer, first + i);
        int64_t rc = lw_link_send(s->link, tt_type(first + i), buffer, len, 0);
        T_NEED(rc >= 0 || rc == LW_EFULL || rc == LW_ECLOSED);
        if (rc < 0) return (int64_t)i;
    }
    return (int64_t)count;
}

static int64_t send_batches(struct self *s, uint64_t first, uint64_t count) {
    char buffer[10][TT_MESSAGE];
    struct lw_item items[10];
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = i % 10;
        items[at] = (struct lw_item){buffer[at], tt_fill(buffer[at], first + i), tt_type(first + i)};
        if (at == 9) T_NEED(lw_link_send_batch(s->link, items, 10, 0) >= 0);
    }
    return (int64_t)count;
}

/* The link may be let in only now. */
static int next(struct self *s, struct lw_msg *msg) {
    int64_t end = t_now() + FAR_PATIENCE / 2;
    for (;;) {
        int rc = s->link ? lw_link_next(s->link, msg, LW_MS(1)) : LW_EEMPTY;
        if (rc == 1 || t_now() > end) return rc;
        poll_once(s, 0);
    }
}

static int64_t take(struct self *s, uint64_t first, uint64_t count, bool release) {
    struct lw_msg msg;
    for (uint64_t i = 0; i < count; i++) {
        int rc = next(s, &msg);
        if (rc != 1 || tt_read(&msg) != first + i) {
            fprintf(stderr, "wanted message %" PRIu64 ", got %s %" PRIu64 " (number %" PRIu64 ")\n", first + i,
                    rc == 1 ? "another:" : lw_errname(rc), rc == 1 ? tt_read(&msg) : 0, rc == 1 ? msg.number : 0);
            return (int64_t)i;
        }
        s->last = msg;
        if (release) T_NEED(!lw_link_release(s->link, &msg));
    }
    return (int64_t)count;
}

static int64_t remove_link(struct self *s) {
    const struct far_how *how = &s->far->how;
    char address[LW_ADDRESS_MAX] = FAR_SERVER;
    if (!s->far->server) address_of(s->far, s->far->port, address);
    lw_link_close(s->link, 0, NULL);
    s->link = NULL;
    return lw_link_remove(s->bus, address, how->as ? how->as : FAR_CLIENT, 0, &s->page->told.discarded);
}

/* A server may be asked to send before its client has come. */
static void wait_for_link(struct self *s) {
    for (int64_t end = t_now() + FAR_PATIENCE / 2; !s->link && t_now() < end;) poll_once(s, LW_MS(1));
    T_NEED(s->link);
}

static int64_t act(struct self *s, enum far_what what, uint64_t a, uint64_t b) {
    struct lw_msg msg;
    if (what == FAR_SEND || what == FAR_BATCH) wait_for_link(s);
    switch (what) {
    case FAR_SEND:
        return send_some(s, a, b);
    case FAR_BATCH:
        return send_batches(s, a, b);
    case FAR_GET:
    case FAR_HOLD:
        return take(s, a, b, what == FAR_GET);
    case FAR_RELEASE:
        return lw_link_release(s->link, &s->last);
    case FAR_EMPTY:
        return !s->link || lw_link_next(s->link, &msg, 0) == LW_EEMPTY;
    case FAR_LET_IN:
        return let_in(s);
    case FAR_CONNECT:
        lw_link_close(s->link, 0, NULL);
        s->link = NULL;
        return connect_to(s, (int)a);
    case FAR_REMOVE:
        return remove_link(s);
    default:
        return 0;
    }
}

static void leave(struct self *s) {
    lw_link_close(s->link, 0, "goodbye");
    lw_server_close(s->server);
    T_NEED(!lw_group_close(s->group));
    T_NEED(!lw_bus_close(s->bus));
}

static void enter_namespace(const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/run/netns/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    T_NEED(fd >= 0 && !setns(fd, CLONE_NEWNET));
    close(fd);
}

static int live(void *arg) {
    struct far *f = arg;
    struct self s = {.far = f, .page = f->page};
    uint64_t done = get(&f->page->answered);
    if (f->how.namespace) enter_namespace(f->how.namespace);
    T_NEED(!t_bus_open(&s.bus, f->dir, NULL, 0) && !lw_group_open(&s.group, s.bus, NULL));
    int rc = f->server ? listen_at(&s) : connect_to(&s, f->how.port);
    f->page->error = rc;
    if (rc) snprintf(f->page->text, sizeof f->page->text, "%s", lw_errtext());
    t_say(s.server ? lw_server_port(s.server) : 0);
    for (;;) {
        poll_once(&s, LW_MS(1));
        if (get(&f->page->asked) == done) continue;
        if (f->page->what == FAR_LEAVE) break;
        f->page->result = act(&s, f->page->what, f->page->a, f->page->b);
        set(&f->page->answered, ++done);
    }
    leave(&s);
    return 0;
}

/* ---- the test's side --------------------------------------------------------------------------------------------- */

static struct far *start(const char *dir, const struct far_how *how, bool server) {
    struct far *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->page = mmap(NULL, sizeof *f->page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(f->page, MAP_FAILED);
    f->how = *how;
    f->server = server;
    f->port = how->port;
    snprintf(f->dir, sizeof f->dir, "%s", dir);
    f->child = t_fork(live, f);
    int64_t port = t_hear(&f->child);
    if (server) f->port = (int)port;
    return f;
}

struct far *far_server(const char *dir, const struct far_how *how) {
    struct far *f = start(dir, how, true);
    if (f->page->error) fprintf(stderr, "server: %s\n", f->page->text);
    assert_int_equal(f->page->error, 0);
    return f;
}

struct far *far_client(const char *dir, const struct far_how *how) {
    return start(dir, how, false);
}

int far_port(const struct far *f) {
    return f->port;
}

int64_t far_error(const struct far *f, const char **text) {
    if (text) *text = f->page->text;
    return f->page->error;
}

const struct far_told *far_told(const struct far *f) {
    return &f->page->told;
}

struct far_told far_copy(const struct far *f) {
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    struct far_told told = f->page->told;
    told.downs = get(&f->page->told.downs);
    return told;
}

pid_t far_pid(const struct far *f) {
    return f->child.pid;
}

void far_fail(const struct far *f, const char *what) {
    const struct far_told *t = &f->page->told;
    fprintf(stderr,
            "%s: up %" PRIu64 ", down %" PRIu64 " (%s), renewed there %" PRIu64 ", reader %" PRIu64 ", here %" PRIu64
            ", logins %" PRIu64 ", connections %" PRIu64 "; reason \"%s\"; text \"%s\"\n",
            f->server ? "server" : "client", t->ups, t->downs, t->code ? lw_errname((int)t->code) : "-", t->renewals[1],
            t->renewals[2], t->renewals[3], t->logins, t->connections, t->reason, f->page->text);
    fail_msg("the %s: %s", f->server ? "server" : "client", what);
    abort();
}

static void need_alive(const struct far *f) {
    siginfo_t info = {0};
    if (!waitid(P_PID, (id_t)f->child.pid, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid)
        far_fail(f, "has ended by itself");
}

static void ask(struct far *f, enum far_what what, uint64_t a, uint64_t b) {
    f->page->what = what;
    f->page->a = a;
    f->page->b = b;
    set(&f->page->asked, f->page->asked + 1);
}

int64_t far_do(struct far *f, enum far_what what, uint64_t a, uint64_t b) {
    ask(f, what, a, b);
    for (int64_t end = t_now() + LW_SEC(60); get(&f->page->answered) != f->page->asked; t_sleep(LW_US(100))) {
        need_alive(f);
        if (t_now() > end) far_fail(f, "does not answer");
    }
    return f->page->result;
}

static void forget(struct far *f) {
    munmap(f->page, sizeof *f->page);
    free(f);
}

void far_kill(struct far *f) {
    if (!f) return;
    t_kill(&f->child);
    forget(f);
}

void far_leave(struct far *f) {
    if (!f) return;
    ask(f, FAR_LEAVE, 0, 0);
    assert_int_equal(t_wait(&f->child), 0);
    forget(f);
}
