/* SPDX-License-Identifier: MIT */
/* kill/ops.c - every operation, by kind. */
#include "kill/kill.h"

const struct kill_op *const kill_tables[] = {kill_sole_ops,   kill_shared_ops, kill_evict_ops,
                                             kill_mirror_ops, kill_bus_ops,    kill_topic_ops,
                                             kill_link_ops,   kill_far_ops,    NULL};
