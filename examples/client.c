/* SPDX-License-Identifier: MIT */
/*
 * examples/client.c - sends ten orders to the server "desk" (examples/server.c) and prints what they cost.
 *
 *     cc -std=c11 client.c -o client $(pkg-config --cflags --libs laneway)
 *     ./client & ./server
 *
 * On another host than the server it wants the server's address: ./client tcp://HOST:7400/desk
 *
 * The server need not be there: orders wait in the link until it is. What was sent when this program was killed is
 * answered all the same, and the next run gets the answers first.
 */
#include <stdio.h>

#include "laneway/laneway.h"

struct order {
    int lots;
    double price;
};

int main(int argc, char **argv) {
    const char *desk = argc > 1 ? argv[1] : "desk"; /* a name on this bus, or where it is */
    struct lw_bus *bus;
    struct lw_group *group;
    struct lw_link *link;
    struct lw_msg msg;
    struct lw_link_info info = LW_LINK_INFO_INIT;
    struct lw_link_options options = {.size = sizeof options, .as = "client"};
    int got = 1;
    if (lw_bus_open(&bus, NULL) || lw_group_open(&group, bus, NULL) || lw_link_open(&link, group, desk, &options))
        return fprintf(stderr, "%s\n", lw_errtext()), 1;
    for (int i = 0; i < 10; i++) {
        struct order order = {1 + i, 100 + i / 8.0};
        int64_t position = lw_link_send(link, 1, &order, sizeof order, LW_SEC(10));
        if (position < 0) return fprintf(stderr, "%s\n", lw_strerror((int)position)), 1;
    }
    while (lw_link_stat(link, &info) == 0 && info.received < info.sent && got == 1) {
        got = lw_link_next(link, &msg, LW_SEC(10));
        if (got != 1 || msg.len != sizeof(double)) continue;
        printf("order %llu costs %.3f\n", (unsigned long long)msg.number, *(const double *)msg.data);
        lw_link_release(link, &msg);
    }
    if (got != 1) fprintf(stderr, "%s\n", lw_strerror(got));
    lw_link_close(link, 0, NULL);
    return lw_group_close(group) || lw_bus_close(bus) || got != 1;
}
