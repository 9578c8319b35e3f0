/* SPDX-License-Identifier: MIT */
/* bus/node.h - the life lock of a node. */
#ifndef LW_BUS_NODE_H
#define LW_BUS_NODE_H

#include "bus/bus.h"

enum { LW__NODE_PATH = sizeof "nodes/" + LW_NAME_MAX };
void lw__node_path(char path[LW__NODE_PATH], const char *name);

/* Makes this process the node `name`, or the next free one of the pool when it is NULL. Fills bus->node, node_fd,
 * owner. */
int lw__node_start(struct lw_bus *bus, const char *name);
/* Leaves: the file goes while its lock is held. */
void lw__node_stop(struct lw_bus *bus);

/* Does a live process hold the name? 1, 0, or -errno: not known. Opens the path afresh, and locks nothing. `pid` (may
 * be NULL) gets what the holder wrote, 0 if nothing. */
int lw__node_probe(const struct lw_bus *bus, const char *name, int *pid);

#endif
