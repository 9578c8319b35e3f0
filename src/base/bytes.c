/* SPDX-License-Identifier: MIT */
#include "base/bytes.h"

#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* Without entropy yet (early boot) a mix of clock, pid and address serves: a UUID here is told apart, not kept secret.
 */
static void random_bytes(unsigned char *out, size_t size) {
    if (getrandom(out, size, GRND_NONBLOCK) == (ssize_t)size) return;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t x = (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 30 ^ (uint64_t)getpid() << 48 ^ (uintptr_t)out;
    for (size_t i = 0; i < size; i++) {
        x += 0x9e3779b97f4a7c15;
        uint64_t z = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
        out[i] = (unsigned char)(z >> 56);
    }
}

void lw__uuid_make(unsigned char uuid[16]) {
    random_bytes(uuid, 16);
    uuid[6] = (unsigned char)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (unsigned char)((uuid[8] & 0x3f) | 0x80);
}
