/* SPDX-License-Identifier: MIT */
/* lane/lock_step_test.c - shared writers that die, or stop, at every instruction: the operations are in kill/lane_shared.c. */
#include "kill/as_tests.h"

int main(void) {
    return kill_as_tests(kill_shared_ops, (uint64_t)t_loops(2000));
}
