/* SPDX-License-Identifier: MIT */
/*
 * util/proxy.h - a bad network, made to order: a thread that forwards TCP connections, and cuts, stalls, chops or holds
 * back what passes, at the byte that is asked for.
 *
 *     struct proxy *p = proxy_start("127.0.0.1:4000");        // or "unix:/path/of/socket"
 *     proxy_set(p, &(struct proxy_plan){.at = 17, .what = CUT_RST, .times = 1});
 *     ... connect to 127.0.0.1, proxy_port(p): the server gets 17 bytes, then both sides are reset ...
 *     proxy_stop(p);
 *
 * It needs nothing of Laneway and nothing of cmocka. All functions may be called by any thread of the process that
 * started it, and what they ask for is done when they return; a child that was forked calls none of them. Forked
 * children keep copies of the proxy's sockets: that is provided for, what is cut is cut all the same.
 *
 * A client is accepted at once, and reset when the server then can not be reached. One side's end is passed on behind
 * its last byte: a close as a close (the other direction goes on), a reset as a reset.
 */
#ifndef LW_TESTS_PROXY_H
#define LW_TESTS_PROXY_H

#include <stdint.h>

enum proxy_fault {
    CUT_RST,   /* both sides are reset. A Unix socket knows no reset, its peer sees the end */
    CUT_FIN,   /* both sides are closed in order. What the proxy has of the other direction is delivered first */
    STALL,     /* this direction rests for `ns`, and goes on */
    HALF_OPEN, /* no byte passes any more, nor does the news that a side is gone. Over when both sides are */
    HOLD       /* what follows in this direction, its end too, is kept until proxy_release(). The other one goes on */
};

/* What happens to a connection. Zeros are a plan: to reset it before the first byte. */
struct proxy_plan {
    int dir;               /* whose bytes `at` counts. 0: client to server, 1: server to client */
    int64_t at;            /* the fault comes when so many have passed, and none after them. -1: no fault */
    enum proxy_fault what; /* CUT_RST waits a moment for the receiving kernel to acknowledge all bytes before `at` */
    int64_t ns;            /* for STALL */
    int piece;             /* so many bytes at a time at most, some 20 us apart, in both directions; 0: any number */
    int64_t delay;         /* ns, both directions: a piece waits so long after it came, or after the piece before it */
    int times;             /* for so many connections, then there is no plan; 0: for all */
    int64_t step;          /* `at` is so much more for each connection after the first */
};

struct proxy;

/* Listens on 127.0.0.1, at a port of its own. NULL: failed, see errno. */
struct proxy *proxy_start(const char *upstream);
int proxy_port(const struct proxy *p);
/* Resets what is still connected. NULL is fine. */
void proxy_stop(struct proxy *p);

/* The plan of each connection from now on (those whose connect() has returned have the one before). NULL: none. */
void proxy_set(struct proxy *p, const struct proxy_plan *plan);

/* Connections from now on whose plan has no fault are cut, by RST or FIN, after 1 to 2 * `mean` bytes in one direction:
 * the seed decides, one draw for each connection in the order they come. 0: no more. */
void proxy_random(struct proxy *p, uint64_t seed, int64_t mean);

/* To all live connections, at once. CUT_RST waits for no acknowledgement; STALL is for both directions, for the `ns` of
 * the plan that is set; HOLD is for the `dir` of that plan. CUT_RST and CUT_FIN end half-open ones too. Of a connection
 * that holds bytes back they cut only the side that sent these: what of it has reached the proxy, and its end, get to
 * the other side when they are released. */
void proxy_cut_now(struct proxy *p, enum proxy_fault what);

/* Lets go what is held, on the connections where it came. At most 16 MiB are held, then senders are not read on. */
void proxy_release(struct proxy *p);

/* On: the port refuses; it stays reserved. Off: it accepts again. Connections that exist go on. 0, or -errno. */
int proxy_refuse(struct proxy *p, int on);

struct proxy_counts {
    uint64_t connections; /* accepted */
    uint64_t cuts;        /* faults of all kinds, once they have happened */
    uint64_t bytes[2];    /* forwarded, client to server and server to client */
    uint64_t last[2];     /* by the last connection */
    int live;             /* not cut, and not closed by both; half-open ones and those that hold are live */
};
struct proxy_counts proxy_count(const struct proxy *p);

#endif
