/* SPDX-License-Identifier: MIT */
/* pattern/link_file.c - the names and files of a link. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/err.h"
#include "pattern/link.h"

#define RING_LEAST (UINT64_C(64) << 10)
#define RING_DEFAULT (UINT64_C(256) << 10)
enum { SLOTS = 8 }; /* the reader's, one for its seeks, and as many as its page holds anyway */

const char *const lw__link_readers[2] = {"server", "client"};

int lw__link_names(const char *server, const char *client) {
    int rc = server ? lw__name_check(server, "server") : lw__fail(LW_ENAME, "server name is NULL");
    return rc || !client ? rc : lw__name_check(client, "client");
}

void lw__link_file(struct lw__file *f, struct lw_bus *bus, enum lw__link_root root, const char *server,
                   const char *client, enum lw__direction direction) {
    const char *way = direction == LW__UP ? "up" : "down";
    *f = (struct lw__file){.bus = bus, .fd = -1, .kind = LW__LINK_LANE, .thrifty = true};
    snprintf(f->title, sizeof f->title, "link %s/%s, %s", server, client, way);
    snprintf(f->name, sizeof f->name, "%s/%s", server, client);
    snprintf(f->path, sizeof f->path, "%s/%s/%s/%s.lane", lw__link_roots[root], server, client, way);
}

const char *const lw__link_roots[2] = {"links", "remote"};

struct lw__lane_shape lw__link_shape(uint64_t ring, enum lw__direction direction) {
    return (struct lw__lane_shape){
        .ring = ring ? ring : RING_DEFAULT, .slots = SLOTS, .reader = lw__link_readers[direction]};
}

int lw__link_make_lane(struct lw__file *f, const struct lw__lane_shape *want) {
    struct lw__lane_shape shape = *want;
    if (!lw__is_power_of_two(shape.ring) || shape.ring < RING_LEAST || shape.ring > LW__RING_MAX)
        return lw__fail(LW_ESHAPE,
                        "%s: ring of %llu bytes: give a power of two from 65536 (64 KiB) to 68719476736 (64 GiB)",
                        f->title, (unsigned long long)shape.ring);
    struct stat st; /* mostly it is there: then nothing is made and thrown away */
    if (fstatat(f->bus->dir.fd, f->path, &st, AT_SYMLINK_NOFOLLOW) == 0) return 0;
    int rc = lw__file_make(f, &shape);
    return rc == -EEXIST ? 0 : rc;
}

/* 1: there is no down.lane, but `up` was used: somebody died while removing the link. Its numbers and those of a fresh
 * down.lane would not belong together, so what was begun is finished. 0: all is well. Negative: who knows (with text). */
static int is_half_removed(struct lw_bus *bus, enum lw__link_root root, const char *server, const char *client) {
    struct lw__file up, down;
    struct stat st;
    lw__link_file(&down, bus, root, server, client, LW__DOWN);
    lw__link_file(&up, bus, root, server, client, LW__UP);
    if (fstatat(bus->dir.fd, down.path, &st, AT_SYMLINK_NOFOLLOW) == 0) return 0;
    if (errno != ENOENT && errno != ENOTDIR) return lw__file_explain(&bus->dir, down.path, -errno);
    int rc = lw__file_open_existing(&up, LW__LOOK);
    if (rc == -ENOENT || rc == LW_ECORRUPT || rc == LW_EVERSION) return 0; /* new, or damaged: that is told later */
    if (rc) return rc;
    bool used = lw__load(&lw__side_of(&up.lane)->session) != 0;
    lw__file_close(&up);
    return used;
}

static int make_both(struct lw_bus *bus, enum lw__link_root root, const char *server, const char *client,
                     const uint64_t ring[2]) {
    struct lw__file f;
    int rc = is_half_removed(bus, root, server, client);
    if (rc == 1) {
        lw__link_file(&f, bus, root, server, client, LW__UP);
        rc = lw__file_remove(&f, true, NULL, NULL); /* who has it open has only half of it, and is told so */
        if (rc == 1 || rc == -ENOENT) rc = 0;
    }
    for (int way = LW__UP; way <= LW__DOWN && !rc; way++) {
        lw__link_file(&f, bus, root, server, client, (enum lw__direction)way);
        struct lw__lane_shape shape = lw__link_shape(ring[way], (enum lw__direction)way);
        if (root == LW__ELSEWHERE && way == LW__DOWN) shape.mirror = LW__EMPTY_MIRROR;
        rc = lw__link_make_lane(&f, &shape);
    }
    return rc;
}

/* -ENOENT: somebody tidied the folders away; again. Or the bus itself is gone. */
int lw__link_make(struct lw_bus *bus, enum lw__link_root root, const char *server, const char *client,
                  const uint64_t ring[2]) {
    int rc = -ENOENT;
    for (int tries = 0; rc == -ENOENT && tries < LW__FILE_TRIES; tries++)
        rc = make_both(bus, root, server, client, ring);
    return rc == -ENOENT
               ? lw__fail(rc, "link %s/%s: can not be made in %s; was the bus removed?", server, client, bus->dir.path)
               : rc;
}
