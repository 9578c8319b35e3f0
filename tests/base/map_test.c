/* SPDX-License-Identifier: MIT */
/* Mappings: the ring that is there twice, who may write, and that a forked child has none of it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "util/util.h"

enum { HEAD = 8192, RING = 65536 };

static int make_file(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(lw__file_grow(fd, 0, HEAD + RING), 0);
    return fd;
}

static void what_is_written_across_the_end_is_at_the_beginning(void **state) {
    int fd = make_file(*state);
    char *base = lw__map_ring(fd, HEAD, RING, true, true), *ring = base + HEAD;
    assert_non_null(base);
    memcpy(ring + RING - 4, "ABCDEFGH", 8);
    assert_memory_equal(ring, "EFGH", 4);
    memcpy(ring + RING, "wxyz", 4);
    assert_memory_equal(ring, "wxyz", 4);
    assert_memory_equal(ring + 2 * RING - 4, "ABCD", 4);
    memcpy(base, "head", 4);
    assert_int_equal(ring[4], 0);
    lw__unmap(base, HEAD + 2 * RING);
    close(fd);
}

/* Writes one byte; the status tells whether that was allowed. */
static bool can_write(char *at) {
    int p[2];
    assert_int_equal(pipe(p), 0);
    assert_int_equal(write(p[1], "x", 1), 1);
    bool ok = read(p[0], at, 1) == 1; /* the kernel writes it: EFAULT instead of a signal */
    close(p[0]);
    close(p[1]);
    return ok;
}

static void head_and_ring_are_writable_as_asked(void **state) {
    int fd = make_file(*state);
    for (int way = 0; way < 4; way++) {
        char *base = lw__map_ring(fd, HEAD, RING, way & 1, way & 2);
        assert_non_null(base);
        assert_int_equal(can_write(base), way & 1);
        assert_int_equal(can_write(base + HEAD - 1), way & 1);
        assert_int_equal(can_write(base + HEAD), way >> 1);
        assert_int_equal(can_write(base + HEAD + RING), way >> 1);
        assert_int_equal(can_write(base + HEAD + 2 * RING - 1), way >> 1);
        lw__unmap(base, HEAD + 2 * RING);
    }
    close(fd);
}

static void a_failed_mapping_is_null_and_says_why(void **state) {
    int fd = make_file(*state);
    close(fd);
    errno = 0;
    assert_null(lw__map_ring(fd, HEAD, RING, true, true));
    assert_int_equal(errno, EBADF);
    assert_null(lw__map_shared(fd, HEAD, true));
    lw__unmap(NULL, HEAD);
}

static void a_forked_child_has_no_mapping(void **state) {
    int fd = make_file(*state);
    char *ring = lw__map_ring(fd, HEAD, RING, true, true), *flat = lw__map_shared(fd, HEAD, true);
    assert_int_equal(msync(flat, HEAD, MS_ASYNC), 0);
    pid_t pid = fork();
    if (!pid) _exit(msync(ring, HEAD + 2 * RING, MS_ASYNC) == -1 && msync(flat, HEAD, MS_ASYNC) == -1 ? 0 : 1);
    int status = -1;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    lw__unmap(flat, HEAD);
    lw__unmap(ring, HEAD + 2 * RING);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(what_is_written_across_the_end_is_at_the_beginning),
        t_test(head_and_ring_are_writable_as_asked),
        t_test(a_failed_mapping_is_null_and_says_why),
        t_test(a_forked_child_has_no_mapping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
