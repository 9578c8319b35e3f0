/* SPDX-License-Identifier: MIT */
/*
 * laneway/laneway.h - messages between the processes of a host. Includes everything a program needs:
 *
 *   err.h    result codes and their texts
 *   bus.h    the directory where processes meet; nodes
 *   group.h  what a thread waits on
 *   topic.h  publish and subscribe
 *   link.h   named two-way connections
 *   fast.h   the inline part of topic.h and link.h
 *
 *     struct lw_bus *bus; struct lw_pub *pub;
 *     if (lw_bus_open(&bus, NULL) || lw_pub_open(&pub, bus, "prices", NULL)) return puts(lw_errtext()), 1;
 *     lw_pub_send(pub, 1, &tick, sizeof tick, LW_FOREVER);
 */
#ifndef LANEWAY_LANEWAY_H
#define LANEWAY_LANEWAY_H

#define LW_VERSION_MAJOR 0
#define LW_VERSION_MINOR 1
#define LW_VERSION_PATCH 0
#define LW_VERSION "0.1.0"

#include "laneway/bus.h"
#include "laneway/err.h"
#include "laneway/fast.h"
#include "laneway/group.h"
#include "laneway/link.h"
#include "laneway/topic.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library in use, "0.1.0". */
LW_API const char *lw_version(void);

#ifdef __cplusplus
}
#endif
#endif
