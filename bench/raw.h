/* SPDX-License-Identifier: MIT */
/*
 * bench/raw.h - a bare TCP connection over loopback between the two sides of a measurement: what links over TCP are
 * compared with.
 */
#ifndef BENCH_RAW_H
#define BENCH_RAW_H

#include "duo.h"

/* Connects two sockets, one for each side, without Nagle's delay. For the parent, before the sides are made. 0, or the exit
 * code after saying what failed. */
int raw_open(int fds[2]);
void raw_close(const int fds[2]);

enum raw_wait {
    RAW_SPIN,  /* looks again at once */
    RAW_BLOCK, /* in recv and send */
    RAW_EPOLL  /* in epoll_wait, and calls recv when there is something */
};

/* One side's. */
struct raw {
    int fd;
    enum raw_wait wait;
    int epoll; /* RAW_EPOLL */
};

struct raw raw_side(struct duo *duo, const int fds[2], enum raw_wait wait);
void raw_done(const struct raw *raw);

/* All of it. */
void raw_send(struct duo *duo, const struct raw *raw, const void *data, size_t size);
void raw_recv(struct duo *duo, const struct raw *raw, void *buffer, size_t size);

/* What is there, at least a byte. Returns how much. */
size_t raw_recv_some(struct duo *duo, const struct raw *raw, void *buffer, size_t room);

#endif
