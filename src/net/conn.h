/* SPDX-License-Identifier: MIT */
/*
 * net/conn.h - a connection: a socket that never blocks, and the session that runs over it. The only place that connects,
 * listens, sends and receives.
 */
#ifndef LW_NET_CONN_H
#define LW_NET_CONN_H

#include "net/address.h"
#include "wire/session.h"

struct lw__conn {
    int fd; /* -1: none */
    bool connecting;
    bool full;  /* the socket takes no more for now: wait until it can be written */
    bool moved; /* something went; set back by whoever asks */
    struct lw__wire wire;
    struct lw__greeting greeting; /* the other side's */
};

/* A fresh one, around a socket or none (-1). Large: made by malloc, freed by free. NULL: no memory. */
struct lw__conn *lw__conn_make(int fd, bool server, uint64_t features);

/* Closes the socket; what was given to it still goes, as far as it can. Frees. NULL is fine. */
void lw__conn_free(struct lw__conn *conn);

/* Begins to connect. 0: it is, or will be (`connecting`); -errno. Never waits. */
int lw__conn_connect(struct lw__conn *conn, const struct lw__address *address, int64_t give_up);

/* The socket can be written. 0: connected, 1: not yet, -errno: it will not be. */
int lw__conn_finish(struct lw__conn *conn);

/* Reads once. Bytes; 0: there is nothing now; -errno; LW_ECLOSED: the other side has ended it. `more`: there may be more. */
int64_t lw__conn_read(struct lw__conn *conn, bool *more);

/* Sends what is queued. 0: all went; 1: `full`; -errno. */
int lw__conn_write(struct lw__conn *conn);

/* Where the other side is. */
void lw__conn_peer(const struct lw__conn *conn, char text[LW__ADDRESS_MAX]);

/* A socket that listens, or -errno with text. `address` gets the port that was chosen. */
int lw__listen(struct lw__address *address);

/* The next one who wants in: a socket; -EAGAIN: nobody; -errno. */
int lw__accept(int listener, int64_t give_up);

/* Opens a listener's socket file no more. */
void lw__unlisten(int listener, const struct lw__address *address);

#endif
