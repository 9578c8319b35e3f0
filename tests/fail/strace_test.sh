#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A process is killed inside a system call (strace delivers the signal there), for the calls that each scenario of
# tests/fail makes; then the same scenario must succeed on what is left, with nothing lost or twice. As many as LW_FAIL_SECONDS
# (20) allow, at random; with 0 all of them (`make fail`); with LW_FAIL_ONLY=PATTERN of some scenarios.
set -u
: "${LANEWAY:?path of the tool}"
fail=$(dirname "$LANEWAY")/tests/fail
seconds=${LW_FAIL_SECONDS:-20} only=${LW_FAIL_ONLY:-*}
export ASAN_OPTIONS=detect_leaks=0 # there is no other tracer while strace is one
if ! command -v strace >/dev/null || ! strace -o /dev/null true 2>/dev/null; then
    echo "skip killed_inside_system_calls: there is no strace, or it may not trace"
    exit 0
fi

memory=${TMPDIR:-/dev/shm}
[[ $memory == /dev/shm* ]] || memory=/dev/shm
rooms=$(mktemp -d "$memory/laneway-test-XXXXXX") && disk=$(mktemp -d /var/tmp/laneway-test-XXXXXX) || exit 1
trap 'rm -rf "$rooms" "$disk"' EXIT
status=0 seed=${LW_TEST_SEED:-$RANDOM}
RANDOM=$seed
echo "seed: LW_TEST_SEED=$seed"

# Prints "CALL FIRST LAST" for each system call that the scenario makes: strace counts from the beginning of the program.
calls_of() {
    awk -F'(' '/^getpgid\(-77\)/ {inside = !inside; next}
               /^[a-z0-9_]+\(/   {n[$1]++; if (inside) {if (!($1 in first)) first[$1] = n[$1]; last[$1] = n[$1]}}
               END {for (c in first) if (c !~ /^(exit|exit_group|alarm|wait4|kill|brk)$/) print c, first[c], last[c]}' "$1" | sort
}

# Kills a run in the N-th CALL, and has it begun again.
kill_in() {
    local scenario=$1 call=$2 n=$3 dir=$4/run code
    rm -rf "$dir"
    mkdir "$dir"
    # In braces, for bash to keep to itself that it was killed.
    {
        strace -o /dev/null -e trace="$call" -e inject="$call:signal=KILL:when=$n" \
            "$fail" --act "$scenario" "$dir" >"$dir/log" 2>&1
        code=$?
    } 2>/dev/null
    case $code in
    137) killed=$((killed + 1)) ;;
    0) return 0 ;; # this time there were fewer
    *) cat "$dir/log" && echo "FAIL $scenario: status $code, to be killed in $call $n" && return 1 ;;
    esac
    if ! "$fail" --recover "$scenario" "$dir" >"$dir/log" 2>&1; then
        cat "$dir/log"
        echo "FAIL $scenario: does not recover after it was killed in $call $n"
        return 1
    fi
}

scenarios=$("$fail" --list | wc -l)
while read -r scenario kind; do
    # shellcheck disable=SC2053 # it is a pattern
    [[ $scenario == $only ]] || continue
    room=$rooms
    [ "$kind" != disk ] || room=$disk
    killed=0 failed=0
    mkdir -p "$room/run"
    if ! strace -o "$rooms/trace" "$fail" --act "$scenario" "$room/run" >"$rooms/log" 2>&1; then
        cat "$rooms/log"
        failed=1
    fi
    calls=()
    while read -r call first last; do
        for ((n = first; n <= last; n++)); do calls+=("$call $n"); done
    done < <(calls_of "$rooms/trace")
    all=${#calls[@]}
    if [ "$seconds" = 0 ]; then
        chosen=("${calls[@]}")
    else
        chosen=()
        for ((n = 0; n < 100 && all > 0; n++)); do
            chosen+=("${calls[(RANDOM * 32768 + RANDOM) % all]}")
        done
    fi
    end=$(($(date +%s%N) + seconds * 1000000000 / scenarios))
    for what in "${chosen[@]}"; do
        read -r call n <<<"$what"
        kill_in "$scenario" "$call" "$n" "$room" || failed=$((failed + 1))
        [ "$seconds" = 0 ] || [ "$(date +%s%N)" -lt $end ] || break
    done
    echo "$scenario: killed in $killed of $all calls"
    if [ $failed = 0 ] && [ "$all" -gt 0 ]; then
        echo "ok killed_inside_system_calls_$scenario"
    else
        echo "not ok killed_inside_system_calls_$scenario"
        status=1
    fi
    rm -rf "$room/run"
done < <("$fail" --list)
exit $status
