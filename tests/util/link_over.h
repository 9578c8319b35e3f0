/* SPDX-License-Identifier: MIT */
/*
 * util/link_over.h - by what the links of a test go: shared memory, or with LW_TEST_LINKS=tcp or unix in the environment
 * a socket. The tests are the same.
 *
 * Over a socket nothing moves unless somebody polls the group of that side, or a call on the link waits. Tests have
 * both sides in one thread, so whatever waits here, and in util.h, drives all parties of the thread meanwhile. What was
 * driven tells its events at the next poll of its group: none is taken away.
 */
#ifndef LW_TESTS_LINK_OVER_H
#define LW_TESTS_LINK_OVER_H

#include "laneway/laneway.h"
#include "util/util.h"

enum tl_over { TL_SHARED, TL_TCP, TL_UNIX };
enum tl_over tl_over(void);

/* Where the server of a bus listens: the same in all processes, and another for each bus and name. For clients with the
 * server's name at its end. One of eight buffers in turn. In shared memory, for clients: the name. An address is taken as
 * it is, also by those below. */
const char *tl_listens(struct lw_bus *bus, const char *server);
const char *tl_address(struct lw_bus *bus, const char *server);

/* lw_link_open() and lw_server_open() by a server's name. */
int tl_link_open(struct lw_link **link, struct lw_group *group, const char *server,
                 const struct lw_link_options *options);
int tl_server_open(struct lw_server **server, struct lw_group *group, const char *name,
                   const struct lw_server_options *options);

/* lw_link_remove(), on both sides of it. `unread` is the server's, or the client's if there is no server's. */
int tl_link_remove(struct lw_bus *bus, const char *server, const char *client, unsigned flags, uint64_t *unread);

/* From now on, and until, this thread drives what is in this group. */
void tl_drives(struct lw_group *group);
void tl_drives_no_more(struct lw_group *group);

/* Does it drive more than one group? Then it may not sleep in one of them. */
bool tl_drives_others(void);

/* Input and output of all handles, once. */
void tl_drive(void);

/* Until nothing is under way between links whose two sides are in this thread: all that was sent has arrived, and
 * what was released is known to who sent it. Nothing in shared memory. */
void tl_settle(void);
void tl_settle_link(const struct lw_link *link); /* the same for one link */

/* cmocka's runner, for cases that run over everything, and others that are about shared memory itself. LW_TEST_CASE: a
 * pattern of the names of those to run. */
#define tl_run(both, shared)                                                                                           \
    tl_run_cases((both), sizeof(both) / sizeof *(both), (shared), sizeof(shared) / sizeof *(shared))
int tl_run_cases(const struct CMUnitTest *both, size_t count, const struct CMUnitTest *shared, size_t shared_count);

#endif
