/* SPDX-License-Identifier: MIT */
/* bus/bus.c - opening and closing a bus, and the brackets around every set-up call on it. */
#include "bus/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/membarrier.h"
#include "base/options.h"
#include "bus/bell.h"
#include "bus/dir.h"
#include "bus/fork.h"
#include "bus/node.h"
#include "bus/table.h"
#include "bus/watch.h"

/* ---- open -------------------------------------------------------------------------------------------------------- */

static int read_options(struct lw_bus_options *to, const struct lw_bus_options *from) {
    *to = (struct lw_bus_options)LW_BUS_OPTIONS_INIT;
    int rc = lw__options_read(to, sizeof *to, from, "lw_bus_options");
    if (rc) return rc;
    if (to->flags & ~(unsigned)LW_BUS_OBSERVE)
        return lw__fail(-EINVAL, "lw_bus_options.flags: 0x%x is no flag", to->flags);
    return 0;
}

static int open_parts(struct lw_bus *bus, const struct lw_bus_options *opt) {
    int rc = lw__boot_id(bus->boot);
    if (!rc) rc = lw__bus_dir_open(bus, opt->dir, opt->group);
    if (!rc) rc = lw__table_open(bus);
    if (!rc && !bus->observe) rc = lw__node_start(bus, opt->node);
    bus->fenced = lw__membarrier_register();
    return rc;
}

static void destroy(struct lw_bus *bus) {
    pthread_mutex_destroy(&bus->lock);
    pthread_mutex_destroy(&bus->bells_lock);
    pthread_mutex_destroy(&bus->watch.lock);
    free(bus);
}

static void close_parts(struct lw_bus *bus) {
    if (!bus->forked) {
        lw__node_stop(bus);
        lw__table_close(bus);
    }
    lw__bus_shut(bus);
}

int lw_bus_open_abi(struct lw_bus **out, const struct lw_bus_options *options, unsigned abi) {
    struct lw_bus_options opt;
    *out = NULL;
    if (abi != LW_ABI)
        return lw__fail(LW_EABI, "the program was built for interface %u, this library has %u; rebuild the program",
                        abi, LW_ABI);
    int rc = read_options(&opt, options);
    if (!rc && opt.node && !(opt.flags & LW_BUS_OBSERVE)) rc = lw__name_check(opt.node, "node");
    if (rc) return rc;
    struct lw_bus *bus = calloc(1, sizeof *bus);
    if (!bus) return lw__fail(-ENOMEM, "no memory for a bus");
    bus->dir.fd = bus->node_fd = bus->table_fd = -1;
    bus->observe = opt.flags & LW_BUS_OBSERVE;
    pthread_mutex_init(&bus->lock, NULL);
    pthread_mutex_init(&bus->bells_lock, NULL);
    lw__watch_init(bus);
    rc = lw__fork_add(bus);
    if (rc) {
        destroy(bus);
        return rc;
    }
    rc = open_parts(bus, &opt);
    if (!rc)
        *out = bus;
    else
        close_parts(bus);
    pthread_mutex_unlock(&bus->lock);
    if (!rc) return 0;
    lw__fork_lock(bus);
    lw__fork_unlock(bus, true);
    destroy(bus);
    return rc;
}

int lw_bus_close(struct lw_bus *bus) {
    if (!bus) return 0;
    lw__fork_lock(bus);
    if (bus->handles) {
        lw__fork_unlock(bus, false);
        return lw__fail(-EBUSY, "%s: publishers or subscribers are still open on it; close them first", bus->dir.path);
    }
    close_parts(bus);
    lw__fork_unlock(bus, true);
    destroy(bus);
    return 0;
}

const char *lw_bus_dir(const struct lw_bus *bus) {
    return bus->dir.path;
}

const char *lw_bus_node(const struct lw_bus *bus) {
    return bus->node;
}

/* ---- brackets ---------------------------------------------------------------------------------------------------- */

int lw__bus_enter(struct lw_bus *bus, bool as_node) {
    int rc = 0;
    pthread_mutex_lock(&bus->lock);
    if (bus->forked)
        rc = lw__fail(LW_EFORKED, "%s: was opened by the parent process; open it anew after fork()", bus->dir.path);
    else if (as_node && bus->observe)
        rc = lw__fail(LW_ESTATE, "%s: opened to observe only (LW_BUS_OBSERVE)", bus->dir.path);
    if (rc) pthread_mutex_unlock(&bus->lock);
    return rc;
}

void lw__bus_leave(struct lw_bus *bus) {
    pthread_mutex_unlock(&bus->lock);
}

void lw__bus_attach(struct lw_bus *bus, struct lw__handle *handle) {
    handle->before = NULL;
    handle->next = bus->handles;
    if (handle->next) handle->next->before = handle;
    bus->handles = handle;
}

void lw__bus_detach(struct lw_bus *bus, struct lw__handle *handle) {
    if (handle->before)
        handle->before->next = handle->next;
    else if (bus->handles == handle)
        bus->handles = handle->next;
    if (handle->next) handle->next->before = handle->before;
    handle->next = handle->before = NULL;
}
