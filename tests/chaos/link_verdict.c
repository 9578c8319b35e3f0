/* SPDX-License-Identifier: MIT */
/* chaos/link_verdict.c - after the last process of a pair: is everything there, and is everything tidy? */
#include <stdio.h>

#include "chaos/chaos.h"

static bool fails(struct ledger *ledger, const char *call, int64_t rc) {
    if (rc < 0) complain(ledger, "checker: %s: %s: %s", call, lw_errname((int)rc), lw_errtext());
    return rc < 0;
}

/* What the two noted themselves. */
static void check_way(struct ledger *ledger, uint32_t i, int dir) {
    struct way *way = &ledger->pair[i].way[dir];
    uint64_t sent = atomic_load(&way->sent), seen = atomic_load(&way->seen), released = atomic_load(&way->released);
    if (seen < sent) count(&way->lost, sent - seen);
    if (seen != sent || released != sent || way->lost || way->repeated || way->reordered || way->corrupt)
        complain(
            ledger,
            "link %u %s: sent %llu, came %llu, released %llu; %llu lost, %llu repeated, %llu reordered, %llu corrupt",
            i, dir == UP ? "up" : "down", (unsigned long long)sent, (unsigned long long)seen,
            (unsigned long long)released, (unsigned long long)way->lost, (unsigned long long)way->repeated,
            (unsigned long long)way->reordered, (unsigned long long)way->corrupt);
}

struct listed {
    struct ledger *ledger;
    uint32_t links;
};

/* What the bus says, to somebody who had no part in it. All numbers are the client's. */
static int each_link(const struct lw_link_info *info, int error, void *user) {
    struct listed *listed = user;
    struct ledger *ledger = listed->ledger;
    unsigned i = 0;
    listed->links++;
    if (fails(ledger, "lw_link_list", error)) return 0;
    if (sscanf(info->client, "client-%u", &i) != 1 || i >= ledger->links + ledger->tcp) {
        complain(ledger, "a link of %s, which nobody made", info->client);
        return 0;
    }
    const struct way *up = &ledger->pair[i].way[UP], *down = &ledger->pair[i].way[DOWN];
    if (info->sent != up->sent || info->taken != up->sent || info->arrived != down->sent ||
        info->released != down->sent || info->client_pid || info->server_pid)
        complain(
            ledger,
            "link %u is listed with %llu sent, %llu taken, %llu arrived, %llu released, pids %d and %d; it is %llu and %llu",
            i, (unsigned long long)info->sent, (unsigned long long)info->taken, (unsigned long long)info->arrived,
            (unsigned long long)info->released, info->client_pid, info->server_pid, (unsigned long long)up->sent,
            (unsigned long long)down->sent);
    return 0;
}

static void remove_link(struct ledger *ledger, struct lw_bus *bus, uint32_t i, bool far) {
    char client[LW_NAME_MAX + 1], server[LW_ADDRESS_MAX];
    uint64_t unread = 0;
    snprintf(client, sizeof client, "client-%u", i);
    snprintf(server, sizeof server, "%sserver-%u", far ? "tcp://127.0.0.1:1/" : "", i);
    int rc = lw_link_remove(bus, server, client, 0, &unread);
    if (!fails(ledger, "lw_link_remove", rc) && unread)
        complain(ledger, "link %u: %llu messages that nobody had released", i, (unsigned long long)unread);
}

/* What the dead held must be free, without force. */
static void check_bus(struct ledger *ledger, const char *dir, uint32_t from) {
    struct listed listed = {.ledger = ledger};
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    struct lw_bus *bus;
    opt.dir = dir;
    opt.node = "checker";
    if (fails(ledger, "lw_bus_open", lw_bus_open(&bus, &opt))) return;
    fails(ledger, "lw_bus_clean", lw_bus_clean(bus, NULL));
    fails(ledger, "lw_link_list", lw_link_list(bus, NULL, each_link, &listed));
    if (listed.links != ledger->links + ledger->tcp - from)
        complain(ledger, "%u links are listed, and not %u", listed.links, ledger->links + ledger->tcp - from);
    if (!atomic_load(&ledger->complaints))
        for (uint32_t i = from; i < ledger->links + ledger->tcp; i++) remove_link(ledger, bus, i, dir == ledger->far);
    fails(ledger, "lw_bus_close", lw_bus_close(bus));
}

void links_verdict(struct ledger *ledger) {
    for (uint32_t i = 0; i < 2 * (ledger->links + ledger->tcp); i++) check_way(ledger, i / 2, (int)(i % 2));
    if (ledger->links + ledger->tcp) check_bus(ledger, ledger->dir, 0);
    if (ledger->tcp) check_bus(ledger, ledger->far, ledger->links);
    witnesses_verdict(ledger);
}
