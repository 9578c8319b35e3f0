/* SPDX-License-Identifier: MIT */
/*
 * pattern/topic.h - a topic's file in use: the lane at <bus>/topics/<topic>/.lane, opened by a publisher, a subscriber
 * or somebody who looks.
 *
 * The file at the path can be replaced: by the same topic in another shape while nothing was ever published, by a new
 * incarnation after an unclean reboot, or by nothing when it is removed. Who replaces it holds byte 0 of the old file
 * locked, stores `superseded`, runs a full fence, and then looks at who is attached. Who attaches takes its owner word,
 * runs a full fence, and then looks at `superseded`: so at least one sees the other. An attached one that sees it waits
 * for the lock, and then the path says what is true.
 */
#ifndef LW_PATTERN_TOPIC_H
#define LW_PATTERN_TOPIC_H

#include "bus/bus.h"
#include "lane/lane.h"
#include "laneway/topic.h"

enum { LW__TOPIC_MAX = 200 }; /* bytes of a topic's name, all levels */

struct lw__topic {
    struct lw_bus *bus;
    int fd;
    unsigned naps; /* of lw__topic_napped() */
    struct lw__lane lane;
    char name[LW__TOPIC_MAX + 1];
    char path[LW__TOPIC_MAX + 16]; /* below the bus: topics/NAME/.lane */
};

static inline int64_t lw__setup_wait(void) {
    return LW_SEC(5); /* for a lock that is held for microseconds; only a stopped holder makes it long */
}

/* Fills in name and path. LW_ENAME with text. */
int lw__topic_name(struct lw__topic *topic, struct lw_bus *bus, const char *name);

/* Opens the file, LW__READ or LW__WRITE, makes it when it is not there, brings it to `shape` if that is allowed.
 * `shape` may be NULL. */
int lw__topic_open(struct lw__topic *topic, const struct lw_shape *shape, enum lw__access access);

/* Opens what is there. LW_ENOTOPIC. */
int lw__topic_open_existing(struct lw__topic *topic, enum lw__access access);

/* Unmaps and closes. */
void lw__topic_close(struct lw__topic *topic);

/* After attaching: 0 the file is the topic's; 1 another one is (or none): leave it and open again. Negative with text.
 */
int lw__topic_attached(struct lw__topic *topic);

/* While attached; never waits. 0: nothing has changed, or not yet. 1: another file, or none, is at the path. Negative
 * without text. */
int lw__topic_moved(struct lw__topic *topic);

/* While attached, after each sleep of somebody who waits: looks now and then whether the file was removed by hand, which
 * nobody tells, and sees to it that lw__topic_moved() does. */
void lw__topic_napped(struct lw__topic *topic);

/* After detaching: notes on a persistent bus that all is in order, if nobody else is attached. */
void lw__topic_detached(struct lw__topic *topic);

/* The owners of the bus, for the lane. */
struct lw__owners lw__topic_owners(struct lw_bus *bus);

/* The lane's file lock; `what` for the text. */
int lw__topic_lock(struct lw__topic *topic, const char *what);
void lw__topic_unlock(struct lw__topic *topic);

/* ---- renew.c ----------------------------------------------------------------------------------------------------- */

/* 0 or LW_ESHAPE, LW_EMISMATCH with text: does the file have what is asked for explicitly? */
int lw__shape_fits(const struct lw__topic *topic, const struct lw_shape *shape);

/* Copies the schema's name of a shape that is kept to `schema` (64 bytes) and points there. LW_ENAME, LW_ESHAPE with
 * text. */
int lw__shape_keep(const char *topic, struct lw_shape *shape, char *schema);

/* What a new file is to look like. LW_ESHAPE with text for impossible numbers. `shape` may be NULL. */
int lw__shape_full(const char *topic, const struct lw_shape *shape, struct lw__lane_shape *full);

/* Makes the topic's file. -EEXIST without harm when somebody was faster. */
int lw__topic_make(struct lw__topic *topic, const struct lw__lane_shape *shape);

/* Removes the folders above the topic's file as far as they are empty. */
void lw__topic_tidy(const struct lw__topic *topic);

/* Replaces an empty lane by one of another shape; its subscribers move over. */
int lw__topic_reshape(struct lw__topic *topic, const struct lw_shape *shape);

/* The lane was last used under another boot. Adopts it when it was closed in order, else replaces it by a new
 * incarnation. 1: replaced. */
int lw__topic_adopt(struct lw__topic *topic);

#endif
