/* SPDX-License-Identifier: MIT */
/*
 * laneway/link.h - links: named two-way connections between a client and a server.
 *
 * A link is two logs, one for each direction, in files under the names of the server and the client. So it exists
 * whether or not anybody has it open: both sides may end, be killed and start again at any time and in any order, and
 * each goes on exactly where it was. What was sent is delivered once and in order; what was received and not released
 * when a side died is delivered again to its next start (message numbers tell which).
 *
 *     client                                                 server
 *     lw_link_open(&link, group, "gateway", NULL)            lw_server_open(&server, group, "gateway", NULL)
 *                                                            LW_LOGIN: lw_server_login(server, &login)
 *     LW_UP                                                            lw_login_accept(&login, group, ...)
 *     lw_link_send(link, 1, &order, sizeof order, 0)         LW_READABLE: lw_link_next(), lw_link_release()
 *
 * A name that was never used is a new link; a name that was is the old one. Its identity is the pair of names, of the
 * server and of the client (`as`; the node's name if not given); one process may hold many. No name is open twice.
 *
 * Over TCP the server says where it listens, and the client where that is; nothing else differs:
 *
 *     opt.listen = "tcp://127.0.0.1:7000";               lw_link_open(&link, group, "tcp://127.0.0.1:7000/gateway", NULL)
 *
 * Each host then keeps what it sent until the other one has released it; a connection that breaks, or a side that dies,
 * costs nothing but the time until it is there again. Sending and receiving is done by the calls on the link and by
 * lw_group_poll(): what was sent goes out at once, or with the next of these calls when many messages follow each other.
 *
 * Caveats
 *   - Sending works at once, also before the server has ever run and while it is away: it goes to the file, until the
 *     ring is full. Being sent does not mean that somebody has read it: lw_link_stat() tells.
 *   - Nothing expires. A link of a client that never comes back is removed by `laneway rm links SERVER/CLIENT`, or
 *     lw_link_remove().
 *   - Some links on one bus share a fate only with it: damage to the files of one is LW_ECORRUPT on that one.
 *
 * Threads: as for all handles, one thread at a time, the one that polls the group in which it is.
 *
 * Include laneway/laneway.h: sending and receiving are inline, in laneway/fast.h.
 */
#ifndef LANEWAY_LINK_H
#define LANEWAY_LINK_H

#include "laneway/group.h"
#include "laneway/topic.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Longest login, answer and reason, in bytes. */
#define LW_LOGIN_MAX 1024

/* Longest address as text, with its NUL. */
#define LW_ADDRESS_MAX 256

enum lw_link_state {
    LW_LINK_WAITING = 0, /* client: no server has accepted this link yet, ever */
    LW_LINK_UP = 1,
    LW_LINK_DOWN = 2,   /* the other side is away: dead, closed, or not come back yet */
    LW_LINK_REFUSED = 3 /* client: the server refused this login. Sending gives LW_EREFUSED; what was sent is kept */
};

/* ---- client ------------------------------------------------------------------------------------------------------ */

struct lw_link_options {
    size_t size;    /* sizeof (struct lw_link_options) */
    const char *as; /* this client's name; NULL: the node's */
    uint64_t
        ring_up; /* bytes of the ring to the server, and of the one from it: powers of two, 64 KiB to 64 GiB. 0: as */
    uint64_t ring_down; /* it is; a new link gets 256 KiB. Half of it is what one message may have */
    const void *login;  /* for the server's eyes, up to LW_LOGIN_MAX bytes */
    size_t login_len;
    void *user;          /* goes into the link's events */
    int64_t stuck_after; /* ns without progress after which LW_STUCK is told; 0: 10 s, LW_FOREVER: never */
    unsigned flags;      /* LW_LINK_... */
    int64_t retry_max;   /* over TCP: ns between two tries to connect, at most; they begin at once and grow. 0: 5 s */
};
#define LW_LINK_OPTIONS_INIT                                                                                           \
    { sizeof(struct lw_link_options), NULL, 0, 0, NULL, 0, NULL, 0, 0, 0 }

/* Flags of a client's and of a server's options. Checksums are used unless one side has this. */
#define LW_LINK_NO_CRC 1u /* over TCP: no checksum of our own on what is sent (TCP's is a weak one) */

