/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/mman.h>

#include "base/file.h"

static int protection(bool writable) {
    return writable ? PROT_READ | PROT_WRITE : PROT_READ;
}

/* A forked child must not reach shared state through a stale handle, and a core dump need not hold gigabytes of ring.
 */
static void keep_private(void *base, size_t size) {
    madvise(base, size, MADV_DONTFORK);
    madvise(base, size, MADV_DONTDUMP);
}

void *lw__map_shared(int fd, size_t size, bool writable) {
    void *base = mmap(NULL, size, protection(writable), MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) return NULL;
    keep_private(base, size);
    return base;
}

char *lw__map_ring(int fd, size_t head, size_t ring, bool write_head, bool write_ring) {
    size_t whole = head + 2 * ring;
    char *base = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return NULL;
    int prot = protection(write_ring);
    if (mmap(base, head + ring, prot, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) goto fail;
    if (mmap(base + head + ring, ring, prot, MAP_SHARED | MAP_FIXED, fd, (off_t)head) == MAP_FAILED) goto fail;
    if (write_head != write_ring && mprotect(base, head, protection(write_head))) goto fail;
    keep_private(base, whole);
    return base;
fail:;
    int e = errno;
    munmap(base, whole);
    errno = e;
    return NULL;
}

void lw__unmap(void *base, size_t size) {
    if (base) munmap(base, size);
}
