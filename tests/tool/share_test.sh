#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Several publishers of one topic, and one that wants to be the only one.
# shellcheck source=tests/tool/lib.sh
. "$(dirname "$0")/lib.sh"

lines=100000
[ -z "${LW_TEST_SHORT:-}" ] || lines=20000

# Starts a publisher that stays, as node $1; its stdin is descriptor 5.
pub_stays() {
    [ -p in ] || mkfifo in
    exec 5<>in
    start pub t --node "$1" "${@:2}" <in 2>"err.$1" 5>&-
    until_true writer_is_there "$1"
}

writer_is_there() {
    lw info t --json 2>/dev/null | grep -q '"node":"'"$1"'"'
}

# Both are open before either publishes: each waits for the first line of its own pipe.
two_at_once() {
    local pids="" name
    lw sub t --as store --create-only --ring 64K
    mkfifo a b
    exec 6<>a 7<>b
    for name in a b; do
        start pub t --node "$name" --json "$@" <"$name" >"$name.out" 6>&- 7>&-
        pids+=" $!"
    done
    until_true writer_is_there a
    until_true writer_is_there b
    is "$(topic_field t writer_count) $(topic_field t exclusive)" "2 false"
    seq -f "a %.0f" $lines >&6 6>&- 7>&- &
    seq -f "b %.0f" $lines >&7 6>&- 7>&- &
    exec 6>&- 7>&-
    expect 0 lw sub t --as store --count $((2 * lines))
    # shellcheck disable=SC2086
    wait $pids
    is "$(topic_field t next_number) $(topic_field t lag_messages)" "$((2 * lines)) 0"
    for name in a b; do
        grep "^$name " out | cmp - <(seq -f "$name %.0f" $lines)
        is "$(field messages <$name.out)" $lines
    done
    lw verify t
}

case_two_at_once() {
    two_at_once
}

case_two_at_once_without_bias() {
    two_at_once --no-bias
}

# One is killed in the middle: what it sent is there without a gap, and the other one goes on.
case_one_of_two_is_killed() {
    local victim count
    lw create t --ring 64K
    start sub t --as store --from oldest >got
    pub_stays steady --rate 20000
    seq -f "steady %.0f" 5000 >&5 5>&- &
    start pub t --node victim --size 8 < <(yes victim.)
    victim=$!
    until_true grep -q '^victim' got
    kill -KILL $victim
    wait $victim || true
    exec 5>&-
    until_true grep -q '^steady 5000$' got
    grep '^steady' got | cmp - <(seq -f "steady %.0f" 5000)
    count=$(topic_field t next_number)
    expect 0 lw pub t --exclusive last
    is "$(topic_field t next_number)" $((count + 1))
    lw verify t
}

case_second_exclusive_is_refused() {
    local pid
    pub_stays first --exclusive
    pid=$!
    expect 1 lw pub t --exclusive hello
    has err "node first \(pid $pid\)"
    expect 1 lw pub t --resume hello
    has err "node first \(pid $pid\)"
    expect 1 lw pub t --json hello
    is "$(cat out)" ""
    is_json err
    has err "\"error\":\"LW_EWRITER\".*node first \(pid $pid\)"
    exec 5>&-
    ended 0
    expect 0 lw pub t --exclusive hello
}

case_exclusive_beside_shared_is_refused() {
    local pid
    pub_stays first
    pid=$!
    expect 1 lw pub t --exclusive hello
    has err "node first \(pid $pid\)"
    expect 0 lw pub t hello
    exec 5>&-
    ended 0
    expect 0 lw pub t --exclusive hello
    is "$(topic_field t next_number)" 2
}

case_a_killed_exclusive_one_is_in_nobodys_way() {
    pub_stays first --exclusive
    kill -KILL $!
    wait $! || true
    expect 0 lw pub t shared
    expect 0 lw pub t --exclusive exclusive
    is "$(lw sub t --from oldest --exit-at-end)" $'shared\nexclusive'
}

case_slots_are_for_publishers_too() {
    lw create t --slots 1
    pub_stays first
    is "$(topic_field t slots_taken)" 1
    expect 1 lw pub t hello
    has err 'all 1 slots are taken'
    expect 1 lw sub t --exit-at-end
    has err 'all 1 slots are taken'
    exec 5>&-
    ended 0
    expect 0 lw pub t hello
}

# It is stopped between two messages, not in the midst of one: the others must get past it.
case_a_stopped_one_is_in_nobodys_way() {
    local pid
    pub_stays first
    pid=$!
    echo one >&5
    until_true topic_field_is t next_number 1
    kill -STOP $pid
    expect 0 lw pub t two
    kill -CONT $pid
    echo three >&5
    until_true topic_field_is t next_number 3
    exec 5>&-
    ended 0
    is "$(lw sub t --from oldest --exit-at-end)" $'one\ntwo\nthree'
}

case_topic_is_removed_under_a_publisher() {
    local pid status=0
    pub_stays first
    pid=$!
    echo one >&5
    until_true topic_field_is t next_number 1
    lw rm t --force
    yes >&5 5>&- &
    wait $pid || status=$?
    is $status 1
    has err.first 'topic t was removed \(closed\) after'
}

run_cases
