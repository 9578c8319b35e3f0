/* SPDX-License-Identifier: MIT */
/* pattern/ring.h - waking those who sleep on a lane. After what they wait for was stored; runs a full fence first. */
#ifndef LW_PATTERN_RING_H
#define LW_PATTERN_RING_H

#include "pattern/file.h"

void lw__ring_readers(struct lw_bus *bus, struct lw__lane *lane); /* a record came */
void lw__ring_writers(struct lw_bus *bus, struct lw__lane *lane); /* there may be room */
void lw__ring_all(struct lw_bus *bus, struct lw__lane *lane);     /* the file is not at its path any more */

#endif
