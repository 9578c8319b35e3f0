/* SPDX-License-Identifier: MIT */
/* pattern/ring.c - waking those who sleep on a lane: its bits (lane/park.c) meet the bells (bus/bell.c). */
#include "pattern/ring.h"

#include "bus/bell.h"
#include "pattern/pub.h"
#include "pattern/sub.h"

static void ring_one(void *context, uint64_t owner, uint64_t bell) {
    lw__bell_ring(context, owner, bell);
}

/* Pairs with the fences of park_quiet() and lw__source_prepare(). */
void lw__ring_readers(struct lw_bus *bus, struct lw__lane *lane) {
    struct lw__owners owners = lw__file_owners(bus);
    struct lw__ringer ringer = {.ring = ring_one, .context = bus};
    lw__fence_full(); /* who is not registered for membarriers, or comes by another way than a commit */
    lw__lane_ring_readers(lane, bus->owner, &owners, &ringer);
}

void lw__ring_writers(struct lw_bus *bus, struct lw__lane *lane) {
    struct lw__owners owners = lw__file_owners(bus);
    struct lw__ringer ringer = {.ring = ring_one, .context = bus};
    lw__fence_full(); /* pairs with park_quiet() and lw__source_prepare() as well */
    lw__lane_ring_writers(lane, bus->owner, &owners, &ringer);
}

void lw__ring_all(struct lw_bus *bus, struct lw__lane *lane) {
    lw__ring_readers(bus, lane);
    lw__ring_writers(bus, lane);
}

void lw__pub_ring(struct lw_pub *pub) {
    if (pub->sent) {
        pub->sent(pub->waiter);
        return;
    }
    const struct lw__lane *lane = &pub->file.lane; /* registered: a plain look will do */
    if (!pub->file.bus->fenced && !lw__mask_any(lane, lane->ctl->parked)) return;
    lw__ring_readers(pub->file.bus, &pub->file.lane);
}

void lw__sub_ring(struct lw_sub *sub) {
    if (sub->released && !sub->gone) {
        sub->released(sub->waiter);
        return;
    }
    const struct lw__lane *lane = &sub->file.lane;
    if (!sub->file.bus->fenced && !lw__mask_any(lane, lane->ctl->wanted)) return;
    lw__ring_writers(sub->file.bus, &sub->file.lane);
}
