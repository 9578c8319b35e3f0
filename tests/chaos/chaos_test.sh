#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Eight seconds of chaos: writers and readers on one topic are killed and stopped at random, and nothing is lost,
# repeated or reordered. `make chaos` runs it for longer.
#   LW_TEST_SEED=N repeats a run's choices (not its timing).
set -u
: "${LANEWAY:?path of the tool}"
chaos=$(dirname "$LANEWAY")/tests/chaos
seed=()
[ -z "${LW_TEST_SEED:-}" ] || seed=(--seed "$LW_TEST_SEED")
name=killed_and_stopped_at_random_nothing_is_lost_repeated_or_reordered

if "$chaos" --seconds 8 "${seed[@]}"; then
    echo "ok $name"
else
    echo "not ok $name"
    exit 1
fi
