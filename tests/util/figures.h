/* SPDX-License-Identifier: MIT */
/* util/figures.h - what tests of many peers measure and print: times, and what a process uses. */
#ifndef LW_TESTS_FIGURES_H
#define LW_TESTS_FIGURES_H

#include <stdint.h>
#include <sys/types.h>

/* A number from the environment, for the long versions; `otherwise` when it is not there. */
int t_number(const char *variable, int otherwise);

/* Sorts `ns` and prints "what: median, p99, max" in milliseconds, with the machine's load. */
void t_print_times(const char *what, int64_t *ns, int count);

/* What the kernel says of a process (0: this one). -1: it does not say. */
int64_t t_cpu_ns(pid_t pid);     /* user and system time of all its threads */
int t_descriptors_of(pid_t pid); /* open */
int t_maps_of(pid_t pid);        /* lines of its maps */
int64_t t_private_of(pid_t pid); /* bytes of memory that is its own: not of files, not shared */
double t_load(void);             /* of the machine, over the last minute */

/* Raises the soft limit of descriptors up to `wanted`, as far as it goes. What it is then. */
int t_allow_descriptors(int wanted);

/* Bytes that are free where test directories are made. */
int64_t t_room(void);

#endif
