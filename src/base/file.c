/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"

/* ---- directories ------------------------------------------------------------------------------------------------- */

const char *lw__filesystem_refused(long type) {
    switch ((uint32_t)type) {
    case 0x6969:
        return "NFS";
    case 0x65735546:
        return "FUSE";
    case 0xff534d42:
    case 0xfe534d42:
    case 0x517b:
        return "SMB";
    case 0x01021997:
        return "9P";
    case 0x00c36400:
        return "Ceph";
    case 0x6b414653:
    case 0x5346414f:
        return "AFS";
    case 0x7461636f:
        return "OCFS2";
    case 0x01161970:
        return "GFS2";
    case 0x9123683e:
        return "btrfs (copy on write)";
    case 0x2fc12fc1:
        return "ZFS (copy on write)";
    case 0xca451a4e:
        return "bcachefs (copy on write)";
    default:
        return NULL;
    }
}

static int check_filesystem(struct lw__dir *dir) {
    struct statfs fs;
    if (fstatfs(dir->fd, &fs)) return lw__fail(-errno, "%s: statfs: %s", dir->path, strerror(errno));
    const char *refused = lw__filesystem_refused((long)fs.f_type);
    if (refused)
        return lw__fail(
            LW_EFS, "%s: is on %s, whose locks, mappings or space are not those of this host; use tmpfs, ext4 or xfs",
            dir->path, refused);
    dir->is_volatile = fs.f_type == 0x01021994; /* tmpfs */
    return 0;
}

static bool in_group(gid_t gid) {
    gid_t groups[1024];
    if (getegid() == gid) return true;
    int n = getgroups(1024, groups);
    for (int i = 0; i < n; i++)
        if (groups[i] == gid) return true;
    return false;
}

/* Ours, or a group's (group-writable with the set-group-id bit) that we are in; and nobody else may write to it. */
static int check_users(const struct lw__dir *dir, const struct stat *st, bool group) {
    if (st->st_mode & 0002 || (st->st_mode & 0020 && !group))
        return lw__fail(-EACCES, "%s: mode %04o lets others write to it; chmod 0700 it, or choose another directory",
                        dir->path, st->st_mode & 07777);
    if (geteuid() != 0 && st->st_uid != geteuid() && !(group && in_group(st->st_gid)))
        return lw__fail(-EACCES,
                        "%s: owner uid %u, gid %u, mode %04o; you are uid %u: ask the owner, or use a bus of your own "
                        "(LANEWAY_DIR)",
                        dir->path, st->st_uid, st->st_gid, st->st_mode & 07777, geteuid());
    return 0;
}

static int read_users(struct lw__dir *dir, bool to_write) {
    struct stat st;
    if (fstat(dir->fd, &st)) return lw__fail(-errno, "%s: stat: %s", dir->path, strerror(errno));
    bool group = (st.st_mode & 02020) == 02020;
    int rc = to_write ? check_users(dir, &st, group) : 0;
    dir->uid = geteuid() == 0 ? st.st_uid : geteuid();
    dir->gid = st.st_gid;
    dir->file_mode = group ? 0660 : 0600;
    dir->dir_mode = group ? 02770 : 0700;
    return rc;
}

static int open_dir(struct lw__dir *dir, const char *path, bool to_write) {
    *dir = (struct lw__dir){.fd = -1};
    if (strlen(path) >= sizeof dir->path)
        return lw__fail(-ENAMETOOLONG, "%s: longer than %zu characters", path, sizeof dir->path - 1);
    memcpy(dir->path, path, strlen(path) + 1);
    dir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir->fd < 0) {
        struct lw__dir here = {.fd = AT_FDCWD};
        return lw__file_explain(&here, path, -errno);
    }
    int rc = check_filesystem(dir);
    if (!rc) rc = read_users(dir, to_write);
    if (rc) lw__dir_close(dir);
    return rc;
}

int lw__dir_open(struct lw__dir *dir, const char *path) {
    return open_dir(dir, path, true);
}

int lw__dir_look(struct lw__dir *dir, const char *path) {
    return open_dir(dir, path, false);
}

void lw__dir_close(struct lw__dir *dir) {
    if (dir->fd >= 0) close(dir->fd);
    dir->fd = -1;
}

static int set_users(const struct lw__dir *dir, int fd, mode_t mode) {
    struct stat st;
    if (fstat(fd, &st)) return -errno;
    bool chown_it =
        geteuid() == 0 ? st.st_uid != dir->uid || st.st_gid != dir->gid : st.st_gid != dir->gid && mode & 0070;
    if (chown_it && fchown(fd, geteuid() == 0 ? dir->uid : (uid_t)-1, dir->gid)) return -errno;
    if ((st.st_mode & 07777) != mode && fchmod(fd, mode)) return -errno;
    return 0;
}

