#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Seven seconds of chaos: writers and readers on one topic, then links over memory and TCP beside them, are killed, stopped
# and cut at random, and nothing is lost, repeated, reordered or corrupt. `make chaos` and `make soak` run it for longer.
#   LW_TEST_SEED=N repeats a run's choices (not its timing).
set -u
: "${LANEWAY:?path of the tool}"
chaos=$(dirname "$LANEWAY")/tests/chaos
seed=()
[ -z "${LW_TEST_SEED:-}" ] || seed=(--seed "$LW_TEST_SEED")
status=0

run() {
    local name=$1
    shift
    if "$chaos" "$@" "${seed[@]}"; then
        echo "ok $name"
    else
        echo "not ok $name"
        status=1
    fi
}

run a_topic_killed_and_stopped_at_random_nothing_is_lost_repeated_or_reordered --seconds 5
run links_killed_stopped_and_cut_at_random_nothing_is_lost_repeated_reordered_or_corrupt \
    --seconds 2 --writers 1 --readers 2 --links 1 --tcp 2 --break 10
exit $status
