/* SPDX-License-Identifier: MIT */
/* pattern/server.c - being the server of a name, and hearing who wants in. */
#include "pattern/door.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/options.h"

enum { VERSION = 1, PATH = sizeof((struct lw__watch_folder *)0)->path + sizeof "/.server" };
static const char magic[8] = "LANESRV";

/* ---- the club: which links of a server are open here --------------------------------------------------------------- */

static uint32_t hash(const char *name) {
    uint32_t h = 2166136261u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 16777619u;
    return (h ^ h >> 15) % LW__CLUB_SIZE;
}

static struct lw__club *club_make(void) {
    struct lw__club *club = calloc(1, sizeof *club);
    if (!club) return NULL;
    pthread_mutex_init(&club->lock, NULL);
    club->uses = 1;
    return club;
}

/* Unlocks it. */
static void club_drop(struct lw__club *club) {
    bool last = --club->uses == 0;
    pthread_mutex_unlock(&club->lock);
    if (!last) return;
    pthread_mutex_destroy(&club->lock);
    free(club);
}

struct lw_link *lw__club_find(struct lw__club *club, const char *client) {
    struct lw_link *link = club->links[hash(client)];
    while (link && strcmp(link->client_name, client) != 0) link = link->next_member;
    return link;
}

bool lw__club_has(struct lw__club *club, const char *client) {
    pthread_mutex_lock(&club->lock);
    bool has = lw__club_find(club, client);
    pthread_mutex_unlock(&club->lock);
    return has;
}

void lw__club_join(struct lw__club *club, struct lw_link *link) {
    struct lw_link **head = &club->links[hash(link->client_name)];
    pthread_mutex_lock(&club->lock);
    link->club = club;
    link->next_member = *head;
    *head = link;
    club->uses++;
    pthread_mutex_unlock(&club->lock);
}

void lw__club_leave(struct lw_link *link) {
    struct lw__club *club = link->club;
    pthread_mutex_lock(&club->lock);
    struct lw_link **at = &club->links[hash(link->client_name)];
    while (*at && *at != link) at = &(*at)->next_member;
    if (*at) *at = link->next_member;
    club_drop(club);
}

/* ---- the name ----------------------------------------------------------------------------------------------------- */

static int make_page(struct lw_server *server, const char *folder, const char *path) {
    char temp[LW__TEMP_MAX];
    struct lw__server_page page = {.version = VERSION};
    memcpy(page.magic, magic, sizeof magic);
    int rc, fd = lw__temp_make(&server->bus->dir, folder, LW__PAGE, temp);
    if (fd < 0) return fd;
    ssize_t n = pwrite(fd, &page, sizeof page, 0);
    if (n == (ssize_t)sizeof page) {
        rc = lw__temp_link(&server->bus->dir, fd, temp, path, false);
    } else {
        rc = n < 0 ? -errno : -EIO;
        lw__temp_drop(&server->bus->dir, temp);
    }
    close(fd);
    if (rc == -EEXIST || rc == -ENOENT) return 0; /* somebody was faster, or a cleaner came between */
    return rc ? lw__file_explain(&server->bus->dir, path, rc) : 0;
}

static int make_folders(struct lw_server *server, const char *folder) {
    int rc = lw__dir_make(&server->bus->dir, "links");
    if (!rc) rc = lw__dir_make(&server->bus->dir, folder);
    return rc && rc != -ENOENT ? lw__file_explain(&server->bus->dir, folder, rc) : 0;
}

static int map_page(struct lw_server *server, int fd, const char *path) {
    struct lw__server_page head;
    struct stat st;
    const char *dir = server->bus->dir.path;
    ssize_t n = fstat(fd, &st) ? -1 : st.st_size < LW__PAGE ? 0 : pread(fd, &head, sizeof head, 0);
    if (n < 0) return lw__fail(-errno, "server %s: %s/%s: %s", server->name, dir, path, strerror(errno));
    if (n != (ssize_t)sizeof head || memcmp(head.magic, magic, sizeof magic) != 0)
        return lw__fail(LW_ECORRUPT, "server %s: %s/%s is no server file; remove it", server->name, dir, path);
    if (head.version != VERSION)
        return lw__fail(LW_EVERSION, "server %s: %s/%s: made by format version %u, this library reads version %d",
                        server->name, dir, path, head.version, VERSION);
    server->page = lw__map_shared(fd, LW__PAGE, true);
    return server->page ? 0 : lw__fail(-errno, "server %s: mapping: %s", server->name, strerror(errno));
}

