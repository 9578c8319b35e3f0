/* SPDX-License-Identifier: MIT */
/*
 * bus/group_open.c - beginning and ending: of groups, and of handles in them.
 *
 * A handle goes from group to group with its descriptor and its due time. It leaves by its own thread, which takes it out
 * of table, lists and epoll set before anybody else can have it; it comes by the list `coming` of the new group, whose
 * thread takes it in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/options.h"
#include "bus/group.h"
#include "bus/watch.h"

/* ---- descriptors -------------------------------------------------------------------------------------------------- */

static int control(struct lw_group *g, int what, int fd, uint32_t events, uint64_t from) {
    struct epoll_event event = {.events = events, .data.u64 = from};
    return epoll_ctl(g->epoll, what, fd, &event) ? -errno : 0;
}

int lw__group_add_fd(struct lw_group *g, int fd, enum lw__group_from from) {
    return control(g, EPOLL_CTL_ADD, fd, EPOLLIN, (uint64_t)from);
}

/* Who is looked at each turn anyway need not be told of: whoever sends to it would pay for that, even for a descriptor in
 * the set of which nothing is asked. In a group that does not spin it is as good as asleep. */
static bool is_seen_anyway(const struct lw__source *s) {
    return s->polled && s->place == LW__BUSY && s->group->spin;
}

static int tell(struct lw__source *s) {
    bool wanted = !is_seen_anyway(s);
    if (!wanted && !s->fd_told) return 0;
    int what = !wanted ? EPOLL_CTL_DEL : s->fd_told ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    int rc = control(s->group, what, s->fd, s->fd_events, s->index);
    if (!rc) s->fd_told = wanted;
    return rc;
}

/* A handle that waits by itself has no set: its descriptor is looked at by name. */
static int enter_fd(struct lw__source *s) {
    struct lw_group *g = s->group;
    if (s->fd < 0 || g->alone) return 0;
    int rc = tell(s);
    if (rc) return rc;
    s->fd_in = true;
    g->fds++;
    return 0;
}

static void leave_fd(struct lw__source *s) {
    struct lw_group *g = s->group;
    if (s->fd_told) control(g, EPOLL_CTL_DEL, s->fd, 0, 0);
    g->fds -= s->fd_in;
    g->fds_missing -= s->fd_missing;
    s->fd_in = s->fd_told = s->fd_missing = false;
}

static void bring_fd(struct lw__source *s) {
    s->fd_missing = enter_fd(s);
    s->group->fds_missing += s->fd_missing;
}

void lw__source_enter_again(struct lw__source *s) {
    leave_fd(s);
    bring_fd(s);
}

void lw__source_moved_place(struct lw__source *s) {
    if (!s->fd_in || !s->polled || !s->group->spin || !tell(s)) return;
    leave_fd(s); /* a tick tries again */
    s->fd_missing = true;
    s->group->fds_missing++;
}

static bool is_in_group(const struct lw__source *s) {
    return s->group && s->place != LW__COMING;
}

static int cannot_watch(int rc) {
    return lw__fail(rc, "a group cannot wait for a descriptor: %s%s", strerror(-rc),
                    rc == -ENOSPC ? "; see fs.epoll.max_user_watches" : "");
}

static int change_events(struct lw__source *s, uint32_t events) {
    uint32_t before = s->fd_events;
    s->fd_events = events;
    int rc = s->fd_in ? tell(s) : 0;
    if (!rc) return 0;
    s->fd_events = before;
    return cannot_watch(rc);
}

int lw__source_watch(struct lw__source *s, int fd, uint32_t events) {
    if (fd < 0) fd = -1;
    if (fd == s->fd) return fd < 0 || events == s->fd_events ? 0 : change_events(s, events);
    bool in = is_in_group(s);
    if (in) leave_fd(s);
    s->fd = fd;
    s->fd_events = events;
    int rc = in ? enter_fd(s) : 0;
    if (!rc) return 0;
    s->fd = -1;
    return cannot_watch(rc);
}

/* ---- due times ---------------------------------------------------------------------------------------------------- */

void lw__source_due(struct lw__source *s, int64_t when) {
    bool was = s->due != INT64_MAX;
    struct lw_group *g = is_in_group(s) ? s->group : NULL;
    if (g && when <= g->due_after) when = g->due_after + 1;
    if (g && was && when == INT64_MAX) lw__dues_drop(&g->dues, s);
    s->due = when;
    if (!g || when == INT64_MAX) return;
    (was ? lw__dues_changed : lw__dues_add)(&g->dues, s);
}

/* ---- coming and going --------------------------------------------------------------------------------------------- */

/* For rings of other threads: they hold the lock, so that what they ring is there still. */
static void set_group(struct lw__source *s, struct lw_group *g, uint32_t ring_at) {
    pthread_mutex_lock(&s->bus->bells_lock);
    s->group = g;
    s->ring_at = ring_at;
    pthread_mutex_unlock(&s->bus->bells_lock);
}

