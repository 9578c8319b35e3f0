/* SPDX-License-Identifier: MIT */
#include "bus/table.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"

static const char magic[8] = "LANEBUS";
enum { VERSION = 1, LOCK_BYTE = 0 };
static const int64_t patience = INT64_C(5000000000);

static size_t file_size(uint64_t rows) {
    return LW__TABLE_HEAD + (size_t)rows * sizeof(struct lw__node_row);
}

static struct lw__table_head *head_of(const struct lw_bus *bus) {
    return bus->table;
}

/* Size of a row, page size (its logarithm). Another byte order turns the number around. */
static uint32_t fingerprint(void) {
    return (uint32_t)sizeof(struct lw__node_row) << 16 | (uint32_t)__builtin_ctzl((unsigned long)getpagesize()) << 8 |
           1;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* The head's number is believed as far as the file goes: beyond its end is SIGBUS. Pairs with grow(). */
uint32_t lw__table_rows(const struct lw_bus *bus) {
    uint32_t *seen =
        (uint32_t *)(uintptr_t)&bus->rows; /* what was learned is the handle's, also of one that is only looked at */
    uint32_t known = lw__load(seen), said = lw__load_acquire(&head_of(bus)->rows);
    struct stat st;
    if (said <= known) return said;
    if (said > LW__TABLE_ROWS) said = LW__TABLE_ROWS;
    if (fstat(bus->table_fd, &st) || (size_t)st.st_size < file_size(said)) return known;
    lw__store(seen, said);
    return said;
}

bool lw__table_name(const struct lw_bus *bus, uint32_t id, char *name) {
    memcpy(name, lw__table_row(bus, id)->name, LW_NAME_MAX + 1);
    name[LW_NAME_MAX] = 0;
    if (lw__name_is_good(name)) return true;
    name[0] = 0;
    return false;
}

static int lock(struct lw_bus *bus) {
    int rc = lw__byte_lock(bus->table_fd, LOCK_BYTE, patience);
    if (rc == -EAGAIN)
        return lw__fail(
            -ETIMEDOUT,
            "%s/bus: another process has held the lock on byte 0 for 5 s; it is stopped: find it (lslocks), "
            "let it go on or end it",
            bus->dir.path);
    return rc ? lw__fail(rc, "%s/bus: lock: %s", bus->dir.path, strerror(-rc)) : 0;
}

/* Pairs with lw__table_rows(). */
static int grow(struct lw_bus *bus, uint32_t rows) {
    uint32_t more = rows + LW__TABLE_STEP < LW__TABLE_ROWS ? rows + LW__TABLE_STEP : LW__TABLE_ROWS;
    if (rows >= LW__TABLE_ROWS)
        return lw__fail(-ENOSPC, "%s/bus: all %d node names are given out", bus->dir.path, LW__TABLE_ROWS - 1);
    int rc = lw__file_grow(bus->table_fd, file_size(rows), file_size(more));
    if (rc) return lw__fail(rc, "%s/bus: can not grow: %s", bus->dir.path, strerror(-rc));
    lw__store_release(&head_of(bus)->rows, more);
    return 0;
}

/* Finds the name, or the first row that is not in use. A row is used from its first epoch on; a name alone is a dead
 * creator's. */
static uint32_t search(const struct lw_bus *bus, const char *name, uint32_t rows, uint32_t *unused) {
    *unused = rows;
    for (uint32_t id = 1; id < rows; id++) {
        if (!lw__table_epoch(bus, id)) {
            if (*unused == rows) *unused = id;
        } else if (strncmp(lw__table_row(bus, id)->name, name, LW_NAME_MAX + 1) == 0) {
            return id;
        }
    }
    return 0;
}

static int find_locked(struct lw_bus *bus, const char *name) {
    uint32_t rows = lw__table_rows(bus), unused, id = search(bus, name, rows, &unused);
    if (id) return (int)id;
    if (unused == rows) {
        int rc = grow(bus, rows);
        if (rc) return rc;
        if (lw__table_rows(bus) <= unused) return lw__fail(LW_ECORRUPT, "%s/bus: was cut off", bus->dir.path);
    }
    struct lw__node_row *row = lw__table_row(bus, unused);
    memset(row->name, 0, sizeof row->name);
    memcpy(row->name, name, strlen(name));
    lw__store_release(&row->epoch, 1); /* the row is used from here on; pairs with lw__table_epoch() */
    return (int)unused;
}

int lw__table_find(struct lw_bus *bus, const char *name) {
    int rc = lock(bus);
    if (rc) return rc;
    rc = find_locked(bus, name);
    lw__byte_unlock(bus->table_fd, LOCK_BYTE);
    return rc;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static int make_file(struct lw_bus *bus) {
    char temp[LW__TEMP_MAX];
    struct lw__table_head head = {.version = VERSION, .fingerprint = fingerprint(), .rows = LW__TABLE_STEP};
    memcpy(head.magic, magic, sizeof magic);
    memcpy(head.boot, bus->boot, sizeof head.boot);
    int fd = lw__temp_make(&bus->dir, "", file_size(LW__TABLE_STEP), temp);
    if (fd < 0) return fd;
    int rc = 0;
    ssize_t n = pwrite(fd, &head, sizeof head, 0);
    if (n != (ssize_t)sizeof head) {
        rc = n < 0 ? -errno : -EIO;
        lw__fail(rc, "%s/%s: can not write: %s", bus->dir.path, temp, strerror(-rc));
        lw__temp_drop(&bus->dir, temp);
    } else {
        rc = lw__temp_link(&bus->dir, fd, temp, "bus", false);
        if (rc == -EEXIST || rc == -ENOENT)
            rc = 0; /* somebody was faster, or a cleaner came between: open it, or try again */
        if (rc) lw__file_explain(&bus->dir, "bus", rc);
    }
    close(fd);
    return rc;
}

static int open_file(struct lw_bus *bus) {
    int fd, rc;
    while ((fd = lw__file_open(&bus->dir, "bus", bus->observe ? O_RDONLY : O_RDWR)) == -ENOENT) {
        if (bus->observe) return lw__fail(LW_ENOBUS, "%s: no bus in this directory", bus->dir.path);
        if ((rc = make_file(bus))) return rc;
    }
    if (fd < 0) return lw__file_explain(&bus->dir, "bus", fd);
    bus->table_fd = fd;
    return 0;
}

static int check_users(const struct lw_bus *bus, const struct stat *st) {
    bool others = st->st_mode & 0002 || (st->st_mode & 0020 && bus->dir.file_mode != 0660);
    if (bus->observe || !others) return 0;
    return lw__fail(-EACCES, "%s/bus: owner uid %u, gid %u, mode %04o lets others write to it; chmod %04o it",
                    bus->dir.path, st->st_uid, st->st_gid, st->st_mode & 07777, bus->dir.file_mode);
}

static int check_head(const struct lw_bus *bus, const struct stat *st, const struct lw__table_head *head) {
    const char *dir = bus->dir.path;
    if (memcmp(head->magic, magic, sizeof magic) != 0)
        return lw__fail(LW_ECORRUPT, "%s/bus: is no bus file (magic)", dir);
    if (head->version != VERSION || head->fingerprint != fingerprint())
        return lw__fail(
            LW_EVERSION,
            "%s/bus: made by format %u, layout %08x; this is format %u, layout %08x: use one version on a bus", dir,
            head->version, head->fingerprint, VERSION, fingerprint());
    if (head->rows == 0 || head->rows > LW__TABLE_ROWS)
        return lw__fail(LW_ECORRUPT, "%s/bus: at 32: %u rows are impossible", dir, head->rows);
    if ((size_t)st->st_size < file_size(head->rows))
        return lw__fail(LW_ECORRUPT, "%s/bus: %lld bytes, but %u rows need %zu: was cut off", dir,
                        (long long)st->st_size, head->rows, file_size(head->rows));
    return 0;
}

static int check_file(struct lw_bus *bus) {
    struct lw__table_head head;
    struct stat st;
    if (fstat(bus->table_fd, &st)) return lw__fail(-errno, "%s/bus: stat: %s", bus->dir.path, strerror(errno));
    int rc = check_users(bus, &st);
    if (rc) return rc;
    ssize_t n = S_ISREG(st.st_mode) && st.st_size >= LW__TABLE_HEAD ? pread(bus->table_fd, &head, sizeof head, 0) : 0;
    if (n < 0) return lw__fail(-errno, "%s/bus: read: %s", bus->dir.path, strerror(errno));
    if (n != (ssize_t)sizeof head)
        return lw__fail(LW_ECORRUPT, "%s/bus: is no bus file (%lld bytes)", bus->dir.path, (long long)st.st_size);
    rc = check_head(bus, &st, &head);
    if (!rc) bus->rows = head.rows;
    return rc;
}

/* A kill in the middle moves some epochs twice: they only have to grow. The boot id comes last. Pairs with
 * check_boot() and lw__table_epoch() of others. */
static void move_epochs(struct lw_bus *bus, const uint64_t boot[2]) {
    uint32_t rows = lw__table_rows(bus);
    for (uint32_t id = 1; id < rows; id++)
        if (lw__table_epoch(bus, id))
            __atomic_fetch_add(&lw__table_row(bus, id)->epoch, LW__TABLE_BOOT, __ATOMIC_SEQ_CST);
    lw__store_release(&head_of(bus)->boot[0], boot[0]);
    lw__store_release(&head_of(bus)->boot[1], boot[1]);
}

/* Pairs with move_epochs(); the lock alone would do. */
static int check_boot(struct lw_bus *bus) {
    uint64_t boot[2];
    memcpy(boot, bus->boot, sizeof boot);
    if (bus->observe) return 0; /* life locks tell an observer all */
    int rc = lock(bus);
    if (rc) return rc;
    if (lw__load_acquire(&head_of(bus)->boot[1]) != boot[1] || lw__load_acquire(&head_of(bus)->boot[0]) != boot[0])
        move_epochs(bus, boot);
    lw__byte_unlock(bus->table_fd, LOCK_BYTE);
    return 0;
}

int lw__table_open(struct lw_bus *bus) {
    int rc = open_file(bus);
    if (!rc) rc = check_file(bus);
    if (rc) return rc;
    bus->table = lw__map_shared(bus->table_fd, file_size(LW__TABLE_ROWS), !bus->observe);
    if (!bus->table) return lw__fail(-errno, "%s/bus: can not be mapped: %s", bus->dir.path, strerror(errno));
    return check_boot(bus);
}

void lw__table_close(struct lw_bus *bus) {
    lw__unmap(bus->table, file_size(LW__TABLE_ROWS));
    bus->table = NULL;
}
