/* SPDX-License-Identifier: MIT */
/*
 * bus/watch.c - hearing of deaths.
 *
 * A dying process closes its node file, which it has open for writing: inotify on the nodes' folder says so
 * (IN_CLOSE_WRITE, by the name the file was opened by), across pid and mount namespaces, within some hundred
 * microseconds, for any number of peers. That is a hint and no more: the life lock decides (owner.c). The lock goes a
 * moment after the event, and a child that was forked a moment ago may still keep it: so a name that was heard of is a
 * suspect, looked at again after 0, 50, 200 us, 1 ms, and then ever more rarely; who holds its lock for two seconds
 * after that is alive. A suspect that is found dead has its epoch closed, as often as there are listeners: each moves
 * the epoch on by one, which closes nothing that lives.
 *
 * Events that were dropped (the kernel's queue has an end) make all nodes suspects, once.
 */
#include "bus/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "bus/group.h"
#include "bus/node.h"
#include "bus/table.h"

enum {
    LOOKS = 15, /* two seconds or so; then, who holds its lock is alive */
    ALL = 0     /* a suspect that stands for every row */
};

/* ---- what is dead? ------------------------------------------------------------------------------------------------ */

/* Pairs with lw__watch_deaths(): the closed epochs are seen before the count. */
static void note_deaths(struct lw_bus *bus) {
    __atomic_fetch_add(&bus->watch.deaths, 1, __ATOMIC_SEQ_CST);
}

static bool is_dead(struct lw_bus *bus, uint32_t id) {
    uint64_t epoch = lw__table_epoch(bus, id);
    return !epoch || lw__owner_gone(bus, lw__owner_word((uint32_t)epoch, (uint16_t)id));
}

/* The row of a name; 0: there is none. A node is in the table before its file is there: so that is nobody's. */
static uint32_t row_of(struct lw_bus *bus, const char *name) {
    uint32_t rows = lw__table_rows(bus), *last = &bus->watch.last_row;
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t id = (*last + i) % rows;
        if (id && strncmp(lw__table_row(bus, id)->name, name, LW_NAME_MAX + 1) == 0) return *last = id;
    }
    return 0;
}

static void look_at_all(struct lw_bus *bus) {
    uint32_t rows = lw__table_rows(bus);
    for (uint32_t id = 1; id < rows; id++) is_dead(bus, id);
    note_deaths(bus);
}

/* ---- suspects ----------------------------------------------------------------------------------------------------- */

static int64_t pause_after(uint32_t looks) {
    static const int64_t first[] = {LW_US(50), LW_US(150), LW_US(800)};
    return looks <= 3 ? first[looks - 1] : LW_MS(1) << (looks - 4 < 10 ? looks - 4 : 10);
}

static struct lw__suspect *find_suspect(struct lw__watch *w, uint32_t id) {
    for (uint32_t i = 0; i < w->suspects_count; i++)
        if (w->suspects[i].id == id) return &w->suspects[i];
    return NULL;
}

/* Who is one already is looked at as one that is new: the last alarm may have been a false one, and this one is not.
 * When there are too many, all are looked at again and again. */
static void suspect(struct lw_bus *bus, uint32_t id) {
    struct lw__watch *w = &bus->watch;
    struct lw__suspect *s = find_suspect(w, id);
    if (!s && w->suspects_count >= LW__SUSPECTS - 1) s = find_suspect(w, id = ALL);
    if (!s) s = &w->suspects[w->suspects_count++];
    *s = (struct lw__suspect){.id = id};
}

/* For sure: not when there is no descriptor to look with. */
static bool is_alive(struct lw_bus *bus, uint32_t id) {
    char name[LW_NAME_MAX + 1];
    return lw__table_name(bus, id, name) && lw__node_probe(bus, name, NULL) == 1;
}

/* True: it is settled. */
static bool look_at_suspect(struct lw_bus *bus, struct lw__suspect *s, int64_t now) {
    if (s->id == ALL) {
        look_at_all(bus);
    } else if (is_dead(bus, s->id)) {
        note_deaths(bus);
        return true;
    }
    if (++s->looks >= LOOKS && (s->id == ALL || is_alive(bus, s->id))) return true;
    s->next = now + pause_after(s->looks);
    return false;
}

static void look_at_suspects(struct lw_bus *bus, int64_t now) {
    struct lw__watch *w = &bus->watch;
    int64_t next = INT64_MAX;
    for (uint32_t i = 0; i < w->suspects_count;) {
        struct lw__suspect *s = &w->suspects[i];
        if (s->next <= now && look_at_suspect(bus, s, now)) {
            *s = w->suspects[--w->suspects_count];
            continue;
        }
        if (s->next < next) next = s->next;
        i++;
    }
    __atomic_store_n(&w->next, next, __ATOMIC_RELAXED);
}

/* ---- events ------------------------------------------------------------------------------------------------------- */

