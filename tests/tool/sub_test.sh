#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# laneway sub: formats, places to begin, durable names, ends, files.
# shellcheck source=tests/tool/lib.sh
. "$(dirname "$0")/lib.sh"

case_formats() {
    printf 'a\0b"\\\xff' | lw pub t --size 100
    printf 'caf\xc3\xa9\t\x01' | lw pub t --size 6 --count 1
    lw sub t --from oldest --exit-at-end --format raw >raw
    printf 'a\0b"\\\xffcaf\xc3\xa9\t\x01' | head -c 12 | cmp - raw
    lw sub t --from oldest --count 1 --format line >line
    printf 'a\0b"\\\xff\n' | cmp - line
    lw sub t --from oldest --count 2 --format json >json
    is_json json
    is "$(head -n 1 json | field data)" "YQBiIlz/"
    is "$(head -n 1 json | field text)" ""
    is "$(tail -n 1 json | field text)" $'caf\xc3\xa9\\t'
    is "$(tail -n 1 json | field size)" 6
}

case_base64_of_all_lengths() {
    local n
    for n in 1 2 3 4 5 255 4096 4097 9000; do
        head -c $n /dev/urandom >in
        lw pub t --size $n <in
        lw sub t --json --as s --from oldest --count 1 | field data | base64 -d | cmp - in
    done
}

case_json_text_is_escaped() {
    printf 'say "hi" \\ \t\r\xc2\x85' | lw pub t --null
    printf 'say "hi" \\ \t\r' | lw pub t --null
    lw sub t --from oldest --exit-at-end --json >json
    is_json json
    is "$(grep -c '"text":' json)" 1
    has json '"text":"say \\"hi\\" \\\\ \\t\\r"'
}

case_from_oldest_now_and_position() {
    seq 10 | lw pub t
    is "$(lw sub t --from oldest --exit-at-end)" "$(seq 10)"
    is "$(lw sub t --from now --exit-at-end)" ""
    is "$(lw sub t --exit-at-end)" ""
    local at
    at=$(lw sub t --from oldest --exit-at-end --json | grep '"number":6,' | field position)
    is "$(lw sub t --from "$at" --exit-at-end)" "$(seq 7 10)"
    at=$(topic_field t next_position)
    is "$(lw sub t --from "$at" --exit-at-end)" ""
    expect 1 lw sub t --from 3 --exit-at-end
    has err 'position'
}

case_subscriber_before_publisher() {
    start sub t --count 3 >got
    until_true reader_is_there t
    seq 3 | lw pub t
    ended 0
    is "$(cat got)" "$(seq 3)"
}

case_late_joiner() {
    lw sub t --as early --create-only
    seq 5 | lw pub t
    start sub t --count 2 >late
    until_true reader_is_there t
    seq 6 7 | lw pub t
    ended 0
    is "$(cat late)" $'6\n7'
    is "$(lw sub t --as early --exit-at-end)" "$(seq 7)"
}

case_durable_goes_on_where_it_was() {
    lw sub t --as s --create-only
    seq 10 | lw pub t
    is "$(lw sub t --as s --count 3)" "$(seq 3)"
    is "$(lw sub t --as s --from oldest --count 4)" "$(seq 4 7)"
    is "$(lw sub t --as s --exit-at-end)" "$(seq 8 10)"
    is "$(lw sub t --as s --exit-at-end)" ""
}

case_create_only() {
    expect 0 lw sub t --as s --create-only --json
    is_json out
    is "$(field name <out) $(field messages <out) $(field next_number <out)" "s 0 0"
    expect 0 lw sub t --as s --create-only
    is "$(topic_field t name)" s
}

case_name_in_use() {
    start sub t --as s --node holder >/dev/null
    until_true reader_is_there t
    expect 1 lw sub t --as s
    has err 'holder'
}

case_timeout() {
    expect 4 lw sub t --timeout 0.05
    has err 'no message for 0.05 seconds'
    expect 4 lw sub t --timeout 0 --json
    is "$(cat out)" ""
    is_json err
    seq 3 | lw pub t
    expect 4 lw sub t --from oldest --timeout 0.05
    is "$(cat out)" "$(seq 3)"
    expect 0 lw sub t --from oldest --timeout 0.05 --count 3
}

case_head_takes_one_line() {
    seq 100000 | lw pub t
    set -o pipefail
    is "$(lw sub t --from oldest 2>err | head -n 1)" 1
    is "$(cat err)" ""
}

case_head_without_further_messages() {
    lw pub t hello
    set -o pipefail
    is "$(lw sub t --from oldest 2>err | head -n 1)" hello
    is "$(cat err)" ""
}

# The reader takes 100,000 bytes and goes away: what it did not get stays with the topic, but for what
# had gone into the pipe.
case_pipe_that_breaks_releases_what_was_written() {
    lw sub t --as s --create-only
    seq 200000 | lw pub t --count 150000
    lw sub t --as s | head -c 100000 >/dev/null
    local released
    released=$(topic_field t next_number)
    released=$((released - $(topic_field t lag_messages)))
    [ $released -gt 10000 ]
    [ $released -lt 150000 ]
    is "$(lw sub t --as s --count 1)" $((released + 1))
}

