#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The programs of examples/ that talk over links: a server, a client that waits by itself, one in an epoll loop and one
# in libuv's.
# shellcheck source=tests/tool/lib.sh
. "$(dirname "$0")/lib.sh"

examples=$(dirname "$LANEWAY")/examples
sources=$(realpath "$(dirname "$0")/../../examples")

# begin PROGRAM [ARGUMENT]: in the background, as $!.
begin() {
    LANEWAY_DIR=$bus "$examples/$1" "${@:2}" <&0 >"$1.out" 2>&1 &
}

# run PROGRAM [ARGUMENT]: to its end.
run() {
    LANEWAY_DIR=$bus timeout -k 1 30 "$examples/$1" "${@:2}" >out 2>err && [ ! -s err ] && return
    echo "$1: exit code $?"
    cat out err
    return 1
}

# What ten orders of the client cost, from number $1 on.
costs() {
    awk -v from="$1" 'BEGIN {for (i = 0; i < 10; i++) printf "order %d costs %.3f\n", from + i, (1 + i) * (100 + i / 8)}'
}

case_client_and_server() {
    begin server
    run client
    is "$(cat out)" "$(costs 0)"
    run client
    is "$(cat out)" "$(costs 10)"
}

case_orders_wait_for_the_server() {
    begin client
    client=$!
    until_true has_orders 10
    begin server
    wait $client
    is "$(cat client.out)" "$(costs 0)"
}

# has_orders N: so many wait in the client's link.
has_orders() {
    [ "$(lw ls links desk/client --json 2>/dev/null | field unread_up)" = "$1" ]
}

case_the_client_is_killed_and_gets_all_answers() {
    begin client
    until_true has_orders 10
    kill -KILL $!
    wait $! || true
    begin server
    run client
    is "$(cat out)" "$(costs 0 && costs 10)"
}

case_client_and_server_over_a_socket() {
    local socket=/tmp/laneway-desk.$$ # a socket's path has 107 bytes at most
    begin server "unix://$socket"
    bus=$PWD/far
    run client "unix://$socket/desk"
    is "$(cat out)" "$(costs 0)"
    run client "unix://$socket/desk"
    is "$(cat out)" "$(costs 10)"
}

# The first orders wait in the client's bus until there is a server; then it is killed, and comes back.
case_two_hosts() {
    local port
    port=$(free_port)
    timeout -k 1 60 bash "$sources/two_hosts.sh" "$examples" "$port" >out
    is "$(grep costs out)" "$(costs 0 && costs 10)"
}

# A port that a server had a moment ago.
free_port() {
    local server
    "$LANEWAY" echo-server gate --bus "$PWD/other" --listen tcp://127.0.0.1:0 >served &
    server=$!
    until_true grep -q '^ready' served
    kill -KILL $server
    wait $server 2>/dev/null || true
    sed -n 's/.*:\([0-9]*\)\/gate$/\1/p' served
}

# It goes to sleep between the lines: every one of them wakes the loop twice.
case_epoll_loop() {
    local i
    begin server
    run epoll < <(seq -f '%g 99.5' 20)
    is "$(cat out)" "$(seq 20 | awk '{printf "%.3f\n", $1 * 99.5}')"
    run epoll < <(for i in 1 2 3 4 5; do echo "$i 10" && sleep 0.2; done)
    is "$(tr '\n' ' ' <out)" "10.000 20.000 30.000 40.000 50.000 "
}

# The loop hears of the answers of a server that comes later, without a line from stdin.
case_epoll_loop_before_the_server() {
    begin epoll < <(seq -f '%g 10' 3)
    epoll=$!
    until_true lw ls links desk/epoll
    sleep 0.2
    begin server
    wait $epoll
    is "$(tr '\n' ' ' <epoll.out)" "10.000 20.000 30.000 "
}

case_libuv_loop() {
    [ -x "$examples/libuv" ] || skip "libuv1-dev is not there"
    begin server
    run libuv
    is "$(cat out)" "$(seq 10 | awk '{printf "%.3f\n", $1 * 99.5}')"
    run libuv
    is "$(wc -l <out)" 10
}

case_libuv_loop_before_the_server() {
    [ -x "$examples/libuv" ] || skip "libuv1-dev is not there"
    begin libuv
    libuv=$!
    sleep 0.3
    begin server
    wait $libuv
    is "$(wc -l <libuv.out)" 10
}

run_cases
