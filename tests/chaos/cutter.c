/* SPDX-License-Identifier: MIT */
/* chaos/cutter.c - one life of the bad network between the two sides of a pair. It may die like the others: the next one has
 * another port, and the client goes there. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "chaos/chaos.h"
#include "util/proxy.h"

enum { LONGEST_MS = 40 };

static bool is_over(const struct self *self, const struct pair *pair) {
    return pair_is_complete(pair) && atomic_load(&self->ledger->stage) != RUN;
}

/* For a moment: every connection in small pieces, or late, or cut after a while; and those that there are are cut. */
static void make_bad(struct self *self, struct proxy *proxy) {
    struct dice *d = &self->dice;
    struct proxy_plan plan = {.at = -1, .ns = LW_MS(dice_between(d, 1, LONGEST_MS))};
    if (dice(d, 2)) plan.piece = (int)dice_between(d, 1, 100);
    if (dice(d, 2)) plan.delay = dice_between(d, 1, 500) * 1000;
    proxy_set(proxy, &plan);
    if (dice(d, 2)) proxy_random(proxy, d->state, 1 << dice_between(d, 6, 20));
    proxy_cut_now(proxy, CUT_RST);
    nap(plan.ns);
    proxy_random(proxy, 0, 0);
    proxy_set(proxy, NULL);
    proxy_cut_now(proxy, CUT_FIN);
}

/* They rest, hold or swallow what passes; what was swallowed needs a cut to be sent again. */
static void block(struct self *self, struct proxy *proxy) {
    struct dice *d = &self->dice;
    static const enum proxy_fault faults[] = {STALL, HOLD, HALF_OPEN};
    enum proxy_fault fault = faults[dice(d, 3)];
    int64_t ns = LW_MS(dice_between(d, 1, LONGEST_MS));
    proxy_set(proxy, &(struct proxy_plan){.at = -1, .ns = ns, .dir = (int)dice(d, 2)});
    proxy_cut_now(proxy, fault);
    nap(ns);
    proxy_set(proxy, NULL);
    if (fault == HOLD) proxy_release(proxy);
    if (fault == HALF_OPEN) proxy_cut_now(proxy, CUT_RST);
}

static void refuse(struct self *self, struct proxy *proxy) {
    proxy_refuse(proxy, 1);
    proxy_cut_now(proxy, dice(&self->dice, 2) ? CUT_RST : CUT_FIN);
    nap(LW_MS(dice_between(&self->dice, 1, LONGEST_MS)));
    proxy_refuse(proxy, 0);
}

static void cut(struct self *self, struct proxy *proxy) {
    say(self->actor, "cuts");
    uint32_t what = dice(&self->dice, 8);
    if (what == 0)
        make_bad(self, proxy);
    else if (what == 1)
        block(self, proxy);
    else if (what == 2)
        refuse(self, proxy);
    else
        proxy_cut_now(proxy, dice(&self->dice, 2) ? CUT_RST : CUT_FIN);
}

static struct proxy *start(struct self *self, struct pair *pair) {
    char upstream[64];
    int port;
    while (!(port = atomic_load(&pair->server_port)) && !is_over(self, pair)) {
        say(self->actor, "waits for the server's first port");
        nap(LW_MS(1));
    }
    pair_host(self->ledger, self->actor->index, upstream, sizeof upstream - 8);
    snprintf(upstream + strlen(upstream), 8, ":%d", port);
    return proxy_start(upstream);
}

void cutter_live(struct self *self) {
    struct pair *pair = &self->ledger->pair[self->actor->index];
    struct proxy *proxy = start(self, pair);
    if (!proxy) {
        complain(self->ledger, "proxy %u does not start", self->actor->index);
        _exit(COMPLAINED);
    }
    atomic_store(&pair->proxy_port, proxy_port(proxy));
    while (!is_over(self, pair)) {
        say(self->actor, "forwards");
        if (atomic_exchange(&self->actor->order, NO_ORDER) == CUT) {
            cut(self, proxy);
            count(&self->actor->cuts, 1);
        }
        nap(LW_MS(1));
    }
    proxy_stop(proxy);
}
