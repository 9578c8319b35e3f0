/* SPDX-License-Identifier: MIT */
#include "pattern/topic.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

/* ---- names ------------------------------------------------------------------------------------------------------- */

static int check_levels(const char *name) {
    char level[LW_NAME_MAX + 2];
    for (const char *at = name;; at++) {
        size_t n = strcspn(at, "/");
        if (n >= sizeof level) n = sizeof level - 1; /* too long, and says so below */
        snprintf(level, n + 1, "%s", at);
        int rc = lw__name_check(level, "topic");
        if (rc) return rc;
        at += n;
        if (!*at) return 0;
    }
}

int lw__topic_name(struct lw__file *t, struct lw_bus *bus, const char *name) {
    *t = (struct lw__file){.bus = bus, .fd = -1, .kind = LW__TOPIC};
    if (!name) return lw__fail(LW_ENAME, "topic name is NULL");
    if (strlen(name) > LW__TOPIC_MAX)
        return lw__fail(LW_ENAME, "topic name of %zu bytes: at most %d", strlen(name), LW__TOPIC_MAX);
    int rc = check_levels(name);
    if (rc) return lw__fail(rc, "topic \"%s\": %s", name, lw_errtext());
    snprintf(t->title, sizeof t->title, "topic %s", name);
    snprintf(t->name, sizeof t->name, "%s", name);
    snprintf(t->path, sizeof t->path, "topics/%s/.lane", name);
    return 0;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static int make(struct lw__file *t, const struct lw_shape *shape) {
    struct lw__lane_shape full;
    int rc = lw__shape_full(t->title, shape, &full);
    if (!rc) rc = lw__file_make(t, &full);
    return rc == 0 || rc == -EEXIST || rc == -ENOENT ? 1 : rc;
}

/* One try: 0 done, 1 again, or an error. */
static int open_once(struct lw__file *t, const struct lw_shape *shape, enum lw__access access) {
    int rc = lw__file_open_once(t, access);
    if (rc) return rc == -ENOENT ? make(t, shape) : rc;
    rc = lw__shape_fits(t, shape);
    if (rc == LW_ESHAPE || rc == LW_EMISMATCH) rc = lw__topic_reshape(t, shape);
    if (rc) lw__file_close(t);
    return rc;
}

int lw__topic_open(struct lw__file *t, const struct lw_shape *shape, enum lw__access access) {
    for (int tries = 0; tries < LW__FILE_TRIES; tries++) {
        int rc = open_once(t, shape, access);
        if (rc <= 0) return rc;
    }
    return lw__file_restless(t);
}
