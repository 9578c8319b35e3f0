/* SPDX-License-Identifier: MIT */
/*
 * laneway/err.h - result codes.
 *
 * Every function of Laneway that can fail returns 0, a count or a position when it worked, and a negative number when
 * it did not: either a negated errno (-ENOSPC, -EACCES, ...) or one of the codes below, which no errno meets.
 *
 * lw_strerror() gives one fixed sentence for a code. Calls that set something up also leave a sentence of their own for
 * the calling thread, with the path or name and what to do: lw_errtext().
 */
#ifndef LANEWAY_ERR_H
#define LANEWAY_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

#define LW_API __attribute__((visibility("default")))

/* Inline in C and C++; src/pattern/fast.c compiles the same source into symbols for other languages. */
#ifndef LW_INLINE
#define LW_INLINE static inline __attribute__((unused))
#endif

/* X(code, number, sentence): the one table of the library's own codes. */
#define LW_ERRORS(X)                                                                                                   \
    X(LW_ENAME, 2001, "bad name: 1 to 63 of A-Z a-z 0-9 . _ -, not beginning with . or -")                             \
    X(LW_ESHAPE, 2002, "exists with another shape")                                                                    \
    X(LW_EVERSION, 2003, "made by another format version or layout")                                                   \
    X(LW_ECORRUPT, 2004, "corrupt file")                                                                               \
    X(LW_ETOOBIG, 2005, "message too big for this ring, it would never fit")                                           \
    X(LW_EFULL, 2006, "no room: a subscriber holds the ring back")                                                     \
    X(LW_EEMPTY, 2007, "no message within the time given")                                                             \
    X(LW_ECLOSED, 2008, "closed: the topic or handle is gone")                                                         \
    X(LW_EWRITER, 2009, "another writer has it")                                                                       \
    X(LW_EHELD, 2010, "the name is held by a live process")                                                            \
    X(LW_ENOTOPIC, 2011, "no such topic")                                                                              \
    X(LW_ENOBUS, 2012, "no such bus")                                                                                  \
    X(LW_ENOSUB, 2013, "no subscriber")                                                                                \
    X(LW_ENOSLOT, 2014, "no free slot")                                                                                \
    X(LW_EPOSITION, 2015, "no record begins at this position, or it is no longer retained")                            \
    X(LW_EGAP, 2016, "messages were lost before the next one; the count is in the statistics")                         \
    X(LW_EMISMATCH, 2017, "the schema differs; or what the two sides of a link have does not belong together")         \
    X(LW_EFORKED, 2018, "handle belongs to the parent process")                                                        \
    X(LW_ESTATE, 2019, "call out of order")                                                                            \
    X(LW_EFS, 2020, "this filesystem can not hold a bus")                                                              \
    X(LW_EABI, 2021, "program and library were built from different versions")                                         \
    X(LW_EEVICTED, 2022, "evicted for being too far behind; the count of lost messages is in the statistics")          \
    X(LW_EDEAD, 2023, "the process on the other side ended without closing, or can not be reached")                    \
    X(LW_EREFUSED, 2024, "the server refused the login; its words are with the link")                                  \
    X(LW_ENOLINK, 2025, "no such link")                                                                                \
    X(LW_EPROTOCOL, 2026, "what came over the connection breaks the protocol")                                         \
    X(LW_ENOSERVER, 2027, "no server of this name is at this address")

enum lw_error {
#define LW_ERROR_ENUM(code, number, sentence) code = -(number),
    LW_ERRORS(LW_ERROR_ENUM)
#undef LW_ERROR_ENUM
};

/* One fixed sentence for a code, also for a negated errno. Never NULL, never freed; safe from any thread and from
 * signal handlers for the library's own codes. */
LW_API const char *lw_strerror(int code);

/* The name of a code, "LW_EFULL" or "ENOSPC"; "?" when unknown. */
LW_API const char *lw_errname(int code);

/* The last failure of a set-up call of this thread, in words; "" if there was none. Valid until the thread's next
 * Laneway call. */
LW_API const char *lw_errtext(void);

#ifdef __cplusplus
}
#endif
#endif
