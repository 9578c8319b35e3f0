/* SPDX-License-Identifier: MIT */
/*
 * examples/server.c - the server "desk": answers each order of its clients once, until it is interrupted.
 *
 *     cc -std=c11 server.c -o server $(pkg-config --cflags --libs laneway)
 *     ./server & ./client
 *
 * With an address it listens for clients on other hosts, too, and nothing else changes (two_hosts.sh):
 *
 *     ./server tcp://0.0.0.0:7400                       and there: ./client tcp://HOST:7400/desk
 *
 * Kill it with -9 whenever you like and start it again: it goes on with the first order that it has not answered. Order n
 * of a client is answered by message n to it, so the link itself knows what was answered.
 */
#include <stdio.h>

#include "laneway/laneway.h"

struct order {
    int lots;
    double price;
};

/* Its client does not read. The order comes again, but is not told of before there is room for the answer. */
static void wait_for_room(struct lw_link *link) {
    lw_link_rewind(link);
    lw_link_pause(link, 1);
}

/* One order a call: what is left is told again by the next poll. */
static void answer(struct lw_link *link) {
    struct lw_link_info info = LW_LINK_INFO_INIT;
    struct lw_msg msg;
    int got = lw_link_next(link, &msg, 0);
    if (got == LW_ECLOSED || got == LW_ECORRUPT) lw_link_close(link, got, NULL); /* removed, or damaged */
    if (got != 1 || lw_link_stat(link, &info)) return;
    const struct order *order = msg.data;
    double cost = msg.len == sizeof *order ? order->lots * order->price : -1;
    if (msg.number < info.sent || lw_link_send(link, 2, &cost, sizeof cost, 0) >= 0)
        lw_link_release(link, &msg); /* answered: now, or before a crash */
    else
        wait_for_room(link);
}

/* A new client, told by the server; or one that started anew while its link is open here, told by the link. */
static void admit(const struct lw_event *event, struct lw_group *group) {
    struct lw_login login = LW_LOGIN_INIT;
    int got = event->code ? lw_link_login(event->link, &login) : lw_server_login(event->server, &login);
    if (got == 1 && lw_login_accept(&login, event->code ? NULL : group, NULL, NULL) == 0)
        printf("%s is in\n", login.client);
}

int main(int argc, char **argv) {
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_server *server;
    struct lw_server_options options = {.size = sizeof options, .listen = argc > 1 ? argv[1] : NULL};
    struct lw_event events[16];
    int n;
    if (lw_bus_open(&bus, NULL) || lw_group_open(&group, bus, NULL) || lw_server_open(&server, group, "desk", &options))
        return fprintf(stderr, "%s\n", lw_errtext()), 1;
    while ((n = lw_group_poll(group, events, 16, LW_FOREVER)) >= 0) {
        for (int i = 0; i < n; i++) {
            if (events[i].kind == LW_LOGIN) admit(&events[i], group);
            if (events[i].kind == LW_READABLE) answer(events[i].link);
            if (events[i].kind == LW_WRITABLE) lw_link_pause(events[i].link, 0);
        }
    }
    return fprintf(stderr, "%s\n", lw_strerror(n)), 1;
}
