/* SPDX-License-Identifier: MIT */
/* util/child.h - between the two halves of util. */
#ifndef LW_TESTS_CHILD_H
#define LW_TESTS_CHILD_H

/* Kills and reaps every child of t_fork() that still runs, and closes its pipes. */
void t_children_end(void);

#endif
