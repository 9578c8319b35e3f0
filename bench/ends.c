/* SPDX-License-Identifier: MIT */
/* bench/ends.c - links between the two sides of a measurement. */
#include "ends.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENTS = 64 };

static const int64_t patience = LW_SEC(50); /* for all of them to be up */

/* A server's name has one level only. */
static void server_name(const struct duo *duo, const char *server, char name[96]) {
    snprintf(name, 96, "%s%s", duo->prefix, server);
    for (char *at = name; *at; at++)
        if (*at == '/') *at = '-';
}

static void *as_user(uint64_t number) {
    return (void *)(uintptr_t)number;
}

static void open_group(struct duo *duo, struct ends *ends, int64_t spin) {
    struct lw_group_options options = LW_GROUP_OPTIONS_INIT;
    options.spin = spin;
    if (lw_group_open(&ends->group, duo->bus, &options)) duo_fail(duo, "%s", lw_errtext());
}

static void open_client(struct duo *duo, struct ends *ends, const char *server, uint64_t number) {
    struct lw_link_options options = LW_LINK_OPTIONS_INIT;
    char as[32];
    snprintf(as, sizeof as, "c%" PRIu64, number);
    options.as = as;
    options.ring_up = options.ring_down = duo->options->ring;
    options.user = as_user(number);
    if (lw_link_open(&ends->links[number], ends->group, server, &options)) duo_fail(duo, "%s", lw_errtext());
}

static void accept_client(struct duo *duo, struct ends *ends) {
    struct lw_accept_options options = LW_ACCEPT_OPTIONS_INIT;
    struct lw_login login = LW_LOGIN_INIT;
    int rc = lw_server_login(ends->server, &login);
    if (rc == LW_EEMPTY) return;
    uint64_t number = rc == 1 ? strtoull(login.client + 1, NULL, 10) : UINT64_MAX;
    if (number >= ends->count) duo_fail(duo, "login: %s", rc < 0 ? lw_errtext() : login.client);
    options.user = as_user(number);
    if (lw_login_accept(&login, ends->group, &options, &ends->links[number])) duo_fail(duo, "%s", lw_errtext());
}

/* Links that came up. */
static uint64_t deal_with_events(struct duo *duo, struct ends *ends, int64_t timeout) {
    struct lw_event events[EVENTS];
    uint64_t up = 0;
    int n = lw_group_poll(ends->group, events, EVENTS, timeout);
    if (n < 0) duo_fail(duo, "lw_group_poll: %s", lw_strerror(n));
    for (int i = 0; i < n; i++) {
        if (events[i].kind == LW_LOGIN) accept_client(duo, ends);
        up += events[i].kind == LW_UP;
    }
    return up;
}

void ends_open(struct duo *duo, struct ends *ends, const char *server, uint64_t count, int64_t spin) {
    uint64_t up = 0;
    char name[96];
    *ends = (struct ends){.count = count, .links = calloc(count, sizeof(struct lw_link *))};
    if (!ends->links) duo_fail(duo, "no memory");
    server_name(duo, server, name);
    open_group(duo, ends, spin);
    if (duo->side == 1 && lw_server_open(&ends->server, ends->group, name, NULL)) duo_fail(duo, "%s", lw_errtext());
    duo_meet(duo);
    for (uint64_t i = 0; duo->side == 0 && i < count; i++) open_client(duo, ends, name, i);
    for (int64_t begin = now_ns(); up < count;) {
        up += deal_with_events(duo, ends, LW_MS(100));
        if (now_ns() - begin > patience) duo_fail(duo, "only %" PRIu64 " of %" PRIu64 " links came up", up, count);
    }
    duo_meet(duo);
}

void ends_close(struct duo *duo, struct ends *ends) {
    duo_meet(duo);
    for (uint64_t i = 0; i < ends->count; i++) lw_link_close(ends->links[i], 0, NULL);
    lw_server_close(ends->server);
    if (lw_group_close(ends->group)) duo_fail(duo, "lw_group_close: %s", lw_errtext());
    free(ends->links);
}

uint64_t ends_wait(struct duo *duo, struct ends *ends) {
    struct lw_event event;
    int n;
    while ((n = lw_group_poll(ends->group, &event, 1, LW_FOREVER)) == 1 && event.kind != LW_READABLE)
        if (event.kind == LW_DOWN) duo_fail(duo, "a link went down: %s", lw_strerror(event.code));
    if (n != 1) duo_fail(duo, "lw_group_poll: %s", lw_strerror(n));
    return (uint64_t)(uintptr_t)event.user;
}

struct lw_group_stats ends_stats(const struct ends *ends) {
    struct lw_group_stats stats = LW_GROUP_STATS_INIT;
    lw_group_stat(ends->group, &stats);
    return stats;
}
