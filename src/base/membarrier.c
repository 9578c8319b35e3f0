/* SPDX-License-Identifier: MIT */
#include "base/membarrier.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static int call(int command) {
    return syscall(SYS_membarrier, command, 0, 0) ? -errno : 0;
}

int lw__membarrier_register(void) {
    return call(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
}

int lw__membarrier(void) {
    return call(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
}
