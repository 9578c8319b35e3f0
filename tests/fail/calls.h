/* SPDX-License-Identifier: MIT */
/* fail/calls.h - the functions that may fail, and how: the one table. Between shim.c, calls.c and taken.c. */
#ifndef LW_TESTS_FAIL_CALLS_H
#define LW_TESTS_FAIL_CALLS_H

#include <stdbool.h>
#include <stddef.h>

#include "fail/shim.h"

/* X(function, errno...) */
#define CALLS(X)                                                                                                       \
    X(accept4, EMFILE, ECONNABORTED, EINTR, ENOMEM)                                                                    \
    X(aligned_alloc, ENOMEM)                                                                                           \
    X(bind, EADDRINUSE, EACCES)                                                                                        \
    X(calloc, ENOMEM)                                                                                                  \
    X(clock_nanosleep, EINTR)                                                                                          \
    X(close, EIO)                                                                                                      \
    X(closedir, EIO)                                                                                                   \
    X(connect, ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL, EINTR)                                                        \
    X(epoll_create1, EMFILE, ENOMEM)                                                                                   \
    X(epoll_ctl, ENOSPC, ENOMEM)                                                                                       \
    X(epoll_pwait2, EINTR, ENOSYS)                                                                                     \
    X(epoll_wait, EINTR)                                                                                               \
    X(fchmod, EIO)                                                                                                     \
    X(fchown, EIO, EPERM)                                                                                              \
    X(fcntl, EINTR, ENOLCK)                                                                                            \
    X(fdopendir, ENOMEM)                                                                                               \
    X(fgets, EIO)                                                                                                      \
    X(fopen, EMFILE, ENOMEM)                                                                                           \
    X(fstat, EIO)                                                                                                      \
    X(fstatat, EIO, ENOMEM)                                                                                            \
    X(fstatfs, EINTR, EIO)                                                                                             \
    X(fsync, EIO, ENOSPC)                                                                                              \
    X(ftruncate, EIO, EINTR)                                                                                           \
    X(getdelim, ENOMEM)                                                                                                \
    X(getgroups, EIO)                                                                                                  \
    X(getpeername, ENOBUFS)                                                                                            \
    X(getrandom, EAGAIN, SHIM_SHORT)                                                                                   \
    X(getsockname, ENOBUFS)                                                                                            \
    X(getsockopt, ENOBUFS)                                                                                             \
    X(inotify_add_watch, ENOSPC, ENOMEM)                                                                               \
    X(inotify_init1, EMFILE)                                                                                           \
    X(inotify_rm_watch, EINVAL)                                                                                        \
    X(linkat, ENOSPC, EIO)                                                                                             \
    X(listen, EADDRINUSE)                                                                                              \
    X(lstat, EIO)                                                                                                      \
    X(madvise, ENOMEM)                                                                                                 \
    X(malloc, ENOMEM)                                                                                                  \
    X(mkdirat, ENOSPC, EIO)                                                                                            \
    X(mknodat, ENOSPC, EIO)                                                                                            \
    X(mmap, ENOMEM)                                                                                                    \
    X(mprotect, ENOMEM)                                                                                                \
    X(open, EMFILE, EINTR, ENOMEM)                                                                                     \
    X(posix_fallocate, ENOSPC, EINTR, EIO)                                                                             \
    X(ppoll, EINTR, ENOMEM)                                                                                            \
    X(pread, EIO, EINTR, SHIM_SHORT)                                                                                   \
    X(pthread_atfork, ENOMEM)                                                                                          \
    X(pwrite, EIO, ENOSPC, EINTR, SHIM_SHORT)                                                                          \
    X(read, EIO, EINTR, SHIM_SHORT)                                                                                    \
    X(readdir, EIO)                                                                                                    \
    X(readv, ECONNRESET, EINTR, ENOMEM, SHIM_SHORT)                                                                    \
    X(realloc, ENOMEM)                                                                                                 \
    X(recv, ECONNRESET, EINTR, ENOMEM, SHIM_SHORT)                                                                     \
    X(renameat, ENOSPC, EIO)                                                                                           \
    X(renameat2, ENOSPC, EIO)                                                                                          \
    X(send, ECONNRESET, EINTR, ENOBUFS, SHIM_SHORT)                                                                    \
    X(sendmsg, ECONNRESET, EINTR, ENOBUFS, SHIM_SHORT)                                                                 \
    X(setsockopt, ENOMEM)                                                                                              \
    X(shutdown, ENOTCONN)                                                                                              \
    X(socket, EMFILE, ENOBUFS)                                                                                         \
    X(strdup, ENOMEM)                                                                                                  \
    X(syscall_openat2, EMFILE, ENOMEM, EINTR, EIO)                                                                     \
    X(syscall_membarrier, EPERM, ENOMEM)                                                                               \
    X(timerfd_create, EMFILE)                                                                                          \
    X(timerfd_settime, ENOMEM)                                                                                         \
    X(unlink, EIO)                                                                                                     \
    X(unlinkat, EIO)                                                                                                   \
    X(utimensat, EIO, EINTR)                                                                                           \
    X(write, EIO, ENOSPC, EINTR, SHIM_SHORT)

enum call {
#define CALL(name, ...) CALL_##name,
    CALLS(CALL)
#undef CALL
};

/* A call of the function. 0: do it, and then shim_after(). Else the error to give, without doing it. */
int shim_hit(enum call call, const void *site);
void shim_after(void);
bool shim_is_on(void);

/* Memory and mappings that the library took, and gave back. */
void taken_add(void *what, size_t size, const void *site, const char *how);
void taken_drop(const void *what);

#endif