/* Pairs with lw__watch_touches(): what `touched` noted is seen before the count. */
static void tell_folders(struct lw__watch *w, int id, const char *name) {
    for (struct lw__watch_folder *f = w->folders; f; f = f->next)
        if (id < 0 || f->id == id) f->touched(f, name);
    __atomic_fetch_add(&w->touches, 1, __ATOMIC_SEQ_CST);
}

static void on_event(struct lw_bus *bus, const struct inotify_event *event) {
    struct lw__watch *w = &bus->watch;
    if (event->mask & IN_Q_OVERFLOW) {
        suspect(bus, ALL);
        tell_folders(w, -1, NULL);
    } else if (event->wd == w->nodes) {
        uint32_t id = event->len ? row_of(bus, event->name) : 0; /* 0: an unfinished file, mostly */
        if (id) suspect(bus, id);
    } else if (event->len && event->mask & IN_ATTRIB) {
        tell_folders(w, event->wd, event->name);
    }
}

static void read_events(struct lw_bus *bus) {
    _Alignas(struct inotify_event) char buffer[16384];
    ssize_t n;
    while ((n = read(bus->watch.fd, buffer, sizeof buffer)) > 0) {
        const struct inotify_event *event;
        for (char *at = buffer; at < buffer + n; at += sizeof *event + event->len) {
            event = (const struct inotify_event *)(void *)at;
            on_event(bus, event);
        }
        if ((size_t)n < sizeof buffer / 2) return; /* that was all */
    }
}

void lw__watch_turn(struct lw_bus *bus, int64_t now) {
    struct lw__watch *w = &bus->watch;
    if (!w->started || pthread_mutex_trylock(&w->lock)) return;
    uint64_t before = w->deaths + w->touches;
    int64_t next = w->next; /* the others sleep until then, at most */
    if (w->fd >= 0) read_events(bus);
    if (w->suspects_count) look_at_suspects(bus, now ? now : lw__now());
    if (w->deaths + w->touches != before || w->next < next)
        for (struct lw_group *g = w->groups; g; g = g->next_watching) lw__group_ring(g);
    pthread_mutex_unlock(&w->lock);
}

/* ---- beginning and ending ----------------------------------------------------------------------------------------- */

void lw__watch_init(struct lw_bus *bus) {
    pthread_mutex_init(&bus->watch.lock, NULL);
    bus->watch.fd = bus->watch.nodes = -1;
    bus->watch.next = INT64_MAX;
}

/* By the descriptor: the path may be relative, or lead elsewhere by now. */
static int add(struct lw_bus *bus, const char *path, uint32_t events) {
    char by_fd[40];
    int fd = lw__file_open(&bus->dir, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) return fd;
    snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", fd);
    int id = inotify_add_watch(bus->watch.fd, by_fd, events | IN_ONLYDIR);
    if (id < 0) id = -errno;
    close(fd);
    return id;
}

void lw__watch_start(struct lw_bus *bus) {
    struct lw__watch *w = &bus->watch;
    if (w->started) return;
    w->started = true;
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) return;
    w->nodes = add(bus, "nodes", IN_CLOSE_WRITE);
    if (w->nodes >= 0) return;
    close(w->fd);
    w->fd = -1;
}

void lw__watch_stop(struct lw_bus *bus) {
    if (bus->watch.fd >= 0) close(bus->watch.fd);
    bus->watch.fd = -1;
    bus->watch.groups = NULL;
    bus->watch.folders = NULL;
}

int lw__watch_add(struct lw_bus *bus, struct lw__watch_folder *folder) {
    struct lw__watch *w = &bus->watch;
    folder->id = w->fd < 0 ? -ENOSYS : add(bus, folder->path, IN_ATTRIB);
    if (folder->id < 0) return folder->id;
    pthread_mutex_lock(&w->lock);
    folder->next = w->folders;
    w->folders = folder;
    pthread_mutex_unlock(&w->lock);
    return 0;
}

void lw__watch_remove(struct lw_bus *bus, struct lw__watch_folder *folder) {
    struct lw__watch *w = &bus->watch;
    if (folder->id < 0) return;
    pthread_mutex_lock(&w->lock);
    struct lw__watch_folder **at = &w->folders;
    while (*at && *at != folder) at = &(*at)->next;
    if (*at) *at = folder->next;
    inotify_rm_watch(w->fd, folder->id);
    pthread_mutex_unlock(&w->lock);
    folder->id = -1;
}

int lw__watch_touch(struct lw_bus *bus, const char *path) {
    return utimensat(bus->dir.fd, path, NULL, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

void lw__watch_join(struct lw_bus *bus, struct lw_group *g) {
    pthread_mutex_lock(&bus->watch.lock);
    g->next_watching = bus->watch.groups;
    bus->watch.groups = g;
    pthread_mutex_unlock(&bus->watch.lock);
}

void lw__watch_leave(struct lw_bus *bus, struct lw_group *g) {
    pthread_mutex_lock(&bus->watch.lock);
    struct lw_group **at = &bus->watch.groups;
    while (*at && *at != g) at = &(*at)->next_watching;
    if (*at) *at = g->next_watching;
    pthread_mutex_unlock(&bus->watch.lock);
}
