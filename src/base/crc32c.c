/* SPDX-License-Identifier: MIT */
/*
 * base/crc32c.c - CRC-32C by tables, by the instructions of x86-64 (SSE4.2) and AArch64 (CRC32), and by wide carry-less
 * multiplication (VPCLMULQDQ with AVX-512).
 *
 * Bytes are the coefficients of a polynomial over bits, and the register is what is left of it modulo P. Everything is
 * reflected: the lowest bit of a word is the highest power. The first two ways take eight bytes a step.
 *
 * Tables: eight bytes are looked up at once, in one table for each place that a byte can have among them.
 *
 * Instructions: one needs three cycles, and another can begin in each. So long input is cut into three neighbours that go
 * through the processor side by side:
 *
 *     | A: begins with crc | B: begins with 0 | C: begins with 0 |      `words` words each
 *
 * A is then 2n bits from the end, and B n bits: they are multiplied by x^2n and x^n, modulo P, and added to C (an
 * exclusive or). That is one carry-less multiplication each. Its product is left to the crc instruction to reduce, which
 * multiplies by x^32, and two reflected words give a product that is one bit off: so the factors are x^(2n-33) and
 * x^(n-33). They are constants, so only some lengths are used.
 *
 * Wide: a register of 512 bits is four pairs of words, high and low, the high one first in memory. What lies D bits before
 * the end is worth x^D times as much, so a register is added to the one D bits after it when it was multiplied by x^D. That
 * may be done modulo P: each word by a constant below 2^32, and the sum of the two products is a pair again. The high word
 * is 64 bits further from the end than the low one, and the 33 of above are in both:
 *
 *     high by x^(D+64-33) = x^(D+31), low by x^(D-33), modulo P
 *
 * Eight registers are added to the next eight (D = 4096), so that none waits for another. They are folded in halves (2048,
 * 1024, 512), the four pairs of the last one are added to its end (384, 256, 128), and the crc instruction does the rest.
 *
 * Then the multiplier is busy and the crc instruction is not. So in long input they share the work:
 *
 *     | V: eight registers a round | A | B | C: eight words a round each |
 *
 * With n = 64 * words again, V ends 3n bits from the end, A 2n and B n, and what came before V all their bits.
 * Eight words fit a processor that multiplies 512 bits in two cycles each (Zen 5); one that needs a cycle would want five.
 */
#include "base/crc32c.h"

#include <string.h>

#include "base/atomic.h"

/* Registers are 64 bits wide where the instructions have them so, to spare the conversions between two of these. */
static inline uint64_t load64(const unsigned char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

/* A byte's entry is the sum of those of its bits, so eight constants make a table. */
#define ENTRY(i, b0, b1, b2, b3, b4, b5, b6, b7)                                                                       \
    (((i)&1 ? b0 : 0) ^ ((i)&2 ? b1 : 0) ^ ((i)&4 ? b2 : 0) ^ ((i)&8 ? b3 : 0) ^ ((i)&16 ? b4 : 0) ^                   \
     ((i)&32 ? b5 : 0) ^ ((i)&64 ? b6 : 0) ^ ((i)&128 ? b7 : 0))
#define FOUR(i, ...)                                                                                                   \
    ENTRY(i, __VA_ARGS__), ENTRY(i + 1, __VA_ARGS__), ENTRY(i + 2, __VA_ARGS__), ENTRY(i + 3, __VA_ARGS__)
#define SIXTEEN(i, ...)                                                                                                \
    FOUR(i, __VA_ARGS__), FOUR(i + 4, __VA_ARGS__), FOUR(i + 8, __VA_ARGS__), FOUR(i + 12, __VA_ARGS__)
#define QUARTER(i, ...)                                                                                                \
    SIXTEEN(i, __VA_ARGS__), SIXTEEN(i + 16, __VA_ARGS__), SIXTEEN(i + 32, __VA_ARGS__), SIXTEEN(i + 48, __VA_ARGS__)
#define TABLE(...)                                                                                                     \
    { QUARTER(0, __VA_ARGS__), QUARTER(64, __VA_ARGS__), QUARTER(128, __VA_ARGS__), QUARTER(192, __VA_ARGS__) }

/* after[n][b]: the register after the byte b and n zero bytes. */
static const uint32_t after[8][256] = {
    TABLE(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78),
    TABLE(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9),
    TABLE(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743),
    TABLE(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
    TABLE(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c),
    TABLE(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6),
    TABLE(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
    TABLE(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664),
};

/* Written out: compilers leave a loop of eight as it is. */
static uint32_t look_up_8(uint64_t word) {
    return after[7][word & 255] ^ after[6][word >> 8 & 255] ^ after[5][word >> 16 & 255] ^ after[4][word >> 24 & 255] ^
           after[3][word >> 32 & 255] ^ after[2][word >> 40 & 255] ^ after[1][word >> 48 & 255] ^ after[0][word >> 56];
}

uint32_t lw__crc32c_portable(uint32_t crc, const void *data, size_t size) {
    const unsigned char *at = data;
    crc = ~crc;
    for (; size >= 8; at += 8, size -= 8) crc = look_up_8(load64(at) ^ crc);
    for (; size; at++, size--) crc = crc >> 8 ^ after[0][(crc ^ *at) & 255];
    return ~crc;
}

/* ---- instructions ------------------------------------------------------------------------------------------------ */

#if defined __x86_64__
#include <immintrin.h>

#define HARDWARE __attribute__((target("sse4.2,pclmul")))

HARDWARE static inline uint64_t step8(uint64_t crc, uint64_t word) {
    return _mm_crc32_u64(crc, word);
}

HARDWARE static inline uint64_t step4(uint64_t crc, uint32_t word) {
    return _mm_crc32_u32((uint32_t)crc, word);
}

HARDWARE static inline uint64_t step1(uint64_t crc, unsigned char byte) {
    return _mm_crc32_u8((uint32_t)crc, byte);
}

/* Without carries, of two words below 2^32. */
HARDWARE static inline uint64_t product(uint64_t a, uint64_t b) {
    __m128i wide = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)a), _mm_cvtsi64_si128((int64_t)b), 0);
    return (uint64_t)_mm_cvtsi128_si64(wide);
}

