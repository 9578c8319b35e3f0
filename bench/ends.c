/* SPDX-License-Identifier: MIT */
/* bench/ends.c - links between the two sides of a measurement. */
#include "ends.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

enum {
    EVENTS = 64,
    UNDER_WAY = 256, /* links that are not up yet */
    ADDRESS = 160,
    PAIR_SPACE = 170 << 10, /* bytes of a pair of files with the smallest rings on the bus */
    SPARE = 200             /* descriptors beside those of links */
};

static const int64_t patience = LW_SEC(50); /* for all of them to be up */

/* A server's name has one level only. */
static void server_name(const struct duo *duo, const char *server, char name[96]) {
    snprintf(name, 96, "%s%s", duo->prefix, server);
    for (char *at = name; *at; at++)
        if (*at == '/') *at = '-';
}

static void check_up(struct duo *duo, const struct lw_event *event) {
    if (event->kind == LW_DOWN)
        duo_fail(duo, "side %d: link %s went down: %s (%s)", duo->side, lw_link_client(event->link),
                 lw_strerror(event->code), lw_link_reason(event->link, NULL));
    if (event->kind == LW_REFUSED) duo_fail(duo, "a link was refused: %s", lw_link_reason(event->link, NULL));
}

static void *as_user(uint64_t number) {
    return (void *)(uintptr_t)number;
}

static void open_group(struct duo *duo, struct ends *ends, int64_t spin) {
    struct lw_group_options options = LW_GROUP_OPTIONS_INIT;
    options.spin = spin;
    if (lw_group_open(&ends->group, duo->bus, &options)) duo_fail(duo, "%s", lw_errtext());
}

static unsigned flags_of(const struct duo *duo, const struct ends *ends) {
    return ends->tcp && duo->options->no_crc ? LW_LINK_NO_CRC : 0;
}

static void open_server(struct duo *duo, struct ends *ends, const char *name) {
    struct lw_server_options options = LW_SERVER_OPTIONS_INIT;
    options.listen = ends->tcp ? "tcp://127.0.0.1:0" : NULL;
    options.flags = flags_of(duo, ends);
    options.guests_max = (uint32_t)ends->count + EVENTS;
    if (lw_server_open(&ends->server, ends->group, name, &options)) duo_fail(duo, "%s", lw_errtext());
    duo->page->left[1][0] = ends->tcp ? lw_server_port(ends->server) : 0;
}

/* What a client opens, after the server has been opened. */
static void client_address(const struct duo *duo, const struct ends *ends, const char *name, char address[ADDRESS]) {
    if (ends->tcp)
        snprintf(address, ADDRESS, "tcp://127.0.0.1:%.0f/%s", duo->page->left[1][0], name);
    else
        snprintf(address, ADDRESS, "%s", name);
}

static void open_client(struct duo *duo, struct ends *ends, const char *address, uint64_t number) {
    struct lw_link_options options = LW_LINK_OPTIONS_INIT;
    char as[32];
    snprintf(as, sizeof as, "c%" PRIu64, number);
    options.as = as;
    options.ring_up = options.ring_down = duo->options->ring;
    options.flags = flags_of(duo, ends);
    options.user = as_user(number);
    if (lw_link_open(&ends->links[number], ends->group, address, &options)) duo_fail(duo, "%s", lw_errtext());
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
        check_up(duo, &events[i]);
        if (events[i].kind == LW_LOGIN) accept_client(duo, ends);
        up += events[i].kind == LW_UP;
    }
    return up;
}

/* Polls until so many are up. */
static void wait_until_up(struct duo *duo, struct ends *ends, uint64_t *up, uint64_t wanted, int64_t begin) {
    while (*up < wanted) {
        *up += deal_with_events(duo, ends, LW_MS(100));
        if (now_ns() - begin > patience)
            duo_fail(duo, "only %" PRIu64 " of %" PRIu64 " links came up", *up, ends->count);
    }
}