/*
 * Opens the link of this client to a server, makes it if it is new, and asks the server, if it runs, to be let in. Never
 * waits for the server, nor for a connection. `options` may be NULL.
 *
 * `server`: the name of a server on this bus, or where one listens, "tcp://HOST:PORT/SERVER" (HOST: an IPv4 address, an
 * IPv6 one in [], localhost, or a name of /etc/hosts) or "unix:///PATH/SERVER". The link over TCP is the same one
 * whatever the address: a server may move. LW_DOWN with LW_EMISMATCH, LW_ENOSERVER, LW_EHELD, LW_ESHAPE, LW_EVERSION is
 * told when there is somebody who does not take this link; lw_link_reason() says why, and it is tried again.
 *
 * Errors: LW_ENAME; LW_EHELD (a live process has this name open; its node and pid in the text); LW_ESHAPE (exists with
 * other rings); LW_EVERSION; LW_ECORRUPT; -EINVAL (an option); -ENOSPC; -EMFILE; -ENOMEM (memory or mappings: the text
 * says which limit); -EACCES; LW_EFORKED.
 */
LW_API int lw_link_open(struct lw_link **link, struct lw_group *group, const char *server,
                        const struct lw_link_options *options);

/*
 * Closes either side's handle and frees it; the link, and what is in it, stay. The other side is told LW_DOWN with
 * LW_ECLOSED, and lw_link_reason() gives it `code` and `reason` (may be NULL; cut off at LW_LOGIN_MAX bytes). What was
 * received and not released comes again when this side opens the link the next time. NULL is fine; may be called in a
 * handler of lw_link_dispatch().
 *
 * Over TCP what the connection does not take at once stays on this host until this side opens the link again: who opens,
 * sends and closes without a poll in between has sent nothing yet. `taken` of lw_link_stat() says what has arrived and
 * was released.
 */
LW_API void lw_link_close(struct lw_link *link, int code, const char *reason);

/* ---- server ------------------------------------------------------------------------------------------------------ */

struct lw_server;

struct lw_server_options {
    size_t size;         /* sizeof (struct lw_server_options) */
    void *user;          /* goes into the server's events */
    int64_t stuck_after; /* of its links, as in lw_link_options */
    const char
        *listen;       /* for clients on other hosts: "tcp://ADDRESS:PORT", "unix:///PATH", several separated by commas.
                            NULL: for those on this bus only. tcp://:PORT is this host's loopback; 0.0.0.0 or [::] is
                            every interface. PORT 0: any free one, lw_server_port() */
    unsigned flags;    /* LW_LINK_NO_CRC */
    uint64_t ring_max; /* largest ring that a client on another host may have made here, in bytes; 0: 64 MiB */
    uint32_t guests_max;  /* connections that have not been let in yet: the oldest goes. 0: 1,024 */
    int64_t hello_within; /* ns within which one must have said who it is; 0: 3 s */
};
#define LW_SERVER_OPTIONS_INIT                                                                                         \
    { sizeof(struct lw_server_options), NULL, 0, NULL, 0, 0, 0, 0 }

/* Becomes the server of this name. Logins are told in `group`. `options` may be NULL.
 * Errors: LW_ENAME, LW_EHELD (a live process is it; node and pid in the text), -EINVAL, -ENOSPC, -EMFILE, -ENOMEM,
 * -EACCES, LW_EFORKED. */
LW_API int lw_server_open(struct lw_server **server, struct lw_group *group, const char *name,
                          const struct lw_server_options *options);

/* The port of the first TCP address at which it listens; 0: there is none. */
LW_API int lw_server_port(const struct lw_server *server);

/* No logins from now on; its links stay open, each to be closed by whoever has it. NULL is fine. Over TCP a link can not
 * connect anew after that: close it as well before this process opens a server of the name again. */
LW_API void lw_server_close(struct lw_server *server);

/* A client wants in. */
struct lw_login {
    size_t size;              /* sizeof (struct lw_login), set by the caller */
    struct lw_server *server; /* not to be used once it is closed */
    struct lw_link *link;     /* this side has the link open already: the client started anew. Else NULL */
    char client[LW_NAME_MAX + 1];
    int alive;        /* 0: the client is away, and left messages that nobody has taken */
    uint64_t unread;  /* messages from it that are not released yet; of another host: as it said when it connected */
    uint64_t session; /* counts its logins */
    size_t len;       /* bytes of its login */
    unsigned char data[LW_LOGIN_MAX];
    char from[LW_ADDRESS_MAX]; /* where it connects from; "": from this host, or it is away */
};
#define LW_LOGIN_INIT                                                                                                  \
    {                                                                                                                  \
        sizeof(struct lw_login), NULL, NULL, {0}, 0, 0, 0, 0, {0}, {                                                   \
            0                                                                                                          \
        }                                                                                                              \
    }

