/* SPDX-License-Identifier: MIT */
/* util/group_util.h - groups for tests: opening in one line, and polls that must tell something. */
#ifndef LW_TESTS_GROUP_UTIL_H
#define LW_TESTS_GROUP_UTIL_H

#include "util/topic_util.h"

/* A group that sleeps at once with `spin` 0. -1 takes the default; LW_SEC(1) is as good as for ever. */
static inline struct lw_group *tg_group(struct lw_bus *bus, int64_t spin) {
    struct lw_group_options opt = LW_GROUP_OPTIONS_INIT;
    struct lw_group *g;
    if (spin >= 0) opt.spin = spin;
    T_NEED(!lw_group_open(&g, bus, &opt));
    return g;
}

/* One event; kind 0: none came. -EINTR is not expected. */
static inline struct lw_event tg_poll(struct lw_group *g, int64_t timeout) {
    struct lw_event event = {.kind = (enum lw_event_kind)0};
    int n = lw_group_poll(g, &event, 1, timeout);
    T_NEED(n == 0 || n == 1);
    if (!n) event.kind = (enum lw_event_kind)0;
    return event;
}

/* Polls until there is nothing to do and everything is parked. */
static inline void tg_settle(struct lw_group *g) {
    while (tg_poll(g, 0).kind) continue;
    T_NEED(!tg_poll(g, LW_MS(1)).kind);
}

static inline struct lw_group_stats tg_stats(const struct lw_group *g) {
    struct lw_group_stats stats = LW_GROUP_STATS_INIT;
    T_NEED(!lw_group_stat(g, &stats));
    return stats;
}

/* A subscriber in a group. */
static inline struct lw_sub *tg_sub(struct lw_group *g, struct lw_bus *bus, const char *topic) {
    struct lw_sub *sub = tt_sub(bus, topic, NULL, LW_FROM_NOW);
    T_NEED(!lw_sub_move(sub, g, sub));
    return sub;
}

#endif
