/* SPDX-License-Identifier: MIT */
/*
 * examples/watch.c - looks on at what examples/pub.c publishes, without being in anybody's way, and counts what it was
 * too slow for. Ends when nothing has come for a second.
 *
 *     cc -std=c11 watch.c -o watch $(pkg-config --cflags --libs laneway)
 *     ./watch & sleep 0.3; ./pub
 *
 * A lossy subscriber holds no publisher back. Messages are copied out of the ring for it, and what was overwritten
 * before it came is told once, with LW_EGAP, before the next message that is still there.
 */
#include <stdio.h>

#include "laneway/laneway.h"

int main(void) {
    struct lw_bus *bus;
    struct lw_sub *sub;
    struct lw_msg msg;
    struct lw_stats stats = LW_STATS_INIT;
    int got;
    struct lw_sub_options options = {.size = sizeof options, .flags = LW_SUB_LOSSY};
    if (lw_bus_open(&bus, NULL) || lw_sub_open(&sub, bus, "ticks", &options))
        return fprintf(stderr, "%s\n", lw_errtext()), 1;
    while ((got = lw_sub_next(sub, &msg, LW_SEC(1))) == 1 || got == LW_EGAP)
        if (got == 1) lw_sub_release(sub, &msg); /* counts it, and shows others how far we are */
    if (got != LW_EEMPTY) fprintf(stderr, "%s\n", lw_strerror(got));
    if (lw_sub_stats(sub, &stats) == 0)
        printf("%llu messages seen, %llu lost\n", (unsigned long long)stats.messages, (unsigned long long)stats.lost);
    lw_sub_close(sub);
    return lw_bus_close(bus) != 0 || got != LW_EEMPTY;
}