/*
 * The next login that is waiting: 1, or LW_EEMPTY. Each is given once; accept or refuse it now or later, in the thread
 * that got it. A client that comes again while the link is open here is told on the link itself (LW_LOGIN with `link`),
 * in the group where it is, and lw_link_login() gets it: who was accepted once is asked about again.
 *
 * A server that starts finds the clients that are there, and those that are away but left messages.
 */
LW_API int lw_server_login(struct lw_server *server, struct lw_login *login);
LW_API int lw_link_login(struct lw_link *link, struct lw_login *login);

/* What the server has for the client, and for itself. */
struct lw_accept_options {
    size_t size;        /* sizeof (struct lw_accept_options) */
    const void *answer; /* for the client's eyes, lw_link_answer(); up to LW_LOGIN_MAX bytes */
    size_t answer_len;
    void *user; /* goes into the link's events */
};
#define LW_ACCEPT_OPTIONS_INIT                                                                                         \
    { sizeof(struct lw_accept_options), NULL, 0, NULL }

/*
 * Lets the client in; `group` (of any thread) gets the link. With an open link (login->link) that is the same handle,
 * in the group where it is: `group` must be NULL or that one. `link` may be NULL: events bring it. `options` may be
 * NULL. `*link` is not yours to use when the group is another thread's: that thread may close it first.
 * Errors: LW_ESTATE (the client has gone, or logged in again: a newer login is waiting; or it was answered already),
 * LW_EHELD (an earlier server of this name still has the link open; it is told of again when that may be over),
 * LW_ECORRUPT, LW_EVERSION, LW_ENOLINK (removed), -EINVAL, -ENOMEM, -EMFILE, LW_EFORKED. When files or memory could not be
 * had it can be tried again; over TCP the client was sent away then, and logs in anew.
 */
LW_API int lw_login_accept(struct lw_login *login, struct lw_group *group, const struct lw_accept_options *options,
                           struct lw_link **link);

/* Refuses it; the client is told LW_REFUSED with these words. What it sent stays. Errors as above. */
LW_API int lw_login_refuse(struct lw_login *login, const char *why);

/* ---- either side ------------------------------------------------------------------------------------------------- */

/*
 * In laneway/fast.h, as for publishers and subscribers, with the same results:
 *
 *   int64_t lw_link_send(struct lw_link *, uint16_t type, const void *data, size_t len, int64_t timeout);
 *   int lw_link_reserve(struct lw_link *, void **data, size_t len, int64_t timeout);
 *   int64_t lw_link_commit(struct lw_link *, uint16_t type, size_t len);
 *   int lw_link_stage(struct lw_link *, uint16_t type, size_t len);
 *   int64_t lw_link_flush(struct lw_link *);
 *   void lw_link_abort(struct lw_link *);
 *   int64_t lw_link_send_batch(struct lw_link *, const struct lw_item *items, size_t count, int64_t timeout);
 *   int lw_link_next(struct lw_link *, struct lw_msg *, int64_t timeout);        (peek)
 *   int lw_link_release(struct lw_link *, const struct lw_msg *);
 *   int lw_link_recv(struct lw_link *, void *buffer, size_t room, struct lw_msg *, int64_t timeout);
 *   void lw_link_rewind(struct lw_link *);
 *   size_t lw_link_max(const struct lw_link *);
 *   const char *lw_link_explain(struct lw_link *);      why there is no room
 *   int64_t lw_link_dispatch(struct lw_link *, enum lw_verdict (*)(const struct lw_msg *, void *), void *user,
 *                            size_t most, int64_t timeout);
 *
 * Besides their errors: LW_EREFUSED (sending, after the server refused), LW_ECLOSED (the link was removed). A link that
 * is down or waiting takes what is sent.
 */

/* More follows: from here on nobody is woken by what is sent (it can be received all the same), until lw_link_uncork()
 * wakes once for all of it. */
LW_API void lw_link_cork(struct lw_link *link);
LW_API void lw_link_uncork(struct lw_link *link);

/* Nothing of what comes is told until it is resumed (`paused` 0): for who has no room for answers, and waits for
 * LW_WRITABLE before it goes on reading. All other events are told; receiving works the same. */
LW_API void lw_link_pause(struct lw_link *link, int paused);