static bool have_instructions(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

#elif defined __aarch64__ && defined __AARCH64EL__
#include <sys/auxv.h>

#define HARDWARE

/* Assembly: compilers differ in how a single function gets these intrinsics. The bits of AT_HWCAP are the kernel's. */
enum { HAS_PMULL = 1 << 4, HAS_CRC32 = 1 << 7 };

static inline uint64_t step8(uint64_t crc, uint64_t word) {
    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
    return crc;
}

static inline uint64_t step4(uint64_t crc, uint32_t word) {
    __asm__(".arch_extension crc\n\tcrc32cw %w0, %w0, %w1" : "+r"(crc) : "r"(word));
    return crc;
}

static inline uint64_t step1(uint64_t crc, unsigned char byte) {
    __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"((uint32_t)byte));
    return crc;
}

/* Without carries, of two words below 2^32. */
static inline uint64_t product(uint64_t a, uint64_t b) {
    __asm__(".arch_extension aes\n\tpmull %0.1q, %0.1d, %1.1d" : "+w"(a) : "w"(b));
    return a;
}

static bool have_instructions(void) {
    unsigned long need = HAS_PMULL | HAS_CRC32;
    return (getauxval(AT_HWCAP) & need) == need;
}
#endif

#ifdef HARDWARE
/* Three neighbours of `words` words: x^(n-33) and x^(2n-33), modulo P, for n = 64 * words. */
struct cut {
    size_t words;
    uint32_t by_n, by_2n;
};

HARDWARE static uint64_t three(uint64_t crc, const unsigned char *at, const struct cut *cut) {
    size_t apart = cut->words * 8;
    uint64_t a = crc, b = 0, c = 0;
    for (const unsigned char *end = at + apart; at < end; at += 8) {
        a = step8(a, load64(at));
        b = step8(b, load64(at + apart));
        c = step8(c, load64(at + 2 * apart));
    }
    return step8(0, product(a, cut->by_2n) ^ product(b, cut->by_n)) ^ c;
}

HARDWARE static uint64_t rest(uint64_t crc, const unsigned char *at, size_t size) {
    for (; size >= 8; at += 8, size -= 8) crc = step8(crc, load64(at));
    if (size >= 4) {
        uint32_t word;
        memcpy(&word, at, sizeof word);
        crc = step4(crc, word);
        at += 4, size -= 4;
    }
    for (; size; at++, size--) crc = step1(crc, *at);
    return crc;
}

HARDWARE static uint32_t by_instructions(uint32_t crc, const void *data, size_t size) {
    enum { CUTS = 5, SHORT = 192 }; /* what is shorter than the last cut passes them by */
    static const struct cut cuts[CUTS] = {{640, 0xca110698, 0xe2f1a204},
                                          {160, 0xdd66cbbb, 0x22c3799f},
                                          {40, 0xbac2fd7b, 0x6b749fb2},
                                          {20, 0x878a92a7, 0xbac2fd7b},
                                          {8, 0x9e4addf8, 0x0d3b6092}};
    const unsigned char *at = data;
    uint64_t now = ~crc;
    size_t first = size < SHORT ? CUTS : 0;
    for (size_t i = first; i < CUTS; i++) {
        size_t all = cuts[i].words * 24;
        for (; size >= all; at += all, size -= all) now = three(now, at, &cuts[i]);
    }
    return ~(uint32_t)rest(now, at, size);
}
#endif

/* ---- wide -------------------------------------------------------------------------------------------------------- */

#if defined __x86_64__
#define WIDE __attribute__((target("avx512f,vpclmulqdq,sse4.2,pclmul")))
#define WIDE_INLINE WIDE __attribute__((always_inline)) static inline

/* x_N is x^N modulo P. */
#define POWER(n, rest) static const uint32_t x_##n = rest;
LW__CRC32C_POWERS(POWER)
#undef POWER

struct four {
    __m512i a, b, c, d;
};

/* To multiply the two words of each pair by. */
WIDE_INLINE __m512i factors(uint32_t high, uint32_t low) {
    return _mm512_broadcast_i32x4(_mm_set_epi64x(low, high));
}

WIDE_INLINE __m512i load(const unsigned char *at) {
    return _mm512_loadu_si512(at);
}

/* Multiplies `sum` and adds it to `next`. 0x96 is the table of an exclusive or of three. */
WIDE_INLINE __m512i fold(__m512i sum, __m512i by, __m512i next) {
    __m512i high = _mm512_clmulepi64_epi128(sum, by, 0x00), low = _mm512_clmulepi64_epi128(sum, by, 0x11);
    return _mm512_ternarylogic_epi64(high, low, next, 0x96);
}

WIDE_INLINE struct four load_four(const unsigned char *at) {
    return (struct four){load(at), load(at + 64), load(at + 128), load(at + 192)};
}

WIDE_INLINE struct four fold_four(struct four sum, __m512i by, struct four next) {
    return (struct four){fold(sum.a, by, next.a), fold(sum.b, by, next.b), fold(sum.c, by, next.c),
                         fold(sum.d, by, next.d)};
}

/* The register after these 64 bytes. The last pair stays as it is: it is multiplied by nothing, and added. */
WIDE_INLINE uint64_t finish(__m512i sum) {
    __m512i by = _mm512_set_epi64(0, 0, x_95, x_159, x_223, x_287, x_351, x_415);
    __m512i pairs = fold(sum, by, _mm512_maskz_mov_epi64(0xc0, sum));
    __m256i two = _mm256_xor_si256(_mm512_castsi512_si256(pairs), _mm512_extracti64x4_epi64(pairs, 1));
    __m128i one = _mm_xor_si128(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
    uint64_t high = (uint64_t)_mm_cvtsi128_si64(one), low = (uint64_t)_mm_extract_epi64(one, 1);
    return step8(step8(0, high), low);
}

/* ... and after `size` more, less than 256 and a multiple of 64. */
WIDE_INLINE uint64_t finish_four(struct four sum, const unsigned char *at, size_t size) {
    __m512i by_1024 = factors(x_1055, x_991), by_512 = factors(x_543, x_479);
    __m512i a = fold(sum.a, by_1024, sum.c), b = fold(sum.b, by_1024, sum.d);
    if (size & 128) {
        a = fold(a, by_1024, load(at));
        b = fold(b, by_1024, load(at + 64));
        at += 128;
    }
    a = fold(a, by_512, b);
    return finish(size & 64 ? fold(a, by_512, load(at)) : a);
}

enum { FOLDED = 256 }; /* what is shorter is faster in words */

/* Of FOLDED bytes or more, a multiple of 64. */
WIDE static uint64_t folded(uint64_t crc, const unsigned char *at, size_t size) {
    __m512i by_2048 = factors(x_2079, x_2015), by_4096 = factors(x_4127, x_4063);
    struct four sum = load_four(at);
    sum.a = _mm512_xor_si512(sum.a, _mm512_zextsi128_si512(_mm_cvtsi64_si128((int64_t)crc)));
    at += 256, size -= 256;
    if (size >= 256) {
        struct four more = load_four(at);
        for (at += 256, size -= 256; size >= 512; at += 512, size -= 512) {
            sum = fold_four(sum, by_4096, load_four(at));
            more = fold_four(more, by_4096, load_four(at + 256));
        }
        sum = fold_four(sum, by_2048, more);
    }
    if (size >= 256) {
        sum = fold_four(sum, by_2048, load_four(at));
        at += 256, size -= 256;
    }
    return finish_four(sum, at, size);
}

enum { ROUNDS = 16, APART = ROUNDS * 64, SHARED = ROUNDS * 512 + 3 * APART };

/* The registers of A, B and C. */
struct others {
    uint64_t a, b, c;
};

WIDE_INLINE struct others step(struct others sum, const unsigned char *at) {
    return (struct others){step8(sum.a, load64(at)), step8(sum.b, load64(at + APART)),
                           step8(sum.c, load64(at + 2 * APART))};
}

WIDE_INLINE struct others step_four(struct others sum, const unsigned char *at) {
    return step(step(step(step(sum, at), at + 8), at + 16), at + 24);
}

WIDE static uint64_t shared(uint64_t crc, const unsigned char *at) {
    __m512i none = _mm512_setzero_si512(), by_4096 = factors(x_4127, x_4063);
    struct four sum = {none, none, none, none}, more = sum;
    struct others others = {0, 0, 0};
    const unsigned char *word = at + ROUNDS * 512;
    for (const unsigned char *end = word; at < end; at += 512, word += 64) {
        sum = fold_four(sum, by_4096, load_four(at));
        others = step_four(others, word);
        more = fold_four(more, by_4096, load_four(at + 256));
        others = step_four(others, word + 32);
    }
    uint64_t wide = finish_four(fold_four(sum, factors(x_2079, x_2015), more), at, 0);
    uint64_t before = product(crc, x_90079) ^ product(wide, x_24543);
    return step8(0, before ^ product(others.a, x_16351) ^ product(others.b, x_8159)) ^ others.c;
}

/* What does not fill a register goes first: the other registers do not wait for it. */
WIDE static uint32_t long_one(uint32_t crc, const void *data, size_t size) {
    const unsigned char *at = data;
    uint64_t now = ~crc;
    for (; size >= SHARED; at += SHARED, size -= SHARED) now = shared(now, at);
    if (size < FOLDED) {
        _mm256_zeroupper(); /* not all compilers do so before they jump: what comes would be slow, the caller as well */
        return by_instructions(~(uint32_t)now, at, size);
    }
    size_t odd = size % 64;
    now = rest(now, at, odd);
    return ~(uint32_t)folded(now, at + odd, size - odd);
}

/* A function of its own, without what a long one wants on its stack. */
static uint32_t by_folding(uint32_t crc, const void *data, size_t size) {
    return size < FOLDED ? by_instructions(crc, data, size) : long_one(crc, data, size);
}

/* The built-in asks the system, too, whether it keeps the wide registers (XGETBV). */
static bool have_wide(void) {
    return have_instructions() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq");
}
#endif

lw__crc32c_fn *lw__crc32c_hardware(void) {
#ifdef HARDWARE
    if (have_instructions()) return by_instructions;
#endif
    return NULL;
}

lw__crc32c_fn *lw__crc32c_wide(void) {
#ifdef WIDE
    if (have_wide()) return by_folding;
#endif
    return NULL;
}

/* ---- the choice -------------------------------------------------------------------------------------------------- */

static lw__crc32c_fn choose;
static lw__crc32c_fn *chosen = choose;

/* Threads that come here at once all store the same, and nothing else goes with it: no order is needed. */
static uint32_t choose(uint32_t crc, const void *data, size_t size) {
    lw__crc32c_fn *best = lw__crc32c_wide();
    if (!best) best = lw__crc32c_hardware();
    if (!best) best = lw__crc32c_portable;
    lw__store(&chosen, best);
    return best(crc, data, size);
}

uint32_t lw__crc32c(uint32_t crc, const void *data, size_t size) {
    return lw__load(&chosen)(crc, data, size);
}
