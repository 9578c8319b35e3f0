/* SPDX-License-Identifier: MIT */
/* util/socket_util.c - see socket_util.h. */
#include "util/socket_util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATTERN = 251 };

/* ---- sockets ----------------------------------------------------------------------------------------------------- */

int ts_patient(int fd) {
    const struct timeval limit = {.tv_sec = 20};
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
    return fd;
}

struct sockaddr_in ts_at_port(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

int ts_listen(const struct sockaddr *where, socklen_t len) {
    int fd = ts_patient(socket(where->sa_family, SOCK_STREAM, 0));
    assert_int_equal(bind(fd, where, len), 0);
    assert_int_equal(listen(fd, 1000), 0);
    return fd;
}

struct ts_net ts_open(void) {
    struct sockaddr_in a = ts_at_port(0);
    socklen_t len = sizeof a;
    struct ts_net n = {.listener = ts_listen((struct sockaddr *)&a, sizeof a)};
    char upstream[64];
    assert_int_equal(getsockname(n.listener, (struct sockaddr *)&a, &len), 0);
    n.port = ntohs(a.sin_port);
    snprintf(upstream, sizeof upstream, "127.0.0.1:%d", n.port);
    n.proxy = proxy_start(upstream);
    assert_non_null(n.proxy);
    return n;
}

void ts_close(struct ts_net *n) {
    proxy_stop(n->proxy);
    close(n->listener);
}

int ts_connect(const struct ts_net *n) {
    struct sockaddr_in a = ts_at_port(proxy_port(n->proxy));
    int fd = ts_patient(socket(AF_INET, SOCK_STREAM, 0));
    if (!connect(fd, (struct sockaddr *)&a, sizeof a)) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

struct ts_ends ts_join(const struct ts_net *n) {
    struct ts_ends e;
    e.fd[0] = ts_connect(n);
    assert_true(e.fd[0] >= 0);
    e.fd[1] = ts_patient(accept(n->listener, NULL, NULL));
    return e;
}

struct ts_ends ts_join_with(const struct ts_net *n, struct proxy_plan plan) {
    proxy_set(n->proxy, &plan);
    struct ts_ends e = ts_join(n);
    proxy_set(n->proxy, NULL);
    return e;
}

void ts_part(struct ts_ends *e) {
    close(e->fd[0]);
    close(e->fd[1]);
}

void ts_reset(int fd) {
    const struct linger none = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
}

/* ---- bytes: each is told by where it stands ---------------------------------------------------------------------- */

bool ts_say(int fd, size_t from, size_t n) {
    char bytes[4096];
    while (n) {
        size_t some = n < sizeof bytes ? n : sizeof bytes;
        for (size_t i = 0; i < some; i++) bytes[i] = (char)((from + i) % PATTERN);
        ssize_t sent = send(fd, bytes, some, MSG_NOSIGNAL);
        if (sent < 0) {
            T_NEED(errno == EPIPE || errno == ECONNRESET);
            return false;
        }
        from += (size_t)sent;
        n -= (size_t)sent;
    }
    return true;
}

void ts_arrived(int fd) {
    int left;
    T_UNTIL(!ioctl(fd, SIOCOUTQ, &left) && left == 0);
}

void ts_hear(int fd, size_t from, size_t to) {
    char bytes[4096];
    while (from < to) {
        ssize_t n = recv(fd, bytes, to - from < sizeof bytes ? to - from : sizeof bytes, 0);
        if (n <= 0) fail_msg("it ends at byte %zu instead of %zu: %s", from, to, n ? strerror(errno) : "closed");
        for (ssize_t i = 0; i < n; i++) assert_int_equal(bytes[i], (char)(from++ % PATTERN));
    }
}

size_t ts_hear_all(int fd, size_t from, int *how) {
    char bytes[4096];
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0)
        for (ssize_t i = 0; i < n; i++) assert_int_equal(bytes[i], (char)(from++ % PATTERN));
    if (n < 0) assert_int_equal(errno, ECONNRESET);
    *how = n < 0 ? TS_RST : 0;
    return from;
}

void ts_ends(int fd, size_t from, size_t to, int how) {
    int was;
    assert_int_equal(ts_hear_all(fd, from, &was), to);
    assert_int_equal(was, how);
}

void ts_silent(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLRDHUP};
    assert_int_equal(poll(&p, 1, 20), 0);
}

void *ts_say_all(void *talk) {
    const struct ts_talk *t = talk;
    ts_say(t->fd, 0, t->bytes);
    return NULL;
}
