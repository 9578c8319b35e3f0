# SPDX-License-Identifier: MIT
# The front of the build: each target sees to the packages it needs, then lets a script do the work.
# The build itself is in CMakeLists.txt.
PREFIX ?= /usr/local
SECONDS ?= 60
FILTER ?= .
OP ?= *
HOURS ?= 1
TRIALS ?= 1000000

BUILD = gcc libc6-dev cmake ninja-build
CLANG = clang libclang-rt-14-dev
TESTS = $(BUILD) libcmocka-dev strace
MODEL = spin gcc libc6-dev

.PHONY: all help test quick chaos soak fail kill damage peers demo bench bench-check san tsan-long arm64 fuzz planted model lint install clean

all: ## build the tool, build/laneway, and the libraries
	@scripts/need $(BUILD)
	@scripts/build release

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## */  make \1\t/p' Makefile | expand -t 24

test: ## everything that a change must hold; a quarter of an hour
	@scripts/need $(TESTS) $(CLANG) g++ clang-format pkg-config
	@scripts/need libuv1-dev || echo "without libuv1-dev its example is not built, and its test is skipped"
	@scripts/test-all

quick: ## the tests once, with gcc; FILTER=REGEX picks some
	@scripts/need $(TESTS)
	@scripts/build gcc
	@scripts/run-tests build/gcc '$(FILTER)'

chaos: SECONDS = 120
chaos: ## many processes on one topic, killed at random for SECONDS=120; nothing lost, repeated or reordered
	@scripts/need $(TESTS)
	@scripts/build gcc
	@scripts/chaos build/gcc --seconds $(SECONDS)

soak: ## the same with links over memory and TCP beside it, a kill, stop, restart or cut a second, for HOURS=1
	@scripts/need $(TESTS)
	@scripts/build gcc
	@scripts/soak build/gcc $(HOURS)

fail: ## each call of libc fails once, or from then on, or is the last; and kills inside system calls; an hour
	@scripts/need $(TESTS)
	@scripts/build gcc
	@build/gcc/tests/fail
	@LANEWAY=build/gcc/laneway LW_FAIL_SECONDS=0 tests/fail/strace_test.sh

kill: ## a kill at every instruction of everything, of recoveries too, and stops; half an hour or more; OP='lane/*' picks some
	@scripts/need $(TESTS)
	@scripts/build gcc
	@nice build/gcc/tests/kill --stop 300 --op '$(OP)'

damage: ## files damaged while nobody has them open: flipped bits, pages swapped, old or gone, cut off; TRIALS=1000000 of them
	@scripts/need $(TESTS)
	@scripts/build gcc
	@build/gcc/tests/damage --trials $$(($(TRIALS) / 4))
	@build/gcc/tests/damage --each

peers: ## 10,000 peers and links: deaths seen, none reported falsely, what they cost; some minutes, 4 GiB in memory
	@scripts/need $(TESTS)
	@scripts/build gcc
	@scripts/peers build/gcc

demo: all ## files through a topic, over links and over TCP, while all are killed and cables cut; nothing lost or twice
	@build/demo/demo

bench: all ## the benchmarks, as JSON
	@scripts/bench build/laneway

bench-check: all ## the benchmarks against the promised thresholds
	@scripts/bench-check build/laneway

san: ## the tests under ASan with UBSan, and under TSan
	@scripts/need $(TESTS) $(CLANG)
	@scripts/build asan
	@scripts/build tsan
	@status=0; for kind in asan tsan; do scripts/run-tests build/$$kind '$(FILTER)' || status=1; done; exit $$status

tsan-long: ## the tests with both sides as threads over one mapping, under TSan, again and again for SECONDS=60
	@scripts/need $(TESTS) $(CLANG)
	@scripts/build tsan
	@end=$$(($$(date +%s) + $(SECONDS))); while [ $$(date +%s) -lt $$end ]; do \
		scripts/run-tests build/tsan '^lane-(threads|lock_threads|churn|copy|cursor|read|regress)_|link_side_' || exit 1; done

arm64: ## everything compiled for 64-bit Arm, and the tests that need no bus run under qemu-user
	@scripts/need $(BUILD)
	@scripts/need-arm64
	@scripts/build arm64
	@LW_TEST_SHORT=1 scripts/run-tests build/arm64 '$(FILTER)'

fuzz: ## each fuzz target for SECONDS=60
	@scripts/need $(BUILD) $(CLANG)
	@scripts/build fuzz
	@scripts/fuzz build/fuzz $(SECONDS)

planted: ## each planted bug is caught by a test
	@scripts/need $(TESTS)
	@scripts/planted

model: ## the protocols of the lane and the epochs, checked as models by spin
	@scripts/need $(MODEL)
	@scripts/model

lint: ## clang-tidy, cppcheck, shellcheck, clang-format
	@scripts/need $(TESTS) $(CLANG) clang-tidy clang-format cppcheck shellcheck
	@scripts/build clang
	@scripts/lint

install: all ## to PREFIX=/usr/local, below DESTDIR
	@DESTDIR='$(DESTDIR)' cmake --install build --prefix '$(PREFIX)' >build/install.log || { cat build/install.log; exit 1; }
	@[ -n '$(DESTDIR)' ] || [ "$$(id -u)" != 0 ] || ldconfig

clean: ## remove build/
	@rm -rf build
