/* SPDX-License-Identifier: MIT */
/*
 * util/proxy_conn.h - the connections of a proxy: what proxy.c asks of proxy_conn.c. All of it is for the one thread.
 *
 * A connection is two sides and two flows: flow 0 from side 0, the client, to side 1, the server, flow 1 back. epoll is
 * edge-triggered: a side is readable or writable until the kernel says no.
 */
#ifndef LW_TESTS_PROXY_CONN_H
#define LW_TESTS_PROXY_CONN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/un.h>

#include "util/proxy.h"

enum state {
    CONNECTING, /* to the server */
    OPEN,
    RESETTING, /* waits until what was forwarded is acknowledged */
    DRAINING,  /* both were told the end; reads on and throws away, as closing with bytes unread would reset */
    DEAF,      /* half-open */
    DEAD
};

enum end { NOT_YET, CLOSED, RESET };

struct side {
    struct conn *conn;
    int fd;
    bool tcp;
    bool readable, writable;
    bool over;   /* its peer sends no more */
    bool broken; /* it was reset */
    bool shut;   /* we ended it: what is for it is thrown away */
};

struct flow {
    char *data; /* NULL while there is nothing in it */
    size_t cap, start, end;
    uint64_t sent, limit; /* at `limit` comes the fault */
    int64_t due;          /* nothing leaves before */
    enum end last;        /* how its source ended: passed on behind its last byte */
    bool held, done;      /* done: the end was passed on */
};

struct conn {
    struct conn *next, *prev, **list;
    struct proxy_loop *loop;
    struct proxy_plan plan;
    uint64_t number;
    enum state state;
    bool asked;      /* connect() was called */
    bool cut;        /* by us: counts when it is over */
    int toward;      /* RESETTING: the side that must have all its bytes first */
    int64_t expires; /* DRAINING, RESETTING */
    struct side side[2];
    struct flow flow[2];
};

union address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_un un;
};

struct proxy_loop {
    int epoll;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_un un;
    } server;
    socklen_t server_len;
    struct conn *calm, *timed, *dead; /* timed: to be stepped at `alarm`, or before */
    int64_t alarm;                    /* PROXY_NEVER: none */
    size_t held;                      /* by flows that hold, beyond their usual buffers */
    struct proxy_counts counts;
};

#define PROXY_NEVER INT64_MAX

int64_t proxy__now(void);
int proxy__watch(const struct proxy_loop *l, int fd, uint32_t what, void *who);

/* Takes an accepted socket. */
void proxy__add(struct proxy_loop *l, int fd, const struct proxy_plan *plan);
/* What epoll told of a side. */
void proxy__event(struct side *s, uint32_t events);
/* Goes on with those whose time has come. */
void proxy__alarm(struct proxy_loop *l);
/* Frees the dead, once the events that may name them are dealt with. */
void proxy__bury(struct proxy_loop *l);

/* `plan`: what proxy_cut_now() takes from the plan that is set. */
void proxy__cut(struct proxy_loop *l, enum proxy_fault what, const struct proxy_plan *plan);
void proxy__release(struct proxy_loop *l);
void proxy__reset_all(struct proxy_loop *l);
int proxy__live(const struct proxy_loop *l);

#endif
