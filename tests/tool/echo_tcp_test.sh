#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# laneway echo-server --listen and laneway echo ADDRESS: as echo_test.sh, with each client on a bus of its own.
# shellcheck source=tests/tool/echo_lib.sh
. "$(dirname "$0")/echo_lib.sh"

case_messages_come_back() {
    serve gate --listen tcp://127.0.0.1:0
    has served '^ready +gate tcp://127.0.0.1:[0-9]+/gate$'
    expect 0 away far lw echo "$(address)" --as alice --count 1000
    has out '^echoes +1000 messages, 64000 bytes in '
    has out '^checked +0 lost, 0 repeated, 0 corrupt$'
    is "$(cat err)" ""
    expect 0 away far lw echo "$(address)" --as alice --count 5000 --window 100 --size 24 --no-crc
    expect 0 away farther lw echo "$(address)" --as bob --count 4 --size 400K --ring 1M
    expect 0 lw echo gate --as carol --count 10
    end_server
    has served '^login +alice: from tcp://127.0.0.1:[0-9]+'
    has served '^up +alice$'
    has served '^down +alice: closed$'
    has served '^server gate: 4 logins, 0 refused; 6014 messages answered, '
}

case_listens_everywhere() {
    serve gate --listen "tcp://127.0.0.1:0,unix://$PWD/socket" --no-crc
    has served "^ready +gate tcp://127.0.0.1:[0-9]+/gate unix://$PWD/socket/gate$"
    expect 0 away far lw echo "unix://$PWD/socket/gate" --as alice --count 10
    expect 0 away far lw echo "tcp://localhost:$(port)/gate" --as alice --count 10 --json
    is "$(field echoes <out) $(field next_number <out)" "10 20"
    end_server
    [ ! -e socket ]
}

case_as_json() {
    start echo-server gate --json --listen tcp://:0 >served 2>&1
    server=$!
    until_true grep -q ready served
    has served '^\{"event":"ready","client":null,"text":"gate","addresses":\["tcp://:[0-9]+/gate"\]\}$'
    to=$(sed -n 's/.*"addresses":."\([^"]*\)".*/\1/p' served)
    expect 0 away far lw echo "$to" --as alice --count 100 --json
    is_json out
    is "$(field server <out) $(field client <out) $(field address <out) $(field echoes <out)" "gate alice $to 100"
    until_true grep -q '"down"' served
    end_server
    is_json served
    has served '^\{"event":"down","client":"alice","code":"LW_ECLOSED","text":"closed"\}$'
}

case_bad_addresses() {
    for bad in tcp://127.0.0.1 tcp://127.0.0.1:x udp://127.0.0.1:1 unix://socket tcp://no.such.host:1 127.0.0.1:1; do
        expect 2 lw echo-server gate --listen "$bad"
        has err "address $bad"
    done
    for bad in tcp://127.0.0.1:1 tcp://127.0.0.1/gate shm://gate tcp://127.0.0.1:1/.gate; do
        expect 2 lw echo "$bad" --as alice
    done
    serve gate --listen tcp://127.0.0.1:0
    expect 1 lw echo-server other --listen "tcp://127.0.0.1:$(port)"
    has err "127.0.0.1:$(port)"
    end_server
}

# What stands in the way is told, and it is tried again.
case_no_such_server() {
    serve gate --listen tcp://127.0.0.1:0
    expect 4 away far lw echo "tcp://127.0.0.1:$(port)/other" --as alice --timeout 1
    has err 'does not take this link: LW_ENOSERVER: no server other is here, but gate'
    end_server
    expect 4 away far lw echo "tcp://127.0.0.1:$(port)/gate" --as alice --timeout 0.5
    has err 'no echo within the time given; the server is not there'
}

