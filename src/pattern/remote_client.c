/* SPDX-License-Identifier: MIT */
/* pattern/remote_client.c - connecting, and doing so again: at once, then after pauses that grow. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/err.h"
#include "pattern/remote.h"

int lw__remote_prepare(struct lw_link *link, const char *address, const struct lw_link_options *opt) {
    struct lw__remote *r = calloc(1, sizeof *r);
    if (!r) return lw__fail(-ENOMEM, "link %s: no memory", address);
    link->remote = r;
    link->root = LW__ELSEWHERE;
    r->features = opt->flags & LW_LINK_NO_CRC ? 0 : LW__FEATURE_CRC;
    r->retry_most = opt->retry_max ? opt->retry_max : LW__RETRY_MOST;
    r->ring_most = opt->ring_down > LW__RING_MOST ? opt->ring_down : LW__RING_MOST;
    r->random = (uint64_t)lw__now() ^ (uintptr_t)r;
    r->retry_at = INT64_MAX;
    return lw__address_read(&r->address, address, true);
}

/* Clients that lost the same server do not come back all at once. */
static int64_t jittered(struct lw__remote *r, int64_t pause) {
    r->random = r->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return pause / 2 + (int64_t)(r->random >> 33) % (pause / 2 + 1);
}

/* The first try after a connection was lost is made at once. */
void lw__remote_retry(struct lw__remote *r) {
    if (r->link->root != LW__ELSEWHERE) return;
    int64_t pause = 0;
    if (r->tries) {
        pause = LW__RETRY_FIRST;
        for (unsigned i = 1; i < r->tries && pause < r->retry_most; i++) pause *= 2;
        if (pause > r->retry_most) pause = r->retry_most;
        pause = jittered(r, pause);
    }
    r->tries++;
    r->retry_at = lw__now() + pause;
}

static void begin(struct lw__remote *r, int64_t now) {
    r->beat_at = now + LW__BEAT;
    r->give_up_at = now + LW__CONNECT_WITHIN;
    r->patience = LW__BEAT * LW__SILENT_BEATS;
    r->silent = 0;
    r->reads = r->went = 0;
    if (r->conn->connecting) {
        lw__source_watch(&r->link->source, r->conn->fd, EPOLLIN | EPOLLOUT);
        return;
    }
    r->conn->connecting = true; /* a Unix socket is at once: the same way */
    lw__remote_drive(r);
}

void lw__remote_connect(struct lw__remote *r, int64_t now) {
    if (r->conn) return;
    r->conn = lw__conn_make(-1, false, r->features);
    if (!r->conn) {
        lw__remote_retry(r);
        return;
    }
    int rc = lw__conn_connect(r->conn, &r->address, LW__BEAT * LW__SILENT_BEATS);
    if (rc)
        lw__remote_lose(r, rc, "connecting to %s: %s", r->address.text, strerror(-rc));
    else
        begin(r, now);
}
