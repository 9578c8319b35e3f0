/* SPDX-License-Identifier: MIT */
/*
 * lane/step_test.c - death at every instruction of an exclusive writer, of readers in place, and of who comes and goes:
 * the operations are in kill/lane_sole.c.
 */
#include "kill/as_tests.h"

int main(void) {
    return kill_as_tests(kill_sole_ops, 0);
}
