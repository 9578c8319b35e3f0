/* SPDX-License-Identifier: MIT */
/* bus.c - opens the bus that the common options name. */
#include "tool.h"

static int open_bus(struct lw_bus **bus, unsigned flags) {
    struct lw_bus_options options = LW_BUS_OPTIONS_INIT;
    options.dir = common.bus;
    options.node = common.node;
    options.group = common.group;
    options.flags = flags;
    int rc = lw_bus_open(bus, &options);
    return rc ? fail_call(rc) : 0;
}

int bus_join(struct lw_bus **bus) {
    return open_bus(bus, 0);
}

int bus_observe(struct lw_bus **bus) {
    return open_bus(bus, LW_BUS_OBSERVE);
}

/* A look first, because joining would make a bus that is not there. */
int bus_join_there(struct lw_bus **bus) {
    int rc = bus_observe(bus);
    if (rc) return rc;
    lw_bus_close(*bus);
    return bus_join(bus);
}
