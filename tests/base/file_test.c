/* SPDX-License-Identifier: MIT */
/* Directories and who may use them, opening beneath, whole creation, byte locks. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "util/util.h"

/* Every case gets a path; this makes it a directory and opens it. */
static struct lw__dir made(void **state) {
    struct lw__dir dir;
    assert_int_equal(mkdir(*state, 0700), 0);
    assert_ok(lw__dir_open(&dir, *state));
    return dir;
}

static unsigned mode_of(const char *in, const char *name) {
    char path[T_PATH + 64];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", in, name);
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static bool nothing_unfinished(const struct lw__dir *dir) {
    char command[T_PATH * 2];
    snprintf(command, sizeof command, "[ -z \"$(find %s -name '.new-*')\" ]", dir->path);
    return system(command) == 0;
}

/* ---- directories ------------------------------------------------------------------------------------------------- */

static void a_directory_tells_the_modes_of_what_is_made_in_it(void **state) {
    struct lw__dir dir = made(state);
    assert_int_equal(dir.file_mode, 0600);
    assert_int_equal(dir.dir_mode, 0700);
    assert_true(dir.is_volatile);
    assert_string_equal(dir.path, *state);
    lw__dir_close(&dir);
    lw__dir_close(&dir);
    assert_int_equal(chmod(*state, 02770), 0);
    assert_ok(lw__dir_open(&dir, *state));
    assert_int_equal(dir.file_mode, 0660);
    assert_int_equal(dir.dir_mode, 02770);
    lw__dir_close(&dir);
}

static void a_missing_or_other_thing_is_no_directory(void **state) {
    char longer[400];
    struct lw__dir dir;
    assert_fails(lw__dir_open(&dir, *state), -ENOENT, *state);
    int fd = open(*state, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    close(fd);
    assert_fails(lw__dir_open(&dir, *state), -ENOTDIR, *state);
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_fails(lw__dir_open(&dir, longer), -ENAMETOOLONG, "longer than");
    assert_int_equal(dir.fd, -1);
}

static void a_directory_that_others_write_to_is_refused_with_its_mode(void **state) {
    const mode_t bad[] = {0702, 0777, 01777, 0770, 02772};
    struct lw__dir dir;
    mkdir(*state, 0700);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char mode[8];
        assert_int_equal(chmod(*state, bad[i]), 0);
        snprintf(mode, sizeof mode, "%04o", bad[i]);
        assert_fails(lw__dir_open(&dir, *state), -EACCES, mode);
        assert_ok(lw__dir_look(&dir, *state));
        lw__dir_close(&dir);
    }
}

static int open_as_stranger(void *path) {
    struct lw__dir dir;
    t_become(11111, 11111);
    T_NEED(lw__dir_open(&dir, path) == -EACCES);
    T_NEED(strstr(lw_errtext(), "owner uid 0") && strstr(lw_errtext(), "0755") &&
           strstr(lw_errtext(), "you are uid 11111"));
    T_NEED(lw__dir_look(&dir, path) == 0);
    return 0;
}

static void another_users_directory_is_refused_with_owner_and_uid(void **state) {
    t_need_root();
    mkdir(*state, 0700);
    chmod(*state, 0755);
    struct t_child child = t_fork(open_as_stranger, *state);
    assert_int_equal(t_wait(&child), 0);
}

/* None of them can be mounted here: the numbers are those of linux/magic.h and of the file systems' sources. */
static void filesystems_that_are_not_local_or_copy_on_write_are_refused(void **state) {
    (void)state;
    assert_string_equal(lw__filesystem_refused(NFS_SUPER_MAGIC), "NFS");
    assert_string_equal(lw__filesystem_refused(FUSE_SUPER_MAGIC), "FUSE");
    assert_string_equal(lw__filesystem_refused(SMB2_SUPER_MAGIC), "SMB");
    assert_string_equal(lw__filesystem_refused(CIFS_SUPER_MAGIC), "SMB");
    assert_string_equal(lw__filesystem_refused((int32_t)CIFS_SUPER_MAGIC),
                        "SMB"); /* where the number has 32 bits and a sign */
    assert_non_null(lw__filesystem_refused(V9FS_MAGIC));
    assert_non_null(lw__filesystem_refused(CEPH_SUPER_MAGIC));
    assert_non_null(lw__filesystem_refused(BTRFS_SUPER_MAGIC));
    assert_non_null(lw__filesystem_refused((int32_t)BTRFS_SUPER_MAGIC));
    assert_non_null(lw__filesystem_refused(0x2fc12fc1));
    assert_null(lw__filesystem_refused(TMPFS_MAGIC));
    assert_null(lw__filesystem_refused(EXT4_SUPER_MAGIC));
    assert_null(lw__filesystem_refused(XFS_SUPER_MAGIC));
    assert_null(lw__filesystem_refused(OVERLAYFS_SUPER_MAGIC));
}

static void directories_are_made_once_with_their_mode(void **state) {
    struct lw__dir dir = made(state);
    mode_t was = umask(0277);
    assert_int_equal(lw__dir_make(&dir, "a"), 0);
    umask(was);
    assert_int_equal(mode_of(*state, "a"), 0700);
    assert_int_equal(lw__dir_make(&dir, "a"), 0);
    assert_int_equal(lw__dir_make(&dir, "a/b"), 0);
    assert_int_equal(lw__dir_make(&dir, "a/b/c"), 0);
    assert_int_equal(mode_of(*state, "a/b/c"), 0700);
    assert_int_equal(lw__dir_make(&dir, "x/y"), -ENOENT);
    close(openat(dir.fd, "file", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    assert_int_equal(lw__dir_make(&dir, "file"), -ENOTDIR);
    assert_int_equal(lw__dir_make(&dir, "file/x"), -ENOTDIR);
    lw__dir_close(&dir);
}

static void a_groups_directory_has_the_group_mode_in_spite_of_umask(void **state) {
    struct lw__dir dir;
    mkdir(*state, 0700);
    chmod(*state, 02770);
    assert_ok(lw__dir_open(&dir, *state));
    mode_t was = umask(0077);
    assert_int_equal(lw__dir_make(&dir, "a"), 0);
    umask(was);
    assert_int_equal(mode_of(*state, "a"), 02770);
    lw__dir_close(&dir);
}

/* Makes, in a row, directories that the others make too; each must be usable at once. */
static int make_many(void *arg) {
    struct lw__dir *dir = arg;
    char path[64];
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "d%d", i);
        T_NEED(lw__dir_make(dir, path) == 0);
        snprintf(path, sizeof path, "d%d/%d", i, (int)getpid());
        T_NEED(lw__dir_make(dir, path) == 0);
    }
    return 0;
}

static void makers_of_one_directory_all_succeed(void **state) {
    struct lw__dir dir = made(state);
    struct t_child child[8];
    for (int i = 0; i < 8; i++) child[i] = t_fork(make_many, &dir);
    for (int i = 0; i < 8; i++) assert_int_equal(t_wait(&child[i]), 0);
    assert_true(nothing_unfinished(&dir));
    lw__dir_close(&dir);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void no_path_leads_out_of_the_directory(void **state) {
    struct lw__dir dir = made(state);
    close(openat(dir.fd, "real", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    mkdirat(dir.fd, "sub", 0700);
    assert_int_equal(symlinkat("real", dir.fd, "link"), 0);
    assert_int_equal(symlinkat("..", dir.fd, "up"), 0);
    int fd = lw__file_open(&dir, "real", O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(fd);
    assert_int_equal(lw__file_open(&dir, "link", O_RDONLY), -ELOOP);
    assert_int_equal(lw__file_open(&dir, "up/bus/real", O_RDONLY), -ELOOP);
    assert_int_equal(lw__file_open(&dir, "../bus/real", O_RDONLY), -EXDEV);
    assert_int_equal(lw__file_open(&dir, "sub/../../bus", O_RDONLY), -EXDEV);
    assert_int_equal(lw__file_open(&dir, "/etc/passwd", O_RDONLY), -EXDEV);
    assert_int_equal(lw__file_open(&dir, "none", O_RDONLY), -ENOENT);
    lw__dir_close(&dir);
}

static void an_open_that_fails_is_explained(void **state) {
    struct lw__dir dir = made(state);
    close(openat(dir.fd, "f", O_CREAT | O_RDWR | O_CLOEXEC, 0640));
    char want[80];
    snprintf(want, sizeof want, "owner uid %u, gid %u, mode 0640; you are uid %u", getuid(), getgid(), getuid());
    assert_fails(lw__file_explain(&dir, "f", -EACCES), -EACCES, want);
    assert_fails(lw__file_explain(&dir, "f", -ENOSPC), -ENOSPC, "bus/f: No space");
    assert_fails(lw__file_explain(&dir, "f", -ELOOP), -ELOOP, "symbolic links are not followed");
    assert_fails(lw__file_explain(&dir, "f", -ENOSYS), -ENOSYS, "openat2");
    lw__dir_close(&dir);
}

static void space_is_really_taken(void **state) {
    struct lw__dir dir = made(state);
    struct stat st;
    int fd = openat(dir.fd, "f", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_int_equal(lw__file_grow(fd, 0, 100000), 0);
    fstat(fd, &st);
    assert_int_equal(st.st_size, 100000);
    assert_true(st.st_blocks * 512 >= 100000);
    assert_int_equal(lw__file_grow(fd, 100000, 100000), 0);
    assert_int_equal(lw__file_grow(fd, 100000, 200000), 0);
    fstat(fd, &st);
    assert_int_equal(st.st_size, 200000);
    close(fd);
    assert_int_equal(lw__file_grow(fd, 0, 1), -EBADF);
    lw__dir_close(&dir);
}

/* A petabyte is refused before a byte of it is taken: filling a tmpfs to find out may take the machine's memory. */
static void what_can_not_fit_is_refused_at_once(void **state) {
    struct lw__dir dir = made(state);
    char temp[LW__TEMP_MAX];
    assert_fails(lw__temp_make(&dir, "", UINT64_C(1) << 50, temp), -ENOSPC, "no space for a file");
    assert_int_equal(faccessat(dir.fd, temp, F_OK, 0), -1);
    lw__dir_close(&dir);
}

static void a_replaced_or_removed_file_is_not_the_same(void **state) {
    struct lw__dir dir = made(state);
    int fd = openat(dir.fd, "f", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_int_equal(lw__file_same(&dir, "f", fd), 1);
    assert_int_equal(renameat(dir.fd, "f", dir.fd, "g"), 0);
    assert_int_equal(lw__file_same(&dir, "f", fd), 0);
    assert_int_equal(lw__file_same(&dir, "g", fd), 1);
    close(openat(dir.fd, "f", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    assert_int_equal(lw__file_same(&dir, "f", fd), 0);
    assert_int_equal(lw__file_same(&dir, "f/x", fd), 0);
    close(fd);
    assert_int_equal(lw__file_same(&dir, "f", fd), -EBADF);
    lw__dir_close(&dir);
}

/* ---- whole creation ---------------------------------------------------------------------------------------------- */

static void a_file_comes_whole_and_once(void **state) {
    struct lw__dir dir = made(state);
    char one[LW__TEMP_MAX], two[LW__TEMP_MAX];
    int a = lw__temp_make(&dir, "", 5000, one), b = lw__temp_make(&dir, "", 6000, two);
    struct stat st;
    assert_true(a >= 0 && b >= 0);
    assert_string_not_equal(one, two);
    assert_true(lw__temp_is(one));
    assert_int_equal(lw__file_open(&dir, "f", O_RDONLY), -ENOENT);
    assert_int_equal(lw__temp_link(&dir, a, one, "f", false), 0);
    assert_int_equal(lw__temp_link(&dir, b, two, "f", false), -EEXIST);
    assert_int_equal(lw__file_same(&dir, "f", a), 1);
    assert_true(nothing_unfinished(&dir));
    fstat(a, &st);
    assert_int_equal(st.st_size, 5000);
    assert_int_equal(st.st_mode & 07777, 0600);
    close(b);
    b = lw__temp_make(&dir, "", 0, two);
    assert_int_equal(lw__temp_link(&dir, b, two, "f", true), 0);
    assert_int_equal(lw__file_same(&dir, "f", b), 1);
    assert_int_equal(lw__file_same(&dir, "f", a), 0);
    close(a);
    close(b);
    lw__dir_close(&dir);
}

static void the_finished_file_is_not_locked(void **state) {
    struct lw__dir dir = made(state);
    char temp[LW__TEMP_MAX];
    int fd = lw__temp_make(&dir, "", 0, temp), look = lw__file_open(&dir, temp, O_RDONLY);
    assert_int_equal(lw__byte_locked(look, 0), 1);
    assert_int_equal(lw__temp_link(&dir, fd, temp, "f", false), 0);
    assert_int_equal(lw__byte_locked(look, 0), 0);
    close(look);
    close(fd);
    lw__dir_close(&dir);
}

static void a_cleaner_that_comes_between_is_told(void **state) {
    struct lw__dir dir = made(state);
    char temp[LW__TEMP_MAX];
    int fd = lw__temp_make(&dir, "", 0, temp);
    lw__temp_drop(&dir, temp);
    assert_int_equal(lw__temp_link(&dir, fd, temp, "f", false), -ENOENT);
    close(fd);
    assert_fails(lw__temp_make(&dir, "none", 0, temp), -ENOENT, "none");
    lw__dir_close(&dir);
}

static void a_temporary_name_is_known(void **state) {
    (void)state;
    assert_true(lw__temp_is(".new-0123456789ab"));
    assert_false(lw__temp_is(".lane"));
    assert_false(lw__temp_is("new-x"));
    assert_false(lw__temp_is(""));
}

/* ---- byte locks -------------------------------------------------------------------------------------------------- */

static void a_lock_belongs_to_the_open_file(void **state) {
    struct lw__dir dir = made(state);
    int a = openat(dir.fd, "f", O_CREAT | O_RDWR | O_CLOEXEC, 0600), b = lw__file_open(&dir, "f", O_RDWR),
        look = lw__file_open(&dir, "f", O_RDONLY);
    assert_int_equal(lw__byte_locked(look, 0), 0);
    assert_int_equal(lw__byte_lock(a, 0, 0), 0);
    assert_int_equal(lw__byte_lock(a, 0, 0), 0);
    assert_int_equal(lw__byte_lock(b, 0, 0), -EAGAIN);
    assert_int_equal(lw__byte_lock(b, 1, 0), 0);
    assert_int_equal(lw__byte_locked(look, 0), 1);
    assert_int_equal(lw__byte_locked(a, 0), 0);
    close(lw__file_open(&dir, "f", O_RDWR)); /* would drop a record lock */
    assert_int_equal(lw__byte_locked(look, 0), 1);
    lw__byte_unlock(a, 0);
    assert_int_equal(lw__byte_locked(look, 0), 0);
    assert_int_equal(lw__byte_locked(look, 1), 1);
    close(b);
    assert_int_equal(lw__byte_locked(look, 1), 0);
    assert_int_equal(lw__byte_lock(look, 0, 0), -EBADF); /* read-only */
    close(look);
    close(a);
    assert_int_equal(lw__byte_locked(a, 0), -EBADF);
    lw__dir_close(&dir);
}

static void waiting_for_a_lock_ends(void **state) {
    struct lw__dir dir = made(state);
    int a = openat(dir.fd, "f", O_CREAT | O_RDWR | O_CLOEXEC, 0600), b = lw__file_open(&dir, "f", O_RDWR);
    assert_int_equal(lw__byte_lock(a, 0, 0), 0);
    int64_t begin = lw__now();
    assert_int_equal(lw__byte_lock(b, 0, LW_MS(5)), -EAGAIN);
    assert_true(lw__now() - begin >= LW_MS(5));
    close(a);
    assert_int_equal(lw__byte_lock(b, 0, LW_MS(5)), 0);
    close(b);
    lw__dir_close(&dir);
}

static void the_boot_id_stays(void **state) {
    unsigned char one[16], two[16], zero[16] = {0};
    (void)state;
    assert_ok(lw__boot_id(one));
    assert_ok(lw__boot_id(two));
    assert_memory_equal(one, two, 16);
    assert_memory_not_equal(one, zero, 16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        t_test(a_directory_tells_the_modes_of_what_is_made_in_it),
        t_test(a_missing_or_other_thing_is_no_directory),
        t_test(a_directory_that_others_write_to_is_refused_with_its_mode),
        t_test(another_users_directory_is_refused_with_owner_and_uid),
        cmocka_unit_test(filesystems_that_are_not_local_or_copy_on_write_are_refused),
        t_test(directories_are_made_once_with_their_mode),
        t_test(a_groups_directory_has_the_group_mode_in_spite_of_umask),
        t_test(makers_of_one_directory_all_succeed),
        t_test(no_path_leads_out_of_the_directory),
        t_test(an_open_that_fails_is_explained),
        t_test(space_is_really_taken),
        t_test(what_can_not_fit_is_refused_at_once),
        t_test(a_replaced_or_removed_file_is_not_the_same),
        t_test(a_file_comes_whole_and_once),
        t_test(the_finished_file_is_not_locked),
        t_test(a_cleaner_that_comes_between_is_told),
        t_test(a_temporary_name_is_known),
        t_test(a_lock_belongs_to_the_open_file),
        t_test(waiting_for_a_lock_ends),
        t_test(the_boot_id_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
