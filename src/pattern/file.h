/* SPDX-License-Identifier: MIT */
/*
 * pattern/file.h - a lane's file in use: opened by a publisher, a subscriber, one side of a link, or somebody who looks.
 *
 *     topics/NAME/.lane                      a topic's lane
 *     links/SERVER/CLIENT/{up,down}.lane     a link's lanes
 *
 * The file at the path can be replaced: by the same topic in another shape while nothing was ever published, by a new
 * incarnation after an unclean reboot, or by nothing when it is removed. Who replaces it holds byte 0 of the old file
 * locked, stores `superseded`, runs a full fence, and then looks at who is attached. Who attaches takes its owner word,
 * runs a full fence, and then looks at `superseded`: so at least one sees the other. An attached one that sees it waits
 * for the lock, and then the path says what is true.
 *
 * A process may have thousands of links. So a thrifty file has a descriptor only while it is locked: the path is opened
 * anew for that, and counts if it leads to the file that is mapped. (A mapped file keeps its inode number to itself.)
 */
#ifndef LW_PATTERN_FILE_H
#define LW_PATTERN_FILE_H

#include "bus/bus.h"
#include "lane/lane.h"
#include "laneway/topic.h"

enum { LW__TOPIC_MAX = 200 }; /* bytes of a topic's name, all levels */

enum lw__file_kind {
    LW__TOPIC,
    LW__LINK_LANE /* one of the two of a link: never made or reshaped by who opens it, and EHELD is about the link */
};

struct lw__file {
    struct lw_bus *bus;
    int fd; /* -1: none now */
    enum lw__file_kind kind;
    bool thrifty;
    dev_t dev; /* of the file that is mapped */
    ino_t ino;
    struct lw__lane lane;
    char title[LW__TOPIC_MAX + 16]; /* how texts begin: "topic prices", "link gateway/alice, up" */
    char name[LW__TOPIC_MAX + 1];   /* what the tool is given: "prices", "gateway/alice" */
    char path[LW__TOPIC_MAX + 16];  /* below the bus */
};

static inline int64_t lw__setup_wait(void) {
    return LW_SEC(5); /* for a lock that is held for microseconds; only a stopped holder makes it long */
}

/* Whoever cleans up after a dead process, or starts under its name, holds its lock for a moment: then it looks alive. */
static inline int64_t lw__a_moment(void) {
    return LW_MS(100);
}

/* ---- file.c: opening --------------------------------------------------------------------------------------------- */

/* Opens what is there. LW_ENOTOPIC, or -ENOENT for a link's lane, with text. */
int lw__file_open_existing(struct lw__file *file, enum lw__access access);

/* One try of somebody who is going to attach: a lane that was last used under another boot is adopted first. 0; 1 to
 * try again; -ENOENT, and that without text; or an error. */
int lw__file_open_once(struct lw__file *file, enum lw__access access);

/* The same until it is done. -ENOENT with text. */
int lw__file_open_current(struct lw__file *file, enum lw__access access);

/* So often one tries again; and what to say then. */
enum { LW__FILE_TRIES = 1000 };
int lw__file_restless(const struct lw__file *file);

/* Sets `file` up as `like` is: kind, thrifty, names and path. Nothing is open. */
void lw__file_like(struct lw__file *file, struct lw_bus *bus, const struct lw__file *like);

/* Unmaps and closes. */
void lw__file_close(struct lw__file *file);

/* ---- file.c: attaching and detaching ----------------------------------------------------------------------------- */

/* After attaching: 0 the file is the one at the path; 1 another one is (or none): leave it and open again. Negative
 * with text. */
int lw__file_attached(struct lw__file *file);

/* While attached; never waits. 0: nothing has changed, or not yet. 1: another file, or none, is at the path. Negative
 * without text. */
int lw__file_moved(struct lw__file *file);

/* While attached, after each sleep of somebody who waits: looks whether the file was removed by hand, which
 * nobody tells, and sees to it that lw__file_moved() does. */
void lw__file_napped(struct lw__file *file);

/* After detaching: notes on a persistent bus that all is in order, if nobody else is attached. */
void lw__file_detached(struct lw__file *file);

/* The owners of the bus, for the lane. */
struct lw__owners lw__file_owners(struct lw_bus *bus);

/* The lane's file lock, with the bus entered; `what` for the text. Between the two `fd` is open. 1: a thrifty file is
 * not at its path any more. */
int lw__file_lock(struct lw__file *file, const char *what);
void lw__file_unlock(struct lw__file *file);

/* Does the path still lead to the file that is mapped? 1, 0, or -errno. */
int lw__file_at_path(const struct lw__file *file);

/* ---- file.c: texts ----------------------------------------------------------------------------------------------- */

/* What stands before the name in "laneway rm NAME". */
static inline const char *lw__file_rm(const struct lw__file *file) {
    return file->kind == LW__TOPIC ? "" : "links ";
}

/* Damage at a position. Returns LW_ECORRUPT. */
int lw__file_corrupt(const struct lw__file *file, uint64_t pos);

/* The link of this lane is open in the process of `holder`. Returns LW_EHELD. */
int lw__file_held(const struct lw__file *file, uint64_t holder);

/* Another file, or none, is at the path for good; `advice` for a topic. Returns LW_ECLOSED. */
int lw__file_removed(const struct lw__file *file, const char *advice);

/* ---- renew.c ----------------------------------------------------------------------------------------------------- */

/* Makes the file, and the folders above it; bus, kind and names are set. -EEXIST without harm when somebody was faster,
 * -ENOENT when somebody tidied the empty folders away: open it, or try again. Other errors with text. */
int lw__file_make(struct lw__file *file, const struct lw__lane_shape *shape);

/* Makes it whatever is at the path, and puts it there. Who has the old one open keeps that. */
int lw__file_remake(struct lw__file *file, const struct lw__lane_shape *shape);

/* Removes the folders above the file as far as they are empty. */
void lw__file_tidy(const struct lw__file *file);

/* The lane was last used under another boot. Adopts it when it was closed in order, else replaces it by a new
 * incarnation. 1: replaced. */
int lw__file_adopt(struct lw__file *file);

/* ---- remove.c ---------------------------------------------------------------------------------------------------- */

/* Removes the file, unless a living process has it open (`force`: also then; those find out) or it is damaged. Once it
 * is certain, and nobody can open it, `before` (may be NULL) is called; its error ends it all. Nothing is open
 * afterwards. 1: another file is at the path by now, or none. LW_EHELD, LW_ENOTOPIC, ... The bus is entered. */
int lw__file_remove(struct lw__file *file, bool force, int (*before)(struct lw__file *file, void *context),
                    void *context);

#endif
