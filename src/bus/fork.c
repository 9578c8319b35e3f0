/* SPDX-License-Identifier: MIT */
/*
 * bus/fork.c - a forked child must neither keep its parent alive nor reach what the parent shares.
 *
 * An open-file-description lock lives as long as any descriptor of it, the child's copy too, and unlocking by the child
 * would unlock for the parent. So the child only closes. Whatever takes such a lock or opens such a descriptor does it
 * under the bus's lock, which fork() takes first: no copy escapes. (A probe's read-only descriptor may; it holds
 * nothing.) Mappings are absent from the child.
 */
#include "bus/fork.h"

#include <unistd.h>

#include "base/atomic.h"
#include "base/err.h"
#include "bus/bell.h"
#include "bus/watch.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct lw_bus *list;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int registered; /* 0 or an errno */

static void before_fork(void) {
    pthread_mutex_lock(&list_lock);
    for (struct lw_bus *bus = list; bus; bus = bus->next) {
        pthread_mutex_lock(&bus->lock);
        pthread_mutex_lock(&bus->watch.lock);
        pthread_mutex_lock(&bus->bells_lock);
    }
}

static void after_fork(void) {
    for (struct lw_bus *bus = list; bus; bus = bus->next) {
        pthread_mutex_unlock(&bus->bells_lock);
        pthread_mutex_unlock(&bus->watch.lock);
        pthread_mutex_unlock(&bus->lock);
    }
    pthread_mutex_unlock(&list_lock);
}

static void close_one(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

void lw__bus_shut(struct lw_bus *bus) {
    lw__watch_stop(bus);
    lw__bell_close_peers(bus);
    close_one(&bus->node_fd);
    close_one(&bus->table_fd);
    lw__dir_close(&bus->dir);
}

static void cut(struct lw_bus *bus) {
    struct lw__handle *next;
    bus->forked = true;
    bus->table = NULL;
    lw__bus_shut(bus);
    for (struct lw__handle *h = bus->handles; h; h = next) {
        next = h->next;
        h->next = h->before = NULL;
        h->cut(h);
    }
    bus->handles = NULL;
}

static void in_child(void) {
    for (struct lw_bus *bus = list; bus; bus = bus->next)
        if (!bus->forked) cut(bus);
    after_fork();
}

static void register_once(void) {
    lw__store(&registered, pthread_atfork(before_fork, after_fork, in_child));
}

/* For want of memory it may fail, and is tried again: by one thread at a time, for twice would be once too often. */
static int follow_forks(void) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_once(&once, register_once);
    if (!lw__load(&registered)) return 0;
    pthread_mutex_lock(&lock);
    if (lw__load(&registered)) register_once();
    pthread_mutex_unlock(&lock);
    return lw__load(&registered);
}

int lw__fork_add(struct lw_bus *bus) {
    int error = follow_forks();
    if (error) return lw__fail(-error, "no memory to follow fork()");
    pthread_mutex_lock(&list_lock);
    pthread_mutex_lock(&bus->lock);
    bus->next = list;
    list = bus;
    pthread_mutex_unlock(&list_lock);
    return 0;
}

void lw__fork_lock(struct lw_bus *bus) {
    pthread_mutex_lock(&list_lock);
    pthread_mutex_lock(&bus->lock);
}

void lw__fork_unlock(struct lw_bus *bus, bool remove) {
    struct lw_bus **at = &list;
    while (remove && *at != bus) at = &(*at)->next;
    if (remove) *at = bus->next;
    pthread_mutex_unlock(&bus->lock);
    pthread_mutex_unlock(&list_lock);
}
