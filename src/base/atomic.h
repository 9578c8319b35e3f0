/* SPDX-License-Identifier: MIT */
/*
 * base/atomic.h - the few atomic operations on shared words, by their C11 orders.
 *
 * Built-ins on plain integers, not <stdatomic.h>: laneway/fast.h works on the same words and must be C++ as well, and
 * one notation for one memory is better than two (docs/decisions/0002).
 */
#ifndef LW_BASE_ATOMIC_H
#define LW_BASE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#define lw__load(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define lw__load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define lw__store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define lw__store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/* Store-load order, for "announce, then look": both sides run it between their store and their load. */
#define lw__fence_full() __atomic_thread_fence(__ATOMIC_SEQ_CST)
/* Loads before it are done before accesses after it. */
#define lw__fence_acquire() __atomic_thread_fence(__ATOMIC_ACQUIRE)
/* Accesses before it are done before stores after it. */
#define lw__fence_release() __atomic_thread_fence(__ATOMIC_RELEASE)

/* Between two looks at a word that another core is about to write: lets that core have the line. */
static inline void lw__relax(void) {
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("isb" ::: "memory");
#endif
}

/* For functions that load what others may be overwriting with plain stores, and whose callers make sure afterwards that
 * nobody did, before they believe it. ThreadSanitizer can't know that, so it does not watch them. (Not inlined: else they
 * would be watched as a part of another. no_sanitize alone leaves clang watching atomic loads.) */
#if defined __has_feature
#if __has_feature(thread_sanitizer)
#define LW__RACY __attribute__((noinline, disable_sanitizer_instrumentation))
#endif
#elif defined __SANITIZE_THREAD__
#define LW__RACY __attribute__((noinline, no_sanitize_thread))
#endif
#ifndef LW__RACY
#define LW__RACY
#endif

#define lw__add(p, n) __atomic_fetch_add((p), (n), __ATOMIC_SEQ_CST)

/* Replaces exactly `want` by `fresh`. Full order when it worked. */
static inline bool lw__cas(uint64_t *word, uint64_t want, uint64_t fresh) {
    return __atomic_compare_exchange_n(word, &want, fresh, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE);
}

#endif
