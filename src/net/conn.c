/* SPDX-License-Identifier: MIT */
#include "net/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"

enum { BACKLOG = 4096, PIECES = 4 };

struct lw__conn *lw__conn_make(int fd, bool server, uint64_t features) {
    struct lw__conn *c = malloc(sizeof *c);
    if (!c) return NULL;
    c->fd = fd;
    c->connecting = c->full = c->moved = false;
    memset(&c->greeting, 0, sizeof c->greeting); /* a refusal names its session */
    lw__wire_init(&c->wire, server, features, &c->greeting);
    return c;
}

/* Closing a socket with bytes that nobody has read makes the kernel take back what it has not sent yet. */
static void end(int fd) {
    char rest[4096];
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 64 && recv(fd, rest, sizeof rest, MSG_DONTWAIT) > 0; i++) continue;
    close(fd);
}

void lw__conn_free(struct lw__conn *c) {
    if (!c) return;
    if (c->fd >= 0) end(c->fd);
    free(c);
}

/* ---- connecting ---------------------------------------------------------------------------------------------------- */

/* What fails here is a wish of ours, no more: small messages at once, and no endless wait for a dead host. */
static void set_up(int fd, int64_t give_up) {
    int on = 1;
    unsigned ms = (unsigned)(give_up / 1000000);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

static bool is_same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
    if (a->ss_family != b->ss_family) return false;
    if (a->ss_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr == ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    return a->ss_family == AF_INET6 &&
           memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr, &((const struct sockaddr_in6 *)b)->sin6_addr,
                  sizeof(struct in6_addr)) == 0;
}

/* Nothing is congested within a host, and a control that paces what goes (bbr) costs a timer a packet there, and half the
 * rate. This one does not, and every kernel has it for everybody. Between hosts the administrator decides. */
static void pace_not(int fd) {
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

static bool is_loopback(const struct lw__address *a) {
    const struct sockaddr_storage *s = &a->socket;
    if (s->ss_family == AF_INET) return ntohl(((const struct sockaddr_in *)s)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return s->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)s)->sin6_addr);
}

/* Where it turns out only now: what has begun to pace goes on with that, at the pace of the other control. */
static void pace_not_within(int fd) {
    struct sockaddr_storage here = {.ss_family = AF_UNSPEC}, there = {.ss_family = AF_UNSPEC};
    socklen_t here_size = sizeof here, there_size = sizeof there;
    if (getsockname(fd, (struct sockaddr *)&here, &here_size)) return;
    if (getpeername(fd, (struct sockaddr *)&there, &there_size)) return;
    if (is_same_address(&here, &there)) pace_not(fd);
}

int lw__conn_connect(struct lw__conn *c, const struct lw__address *a, int64_t give_up) {
    c->fd = socket(a->socket.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) return -errno;
    set_up(c->fd, give_up);
    if (is_loopback(a)) pace_not(c->fd);
    int rc = connect(c->fd, (const struct sockaddr *)&a->socket, a->length) ? -errno : 0;
    if (rc == -EINPROGRESS || rc == -EINTR) {
        c->connecting = true;
        return 0;
    }
    if (rc) {
        close(c->fd);
        c->fd = -1;
    }
    return rc;
}

int lw__conn_finish(struct lw__conn *c) {
    int error = 0;
    socklen_t size = sizeof error;
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size)) return -errno;
    if (error) return -error;
    if (getpeername(c->fd, (struct sockaddr *)&peer, &length)) return errno == ENOTCONN ? 1 : -errno;
    c->connecting = false;
    pace_not_within(c->fd);
    return 0;
}

/* ---- bytes --------------------------------------------------------------------------------------------------------- */

