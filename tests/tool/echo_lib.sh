# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# echo_lib.sh - what the tests of laneway echo share: servers, other hosts, and killing both sides.
# LW_TEST_SEED=N repeats a run's choices (not its timing).
# shellcheck source=tests/tool/lib.sh
. "$(dirname "$0")/lib.sh"

seed=${LW_TEST_SEED:-$RANDOM}
kills=12
[ -z "${LW_TEST_SHORT:-}" ] || kills=4

# serve NAME OPTION...: an echo-server, $server, that is ready; its lines go to served.
serve() {
    local before
    touch served
    before=$(ready_lines)
    start echo-server "$@" >>served 2>&1
    server=$!
    until_true is_ready "$before"
}

ready_lines() {
    grep -c '^ready' served || true
}

is_ready() {
    [ "$(ready_lines)" -gt "$1" ]
}

end_server() {
    local status=0
    kill -TERM "$server"
    wait "$server" || status=$?
    is $status 130 && return
    cat served # it says there what was wrong
    return 1
}

# Where the server listens: the first address of its last ready line.
address() {
    sed -n 's/^ready  *[^ ]* \([^ ]*\).*/\1/p' served | tail -n 1
}

# The port of that.
port() {
    address | sed 's/.*:\([0-9]*\)\/.*/\1/'
}

# away DIRECTORY COMMAND...: with the bus of another host.
away() {
    local bus=$PWD/$1
    shift
    "$@"
}

kill_server() {
    kill -KILL "$server"
    wait "$server" || true
}

# server_is_killed OPTION...: and started again with these, in turn.
server_is_killed() {
    local i
    for ((i = 0; i < kills; i++)); do
        sleep "0.$((RANDOM % 15 + 5))"
        kill_server
        serve gate "$@"
    done
}

client_ended() {
    local status=0
    wait "$1" || status=$?
    is $status 130
    has "$2" '^checked +0 lost, 0 repeated, 0 corrupt$'
}

# kill_servers SERVER OPTION...: of the server that runs. Its clients, on the bus `far`, check what comes back.
kill_servers() {
    local to=$1
    shift
    away far start echo "$to" --as alice --window 100 --quiet >alice.out 2>&1
    alice=$!
    away far start echo "$to" --as bob --quiet >bob.out 2>&1
    bob=$!
    until_true grep -q '^up *alice' served
    until_true grep -q '^up *bob' served
    server_is_killed "$@"
    kill -INT $alice $bob
    client_ended $alice alice.out
    client_ended $bob bob.out
    expect 0 away far lw echo "$to" --as alice --count 1 --timeout 10
    expect 0 away far lw echo "$to" --as bob --count 1 --timeout 10
    end_server
    expect 0 lw ls links --json
    is "$(field sent_up <out)" "$(field sent_down <out)"
    is "$(field unread_up <out | tr '\n' ' ')" "0 0 "
}

begin_dice() {
    RANDOM=$seed
    echo "seed $seed"
}

# kill_clients SERVER
kill_clients() {
    local i before=0 now
    begin_dice
    for ((i = 0; i < kills; i++)); do
        away far start echo "$1" --as alice --window 200 --quiet >/dev/null 2>said
        [ $i != 0 ] || until_true grep -q '^up *alice' served # the others may die on the way
        sleep "0.$((RANDOM % 15 + 5))"
        kill -KILL $!
        wait $! || true
        now=$(away far lw ls links gate/alice --json | field sent_up)
        [ "$now" -ge "$before" ]
        before=$now
    done
    expect 0 away far lw echo "$1" --as alice --count 10 --timeout 10 --json
    is "$(field next_number <out) $(field outstanding <out)" "$((before + 10)) 0"
    until_true grep -Eq '^down *alice: (killed|lost)' served
    end_server
}
