/* SPDX-License-Identifier: MIT */
/* pattern/link_admin.c - looking at links, and removing them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "pattern/remote.h"

/* ---- one link ------------------------------------------------------------------------------------------------------ */

struct lane_numbers {
    uint64_t end; /* number of the next message */
    uint64_t released;
    uint64_t bytes; /* not released */
};

static int read_lane(const struct lw__file *f, struct lane_numbers *n) {
    struct lw__place released, end;
    if (!lw__cursor_load(&lw__link_slot(&f->lane)->cursor, &released)) return lw__file_corrupt(f, 0);
    if (lw__lane_tail(&f->lane, &end)) return lw__file_corrupt(f, end.pos);
    if (released.pos > end.pos || released.number > end.number) return lw__file_corrupt(f, released.pos);
    *n = (struct lane_numbers){.end = end.number, .released = released.number, .bytes = end.pos - released.pos};
    return 0;
}

static void who(struct lw_bus *bus, uint64_t owner, char *node, int *pid) {
    if (!owner || lw__owner_gone(bus, owner)) return;
    *pid = lw__owner_who(bus, owner, node);
    if (!*pid) node[0] = 0;
}

static enum lw_link_state state_of(struct lw_bus *bus, const struct lw__file *up, const struct lw__file *down) {
    struct lw__saying client = {.turn = 0}, server = {.turn = 0};
    if (!lw__side_read(lw__side_of(&up->lane), &client, NULL)) client = (struct lw__saying){.turn = 0};
    if (!lw__side_read(lw__side_of(&down->lane), &server, NULL)) server = (struct lw__saying){.turn = 0};
    enum lw_link_state state = lw__link_state_of(bus, &client, &server);
    if (state != LW_LINK_UP) return state;
    bool both =
        client.what == LW__SAYS_LOGIN && !lw__owner_gone(bus, client.owner) && !lw__owner_gone(bus, server.owner);
    return both ? LW_LINK_UP : LW_LINK_DOWN;
}

/* Of a link over TCP one side is here; both lanes have their writer there. Pairs with lw__side_reach() and
 * take_for_good(). */
static void fill_remote(struct lw_bus *bus, bool client, const struct lw__lane *mine, struct lw_link_info *info) {
    uint64_t reached = lw__load_acquire(&lw__side_of(mine)->reached);
    info->remote = client ? LW_LINK_OF_CLIENT : LW_LINK_OF_SERVER;
    if (info->state == LW_LINK_UP && (!reached || lw__owner_gone(bus, reached))) info->state = LW_LINK_DOWN;
    lw__side_address(lw__side_of(mine), info->address);
    if (client)
        who(bus, lw__load_acquire(&mine->ctl->lock), info->client_node, &info->client_pid);
    else
        who(bus, lw__load_acquire(&mine->ctl->lock), info->server_node, &info->server_pid);
}

/* The numbers as the client has them. Pairs with take_for_good(). */
static int fill(struct lw_bus *bus, const struct lw__file *up, const struct lw__file *down, struct lw_link_info *info) {
    struct lane_numbers to, from;
    int rc = read_lane(up, &to);
    if (!rc) rc = read_lane(down, &from);
    if (rc) return rc;
    info->state = state_of(bus, up, down);
    info->sent = to.end;
    info->taken = to.released;
    info->sent_bytes_unread = to.bytes;
    info->received = info->released = from.released;
    info->arrived = from.end;
    info->ring_up = up->lane.ring;
    info->ring_down = down->lane.ring;
    if (up->lane.mirror || down->lane.mirror) {
        fill_remote(bus, down->lane.mirror, down->lane.mirror ? &up->lane : &down->lane, info);
        return 0;
    }
    who(bus, lw__load_acquire(&up->lane.ctl->lock), info->client_node, &info->client_pid);
    who(bus, lw__load_acquire(&down->lane.ctl->lock), info->server_node, &info->server_pid);
    return 0;
}

/* 0 and `info`; 1: there is no such link, or not yet; or an error. */
static int look_at(struct lw_bus *bus, enum lw__link_root root, const char *server, const char *client,
                   struct lw_link_info *info) {
    struct lw__file up, down;
    *info = (struct lw_link_info)LW_LINK_INFO_INIT;
    if (root == LW__ELSEWHERE) info->remote = LW_LINK_OF_CLIENT; /* also when nothing else can be read */
    snprintf(info->server, sizeof info->server, "%s", server);
    snprintf(info->client, sizeof info->client, "%s", client);
    lw__link_file(&up, bus, root, server, client, LW__UP);
    lw__link_file(&down, bus, root, server, client, LW__DOWN);
    int rc = lw__file_open_existing(&up, LW__LOOK);
    if (!rc) rc = lw__file_open_existing(&down, LW__LOOK);
    if (!rc) rc = fill(bus, &up, &down, info);
    lw__file_close(&up);
    lw__file_close(&down);
    return rc == -ENOENT ? 1 : rc;
}

