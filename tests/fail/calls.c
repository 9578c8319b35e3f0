/* SPDX-License-Identifier: MIT */
/*
 * fail/calls.c - what the library calls instead of libc: --wrap=NAME makes its NAME our __wrap_NAME, and our __real_NAME
 * libc's NAME. (Names that are the linker's, not ours to choose.)
 */
#include "fail/calls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define SITE __builtin_return_address(0)
#define DECLARE(name) extern __typeof__(name) __wrap_##name, __real_##name

/* Begins a wrapper: leaves with `bad` when the call is to fail. */
#define FAIL(name, bad)                                                                                                \
    int error = shim_hit(CALL_##name, SITE);                                                                           \
    if (error && error != SHIM_SHORT) {                                                                                \
        errno = error;                                                                                                 \
        return bad;                                                                                                    \
    }

/* Ends it. */
#define DONE(type, call)                                                                                               \
    type result = call;                                                                                                \
    shim_after();                                                                                                      \
    return result

/* A whole one. */
#define WRAP(type, name, bad, parameters, arguments)                                                                   \
    DECLARE(name);                                                                                                     \
    type __wrap_##name parameters {                                                                                    \
        FAIL(name, bad)                                                                                                \
        DONE(type, __real_##name arguments);                                                                           \
    }

/* Of those that return what errno would have. */
#define WRAP_CODE(name, parameters, arguments)                                                                         \
    DECLARE(name);                                                                                                     \
    int __wrap_##name parameters {                                                                                     \
        int error = shim_hit(CALL_##name, SITE);                                                                       \
        if (error) return error;                                                                                       \
        DONE(int, __real_##name arguments);                                                                            \
    }

/* Of those that give something back: they do, whatever they say. */
#define WRAP_END(type, name, bad, parameters, arguments)                                                               \
    DECLARE(name);                                                                                                     \
    type __wrap_##name parameters {                                                                                    \
        int error = shim_hit(CALL_##name, SITE);                                                                       \
        type result = __real_##name arguments;                                                                         \
        shim_after();                                                                                                  \
        if (!error) return result;                                                                                     \
        errno = error;                                                                                                 \
        return bad;                                                                                                    \
    }

static size_t half(int error, size_t size) {
    return error == SHIM_SHORT && size > 1 ? size / 2 : size;
}

/* ---- descriptors and files --------------------------------------------------------------------------------------- */

WRAP_END(int, close, -1, (int fd), (fd))
WRAP_END(int, closedir, -1, (DIR * dir), (dir))
WRAP(int, epoll_create1, -1, (int flags), (flags))
WRAP(int, epoll_ctl, -1, (int ep, int op, int fd, struct epoll_event *e), (ep, op, fd, e))
WRAP(int, epoll_wait, -1, (int ep, struct epoll_event *e, int most, int ms), (ep, e, most, ms))
WRAP(int, epoll_pwait2, -1, (int ep, struct epoll_event *e, int most, const struct timespec *t, const sigset_t *s),
     (ep, e, most, t, s))
WRAP(int, fchmod, -1, (int fd, mode_t mode), (fd, mode))
WRAP(int, fchown, -1, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
WRAP(DIR *, fdopendir, NULL, (int fd), (fd))
WRAP(char *, fgets, NULL, (char *to, int size, FILE *file), (to, size, file))
WRAP(FILE *, fopen, NULL, (const char *path, const char *mode), (path, mode))
WRAP(int, fstat, -1, (int fd, struct stat *st), (fd, st))
WRAP(int, fstatat, -1, (int fd, const char *path, struct stat *st, int flags), (fd, path, st, flags))
WRAP(int, fstatfs, -1, (int fd, struct statfs *fs), (fd, fs))
WRAP(int, fsync, -1, (int fd), (fd))
WRAP(int, ftruncate, -1, (int fd, off_t size), (fd, size))
WRAP(int, getgroups, -1, (int room, gid_t *list), (room, list))
WRAP(int, inotify_add_watch, -1, (int fd, const char *path, uint32_t mask), (fd, path, mask))
WRAP(int, inotify_init1, -1, (int flags), (flags))
WRAP(int, inotify_rm_watch, -1, (int fd, int id), (fd, id))
WRAP(int, linkat, -1, (int d, const char *from, int e, const char *to, int flags), (d, from, e, to, flags))
WRAP(int, lstat, -1, (const char *path, struct stat *st), (path, st))
WRAP(int, mkdirat, -1, (int fd, const char *path, mode_t mode), (fd, path, mode))
WRAP(int, mknodat, -1, (int fd, const char *path, mode_t mode, dev_t dev), (fd, path, mode, dev))
WRAP_CODE(posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size))
WRAP(struct dirent *, readdir, NULL, (DIR * dir), (dir))
WRAP(int, renameat, -1, (int d, const char *from, int e, const char *to), (d, from, e, to))
WRAP(int, renameat2, -1, (int d, const char *from, int e, const char *to, unsigned flags), (d, from, e, to, flags))
WRAP(int, timerfd_create, -1, (int clock, int flags), (clock, flags))
WRAP(int, timerfd_settime, -1, (int fd, int flags, const struct itimerspec *t, struct itimerspec *was),
     (fd, flags, t, was))
WRAP(int, unlink, -1, (const char *path), (path))
WRAP(int, unlinkat, -1, (int fd, const char *path, int flags), (fd, path, flags))
WRAP(int, utimensat, -1, (int fd, const char *path, const struct timespec t[2], int flags), (fd, path, t, flags))

DECLARE(open);
int __wrap_open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    FAIL(open, -1)
    DONE(int, __real_open(path, flags, mode));
}

DECLARE(fcntl);
int __wrap_fcntl(int fd, int command, ...) {
    va_list args;
    va_start(args, command);
    void *what = va_arg(args, void *);
    va_end(args);
    FAIL(fcntl, -1)
    DONE(int, __real_fcntl(fd, command, what));
}

/* openat2 and membarrier: libc has no functions for them. */
DECLARE(syscall);
long __wrap_syscall(long number, ...) {
    long a[4];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 4; i++) a[i] = va_arg(args, long);
    va_end(args);
    int error = shim_hit(number == SYS_membarrier ? CALL_syscall_membarrier : CALL_syscall_openat2, SITE);
    if (error) {
        errno = error;
        return -1;
    }
    DONE(long, __real_syscall(number, a[0], a[1], a[2], a[3]));
}

