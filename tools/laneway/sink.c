/* SPDX-License-Identifier: MIT */
/* sink.c - see sink.h. */
#include "sink.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

/* After a signal we still finish, but do not wait for a reader that has stopped: -ETIMEDOUT. */
static ssize_t write_stopping(struct sink *sink, const char *bytes, size_t len) {
    struct pollfd out = {sink->fd, POLLOUT, 0};
    int64_t now = now_ns();
    if (!sink->give_up) sink->give_up = now + LW_SEC(1);
    if (now > sink->give_up) {
        errno = ETIMEDOUT;
        return -1;
    }
    if (poll(&out, 1, 100) < 1) return 0;
    return write(sink->fd, bytes, len < PIPE_BUF ? len : PIPE_BUF);
}

static ssize_t write_some(struct sink *sink, const char *bytes, size_t len) {
    if (sink->file) return pwrite(sink->fd, bytes, len, (off_t)(sink->base + sink->written));
    return stop_asked() ? write_stopping(sink, bytes, len) : write(sink->fd, bytes, len);
}

/* Somebody made our stdout non-blocking: wait until it takes more. */
static void wait_writable(const struct sink *sink) {
    struct pollfd out = {sink->fd, POLLOUT, 0};
    poll(&out, 1, WAIT_SLICE_MS);
}

static void write_all(struct sink *sink, const char *bytes, size_t len) {
    while (len && !sink->error) {
        ssize_t n = write_some(sink, bytes, len);
        if (n < 0 && errno == EAGAIN)
            wait_writable(sink);
        else if (n < 0 && errno != EINTR)
            sink->error = -errno;
        if (n <= 0) continue;
        sink->written += (uint64_t)n;
        bytes += n;
        len -= (size_t)n;
    }
}

int sink_flush(struct sink *sink) {
    write_all(sink, sink->buffer, sink->used);
    sink->used = 0;
    return sink->error;
}

/* A pipe without a reader. Without this, `laneway sub t | head -1` would stay until the next message. */
int sink_look(struct sink *sink) {
    struct pollfd out = {sink->fd, 0, 0};
    if (!sink->error && !sink->file && poll(&out, 1, 0) == 1 && (out.revents & POLLERR)) sink->error = -EPIPE;
    return sink->error;
}

void sink_put(void *to, const char *bytes, size_t len) {
    struct sink *sink = to;
    sink->put += len;
    if (len > sizeof sink->buffer - sink->used) sink_flush(sink);
    if (len > sizeof sink->buffer) {
        write_all(sink, bytes, len);
    } else if (len) {
        memcpy(sink->buffer + sink->used, bytes, len);
        sink->used += len;
    }
}
