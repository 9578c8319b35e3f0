/* SPDX-License-Identifier: MIT */
/*
 * examples/sub.c - prints what examples/pub.c publishes, and ends when nothing has come for a second.
 *
 *     cc -std=c11 sub.c -o sub $(pkg-config --cflags --libs laneway)
 *     ./sub
 *
 * The name makes the subscriber durable: once it has run, nothing is lost while it is not running, and what it has
 * released does not come again. `laneway forget ticks example` gives the name up.
 */
#include <stdio.h>

#include "laneway/laneway.h"

struct tick {
    int number;
    double price;
};

/* What stands in the ring is input: look at the length before you look at the rest. */
static void show(const struct lw_msg *msg) {
    const struct tick *tick = msg->data;
    if (msg->len == sizeof *tick)
        printf("%d: %.3f\n", tick->number, tick->price);
    else
        fprintf(stderr, "message %llu has %zu bytes, that is no tick\n", (unsigned long long)msg->number, msg->len);
}

int main(void) {
    struct lw_bus *bus;
    struct lw_sub *sub;
    struct lw_msg msg;
    int got;
    struct lw_sub_options options = {.size = sizeof options, .name = "example", .from = LW_FROM_OLDEST};
    if (lw_bus_open(&bus, NULL) || lw_sub_open(&sub, bus, "ticks", &options))
        return fprintf(stderr, "%s\n", lw_errtext()), 1;
    while ((got = lw_sub_next(sub, &msg, LW_SEC(1))) == 1 || got == LW_EGAP || got == LW_EEVICTED) {
        if (got == 1) {
            show(&msg);
            lw_sub_release(sub, &msg);
        } else {
            fprintf(stderr, "before message %llu: %s\n", (unsigned long long)msg.number, lw_strerror(got));
        }
    }
    if (got != LW_EEMPTY) fprintf(stderr, "%s\n", lw_strerror(got));
    lw_sub_close(sub);
    return lw_bus_close(bus) != 0 || got != LW_EEMPTY;
}
