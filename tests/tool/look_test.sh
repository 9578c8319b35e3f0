#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# laneway create, ls, info, verify, forget, rm, clean, bench.
# shellcheck source=tests/tool/lib.sh
. "$(dirname "$0")/lib.sh"

# Starts a subscriber or publisher that stays, as node $1.
sub_stays() {
    start sub t --node "$1" "${@:2}" >/dev/null 2>&1
    until_true reader_is_there t
}

writer_is_there() {
    lw info t --json 2>/dev/null | grep -q '"writers":\[{"node":"'"$1"'",[^}]*"alive":true'
}

pub_stays() {
    mkfifo in
    exec 5<>in
    start pub t --node "$1" "${@:2}" <in >/dev/null 2>&1 5>&-
    until_true writer_is_there "$1"
}

kill_last() {
    kill -KILL $!
    wait $! || true
}

case_create() {
    expect 0 lw create t --ring 64K --slots 3 --schema 'my ticks:7'
    is "$(cat out)" ""
    expect 0 lw create t --json
    is_json out
    is "$(field topic <out) $(field ring <out) $(field slots <out) $(field slots_taken <out)" "t 65536 3 0"
    is "$(field schema <out) $(field schema_hash <out) $(field writer_count <out)" "my ticks 7 0"
    is "$(field evict_lag <out) $(field evict_age <out)" "null null"
    expect 0 lw create t --slots 5
    lw pub t hello
    expect 0 lw create t --slots 5
    expect 1 lw create t --slots 3
    has err 'slots'
    expect 1 lw create t --schema other
}

case_create_with_eviction() {
    expect 0 lw create t --ring 1M --evict-lag 256K --evict-age 2m --json
    is_json out
    is "$(field evict_lag <out) $(field evict_age <out)" "262144 120"
    lw pub t hello
    expect 0 lw create t --evict-age 120s
    expect 1 lw create t --evict-age 3h
    has err '120 s'
    expect 1 lw create t --evict-lag 128K
    has err '262144'
    expect 0 lw info t
    has out '^eviction +more than 262144 bytes behind; durable and dead or away for 120 s$'
    lw create other
    expect 0 lw info other
    has out '^eviction +never$'
}

case_ls_topics() {
    expect 0 lw create b
    expect 0 lw ls
    is "$(cat out)" b
    lw pub a/b/c one
    lw pub a/b two
    lw create a
    lw create a-b
    expect 0 lw ls
    is "$(sort out | tr '\n' ' ')" "a a-b a/b a/b/c b "
    expect 0 lw ls topics --long
    is "$(wc -l <out)" 6
    has out '^ *1 +4194304 +0 +0 +a/b/c$'
    expect 0 lw ls --json
    is_json out
    is "$(wc -l <out)" 5
    is "$(grep '"a/b/c"' out | field next_number)" 1
}

case_ls_counts_publishers() {
    pub_stays source
    expect 0 lw ls -l
    has out ' +0 +1 +t$'
    exec 5>&-
    ended 0
    rm in
    pub_stays source --exclusive
    expect 0 lw ls -l
    has out ' +0 +exclusive +t$'
    expect 0 lw ls --json
    is "$(field writer_count <out) $(field exclusive <out) $(field slots_taken <out)" "1 true 0"
}

case_ls_nodes() {
    sub_stays alice
    expect 0 lw ls nodes
    is "$(cat out)" alice
    expect 0 lw ls nodes --json
    is_json out
    is "$(field name <out) $(field alive <out) $(field pid <out)" "alice true $!"
    kill_last
    expect 0 lw ls nodes
    is "$(cat out)" ""
    expect 0 lw ls nodes --long
    has out ' 0 +gone +alice$'
}

case_info() {
    lw create t --schema tick:1
    lw sub t --as store --create-only
    pub_stays source
    seq 3 >&5
    until_true topic_field_is t next_number 3
    sub_stays reader
    expect 0 lw info t
    has out '^schema +tick:0x1'
    has out '^slots +3 of 64 taken'
    has out '^source +[0-9]+ +alive +shared +3 +(inside|biased|-)$'
    has out '^next +message 3 '
    has out '^store +- +0 away +durable +0 +3 +48 +- +-$'
    has out '^- +reader +[0-9]+ alive +reliable +48 +0 +0 +- +-$'
    has out '^held back by subscriber store: 3 messages behind$'
    expect 0 lw info t --json
    is_json out
    has out '"node":"source","pid":[0-9]+,"alive":true,"exclusive":false,"slot":1,"messages":3,"inside":false,"biased":'
    has out '"name":"store","node":null,"slot":0,"durable":true,"lossy":false,"alive":false,"pid":0,"slowest":true,'
    has out "\"name\":null,\"node\":\"reader\",\"slot\":2,\"durable\":false,\"lossy\":false,\"alive\":true,\"pid\":$!,"
    has out '"lag_messages":3,"lag_bytes":48,"max_lag":null,"lost":0\}'
}