case_interrupt_is_clean() {
    start sub t --as s --from oldest >got
    seq 10 | lw pub t
    until_true topic_field_is t lag_messages 0
    until_true test -s got
    kill -INT $!
    ended 130
    is "$(cat got)" "$(seq 10)"
    is "$(lw sub t --as s --exit-at-end)" ""
}

case_interrupt_with_a_stuck_reader() {
    mkfifo pipe
    exec 5<>pipe
    lw sub t --as s --create-only
    seq 150000 | lw pub t
    start sub t --as s >pipe
    until_true topic_field_is t alive true
    kill -TERM $!
    ended 130
}

case_topic_is_removed() {
    start sub t >/dev/null 2>err
    until_true reader_is_there t
    lw rm t --force
    ended 1
    has err 'topic t was removed \(closed\)'
}

# Before its first message; a file that an earlier run wrote stays as it is.
case_topic_is_removed_before_a_message_for_a_file() {
    echo before >got
    start sub t --as s --out got 2>err
    until_true reader_is_there t
    lw rm t --force
    ended 1
    has err 'topic t was removed \(closed\)'
    is "$(cat got)" before
}

case_large_messages_through_a_small_ring() {
    head -c 600000 /dev/urandom >in
    lw sub t --as s --create-only --ring 64K
    start sub t --as s --format raw --out got
    lw pub t --size 1-32000 <in
    until_true topic_field_is t lag_messages 0
    kill -TERM $!
    ended 130
    cmp in got
}

case_out_without_a_name_begins_anew() {
    seq 3 | lw pub t
    echo old old old old >got
    expect 0 lw sub t --from oldest --exit-at-end --out got --json
    is_json out
    is "$(field messages <out) $(field name <out)" "3 null"
    is "$(cat got)" "$(seq 3)"
    lw sub t --exit-at-end --out got
    is "$(cat got)" ""
}

case_out_with_a_name_goes_on() {
    lw sub t --as s --create-only
    seq 10 | lw pub t
    lw sub t --as s --count 3 --out got
    lw sub t --as s --count 3 --out got
    [ ! -e got.at ]
    expect 0 lw sub t --as s --exit-at-end --out got --json --format line
    is "$(field messages <out) $(field next_number <out) $(field name <out)" "4 10 s"
    is "$(cat got)" "$(seq 10)"
}

case_out_that_is_a_pipe() {
    seq 3 | lw pub t
    is "$(lw sub t --as s --from oldest --exit-at-end --out /dev/stdout | cat)" "$(seq 3)"
    lw sub t --from oldest --exit-at-end --out /dev/null
}

# Starts a durable subscriber that writes to `got`, waits for the messages 1 to $1 there, and kills it.
leave_after() {
    start sub t --as s --out got
    until_true last_line_is "$1"
    kill -KILL $!
    wait $! || true
}

last_line_is() {
    [ "$(tail -n 1 got 2>/dev/null)" = "$1" ]
}

case_out_after_a_kill() {
    lw sub t --as s --create-only
    seq 5 | lw pub t
    leave_after 5
    [ -e got.at ]
    echo 'written and not released' >>got
    seq 6 9 | lw pub t
    lw sub t --as s --exit-at-end --out got
    [ ! -e got.at ]
    is "$(cat got)" "$(seq 9)"
}

case_out_of_a_topic_that_was_made_anew() {
    lw sub t --as s --create-only
    seq 5 | lw pub t
    leave_after 5
    lw rm t
    lw sub t --as s --create-only
    seq 6 9 | lw pub t
    lw sub t --as s --exit-at-end --out got
    is "$(cat got)" "$(seq 9)"
}

case_out_that_does_not_fit_is_refused() {
    lw sub t --as s --create-only
    seq 5 | lw pub t
    leave_after 5
    seq 6 9 | lw pub t
    expect 1 lw sub t --exit-at-end --out got
    has err 'got.at'
    lw sub t --as other --create-only
    seq 10 12 | lw pub t
    expect 1 lw sub t --as other --exit-at-end --out got
    has err 'got.at'
    lw sub t --as s --count 1 >/dev/null
    expect 1 lw sub t --as s --exit-at-end --out got
    has err 'remove got.at'
    rm got.at
    lw sub t --as s --exit-at-end --out got
    is "$(cat got)" "$(seq 5 && seq 7 12)"
}

case_out_with_a_damaged_sidecar() {
    lw sub t --as s --create-only
    seq 5 | lw pub t
    leave_after 5
    head -c 128 /dev/urandom >got.at
    expect 6 lw sub t --as s --exit-at-end --out got
    has err 'got.at is damaged'
}

case_out_has_one_writer() {
    start sub t --as a --out got
    until_true reader_is_there t
    expect 1 lw sub t --as b --out got
    has err 'another process writes to got'
}

case_out_on_a_full_disk() {
    lw sub t --as s --create-only
    seq 1000 | lw pub t
    expect 1 lw sub t --as s --exit-at-end --out /dev/full
    has err '/dev/full'
    is "$(topic_field t lag_messages)" 1000
    (ulimit -f 1 && lw sub t --as s --exit-at-end --out got 2>err) && return 1
    [ -e got.at ]
    lw sub t --as s --exit-at-end --out got
    is "$(cat got)" "$(seq 1000)"
}

run_cases
