/* SPDX-License-Identifier: MIT */
/* fail/run.c - see run.h. */
#include "fail/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "util/topic_util.h"

struct run run;

void run_failed(const char *file, int line, const char *format, ...) {
    va_list args;
    shim_off();
    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "%s; text \"%s\"\n", run.strict ? " (nothing was made to fail any more)" : "", lw_errtext());
    _exit(99);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

/* The text is taken away, so that one that is there afterwards is the call's. */
void run_before(bool counted) {
    lw__fail(0, "%s", "");
    if (counted) shim_on();
}

/* Nothing came, or there is no room yet: no failure. A signal may come at any time, in strict runs too (a child of the test ends). */
static bool is_ordinary(int64_t rc) {
    return rc == LW_EEMPTY || rc == LW_EFULL || rc == -EINTR;
}

int64_t run_after(int64_t rc, bool setup, const char *what, const char *file, int line) {
    shim_off();
    if (rc >= 0 || is_ordinary(rc)) return rc;
    const char *name = lw_errname((int)rc);
    if (run.strict || !shim_struck()) run_failed(file, line, "%s: %s", what, name);
    if (setup && !*lw_errtext()) run_failed(file, line, "%s: %s, and no word why", what, name);
    if (getenv("LW_FAIL_TELL")) {
        const struct shim_report *r = &run.ledger->report;
        fprintf(stderr, "told: %s %s: %s: %s: %s\n", r->name, shim_error(r->error), what, name, lw_errtext());
    }
    return rc;
}

int64_t run_other(int64_t rc, const char *what, const char *file, int line) {
    if (rc >= 0 || is_ordinary(rc) || rc == LW_ESTATE) return rc;
    run_failed(file, line, "the other side: %s: %s", what, lw_errname((int)rc));
}

void run_wait(bool (*turn)(void *arg), void *arg, const char *what) {
    for (int64_t begin = t_now(); !turn(arg);) {
        int64_t now = t_now();
        if (now > begin + LW_MS(100)) shim_relent();
        if (now > begin + LW_SEC(30)) FAILED("waited 30 s for %s", what);
    }
}

/* A child of the one that was killed takes a moment to die of it, and has its name until then. */
static int open_bus(struct lw_bus **bus, const struct lw_bus_options *opt) {
    int rc = lw_bus_open(bus, opt);
    for (int64_t end = t_now() + LW_SEC(20); rc == LW_EHELD && run.ledger->killed && t_now() < end;) {
        t_sleep(LW_MS(1));
        rc = lw_bus_open(bus, opt);
    }
    return rc;
}

bool run_bus(struct lw_bus **bus, const char *dir, const char *node) {
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    opt.dir = dir;
    opt.node = node;
    return SETUP(open_bus(bus, &opt)) >= 0;
}

struct peer {
    int (*body)(void *);
};

static int be_peer(void *arg) {
    static struct shim_report report;
    struct peer *peer = arg;
    shim_begin(&(struct shim_plan){.n = 0}, &report);
    run.strict = true;
    return peer->body(NULL);
}

struct t_child run_peer(int (*body)(void *arg)) {
    struct peer peer = {body};
    return t_fork(be_peer, &peer);
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

void stream_resumes(struct stream *s, uint64_t number) {
    if (run.ledger->killed && number == s->tried) s->sent = number;
    if (number != s->sent) FAILED("%" PRIu64 " messages were accepted, and there are %" PRIu64, s->sent, number);
    s->tried = s->sent;
}

bool stream_send(struct stream *s, stream_send_fn *send, void *handle) {
    char data[TT_MESSAGE];
    size_t len = tt_fill(data, s->sent);
    s->tried = s->sent + 1;
    int64_t rc = CALL(send(handle, tt_type(s->sent), data, len));
    if (rc < 0) {
        s->tried = s->sent;
        return false;
    }
    s->sent = s->tried;
    return true;
}

void stream_came(struct stream *s, const struct lw_msg *msg) {
    uint64_t n = tt_read(msg);
    if (run.ledger->killed && n == s->releasing) s->released = n;
    if (n != s->released || msg->number != n)
        FAILED("message %" PRIu64 ", number %" PRIu64 ", came instead of %" PRIu64, n, msg->number, s->released);
    s->releasing = s->released;
    if (n >= s->tried) FAILED("message %" PRIu64 " came, and was not sent", n);
}

void stream_releasing(struct stream *s, const struct lw_msg *msg) {
    s->releasing = tt_read(msg) + 1;
}

void stream_released(struct stream *s) {
    s->released = s->releasing;
}

bool stream_is_complete(const struct stream *s) {
    return s->released == s->sent;
}
