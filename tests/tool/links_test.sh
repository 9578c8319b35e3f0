#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# laneway ls links and laneway rm links.
# shellcheck source=tests/tool/lib.sh
. "$(dirname "$0")/lib.sh"

# make_link SERVER CLIENT [COUNT]: a link with so many (1) unread messages, whose client has gone.
make_link() {
    local status=0
    "$LANEWAY" echo "$1" --bus "$bus" --as "$2" --window "${3:-1}" --timeout 0.001 --quiet >/dev/null 2>&1 || status=$?
    is $status 4
}

names() {
    awk 'NR > 1 {print $1 "/" $2}' out | tr '\n' ' '
}

case_nothing_there() {
    expect 3 lw ls links
    expect 3 lw rm links a
    lw create t
    expect 0 lw ls links
    is "$(wc -l <out)" 1
    expect 0 lw ls links --json
    is "$(cat out)" ""
    expect 3 lw rm links a/b
    has err 'no link a/b .*laneway ls links'
    expect 3 lw rm links 'a*' --json
    is_json err
    has err '"error":"LW_ENOLINK"'
}

case_list() {
    make_link gate alice 3
    make_link gate bob
    make_link desk alice
    expect 0 lw ls links
    has out '^SERVER +CLIENT +STATE +SERVER-NODE +PID +CLIENT-NODE +PID +UNREAD-UP +UNREAD-DN$'
    is "$(names)" "desk/alice gate/alice gate/bob "
    has out '^gate +alice +waiting +- +0 +- +0 +3 +0$'
    expect 0 lw ls links -l
    has out 'RING-UP +RING-DN$'
    has out '^gate +alice .* 3 +0 +262144 +262144$'
    expect 0 lw ls
    is "$(cat out)" ""
}

case_list_with_a_pattern() {
    make_link gate alice
    make_link gate2 alice
    make_link desk alice
    make_link desk bob
    for pair in "gate:gate/alice " "gate*:gate/alice gate2/alice " "*/bob:desk/bob " "d?sk/a*:desk/alice " \
        "[dg]ate:gate/alice " "desk/bob:desk/bob " "nobody:" "*:desk/alice desk/bob gate/alice gate2/alice "; do
        expect 0 lw ls links "${pair%%:*}"
        is "$(names)" "${pair#*:}"
    done
}

case_bad_patterns() {
    local bad
    lw create t
    for bad in '' / a/ /a a/b/c ../a a/../b 'a b' a/.b .a 'a/ b' $'a\n' tcp://a:1 tcp://a:1/ tcp://a:1/a/b/c unix://a/b; do
        expect 2 lw ls links "$bad"
        has err 'is no pattern for links'
        expect 2 lw rm links "$bad"
    done
    expect 2 lw ls nodes a
    expect 2 lw rm t links
    expect 2 lw rm links a b
}

case_list_as_json() {
    make_link gate alice 2
    expect 0 lw ls links --json
    is_json out
    is "$(field server <out) $(field client <out) $(field state <out)" "gate alice waiting"
    is "$(field server_node <out) $(field server_pid <out) $(field client_node <out) $(field client_pid <out)" \
        "null 0 null 0"
    is "$(field sent_up <out) $(field unread_up <out) $(field sent_down <out) $(field unread_down <out)" "2 2 0 0"
    is "$(field unread_up_bytes <out) $(field ring_up <out) $(field ring_down <out)" "144 262144 262144"
}

case_list_while_in_use() {
    start echo-server gate --node keeper >served 2>&1
    server=$!
    start echo gate --as alice --node caller --rate 100 >/dev/null 2>&1
    client=$!
    until_true grep -q '^up *alice' served
    expect 0 lw ls links --json
    is "$(field state <out) $(field server_node <out) $(field client_node <out)" "up keeper caller"
    is "$(field server_pid <out) $(field client_pid <out)" "$server $client"
    expect 0 lw ls links
    has out "^gate +alice +up +keeper +$server +caller +$client "
    kill -KILL $client
    wait $client || true
    until_true state_is down
    kill -KILL $server
    wait $server || true
    expect 0 lw ls links --json
    is "$(field state <out) $(field server_pid <out) $(field client_pid <out)" "down 0 0"
}

state_is() {
    [ "$(lw ls links --json | field state)" = "$1" ]
}

case_state_refused() {
    start echo-server gate --refuse no >/dev/null 2>&1
    lw echo gate --as alice --count 1 >/dev/null 2>&1 || is $? 1
    expect 0 lw ls links --json
    is "$(field state <out)" refused
}

case_remove() {
    make_link gate alice 3
    make_link gate bob
    expect 0 lw rm links gate/alice
    is "$(cat out)" "removed gate/alice, 3 unread messages discarded"
    expect 0 lw rm links gate/bob --json
    is_json out
    is "$(cat out)" '{"server":"gate","client":"bob","removed":true,"unread":1}'
    expect 0 lw ls links
    is "$(wc -l <out)" 1
    make_link gate alice
    expect 0 lw ls links --json
    is "$(field sent_up <out)" 1
}