/* ---- reading and writing ----------------------------------------------------------------------------------------- */

DECLARE(read);
ssize_t __wrap_read(int fd, void *to, size_t size) {
    FAIL(read, -1)
    DONE(ssize_t, __real_read(fd, to, half(error, size)));
}

DECLARE(pread);
ssize_t __wrap_pread(int fd, void *to, size_t size, off_t at) {
    FAIL(pread, -1)
    DONE(ssize_t, __real_pread(fd, to, half(error, size), at));
}

DECLARE(write);
ssize_t __wrap_write(int fd, const void *from, size_t size) {
    FAIL(write, -1)
    DONE(ssize_t, __real_write(fd, from, half(error, size)));
}

DECLARE(pwrite);
ssize_t __wrap_pwrite(int fd, const void *from, size_t size, off_t at) {
    FAIL(pwrite, -1)
    DONE(ssize_t, __real_pwrite(fd, from, half(error, size), at));
}

DECLARE(getrandom);
ssize_t __wrap_getrandom(void *to, size_t size, unsigned flags) {
    FAIL(getrandom, -1)
    DONE(ssize_t, __real_getrandom(to, half(error, size), flags));
}

DECLARE(recv);
ssize_t __wrap_recv(int fd, void *to, size_t size, int flags) {
    FAIL(recv, -1)
    DONE(ssize_t, __real_recv(fd, to, half(error, size), flags));
}

DECLARE(send);
ssize_t __wrap_send(int fd, const void *from, size_t size, int flags) {
    FAIL(send, -1)
    DONE(ssize_t, __real_send(fd, from, half(error, size), flags));
}

enum { PIECES = 8 };

/* The first half of the pieces' bytes. */
static int halve(struct iovec *to, const struct iovec *from, int count) {
    size_t left = 0;
    for (int i = 0; i < count; i++) left += from[i].iov_len;
    left = left > 1 ? left / 2 : left;
    for (int i = 0; i < count && i < PIECES; i++) {
        to[i] = from[i];
        if (to[i].iov_len >= left) {
            to[i].iov_len = left;
            return i + 1;
        }
        left -= to[i].iov_len;
    }
    return count < PIECES ? count : PIECES;
}

DECLARE(readv);
ssize_t __wrap_readv(int fd, const struct iovec *to, int count) {
    struct iovec less[PIECES];
    FAIL(readv, -1)
    if (error) count = halve(less, to, count), to = less;
    DONE(ssize_t, __real_readv(fd, to, count));
}

DECLARE(sendmsg);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags) {
    struct iovec less[PIECES];
    struct msghdr part = *msg;
    FAIL(sendmsg, -1)
    if (error) {
        part.msg_iovlen = (size_t)halve(less, msg->msg_iov, (int)msg->msg_iovlen);
        part.msg_iov = less;
    }
    DONE(ssize_t, __real_sendmsg(fd, &part, flags));
}

