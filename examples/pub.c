/* SPDX-License-Identifier: MIT */
/*
 * examples/pub.c - publishes ten messages.
 *
 *     cc -std=c11 pub.c -o pub $(pkg-config --cflags --libs laneway)
 *     ./pub && ./sub
 *
 * Others may publish to the topic at the same time: run it twice at once, and each one's messages keep their order.
 */
#include <stdio.h>

#include "laneway/laneway.h"

struct tick {
    int number;
    double price;
};

int main(void) {
    struct lw_bus *bus;
    struct lw_pub *pub;
    if (lw_bus_open(&bus, NULL) || lw_pub_open(&pub, bus, "ticks", NULL))
        return fprintf(stderr, "%s\n", lw_errtext()), 1;
    for (int i = 0; i < 10; i++) {
        struct tick tick = {i, 100 + i / 8.0};
        int64_t position = lw_pub_send(pub, 1, &tick, sizeof tick, LW_FOREVER);
        if (position < 0) return fprintf(stderr, "%s\n", lw_strerror((int)position)), 1;
    }
    lw_pub_close(pub);
    return lw_bus_close(bus) != 0;
}