case_remove_with_a_pattern() {
    make_link Server20180101 alice
    make_link Server20180102 bob 2
    make_link Server20190101 alice
    expect 0 lw rm links 'Server2018*'
    is "$(cat out)" "removed Server20180101/alice, 1 unread message discarded
removed Server20180102/bob, 2 unread messages discarded"
    expect 0 lw ls links
    is "$(names)" "Server20190101/alice "
    expect 3 lw rm links 'Server2018*'
}

case_remove_what_is_open() {
    make_link gate alice
    start echo gate --as bob --node caller >/dev/null 2>said
    client=$!
    until_true client_is bob
    expect 1 lw rm links gate
    is "$(cat out)" "removed gate/alice, 1 unread message discarded"
    has err "link gate/bob.*node caller \(pid $client\) has it.*--force"
    has err '1 of 2 links were not removed|1 of 2'
    expect 1 lw rm links 'gate/b*' --json
    is_json err
    has err '"error":"LW_EHELD"'
    expect 0 lw rm links 'gate/b*' --force
    has out '^removed gate/bob, 1 unread message discarded$'
    ended 1
    has said 'link gate/bob was removed'
}

client_is() {
    lw ls links --json 2>/dev/null | grep -q '"client":"'"$1"'".*"client_pid":[1-9]'
}

# A link over TCP whose server is nowhere: this is the client's side.
case_over_tcp_client() {
    make_link tcp://127.0.0.1:1/gate alice 3
    make_link gate bob
    expect 0 lw ls links
    has out '^gate +alice +waiting +tcp://127.0.0.1:1/gate +0 +- +0 +3 +0$'
    has out '^gate +bob +waiting +- +0 +- +0 +1 +0$'
    expect 0 lw ls links gate/alice --json
    is_json out
    is "$(field side <out) $(field address <out) $(field state <out)" "client tcp://127.0.0.1:1/gate waiting"
    expect 0 lw ls links gate/bob --json
    is "$(field side <out) $(field address <out)" "null null"
    expect 0 lw ls links tcp://elsewhere:7000/gate
    is "$(names)" "gate/alice "
    expect 0 lw ls links 'unix:///run/socket/g*/alice'
    is "$(names)" "gate/alice "
    expect 3 lw rm links tcp://127.0.0.1:1/gate/bob
    expect 0 lw rm links tcp://127.0.0.1:1/gate/alice
    is "$(cat out)" "removed gate/alice (its client's side), 3 unread messages discarded"
    expect 0 lw ls links
    is "$(names)" "gate/bob "
    make_link tcp://127.0.0.1:1/gate alice
    expect 0 lw rm links gate/alice --json
    is "$(cat out)" '{"server":"gate","client":"alice","side":"client","removed":true,"unread":1}'
}

# Both sides on one bus, which is allowed: two entries.
case_over_tcp_both_sides() {
    local to
    start echo-server gate --node keeper --listen tcp://127.0.0.1:0 >served 2>&1
    server=$!
    until_true grep -q '^ready' served
    to=$(sed -n 's/^ready *gate //p' served)
    start echo "$to" --as alice --node caller >/dev/null 2>said
    client=$!
    until_true grep -q '^up *alice' served
    until_true is_connected "^gate +alice +up +keeper +$server +tcp://127.0.0.1:[0-9]+ +0 "
    until_true is_connected "^gate +alice +up +$to +0 +caller +$client "
    expect 1 lw rm links "$to/alice"
    has err "node caller \(pid $client\) has it"
    kill -KILL $server
    wait $server || true
    until_true is_connected "^gate +alice +down +$to +0 +caller +$client "
    expect 0 lw rm links "$to/alice" --force
    has out "^removed gate/alice \(its client's side\)"
    ended 1
    has said "link $to/alice was removed"
    expect 0 lw rm links gate
    has out "^removed gate/alice \(its server's side\)"
}

is_connected() {
    lw ls links | grep -Eq "$1"
}

case_over_tcp_damaged() {
    make_link tcp://127.0.0.1:1/gate alice
    printf 'garbage!' | dd of="$bus/remote/gate/alice/down.lane" conv=notrunc status=none
    expect 1 lw ls links
    has err 'link gate/alice'
    expect 6 lw rm links tcp://127.0.0.1:1/gate/alice
    expect 0 lw rm links tcp://127.0.0.1:1/gate/alice --force
    expect 0 lw ls links
    is "$(wc -l <out)" 1
}

case_damaged() {
    make_link gate alice
    make_link gate bob
    printf 'garbage!' | dd of="$bus/links/gate/alice/up.lane" conv=notrunc status=none
    expect 1 lw ls links
    is "$(names)" "gate/bob "
    has err 'link gate/alice'
    has err '1 of 2 links could not be read'
    expect 6 lw rm links gate/alice
    has err '--force'
    expect 0 lw rm links gate --force
    is "$(wc -l <out)" 2
    expect 0 lw ls links
    is "$(wc -l <out)" 1
}

case_a_topic_named_links() {
    lw pub links hello
    make_link gate alice
    expect 0 lw rm links
    expect 0 lw ls links
    is "$(names)" "gate/alice "
}

run_cases
