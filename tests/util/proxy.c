/* SPDX-License-Identifier: MIT */
/*
 * util/proxy.c - see proxy.h. Listening, plans and calls; proxy_conn.c has the connections.
 *
 * One thread has all the sockets. What others ask for is done by it, between two events; they wait until it is done.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "util/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "util/proxy_conn.h"

enum { BACKLOG = 4096, EVENTS = 64 };

struct call {
    struct call *next;
    int (*run)(struct proxy *p, void *arg);
    void *arg;
    int rc;
    bool done;
};

struct proxy {
    pthread_t thread;
    pthread_mutex_t lock; /* calls */
    pthread_cond_t answered;
    struct call *calls;

    int wake, timer;
    int keeper, listener; /* the keeper has the port and never listens; listener -1: refuses */
    int port;

    /* the thread's own */
    bool stop;
    struct proxy_loop loop;
    struct proxy_plan plan;
    int64_t plan_left; /* connections; -1: all */
    uint64_t random;
    int64_t mean;
};

/* ---- plans, new connections -------------------------------------------------------------------------------------- */

/* Splitmix64. */
static uint64_t draw(struct proxy *p) {
    uint64_t z = p->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static struct proxy_plan next_plan(struct proxy *p) {
    struct proxy_plan plan = {.at = -1};
    if (p->plan_left) plan = p->plan;
    if (p->plan.at >= 0) p->plan.at += p->plan.step;
    if (p->plan_left > 0) p->plan_left--;
    if (p->mean <= 0) return plan;
    uint64_t at = 1 + draw(p) % (2 * (uint64_t)p->mean), kind = draw(p);
    if (plan.at < 0) {
        plan.at = (int64_t)at;
        plan.dir = kind & 1;
        plan.what = kind & 2 ? CUT_FIN : CUT_RST;
    }
    return plan;
}

static void accept_all(struct proxy *p) {
    while (p->listener >= 0) {
        int fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            struct proxy_plan plan = next_plan(p);
            proxy__add(&p->loop, fd, &plan);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno == EMFILE || errno == ENFILE) usleep(1000); /* until there are descriptors again */
            return;
        }
    }
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static void answer(struct proxy *p) {
    pthread_mutex_lock(&p->lock);
    for (struct call *c = p->calls; c; c = c->next) {
        accept_all(p); /* who came before the call is not one of those from now on */
        c->rc = c->run(p, c->arg);
        c->done = true;
    }
    p->calls = NULL;
    pthread_cond_broadcast(&p->answered);
    pthread_mutex_unlock(&p->lock);
}

static void set_alarm(const struct proxy *p) {
    int64_t at = p->loop.alarm;
    struct itimerspec t = {.it_value = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000}};
    if (at != PROXY_NEVER) timerfd_settime(p->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void *run(void *arg) {
    struct proxy *p = arg;
    struct epoll_event events[EVENTS];
    while (!p->stop) {
        set_alarm(p);
        int n = epoll_wait(p->loop.epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            void *who = events[i].data.ptr; /* NULL: the timer, a call */
            if (who == p)
                accept_all(p);
            else if (who)
                proxy__event(who, events[i].events);
        }
        proxy__alarm(&p->loop);
        answer(p);
        proxy__bury(&p->loop);
    }
    return NULL;
}

static int call(struct proxy *p, int (*what)(struct proxy *p, void *arg), void *arg) {
    struct call c = {.run = what, .arg = arg};
    pthread_mutex_lock(&p->lock);
    c.next = p->calls;
    p->calls = &c;
    eventfd_write(p->wake, 1);
    while (!c.done) pthread_cond_wait(&p->answered, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return c.rc;
}

/* ---- what can be asked for --------------------------------------------------------------------------------------- */

static int do_set(struct proxy *p, void *plan) {
    const struct proxy_plan none = {.at = -1};
    p->plan = plan ? *(const struct proxy_plan *)plan : none;
    p->plan_left = p->plan.times > 0 ? p->plan.times : -1;
    return 0;
}

void proxy_set(struct proxy *p, const struct proxy_plan *plan) {
    call(p, do_set, (void *)plan);
}

struct odds {
    uint64_t seed;
    int64_t mean;
};

static int do_random(struct proxy *p, void *arg) {
    const struct odds *odds = arg;
    p->random = odds->seed;
    p->mean = odds->mean;
    return 0;
}

void proxy_random(struct proxy *p, uint64_t seed, int64_t mean) {
    call(p, do_random, &(struct odds){seed, mean});
}

static int do_cut(struct proxy *p, void *what) {
    proxy__cut(&p->loop, *(enum proxy_fault *)what, &p->plan);
    return 0;
}

void proxy_cut_now(struct proxy *p, enum proxy_fault what) {
    call(p, do_cut, &what);
}

static int do_release(struct proxy *p, void *unused) {
    (void)unused;
    proxy__release(&p->loop);
    return 0;
}

void proxy_release(struct proxy *p) {
    call(p, do_release, NULL);
}

static int do_count(struct proxy *p, void *counts) {
    p->loop.counts.live = proxy__live(&p->loop);
    *(struct proxy_counts *)counts = p->loop.counts;
    return 0;
}

struct proxy_counts proxy_count(const struct proxy *p) {
    struct proxy_counts counts;
    call((struct proxy *)p, do_count, &counts);
    return counts;
}

int proxy_port(const struct proxy *p) {
    return p->port;
}

/* ---- listening --------------------------------------------------------------------------------------------------- */

/* A socket bound to `port` (0: any), or -errno. */
static int bound(int port) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc;
    if (fd < 0) return -errno;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!bind(fd, (struct sockaddr *)&here, sizeof here)) return fd;
    rc = -errno;
    close(fd);
    return rc;
}

