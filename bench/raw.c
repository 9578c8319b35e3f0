/* SPDX-License-Identifier: MIT */
/* bench/raw.c - a bare TCP connection over loopback. */
#include "raw.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- connecting --------------------------------------------------------------------------- */

/* As links over TCP have them: small pieces at once, and no pacing within a host, whatever the machine's default is. Sockets
 * that are accepted inherit it. */
static int new_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    return fd;
}

/* A socket that listens at a free port of loopback; `at` gets the address. */
static int listener(struct sockaddr_in *at) {
    socklen_t length = sizeof *at;
    int fd = new_socket();
    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0) return -1;
    if (!bind(fd, (struct sockaddr *)at, length) && !listen(fd, 1) && !getsockname(fd, (struct sockaddr *)at, &length))
        return fd;
    close(fd);
    return -1;
}

static int connect_to(const struct sockaddr_in *at) {
    int fd = new_socket();
    if (fd < 0 || !connect(fd, (const struct sockaddr *)at, sizeof *at)) return fd;
    close(fd);
    return -1;
}

int raw_open(int fds[2]) {
    struct sockaddr_in at;
    int door = listener(&at);
    fds[0] = door < 0 ? -1 : connect_to(&at);
    fds[1] = fds[0] < 0 ? -1 : accept4(door, NULL, NULL, SOCK_CLOEXEC);
    int error = errno;
    if (door >= 0) close(door);
    if (fds[1] < 0) {
        if (fds[0] >= 0) close(fds[0]);
        return fail(-error, "no TCP connection over loopback");
    }
    return 0;
}

void raw_close(const int fds[2]) {
    close(fds[0]);
    close(fds[1]);
}

struct raw raw_side(struct duo *duo, const int fds[2], enum raw_wait wait) {
    struct raw raw = {.fd = fds[duo->side], .wait = wait, .epoll = -1};
    struct epoll_event event = {.events = EPOLLIN};
    close(fds[!duo->side]);
    if (wait != RAW_EPOLL) return raw;
    raw.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (raw.epoll < 0 || epoll_ctl(raw.epoll, EPOLL_CTL_ADD, raw.fd, &event))
        duo_fail(duo, "epoll: %s", strerror(errno));
    return raw;
}

void raw_done(const struct raw *raw) {
    if (raw->epoll >= 0) close(raw->epoll);
    close(raw->fd);
}

/* ---- bytes -------------------------------------------------------------------------------- */

static int flags_of(const struct raw *raw) {
    return raw->wait == RAW_BLOCK ? 0 : MSG_DONTWAIT;
}

static bool again(ssize_t n) {
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void wait_for_room(const struct raw *raw) {
    if (raw->wait == RAW_EPOLL) poll(&(struct pollfd){.fd = raw->fd, .events = POLLOUT}, 1, -1);
}

void raw_send(struct duo *duo, const struct raw *raw, const void *data, size_t size) {
    for (const char *at = data; size;) {
        ssize_t n = send(raw->fd, at, size, flags_of(raw) | MSG_NOSIGNAL);
        if (again(n))
            wait_for_room(raw);
        else if (n < 0)
            duo_fail(duo, "send: %s", strerror(errno));
        else
            at += n, size -= (size_t)n;
    }
}

size_t raw_recv_some(struct duo *duo, const struct raw *raw, void *buffer, size_t room) {
    struct epoll_event event;
    ssize_t n;
    do {
        if (raw->wait == RAW_EPOLL && epoll_wait(raw->epoll, &event, 1, -1) < 0 && errno != EINTR)
            duo_fail(duo, "epoll_wait: %s", strerror(errno));
        n = recv(raw->fd, buffer, room, flags_of(raw));
    } while (again(n));
    if (n <= 0) duo_fail(duo, "recv: %s", n ? strerror(errno) : "the other side has gone");
    return (size_t)n;
}

void raw_recv(struct duo *duo, const struct raw *raw, void *buffer, size_t size) {
    for (char *at = buffer; size;) {
        size_t n = raw_recv_some(duo, raw, at, size);
        at += n;
        size -= n;
    }
}