/* ---- sockets and time -------------------------------------------------------------------------------------------- */

WRAP(int, accept4, -1, (int fd, struct sockaddr *from, socklen_t *len, int flags), (fd, from, len, flags))
WRAP(int, bind, -1, (int fd, const struct sockaddr *at, socklen_t len), (fd, at, len))

/* One that a signal interrupts goes on by itself. */
DECLARE(connect);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len) {
    int error = shim_hit(CALL_connect, SITE);
    int result = error && error != EINTR ? -1 : __real_connect(fd, to, len);
    shim_after();
    if (!error) return result;
    errno = error;
    return -1;
}

WRAP(int, getpeername, -1, (int fd, struct sockaddr *to, socklen_t *len), (fd, to, len))
WRAP(int, getsockname, -1, (int fd, struct sockaddr *to, socklen_t *len), (fd, to, len))
WRAP(int, getsockopt, -1, (int fd, int level, int name, void *to, socklen_t *len), (fd, level, name, to, len))
WRAP(int, listen, -1, (int fd, int most), (fd, most))
WRAP(int, setsockopt, -1, (int fd, int level, int name, const void *to, socklen_t len), (fd, level, name, to, len))
WRAP(int, shutdown, -1, (int fd, int how), (fd, how))
WRAP(int, socket, -1, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, ppoll, -1, (struct pollfd * fds, nfds_t count, const struct timespec *t, const sigset_t *s),
     (fds, count, t, s))
WRAP_CODE(clock_nanosleep, (clockid_t clock, int flags, const struct timespec *t, struct timespec *left),
          (clock, flags, t, left))

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* The name is in no header: <pthread.h> has the function, and it is a part of the program itself. */
WRAP_CODE(pthread_atfork, (void (*before)(void), void (*after)(void), void (*child)(void)), (before, after, child))

DECLARE(malloc);
void *__wrap_malloc(size_t size) {
    FAIL(malloc, NULL)
    void *p = __real_malloc(size);
    taken_add(p, size, SITE, "malloc");
    shim_after();
    return p;
}

DECLARE(calloc);
void *__wrap_calloc(size_t count, size_t size) {
    FAIL(calloc, NULL)
    void *p = __real_calloc(count, size);
    taken_add(p, count * size, SITE, "calloc");
    shim_after();
    return p;
}

DECLARE(aligned_alloc);
void *__wrap_aligned_alloc(size_t align, size_t size) {
    FAIL(aligned_alloc, NULL)
    void *p = __real_aligned_alloc(align, size);
    taken_add(p, size, SITE, "aligned_alloc");
    shim_after();
    return p;
}

DECLARE(realloc);
void *__wrap_realloc(void *old, size_t size) {
    FAIL(realloc, NULL)
    taken_drop(old);
    void *p = __real_realloc(old, size);
    taken_add(p, size, SITE, "realloc");
    shim_after();
    return p;
}

DECLARE(strdup);
char *__wrap_strdup(const char *text) {
    FAIL(strdup, NULL)
    char *p = __real_strdup(text);
    taken_add(p, p ? strlen(p) : 0, SITE, "strdup");
    shim_after();
    return p;
}

DECLARE(free);
void __wrap_free(void *p) {
    taken_drop(p);
    __real_free(p);
}

/* getline(), as the headers write it. The line's memory comes from libc itself. */
extern __typeof__(getdelim) __wrap___getdelim, __real___getdelim;
ssize_t __wrap___getdelim(char **line, size_t *room, int end, FILE *file) {
    FAIL(getdelim, -1)
    char *was = *line;
    ssize_t n = __real___getdelim(line, room, end, file);
    if (*line != was) {
        taken_drop(was);
        taken_add(*line, *room, SITE, "getline");
    }
    shim_after();
    return n;
}

DECLARE(mmap);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t from) {
    FAIL(mmap, MAP_FAILED)
    void *p = __real_mmap(at, size, protection, flags, fd, from);
    if (p != MAP_FAILED && !(flags & MAP_FIXED)) taken_add(p, size, SITE, "mmap");
    shim_after();
    return p;
}

/* Taking a whole mapping away does not fail. */
DECLARE(munmap);
int __wrap_munmap(void *at, size_t size) {
    taken_drop(at);
    int rc = __real_munmap(at, size);
    shim_after();
    return rc;
}

WRAP(int, madvise, -1, (void *at, size_t size, int advice), (at, size, advice))
WRAP(int, mprotect, -1, (void *at, size_t size, int protection), (at, size, protection))
