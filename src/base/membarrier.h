/* SPDX-License-Identifier: MIT */
/*
 * base/membarrier.h - a full fence on every processor that runs a registered process.
 *
 * It makes one side of "announce, then look" free: that side keeps its store and its load in order for the compiler
 * only; the other one stores, calls lw__membarrier(), and looks.
 */
#ifndef LW_BASE_MEMBARRIER_H
#define LW_BASE_MEMBARRIER_H

/* Registers this process for the fences of others. 0 or -errno: -ENOSYS, -EPERM (a filter refuses), -EINVAL. */
int lw__membarrier_register(void);

/* Runs the fence. Costs up to some 20 us, and interrupts other processors. 0 or -errno. */
int lw__membarrier(void);

#endif
