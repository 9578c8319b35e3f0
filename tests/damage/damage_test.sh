#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A part of `make damage`: files that were damaged at random are used; all goes well, or is refused with a code and a text.
#   LW_TEST_SEED=N repeats a run.
set -u
: "${LANEWAY:?path of the tool}"
trials=3000
[ -z "${LW_TEST_SHORT:-}" ] || trials=500
"$(dirname "$LANEWAY")"/tests/damage --trials $trials
