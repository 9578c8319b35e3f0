/* SPDX-License-Identifier: MIT */
/* kill/as_tests.h - operations as the cases of a test program; those who recover are left alive. */
#ifndef LW_TESTS_KILL_AS_TESTS_H
#define LW_TESTS_KILL_AS_TESTS_H

#include "kill/kill.h"

/* Runs a table, and stops each at so many places. What main() returns. */
int kill_as_tests(const struct kill_op *ops, uint64_t stops);

#endif
