/* SPDX-License-Identifier: MIT */
/*
 * util/proxy_conn.c - see proxy_conn.h. step() does for a connection all that can be done now.
 *
 * Closing a socket that a forked child has a copy of says nothing to its peer. So a side is always ended by
 * shutdown(), or by connect() to nowhere, which resets; closing only frees the descriptor.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "util/proxy_conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BUFFER = 64 << 10,
    HELD_MAX = 16 << 20, /* of all flows that hold, beyond their usual buffers */
    ROUNDS = 16,         /* for one connection, before it is the turn of others */
    GAP = 20000,         /* ns between pieces */
    LOOK = 200000,       /* ns between looks at what no event tells: acknowledgements, a full backlog */
    DELAYED = 400000,    /* ns after which what was sent has arrived, and only its acknowledgement takes its time */
    LINGER = 2000000000  /* ns that peers have to close after a FIN */
};

static const int64_t NEVER = PROXY_NEVER;
static const uint64_t NO_LIMIT = UINT64_MAX;

int64_t proxy__now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t sooner(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t after(int64_t now, int64_t ns) {
    return ns > INT64_MAX - 1 - now ? INT64_MAX - 1 : now + ns;
}

/* ---- sockets ----------------------------------------------------------------------------------------------------- */

static void reset_side(struct side *s) {
    const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    if (s->fd < 0) return;
    if (!s->tcp || connect(s->fd, &nowhere, sizeof nowhere)) shutdown(s->fd, SHUT_RDWR);
}

/* Whether its peer's kernel has all that was sent. A Unix socket's peer has it at once. */
static bool delivered(const struct side *s) {
    int left;
    return !s->tcp || s->broken || ioctl(s->fd, SIOCOUTQ, &left) || left == 0;
}

/* Whether a byte more would join those before it in one segment. */
static bool unsent(const struct side *s) {
    int left;
    return s->tcp && !s->broken && !ioctl(s->fd, SIOCOUTQNSD, &left) && left > 0;
}

int proxy__watch(const struct proxy_loop *l, int fd, uint32_t what, void *who) {
    struct epoll_event event = {.events = what, .data.ptr = who};
    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &event);
}

static int watch_side(struct side *s) {
    const int on = 1;
    if (s->tcp) setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return proxy__watch(s->conn->loop, s->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, s);
}

