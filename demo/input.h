/* SPDX-License-Identifier: MIT */
/*
 * demo/input.h - what the demo sends: a tar of what is under /usr, cut in records.
 *
 * It is kept in shared anonymous memory, so there is no file to leave behind. How long record n is follows from n and
 * the seed: mostly tens and hundreds of bytes, some of none, some of up to 64 KiB. The bytes go round as often as the
 * demo wants; message number n is record n modulo the count.
 */
#ifndef DEMO_INPUT_H
#define DEMO_INPUT_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ledger.h"

enum { INPUT_SIZE = 128000000, RECORD_MOST = 64 << 10 };

struct record {
    uint64_t offset;
    uint64_t sum;
    uint32_t len;
};

struct input {
    char *bytes;
    struct record *records;
    uint64_t count;
    bool repeated; /* there was less than INPUT_SIZE, so some of it is there twice */
};

/* A sum over bytes in which order counts. Not for cryptographers. */
static inline uint64_t sum_of(const void *data, size_t len) {
    const char *at = data;
    uint64_t sum = mix(len), word;
    for (; len >= 8; at += 8, len -= 8) {
        memcpy(&word, at, 8);
        sum = (sum ^ word) * UINT64_C(0x9fb21c651e98df25);
        sum ^= sum >> 32;
    }
    word = 0;
    memcpy(&word, at, len);
    return mix(sum ^ word);
}

/* A sum over sums, likewise. */
static inline uint64_t sum_add(uint64_t sum, uint64_t next) {
    return mix(sum ^ next);
}

static inline uint32_t record_len(uint64_t seed, uint64_t number) {
    uint64_t random = mix(seed ^ mix(number)), more = random >> 6;
    switch (random % 64) {
    case 0:
        return 0;
    case 1:
        return (uint32_t)(more % (RECORD_MOST + 1));
    case 2 ... 3:
        return (uint32_t)(4096 + more % 12288);
    case 4 ... 12:
        return (uint32_t)(512 + more % 3584);
    case 13 ... 32:
        return (uint32_t)(64 + more % 448);
    default:
        return (uint32_t)(8 + more % 88);
    }
}

static void input_cut(struct input *input, uint64_t seed) {
    uint64_t offset = 0, room = 0;
    while (offset < INPUT_SIZE) {
        if (input->count == room) {
            room = room ? 2 * room : 1 << 16;
            input->records = realloc(input->records, room * sizeof *input->records);
            if (!input->records) abort();
        }
        uint64_t len = record_len(seed, input->count), left = INPUT_SIZE - offset;
        if (len > left) len = left;
        input->records[input->count++] =
            (struct record){.offset = offset, .sum = sum_of(input->bytes + offset, len), .len = (uint32_t)len};
        offset += len;
    }
}

__attribute__((noreturn)) static void input_be_tar(const int out[2]) {
    int null = open("/dev/null", O_RDWR);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(null, STDIN_FILENO);
    dup2(null, STDERR_FILENO); /* of files that we may not read */
    dup2(out[1], STDOUT_FILENO);
    close(out[0]);
    close(out[1]);
    execlp("tar", "tar", "-cf", "-", "-C", "/", "usr", (char *)NULL);
    _exit(127);
}

/* Reads what tar gives, up to the size wanted. Returns how much it was. */
static size_t input_read_tar(char *to, size_t most) {
    int out[2];
    size_t got = 0;
    if (pipe2(out, O_CLOEXEC)) return 0;
    pid_t pid = fork();
    if (pid == 0) input_be_tar(out);
    close(out[1]);
    while (pid > 0 && got < most) {
        ssize_t n = read(out[0], to + got, most - got);
        if (n <= 0) break;
        got += (size_t)n;
    }
    close(out[0]);
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return got;
}

/* False when there is nothing to send. */
static bool input_make(struct input *input, uint64_t seed) {
    size_t got = 0;
    input->bytes = mmap(NULL, INPUT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (input->bytes == MAP_FAILED) return false;
    while (got < INPUT_SIZE) {
        size_t more = input_read_tar(input->bytes + got, INPUT_SIZE - got);
        if (more < 1 << 20) return false; /* not even a megabyte: there is no tar, or no /usr */
        input->repeated |= got > 0;
        got += more;
    }
    input_cut(input, seed);
    return true;
}

static inline const struct record *input_record(const struct input *input, uint64_t number) {
    return &input->records[number % input->count];
}

#endif