int64_t lw__conn_read(struct lw__conn *c, bool *more) {
    struct iovec to[2];
    int n = lw__wire_want(&c->wire, to);
    size_t room = to[0].iov_len + (n > 1 ? to[1].iov_len : 0);
    *more = false;
    if (!room) return -EMSGSIZE; /* a frame that does not fit was refused before */
    ssize_t got = n == 1 ? recv(c->fd, to[0].iov_base, to[0].iov_len, 0) : readv(c->fd, to, n);
    if (got < 0) return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (got == 0) return LW_ECLOSED;
    *more = (size_t)got == room;
    lw__wire_got(&c->wire, (size_t)got);
    return got;
}

static ssize_t send_pieces(int fd, struct iovec *from, int pieces) {
    struct msghdr msg = {.msg_iov = from, .msg_iovlen = (size_t)pieces};
    if (pieces == 1) return send(fd, from->iov_base, from->iov_len, MSG_NOSIGNAL);
    return sendmsg(fd, &msg, MSG_NOSIGNAL);
}

int lw__conn_write(struct lw__conn *c) {
    while (lw__wire_has_output(&c->wire)) {
        struct iovec from[PIECES];
        ssize_t went = send_pieces(c->fd, from, lw__wire_put(&c->wire, from));
        if (went < 0 && errno == EINTR) continue;
        c->full = went < 0 && errno == EAGAIN;
        if (c->full) return 1;
        if (went < 0) return -errno;
        lw__wire_sent(&c->wire, (size_t)went);
        c->moved = true;
    }
    c->full = false;
    return 0;
}

void lw__conn_peer(const struct lw__conn *c, char text[LW__ADDRESS_MAX]) {
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof peer;
    getpeername(c->fd, (struct sockaddr *)&peer, &length);
    lw__address_show((struct sockaddr *)&peer, text);
}

/* ---- listening ----------------------------------------------------------------------------------------------------- */

static bool is_socket(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* A socket file whose listener is dead is in the way of nobody. What is no socket refuses a connection as well, and stays. */
static int bind_unix(int fd, const struct lw__address *a) {
    const struct sockaddr *to = (const struct sockaddr *)&a->socket;
    if (fchmod(fd, 0600)) return -errno; /* else it is anybody's who may enter the folder */
    if (bind(fd, to, a->length) == 0) return 0;
    if (errno != EADDRINUSE) return -errno;
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool dead = probe >= 0 && connect(probe, to, a->length) && errno == ECONNREFUSED;
    if (probe >= 0) close(probe);
    if (!dead || !is_socket(((const struct sockaddr_un *)to)->sun_path)) return -EADDRINUSE;
    unlink(((const struct sockaddr_un *)to)->sun_path);
    return bind(fd, to, a->length) ? -errno : 0;
}

static int bind_to(int fd, const struct lw__address *a) {
    int on = 1;
    if (a->socket.ss_family == AF_UNIX) return bind_unix(fd, a);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->socket.ss_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    return bind(fd, (const struct sockaddr *)&a->socket, a->length) ? -errno : 0;
}

int lw__listen(struct lw__address *a) {
    int fd = socket(a->socket.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rc = fd < 0 ? -errno : bind_to(fd, a);
    if (fd >= 0 && is_loopback(a)) pace_not(fd); /* and all that are accepted */
    if (!rc && listen(fd, BACKLOG)) rc = -errno;
    if (rc) {
        if (fd >= 0) close(fd);
        return lw__fail(rc, "listening at %s: %s%s", a->text, strerror(-rc),
                        rc == -EADDRINUSE ? "; another program does, give another port or path" : "");
    }
    socklen_t length = sizeof a->socket;
    getsockname(fd, (struct sockaddr *)&a->socket, &length);
    return fd;
}

int lw__accept(int listener, int64_t give_up) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return errno == ECONNABORTED || errno == EINTR ? -EINTR : -errno;
    set_up(fd, give_up);
    pace_not_within(fd);
    return fd;
}

void lw__unlisten(int listener, const struct lw__address *a) {
    close(listener);
    if (a->socket.ss_family == AF_UNIX) unlink(((const struct sockaddr_un *)&a->socket)->sun_path);
}