void lw__source_ring(struct lw__source *s) {
    pthread_mutex_lock(&s->bus->bells_lock);
    if (s->group) lw__bell_ring_own(&s->group->bell, s->ring_at);
    pthread_mutex_unlock(&s->bus->bells_lock);
}

static void take(struct lw_group *g, struct lw__source *s) {
    uint32_t i = g->table_free;
    while (g->table[i]) i++; /* there is one: they were counted */
    g->table[i] = s;
    g->table_free = i + 1;
    if (g->table_top <= i) g->table_top = i + 1;
    if (s->hears) {
        s->next_hearing = g->hearing;
        g->hearing = s;
    }
    s->index = i;
    set_group(s, g, i);
    bring_fd(s);
    if (s->due != INT64_MAX) lw__dues_add(&g->dues, s);
    s->ops->bell(s, lw__bell_word(&g->bell, i));
    if (s->tick_wish && (!g->tick_wish || s->tick_wish < g->tick_wish)) g->tick_wish = s->tick_wish;
    s->attention = true;
    lw__group_add_busy(g, s);
}

void lw__group_take(struct lw_group *g) {
    pthread_mutex_lock(&g->coming_lock);
    while (g->coming) {
        struct lw__source *s = g->coming;
        __atomic_store_n(&g->coming, s->next_coming, __ATOMIC_RELAXED);
        take(g, s);
    }
    pthread_mutex_unlock(&g->coming_lock);
}

void lw__group_push(struct lw_group *g, struct lw__source *s) {
    set_group(s, g, LW__ITSELF);
    s->place = LW__COMING;
    pthread_mutex_lock(&g->coming_lock);
    s->next_coming = g->coming;
    __atomic_store_n(&g->coming, s, __ATOMIC_RELAXED);
    lw__bell_ring_own(&g->bell, LW__ITSELF); /* before its thread can have it, close it, and close the group as well */
    pthread_mutex_unlock(&g->coming_lock);
}

/* By its own thread, before the new group's thread has taken it; or that thread itself. */
static bool drop_coming(struct lw_group *g, struct lw__source *s) {
    bool found = false;
    pthread_mutex_lock(&g->coming_lock);
    for (struct lw__source **at = &g->coming; *at && !found; at = &(*at)->next_coming)
        if (*at == s) {
            __atomic_store_n(at, s->next_coming, __ATOMIC_RELAXED);
            found = true;
            break;
        }
    pthread_mutex_unlock(&g->coming_lock);
    return found;
}

static void stop_hearing(struct lw_group *g, struct lw__source *s) {
    struct lw__source **at = &g->hearing;
    while (*at && *at != s) at = &(*at)->next_hearing;
    if (*at) *at = s->next_hearing;
}

static void untake(struct lw_group *g, struct lw__source *s) {
    lw__source_set_parked(s, false);
    s->ops->bell(s, 0);
    leave_fd(s);
    if (s->due != INT64_MAX) lw__dues_drop(&g->dues, s);
    if (s->place == LW__BUSY) lw__group_drop_busy(g, s);
    g->table[s->index] = NULL;
    if (s->index < g->table_free) g->table_free = s->index;
    if (s->hears) stop_hearing(g, s);
}

static void leave(struct lw__source *s) {
    struct lw_group *g = s->group;
    if (!g) return;
    if (s->place != LW__COMING || !drop_coming(g, s)) untake(g, s);
    s->place = LW__NO_GROUP;
    set_group(s, NULL, LW__ITSELF);
    __atomic_fetch_sub(&g->handles, 1, __ATOMIC_RELAXED);
}

void lw__source_init(struct lw__source *s, struct lw_bus *bus, const struct lw__source_ops *ops,
                     const struct lw__rx *rx) {
    *s = (struct lw__source){.ops = ops, .bus = bus, .rx = rx, .fd = -1, .due = INT64_MAX};
}

static void close_group(struct lw_group *g);

int lw__source_move(struct lw__source *s, struct lw_group *g, void *user) {
    if (g && g->cut) return lw__fail(LW_EFORKED, "%s", lw_strerror(LW_EFORKED));
    if (g && g->bus != s->bus) return lw__fail(-EINVAL, "the group is of another bus handle than this");
    s->user = user;
    if (g == s->group) return 0;
    if (g && __atomic_fetch_add(&g->handles, 1, __ATOMIC_RELAXED) >= g->table_size - 1) {
        __atomic_fetch_sub(&g->handles, 1, __ATOMIC_RELAXED);
        return lw__fail(-ENOSPC, "a group holds at most %u handles; open another group", g->table_size - 1);
    }
    leave(s);
    if (s->own) close_group(s->own);
    s->own = NULL;
    if (g) lw__group_push(g, s);
    return 0;
}

void lw__source_close(struct lw__source *s) {
    leave(s);
    if (s->own) close_group(s->own);
    s->own = NULL;
}

void lw__source_cut(struct lw__source *s) {
    s->group = NULL; /* its own one is cut as a handle of the bus */
    s->place = LW__NO_GROUP;
    s->fd_in = s->fd_told = s->fd_missing = false;
}