static int listen_again(struct proxy *p) {
    int fd = bound(p->port), rc = 0;
    if (fd < 0) return fd;
    if (listen(fd, BACKLOG) || proxy__watch(&p->loop, fd, EPOLLIN, p)) {
        rc = -errno;
        close(fd);
    } else {
        p->listener = fd;
    }
    return rc;
}

/* A forked child's copy would listen on. */
static void listen_no_more(struct proxy *p) {
    shutdown(p->listener, SHUT_RDWR);
    epoll_ctl(p->loop.epoll, EPOLL_CTL_DEL, p->listener, NULL);
    close(p->listener);
    p->listener = -1;
}

static int do_refuse(struct proxy *p, void *on) {
    if (*(int *)on && p->listener >= 0) listen_no_more(p);
    return *(int *)on || p->listener >= 0 ? 0 : listen_again(p);
}

int proxy_refuse(struct proxy *p, int on) {
    return call(p, do_refuse, &on);
}

/* ---- start, stop ------------------------------------------------------------------------------------------------- */

static int parse_unix(struct proxy_loop *l, const char *path) {
    size_t len = strlen(path);
    if (!len || len >= sizeof l->server.un.sun_path) return -EINVAL;
    l->server.un.sun_family = AF_UNIX;
    memcpy(l->server.un.sun_path, path, len + 1);
    l->server_len = sizeof l->server.un;
    return 0;
}

static int parse(struct proxy_loop *l, const char *upstream) {
    const char *colon = strchr(upstream, ':');
    char host[INET_ADDRSTRLEN], *end;
    if (!strncmp(upstream, "unix:", 5)) return parse_unix(l, upstream + 5);
    if (!colon || (size_t)(colon - upstream) >= sizeof host) return -EINVAL;
    snprintf(host, sizeof host, "%.*s", (int)(colon - upstream), upstream);
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end || !port || port > UINT16_MAX) return -EINVAL;
    l->server.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    l->server_len = sizeof l->server.in;
    return inet_pton(AF_INET, host, &l->server.in.sin_addr) == 1 ? 0 : -EINVAL;
}

static int open_sockets(struct proxy *p) {
    struct sockaddr_in here;
    socklen_t len = sizeof here;
    p->loop.epoll = epoll_create1(EPOLL_CLOEXEC);
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (p->loop.epoll < 0 || p->wake < 0 || p->timer < 0) return -errno;
    p->keeper = bound(0);
    if (p->keeper < 0) return p->keeper;
    if (getsockname(p->keeper, (struct sockaddr *)&here, &len)) return -errno;
    p->port = ntohs(here.sin_port);
    if (proxy__watch(&p->loop, p->wake, EPOLLIN | EPOLLET, NULL)) return -errno;
    if (proxy__watch(&p->loop, p->timer, EPOLLIN | EPOLLET, NULL)) return -errno;
    return listen_again(p);
}

/* Signals are for the threads of the test. */
static int start_thread(struct proxy *p) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = -pthread_create(&p->thread, NULL, run, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static void fini(struct proxy *p) {
    if (p->listener >= 0) listen_no_more(p);
    int all[] = {p->keeper, p->wake, p->timer, p->loop.epoll};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] >= 0) close(all[i]);
    pthread_cond_destroy(&p->answered);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

struct proxy *proxy_start(const char *upstream) {
    struct proxy *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->answered, NULL);
    p->keeper = p->listener = p->wake = p->timer = p->loop.epoll = -1;
    p->loop.alarm = PROXY_NEVER;
    do_set(p, NULL);
    int rc = parse(&p->loop, upstream);
    if (!rc) rc = open_sockets(p);
    if (!rc) rc = start_thread(p);
    if (!rc) return p;
    fini(p);
    errno = -rc;
    return NULL;
}

static int do_stop(struct proxy *p, void *unused) {
    (void)unused;
    p->stop = true;
    proxy__reset_all(&p->loop);
    return 0;
}

void proxy_stop(struct proxy *p) {
    if (!p) return;
    call(p, do_stop, NULL);
    pthread_join(p->thread, NULL);
    fini(p);
}
