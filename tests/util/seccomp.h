/* SPDX-License-Identifier: MIT */
/* util/seccomp.h - system calls that are refused, as a container's filter refuses them. */
#ifndef LW_TESTS_SECCOMP_H
#define LW_TESTS_SECCOMP_H

/* In a child: from now on this system call fails with this errno, in this thread and whatever it starts. */
void t_refuse(int call, int error);

/* Skips the case where such filters can not be had. */
#define t_need_filters() t_skip_without_filters(__func__)
void t_skip_without_filters(const char *name);

#endif
