/* SPDX-License-Identifier: MIT */
/* util/link_over.c - see link_over.h. Looks into the library for what is under way. */
#include "util/link_over.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "pattern/door.h"

/* ---- by what ------------------------------------------------------------------------------------------------------ */

enum tl_over tl_over(void) {
    const char *over = getenv("LW_TEST_LINKS");
    if (!over || !strcmp(over, "shm")) return TL_SHARED;
    T_NEED(!strcmp(over, "tcp") || !strcmp(over, "unix"));
    return *over == 't' ? TL_TCP : TL_UNIX;
}

/* ---- where -------------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const char *dir, const char *server) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (const char *at = dir; *at; at++) h = (h ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    h = (h ^ '/') * UINT64_C(0x100000001b3);
    for (const char *at = server; *at; at++) h = (h ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    return h ^ h >> 29;
}

/* Ports below those that the kernel gives away, addresses that nobody else listens at. */
static const char *address_of(struct lw_bus *bus, const char *server, bool with_server) {
    static _Thread_local char texts[8][LW_ADDRESS_MAX];
    static _Thread_local unsigned turn;
    const char *dir = bus->dir.path, *slash = with_server ? "/" : "", *name = with_server ? server : "";
    char *text = texts[turn++ % 8];
    uint64_t h = hash_of(dir, server);
    if (tl_over() == TL_UNIX)
        snprintf(text, LW_ADDRESS_MAX, "unix://%.*s/%" PRIx32 "%s%s", (int)(strrchr(dir, '/') - dir), dir, (uint32_t)h,
                 slash, name);
    else
        snprintf(text, LW_ADDRESS_MAX, "tcp://127.%u.%u.%u:%u%s%s", 1 + (unsigned)(h % 250), (unsigned)(h >> 8 & 0xff),
                 1 + (unsigned)((h >> 16) % 250), 10000 + (unsigned)((h >> 24) % 20000), slash, name);
    return text;
}

const char *tl_listens(struct lw_bus *bus, const char *server) {
    return address_of(bus, server, false);
}

const char *tl_address(struct lw_bus *bus, const char *server) {
    return !server || tl_over() == TL_SHARED || strstr(server, "://") ? server : address_of(bus, server, true);
}

static _Thread_local const struct lw__source_ops *link_ops, *server_ops; /* what tells them apart in a group */

/* ---- opening and removing ----------------------------------------------------------------------------------------- */

int tl_link_open(struct lw_link **link, struct lw_group *group, const char *server, const struct lw_link_options *opt) {
    struct lw_link_options soon = LW_LINK_OPTIONS_INIT;
    if (opt && opt->size != sizeof soon) return lw_link_open(link, group, server, opt);
    if (opt) soon = *opt;
    if (tl_over() == TL_SHARED || group->cut) return lw_link_open(link, group, server, opt);
    if (!soon.retry_max) soon.retry_max = LW_MS(20); /* tests are in a hurry */
    int rc = lw_link_open(link, group, tl_address(group->bus, server), &soon);
    if (!rc) link_ops = (*link)->source.ops;
    return rc;
}

int tl_server_open(struct lw_server **server, struct lw_group *group, const char *name,
                   const struct lw_server_options *opt) {
    struct lw_server_options listening = LW_SERVER_OPTIONS_INIT;
    if (tl_over() == TL_SHARED || (opt && opt->size != sizeof listening) || group->cut || !name)
        return lw_server_open(server, group, name, opt);
    if (opt) listening = *opt;
    if (!listening.listen) listening.listen = tl_listens(group->bus, name);
    int rc = lw_server_open(server, group, name, &listening);
    if (!rc) server_ops = (*server)->source.ops;
    return rc;
}

int tl_link_remove(struct lw_bus *bus, const char *server, const char *client, unsigned flags, uint64_t *unread) {
    if (tl_over() == TL_SHARED) return lw_link_remove(bus, server, client, flags, unread);
    uint64_t left = 0;
    int rc = lw_link_remove(bus, tl_address(bus, server), client, flags, &left);
    if (rc && rc != LW_ENOLINK) return rc;
    int there = lw_link_remove(bus, server, client, flags, unread);
    if (there != LW_ENOLINK || rc) return there;
    if (unread) *unread = left;
    return 0;
}

/* ---- driving ------------------------------------------------------------------------------------------------------ */

enum { GROUPS = 64 };
static _Thread_local struct lw_group *groups[GROUPS];
static _Thread_local int count;
static _Thread_local pid_t whose; /* a forked child has its own */

static void be_this_process(void) {
    if (whose != getpid()) count = 0;
    whose = getpid();
}

void tl_drives(struct lw_group *group) {
    if (tl_over() == TL_SHARED) return;
    be_this_process();
    if (!t_meanwhile) count = 0; /* another test case */
    T_NEED(count < GROUPS);
    groups[count++] = group;
    t_meanwhile = tl_drive;
}

void tl_drives_no_more(struct lw_group *group) {
    be_this_process();
    for (int i = 0; i < count; i++)
        if (groups[i] == group) groups[i--] = groups[--count];
}

bool tl_drives_others(void) {
    be_this_process();
    return count > 1;
}

void tl_drive(void) {
    be_this_process();
    for (int i = 0; i < count; i++) {
        struct lw_group *g = groups[i];
        if (lw__group_is_coming(g)) lw__group_take(g);
        for (uint32_t k = 1; k < g->table_top; k++) {
            if (!g->table[k]) continue;
            lw__source_drive(g->table[k]);
            if (g->table[k]->ops->peek(g->table[k])) lw__source_attend(g->table[k]); /* look() did not follow */
        }
    }
}

