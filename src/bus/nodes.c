/* SPDX-License-Identifier: MIT */
/* bus/nodes.c - listing the nodes of a bus. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "bus/node.h"
#include "bus/table.h"

static int look(const struct lw_bus *bus, uint32_t id, struct lw_node_info *node) {
    memset(node, 0, sizeof *node);
    node->id = id;
    node->epoch = (uint32_t)lw__table_epoch(bus, id);
    if (!lw__table_name(bus, id, node->name))
        return lw__fail(LW_ECORRUPT, "%s/bus: row %u: bad name", bus->dir.path, id);
    int rc = lw__node_probe(bus, node->name, &node->pid);
    if (rc < 0) return lw__fail(rc, "%s/nodes/%s: is it alive? %s", bus->dir.path, node->name, strerror(-rc));
    node->alive = rc;
    return 0;
}

/* The bus is not held meanwhile: `each` may call anything. */
int lw_bus_nodes(struct lw_bus *bus, int (*each)(const struct lw_node_info *node, void *user), void *user) {
    struct lw_node_info node;
    int rc = lw__bus_enter(bus, false);
    if (rc) return rc;
    lw__bus_leave(bus);
    uint32_t rows = lw__table_rows(bus);
    for (uint32_t id = 1; id < rows; id++) {
        if (!lw__table_epoch(bus, id)) continue;
        rc = look(bus, id, &node);
        if (!rc) rc = each(&node, user);
        if (rc) return rc;
    }
    return 0;
}
