/* SPDX-License-Identifier: MIT */
/* bus/dir.c - finding or making the directory of a bus. */
#include "bus/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

/* Where the bus is, and for whom to make it. */
struct place {
    char path[sizeof((struct lw__dir *)0)->path];
    bool is_default; /* in a directory where anybody may make anything */
    bool for_group;
    gid_t gid;
};

/* Reads the file, not the name service: that would load plug-ins into the caller's program. */
/* NAME:password:NUMBER:members, a line of any length. */
static bool search_group(FILE *file, const char *group, gid_t *gid) {
    char *line = NULL, *end;
    size_t room = 0, n = strlen(group);
    bool found = false;
    while (!found && getline(&line, &room, file) > 0) {
        const char *number = strncmp(line, group, n) == 0 && line[n] == ':' ? strchr(line + n + 1, ':') : NULL;
        if (!number) continue;
        *gid = (gid_t)strtoul(number + 1, &end, 10);
        found = end > number + 1 && (*end == ':' || *end == '\n' || !*end);
    }
    free(line);
    return found;
}

static int find_group(const char *group, gid_t *gid) {
    char *end;
    unsigned long number = strtoul(group, &end, 10);
    if (*group >= '0' && *group <= '9' && !*end && number < UINT32_MAX) {
        *gid = (gid_t)number;
        return 0;
    }
    FILE *file = fopen("/etc/group", "re");
    if (!file) return lw__fail(-errno, "/etc/group: %s", strerror(errno));
    bool found = search_group(file, group, gid);
    fclose(file);
    if (!found)
        return lw__fail(-EINVAL, "group %s: not in /etc/group; give its number (getent group %s)", group, group);
    return 0;
}

static int find_place(struct place *place, const char *path, const char *group) {
    *place = (struct place){.gid = getegid(), .for_group = group};
    if (!path) path = secure_getenv("LANEWAY_DIR");
    place->is_default = !path || !*path;
    int n = place->is_default ? snprintf(place->path, sizeof place->path, "/dev/shm/laneway-%u", geteuid())
                              : snprintf(place->path, sizeof place->path, "%s", path);
    if (n >= (int)sizeof place->path)
        return lw__fail(-ENAMETOOLONG, "%s: the directory's name is longer than %zu characters", path,
                        sizeof place->path - 1);
    while (n > 1 && place->path[n - 1] == '/') place->path[--n] = 0;
    return group ? find_group(group, &place->gid) : 0;
}

/* Makes the last level of the path: the levels above are somebody's decision. */
static int make_dir(const struct place *place) {
    struct lw__dir parent = {.uid = geteuid(), .gid = place->gid, .dir_mode = place->for_group ? 02770 : 0700};
    const char *slash = strrchr(place->path, '/'), *last = slash ? slash + 1 : place->path;
    size_t n = slash > place->path ? (size_t)(slash - place->path) : 1;
    memcpy(parent.path, slash ? place->path : ".", n);
    parent.fd = open(parent.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (parent.fd < 0)
        return lw__fail(-errno, "%s: can not make a bus here: %s: %s", place->path, parent.path, strerror(errno));
    int rc = lw__dir_make(&parent, last);
    if (rc) lw__file_explain(&parent, last, rc);
    close(parent.fd);
    if (rc == -EPERM && place->for_group)
        return lw__fail(rc, "%s: can not be made for gid %u: are you in this group?", place->path, place->gid);
    return rc ? lw__fail_in(rc, "can not make the directory of the bus") : 0;
}

/* Anybody can make a directory with our default name before us; a symbolic link too. */
static int check_default(const struct place *place, const struct lw__dir *dir) {
    struct stat st;
    if (!place->is_default) return 0;
    if (lstat(place->path, &st)) return lw__fail(-errno, "%s: %s", place->path, strerror(errno));
    if (S_ISDIR(st.st_mode) && st.st_uid == geteuid() && lw__file_same(dir, ".", dir->fd) == 1) return 0;
    return lw__fail(-EACCES,
                    "%s: %s of uid %u; you are uid %u: have it removed, or choose another directory (LANEWAY_DIR)",
                    place->path, S_ISDIR(st.st_mode) ? "is a directory" : "is not a directory, but a link or file",
                    st.st_uid, geteuid());
}

static int check_group(const struct place *place, const struct lw__dir *dir) {
    if (!place->for_group || (dir->dir_mode == 02770 && dir->gid == place->gid)) return 0;
    return lw__fail(LW_ESHAPE, "%s: exists, but not as a bus for gid %u: gid %u, mode %s", place->path, place->gid,
                    dir->gid, dir->dir_mode == 02770 ? "for a group" : "for its owner alone");
}

static int make_inside(const struct lw__dir *dir) {
    static const char *const inside[] = {"nodes", "topics"};
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        int rc = lw__dir_make(dir, inside[i]);
        if (rc) return lw__file_explain(dir, inside[i], rc);
    }
    return 0;
}

int lw__bus_dir_open(struct lw_bus *bus, const char *path, const char *group) {
    struct place place;
    int rc = find_place(&place, path, group);
    if (rc) return rc;
    if (bus->observe) {
        rc = lw__dir_look(&bus->dir, place.path);
        if (rc == -ENOENT) return lw__fail(LW_ENOBUS, "%s: no such bus: nobody opened it yet", place.path);
        return rc ? rc : check_default(&place, &bus->dir);
    }
    while ((rc = lw__dir_open(&bus->dir, place.path)) == -ENOENT)
        if ((rc = make_dir(&place))) return rc;
    if (!rc) rc = check_default(&place, &bus->dir);
    if (!rc) rc = check_group(&place, &bus->dir);
    return rc ? rc : make_inside(&bus->dir);
}
