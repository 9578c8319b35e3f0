#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# laneway pub --exclusive --resume, killed at random moments and started again: the subscriber gets the
# whole input once.   LW_TEST_SEED=N repeats a run's choices (not its timing).
# shellcheck source=tests/tool/lib.sh
. "$(dirname "$0")/lib.sh"

seed=${LW_TEST_SEED:-$RANDOM}
lines=400000 kills=20
[ -z "${LW_TEST_SHORT:-}" ] || lines=60000 kills=5

# kill_until_sent INPUT OPTION...: the publisher is killed $kills times; then it may finish.
kill_until_sent() {
    local input=$1 killed=0 sent before=0
    shift
    while [ $killed -lt $kills ]; do
        start pub t --exclusive --resume "$@" <"$input"
        sleep "0.0$((10 + RANDOM % 40))"
        kill -KILL $! 2>/dev/null || break
        wait $! && break
        killed=$((killed + 1))
        sent=$(topic_field t next_number)
        [ "${sent:-0}" -ge $before ] || { echo "went back from $before to $sent" && return 1; }
        before=${sent:-0}
    done
    expect 0 lw pub t --exclusive --resume "$@" --json <"$input"
    echo "seed $seed: killed $killed times, the last run sent $(field messages <out) of $(field next_number <out)"
}

case_lines_are_all_there_once() {
    local subscriber
    RANDOM=$seed
    awk -v n=$lines 'BEGIN {for (i = 1; i <= n; i++) printf "%d %*s\n", i, i * 7919 % 60, "."}' >in
    lw sub t --as s --create-only --ring 256K
    start sub t --as s --count $lines --out got
    subscriber=$!
    kill_until_sent in --rate $lines
    wait $subscriber
    cmp in got
}

case_sizes_are_cut_in_the_same_way() {
    local subscriber
    RANDOM=$seed
    seq $lines >in
    lw sub t --as s --create-only --ring 4M
    start sub t --as s --format raw --out got
    subscriber=$!
    kill_until_sent in --size 1-100 --rate $((lines / 15))
    until_true topic_field_is t lag_messages 0
    kill -TERM $subscriber
    wait $subscriber || is $? 130
    cmp in got
}

run_cases
