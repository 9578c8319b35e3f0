/* SPDX-License-Identifier: MIT */
/*
 * examples/sub.c - prints what examples/pub.c publishes, and ends when nothing has come for a second.
 *
 *     cc -std=c11 sub.c -o sub $(pkg-config --cflags --libs laneway)
 *     ./sub
 *
 * The name makes the subscriber durable: once it has run, nothing is lost while it is not running, and what it has
 * released does not come again. `laneway forget prices example` gives the name up.
 */
#include <stdio.h>

#include "laneway/laneway.h"

struct tick {
    int number;
    double price;
};

static void show(const struct tick *tick) {
    printf("%d: %.3f\n", tick->number, tick->price);
}

int main(void) {
    struct lw_bus *bus;
    struct lw_sub *sub;
    struct lw_msg msg;
    int got;
    struct lw_sub_options options = {.size = sizeof options, .name = "example"};
    if (lw_bus_open(&bus, NULL) || lw_sub_open(&sub, bus, "prices", &options))
        return fprintf(stderr, "%s\n", lw_errtext()), 1;
    for (; (got = lw_sub_next(sub, &msg, LW_SEC(1))) == 1; lw_sub_release(sub, &msg)) show(msg.data);
    if (got != LW_EEMPTY) fprintf(stderr, "%s\n", lw_strerror(got));
    lw_sub_close(sub);
    return lw_bus_close(bus) != 0 || got != LW_EEMPTY;
}
