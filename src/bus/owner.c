/* SPDX-License-Identifier: MIT */
/* bus/owner.c - is who holds something still there? An epoch is closed here and nowhere else; node.c says in which
 * order. */
#include "bus/node.h"
#include "bus/table.h"

/* The row of the owner's node, or 0 when no such node was ever given out. The caller got the word from shared memory,
 * perhaps by a relaxed load: the fence makes sure that what its writer saw (its row, its epoch) is seen here as well.
 * Pairs with the stores of owner words, in full order: take_free(), take_word(), take_for_good(),
 * take_name(). */
static uint32_t node_of(const struct lw_bus *bus, uint64_t owner) {
    uint32_t id = lw__owner_node(owner);
    lw__fence_acquire();
    return id < lw__table_rows(bus) ? id : 0;
}

/* Equal is the one epoch that can live: a higher one was never given out, and neither was a row of epoch 0. */
static bool is_over(uint64_t owner, uint64_t epoch) {
    return epoch == 0 || lw__owner_epoch(owner) != epoch;
}

bool lw__owner_closed(const struct lw_bus *bus, uint64_t owner) {
    uint32_t id = node_of(bus, owner);
    return !id || is_over(owner, lw__table_epoch(bus, id));
}

/* Pairs with start() in bus/node.c, and with itself in others. */
bool lw__owner_gone(struct lw_bus *bus, uint64_t owner) {
    char name[LW_NAME_MAX + 1];
    uint32_t id = node_of(bus, owner);
    if (!id) return true;
    uint64_t epoch = lw__table_epoch(bus, id); /* before the look at the lock: this order is what makes it safe */
    if (is_over(owner, epoch)) return true;
    if (!lw__table_name(bus, id, name) || lw__node_probe(bus, name, NULL) != 0) return false;
    if (bus->observe || lw__cas(&lw__table_row(bus, id)->epoch, epoch, epoch + 1)) return true;
    return is_over(owner, lw__table_epoch(bus, id));
}

bool lw__owner_name(const struct lw_bus *bus, uint64_t owner, char *name) {
    uint32_t id = node_of(bus, owner);
    name[0] = 0;
    return id && lw__table_name(bus, id, name);
}

int lw__owner_who(struct lw_bus *bus, uint64_t owner, char *name) {
    int pid;
    uint32_t id = node_of(bus, owner);
    name[0] = 0;
    if (!id || !lw__table_name(bus, id, name)) return 0;
    if (is_over(owner, lw__table_epoch(bus, id)) || lw__node_probe(bus, name, &pid) != 1) return 0;
    return pid;
}
