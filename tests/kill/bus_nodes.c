/* SPDX-License-Identifier: MIT */
/* kill/bus_nodes.c - joining a bus, leaving it, closing a dead one's epoch, cleaning. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bus/bus.h"
#include "bus/table.h"
#include "kill/real.h"
#include "util/topic_util.h"

static struct lw_bus *bus; /* the process's own */
static const char *node;

/* ---- before ------------------------------------------------------------------------------------------------------ */

static int an_old_bus(void *arg) {
    (void)arg;
    struct lw_bus *old = tt_bus(kill_dir, "old");
    T_NEED(!lw_bus_close(old));
    return 0;
}

/* It dies without closing; its owner word is on the board. */
static int a_dead_one(void *arg) {
    an_old_bus(arg);
    kb->owner = tt_bus(kill_dir, "dead")->owner;
    return 0;
}

/* ---- the child --------------------------------------------------------------------------------------------------- */

static void join(void *arg) {
    (void)arg;
    kb->result = t_bus_open(&bus, kill_dir, node, 0);
    if (!kb->result) kb->owner = bus->owner;
}

static void join_named(void *arg) {
    node = "child";
    join(arg);
}

static void be_named(void *arg) {
    join_named(arg);
    T_NEED(!kb->result);
}

static void leave(void *arg) {
    (void)arg;
    kb->result = lw_bus_close(bus);
}

static void be_another(void *arg) {
    (void)arg;
    bus = tt_bus(kill_dir, "child");
}

static void close_epoch(void *arg) {
    (void)arg;
    kb->result = lw__owner_gone(bus, kb->owner) ? 0 : LW_ESTATE;
}

static void clean(void *arg) {
    (void)arg;
    kb->result = lw_bus_clean(bus, NULL);
}

static void join_as_the_dead(void *arg) {
    struct lw_bus *again;
    (void)arg;
    kb->result = t_bus_open(&again, kill_dir, "dead", 0);
}

/* ---- recovery, and what must hold --------------------------------------------------------------------------------- */

static void recover(void *arg) {
    (void)arg;
    struct lw_bus *heir = tt_bus(kill_dir, "child"); /* its name is free */
    if (kb->owner) T_NEED(lw__owner_gone(heir, kb->owner));
    T_NEED(!lw_bus_clean(heir, NULL));
    T_NEED(!lw_bus_close(heir));
}

static int only_heir_is_alive(const struct lw_node_info *info, void *user) {
    unsigned *count = user;
    T_NEED(!info->alive || !strcmp(info->name, "child"));
    *count += info->alive != 0;
    return 0;
}

/* Their names begin with a dot. */
static void no_unfinished_file(const char *dir) {
    char path[T_PATH * 2];
    DIR *d = opendir(dir);
    T_NEED(d);
    for (struct dirent *e; (e = readdir(d));) {
        bool is_folder_itself = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
        T_NEED(e->d_name[0] != '.' || is_folder_itself);
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_type == DT_DIR && e->d_name[0] != '.') no_unfinished_file(path);
    }
    closedir(d);
}

/* Nobody is alive but us; a word of the dead one is over for ever; its name has one row, and its next life another word. */
static int verify(void *arg) {
    unsigned alive = 0;
    (void)arg;
    struct lw_bus *heir = tt_bus(kill_dir, "child"), *dead;
    T_NEED(!lw_bus_clean(heir, NULL));
    if (kb->owner) {
        T_NEED(lw__owner_gone(heir, kb->owner) && lw__owner_closed(heir, kb->owner));
        T_NEED(heir->owner != kb->owner);
    }
    T_NEED(!lw_bus_nodes(heir, only_heir_is_alive, &alive) && alive == 1);
    T_NEED(!lw__owner_gone(heir, heir->owner) && !lw__owner_closed(heir, heir->owner));
    dead = tt_bus(kill_dir, "dead");
    T_NEED(dead->owner != kb->owner && !lw__owner_gone(heir, dead->owner));
    T_NEED(!lw_bus_close(dead) && lw__owner_gone(heir, dead->owner));
    no_unfinished_file(kill_dir);
    T_NEED(!lw_bus_close(heir));
    return 0;
}

/* ---- stops ------------------------------------------------------------------------------------------------------- */

/* Others come and go; they wait at most five seconds for who is stopped with a lock. */
static const char *others_come(void) {
    struct lw_bus *other;
    uint64_t owner = kb_get(&kb->owner);
    int rc = t_bus_open(&other, kill_dir, "other", 0);
    if (rc == -ETIMEDOUT) return NULL;
    if (rc) return t_words("another one is told %s: %s", lw_errname(rc), lw_errtext());
    bool childs = owner && kill_now->both;
    if (childs && lw__owner_gone(other, owner)) return "the stopped one is taken for dead";
    struct lw_bus *thief;
    if (childs && t_bus_open(&thief, kill_dir, "child", 0) != LW_EHELD)
        return "the name of the stopped one was given away";
    rc = lw_bus_clean(other, NULL);
    if (rc) return t_words("cleaning: %s", lw_errname(rc));
    if (childs && lw__owner_gone(other, owner)) return "cleaning took the stopped one for dead";
    lw_bus_close(other);
    return NULL;
}

/* `both`: the word on the board is the child's own. */
#define OP(name_, set_up_, prepare_, operate_)                                                                         \
    .name = "bus/" name_, .run = kill_real, .set_up_body = set_up_, .prepare = prepare_, .operate = operate_,          \
    .recover = recover, .verify = verify, .meanwhile = others_come

const struct kill_op kill_bus_ops[] = {{OP("join-first", NULL, NULL, join_named), .both = true},
                                       {OP("join-named", an_old_bus, NULL, join_named), .both = true, .brief = true},
                                       {OP("join-pool", an_old_bus, NULL, join)},
                                       {OP("leave", an_old_bus, be_named, leave)},
                                       {OP("close-epoch", a_dead_one, be_another, close_epoch), .brief = true},
                                       {OP("clean", a_dead_one, be_another, clean), .brief = true},
                                       {OP("join-as-the-dead", a_dead_one, NULL, join_as_the_dead)},
                                       {.name = NULL}};
