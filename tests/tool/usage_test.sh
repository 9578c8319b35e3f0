#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What the tool does with its command line and its standard streams.
# shellcheck source=tests/tool/lib.sh
. "$(dirname "$0")/lib.sh"

commands="pub sub create echo-server echo ls info verify forget rm clean bench"

case_alone_it_shows_the_usage_and_fails() {
    expect 2 "$LANEWAY"
    is "$(cat out)" ""
    has err '^usage: laneway COMMAND'
}

case_help_goes_to_stdout() {
    expect 0 "$LANEWAY" --help
    has out '^  pub '
    for command in $commands; do
        expect 0 "$LANEWAY" "$command" --help
        has out "^usage: laneway $command "
        has out '--bus DIR'
        has out '--json'
        is "$(cat err)" ""
    done
}

case_version() {
    expect 0 "$LANEWAY" --version
    has out '^laneway [0-9]+\.[0-9]+\.[0-9]+$'
}

case_unknown_command() {
    expect 2 "$LANEWAY" publish
    has err "'publish' is not a command"
}

case_unknown_option() {
    for command in $commands; do
        expect 2 lw "$command" --no-such-thing
        is "$(cat out)" ""
        has err 'unknown option --no-such-thing'
        has err "laneway $command --help"
        expect 2 lw "$command" -x
        has err 'unknown option -x'
    done
    [ ! -e "$bus" ]
}

case_usage_error_as_json() {
    expect 2 lw ls --no-such-thing --json
    is "$(cat out)" ""
    is_json err
    has err '"error":"EINVAL"'
}

case_wrong_number_of_arguments() {
    expect 2 lw pub
    has err 'missing: TOPIC'
    expect 2 lw pub a b c
    has err "'c' is one argument too many"
    expect 2 lw sub
    expect 2 lw forget a
    expect 2 lw rm a b
    expect 2 lw clean a
    expect 2 lw ls everything
    expect 2 lw ls topics t
    has err "'t' is one argument too many"
    expect 2 lw ls links a b
    expect 2 lw echo
    expect 2 lw echo a b
    expect 2 lw echo-server
    expect 2 lw echo-server a b
    expect 2 lw bench no-such-bench
}

case_values_are_read_strictly() {
    local bad
    for bad in --count=x --count=0 --count=-1 --count=1k --count= "--count= 1" --count=99999999999999999999 \
        --timeout=1s --timeout=-1 --timeout=.5 --timeout=1. --timeout=1.5.5 --timeout=1e3 --ring=3M --ring=32K \
        --ring=128G --ring=64k --ring=1MB --slots=0 --slots=1025 --type=65536 --type=x --size=0 --size=9-1 \
        --size=1- --rate=0 --schema=:1 --schema=a:x --bus= --resume=1 \
        --evict-lag=0 --evict-lag=1X --evict-lag=-1 --evict-age=0 --evict-age=0s --evict-age=1.5 --evict-age=-1 \
        --evict-age=1d --evict-age=1ms --evict-age=h --evict-age=4294967296 --evict-age=71582789m --no-bias=1; do
        expect 2 lw pub t "$bad" </dev/null
        has err "^laneway pub: ${bad%%=*}"
    done
    for bad in --from=then --from=-1 --format=xml --timeout=x --max-lag=0 --max-lag=x --max-lag=1k --lossy=1; do
        expect 2 lw sub t "$bad"
        has err "^laneway sub: ${bad%%=*}"
    done
    for bad in --count=0 --size=23 --size=x --size=0 --rate=0 --window=0 --spin=x --spin=-1 --spin=1.5 --timeout=x --ring=3M \
        --as= --quiet=1 --no-crc=1; do
        expect 2 lw echo t "$bad"
        has err "^laneway echo: ${bad%%=*}"
    done
    for bad in --threads=0 --threads=65 --threads=x --refuse= --spin=x --quiet=1 --listen= --no-crc=1; do
        expect 2 lw echo-server t "$bad"
        has err "^laneway echo-server: ${bad%%=*}"
    done
    expect 2 lw pub t --count
    has err '--count needs a value'
    [ ! -e "$bus" ]
}

case_values_that_are_fine() {
    expect 0 lw pub t --ring 64K --slots 3 --schema tick:0x10 --type 65535 --timeout 0.5 --count 1 hello
    expect 0 lw info t --json
    is "$(field ring <out) $(field slots <out) $(field schema <out) $(field schema_hash <out)" "65536 3 tick 16"
}

case_options_that_do_not_go_together() {
    expect 2 lw pub t --no-bias --exclusive </dev/null
    expect 2 lw pub t --no-bias --resume </dev/null
    has err 'share'
    expect 2 lw sub t --lossy --as a
    has err '--lossy .*--as'
    expect 2 lw sub t --lossy --max-lag 1M
    expect 2 lw sub t --lossy --create-only
    for command in create sub pub; do
        expect 2 lw $command t --ring 64K --evict-lag 128K </dev/null
        has err '--evict-lag is larger than --ring'
    done
    expect 2 lw pub t --null --size 3 </dev/null
    expect 2 lw pub t --null hello
    expect 2 lw sub t --create-only
    expect 2 lw sub t --create-only --as a --count 1
    expect 2 lw sub t --json --format raw
    [ ! -e "$bus" ]
}

# Against a ring that is not in the command line, but there, or the default.
case_evict_lag_over_the_ring() {
    expect 1 lw create t --evict-lag 8M
    has err 'evict_lag.*at most the ring'
    expect 0 lw create large --ring 16M
    lw pub large hello
    expect 1 lw create large --evict-lag 32M
    expect 0 lw create t --evict-lag 4M
}

case_message_that_begins_with_a_dash() {
    expect 2 lw pub t -5
    has err 'goes after --'
    expect 0 lw pub t -- -5
    expect 0 lw sub t --from oldest --exit-at-end
    is "$(cat out)" "-5"
}

case_bad_names() {
    expect 2 lw pub 'a b' x
    has err 'a b'
    expect 2 lw pub ../t x
    expect 2 lw pub --node .n t x
    expect 2 lw info 'a//b'
    expect 2 lw echo-server a/b
    has err 'a/b'
    expect 2 lw echo-server .a
    expect 2 lw echo ../a
    expect 2 lw echo a --as b/c
}

case_bus_from_the_environment() {
    LANEWAY_DIR=$bus expect 0 "$LANEWAY" pub t hello
    expect 0 lw ls
    is "$(cat out)" t
}

case_stdout_full_or_closed() {
    expect 0 lw pub t hello
    for command in "ls" "info t" "verify t" "sub t --from oldest --exit-at-end"; do
        # shellcheck disable=SC2086
        lw $command >/dev/full 2>err && return 1
        has err 'can not write to stdout'
        # shellcheck disable=SC2086
        lw $command >&- 2>err && return 1
        has err 'can not write to stdout'
    done
    expect 0 lw verify t
}

case_reader_of_stdout_went_away() {
    for topic in a b c; do lw pub $topic hello; done
    set -o pipefail
    lw ls --json 2>err | true
    is "$(cat err)" ""
}

run_cases