/* ---- all links ----------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return strcmp(a, b);
}

/* The names in a folder, sorted: an allocated array. A count, or negative with text; 0 when there is no folder. */
static int names_in(struct lw_bus *bus, const char *path, char (**out)[LW_NAME_MAX + 1]) {
    int n = 0, size = 0, fd = lw__file_open(&bus->dir, path, O_RDONLY | O_DIRECTORY);
    char(*names)[LW_NAME_MAX + 1] = NULL;
    *out = NULL;
    if (fd < 0) return fd == -ENOENT ? 0 : lw__file_explain(&bus->dir, path, fd);
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return lw__fail(-ENOMEM, "%s: no memory", path);
    }
    struct dirent *entry;
    while ((errno = 0, entry = readdir(dir))) {
        if (!lw__name_is_good(entry->d_name)) continue;
        char(*more)[LW_NAME_MAX + 1] = n < size ? names : realloc(names, (size_t)(size += size + 64) * sizeof *names);
        if (!more) {
            n = lw__fail(-ENOMEM, "%s: no memory", path);
            break;
        }
        names = more;
        snprintf(names[n++], LW_NAME_MAX + 1, "%.*s", LW_NAME_MAX, entry->d_name);
    }
    if (!entry && errno) n = lw__file_explain(&bus->dir, path, -errno);
    closedir(dir);
    if (n > 0) qsort(names, (size_t)n, sizeof *names, by_name);
    *out = names;
    return n;
}

struct listing {
    struct lw_bus *bus;
    int (*each)(const struct lw_link_info *info, int error, void *user);
    void *user;
};

static int list_server(const struct listing *l, enum lw__link_root root, const char *server) {
    char path[sizeof "remote/" + LW_NAME_MAX], (*names)[LW_NAME_MAX + 1];
    struct lw_link_info info;
    snprintf(path, sizeof path, "%s/%s", lw__link_roots[root], server);
    int n = names_in(l->bus, path, &names), rc = n < 0 ? n : 0;
    for (int i = 0; i < n && !rc; i++) {
        int found = look_at(l->bus, root, server, names[i], &info);
        if (found <= 0) rc = l->each(&info, found, l->user);
    }
    free(names);
    return rc;
}

static int list_all(const struct listing *l, enum lw__link_root root) {
    char(*names)[LW_NAME_MAX + 1];
    int n = names_in(l->bus, lw__link_roots[root], &names), rc = n < 0 ? n : 0;
    for (int i = 0; i < n && !rc; i++) rc = list_server(l, root, names[i]);
    free(names);
    return rc;
}

/* The bus is not held meanwhile: `each` may call anything. */
int lw_link_list(struct lw_bus *bus, const char *server,
                 int (*each)(const struct lw_link_info *info, int error, void *user), void *user) {
    struct listing l = {.bus = bus, .each = each, .user = user};
    int rc = server ? lw__link_names(server, NULL) : 0;
    if (!rc) rc = lw__bus_enter(bus, false);
    if (rc) return rc;
    lw__bus_leave(bus);
    for (int root = LW__HERE; root <= LW__ELSEWHERE && !rc; root++)
        rc = server ? list_server(&l, (enum lw__link_root)root, server) : list_all(&l, (enum lw__link_root)root);
    return rc;
}

/* ---- removing ------------------------------------------------------------------------------------------------------ */

struct removal {
    enum lw__link_root root;
    const char *server;
    const char *client;
    bool force;
    uint64_t unread;
};

static uint64_t unread_in(const struct lw__file *f) {
    struct lane_numbers n;
    return f->lane.base && read_lane(f, &n) == 0 ? n.end - n.released : 0;
}

/* `up` is ours to remove, and nobody can come by it any more: now the other one. */
static int remove_down(struct lw__file *up, void *context) {
    struct removal *r = context;
    struct lw__file down, look;
    lw__link_file(&down, up->bus, r->root, r->server, r->client, LW__DOWN);
    look = down;
    uint64_t unread = unread_in(up);
    if (lw__file_open_existing(&look, LW__LOOK) == 0) unread += unread_in(&look);
    lw__file_close(&look);
    int rc = lw__file_remove(&down, r->force, NULL, NULL);
    if (rc == 1 || rc == -ENOENT) rc = 0;
    if (!rc) r->unread = unread;
    return rc;
}

/* A maker that was killed between the two, or a remover, leaves one. */
static int remove_link(struct lw_bus *bus, struct removal *r) {
    struct lw__file up, down;
    int rc;
    bool half;
    do {
        lw__link_file(&up, bus, r->root, r->server, r->client, LW__UP);
        lw__link_file(&down, bus, r->root, r->server, r->client, LW__DOWN);
        rc = lw__file_remove(&up, r->force, remove_down, r);
        half = rc == -ENOENT;
        if (half) rc = lw__file_remove(&down, r->force, NULL, NULL);
    } while (rc == 1);
    if (half) lw__file_tidy(&up);
    return rc == -ENOENT ? lw__fail(LW_ENOLINK, "no link %s/%s on bus %s; `laneway ls links` lists what there is",
                                    r->server, r->client, bus->dir.path)
                         : rc;
}

int lw_link_remove(struct lw_bus *bus, const char *server, const char *client, unsigned flags, uint64_t *unread) {
    struct removal r = {.server = server, .client = client, .force = flags & LW_REMOVE_FORCE};
    if (unread) *unread = 0;
    if (flags & ~(unsigned)LW_REMOVE_FORCE) return lw__fail(-EINVAL, "lw_link_remove: 0x%x is no flag", flags);
    struct lw__address address;
    bool elsewhere = lw__address_is(server);
    int rc = elsewhere ? lw__address_read(&address, server, true) : 0;
    if (rc) return rc;
    if (elsewhere) {
        r.root = LW__ELSEWHERE;
        r.server = server = address.server;
    }
    rc = client ? lw__link_names(server, client) : lw__fail(LW_ENAME, "client name is NULL");
    if (!rc) rc = lw__bus_enter(bus, true);
    if (rc) return rc;
    rc = remove_link(bus, &r);
    lw__bus_leave(bus);
    if (unread && !rc) *unread = r.unread;
    return rc;
}
