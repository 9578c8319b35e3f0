#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Each call of libc that the library makes fails once (or from then on), or is the process's last: a sample of them, in
# each scenario of tests/fail. `make fail` runs them all.
#   LW_TEST_SEED=N takes the same sample again.
set -u
: "${LANEWAY:?path of the tool}"
build=$(dirname "$LANEWAY")
fail=$build/tests/fail
status=0

# Of what the library uses, these do not fail, or there is nothing to be done about it.
harmless='clock_gettime free get[eg]*id getpagesize getpid inet_ntop inet_pton mem* munmap pthread_mutex_* pthread_once
          qsort sched_yield secure_getenv snprintf sscanf str* sysconf vsnprintf __errno_location __cpu_* __tls_get_addr
          __isoc99_sscanf __stack_chk_fail _GLOBAL_OFFSET_TABLE_ fclose __memcpy_chk __snprintf_chk'

is_harmless() {
    local pattern
    for pattern in $harmless; do
        # shellcheck disable=SC2053 # it is a pattern
        [[ $1 == $pattern ]] && return
    done
    return 1
}

# So that a function that is new in the library is not forgotten here.
all_calls_are_known() {
    local name missing=''
    while read -r name; do
        [ "$name" != syscall ] || continue
        "$fail" --calls | grep -qx "${name#__}" || is_harmless "$name" || missing+=" $name"
    done < <(nm -u "$build/liblaneway.a" | awk '$1 == "U" && $2 !~ /^lw_/ {print $2}' | sort -u)
    [ -z "$missing" ] || echo "calls that tests/fail/calls.h does not know:$missing"
    [ -z "$missing" ]
}

name=every_function_of_libc_that_the_library_uses_can_be_made_to_fail
if nm -u "$build/liblaneway.a" | grep -qE '__(a|t|ub)san'; then
    : # sanitizers have functions of their own
elif all_calls_are_known; then
    echo "ok $name"
else
    echo "not ok $name"
    status=1
fi

seconds=30
[ -z "${LW_TEST_SHORT:-}" ] || seconds=12
"$fail" --seconds $seconds || status=1
exit $status
