/* SPDX-License-Identifier: MIT */
/* fail/fork.c - scenario: a process with all kinds of handles forks, and the child's calls fail, and what it does anew. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fail/run.h"
#include "util/topic_util.h"

struct handles {
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_pub *pub;
    struct lw_sub *sub;
    struct lw_link *link;
    struct lw_server *server;
};

static int64_t send_to(void *pub, uint16_t type, const void *data, size_t len) {
    return lw_pub_send(pub, type, data, len, 0);
}

static bool open_all(struct handles *h) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct lw_sub_options opt = LW_SUB_OPTIONS_INIT;
    opt.name = "risk";
    opt.shape.ring = TT_RING;
    bool ok = run_bus(&h->bus, run.dir, "alice") && SETUP(lw_group_open(&h->group, h->bus, NULL)) >= 0 &&
              SETUP(lw_sub_open(&h->sub, h->bus, "prices", &opt)) >= 0 &&
              SETUP(lw_pub_open(&h->pub, h->bus, "prices", NULL)) >= 0 &&
              SETUP(lw_sub_move(h->sub, h->group, NULL)) >= 0 &&
              SETUP(lw_link_open(&h->link, h->group, "gateway", NULL)) >= 0 &&
              SETUP(lw_server_open(&h->server, h->group, "desk", NULL)) >= 0 &&
              SETUP(lw_topic_stat(h->bus, "prices", &info)) >= 0;
    if (ok) stream_resumes(&run.ledger->streams[0], info.number);
    return ok;
}

static void close_all(struct handles *h) {
    VOID(lw_pub_close(h->pub));
    VOID(lw_sub_close(h->sub));
    VOID(lw_link_close(h->link, 0, NULL));
    VOID(lw_server_close(h->server));
    NEED(CALL(lw_group_close(h->group)) == 0);
    NEED(CALL(lw_bus_close(h->bus)) == 0);
    memset(h, 0, sizeof *h);
}

/* Not CALL(): an error is what is wanted; after a failure it may be another one. */
#define REFUSED(call)                                                                                                  \
    do {                                                                                                               \
        shim_on();                                                                                                     \
        int64_t refused_ = (call);                                                                                     \
        shim_off();                                                                                                    \
        bool other_ = refused_ < 0 && shim_struck();                                                                   \
        if (refused_ != LW_EFORKED && !other_) FAILED("in a child: %s gives %s", #call, lw_errname((int)refused_));    \
    } while (0)

static void inherited(struct handles *h) {
    struct lw_msg msg;
    struct lw_event event;
    struct lw_sub *sub;
    struct lw_link_info info = LW_LINK_INFO_INIT;
    REFUSED(lw_pub_send(h->pub, 1, "x", 1, 0));
    REFUSED(lw_sub_next(h->sub, &msg, 0));
    REFUSED(lw_group_poll(h->group, &event, 1, 0));
    REFUSED(lw_link_send(h->link, 1, "x", 1, 0));
    REFUSED(lw_link_stat(h->link, &info));
    REFUSED(lw_sub_open(&sub, h->bus, "prices", NULL));
    close_all(h);
}

/* What it opens itself is its own. */
static void anew(void) {
    struct lw_bus *bus;
    struct lw_sub *sub = NULL;
    if (run_bus(&bus, run.dir, "child")) SETUP(lw_sub_open(&sub, bus, "prices", NULL));
    VOID(lw_sub_close(sub));
    NEED(CALL(lw_bus_close(bus)) == 0);
}

static void be_child(struct handles *h, int descriptors) {
    inherited(h);
    if (t_descriptors() != descriptors)
        FAILED("%d descriptors in the child, there were %d", t_descriptors(), descriptors);
    anew();
    if (t_descriptors() != descriptors)
        FAILED("%d descriptors in the child, there were %d", t_descriptors(), descriptors);
    _exit(0);
}

static void wait_for(pid_t child) {
    int status;
    while (waitpid(child, &status, 0) < 0) NEED(errno == EINTR);
    bool meant = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && shim_struck();
    if (status && !meant) FAILED("the child ends with status 0x%x", (unsigned)status);
}

/* The parent has lost nothing. */
static void go_on(struct handles *h) {
    struct stream *s = &run.ledger->streams[0];
    struct lw_msg msg;
    stream_send(s, send_to, h->pub);
    while (CALL(lw_sub_next(h->sub, &msg, 0)) == 1) {
        stream_came(s, &msg);
        stream_releasing(s, &msg);
        NEED(CALL(lw_sub_release(h->sub, &msg)) == 0);
        stream_released(s);
    }
}

static void forking(void) {
    struct handles h = {0};
    pid_t child = 0;
    int descriptors = t_descriptors();
    if (open_all(&h)) {
        VOID(child = fork());
        if (child == 0) be_child(&h, descriptors);
        NEED(child > 0);
        wait_for(child);
        go_on(&h);
    }
    close_all(&h);
}

const struct scenario fork_scenarios[] = {
    {"fork", NULL, forking, false},
    {0},
};
