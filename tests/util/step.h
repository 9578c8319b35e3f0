/* SPDX-License-Identifier: MIT */
/*
 * util/step.h - one operation of a child process, an instruction at a time (ptrace).
 *
 * What a process stored by instructions that are over survives its death, so the shared file as it is between two steps
 * is the file that a kill at that instruction would leave. Nothing is left to chance: all instructions are tried.
 */
#ifndef LW_TESTS_STEP_H
#define LW_TESTS_STEP_H

#include <stdbool.h>
#include <stdint.h>

#include "util/util.h"

struct t_step {
    struct t_child child;
    uint64_t steps;
};

/* Forks a child that runs prepare(arg), and stops before operate(arg). `prepare` may be NULL. */
struct t_step t_step_begin(void (*prepare)(void *arg), void (*operate)(void *arg), void *arg);

/* One instruction. False: the operation is over. */
bool t_step_on(struct t_step *step);
/* At full speed to the end of the operation. */
void t_step_finish(struct t_step *step);
/* Kills the child, wherever it is. */
void t_step_end(struct t_step *step);

/* ---- going to one instruction at full speed ---------------------------------------------------------------------- */

/* Before the n-th instruction of an operation: the `hit`-th time that the one at `address` is run. */
struct t_point {
    uint64_t n, address, hit;
};

/* Steps through the operation once, at most `most` instructions, and returns where to stop to have been everywhere:
 * each instruction when it is run for the first time, the second and the last (loops look alike in between). */
uint64_t t_step_points(void (*prepare)(void *arg), void (*operate)(void *arg), void *arg, uint64_t most,
                       struct t_point *points, uint64_t room);

/* Steps through it once, and returns where what others can see has become another: at the beginning, after each system
 * call, after each instruction for which `changed` says so, and at the end. `before` and `changed` are told whether it is a
 * system call. `steps` gets how many instructions there were: at most a million, as of one that waits for others. Of a long
 * fill or copy by one instruction that repeats itself the first 64 turns are steps of their own, then all the rest is one. */
uint64_t t_step_changes(void (*prepare)(void *arg), void (*operate)(void *arg), void *arg, void (*before)(bool call),
                        bool (*changed)(bool call), struct t_point *points, uint64_t room, uint64_t *steps);

/* The last instruction before `happened` becomes true. */
struct t_point t_step_before(void (*prepare)(void *arg), void (*operate)(void *arg), void *arg, bool (*happened)(void));

/* Runs to there. False: the operation was over before. */
bool t_step_to(struct t_step *step, const struct t_point *point);

/* Skips the case where processes may not be traced. */
#define t_need_ptrace() t_skip_without_ptrace(__func__)
void t_skip_without_ptrace(const char *name);

#endif
