#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# docs/spec/laneway.lua shows every field of every frame: of a conversation that a test has recorded, and of a link over
# TCP as it is captured. Wants tshark (Debian: tshark), and for the second one the right to capture.
# shellcheck source=tests/tool/lib.sh
. "$(dirname "$0")/lib.sh"

lua=$PWD/docs/spec/laneway.lua
recorder=$(dirname "$LANEWAY")/tests/wire-capture_test
missing=
command -v tshark >/dev/null || timeout 90 scripts/need tshark >"$top/need" 2>&1 || missing="no tshark, and it can not be installed"

need_tshark() {
    [ -z "$missing" ] || skip "$missing"
}

# Somebody's preferences do not matter here.
shark() {
    HOME=$PWD XDG_CONFIG_HOME=$PWD tshark -X "lua_script:$lua" "$@" 2>tshark.log
}

# fields FILE FILTER FIELD...: a line for each packet, values of several frames in one packet by commas. Later versions
# of tshark say True for 1.
fields() {
    local file=$1 filter=$2 field options=()
    shift 2
    for field; do options+=(-e "$field"); done
    shark -r "$file" -Y "$filter" -T fields "${options[@]}" | sed -E 's/\<True\>/1/g; s/\<False\>/0/g'
}

# No frame that the dissector complains of; and at least one frame.
is_clean() {
    [ -n "$(fields "$1" laneway laneway.kind)" ]
    is "$(fields "$1" 'laneway.bad or laneway.crc.bad or _ws.malformed or _ws.lua.error' frame.number)" ""
    ! grep -i lua tshark.log || return 1
}

record() {
    need_tshark
    [ -x "$recorder" ] || skip "no $recorder: it was built without tests"
    LW_CAPTURE=$PWD/talk.pcap "$recorder" >recorder.log 2>&1 || { cat recorder.log && return 1; }
}

case_recorded_conversation() {
    record
    is_clean talk.pcap
    is "$(fields talk.pcap laneway laneway.kind | tr '\n,' '  ')" "1 2 7 7 4 4 6 8 5 9 9 "
    is "$(fields talk.pcap laneway laneway.crc.status | tr ',' '\n' | sort | uniq -c | tr -s ' ')" " 11 right"
    is "$(fields talk.pcap 'laneway.kind == 1' laneway.{server,client,what,lanes,epoch,version.highest,features.crc})" \
        "$(printf 'gate\talice\t1\t2\t3\t1\t1')"
    is "$(fields talk.pcap 'laneway.kind == 7 and laneway.lane == 0' laneway.state.{id,role,ring,start,first,end})" \
        "$(printf '0\t2\t4096\t12288\t12288\t12312')"
    is "$(fields talk.pcap 'laneway.kind == 5' laneway.{ack_lane,received,consumed,consumed_number,window})" \
        "$(printf '0\t13512\t13512\t25\t17608')"
    is "$(fields talk.pcap 'laneway.kind == 9' laneway.{code,words} | sort -u)" "$(printf -- '-2008\tdone')"
}

# Chunks go over five segments, and two frames go in one.
case_records_in_chunks() {
    record
    is "$(fields talk.pcap 'laneway.kind == 4' laneway.{lane,records,number})" "$(printf '0\t24\t1\n1\t24\t1001')"
    is "$(fields talk.pcap 'laneway.kind == 4 and laneway.lane == 0' laneway.record.type | cut -d, -f1-5)" 7,8,9,10,100
    is "$(fields talk.pcap 'laneway.kind == 4 and laneway.lane == 0' laneway.record.length | cut -d, -f1-5)" 5,0,14,17,41
    is "$(fields talk.pcap 'laneway.kind == 4 and laneway.lane == 0' laneway.record.number | cut -d, -f1,24)" 1,24
    is "$(fields talk.pcap 'laneway.kind == 4 and laneway.lane == 0' laneway.record.position | cut -d, -f1-3)" \
        12312,12328,12336
    is "$(fields talk.pcap 'laneway.record.more == 1' laneway.record.more | cut -d, -f1-4 | sort -u)" \
        0,0,1,0
    is "$(fields talk.pcap 'laneway.kind == 6' laneway.kind laneway.flags.ask)" "$(printf '6,8\t1,0')"
}

case_without_checksums() {
    LW_CAPTURE_NO_CRC=1 record
    is_clean talk.pcap
    is "$(fields talk.pcap laneway laneway.crc.status | tr ',' '\n' | sort | uniq -c | tr -s ' \n' ' ')" " 9 none 2 right "
    is "$(fields talk.pcap laneway laneway.features.crc | sort -u | tr -d '\n')" 0
}

case_a_wrong_checksum_is_shown() {
    local at
    record
    at=$(grep -abo 'a batch of two' talk.pcap | head -n 1 | cut -d: -f1)
    printf 'A' | dd of=talk.pcap bs=1 seek="$at" conv=notrunc status=none
    is "$(fields talk.pcap laneway.crc.bad laneway.kind laneway.lane)" "$(printf '4\t0')"
    is "$(fields talk.pcap 'laneway.crc.status == "wrong"' laneway.kind)" 4
}

# A packet that is cut off, as `tcpdump -s` does.
case_cut_packets_do_no_harm() {
    record
    command -v editcap >/dev/null || skip "no editcap"
    for size in 60 110 200; do
        editcap -s $size talk.pcap cut.pcap
        shark -r cut.pcap -V >out
        ! grep -i "lua error" out tshark.log || return 1
    done
}

frames_seen() {
    [ -n "$(fields live.pcap "laneway.kind == $1" frame.number)" ]
}

# captured PORT: captures so many echoes, each time one more, until a connection is there from HELLO to CLOSE: what comes
# just before a capture ends may be missing from it.
tries=0
captured() {
    local capture i status=0
    rm -f dumpcap.log live.pcap
    dumpcap -q -i lo -f "tcp port $1" -w live.pcap >dumpcap.log 2>&1 &
    capture=$!
    until_true grep -sqE '^File:|ermission|denied|[Cc]an.t|couldn.t|no interface|no such device' dumpcap.log
    grep -q '^File:' dumpcap.log || skip "no right to capture: $(head -n 1 dumpcap.log)"
    tries=$((tries + 1))
    for ((i = 0; i < tries; i++)); do
        expect 0 lw echo "tcp://127.0.0.1:$1/gate" --as "alice.$tries.$i" --count 50 --size 700
    done
    kill -TERM $capture
    wait $capture || status=$?
    is $status 0
    frames_seen 1 && frames_seen 9
}

case_captured_link() {
    local port
    need_tshark
    "$LANEWAY" echo-server --help | grep -q -- --listen || skip "no links over TCP"
    start echo-server gate --listen tcp://127.0.0.1:0 >served 2>&1
    server=$!
    until_true grep -q '^ready' served
    port=$(sed -n 's|^ready .*tcp://127.0.0.1:\([0-9]*\)/gate.*|\1|p' served)
    until captured "$port"; do [ $tries -lt 10 ]; done
    kill -INT $server
    wait $server || true
    is_clean live.pcap
    is "$(fields live.pcap laneway laneway.crc.status | tr ',' '\n' | sort -u)" right
    is "$(fields live.pcap 'laneway.kind == 1' laneway.server | sort -u)" gate
    fields live.pcap 'laneway.kind == 1' laneway.client | grep -q '^alice'
    is "$(fields live.pcap 'laneway.kind == 4' laneway.record.length | tr ',' '\n' | sort -u)" 700
}

run_cases
