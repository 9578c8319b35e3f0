/* SPDX-License-Identifier: MIT */
/*
 * bus/table.h - the bus file: a head, then the node table. bus.h draws the bytes.
 *
 * Every word here is another process's to write, so it is loaded once and bounded. Nothing trusts a name or a number of
 * rows.
 */
#ifndef LW_BUS_TABLE_H
#define LW_BUS_TABLE_H

#include "base/atomic.h"
#include "bus/bus.h"

enum {
    LW__TABLE_HEAD = 4096,
    LW__TABLE_ROWS = 65536, /* at most, row 0 included: node ids have 16 bits */
    LW__TABLE_STEP = 64,    /* the table grows by so many rows */
    LW__TABLE_BOOT = 65536  /* every epoch moves on by this after a reboot, past whatever a torn file forgot */
};

struct lw__table_head {
    char magic[8];
    uint32_t version;
    uint32_t fingerprint;
    uint64_t boot[2]; /* under the lock */
    uint32_t rows; /* grower: release, under the lock, after the space is there. Readers: acquire. Its death leaves the
                      old number */
    uint32_t unused;
};

/* Opens the bus file, makes it if it is not there (an observer gets LW_ENOBUS), maps it, and moves the epochs on after
 * a reboot. */
int lw__table_open(struct lw_bus *bus);
void lw__table_close(struct lw_bus *bus);

/* How many rows may be touched. */
uint32_t lw__table_rows(const struct lw_bus *bus);

/* A row below lw__table_rows(). */
static inline struct lw__node_row *lw__table_row(const struct lw_bus *bus, uint32_t id) {
    return (struct lw__node_row *)((char *)bus->table + LW__TABLE_HEAD) + id;
}
/* Pairs with the first epoch in find_locked(), and those in start(), lw__owner_gone() and move_epochs(). */
static inline uint64_t lw__table_epoch(const struct lw_bus *bus, uint32_t id) {
    return lw__load_acquire(&lw__table_row(bus, id)->epoch);
}

/* Copies a row's name to `name` (LW_NAME_MAX + 1 bytes). False, and "", when it is none that may be used as a path. */
bool lw__table_name(const struct lw_bus *bus, uint32_t id, char *name);

/* The id of a name; gives it one if it has none. Negative with text. */
int lw__table_find(struct lw_bus *bus, const char *name);

#endif
