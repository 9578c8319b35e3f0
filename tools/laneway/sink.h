/* SPDX-License-Identifier: MIT */
/*
 * sink.h - collects what `laneway sub` writes and knows how much of it has gone out.
 *
 * Bytes are counted from 0. A message may be released when `written` has passed its last byte.
 * The first error stays, and nothing is written after it.
 */
#ifndef LANEWAY_SINK_H
#define LANEWAY_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sink {
    int fd;
    bool file;        /* written at offsets, not one after the other */
    uint64_t base;    /* file offset of byte 0 */
    uint64_t put;     /* bytes taken in */
    uint64_t written; /* bytes gone out */
    int error;        /* -errno */
    int64_t give_up;  /* after a signal: until when to wait for a stuck reader; 0: not yet */
    size_t used;
    char buffer[256 * 1024];
};

void sink_put(void *sink, const char *bytes, size_t len); /* fits struct json */
int sink_flush(struct sink *sink);                        /* 0 or the error */
int sink_look(struct sink *sink);                         /* -EPIPE if nobody is left to read, else the error */

#endif