/* ---- opening and closing ------------------------------------------------------------------------------------------ */

static void cut(struct lw__handle *handle) {
    struct lw_group *g = (struct lw_group *)(void *)((char *)handle - offsetof(struct lw_group, handle));
    g->cut = true;
    lw__bell_cut(&g->bell);
    if (g->epoll >= 0) close(g->epoll);
    if (g->timer >= 0) close(g->timer);
    g->epoll = g->timer = -1;
}

static void destroy(struct lw_group *g) {
    if (g->epoll >= 0) close(g->epoll);
    if (g->timer >= 0) close(g->timer);
    pthread_mutex_destroy(&g->coming_lock);
    free(g->table);
    free(g->busy);
    free(g->dues.heap);
    free(g);
}

/* All that many handles need is there from the beginning, untouched memory: nothing is allocated later. */
static struct lw_group *make(struct lw_bus *bus, uint32_t words, bool alone) {
    struct lw_group *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    g->bus = bus;
    g->alone = alone;
    g->epoll = g->timer = -1;
    g->table_size = words * 64;
    g->table_free = 1;
    g->cycles = lw__cycles();
    g->ticked = lw__now();
    g->bell.fifo = -1;
    pthread_mutex_init(&g->coming_lock, NULL);
    g->table = calloc(g->table_size, sizeof *g->table);
    g->busy = calloc(g->table_size, sizeof *g->busy);
    g->dues.heap = calloc(g->table_size, sizeof *g->dues.heap);
    if (g->table && g->busy && g->dues.heap) return g;
    destroy(g);
    return NULL;
}

static int open_epoll(struct lw_group *g) {
    g->epoll = epoll_create1(EPOLL_CLOEXEC);
    int rc = g->epoll < 0 ? -errno : lw__group_add_fd(g, g->bell.fifo, LW__FROM_FIFO);
    if (!rc && lw__watch_fd(g->bus) >= 0) rc = lw__group_add_fd(g, lw__watch_fd(g->bus), LW__FROM_WATCH);
    return rc ? lw__fail(rc, "no descriptor for a group: %s; see ulimit -n", strerror(-rc)) : 0;
}

/* The bus is entered. */
static int open_parts(struct lw_group *g, uint32_t words) {
    int rc = lw__bell_make(&g->bell, g->bus, words);
    if (rc || g->alone) return rc;
    lw__watch_start(g->bus);
    rc = open_epoll(g);
    if (rc) {
        lw__bell_drop(&g->bell, g->bus);
        return rc;
    }
    lw__watch_join(g->bus, g);
    return 0;
}

int lw__group_open(struct lw_group **out, struct lw_bus *bus, uint32_t words, bool alone) {
    *out = NULL;
    struct lw_group *g = make(bus, words, alone);
    if (!g) return lw__fail(-ENOMEM, "no memory for a group");
    int rc = lw__bus_enter(bus, true);
    if (!rc) {
        rc = open_parts(g, words);
        g->handle.cut = cut;
        if (!rc) lw__bus_attach(bus, &g->handle);
        lw__bus_leave(bus);
    }
    if (rc)
        destroy(g);
    else
        *out = g;
    return rc;
}

int lw_group_open(struct lw_group **out, struct lw_bus *bus, const struct lw_group_options *options) {
    struct lw_group_options opt = LW_GROUP_OPTIONS_INIT;
    *out = NULL;
    int rc = lw__options_read(&opt, sizeof opt, options, "lw_group_options");
    if (!rc && opt.spin < LW_FOREVER) rc = lw__fail(-EINVAL, "lw_group_options.spin is %lld", (long long)opt.spin);
    if (!rc) rc = lw__group_open(out, bus, LW__BELL_WORDS, false);
    if (!rc) (*out)->spin = opt.spin;
    return rc;
}

static void close_group(struct lw_group *g) {
    struct lw_bus *bus = g->bus;
    if (!g->cut && lw__bus_enter(bus, true) == 0) {
        if (!g->alone) lw__watch_leave(bus, g);
        lw__bell_drop(&g->bell, bus);
        lw__bus_detach(bus, &g->handle);
        lw__bus_leave(bus);
    }
    destroy(g);
}

int lw_group_close(struct lw_group *g) {
    if (!g) return 0;
    uint64_t handles = __atomic_load_n(&g->handles, __ATOMIC_RELAXED);
    if (!g->cut && handles)
        return lw__fail(-EBUSY, "%llu handles are still in the group; close or move them first",
                        (unsigned long long)handles);
    close_group(g);
    return 0;
}

int lw_group_stat(const struct lw_group *g, struct lw_group_stats *stats) {
    if (g->cut) return LW_EFORKED;
    struct lw_group_stats now = g->stats;
    now.handles = __atomic_load_n(&g->handles, __ATOMIC_RELAXED);
    now.parked = now.handles - g->busy_count;
    now.polls = g->turns;
    now.rings = lw__load(&g->bell.page->rings);
    return lw__result_write(stats, &now, sizeof now, "lw_group_stats");
}
