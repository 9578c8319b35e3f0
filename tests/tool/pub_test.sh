#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# laneway pub: cutting the input, resuming, waiting for room.
# shellcheck source=tests/tool/lib.sh
. "$(dirname "$0")/lib.sh"

# All that the topic holds.
read_all() {
    lw sub "$1" --from oldest --exit-at-end "${@:2}"
}

case_message() {
    expect 0 lw pub t 'hello world' --type 7
    is "$(cat out)" ""
    expect 0 read_all t --json
    is "$(field text <out) $(field type <out) $(field number <out)" "hello world 7 0"
}

case_empty_message() {
    expect 0 lw pub t ''
    expect 0 read_all t --json
    is "$(field size <out)|$(field data <out)" "0|"
}

case_message_many_times() {
    expect 0 lw pub t again --count 3
    is "$(read_all t)" $'again\nagain\nagain'
}

case_lines() {
    printf 'one\n\nthree\nlast without newline' | lw pub t
    is "$(read_all t)" $'one\n\nthree\nlast without newline'
    is "$(topic_field t next_number)" 4
}

case_lines_come_as_they_are_written() {
    mkfifo in
    exec 5<>in
    start pub t <in 5>&-
    echo first >&5
    until_true topic_field_is t next_number 1
    printf 'sec' >&5
    printf 'ond\nthird' >&5
    until_true topic_field_is t next_number 2
    exec 5>&-
    ended 0
    is "$(read_all t)" $'first\nsecond\nthird'
}

case_nul() {
    printf 'a\nb\0\0c' | lw pub t --null
    read_all t --format raw >out
    is "$(cat out)" $'a\nbc'
    is "$(topic_field t next_number)" 3
}

case_fixed_size() {
    printf 'aaabbbcc' | lw pub t --size 3
    is "$(read_all t)" $'aaa\nbbb\ncc'
}

case_size_range_is_the_same_every_time() {
    head -c 300000 /dev/urandom >in
    lw pub a --ring 1M --size 1-2K <in
    lw pub b --ring 1M --size 1-2K <in
    read_all a --json | sed 's/"topic":"."//' >sizes.a
    read_all b --json | sed 's/"topic":"."//' >sizes.b
    cmp sizes.a sizes.b
    read_all a --format raw | cmp - in
    # The first five sizes are part of what is promised: a later version must go on in the same way.
    is "$(head -n 5 sizes.a | field size | tr '\n' ' ')" "1456 1218 1743 2030 715 "
    field size <sizes.a | awk '$1 < 1 || $1 > 2048 {exit 1}'
}

case_count_stops() {
    seq 10 | lw pub t --count 4
    is "$(read_all t)" "$(seq 4)"
}

case_rate() {
    local begin=$EPOCHREALTIME
    seq 31 | lw pub t --rate 100
    # Thirty gaps of 10 ms. Too slow is the machine's matter, too fast is ours.
    awk -v b="$begin" -v e="$EPOCHREALTIME" 'BEGIN {exit e - b < 0.3}'
    is "$(read_all t)" "$(seq 31)"
}

case_large_message() {
    head -c 40000 /dev/zero | tr '\0' x >in
    expect 1 lw pub small --ring 64K <in
    has err 'too big'
    expect 0 lw pub large --ring 128K <in
    read_all large --format raw | cmp - in
}

case_resume_goes_on_at_the_exact_message() {
    seq 10 >in
    lw pub t --resume --count 4 <in
    expect 0 lw pub t --resume --json <in
    is "$(field skipped <out) $(field messages <out) $(field next_number <out)" "4 6 10"
    expect 0 lw pub t --exclusive --resume --json <in
    is "$(field skipped <out) $(field messages <out) $(field first_position <out)" "10 0 null"
    is "$(read_all t)" "$(seq 10)"
}

case_resume_with_another_input() {
    seq 10 | lw pub t
    seq 3 >in
    expect 1 lw pub t --exclusive --resume <in
    has err 'the input ends after 3 messages'
}

case_summary() {
    printf 'one\nthree\n' >in
    expect 0 lw pub t --json <in
    is_json out
    is "$(field topic <out) $(field messages <out) $(field bytes <out) $(field skipped <out)" "t 2 8 0"
    is "$(field first_position <out) $(field next_number <out)" "0 2"
    is "$(field next_position <out)" "$(topic_field t next_position)"
}

case_need_sub() {
    expect 1 lw pub t --need-sub hello
    has err 'no subscriber'
    lw sub t --as s --create-only
    expect 0 lw pub t --need-sub hello
}

case_full() {
    lw sub t --as sleeper --create-only --ring 64K
    seq 100000 >in
    expect 7 lw pub t --timeout 0 <in
    has err 'sleeper'
    expect 7 lw pub t --timeout 0.1 --json hello hello && return 1
    yes | head -c 30000 >in
    expect 7 lw pub t --timeout 0.1 --size 30000 --json <in
    is "$(cat out)" ""
    is_json err
    has err '"error":"LW_EFULL".*sleeper'
}

case_waiting_is_explained() {
    lw sub t --as sleeper --create-only --ring 64K
    start pub t --size 10000 2>told < <(yes | head -c 300000)
    until_true grep -q sleeper told
    expect 0 lw sub t --as sleeper --count 30
    ended 0
    is "$(wc -l <told)" 1
}

case_other_shape_is_refused() {
    lw pub t --ring 64K --schema a:1 hello
    expect 1 lw pub t --ring 128K hello
    expect 1 lw pub t --schema a:2 hello
    expect 1 lw pub t --schema b hello
    expect 0 lw pub t --ring 64K --schema a:1 hello
}

case_interrupt() {
    mkfifo in
    exec 5<>in
    start pub t --json <in >out 5>&-
    printf 'one\ntwo\nhalf' >&5
    until_true topic_field_is t next_number 2
    kill -INT $!
    ended 130
    is "$(field messages <out)" 2
    is "$(read_all t)" $'one\ntwo'
}

case_interrupt_while_waiting_for_room() {
    lw sub t --as sleeper --create-only --ring 64K
    start pub t < <(yes)
    until_true topic_field_is t lag_messages "$((65536 / 16 - 1))"
    kill -TERM $!
    ended 130
}

run_cases