int lw__file_users(const struct lw__dir *dir, int fd) {
    return set_users(dir, fd, dir->file_mode);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static int open_beneath(int dirfd, const char *path, int flags, mode_t mode) {
    struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK),
                           .mode = mode,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    long fd;
    do fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    while (fd < 0 && (errno == EAGAIN || errno == EINTR));
    return fd < 0 ? -errno : (int)fd;
}

int lw__file_open(const struct lw__dir *dir, const char *path, int flags) {
    return open_beneath(dir->fd, path, flags, 0);
}

int lw__file_explain(const struct lw__dir *dir, const char *path, int code) {
    const char *in = dir->fd == AT_FDCWD ? "" : dir->path, *slash = *in ? "/" : "";
    struct stat st;
    if (code == -ENOSYS)
        return lw__fail(code, "%s%s%s: needs openat2, Linux 5.6 or newer, not forbidden by a sandbox", in, slash, path);
    if (code == -EMFILE) return lw__fail(code, "%s%s%s: %s; see ulimit -n", in, slash, path, strerror(-code));
    if ((code != -EACCES && code != -EPERM) || fstatat(dir->fd, path, &st, AT_SYMLINK_NOFOLLOW))
        return lw__fail(code, "%s%s%s: %s%s", in, slash, path, strerror(-code),
                        code == -ELOOP ? "; symbolic links are not followed on a bus" : "");
    return lw__fail(code, "%s%s%s: %s: owner uid %u, gid %u, mode %04o; you are uid %u", in, slash, path,
                    strerror(-code), st.st_uid, st.st_gid, st.st_mode & 07777, geteuid());
}

/* Asked first: a tmpfs that is filled to find out may take all memory of the machine on the way. */
static bool has_space(int fd, uint64_t size) {
    struct statfs fs;
    return fstatfs(fd, &fs) || fs.f_blocks == 0 || size / (uint64_t)fs.f_bsize <= (uint64_t)fs.f_bavail;
}

int lw__file_grow(int fd, uint64_t from, uint64_t to) {
    if (to > from && !has_space(fd, to - from)) return -ENOSPC;
    const uint64_t step = 64 << 20; /* so that a signal can come through while gigabytes are taken */
    while (from < to) {
        uint64_t n = to - from < step ? to - from : step;
        int rc = posix_fallocate(fd, (off_t)from, (off_t)n);
        if (rc == EINTR) continue;
        if (rc) return -rc;
        from += n;
    }
    return 0;
}

