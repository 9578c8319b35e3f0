#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# laneway echo-server and laneway echo: each message comes back once and in order, whoever is killed and started again.
# shellcheck source=tests/tool/echo_lib.sh
. "$(dirname "$0")/echo_lib.sh"

case_messages_come_back() {
    serve gate
    expect 0 lw echo gate --count 1000
    has out '^echoes +1000 messages, 64000 bytes in '
    has out '^round trip +p50 [0-9.]+ us, p99 [0-9.]+ us, p99.9 [0-9.]+ us, max [0-9.]+ us$'
    has out '^checked +0 lost, 0 repeated, 0 corrupt$'
    is "$(cat err)" ""
    expect 0 lw echo gate --as alice --count 5000 --window 100 --size 24
    expect 0 lw echo gate --as alice --count 50 --window 100 --size 10K --spin 0
    expect 0 lw echo gate --as bob --count 4 --size 400K --ring 1M
    end_server
    has served '^ready +gate$'
    has served '^login +alice'
    has served '^up +alice$'
    has served '^down +alice: closed$'
    has served '^server gate: 4 logins, 0 refused; 6054 messages answered, '
}

case_as_json() {
    start echo-server gate --json >served 2>&1
    server=$!
    until_true grep -q ready served
    expect 0 lw echo gate --as alice --count 300 --window 10 --json
    is_json out
    is "$(field server <out) $(field client <out) $(field sent <out) $(field echoes <out)" "gate alice 300 300"
    is "$(field bytes <out) $(field lost <out) $(field repeated <out) $(field corrupt <out)" "19200 0 0 0"
    is "$(field downs <out) $(field next_number <out) $(field outstanding <out)" "0 300 0"
    [ "$(field p50_ns <out)" -le "$(field p99_ns <out)" ]
    [ "$(field p999_ns <out)" -le "$(field max_ns <out)" ]
    [ "$(field max_ns <out)" -le "$(field elapsed_ns <out)" ]
    until_true grep -q '"down"' served
    end_server
    is_json served
    has served '^\{"event":"login","client":"alice","text":'
    has served '^\{"event":"end","server":"gate","logins":1,"refused":0,"messages":300,"bytes":19200,"skipped":0\}$'
}

case_quiet() {
    start echo-server gate --quiet >served 2>&1
    server=$!
    expect 0 lw echo gate --count 10 --quiet
    end_server
    is "$(grep -vc '^server gate: 1 logins' served)" 0
}

case_rate() {
    local begin=$EPOCHREALTIME
    serve gate
    expect 0 lw echo gate --count 100 --rate 200 --json
    awk -v b="$begin" -v e="$EPOCHREALTIME" 'BEGIN {exit !(e - b > 0.45)}'
    [ "$(field rate <out)" -le 250 ]
    end_server
}

case_no_server() {
    expect 4 lw echo gate --as alice --timeout 0.3
    has err 'no echo within the time given; the server is not there'
    is "$(cat out)" ""
    expect 4 lw echo gate --as alice --timeout 0.1 --json
    is_json err
    has err '"error":"LW_EEMPTY"'
    serve gate
    expect 0 lw echo gate --as alice --count 1 --json
    is "$(field echoes <out) $(field next_number <out)" "2 2"
    end_server
}

case_waits_for_the_server() {
    start echo gate --as alice --count 100 --window 20 >got 2>said
    client=$!
    until_true grep -q 'server gate is not there; waiting for it' said
    serve gate
    wait $client
    has got '^echoes +100 '
    has said 'server gate is up'
    end_server
}

case_refused() {
    serve gate --refuse 'only on weekdays'
    expect 1 lw echo gate --as alice --count 1
    has err 'server gate refused alice: only on weekdays'
    expect 1 lw echo gate --as alice --count 1 --json
    has err '"error":"LW_EREFUSED"'
    end_server
    has served '^refused +alice: only on weekdays$'
    has served '^server gate: 0 logins, 2 refused'
    serve gate
    expect 0 lw echo gate --as alice --count 1
    end_server
}

