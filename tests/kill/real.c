/* SPDX-License-Identifier: MIT */
/*
 * kill/real.c - operations that leave more than bytes: locks, sockets, files that come and go. For each state the operation
 * is begun anew, goes there at full speed, and is killed by SIGKILL.
 *
 * Where the states are is found by stepping through it once: all files below the bus, and what the child says outside of
 * it, are compared after each instruction, and each system call makes a new one. The way there is found again by address
 * and count; an operation that waits for others need not go the same way twice, and is killed where it is then.
 */
#include "kill/real.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POINTS = 1 << 16, FILES = 64, FILE_MOST = 1 << 20, RECOVERIES_ALIKE = 64 };

struct kill_board *kb;
char kill_dir[T_PATH], kill_far_dir[T_PATH + 8];

static char root[T_PATH];

/* ---- what others see --------------------------------------------------------------------------------------------- */

static struct file {
    char *now, *last;
    size_t size;
} files[FILES];
static int files_count;
static struct kill_board last_board;

static void forget_files(void) {
    for (int i = 0; i < files_count; i++) {
        munmap(files[i].now, files[i].size);
        free(files[i].last);
    }
    files_count = 0;
}

static int map_file(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)where;
    if (kind != FTW_F || !S_ISREG(st->st_mode) || !st->st_size || files_count == FILES) return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct file f = {.size = (size_t)st->st_size < FILE_MOST ? (size_t)st->st_size : FILE_MOST};
    if (fd < 0) return 0;
    f.now = mmap(NULL, f.size, PROT_READ, MAP_SHARED, fd, 0);
    f.last = malloc(f.size);
    close(fd);
    T_NEED(f.now != MAP_FAILED && f.last);
    memcpy(f.last, f.now, f.size);
    files[files_count++] = f;
    return 0;
}

static void look_anew(void) {
    forget_files();
    nftw(root, map_file, 16, FTW_PHYS);
    memcpy(&last_board, kb, offsetof(struct kill_board, history));
}

static struct t_child peer;

/* The other side runs while the child is in the kernel, and at no other time, so that what changes meanwhile is either's at a
 * system call, and the child's else. */
static bool peer_is_stopped;

static void let_the_peer_run(bool run) {
    if (peer.pid && run == peer_is_stopped) (run ? t_go_on : t_stop)(&peer);
    peer_is_stopped = peer.pid && !run;
}

static bool has_changed(bool call) {
    let_the_peer_run(false);
    bool changed = call || memcmp(&last_board, kb, offsetof(struct kill_board, history)) != 0;
    for (int i = 0; i < files_count && !changed; i++) changed = memcmp(files[i].now, files[i].last, files[i].size) != 0;
    if (changed) look_anew();
    return changed;
}

/* ---- the others -------------------------------------------------------------------------------------------------- */

static const char *run(int (*body)(void *), const char *who) {
    struct t_child child = t_fork(body, NULL);
    int rc = t_wait(&child);
    return rc ? t_words("who was to %s ends with %d", who, rc) : NULL;
}

static int as_body(void *arg) {
    (void)arg;
    kill_now->recover(NULL);
    return 0;
}

static const char *begin(void) {
    t_dir_make(root);
    snprintf(kill_dir, sizeof kill_dir, "%.200s/bus", root);
    snprintf(kill_far_dir, sizeof kill_far_dir, "%.200s/far", root);
    memset(kb, 0, sizeof *kb);
    kb->history[1].salt = 1;
    const char *trouble = kill_now->set_up_body ? run(kill_now->set_up_body, "set up") : NULL;
    peer = (struct t_child){.pid = 0};
    if (!trouble && kill_now->peer) peer = t_fork(kill_now->peer, NULL);
    return trouble;
}

static const char *end(void) {
    const char *trouble = NULL;
    kb_set(&kb->leave, 1);
    if (peer.pid) {
        int rc = t_wait(&peer);
        if (rc) trouble = t_words("the peer ends with %d", rc);
    }
    t_dir_remove(root);
    return trouble;
}

/* What is known of messages, from outside. */
static const char *judge_histories(void) {
    for (int i = 0; i < 2; i++) {
        struct history *h = &kb->history[i];
        if (!h->tried && !h->written) continue;
        bool fine = history_verdict(h, i ? "second way" : "first way");
        kill_tally.lost += h->lost;
        kill_tally.repeated += h->repeated;
        kill_tally.reordered += h->reordered;
        if (!fine) return "what was sent did not come once and in order";
    }
    return NULL;
}

static const char *recover_and_judge(void) {
    const char *trouble = kill_now->recover ? run(as_body, "recover") : NULL;
    if (!trouble) trouble = run(kill_now->verify, "verify");
    return trouble;
}

/* ---- kills ------------------------------------------------------------------------------------------------------- */

static void go_to(struct t_step *step, const struct t_point *point) {
    if (!t_step_to(step, point)) kill_tally.missed++;
}

static const char *leave_it_at(const struct t_point *point) {
    const char *trouble = begin();
    if (trouble) return trouble;
    struct t_step step = t_step_begin(kill_now->prepare, kill_now->operate, NULL);
    go_to(&step, point);
    t_step_end(&step);
    return NULL;
}