case_waits_for_the_server() {
    serve gate --listen tcp://127.0.0.1:0
    to=$(address) port=$(port)
    end_server
    away far start echo "$to" --as alice --count 100 --window 20 >got 2>said
    client=$!
    until_true grep -q "server $to is not there; waiting for it" said
    serve gate --listen "tcp://127.0.0.1:$port"
    wait $client
    has got '^echoes +100 '
    has said "server $to is up"
    end_server
}

case_refused() {
    serve gate --refuse 'only on weekdays' --listen tcp://127.0.0.1:0
    expect 1 away far lw echo "$(address)" --as alice --count 1
    has err "server $(address) refused alice: only on weekdays"
    end_server
    has served '^server gate: 0 logins, 1 refused'
}

case_held_names() {
    serve gate --listen tcp://127.0.0.1:0
    away far start echo "$(address)" --as alice >/dev/null 2>said
    client=$!
    until_true grep -q '^up *alice' served
    expect 1 away far lw echo "$(address)" --as alice --count 1
    has err 'has it open'
    expect 4 away farther lw echo "$(address)" --as alice --count 1 --timeout 1
    has err 'does not take this link: LW_EHELD: the name alice is in use from tcp://127.0.0.1:'
    kill -INT $client
    wait $client || is $? 130
    expect 0 away farther lw echo "$(address)" --as bob --count 1
    end_server
}

# A client's files are a copy of earlier: nothing goes on until one side is given up, and what is thrown away is told.
case_restored_copy() {
    serve gate --listen tcp://127.0.0.1:0
    to=$(address)
    expect 0 away far lw echo "$to" --as alice --count 100
    cp -a far copy
    expect 0 away far lw echo "$to" --as alice --count 100
    expect 0 away far lw echo "$to" --as alice --count 100
    kill_server # or the number of its login is that of one which is over
    serve gate --listen "tcp://127.0.0.1:$(port)"
    expect 4 away copy lw echo "$to" --as alice --count 10 --timeout 1
    has err 'does not take this link: LW_EMISMATCH: link gate/alice, (up|down): .*restored copy'
    has err "Give one side up: .laneway rm links $to/alice. here, or .laneway rm links gate/alice. on the server's host"
    until_true grep -q '^down *alice: LW_EMISMATCH: link gate/alice' served
    expect 0 away copy lw rm links "$to/alice"
    has out "^removed gate/alice \(its client's side\), [0-9]+ unread messages? discarded$"
    expect 0 away copy lw echo "$to" --as alice --count 10 --timeout 10
    until_true grep -q '^renewed *alice: the other host lost' served
    end_server
}

case_a_host_loses_its_files() {
    serve gate --listen tcp://127.0.0.1:0
    to=$(address)
    expect 0 away far lw echo "$to" --as alice --count 100
    rm -r far
    expect 0 away far lw echo "$to" --as alice --count 100 --timeout 10
    has err 'is connected anew: this host lost what it had received'
    expect 0 away far lw echo "$to" --as alice --count 100 --timeout 10
    kill_server
    rm -r "$bus"
    serve gate --listen "tcp://127.0.0.1:$(port)"
    expect 0 away far lw echo "$to" --as alice --count 100 --timeout 10
    has err 'is connected anew: the other host lost what it had not sent yet'
    end_server
}

case_server_is_killed() {
    begin_dice
    serve gate --listen tcp://127.0.0.1:0
    kill_servers "$(address)" --listen "tcp://127.0.0.1:$(port)"
    expect 0 away far lw ls links --json
    is "$(field sent_up <out)" "$(field sent_down <out)"
    is "$(field unread_down <out | tr '\n' ' ')" "0 0 "
}

case_server_with_threads_is_killed() {
    begin_dice
    serve gate --listen tcp://127.0.0.1:0 --threads 3
    kill_servers "$(address)" --listen "tcp://127.0.0.1:$(port)" --threads 3
}

case_client_is_killed() {
    serve gate --threads 2 --listen tcp://127.0.0.1:0
    kill_clients "$(address)"
}

run_cases
