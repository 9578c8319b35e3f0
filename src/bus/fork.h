/* SPDX-License-Identifier: MIT */
/* bus/fork.h - the list of all buses of this process, and what fork() does to them. */
#ifndef LW_BUS_FORK_H
#define LW_BUS_FORK_H

#include "bus/bus.h"

/* Enters a new bus into the list and locks it, so that no fork comes between while it is being opened. */
int lw__fork_add(struct lw_bus *bus);

/* Locks the list and the bus. lw__fork_unlock() undoes that; with `remove` the bus leaves the list. */
void lw__fork_lock(struct lw_bus *bus);
void lw__fork_unlock(struct lw_bus *bus, bool remove);

/* Closes all descriptors of the bus; no lock is given back by hand. */
void lw__bus_shut(struct lw_bus *bus);

#endif
