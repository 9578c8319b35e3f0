/* SPDX-License-Identifier: MIT */
/* bus/dir.h - finding or making the directory of a bus. */
#ifndef LW_BUS_DIR_H
#define LW_BUS_DIR_H

#include "bus/bus.h"

/* Opens bus->dir. `path` NULL: $LANEWAY_DIR, else the user's own below /dev/shm. What is missing is made, for `group`
 * when that is given, unless the bus observes. */
int lw__bus_dir_open(struct lw_bus *bus, const char *path, const char *group);

#endif
