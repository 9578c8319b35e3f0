/* SPDX-License-Identifier: MIT */
/*
 * util/talk.h - a client and an echo server, each a process on a bus of its own, who talk over TCP through a proxy; and the
 * histories of what they said (util/history.h). The client sends requests, the server answers each once, also when it was
 * killed in between; both note all they do. The test breaks what it likes meanwhile:
 *
 *     struct talk *t = talk_begin(dir, &(struct talk_how){.burst = 100});
 *     proxy_set(t->proxy, ...), talk_kill_client(t), talk_start_client(t) ...
 *     assert_true(talk_settles(t));          // all that was sent has come, once, in order, both ways
 *     talk_end(t);
 */
#ifndef LW_TESTS_TALK_H
#define LW_TESTS_TALK_H

#include "util/history.h"
#include "util/proxy.h"
#include "util/util.h"

#define TALK_SERVER "echo"
#define TALK_CLIENT "alice"

struct talk_how {
    uint64_t ring_up, ring_down; /* 0: the smallest */
    uint32_t window;             /* requests without an answer, at most. 0: 16 */
    uint32_t burst;              /* so many requests, then nothing until all answers are there. 0: a window */
    uint32_t hold;               /* messages are released up to so many at a time; 0: 8 */
    uint32_t big;                /* bytes of one message in a hundred; 0: none is that */
    unsigned client_flags, server_flags;
};

/* What one side has been told. */
struct talk_side {
    uint64_t ups, downs, renewed, logins, refusals; /* events */
    int64_t code;                                   /* of the last LW_DOWN */
    int64_t renewed_code;                           /* of the last LW_RENEWED */
    uint64_t connections;
    int64_t reason_code;
    uint64_t quarrels;             /* LW_DOWN for what no network does: LW_EPROTOCOL, LW_EMISMATCH, LW_ECORRUPT */
    char reason[LW_LOGIN_MAX + 1]; /* at the last LW_DOWN */
};

/* In memory that both processes and the test share. */
struct talk_ledger {
    struct history up, down; /* requests and answers */
    struct talk_how how;
    uint64_t quiet;           /* by the test: no more requests */
    uint64_t leave[2];        /* by the test: the client, the server close the link and end */
    uint64_t idle;            /* the client is quiet, and has all answers */
    uint32_t life[2];         /* the how many-th client and server this is */
    struct talk_side side[2]; /* the client's, the server's */
};

struct talk {
    struct talk_ledger *ledger;
    struct proxy *proxy;
    struct t_child client, server;
    char dir[2][T_PATH]; /* buses: the client's, the server's */
    char listen[64];     /* where the server is, from its first start on */
};

/* `dir`: below its folder are both buses. */
struct talk *talk_begin(const char *dir, const struct talk_how *how);
void talk_end(struct talk *t);

void talk_start_client(struct talk *t);
void talk_start_server(struct talk *t);
void talk_kill_client(struct talk *t);
void talk_kill_server(struct talk *t);
/* Its handles are closed. */
void talk_leave_client(struct talk *t);
void talk_leave_server(struct talk *t);

/* Looks at the histories; fails the case if a process has ended by itself, the two quarrel, or something is wrong already. */
void talk_look(struct talk *t);

/* Waits until `condition`, with talk_look() again and again: fails after a minute (5 s where bugs are planted). */
#define TALK_PATIENCE (getenv("LW_TEST_STRICT") ? LW_SEC(5) : LW_SEC(60))
#define TALK_UNTIL(t, condition)                                                                                       \
    do {                                                                                                               \
        for (int64_t talk_end_ = t_now() + TALK_PATIENCE; !(condition); t_sleep(LW_MS(1) / 10)) {                      \
            talk_look(t);                                                                                              \
            if (t_now() > talk_end_) talk_fail((t), #condition);                                                       \
        }                                                                                                              \
    } while (0)
void talk_fail(struct talk *t, const char *what) __attribute__((noreturn));

/* No more requests; waits until all is answered and released, and the proxy has no plan. Are the histories good? */
bool talk_settles(struct talk *t);
/* Requests again. */
void talk_goes_on(struct talk *t);

/* So many requests more have been answered. */
void talk_some(struct talk *t, uint64_t requests);

/* A connection for each of from, from + every, ... below `to`, cut after so many bytes: by a reset, then by an end, of the
 * one direction, then of the other; talk_settles() after each. LW_TEST_SHORT takes every 13th of them. */
void talk_cuts(struct talk *t, int64_t from, int64_t to, int64_t every);
int64_t talk_stride(int64_t every);

#endif