static int open_page(struct lw_server *server) {
    char path[PATH];
    int fd, rc;
    snprintf(path, sizeof path, "%s/.server", server->folder.path);
    while ((fd = lw__file_open(&server->bus->dir, path, O_RDWR)) == -ENOENT) {
        rc = make_folders(server, server->folder.path);
        if (!rc) rc = make_page(server, server->folder.path, path);
        if (rc) return rc;
    }
    if (fd < 0) return lw__file_explain(&server->bus->dir, path, fd);
    rc = map_page(server, fd, path);
    close(fd);
    return rc;
}

static int refuse(struct lw_server *server, uint64_t holder) {
    char node[LW_NAME_MAX + 1];
    int pid = lw__owner_who(server->bus, holder, node);
    return lw__fail(LW_EHELD, "server %s: node %s (pid %d) is it; end that one first, or take another name",
                    server->name, node, pid);
}

/* The one before may be just ending. Pairs with leave_name(), and with itself in others: `instance` comes with the
 * word. */
static int take_name(struct lw_server *server) {
    int64_t until = lw__now() + lw__a_moment();
    for (;;) {
        uint64_t holder = lw__load_acquire(&server->page->owner);
        if (!holder || lw__owner_gone(server->bus, holder)) {
            if (!lw__cas(&server->page->owner, holder, server->bus->owner)) continue;
            server->instance = lw__add(&server->page->instance, 1) + 1;
            return 0;
        }
        if (lw__now() >= until) return refuse(server, holder);
        lw__sleep(LW_MS(1) / 4);
    }
}

/* Pairs with take_name(). */
static void leave_name(struct lw_server *server) {
    if (!server->page) return;
    if (server->instance) lw__cas(&server->page->owner, server->bus->owner, 0);
    lw__unmap(server->page, LW__PAGE);
    server->page = NULL;
}

/* ---- what was touched ---------------------------------------------------------------------------------------------- */

static bool add_name(struct lw__names *n, const char *name) {
    if (n->first && (n->first == n->count || (n->count == n->size && n->first > n->size / 2))) {
        memmove(n->names, n->names + n->first, (n->count - n->first) * sizeof *n->names);
        n->count -= n->first;
        n->first = 0;
    }
    if (n->count == n->size) {
        size_t size = n->size ? n->size * 2 : 64;
        char(*more)[LW_NAME_MAX + 1] = realloc(n->names, size * sizeof *more);
        if (!more) return false;
        n->names = more;
        n->size = size;
    }
    snprintf(n->names[n->count++], LW_NAME_MAX + 1, "%s", name);
    return true;
}

/* By whichever thread reads the watch. */
static void touched(struct lw__watch_folder *folder, const char *name) {
    struct lw_server *server = (struct lw_server *)(void *)((char *)folder - offsetof(struct lw_server, folder));
    if (name && !lw__name_is_good(name)) return;
    pthread_mutex_lock(&server->lock);
    if (!name || !add_name(&server->touched, name)) server->all_touched = true;
    pthread_mutex_unlock(&server->lock);
}

/* ---- in a group --------------------------------------------------------------------------------------------------- */

static struct lw_server *server_of(struct lw__source *s) {
    return (struct lw_server *)(void *)((char *)s - offsetof(struct lw_server, source));
}

static bool peek(struct lw__source *s) {
    struct lw_server *server = server_of(s);
    pthread_mutex_lock(&server->lock);
    bool any = server->ready || server->all_touched || server->touched.first < server->touched.count;
    pthread_mutex_unlock(&server->lock);
    return any || (server->door && server->door->untold);
}

static int look(struct lw__source *s, bool closely, struct lw_event *events, int room) {
    struct lw_server *server = server_of(s);
    bool more = false;
    (void)closely;
    if (server->door) lw__door_turn(server->door);
    if (!room) return 0;
    bool ready = lw__server_find(server, &more);
    if (more || ready) s->attention = true; /* until it is taken */
    if (ready) *events = (struct lw_event){.kind = LW_LOGIN, .server = server};
    return ready;
}

static void park(struct lw__source *s, bool on) {
    (void)s;
    (void)on;
}

static void set_bell(struct lw__source *s, uint64_t bell) {
    (void)s;
    (void)bell;
}

/* Where nothing is heard, all is looked at now and then. */
static bool tick(struct lw__source *s, int64_t now) {
    struct lw_server *server = server_of(s);
    (void)now;
    bool all = server->folder.id < 0 || server->awaits;
    server->awaits = false;
    if (all) touched(&server->folder, NULL);
    return all;
}

static void drive(struct lw__source *s) {
    if (server_of(s)->door) lw__door_turn(server_of(s)->door);
}

static bool due(struct lw__source *s, int64_t now) {
    if (server_of(s)->door) lw__door_due(server_of(s)->door, now);
    return peek(s);
}

