/* SPDX-License-Identifier: MIT */
/*
 * examples/epoll.c - a program with a loop of its own: epoll waits for stdin and for a group at once. Each line of stdin,
 * "LOTS PRICE", is an order to the server "desk" (examples/server.c); it ends when stdin has and all is answered.
 *
 *     cc -std=c11 epoll.c -o epoll $(pkg-config --cflags --libs laneway)
 *     ./server & seq -f '%g 99.5' 5 | ./epoll
 *
 * lw_group_arm() each time before the loop sleeps: it tells those who send that they have to wake us.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "laneway/laneway.h"

struct order {
    int lots;
    double price;
};

enum { ORDERS, GROUP };

static uint64_t outstanding;

static _Noreturn void fail(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void watch(int epoll, int fd, uint32_t what) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = what};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) fail("stdin: give it a pipe or a terminal");
}

static void send_order(struct lw_link *link, const char *line) {
    struct order order;
    if (sscanf(line, "%d %lf", &order.lots, &order.price) != 2) fail("an order is LOTS PRICE");
    int64_t position = lw_link_send(link, 1, &order, sizeof order, LW_SEC(10));
    if (position < 0) fail(lw_strerror((int)position));
    outstanding++;
}

/* Some of stdin: whole lines are sent, the beginning of another one is kept. False at its end. */
static int read_orders(struct lw_link *link) {
    static char text[4096];
    static size_t used;
    char *line = text, *end;
    ssize_t n = read(STDIN_FILENO, text + used, sizeof text - 1 - used);
    if (n <= 0) return 0;
    text[used += (size_t)n] = '\0';
    for (; (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        send_order(link, line);
    }
    used = strlen(line);
    memmove(text, line, used);
    return used < sizeof text - 1;
}

static void show_answers(struct lw_link *link) {
    struct lw_msg msg;
    int got;
    while ((got = lw_link_next(link, &msg, 0)) == 1) {
        if (msg.len == sizeof(double)) printf("%.3f\n", *(const double *)msg.data);
        lw_link_release(link, &msg);
        outstanding--;
    }
    if (got != LW_EEMPTY) fail(lw_strerror(got)); /* removed, or damaged */
}

/* What the group has, without waiting: the loop waits. */
static void poll_group(struct lw_group *group) {
    struct lw_event events[16];
    int n = lw_group_poll(group, events, 16, 0);
    if (n < 0) fail(lw_strerror(n));
    for (int i = 0; i < n; i++)
        if (events[i].kind == LW_READABLE) show_answers(events[i].link);
}

int main(void) {
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_link *link;
    struct lw_link_info info = LW_LINK_INFO_INIT;
    struct lw_link_options options = {.size = sizeof options, .as = "epoll"};
    struct epoll_event event;
    if (lw_bus_open(&bus, NULL) || lw_group_open(&group, bus, NULL) || lw_link_open(&link, group, "desk", &options))
        fail(lw_errtext());
    if (lw_link_stat(link, &info) == 0) outstanding = info.sent - info.received; /* of an earlier run */
    int epoll = epoll_create1(EPOLL_CLOEXEC), open = 1;
    watch(epoll, STDIN_FILENO, ORDERS);
    watch(epoll, lw_group_fd(group), GROUP);
    while (open || outstanding) {
        lw_group_arm(group); /* if there is something already, the descriptor says so, too */
        int n = epoll_wait(epoll, &event, 1, -1);
        if (n < 0 && errno != EINTR) fail(strerror(errno));
        if (n == 1 && event.data.u32 == GROUP) poll_group(group);
        if (n == 1 && event.data.u32 == ORDERS && !(open = read_orders(link)))
            epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    }
    close(epoll);
    lw_link_close(link, 0, NULL);
    return lw_group_close(group) || lw_bus_close(bus);
}