/* ---- what is under way -------------------------------------------------------------------------------------------- */

static void *handle_at(struct lw__source *s, const struct lw__source_ops *ops) {
    size_t at = ops == link_ops ? offsetof(struct lw_link, source) : offsetof(struct lw_server, source);
    return s && ops && s->ops == ops ? (char *)s - at : NULL;
}

/* Calls `each` for every handle of this kind; returns the first one for which it is true. */
static void *find(const struct lw__source_ops *ops, bool (*each)(const void *handle, const void *arg),
                  const void *arg) {
    for (int i = 0; i < count; i++)
        for (uint32_t k = 1; k < groups[i]->table_top; k++) {
            void *handle = handle_at(groups[i]->table[k], ops);
            if (handle && each(handle, arg)) return handle;
        }
    return NULL;
}

static bool is_other_side(const void *handle, const void *of) {
    const struct lw_link *a = handle, *b = of;
    return a->remote && !a->club != !b->club && !strcmp(a->server_name, b->server_name) &&
           !strcmp(a->client_name, b->client_name);
}

static bool serves(const void *handle, const void *of) {
    const struct lw_server *server = handle;
    const struct lw_link *link = of;
    return server->door && !strcmp(server->name, link->server_name);
}

/* HELLO has gone: is it where somebody has to say something? */
static bool is_asking(const struct lw_link *link, const struct lw_link *other) {
    const struct lw_server *server = find(server_ops, serves, link);
    if (link->remote->refused || !server) return true;
    if (other) return other->remote->greeted && !other->remote->arrival;
    for (const struct lw__guest *g = server->door->first; g; g = g->next)
        if (g->stage != LW__SILENT && !strcmp(g->conn->greeting.client, link->client_name)) return true;
    return false;
}

static bool has_paid(const struct lw__remote *r) {
    struct lw__place consumed;
    const struct lw__wire_lane *in = &r->lanes[r->in];
    return !in->announced || !lw__cursor_load(&lw__link_slot(r->mirror->writer.lane)->cursor, &consumed) ||
           (!in->owes && consumed.pos == in->consumed);
}

/* Once up: all that this side has to say has gone, and come. */
static bool is_heard(const struct lw__remote *r, const struct lw_link *other) {
    if (lw__wire_has_output(&r->conn->wire) || !has_paid(r) || r->said != lw__side_turn(lw__link_mine(r->link)))
        return false;
    if (!other) return true;
    return other->remote->conn && other->remote->up && other->remote->conn->wire.frames == r->conn->wire.went;
}

/* There is something to read, or nobody at the other end. */
static bool has_input(const struct lw__conn *conn) {
    struct pollfd fd = {.fd = conn->fd, .events = POLLIN};
    return poll(&fd, 1, 0) > 0;
}

static bool is_calling(const void *handle, const void *arg) {
    const struct lw_server *server = handle;
    (void)arg;
    for (const struct lw__guest *g = server->door ? server->door->first : NULL; g; g = g->next)
        if (has_input(g->conn)) return true;
    return false;
}

static bool is_under_way(const void *handle, const void *arg) {
    const struct lw_link *link = handle, *other = find(link_ops, is_other_side, link);
    const struct lw__remote *r = link->remote;
    if (!r || link->cut || (arg && arg != link && arg != other)) return false;
    if (r->arrival) return true;
    if (!r->conn) return !link->club && !r->trouble.code && find(server_ops, serves, link);
    if (r->conn->connecting) return find(server_ops, serves, link);
    if (has_input(r->conn)) return true;
    if (r->up) return !is_heard(r, other);
    return !link->club && !is_asking(link, other);
}

static void complain(const struct lw_link *late) {
    const struct lw__remote *r = late->remote;
    print_error("link %s/%s does not settle: %s%s%s%s%s, %s\n", late->server_name, late->client_name,
                late->club ? "server's" : "client's", r->conn ? ", connected" : "", r->up ? ", up" : "",
                r->greeted ? ", greeted" : "", r->arrival ? ", arrival" : "", r->trouble.words);
}

/* What it owes goes now: its time to wait for company would be ours in each test. */
static bool pays_at_once(const void *handle, const void *arg) {
    struct lw_link *link = (struct lw_link *)(uintptr_t)handle;
    (void)arg;
    if (link->remote) link->remote->ack_due = true;
    return false;
}

/* One link, or all (NULL). */
static void settle(const struct lw_link *one) {
    be_this_process();
    if (tl_over() == TL_SHARED || !count) return;
    const struct lw_link *late;
    int64_t end = t_now() + LW_SEC(10);
    do {
        find(link_ops, pays_at_once, NULL);
        tl_drive();
        late = find(link_ops, is_under_way, one);
    } while ((late || find(server_ops, is_calling, NULL)) && t_now() < end);
    if (late) complain(late);
    if (!late && t_now() >= end) print_error("somebody calls at a door and is not heard\n");
}

void tl_settle(void) {
    settle(NULL);
}

void tl_settle_link(const struct lw_link *link) {
    settle(link);
}

/* ---- running ------------------------------------------------------------------------------------------------------ */

int tl_run_cases(const struct CMUnitTest *both, size_t n, const struct CMUnitTest *shared, size_t shared_n) {
    struct CMUnitTest all[64];
    T_NEED(n + shared_n <= sizeof all / sizeof *all);
    memcpy(all, both, n * sizeof *all);
    if (shared_n) memcpy(all + n, shared, shared_n * sizeof *all);
    cmocka_set_test_filter(getenv("LW_TEST_CASE"));
    return _cmocka_run_group_tests("tests", all, tl_over() == TL_SHARED ? n + shared_n : n, NULL, NULL);
}