static const struct lw__source_ops ops = {
    .look = look, .peek = peek, .park = park, .bell = set_bell, .tick = tick, .drive = drive, .due = due};

int lw_server_move(struct lw_server *server, struct lw_group *group, void *user) {
    if (server->cut) return LW_EFORKED;
    if (!group) return lw__fail(-EINVAL, "a server is always in a group");
    return lw__source_move(&server->source, group, user);
}

/* ---- opening and closing ------------------------------------------------------------------------------------------- */

static void cut(struct lw__handle *handle) {
    struct lw_server *server = (struct lw_server *)(void *)((char *)handle - offsetof(struct lw_server, handle));
    server->cut = true;
    server->page = NULL; /* not mapped in the child */
    if (server->door) lw__door_cut(server->door);
    lw__source_cut(&server->source);
}

/* Listens first, then looks at who is there already: nobody comes unheard in between. */
static int open_parts(struct lw_server *server, const struct lw_server_options *opt) {
    server->club = club_make();
    if (!server->club) return lw__fail(-ENOMEM, "server %s: no memory", server->name);
    snprintf(server->folder.path, sizeof server->folder.path, "links/%s", server->name);
    int rc = open_page(server);
    if (!rc) rc = take_name(server);
    if (!rc && opt->listen) rc = lw__door_open(&server->door, server, opt);
    if (rc) return rc;
    server->folder.touched = touched;
    server->all_touched = true;
    lw__watch_add(server->bus, &server->folder);
    server->handle.cut = cut;
    lw__bus_attach(server->bus, &server->handle);
    return 0;
}

static void destroy(struct lw_server *server) {
    lw__door_close(server->door);
    if (server->club && !server->cut) {
        pthread_mutex_lock(&server->club->lock);
        club_drop(server->club);
    }
    pthread_mutex_destroy(&server->lock);
    free(server->touched.names);
    free(server);
}

static int open_server(struct lw_server *server, const struct lw_server_options *opt) {
    int rc = lw__bus_enter(server->bus, true);
    if (rc) return rc;
    rc = open_parts(server, opt);
    if (rc) leave_name(server);
    lw__bus_leave(server->bus);
    return rc;
}

static int check_options(const struct lw_server_options *opt) {
    if (opt->stuck_after < LW_FOREVER)
        return lw__fail(-EINVAL, "lw_server_options.stuck_after is %lld", (long long)opt->stuck_after);
    if (opt->flags & ~(unsigned)LW_LINK_NO_CRC)
        return lw__fail(-EINVAL, "lw_server_options.flags: 0x%x is no flag", opt->flags);
    if (opt->hello_within < 0)
        return lw__fail(-EINVAL, "lw_server_options.hello_within is %lld", (long long)opt->hello_within);
    return 0;
}

int lw_server_port(const struct lw_server *server) {
    return server->cut || !server->door ? 0 : lw__door_port(server->door);
}

int lw_server_open(struct lw_server **out, struct lw_group *group, const char *name,
                   const struct lw_server_options *options) {
    struct lw_server_options opt = LW_SERVER_OPTIONS_INIT;
    *out = NULL;
    if (group->cut) return lw__fail(LW_EFORKED, "%s", lw_strerror(LW_EFORKED));
    int rc = lw__options_read(&opt, sizeof opt, options, "lw_server_options");
    if (!rc) rc = lw__link_names(name, NULL);
    if (!rc) rc = check_options(&opt);
    if (rc) return rc;
    struct lw_server *server = calloc(1, sizeof *server);
    if (!server) return lw__fail(-ENOMEM, "server %s: no memory", name);
    pthread_mutex_init(&server->lock, NULL);
    server->bus = group->bus;
    server->stuck_after = opt.stuck_after;
    server->folder.id = -1;
    snprintf(server->name, sizeof server->name, "%s", name);
    lw__source_init(&server->source, server->bus, &ops, NULL);
    server->source.hears = server->source.unrung = true;
    rc = open_server(server, &opt);
    if (rc) {
        destroy(server);
        return rc;
    }
    rc = lw__source_move(&server->source, group, opt.user);
    if (rc)
        lw_server_close(server);
    else
        *out = server;
    return rc;
}

void lw_server_close(struct lw_server *server) {
    if (!server) return;
    struct lw_bus *bus = server->bus;
    lw__source_close(&server->source);
    if (!server->cut && lw__bus_enter(bus, true) == 0) {
        lw__watch_remove(bus, &server->folder);
        leave_name(server);
        lw__bus_detach(bus, &server->handle);
        lw__bus_leave(bus);
    }
    destroy(server);
}
