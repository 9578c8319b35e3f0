/* SPDX-License-Identifier: MIT */
/*
 * util/far.h - one side of a link over TCP in a process of its own, on a bus of its own, that does what the test asks for, one
 * thing after the other, and polls its group in between. So a test says step by step who sends, holds, releases, leaves
 * or is killed, and looks at what each side was told.
 *
 *     struct far *server = far_server(dir, &(struct far_how){.listen = "tcp://127.0.0.1:0"});
 *     struct far *client = far_client(dir2, &(struct far_how){.port = far_port(server)});
 *     assert_int_equal(far_do(client, FAR_SEND, 0, 10), 10);   // messages 0 to 9
 *     assert_int_equal(far_do(server, FAR_GET, 0, 10), 10);    // came, and are released
 *     FAR_UNTIL(server, downs == 1);
 */
#ifndef LW_TESTS_FAR_H
#define LW_TESTS_FAR_H

#include "laneway/laneway.h"
#include "util/util.h"

#define FAR_SERVER "gateway"
#define FAR_CLIENT "alice"

struct far_how {
    const char *listen; /* a server: "tcp://..." */
    const char *to;     /* a client: "tcp://HOST:PORT", without the server's name; NULL: 127.0.0.1 and the port */
    int port;
    const char *as;              /* NULL: FAR_CLIENT */
    uint64_t ring_up, ring_down; /* 0: the smallest; FAR_AS_IT_IS */
    bool waits;                  /* a server: lets nobody in until FAR_LET_IN */
    bool refuses;
    int64_t hello_within;
    uint32_t guests_max;
    int64_t retry_max;     /* 0: at once */
    const char *namespace; /* a network namespace to be in; NULL: as the test */
};
#define FAR_AS_IT_IS UINT64_MAX

/* What it was told, in memory that it shares with the test. */
struct far_told {
    uint64_t ups, downs, renewed, logins, refusals;
    int64_t code;         /* of the last LW_DOWN */
    uint64_t renewals[4]; /* LW_RENEWED, by code */
    int64_t reason_code;
    char reason[LW_LOGIN_MAX + 1]; /* at the last LW_DOWN */
    uint64_t connections;
    uint64_t waiting;   /* messages that have arrived here and were not received */
    uint64_t taken;     /* so many of what it sent the other side has released, as far as it knows */
    uint64_t discarded; /* by FAR_REMOVE */
    int64_t state;
    char from[LW_ADDRESS_MAX];
};

enum far_what {
    FAR_NOTHING,
    FAR_SEND,    /* messages a to a + b - 1: how many were taken without waiting */
    FAR_BATCH,   /* the same in batches of ten */
    FAR_GET,     /* these messages come, in this order, and are released: how many did, in 20 s each */
    FAR_HOLD,    /* the same, and are not released */
    FAR_RELEASE, /* all that are held */
    FAR_EMPTY,   /* 1: nothing is there, now */
    FAR_LET_IN,  /* server: the login that waits; what lw_login_accept() returns */
    FAR_CONNECT, /* client: closes its link, and opens it at port a: what lw_link_open() returns */
    FAR_REMOVE,  /* closes the link and removes it, here: what lw_link_remove() returns */
    FAR_LEAVE    /* closes all, and ends */
};

struct far;

/* Both return when it is open. A client's lw_link_open() that fails is in far_error(). */
struct far *far_server(const char *dir, const struct far_how *how);
struct far *far_client(const char *dir, const struct far_how *how);
int far_port(const struct far *f);
int64_t far_error(const struct far *f, const char **text);

/* Asks for something and waits until it is done: fails the case after a minute. */
int64_t far_do(struct far *f, enum far_what what, uint64_t a, uint64_t b);
const struct far_told *far_told(const struct far *f);
pid_t far_pid(const struct far *f);

/* SIGKILL; or FAR_LEAVE. Gone when they return, and freed. NULL is fine. */
void far_kill(struct far *f);
void far_leave(struct far *f);

/* Waits until a condition over what it was told holds: FAR_UNTIL(server, downs == 2). */
#define FAR_PATIENCE (getenv("LW_TEST_STRICT") ? LW_SEC(5) : LW_SEC(40))
#define FAR_UNTIL(f, condition)                                                                                        \
    do {                                                                                                               \
        for (int64_t far_end_ = t_now() + FAR_PATIENCE;; t_sleep(LW_MS(1) / 4)) {                                      \
            const struct far_told told_ = far_copy(f);                                                                 \
            if (told_.condition) break;                                                                                \
            if (t_now() > far_end_) far_fail((f), #condition);                                                         \
        }                                                                                                              \
    } while (0)
struct far_told far_copy(const struct far *f);
void far_fail(const struct far *f, const char *what) __attribute__((noreturn));

#endif