case_held_names() {
    serve gate
    expect 1 lw echo-server gate
    has err "server gate: node [^ ]+ \(pid $server\) is it"
    start echo gate --as alice >/dev/null 2>said
    client=$!
    until_true grep -q '^up *alice' served
    expect 1 lw echo gate --as alice --count 1
    has err "link gate/alice: node [^ ]+ \(pid $client\) has it open"
    expect 1 lw echo gate --as alice --count 1 --json
    has err '"error":"LW_EHELD"'
    kill -INT $client
    wait $client || is $? 130
    expect 0 lw echo gate --as alice --count 1
    end_server
}

case_too_big() {
    expect 1 lw echo gate --as alice --size 1M --count 1
    has err '--size is too big: at most [0-9]+ bytes fit'
    expect 1 lw echo gate --as alice --ring 1M --count 1
    has err '262144.*1048576'
}

# What it sent before the interrupt is answered to the next run.
case_interrupted_client_goes_on() {
    start echo gate --as alice --window 10 --json >got 2>&1
    client=$!
    until_true links_have 10
    kill -INT $client
    ended 130
    is "$(field sent <got) $(field outstanding <got)" "10 10"
    serve gate
    expect 0 lw echo gate --as alice --count 5 --json
    is "$(field echoes <out) $(field next_number <out)" "15 15"
    end_server
}

links_have() {
    [ "$(lw ls links --json 2>/dev/null | field unread_up)" = "$1" ]
}

case_link_is_removed_under_both() {
    serve gate
    start echo gate --as alice >/dev/null 2>said
    client=$!
    until_true grep -q '^up *alice' served
    expect 1 lw rm links gate
    has err 'link gate/alice.*--force'
    expect 0 lw rm links gate --force
    ended 1
    has said 'link gate/alice was removed'
    until_true grep -Eq '^(closed|down) *alice' served # whichever it hears of first: the removal, or its client's end
    expect 0 lw echo gate --as alice --count 10 --json
    is "$(field next_number <out)" 10
    end_server
}

case_server_is_killed() {
    begin_dice
    bus=$PWD/far
    serve gate
    kill_servers gate
    is "$(field unread_down <out | tr '\n' ' ')" "0 0 "
}

case_server_with_threads_is_killed() {
    begin_dice
    bus=$PWD/far
    serve gate --threads 3
    kill_servers gate --threads 3
    is "$(field unread_down <out | tr '\n' ' ')" "0 0 "
}

case_client_is_killed() {
    bus=$PWD/far
    serve gate --threads 2
    kill_clients gate
}

case_both_are_killed() {
    local i
    RANDOM=$seed
    echo "seed $seed"
    for ((i = 0; i < kills; i++)); do
        serve gate
        start echo gate --as alice --window 200 --quiet >/dev/null 2>said
        sleep "0.$((RANDOM % 15 + 5))"
        kill -KILL "$server" $!
        wait "$server" || true
        wait $! || true
    done
    serve gate
    expect 0 lw echo gate --as alice --count 10 --timeout 10
    end_server
}

# A client that is stopped takes nothing: its ring runs full, the server waits without work, and another client goes on.
case_stopped_client_stops_nobody() {
    serve gate
    start echo gate --as alice --window 100000 --quiet >alice.out 2>&1
    client=$!
    until_true grep -q '^up *alice' served
    kill -STOP $client
    expect 0 lw echo gate --as bob --count 1000 --window 10 --timeout 10
    kill -CONT $client
    sleep 0.2
    kill -INT $client
    client_ended $client alice.out
    end_server
}

# Killed with more requests in the link than answers find room: the server answers them when somebody takes the answers.
case_answers_without_room_wait() {
    local cpu
    start echo gate --as alice --window 100000 --quiet >/dev/null 2>said
    client=$!
    until_true links_have_many
    serve gate
    kill -STOP $client
    sleep 0.1
    kill -CONT $client
    sleep 0.1
    kill -STOP $client
    sleep 0.5
    cpu=$(cpu_of "$server")
    sleep 1
    [ $(($(cpu_of "$server") - cpu)) -lt 50 ] # hundredths of a second: it does not turn in circles
    kill -KILL $client
    wait $client || true
    expect 0 lw echo gate --as alice --count 10 --window 1000 --timeout 10
    end_server
}

links_have_many() {
    local unread
    unread=$(lw ls links --json 2>/dev/null | field unread_up)
    [ "${unread:-0}" -gt 1000 ]
}

cpu_of() {
    awk '{print $14 + $15}' "/proc/$1/stat"
}

run_cases
