#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A part of `make kill`: processes are killed at the instructions of what they do on lanes, a bus, topics and links, who
# recovers is killed too, and some are stopped. Nothing is lost, repeated or reordered.
#   LW_TEST_SEED=N repeats a run's choices (not its timing).
set -u
: "${LANEWAY:?path of the tool}"
kill=$(dirname "$LANEWAY")/tests/kill
seed=()
[ -z "${LW_TEST_SEED:-}" ] || seed=(--seed "$LW_TEST_SEED")

# Prints one case: its name, then the options of `kill`.
run() {
    local name=$1
    shift
    if "$kill" --brief "${seed[@]}" "$@"; then
        echo "ok $name"
    else
        echo "not ok $name"
        failed=1
    fi
}

failed=0
run lanes_at_every_instruction_and_some_recoveries_too --op '@(lane|shared|mirror)/*' --apart 8 --stop 10
run evictions_at_every_instruction --op 'evict/*' --apart 30
run buses_and_topics_at_some_states --op '@(bus|topic)/*' --stride 8 --apart 4 --inner 1
run links_at_some_states --op '@(link|far)/*' --stride 60 --apart 4 --inner 1
exit $failed
