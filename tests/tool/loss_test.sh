#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Subscribers that may lose messages: lossy ones, and evicted ones. What came and what was told to be
# lost must be all there was.
# shellcheck source=tests/tool/lib.sh
. "$(dirname "$0")/lib.sh"

lines=100000
[ -z "${LW_TEST_SHORT:-}" ] || lines=20000

# Starts a subscriber whose stdout nobody reads before descriptor 6 is given up to `cat`.
sub_is_stuck() {
    mkfifo pipe
    exec 6<>pipe
    start sub t --node stuck "$@" >pipe 2>told 6>&-
    until_true reader_is_there t
}

# It reads now, up to the end, and is interrupted.
sub_goes_on() {
    local pid=$!
    cat <pipe >got 6>&- &
    cat=$!
    exec 6>&-
    until_true topic_field_is t lag_messages 0
    kill -INT $pid
    status=0
    wait $pid || status=$?
    wait $cat
}

# total FILE: how many messages the warnings of a file say were lost.
lost_in_all() {
    if grep -q 'lost in all' "$1"; then
        sed -n 's/.* \([0-9]*\) messages were lost in all.*/\1/p' "$1"
    else
        sed -n 's/.* \([0-9]*\) messages were lost .*before.*/\1/p' "$1"
    fi
}

# The lines of a file are numbers, each larger than the one before.
is_increasing() {
    awk '$1 <= last {print "after", last, "comes", $1; exit 1} {last = $1}' "$1"
}

case_lossy_is_told_of_a_gap() {
    sub_is_stuck --lossy --ring 64K
    # Four bytes of each record's 16 are the message: the pipe and the sink are full long before the end.
    seq $((10 * lines)) | lw pub t
    sub_goes_on
    is $status 130
    is_increasing got
    is "$(tail -n 1 got)" $((10 * lines))
    has told 'messages were lost .*before message [0-9]+: publishers were faster'
    is $(($(wc -l <got) + $(lost_in_all told))) $((10 * lines))
}

case_lossy_holds_nobody_back() {
    start sub t --lossy --ring 64K >/dev/null 2>told
    until_true reader_is_there t
    kill -STOP $!
    seq $lines >in
    expect 0 lw pub t --timeout 0 --json <in
    is "$(field waits <out) $(field evicted <out)" "0 0"
    kill -CONT $!
    until_true topic_field_is t lag_messages 0
    kill -INT $!
    ended 130
    has told 'messages were lost before'
}

# Stopped, not slow: exactly one gap, and it is known where.
case_lossy_counts_are_in_the_end() {
    lw create t --ring 64K
    start sub t --lossy --out got --json --count 1000 >out 2>err
    until_true reader_is_there t
    kill -STOP $!
    seq $lines | lw pub t
    kill -CONT $!
    ended 8
    is_json out
    is_json err
    is "$(field messages <out) $(field evicted <out)" "1000 0"
    is "$(head -n 1 got)" $(($(field lost <out) + 1))
    is "$(field lost <err) $(field places <err) $(field evicted <err)" "$(field lost <out) 1 0"
    is "$(field next_number <err)" "$(field lost <out)"
    is_increasing got
}

case_lossy_without_loss() {
    seq 100 | lw pub t
    expect 0 lw sub t --lossy --from oldest --exit-at-end
    is "$(cat out)" "$(seq 100)"
    is "$(cat err)" ""
}

# It is stopped, so it can't keep up; publishers go on without it.
case_max_lag_evicts_and_it_goes_on() {
    start sub t --max-lag 16K --ring 64K --count 300 >got 2>told
    until_true reader_is_there t
    seq 100 | lw pub t
    until_true topic_field_is t lag_messages 0
    kill -STOP $!
    seq 101 $lines >in
    expect 0 lw pub t --json <in
    is "$(field evicted <out)" 1
    is "$(topic_field t evicted)" true
    expect 0 lw info t
    has out ' alive +reliable .* 16384 +- evicted$'
    kill -CONT $!
    ended 8
    has told 'messages were lost before message [0-9]+: this subscriber .* was evicted'
    is "$(head -n 100 got)" "$(seq 100)"
    is_increasing got
    is "$(sed -n 101p got)" $((100 + $(lost_in_all told) + 1))
}

# The same, without max-lag and with a topic that has the rule; a name keeps what is left.
case_evict_lag_is_for_all() {
    lw create t --ring 64K --evict-lag 32K
    lw sub t --as store --create-only
    seq $lines >in
    expect 0 lw pub t --json <in
    is "$(field evicted <out) $(topic_field t evicted)" "1 true"
    expect 8 lw sub t --as store --exit-at-end
    has err 'messages were lost before .* evicted'
    is "$(tail -n 1 out)" $lines
    is "$(head -n 1 out)" $(($(lost_in_all err) + 1))
    is_increasing out
    is "$(topic_field t lost) $(topic_field t evicted)" "$(lost_in_all err) false"
    lw pub t more
    expect 0 lw sub t --as store --exit-at-end
    is "$(cat out)" more
}

# Within its limit nobody is evicted, not even for a long time.
case_max_lag_that_is_kept() {
    lw sub t --as store --create-only --max-lag 32K --ring 64K
    seq 2000 | lw pub t
    expect 0 lw sub t --as store --max-lag 32K --exit-at-end
    is "$(cat out)" "$(seq 2000)"
}

# What is in the file and what was told to be lost is all there was, also over a kill.
case_evicted_into_a_file() {
    lw create t --ring 64K --evict-lag 32K
    start sub t --as store --from oldest --out got 2>told
    seq 100 | lw pub t
    until_true test -s got
    until_true topic_field_is t lag_messages 0
    kill -KILL $!
    wait $! || true
    seq 101 $lines | lw pub t
    expect 8 lw sub t --as store --exit-at-end --out got --json
    is "$(field evicted <out)" 1
    is "$(head -n 100 got)" "$(seq 100)"
    is "$(sed -n 101p got)" $((101 + $(field lost <out)))
    is $(($(wc -l <got) + $(field lost <out))) $lines
    is_increasing got
    [ ! -e got.at ]
}

# A durable one that is dead holds a publisher back no longer than its topic says.
case_evict_age_frees_a_publisher() {
    lw create t --ring 64K --evict-age 1s
    start sub t --as store >/dev/null
    until_true reader_is_there t
    kill -KILL $!
    wait $! || true
    seq $lines >in
    expect 0 lw pub t --json <in
    [ "$(field waits <out)" -gt 0 ]
    is "$(field evicted <out) $(field messages <out)" "1 $lines"
    expect 0 lw info t
    has out '^store .* away +durable .* evicted$'
    expect 8 lw sub t --as store --exit-at-end
    is "$(tail -n 1 out)" $lines
    is $(($(wc -l <out) + $(lost_in_all err))) $lines
}

# The living are not evicted for their age.
case_evict_age_spares_the_living() {
    lw create t --ring 64K --evict-age 1s
    start sub t --as store --node holder >/dev/null
    until_true reader_is_there t
    kill -STOP $!
    seq $lines >in
    expect 7 lw pub t --timeout 2.5 <in
    has err 'store \(alive, node holder'
    is "$(topic_field t evicted)" false
    kill -CONT $!
}

run_cases