case_info_of_the_dead() {
    local reader
    lw sub t --as store --create-only
    sub_stays reader
    reader=$!
    pub_stays source
    kill -KILL $! $reader
    wait $! $reader || true
    exec 5>&-
    expect 0 lw info t
    has out '^source +0 +dead +shared '
    has out '^- +reader +0 dead +reliable '
    has out '^store +- +0 away +durable '
    lw clean
    expect 0 lw info t
    has out '^no publisher$'
    has out '^store +- +0 away +durable '
    is "$(grep -c dead out)" 0
}

case_info_of_an_exclusive_publisher() {
    pub_stays source --exclusive
    expect 0 lw info t
    has out '^source +[0-9]+ +alive +exclusive +- +-$'
    expect 0 lw info t --json
    has out '"node":"source","pid":[0-9]+,"alive":true,"exclusive":true,"slot":null,"messages":null,"inside":true'
    exec 5>&-
    ended 0
}

case_info_of_lossy_and_limited() {
    lw create t --evict-lag 1M
    lw sub t --as store --create-only --max-lag 64K
    sub_stays quick --lossy
    expect 0 lw info t
    has out '^store +- +0 away +durable +0 +0 +0 +65536 +-$'
    has out '^- +quick +[0-9]+ alive +lossy +0 +0 +0 +- +-$'
    expect 0 lw info t --json
    has out '"name":"store",.*"max_lag":65536,"lost":0\}'
    has out '"node":"quick",[^}]*"lossy":true,[^}]*"slowest":false,"evicted":false,[^}]*"max_lag":null,"lost":0\}'
}

case_no_topic_and_no_bus() {
    local command
    for command in "info t" "verify t" "forget t s" "rm t" "ls" "ls nodes" "clean"; do
        # shellcheck disable=SC2086
        expect 3 lw $command
        has err "$bus"
        [ ! -e "$bus" ]
    done
    lw create a/b
    for command in "info t" "verify t" "forget t s" "rm t" "info a"; do
        # shellcheck disable=SC2086
        expect 3 lw $command --json
        is "$(cat out)" ""
        is_json err
        has err '"error":"LW_ENOTOPIC","text":".*[ta]'
    done
}

case_looking_leaves_nothing() {
    lw pub t hello
    ls -R "$bus" >before
    for command in "ls" "ls nodes" "info t" "verify t"; do
        # shellcheck disable=SC2086
        expect 0 lw $command
    done
    ls -R "$bus" | cmp - before
}

case_verify() {
    seq 1000 | lw pub t
    expect 0 lw verify t
    has out '^t: ok, 1000 records'
    expect 0 lw verify t --json
    is_json out
    is "$(field ok <out) $(field records <out) $(field bytes <out) $(field from <out)" "true 1000 2893 0"
}

