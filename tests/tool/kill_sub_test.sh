#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# laneway sub --as --out, killed and started again: each message is in the file once.
#   LW_TEST_SEED=N repeats a run's choices (not its timing).
# shellcheck source=tests/tool/lib.sh
. "$(dirname "$0")/lib.sh"

seed=${LW_TEST_SEED:-$RANDOM}
lines=300000 kills=20
[ -z "${LW_TEST_SHORT:-}" ] || lines=60000 kills=5

case_killed_at_random_moments() {
    local publisher killed=0
    RANDOM=$seed
    awk -v n=$lines 'BEGIN {for (i = 1; i <= n; i++) printf "%d %*s\n", i, i * 7919 % 60, "."}' >in
    lw sub t --as s --create-only --ring 64K
    start pub t --rate $((lines / 2)) <in
    publisher=$!
    while [ $killed -lt $kills ]; do
        start sub t --as s --out got
        sleep "0.0$((10 + RANDOM % 40))"
        kill -KILL $!
        wait $! || killed=$((killed + 1))
    done
    echo "seed $seed: killed $killed times, $(wc -l <got) lines then"
    start sub t --as s --out got
    wait $publisher
    until_true topic_field_is t lag_messages 0
    kill -TERM $!
    ended 130
    [ ! -e got.at ]
    cmp in got
}

# Kills the subscriber at the N-th call that changes a file, for every N, before the call (KILL) and after it
# (USR1, which waits for the call to end); and once more in the run after.
case_killed_at_each_call() {
    command -v strace >/dev/null || skip "needs strace"
    export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
    strace -o /dev/null true || skip "needs the right to trace a process"
    seq 100000 199999 | head -c 90000 >in
    local call
    for call in pwrite64 ftruncate unlink; do
        kill_at_each $call KILL
        kill_at_each $call USR1
    done
}

kill_at_each() {
    local at again
    for ((at = 1; at < 100; at++)); do
        for again in 1 2; do
            rm -rf "$bus" got got.at
            lw sub t --as s --create-only --ring 128K
            lw pub t --size 15000 <in # six messages, more than a quarter of the ring in three
            killed_at "$1" "$2" $at && break 2
            [ $again = 1 ] || killed_at "$1" "$2" 2 || true
            lw sub t --as s --exit-at-end --format raw --out got
            [ ! -e got.at ]
            cmp in got || { echo "killed at $1 $at by $2" && return 1; }
        done
    done
    echo "$1, $2: $((at - 1)) places"
    [ $at -gt 1 ]
    [ $at -lt 100 ]
}

# Returns 0 when the run came to its end.
killed_at() {
    strace -o /dev/null -e trace="$1" -e inject="$1:signal=$2:when=$3" \
        "$LANEWAY" sub --bus "$bus" t --as s --exit-at-end --format raw --out got
}

run_cases