int lw__file_same(const struct lw__dir *dir, const char *path, int fd) {
    struct stat a, b;
    if (fstat(fd, &a)) return -errno;
    if (fstatat(dir->fd, path, &b, AT_SYMLINK_NOFOLLOW)) return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* ---- whole creation: files --------------------------------------------------------------------------------------- */

#define TEMP_PREFIX ".new-"

bool lw__temp_is(const char *entry) {
    return strncmp(entry, TEMP_PREFIX, sizeof TEMP_PREFIX - 1) == 0;
}

static void temp_name(char *temp, const char *in) {
    unsigned char r[16];
    lw__uuid_make(r);
    snprintf(temp, LW__TEMP_MAX, "%s%s" TEMP_PREFIX "%02x%02x%02x%02x%02x%02x", in, *in ? "/" : "", r[0], r[1], r[2],
             r[3], r[4], r[5]);
}

int lw__temp_make(const struct lw__dir *dir, const char *in, uint64_t size, char *temp) {
    int fd, rc;
    do temp_name(temp, in);
    while ((fd = open_beneath(dir->fd, temp, O_RDWR | O_CREAT | O_EXCL, dir->file_mode)) == -EEXIST);
    if (fd < 0) return lw__file_explain(dir, temp, fd);
    rc = lw__byte_lock(fd, 0, 0);
    if (!rc) rc = set_users(dir, fd, dir->file_mode);
    if (!rc) rc = lw__file_grow(fd, 0, size);
    if (!rc) return fd;
    lw__temp_drop(dir, temp);
    close(fd);
    if (rc == -ENOSPC)
        return lw__fail(rc, "%s/%s: no space for a file of %llu bytes; free some, or ask for a smaller ring", dir->path,
                        in, (unsigned long long)size);
    return lw__fail(rc, "%s/%s: %s", dir->path, temp, strerror(-rc));
}

/* So that the name, too, outlives a power cut. When it can't be synced the old name does, which is as good. */
static void sync_folder(const struct lw__dir *dir, const char *path) {
    char folder[LW__TEMP_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    int fd = lw__file_open(dir, folder, O_RDONLY | O_DIRECTORY);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

/* The lock goes before the name is there: nobody must meet the finished file's byte 0 locked by its making. A cleaner
 * that comes just between removes the temporary name, and linking fails with ENOENT: the caller tries again. */
int lw__temp_link(const struct lw__dir *dir, int fd, const char *temp, const char *path, bool replace) {
    if (!dir->is_volatile && fsync(fd)) {
        int e = errno;
        lw__temp_drop(dir, temp);
        return -e;
    }
    lw__byte_unlock(fd, 0);
    int rc = replace ? renameat(dir->fd, temp, dir->fd, path) : linkat(dir->fd, temp, dir->fd, path, 0);
    rc = rc ? -errno : 0;
    if (!rc && !dir->is_volatile) sync_folder(dir, path);
    lw__temp_drop(dir, temp);
    return rc;
}

void lw__temp_drop(const struct lw__dir *dir, const char *temp) {
    unlinkat(dir->fd, temp, 0);
}

/* ---- whole creation: directories --------------------------------------------------------------------------------- */

/* Gives the new directory `temp` its mode and owner, and then its name. -ENOENT: a cleaner took it for a dead
 * creator's. */
static int finish_dir(const struct lw__dir *dir, const char *temp, const char *path) {
    int fd = lw__file_open(dir, temp, O_RDONLY | O_DIRECTORY);
    if (fd < 0) return fd;
    int rc = set_users(dir, fd, dir->dir_mode);
    close(fd);
    if (!rc && renameat2(dir->fd, temp, dir->fd, path, RENAME_NOREPLACE)) rc = -errno;
    if (rc) unlinkat(dir->fd, temp, AT_REMOVEDIR);
    return rc == -EEXIST ? 0 : rc;
}

int lw__dir_make(const struct lw__dir *dir, const char *path) {
    char parent[LW__TEMP_MAX - 32] = "", temp[LW__TEMP_MAX];
    const char *slash = strrchr(path, '/');
    struct stat st;
    int rc;
    if (slash && (size_t)(slash - path) >= sizeof parent) return -ENAMETOOLONG;
    if (slash) memcpy(parent, path, (size_t)(slash - path));
    do {
        if (!fstatat(dir->fd, path, &st, AT_SYMLINK_NOFOLLOW)) return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
        temp_name(temp, parent);
        if (!mkdirat(dir->fd, temp, 0700))
            rc = finish_dir(dir, temp, path);
        else if (errno != EEXIST)
            return -errno;
        else
            rc = -ENOENT;
    } while (rc == -ENOENT);
    return rc;
}

/* ---- byte locks -------------------------------------------------------------------------------------------------- */

enum { UNLOCK_TRIES = 100 };

static int try_lock(int fd, int command, struct flock *lock) {
    int rc;
    do rc = fcntl(fd, command, lock);
    while (rc && errno == EINTR);
    return rc ? -errno : 0;
}

int lw__byte_lock(int fd, off_t byte, int64_t wait) {
    int64_t until = wait > 0 ? lw__now() + wait : 0;
    for (;;) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
        int rc = try_lock(fd, F_OFD_SETLK, &lock);
        if (rc == -EACCES) rc = -EAGAIN;
        if (rc != -EAGAIN || !wait || lw__now() >= until) return rc;
        lw__sleep(200000);
    }
}

/* The kernel may want memory even for this. */
void lw__byte_unlock(int fd, off_t byte) {
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    for (int tries = 0; try_lock(fd, F_OFD_SETLK, &lock) == -ENOLCK && tries < UNLOCK_TRIES; tries++)
        lw__sleep(1000000);
}

int lw__byte_locked(int fd, off_t byte) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    int rc = try_lock(fd, F_OFD_GETLK, &lock);
    return rc ? rc : lock.l_type != F_UNLCK;
}

/* ---- the host ---------------------------------------------------------------------------------------------------- */

static int hex(int c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int lw__boot_id(unsigned char id[16]) {
    char text[64];
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return lw__fail(-errno, "/proc/sys/kernel/random/boot_id: %s%s", strerror(errno),
                        errno == ENOENT ? "; is /proc mounted?" : "");
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    int digits = 0;
    memset(id, 0, 16);
    for (ssize_t i = 0; i < n && digits < 32; i++) {
        int d = hex(text[i]);
        if (d < 0) continue;
        id[digits / 2] = (unsigned char)(id[digits / 2] << 4 | d);
        digits++;
    }
    return digits == 32 ? 0 : lw__fail(-EIO, "/proc/sys/kernel/random/boot_id: not a boot id");
}
