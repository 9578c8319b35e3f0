# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# lib.sh - what the tests of the tool share. A test sources it, defines functions case_NAME and calls
# run_cases. A case runs in a subshell of its own, with `set -e`, in a directory of its own ($PWD), with
# a bus of its own ($bus), and has failed when it returns anything but 0. skip REASON ends it as skipped.
set -u
: "${LANEWAY:?path of the tool}"
LANEWAY=$(realpath "$LANEWAY")
[ -x "$LANEWAY" ] || { echo "$LANEWAY is no program" && exit 1; }
unset LANEWAY_DIR

top=${TMPDIR:-/dev/shm}
[ -w "$top" ] || top=/tmp
top=$(mktemp -d -p "$top" laneway-tool.XXXXXX) || exit 1
chmod 711 "$top"
trap 'rm -rf "$top"' EXIT
trap 'unfinished; exit 130' INT TERM

# Stopped from outside, for taking too long: which case was it, and how far did it come?
unfinished() {
    [ -z "${name:-}" ] || echo "not ok $name"
    sed 's/^/    /' "$top/log"
}

# Runs a subcommand on the bus of the case.
lw() {
    local command=$1
    shift
    "$LANEWAY" "$command" --bus "$bus" "$@"
}

# The same in the background, as a process of its own, $!, that takes SIGINT.
start() {
    local command=$1
    shift
    set -m
    "$LANEWAY" "$command" --bus "$bus" "$@" <&0 &
    set +m
}

# ended STATUS: the last start()ed process ends with this exit code.
ended() {
    local status=0
    wait $! || status=$?
    is "exit code $status" "exit code $1"
}

# expect STATUS COMMAND...: fails unless the exit code is STATUS. stdout and stderr go to out and err.
expect() {
    local wanted=$1 status=0
    shift
    "$@" >out 2>err || status=$?
    [ $status = "$wanted" ] && return
    echo "exit code $status, not $wanted: $*"
    cat out err
    return 1
}

# is ACTUAL EXPECTED
is() {
    [ "$1" = "$2" ] && return
    printf 'is:     %s\nwanted: %s\n' "$1" "$2"
    return 1
}

# has FILE REGEX: some line of the file matches.
has() {
    grep -qE -- "$2" "$1" && return
    echo "$1 has no line like: $2"
    cat "$1"
    return 1
}

# Polls until a command succeeds; ten seconds at most.
until_true() {
    local try
    for ((try = 0; try < 1000; try++)); do
        "$@" && return
        sleep 0.01
    done
    echo "it never came true: $*"
    return 1
}

# The value of a field of a flat JSON object on stdin.
field() {
    sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p'
}

# A field of `info --json`: topic_field TOPIC NAME
topic_field() {
    lw info "$1" --json 2>/dev/null | field "$2"
}

topic_field_is() {
    [ "$(topic_field "$1" "$2")" = "$3" ]
}

# There is a live reader on the topic.
reader_is_there() {
    lw info "$1" --json 2>/dev/null | grep -q '"readers":\[.*"alive":true'
}

# Is every line of a file a JSON value, and is there one? Strings become S, all other values N, then
# arrays and objects of these become N, until only one is left.
is_json() {
    [ -s "$1" ] || { echo "$1 is empty" && return 1; }
    LC_ALL=C awk '{
        s = $0
        gsub(/\\(["\\\/bfnrt]|u[0-9a-fA-F][0-9a-fA-F][0-9a-fA-F][0-9a-fA-F])/, "", s)
        if (s ~ /[\001-\037]/) bad = 1
        gsub(/"[^"\\]*"/, "S", s)
        gsub(/-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?|true|false|null/, "N", s)
        while (gsub(/\{(S:[SN](,S:[SN])*)?\}|\[([SN](,[SN])*)?\]/, "N", s)) {}
        if (s !~ /^[SN]$/) bad = 1
        if (bad) { print "not JSON: " $0; exit 1 }
    }' "$1"
}

skip() {
    echo "$1" >"$top/reason"
    exit 77
}

# Ends what a case left in the background.
end_jobs() {
    local pids
    pids=$(jobs -p)
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true # some may be over by now
    wait
}

run_cases() {
    local name status failed=0
    for name in $(declare -F | sed -n 's/^declare -f case_//p'); do
        mkdir "$top/$name" && chmod 711 "$top/$name"
        (
            set -e
            trap end_jobs EXIT
            cd "$top/$name"
            bus=$top/$name/bus
            "case_$name"
        ) >"$top/log" 2>&1
        status=$?
        case $status in
        0) echo "ok $name" ;;
        77) echo "skip $name: $(cat "$top/reason")" ;;
        *)
            echo "not ok $name"
            sed 's/^/    /' "$top/log"
            failed=1
            ;;
        esac
        rm -rf "${top:?}/$name"
    done
    return $failed
}
