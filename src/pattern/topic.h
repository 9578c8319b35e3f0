/* SPDX-License-Identifier: MIT */
/* pattern/topic.h - what only topics have: names with levels, shapes, and being made by who opens them. */
#ifndef LW_PATTERN_TOPIC_H
#define LW_PATTERN_TOPIC_H

#include "pattern/file.h"

/* ---- topic.c ----------------------------------------------------------------------------------------------------- */

/* Fills in kind, names and path. LW_ENAME with text. */
int lw__topic_name(struct lw__file *topic, struct lw_bus *bus, const char *name);

/* Opens the file, LW__READ or LW__WRITE, makes it when it is not there, brings it to `shape` if that is allowed.
 * `shape` may be NULL. */
int lw__topic_open(struct lw__file *topic, const struct lw_shape *shape, enum lw__access access);

/* ---- renew.c ----------------------------------------------------------------------------------------------------- */

/* 0 or LW_ESHAPE, LW_EMISMATCH with text: does the file have what is asked for explicitly? */
int lw__shape_fits(const struct lw__file *topic, const struct lw_shape *shape);

/* Copies the schema's name of a shape that is kept to `schema` (64 bytes) and points there. LW_ENAME, LW_ESHAPE with
 * text that begins with `title`. */
int lw__shape_keep(const char *title, struct lw_shape *shape, char *schema);

/* What a new file is to look like. LW_ESHAPE with text for impossible numbers. `shape` may be NULL. */
int lw__shape_full(const char *title, const struct lw_shape *shape, struct lw__lane_shape *full);

/* Replaces an empty lane by one of another shape; its subscribers move over. */
int lw__topic_reshape(struct lw__file *topic, const struct lw_shape *shape);

#endif