/* Not all at once: those that a server over TCP comes to too late would give up, and try again. */
static void open_all(struct duo *duo, struct ends *ends, const char *address) {
    int64_t begin = now_ns();
    uint64_t up = 0;
    for (uint64_t i = 0; duo->side == 0 && i < ends->count; i++) {
        open_client(duo, ends, address, i);
        if (ends->tcp && i > UNDER_WAY) wait_until_up(duo, ends, &up, i - UNDER_WAY, begin);
    }
    wait_until_up(duo, ends, &up, ends->count, begin);
    ends_meet(duo, ends);
}

static void open_ends(struct duo *duo, struct ends *ends, const char *server, int64_t spin) {
    char name[96], address[ADDRESS];
    ends->links = calloc(ends->count, sizeof(struct lw_link *));
    if (!ends->links) duo_fail(duo, "no memory");
    server_name(duo, server, name);
    open_group(duo, ends, spin);
    if (duo->side == 1) open_server(duo, ends, name);
    duo_meet(duo);
    client_address(duo, ends, name, address);
    open_all(duo, ends, address);
}

void ends_open(struct duo *duo, struct ends *ends, const char *server, uint64_t count, int64_t spin) {
    *ends = (struct ends){.count = count};
    open_ends(duo, ends, server, spin);
}

static void raise_descriptors(struct duo *duo, uint64_t links) {
    struct rlimit limit, wanted;
    if (getrlimit(RLIMIT_NOFILE, &limit)) duo_fail(duo, "getrlimit");
    wanted = limit;
    if (wanted.rlim_cur < links + SPARE) wanted.rlim_cur = links + SPARE;
    if (wanted.rlim_max < wanted.rlim_cur) wanted.rlim_max = wanted.rlim_cur; /* for who may */
    if (setrlimit(RLIMIT_NOFILE, &wanted))
        duo_fail(duo, "%" PRIu64 " links need %" PRIu64 " descriptors, and %" PRIu64 " are the limit (ulimit -Hn)",
                 links, (uint64_t)wanted.rlim_cur, (uint64_t)limit.rlim_max);
}

void ends_open_tcp(struct duo *duo, struct ends *ends, const char *server, uint64_t count, int64_t spin) {
    *ends = (struct ends){.count = count, .tcp = true};
    raise_descriptors(duo, count);
    open_ends(duo, ends, server, spin);
}

void ends_check_space(struct duo *duo, uint64_t pairs) {
    struct statvfs fs;
    uint64_t pair = PAIR_SPACE + 2 * (duo->options->ring - (64 << 10));
    uint64_t needed = (duo->options->links + 1) * pairs * pair;
    if (statvfs(lw_bus_dir(duo->bus), &fs)) duo_fail(duo, "statvfs");
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (needed > free_bytes)
        duo_fail(duo, "%s: %" PRIu64 " links take %" PRIu64 " MiB, and %" PRIu64 " are free; take fewer with --links",
                 lw_bus_dir(duo->bus), duo->options->links, needed >> 20, free_bytes >> 20);
}

void ends_look(struct duo *duo, struct ends *ends) {
    struct lw_event events[EVENTS];
    int n = lw_group_poll(ends->group, events, EVENTS, 0);
    if (n < 0) duo_fail(duo, "lw_group_poll: %s", lw_strerror(n));
    for (int i = 0; i < n; i++) check_up(duo, &events[i]);
}

void ends_meet(struct duo *duo, struct ends *ends) {
    for (duo_come(duo); !duo_met(duo); duo_pass(duo)) ends_look(duo, ends);
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
        check_up(duo, &event);
    if (n != 1) duo_fail(duo, "lw_group_poll: %s", lw_strerror(n));
    return (uint64_t)(uintptr_t)event.user;
}

struct lw_group_stats ends_stats(const struct ends *ends) {
    struct lw_group_stats stats = LW_GROUP_STATS_INIT;
    lw_group_stat(ends->group, &stats);
    return stats;
}
