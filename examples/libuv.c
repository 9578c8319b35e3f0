/* SPDX-License-Identifier: MIT */
/*
 * examples/libuv.c - a group in libuv's loop: a timer sends an order to the server "desk" (examples/server.c) every 20 ms,
 * ten of them, and the loop tells when an answer is there.
 *
 *     cc -std=gnu11 libuv.c -o libuv $(pkg-config --cflags --libs laneway libuv)
 *     ./server & ./libuv
 *
 * uv_poll_t watches the group's descriptor; uv_prepare_t runs each time before the loop sleeps, and arms the group.
 */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "laneway/laneway.h"

struct order {
    int lots;
    double price;
};

enum { ORDERS = 10 };

static struct lw_group *group;
static struct lw_link *link_to_desk;
static uv_poll_t poller;
static uv_prepare_t before_sleep;
static uv_timer_t timer;
static uint64_t sent, outstanding;

static _Noreturn void fail(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void arm(uv_prepare_t *handle) {
    (void)handle;
    lw_group_arm(group); /* if there is something already, the descriptor says so, too */
}

static void send_order(uv_timer_t *handle) {
    struct order order = {1 + (int)sent, 99.5};
    int64_t position = lw_link_send(link_to_desk, 1, &order, sizeof order, 0);
    if (position < 0) fail(lw_strerror((int)position));
    outstanding++;
    if (++sent == ORDERS) uv_timer_stop(handle);
}

static void show_answers(void) {
    struct lw_msg msg;
    int got;
    while ((got = lw_link_next(link_to_desk, &msg, 0)) == 1) {
        if (msg.len == sizeof(double)) printf("%.3f\n", *(const double *)msg.data);
        lw_link_release(link_to_desk, &msg);
        outstanding--;
    }
    if (got != LW_EEMPTY) fail(lw_strerror(got)); /* removed, or damaged */
}

/* What the group has, without waiting: the loop waits. */
static void poll_group(uv_poll_t *handle, int status, int what) {
    struct lw_event events[16];
    (void)what;
    int n = status ? status : lw_group_poll(group, events, 16, 0);
    if (n < 0) fail(status ? uv_strerror(status) : lw_strerror(n));
    for (int i = 0; i < n; i++)
        if (events[i].kind == LW_READABLE) show_answers();
    if (sent == ORDERS && !outstanding) uv_stop(handle->loop);
}

static void run(uv_loop_t *loop) {
    uv_poll_init(loop, &poller, lw_group_fd(group));
    uv_prepare_init(loop, &before_sleep);
    uv_timer_init(loop, &timer);
    uv_poll_start(&poller, UV_READABLE, poll_group);
    uv_prepare_start(&before_sleep, arm);
    uv_timer_start(&timer, send_order, 0, 20);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&poller, NULL);
    uv_close((uv_handle_t *)&before_sleep, NULL);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_DEFAULT); /* closes them */
    uv_loop_close(loop);
}

int main(void) {
    struct lw_bus *bus;
    struct lw_link_info info = LW_LINK_INFO_INIT;
    struct lw_link_options options = {.size = sizeof options, .as = "libuv"};
    if (lw_bus_open(&bus, NULL) || lw_group_open(&group, bus, NULL) ||
        lw_link_open(&link_to_desk, group, "desk", &options))
        fail(lw_errtext());
    if (lw_link_stat(link_to_desk, &info) == 0) outstanding = info.sent - info.received; /* of an earlier run */
    run(uv_default_loop());
    lw_link_close(link_to_desk, 0, NULL);
    return lw_group_close(group) || lw_bus_close(bus);
}
