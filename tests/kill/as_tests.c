/* SPDX-License-Identifier: MIT */
/* kill/as_tests.c - operations as the cases of a test program. */
#include "kill/as_tests.h"

#include "util/child.h"

enum { MOST = 128 };

static void one(void **state) {
    const struct kill_op *op = *state;
    t_skip_without_ptrace(op->name);
    assert_int_equal(op->run(op), 0);
}

static int end(void **state) {
    (void)state;
    t_children_end();
    return 0;
}

int kill_as_tests(const struct kill_op *ops, uint64_t stops) {
    static struct CMUnitTest tests[MOST];
    bool in_short = t_loops(20) == 1; /* under sanitizers an operation has many times the instructions */
    size_t count = 0;
    kill_how = (struct kill_how){.stride = 1, .apart = 1, .to = UINT64_MAX, .stops = stops};
    for (const struct kill_op *op = ops; op->name && count < MOST; op++)
        if (op->brief || !in_short)
            tests[count++] = (struct CMUnitTest){op->name, one, NULL, end, (void *)(uintptr_t)op};
    return _cmocka_run_group_tests("operations", tests, count, NULL, NULL);
}