static const char *finish(const char *trouble) {
    if (!trouble) trouble = recover_and_judge();
    const char *after = end();
    if (!trouble) trouble = after;
    return trouble ? trouble : judge_histories();
}

static struct t_point inner[POINTS];
static uint64_t inner_count, inner_left;

/* Where a recovery from this state has states. */
static const char *find_inner(const struct t_point *outer) {
    uint64_t steps;
    const char *trouble = leave_it_at(outer);
    if (trouble) return trouble;
    look_anew();
    inner_count = t_step_changes(NULL, kill_now->recover, NULL, let_the_peer_run, has_changed, inner, POINTS, &steps);
    forget_files();
    let_the_peer_run(true);
    if (kill_how.verbose)
        fprintf(stderr, "a recovery has %" PRIu64 " instructions, %" PRIu64 " states\n", steps, inner_count);
    return finish(NULL);
}

/* The recovery from this state is killed, and there is another one. */
static const char *one_inner(const struct t_point *outer, const struct t_point *point) {
    const char *trouble = leave_it_at(outer);
    if (trouble) return finish(trouble);
    struct t_step step = t_step_begin(NULL, kill_now->recover, NULL);
    kill_inner_at = point->n;
    go_to(&step, point);
    t_step_end(&step);
    kill_tally.inner_boundaries++;
    kill_tally.inner_states++;
    trouble = finish(NULL);
    if (!trouble) kill_inner_at = 0;
    return trouble;
}

/* Recoveries are much alike: where they have states is looked up once in a while, from a state of then. */
static const char *some_inner(const struct t_point *outer) {
    const char *trouble = NULL;
    if (kill_how.inner && !inner_left--) {
        trouble = find_inner(outer);
        inner_left = RECOVERIES_ALIKE;
    }
    for (uint64_t i = 0; i < kill_how.inner && !trouble; i++)
        trouble = one_inner(outer, &inner[t_random() % inner_count]);
    return trouble;
}

static const char *one_kill(const struct t_point *point) {
    kill_at = point->n;
    kill_tally.states++;
    int64_t begun = t_now();
    const char *trouble = finish(leave_it_at(point));
    if (kill_how.verbose) fprintf(stderr, "%" PRIu64 ": %.3f s\n", kill_at, (double)(t_now() - begun) / 1e9);
    if (!trouble && kill_tally.states % kill_how.apart == 0 && kill_now->recover) trouble = some_inner(point);
    return trouble;
}

/* ---- stops ------------------------------------------------------------------------------------------------------- */

static int as_meanwhile(void *arg) {
    (void)arg;
    const char *trouble = kill_now->meanwhile();
    if (trouble) fprintf(stderr, "while it is stopped: %s\n", trouble);
    return trouble ? 1 : 0;
}

/* Others do what they want while it stands there; then it goes on, and is killed only when it is through. */
static const char *one_stop(const struct t_point *point) {
    kill_at = point->n;
    const char *trouble = begin();
    if (trouble) return trouble;
    struct t_step step = t_step_begin(kill_now->prepare, kill_now->operate, NULL);
    bool more = t_step_to(&step, point);
    kill_tally.missed += !more;
    kill_tally.stops++;
    trouble = run(as_meanwhile, "go on meanwhile");
    if (more && !trouble) t_step_finish(&step);
    if (!trouble && kb->result < 0) trouble = t_words("it went on, and is told %s", lw_errname((int)kb->result));
    t_step_end(&step);
    return finish(trouble);
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static uint64_t find_states(struct t_point *points, const char **trouble) {
    uint64_t steps, count = 0;
    *trouble = begin();
    if (*trouble) return 0;
    look_anew();
    count = t_step_changes(kill_now->prepare, kill_now->operate, NULL, let_the_peer_run, has_changed, points, POINTS,
                           &steps);
    forget_files();
    let_the_peer_run(true);
    kill_tally.boundaries += steps;
    if (kb->result < 0) *trouble = t_words("it gives %s", lw_errname((int)kb->result));
    *trouble = finish(*trouble);
    return count;
}

static bool is_wanted(const struct t_point *point, uint64_t i, uint64_t offset) {
    return i % kill_how.stride == offset && point->n >= kill_how.from && point->n < kill_how.to;
}

int kill_real(const struct kill_op *op) {
    struct t_point *points = malloc(POINTS * sizeof *points);
    const char *trouble = NULL;
    kill_now = op;
    if (!kb) kb = mmap(NULL, sizeof *kb, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    T_NEED(points && kb != MAP_FAILED);
    kill_at = inner_left = 0;
    uint64_t count = find_states(points, &trouble), apart = kill_how.stride < count ? kill_how.stride : count;
    uint64_t offset = apart > 1 && kill_how.to == UINT64_MAX ? t_random() % apart : 0; /* a sample differs each time */
    for (uint64_t i = 0; i < count && !trouble; i++)
        if (is_wanted(&points[i], i, offset)) trouble = one_kill(&points[i]);
    uint64_t stops = op->meanwhile ? kill_how.stops : 0;
    for (uint64_t i = 0; i < stops && !trouble; i++)
        trouble = one_stop(&points[stops >= count ? i % count : t_random() % count]);
    free(points);
    return trouble ? kill_violation(trouble) : 0;
}
