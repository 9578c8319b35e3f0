#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# examples/two_hosts.sh - examples/server.c and examples/client.c as on two hosts: each has a bus of its own, and nothing
# but a TCP connection between them. On two real hosts, run the lines marked "there" and "here" on the one and on the
# other, with an address that both can reach instead of 127.0.0.1.
#
#     two_hosts.sh DIRECTORY_OF_THE_PROGRAMS [PORT]
#
# The orders of the first client are sent while there is no server yet; and the server is killed and started again.
set -eu
programs=${1:?directory of server and client}
port=${2:-7400}
place=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -KILL $server; rm -rf "$place"' EXIT

there() {
    LANEWAY_DIR=$place/there "$programs/server" "tcp://127.0.0.1:$port" & # there
    server=$!
}

here() {
    LANEWAY_DIR=$place/here "$programs/client" "tcp://127.0.0.1:$port/desk" # here
}

here &
client=$!
there
wait $client
kill -KILL $server
wait $server 2>/dev/null || true
there
here
