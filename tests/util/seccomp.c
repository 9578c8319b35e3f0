/* SPDX-License-Identifier: MIT */
/* util/seccomp.c - see seccomp.h. */
#include "util/seccomp.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/util.h"

static int refuse(int call, int error) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return -errno;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? -errno : 0;
}

void t_refuse(int call, int error) {
    T_NEED(!refuse(call, error));
}

/* Some call that nobody misses. */
static int try_it(void *arg) {
    (void)arg;
    return refuse(SYS_getpriority, EPERM) || syscall(SYS_getpriority, 0, 0) >= 0 || errno != EPERM;
}

void t_skip_without_filters(const char *name) {
    struct t_child child = t_fork(try_it, NULL);
    if (t_wait(&child)) t_skip(name, "needs seccomp filters");
}