# corrupt FILE OFFSET: flips a byte.
corrupt() {
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    # shellcheck disable=SC2059
    printf "\\$(printf %o $((byte ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

case_corrupt_head() {
    seq 10 | lw pub t --ring 64K
    corrupt "$bus/topics/t/.lane" 33
    for command in "info t" "verify t" "sub t --from oldest" "pub t hello"; do
        # shellcheck disable=SC2086
        expect 6 lw $command
        has err 't.*corrupt|corrupt.*t'
    done
    expect 6 lw verify t --json
    is "$(cat out)" ""
    is_json err
    lw create good
    expect 1 lw ls --long
    has out ' good$'
    has err 't.*corrupt'
    has err '1 of 2 topics'
    expect 1 lw ls --json
    is_json out
    is_json err
    is "$(field topic <out)" good
    expect 0 lw ls
    is "$(cat out)" $'good\nt'
    expect 6 lw rm t
    expect 0 lw rm t --force
    is "$(lw ls)" good
}

# The sixth record: a length that no record has.
case_corrupt_record() {
    seq 10 | lw pub t --ring 64K
    local at size
    at=$(lw sub t --from oldest --exit-at-end --json | sed -n 6p | field position)
    size=$(stat -c %s "$bus/topics/t/.lane")
    corrupt "$bus/topics/t/.lane" $((size - 65536 + at + 3))
    expect 6 lw verify t
    has err "$at"
    expect 6 lw sub t --from oldest --as s
    is "$(cat out)" "$(seq 5)"
    has err "$at"
}

case_no_permission() {
    [ "$(id -u)" = 0 ] || skip "needs root, to be another user"
    command -v setpriv >/dev/null || skip "needs setpriv"
    lw pub t hello
    cp "$LANEWAY" "$top/laneway"
    chmod 755 "$top/laneway" # our own directory may be closed to that user
    setpriv --reuid 65534 --regid 65534 --clear-groups "$top/laneway" --version >/dev/null ||
        skip "needs to run a program as another user"
    for command in ls "info t" "sub t" "pub t hello" "rm t"; do
        # shellcheck disable=SC2086
        expect 5 setpriv --reuid 65534 --regid 65534 --clear-groups "$top/laneway" $command --bus "$bus"
        has err "$bus.*65534"
    done
    expect 5 setpriv --reuid 65534 --regid 65534 --clear-groups "$top/laneway" ls --bus "$bus" --json
    is_json err
    has err '"error":"EACCES"'
    touch locked
    chmod 755 .
    expect 5 setpriv --reuid 65534 --regid 65534 --clear-groups "$top/laneway" sub t --bus "$PWD/other" --out locked
    has err 'can not open locked'
}

case_bus_for_a_group() {
    [ "$(id -u)" = 0 ] || skip "needs root, to be another user"
    command -v setpriv >/dev/null || skip "needs setpriv"
    cp "$LANEWAY" "$top/laneway"
    chmod 755 "$top/laneway"
    setpriv --reuid 65534 --regid 65534 --clear-groups "$top/laneway" --version >/dev/null ||
        skip "needs to run a program as another user"
    expect 0 lw pub t --group 65534 'for the group'
    expect 0 setpriv --reuid 65534 --regid 65534 --clear-groups "$top/laneway" sub t --bus "$bus" \
        --from oldest --count 1
    is "$(cat out)" "for the group"
}

case_forget() {
    lw sub t --as s --create-only
    seq 3 | lw pub t
    sub_stays holder --as s
    expect 1 lw forget t s
    has err holder
    kill_last
    expect 0 lw forget t s --json
    is_json out
    is "$(field topic <out) $(field name <out) $(field forgotten <out)" "t s true"
    is "$(topic_field t slots_taken)" 0
    expect 1 lw forget t s
    has err s
}

case_rm_refuses_while_somebody_has_it_open() {
    sub_stays holder
    expect 1 lw rm t
    has err holder
    kill_last
    pub_stays source
    expect 1 lw rm t
    has err source
    exec 5>&-
    ended 0
    expect 0 lw rm t --json
    is_json out
    is "$(field topic <out) $(field removed <out)" "t true"
    expect 3 lw info t
}

case_rm_force() {
    sub_stays holder
    expect 0 lw rm t --force
    ended 1
    expect 3 lw info t
    is "$(lw ls)" ""
}

case_rm_of_one_level() {
    lw pub a/b/c deep
    lw pub a top
    expect 0 lw rm a
    is "$(lw ls)" a/b/c
    expect 0 lw rm a/b/c
    is "$(lw ls)" ""
    expect 0 lw pub a again
}

case_clean() {
    local reader
    sub_stays one
    reader=$!
    pub_stays two --exclusive
    kill -KILL $! $reader
    wait $! $reader || true
    exec 5>&-
    expect 0 lw clean --json
    is_json out
    is "$(field readers <out) $(field writers <out)" "1 1"
    expect 0 lw clean
    has out '0 subscribers, 0 publishers'
    is "$(topic_field t slots_taken) $(topic_field t writer_count)" "0 0"
}

case_bench_lists() {
    expect 0 "$LANEWAY" bench
    has out '^lane-rtt '
    expect 0 "$LANEWAY" bench --json
    is_json out
    has out '"name":"lane-rate"'
    expect 0 "$LANEWAY" bench lane-rtt --help
}

run_cases
