/* SPDX-License-Identifier: MIT */
/* util/socket_util.h - bare sockets for tests: a server that only listens, a proxy before it, bytes of a pattern. */
#ifndef LW_TESTS_SOCKET_UTIL_H
#define LW_TESTS_SOCKET_UTIL_H

#include <netinet/in.h>

#include "util/proxy.h"
#include "util/util.h"

struct ts_net {
    struct proxy *proxy;
    int listener, port; /* the server's */
};

struct ts_ends {
    int fd[2]; /* the client's, the server's */
};

/* A socket that gives up after 20 s, so that no test waits for ever. */
int ts_patient(int fd);
int ts_listen(const struct sockaddr *where, socklen_t len);
struct sockaddr_in ts_at_port(int port);

struct ts_net ts_open(void);
void ts_close(struct ts_net *n);

/* Through the proxy. -1 with errno: not connected. */
int ts_connect(const struct ts_net *n);
struct ts_ends ts_join(const struct ts_net *n);
/* One connection with this plan, and none for those after it. */
struct ts_ends ts_join_with(const struct ts_net *n, struct proxy_plan plan);
void ts_part(struct ts_ends *e);
/* Closes one with a reset. */
void ts_reset(int fd);

/* ---- bytes of a pattern; the first has number `from` ------------------------------------------------------------- */

enum { TS_RST = -1 };

/* Sends n. False: it was reset; as that was told here, the next recv() tells of an end. */
bool ts_say(int fd, size_t from, size_t n);
/* Waits until the other side's kernel has all that was said. */
void ts_arrived(int fd);
/* Receives up to number `to`. Fails if it ends before. */
void ts_hear(int fd, size_t from, size_t to);
/* Receives to the end, and returns the number after the last. *how: 0 or TS_RST. */
size_t ts_hear_all(int fd, size_t from, int *how);
/* The same, but all of it is known. */
void ts_ends(int fd, size_t from, size_t to, int how);
/* Nothing is to be received for a moment, nor an end. */
void ts_silent(int fd);

/* A thread that says so many bytes. */
struct ts_talk {
    int fd;
    size_t bytes;
};
void *ts_say_all(void *talk);

#endif
