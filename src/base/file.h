/* SPDX-License-Identifier: MIT */
/*
 * base/file.h - files below a directory: opening without leaving it, whole creation, space, byte locks, mappings.
 *
 * All descriptors are close-on-exec. No path leads out of the directory, and no symbolic link is followed.
 */
#ifndef LW_BASE_FILE_H
#define LW_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Who may use what is made in a directory. Copied from the directory itself, so all of its users agree. */
struct lw__dir {
    int fd;
    uid_t uid; /* owner of new files when this process may choose (root), else it is the process itself */
    gid_t gid;
    mode_t file_mode; /* 0600, or 0660 for a group */
    mode_t dir_mode;  /* 0700, or 02770 */
    bool is_volatile; /* tmpfs: nothing outlives a reboot, nothing needs to be synced */
    char path[256];   /* for messages */
};

/* Opens a directory by path and reads who may use it. -EACCES, with path, owner, mode and uid in the text, when it is
 * neither ours nor a group's that we belong to; LW_EFS for a filesystem whose locks or mappings are not local. */
int lw__dir_open(struct lw__dir *dir, const char *path);
/* The same for reading only: whoever may read it may look. */
int lw__dir_look(struct lw__dir *dir, const char *path);
void lw__dir_close(struct lw__dir *dir);

/* The name of a kind of filesystem (of statfs) that can not hold a bus; NULL for those that can. */
const char *lw__filesystem_refused(long type);

/* Makes a directory if it is not there; its mode and owner are right from the first moment on. 0 also when it was
 * there, or -errno without text. */
int lw__dir_make(const struct lw__dir *dir, const char *path);

/* Gives a file the owner and mode that files of the directory have. 0 or -errno, no text. */
int lw__file_users(const struct lw__dir *dir, int fd);

/* Opens an existing file. A descriptor or -errno; no text. */
int lw__file_open(const struct lw__dir *dir, const char *path, int flags);

/* Gives -errno of an open a text with path, owner, mode and uid. Returns `code`. */
int lw__file_explain(const struct lw__dir *dir, const char *path, int code);

/* Makes a file of the right mode and owner under a temporary name and takes `size` bytes of real space for it, so that
 * a full disk is -ENOSPC here and never SIGBUS later. `temp` (at least LW__TEMP_MAX) gets its name. The creator holds
 * byte 0 locked until it is linked or abandoned: an unlocked temporary file is a dead creator's. Returns a descriptor
 * or -errno with text. */
enum { LW__TEMP_MAX = 320 };
int lw__temp_make(const struct lw__dir *dir, const char *in, uint64_t size, char *temp);
/* Gives it its name: 0, or -EEXIST when somebody was faster (`replace` takes the place instead). Removes the temporary
 * name in any case and drops its lock; the descriptor stays the caller's. */
int lw__temp_link(const struct lw__dir *dir, int fd, const char *temp, const char *path, bool replace);
void lw__temp_drop(const struct lw__dir *dir, const char *temp);
/* Is this a directory entry of lw__temp_make()? */
bool lw__temp_is(const char *entry);

/* Adds real space. 0 or -errno, no text. */
int lw__file_grow(int fd, uint64_t from, uint64_t to);

/* Does the path still lead to the file that is open as fd? 1, 0, or -errno. */
int lw__file_same(const struct lw__dir *dir, const char *path, int fd);

/* Open-file-description write lock on one byte. `wait` in ns: 0 tries once. 0, -EAGAIN (held), or -errno. */
int lw__byte_lock(int fd, off_t byte, int64_t wait);
void lw__byte_unlock(int fd, off_t byte);
/* Is the byte locked by another open file description? 1, 0 or -errno. Needs reading only and locks nothing. */
int lw__byte_locked(int fd, off_t byte);

/* The kernel's boot id, 16 bytes. */
int lw__boot_id(unsigned char id[16]);

/* Mappings are shared, absent from core dumps and from forked children. */
void *lw__map_shared(int fd, size_t size, bool writable);
/* [head][ring][ring]: a file of `head` + `ring` bytes with the ring visible twice, so that nothing in it wraps. NULL
 * with errno set. Access of head and ring are chosen apart. Unmap with lw__unmap(base, head + 2 * ring). */
char *lw__map_ring(int fd, size_t head, size_t ring, bool write_head, bool write_ring);
void lw__unmap(void *base, size_t size);

#endif