/* Which side of a link over TCP is on this bus. */
enum lw_link_remote { LW_LINK_OF_CLIENT = 1, LW_LINK_OF_SERVER = 2 };

/* Numbers of messages in both directions, since the link was made. A message's own is in lw_msg.number. A server that
 * answers each request once knows from `sent` which requests it had answered before a crash: ask once after accepting,
 * then count; asking for each message costs more than the message. */
struct lw_link_info {
    size_t size; /* sizeof (struct lw_link_info), set by the caller */
    char server[LW_NAME_MAX + 1];
    char client[LW_NAME_MAX + 1];
    enum lw_link_state state; /* as this side sees it; lw_link_list(): as the client does */
    uint64_t sent;            /* number of the next message to send; lw_link_list(): by the client */
    uint64_t taken;           /* so many of them the other side has released */
    uint64_t sent_bytes_unread;
    uint64_t received; /* number of the next message to receive; lw_link_list(): by the client */
    uint64_t released; /* so many of them this side has released */
    uint64_t arrived;  /* so many were sent to this side */
    uint64_t ring_up, ring_down;
    char client_node[LW_NAME_MAX + 1]; /* who has it open, "" when nobody has */
    char server_node[LW_NAME_MAX + 1];
    int client_pid, server_pid; /* 0 when not alive */
    int stuck;                  /* 1: LW_STUCK was told, and LW_MOVING not yet */
    int remote; /* over TCP: enum lw_link_remote, and of the other side there is neither node nor pid. 0: both are here */
    uint64_t connections;         /* since this handle was opened */
    char address[LW_ADDRESS_MAX]; /* where the other side is, "" if not known */
};
#define LW_LINK_INFO_INIT                                                                                              \
    {                                                                                                                  \
        sizeof(struct lw_link_info), {0}, {0}, LW_LINK_WAITING, 0, 0, 0, 0, 0, 0, 0, 0, {0}, {0}, 0, 0, 0, 0, 0, {     \
            0                                                                                                          \
        }                                                                                                              \
    }

/* Code of LW_RENEWED. */
enum lw_renewed {
    LW_RENEWED_THERE =
        1, /* the other host lost what it had not sent yet: what comes from now on is a new beginning, and
                             its numbers are. What had arrived was received before this */
    LW_RENEWED_READER = 2, /* the other side lost what it had received: it is sent again from the first message that it
                              had not told to be released */
    LW_RENEWED_HERE = 3    /* this side lost what it had received: the same, seen from here */
};

/* LW_ECORRUPT, LW_EFORKED. May enter the kernel. */
LW_API int lw_link_stat(struct lw_link *link, struct lw_link_info *info);

LW_API enum lw_link_state lw_link_state(const struct lw_link *link); /* as the last event told */
LW_API const char *lw_link_server(const struct lw_link *link);       /* names; they live as long as the handle */
LW_API const char *lw_link_client(const struct lw_link *link);
LW_API void *lw_link_user(const struct lw_link *link);

/* Client: copies what the server said when it accepted. Returns its length, which may be more than `room`; LW_ESTATE
 * when it did not accept. */
LW_API int lw_link_answer(const struct lw_link *link, void *buffer, size_t room);

/* After LW_DOWN, LW_REFUSED: the other side's words, "" for none, and its code (`code` may be NULL). The text is the
 * link's and good until its next event. */
LW_API const char *lw_link_reason(const struct lw_link *link, int *code);

/* ---- looking at links -------------------------------------------------------------------------------------------- */

/* Calls `each` for every link of the bus (server NULL) or of a server. A non-zero return ends the walk and is returned.
 * A damaged link is told with `info` NULL for the numbers: its names only, and error the code. */
LW_API int lw_link_list(struct lw_bus *bus, const char *server,
                        int (*each)(const struct lw_link_info *info, int error, void *user), void *user);

/* Removes a link with what is in it (`flags`: LW_REMOVE_FORCE of topic.h, also while live processes have it open: they
 * get LW_ECLOSED). `unread` (may be NULL) gets how many messages of both directions nobody had released.
 * Errors: LW_ENAME, LW_ENOLINK, LW_EHELD (who, in the text), LW_ECORRUPT (without force), LW_ESTATE (observing),
 * -EACCES. */
LW_API int lw_link_remove(struct lw_bus *bus, const char *server, const char *client, unsigned flags, uint64_t *unread);

#ifdef __cplusplus
}
#endif
#endif