/* A child's copy would keep it in epoll. */
static void free_side(struct side *s) {
    if (s->fd < 0) return;
    epoll_ctl(s->conn->loop->epoll, EPOLL_CTL_DEL, s->fd, NULL);
    close(s->fd);
    s->fd = -1;
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static void put(struct conn *c, struct conn **list) {
    if (c->list == list) return;
    if (c->next) c->next->prev = c->prev;
    if (c->prev)
        c->prev->next = c->next;
    else if (c->list)
        *c->list = c->next;
    c->list = list;
    c->prev = NULL;
    c->next = *list;
    if (c->next) c->next->prev = c;
    *list = c;
}

static void empty(struct proxy_loop *l, struct flow *f) {
    if (f->cap > BUFFER) l->held -= f->cap - BUFFER;
    free(f->data);
    f->data = NULL;
    f->cap = f->start = f->end = 0;
}

static void reset_both(struct conn *c) {
    reset_side(&c->side[0]);
    reset_side(&c->side[1]);
    if (c->cut) c->loop->counts.cuts++;
    c->state = DEAD;
}

void proxy__bury(struct proxy_loop *l) {
    for (struct conn *c = l->dead, *next; c; c = next) {
        next = c->next;
        for (int d = 0; d < 2; d++) {
            free_side(&c->side[d]);
            empty(l, &c->flow[d]);
        }
        free(c);
    }
    l->dead = NULL;
}

static bool is_live(const struct conn *c) {
    bool closing = c->cut || (c->flow[0].last && c->flow[1].last && !c->flow[0].held && !c->flow[1].held);
    return c->state == CONNECTING || c->state == DEAF || (c->state == OPEN && !closing);
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

static void fill_all(struct conn *c, int d);

/* Behind what has come, but for direction `dir`, of which no more passes (-1: both deliver). */
static void close_both(struct conn *c, int dir) {
    bool deaf = c->state == DEAF;
    c->cut = true;
    c->state = OPEN; /* it passes the ends on */
    for (int d = 0; d < 2; d++) {
        if (d == dir)
            empty(c->loop, &c->flow[d]);
        else if (!deaf)
            fill_all(c, d);
        if (!c->flow[d].last) c->flow[d].last = CLOSED;
    }
}

static void go_deaf(struct conn *c) {
    c->state = DEAF;
    for (int d = 0; d < 2; d++) empty(c->loop, &c->flow[d]);
}

/* `limit` bytes have passed in direction d. */
static void fault(struct conn *c, int d) {
    struct flow *f = &c->flow[d];
    f->limit = NO_LIMIT;
    if (c->plan.what == CUT_RST) {
        c->cut = true;
        c->state = RESETTING;
        c->expires = NEVER;
        c->toward = 1 - d;
        return;
    }
    if (c->plan.what == CUT_FIN) {
        close_both(c, d);
        return;
    }
    c->loop->counts.cuts++;
    if (c->plan.what == STALL)
        f->due = after(proxy__now(), c->plan.ns);
    else if (c->plan.what == HOLD)
        f->held = true;
    else
        go_deaf(c);
}

/* ---- flows ------------------------------------------------------------------------------------------------------- */

/* A flow that holds may grow. */
static bool grow(struct proxy_loop *l, struct flow *f) {
    if (!f->held || l->held + f->cap > HELD_MAX) return false;
    char *more = realloc(f->data, 2 * f->cap);
    if (!more) return false;
    l->held += f->cap;
    f->data = more;
    f->cap *= 2;
    return true;
}

static bool make_room(struct proxy_loop *l, struct flow *f) {
    if (!f->data) {
        f->data = malloc(BUFFER);
        f->cap = f->data ? BUFFER : 0;
    } else if (f->end == f->cap && f->start >= f->cap / 2) {
        memmove(f->data, f->data + f->start, f->end - f->start);
        f->end -= f->start;
        f->start = 0;
    }
    return f->end < f->cap || (f->cap && grow(l, f));
}

/* Reads from the flow's source what there is room for. True: something happened. */
static bool fill(struct conn *c, int d, int64_t now) {
    struct side *from = &c->side[d];
    struct flow *f = &c->flow[d];
    if (f->last == CLOSED && from->broken && !c->cut) { /* reset after its end */
        f->last = RESET;
        f->done = false;
    }
    if (f->last || !from->readable || !make_room(c->loop, f)) return false;
    ssize_t n = recv(from->fd, f->data + f->end, f->cap - f->end, 0);
    if (n > 0) {
        int64_t due = after(now, c->plan.delay);
        if (c->plan.delay && f->start == f->end && due > f->due) f->due = due;
        f->end += (size_t)n;
        return true;
    }
    if (n < 0 && errno == EAGAIN) {
        from->readable = false;
        if (f->start == f->end) empty(c->loop, f);
        return false;
    }
    if (n < 0) from->broken = true;
    f->last = from->broken ? RESET : CLOSED;
    return true;
}

/* All that has reached us, though its event may still be to come. */
static void fill_all(struct conn *c, int d) {
    bool more = c->side[d].readable = true;
    while (more) more = fill(c, d, proxy__now());
}

static bool pass_on_end(struct conn *c, int d) {
    struct flow *f = &c->flow[d];
    if (!f->last || f->done) return false;
    f->done = true;
    if (f->last == RESET) {
        c->state = RESETTING;
        c->expires = NEVER;
        c->toward = 1 - d;
    } else {
        shutdown(c->side[1 - d].fd, SHUT_WR);
    }
    return true;
}

static void account(struct conn *c, int d, size_t n) {
    struct proxy_counts *counts = &c->loop->counts;
    struct flow *f = &c->flow[d];
    f->start += n;
    f->sent += n;
    counts->bytes[d] += n;
    if (c->number == counts->connections) counts->last[d] = f->sent;
    if (f->start == f->end) f->start = f->end = 0;
}

static size_t next_piece(const struct conn *c, const struct flow *f) {
    size_t n = f->end - f->start, piece = (size_t)c->plan.piece;
    if (n > f->limit - f->sent) n = f->limit - f->sent;
    return piece && n > piece ? piece : n;
}

/* Sends what may leave now, or the end behind it. True: something happened. */
static bool drain(struct conn *c, int d, int64_t now) {
    struct side *to = &c->side[1 - d];
    struct flow *f = &c->flow[d];
    if (to->broken || to->shut) f->start = f->end = 0;
    if (f->held || now < f->due) return false;
    if (f->start == f->end) return pass_on_end(c, d);
    if (!to->writable) return false;
    if (c->plan.piece && unsent(to)) {
        f->due = after(now, GAP);
        return false;
    }
    ssize_t n = send(to->fd, f->data + f->start, next_piece(c, f), MSG_NOSIGNAL);
    if (n < 0) {
        if (errno == EAGAIN)
            to->writable = false;
        else
            to->broken = true;
        return to->broken;
    }
    account(c, d, (size_t)n);
    if (c->plan.piece || c->plan.delay) f->due = after(now, c->plan.delay > GAP ? c->plan.delay : GAP);
    if (f->sent == f->limit) fault(c, d);
    return true;
}

/* When it must be looked at though no event may come. */
static int64_t wants(const struct flow *f, int64_t now) {
    bool waits = (f->end > f->start || (f->last && !f->done)) && !f->held;
    return waits && f->due > now ? f->due : NEVER;
}

/* ---- steps: each state does what it can now, and says when it wants to go on without an event -------------------- */

/* Connected to itself: what a port of the ephemeral range may do while nobody listens there. */
static bool met_itself(const struct side *s) {
    struct sockaddr_in here, there;
    socklen_t a = sizeof here, b = sizeof there;
    if (!s->tcp || getsockname(s->fd, (struct sockaddr *)&here, &a)) return false;
    return !getpeername(s->fd, (struct sockaddr *)&there, &b) && here.sin_port == there.sin_port &&
           here.sin_addr.s_addr == there.sin_addr.s_addr;
}

/* connect() says how far it is, as often as it is asked. */
static int64_t step_connecting(struct conn *c, int64_t now) {
    struct side *s = &c->side[1];
    int error = connect(s->fd, &c->loop->server.any, c->loop->server_len) ? errno : 0;
    if (error == EAGAIN) return now + LOOK; /* a Unix socket whose backlog is full */
    if (!c->asked && (!error || error == EINPROGRESS)) {
        c->asked = true;
        if (watch_side(s)) error = errno;
    }
    if (error == EINPROGRESS || error == EALREADY) return NEVER;
    if ((error && error != EISCONN) || met_itself(s)) {
        reset_both(c);
        return NEVER;
    }
    c->state = OPEN;
    for (int d = 0; d < 2 && c->state == OPEN; d++)
        if (c->flow[d].limit == 0) fault(c, d);
    return now;
}

static int64_t step_open(struct conn *c, int64_t now) {
    bool moved = true;
    for (int round = 0; moved; round++) {
        moved = false;
        for (int d = 0; d < 2 && c->state == OPEN; d++) {
            moved |= fill(c, d, now);
            moved |= drain(c, d, now);
        }
        if (c->state != OPEN || round == ROUNDS) return now;
    }
    if (!c->flow[0].done || !c->flow[1].done) return sooner(wants(&c->flow[0], now), wants(&c->flow[1], now));
    c->state = c->cut ? DRAINING : DEAD;
    if (c->cut) c->loop->counts.cuts++;
    c->expires = after(now, LINGER);
    return now;
}

static int64_t step_resetting(struct conn *c, int64_t now) {
    if (c->expires == NEVER) c->expires = after(now, DELAYED);
    if (!delivered(&c->side[c->toward]) && (now < c->expires || unsent(&c->side[c->toward]))) return now + LOOK;
    reset_both(c);
    return NEVER;
}

static void throw_away(struct side *s) {
    char waste[16 << 10];
    for (int i = 0; s->readable && i < ROUNDS; i++) {
        ssize_t n = recv(s->fd, waste, sizeof waste, 0);
        if (n > 0) continue;
        s->readable = false;
        if (n == 0 || errno != EAGAIN) s->over = true;
    }
}

static int64_t step_draining(struct conn *c, int64_t now) {
    bool late = now >= c->expires && delivered(&c->side[0]) && delivered(&c->side[1]);
    bool over = true, more = false;
    for (int i = 0; i < 2; i++) {
        struct side *s = &c->side[i];
        throw_away(s);
        over &= s->over && !s->readable;
        more |= s->readable;
    }
    if (late && !over) {
        c->cut = false; /* counted */
        reset_both(c);
    }
    if (over) c->state = DEAD;
    if (more) return now;
    return now < c->expires ? c->expires : now + LOOK;
}

static int64_t step_deaf(struct conn *c, int64_t now) {
    (void)now;
    if (c->side[0].over && c->side[1].over) c->state = DEAD;
    return NEVER;
}

static void step(struct conn *c) {
    static int64_t (*const steps[])(struct conn *, int64_t) = {
        [CONNECTING] = step_connecting, [OPEN] = step_open, [RESETTING] = step_resetting,
        [DRAINING] = step_draining,     [DEAF] = step_deaf,
    };
    struct proxy_loop *l = c->loop;
    int64_t due = NEVER, now = proxy__now();
    enum state before = DEAD;
    while (c->state != DEAD && c->state != before) {
        before = c->state;
        due = steps[c->state](c, now);
    }
    put(c, c->state == DEAD ? &l->dead : due == NEVER ? &l->calm : &l->timed);
    l->alarm = sooner(l->alarm, due);
}

void proxy__alarm(struct proxy_loop *l) {
    if (l->alarm > proxy__now()) return;
    l->alarm = NEVER;
    for (struct conn *c = l->timed, *next; c; c = next) {
        next = c->next;
        step(c);
    }
}

struct order {
    enum proxy_fault what;
    const struct proxy_plan *plan;
};

static void for_each(struct proxy_loop *l, void (*what)(struct conn *c, const struct order *o), const struct order *o) {
    struct conn **lists[] = {&l->calm, &l->timed}, *all = NULL;
    for (int i = 0; i < 2; i++)
        while (*lists[i]) put(*lists[i], &all); /* a step moves it on */
    while (all) {
        if (all->state == CONNECTING) step_connecting(all, proxy__now()); /* it may be, and nobody was told yet */
        if (all->state != DEAD) what(all, o);
        step(all);
    }
}

/* ---- what proxy.c asks for --------------------------------------------------------------------------------------- */

void proxy__add(struct proxy_loop *l, int fd, const struct proxy_plan *plan) {
    struct conn *c = calloc(1, sizeof *c);
    int server = socket(l->server.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (!c || server < 0) {
        struct side refused = {.fd = fd, .tcp = true};
        reset_side(&refused);
        close(fd);
        if (server >= 0) close(server);
        free(c);
        return;
    }
    c->loop = l;
    c->plan = *plan;
    c->number = ++l->counts.connections;
    l->counts.last[0] = l->counts.last[1] = 0;
    c->side[0] = (struct side){.conn = c, .fd = fd, .tcp = true};
    c->side[1] = (struct side){.conn = c, .fd = server, .tcp = l->server.any.sa_family == AF_INET};
    c->flow[0].limit = c->flow[1].limit = NO_LIMIT;
    if (plan->at >= 0) c->flow[plan->dir & 1].limit = (uint64_t)plan->at;
    if (watch_side(&c->side[0])) reset_both(c);
    step(c);
}

void proxy__event(struct side *s, uint32_t events) {
    const uint32_t gone = EPOLLHUP | EPOLLERR;
    if (s->conn->state == DEAD) return;
    if (events & (EPOLLIN | EPOLLRDHUP | gone)) s->readable = true;
    if (events & (EPOLLOUT | gone)) s->writable = true;
    if (events & (EPOLLRDHUP | gone)) s->over = true;
    if (events & EPOLLERR) s->broken = true;
    step(s->conn);
}

/* Ends side d, whose bytes are held. Those that have reached us are held too. */
static void cut_source(struct conn *c, int d, enum proxy_fault what) {
    struct side *from = &c->side[d];
    if (from->shut) return;
    fill_all(c, d);
    if (what == CUT_RST)
        reset_side(from);
    else
        shutdown(from->fd, SHUT_WR);
    from->shut = true;
    if (!c->flow[d].last) c->flow[d].last = what == CUT_RST ? RESET : CLOSED;
    c->loop->counts.cuts++;
}

static void end_now(struct conn *c, enum proxy_fault what) {
    bool holds = c->flow[0].held || c->flow[1].held;
    if (c->state == DRAINING) return;
    if (holds && c->state == OPEN) {
        cut_source(c, c->flow[0].held ? 0 : 1, what);
    } else if (what == CUT_RST || c->state == CONNECTING) {
        c->cut = true;
        reset_both(c);
    } else if (c->state != RESETTING && !c->cut) {
        close_both(c, -1);
    }
}

static void fault_now(struct conn *c, const struct order *o) {
    if (o->what == CUT_RST || o->what == CUT_FIN) {
        end_now(c, o->what);
        return;
    }
    if (!is_live(c) || c->state != OPEN) return;
    c->loop->counts.cuts++;
    if (o->what == HOLD)
        c->flow[o->plan->dir & 1].held = true;
    else if (o->what == HALF_OPEN)
        go_deaf(c);
    else
        c->flow[0].due = c->flow[1].due = after(proxy__now(), o->plan->ns);
}

void proxy__cut(struct proxy_loop *l, enum proxy_fault what, const struct proxy_plan *plan) {
    for_each(l, fault_now, &(struct order){what, plan});
}

static void release(struct conn *c, const struct order *unused) {
    (void)unused;
    c->flow[0].held = c->flow[1].held = false;
}

void proxy__release(struct proxy_loop *l) {
    for_each(l, release, NULL);
}

static void reset_now(struct conn *c, const struct order *unused) {
    (void)unused;
    reset_both(c);
}

void proxy__reset_all(struct proxy_loop *l) {
    for_each(l, reset_now, NULL);
}

int proxy__live(const struct proxy_loop *l) {
    int n = 0;
    for (struct conn *c = l->calm; c; c = c->next) n += is_live(c);
    for (struct conn *c = l->timed; c; c = c->next) n += is_live(c);
    return n;
}
