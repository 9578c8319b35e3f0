/* SPDX-License-Identifier: MIT */
/*
 * damage/main.c - files are damaged at random while nobody has them open, and used: each time all goes well, or is refused with
 * a code and a text; nothing crashes, hangs, or hands out what nobody sent.
 *
 * What a payload says is not judged where the damage may be in it: there is no checksum on it in a file.
 *
 * A child goes through many trials. When it dies, the trial is told and the next child goes on behind it.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "damage/damage.h"

static const char usage[] = "Usage: damage [OPTION...]\n"
                            "Damages files while nobody has them open, and uses them.\n"
                            "  --trials N    of each victim (200000)\n"
                            "  --only NAME   this victim, or those that a pattern matches\n"
                            "  --kind NAME   this kind of damage\n"
                            "  --each        each length that the head may be cut off at, and each bit of it, instead\n"
                            "  --seed N      repeats a run; --from N, --to N: these trials of it\n"
                            "  --list        victims and kinds\n";

enum { PAGE = 4096, PATIENCE = 100, MANY = 20, RARER = 20 }; /* what waits for a disk is tried so much more seldom */

static struct {
    uint64_t trials, seed, from, to;
    const char *only, *kind;
    bool each;
} how = {.trials = 200000, .to = UINT64_MAX, .only = "*", .kind = "*"};

/* Written by the child, read by the parent when it is gone. */
static struct progress {
    uint64_t trial, trials, refused;
    char wrong[600];
} * progress;

/* ---- random, but the same for each trial of a seed --------------------------------------------------------------- */

static uint64_t mix(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint64_t state;

static uint64_t pick(uint64_t below) {
    state = mix(state);
    return state % below;
}

/* ---- kinds of damage --------------------------------------------------------------------------------------------- */

struct file {
    unsigned char *bytes;
    size_t size;
    bool payload; /* untouched */
};

static void flip(struct file *f, size_t begin, size_t end) {
    for (uint64_t n = 1 + pick(3); n; n--) f->bytes[begin + pick(end - begin)] ^= (unsigned char)(1u << pick(8));
}

static void flip_head(struct file *f, const struct image *image) {
    flip(f, 0, image->head);
}

/* Where most is that changes: a lane's words and marks, the first slots. */
static void flip_words(struct file *f, const struct image *image) {
    size_t end = image->head < 8192 ? image->head : 8192;
    flip(f, pick(2) ? PAGE : 512, end);
}

static void flip_any(struct file *f, const struct image *image) {
    (void)image;
    flip(f, 0, f->size);
    f->payload = false;
}

static unsigned char *page(const struct file *f) {
    return f->bytes + pick(f->size / PAGE) * PAGE;
}

static void swap_pages(struct file *f, const struct image *image) {
    unsigned char *one = page(f), *other = page(f), bytes[PAGE];
    (void)image;
    memcpy(bytes, one, PAGE);
    memcpy(one, other, PAGE);
    memcpy(other, bytes, PAGE);
    f->payload = false;
}

static void put_zeros(struct file *f, const struct image *image) {
    (void)image;
    memset(page(f), 0, PAGE);
    f->payload = false;
}

static void put_noise(struct file *f, const struct image *image) {
    unsigned char *at = page(f);
    (void)image;
    for (int i = 0; i < PAGE; i++) at[i] = (unsigned char)pick(256);
    f->payload = false;
}

/* Pages of any age. */
static void mix_pages(struct file *f, const struct image *image) {
    for (size_t at = 0; at < f->size; at += PAGE) memcpy(f->bytes + at, image->bytes[pick(image->count)] + at, PAGE);
    f->payload = false;
}

static void put_old_page(struct file *f, const struct image *image) {
    size_t at = pick(f->size / PAGE) * PAGE;
    memcpy(f->bytes + at, image->bytes[pick(image->count)] + at, PAGE);
    f->payload = false;
}

static void cut_off(struct file *f, const struct image *image) {
    f->size = pick(pick(2) ? image->head : f->size);
}

static void make_longer(struct file *f, const struct image *image) {
    (void)image;
    f->size += 1 + pick(PAGE);
}

static uint64_t which; /* of the trials with each length and each bit */

static void cut_each(struct file *f, const struct image *image) {
    (void)image;
    f->size = which;
}

static void flip_each(struct file *f, const struct image *image) {
    uint64_t bit = which - image->head;
    f->bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
}

static const struct kind {
    const char *name;
    void (*damage)(struct file *f, const struct image *image);
} kinds[] = {{"flip-head", flip_head}, {"flip-words", flip_words}, {"flip-any", flip_any},   {"swap-pages", swap_pages},
             {"zeros", put_zeros},     {"noise", put_noise},       {"mix-pages", mix_pages}, {"old-page", put_old_page},
             {"cut-off", cut_off},     {"longer", make_longer}};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- a trial ----------------------------------------------------------------------------------------------------- */

static void put_file(const char *path, const struct file *f) {
    char folder[TT_PATH];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    if (mkdir(folder, 0700)) T_NEED(errno == EEXIST);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    T_NEED(fd >= 0 && !ftruncate(fd, (off_t)f->size) && pwrite(fd, f->bytes, f->size, 0) == (ssize_t)f->size);
    close(fd);
}

/* Another kernel has used it last, and nobody could close it. */
static void reboot(struct file *f, const char *dir) {
    uint64_t boot[2] = {pick(UINT64_MAX), pick(UINT64_MAX)}, dirty = 1;
    if (f->size < PAGE) return;
    memcpy(f->bytes + TT_LANE_BOOT, boot, sizeof boot);
    memcpy(f->bytes + TT_LANE_DIRTY, &dirty, sizeof dirty);
    tt_poke(tt_text("%s/bus", dir), 16, boot, sizeof boot);
}

static const struct kind *kind_of(uint64_t trial, const struct image *image) {
    static const struct kind cut = {"each-length", cut_each}, flipped = {"each-bit", flip_each};
    which = trial;
    if (how.each) return trial < image->head ? &cut : &flipped;
    return &kinds[trial % KINDS];
}

static uint64_t trials_of(const struct victim *v, const struct image *image) {
    if (how.each) return v->reboots ? 0 : 9 * image->head;
    return v->reboots ? how.trials / RARER : how.trials;
}

static const char *try_one(const struct victim *v, const struct image *image, const char *dir, uint64_t trial,
                           unsigned char *bytes) {
    struct file f = {.bytes = bytes, .size = image->size, .payload = true};
    state = mix(how.seed ^ mix(trial));
    memset(bytes, 0, image->size + PAGE + 1);
    memcpy(bytes, image->bytes[image->count - 1], image->size);
    kind_of(trial, image)->damage(&f, image);
    if (v->reboots) reboot(&f, dir);
    put_file(image->path, &f);
    alarm(PATIENCE);
    return v->use(dir, f.payload && !v->reboots, pick(UINT64_MAX));
}

static void try_from(const struct victim *v, const struct image *image, const char *dir, uint64_t trial) {
    unsigned char *bytes = malloc(image->size + PAGE + 1);
    T_NEED(bytes);
    uint64_t most = trials_of(v, image);
    for (; trial < most && trial < how.to; trial++) {
        if (fnmatch(how.kind, kind_of(trial, image)->name, 0)) continue;
        progress->trial = trial;
        uint64_t before = refusals;
        const char *wrong = try_one(v, image, dir, trial, bytes);
        progress->trials++;
        progress->refused += refusals != before;
        if (!wrong) continue;
        snprintf(progress->wrong, sizeof progress->wrong, "%s", wrong);
        _exit(1);
    }
    _exit(0);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static void make_dir(const struct victim *v, char dir[T_PATH]) {
    if (!v->reboots) {
        t_dir_make(dir);
        return;
    }
    snprintf(dir, T_PATH, "/var/tmp/laneway-test-XXXXXX");
    T_NEED(mkdtemp(dir));
}

static void tell(const struct victim *v, const struct image *image, int status) {
    uint64_t n = progress->trial;
    const char *what = WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : progress->wrong;
    printf("FAIL %s, %s, trial %" PRIu64 " (%s--only %s --seed %" PRIu64 " --from %" PRIu64 " --to %" PRIu64 "): %s\n",
           v->name, kind_of(n, image)->name, n, how.each ? "--each " : "", v->name, how.seed, n, n + 1,
           WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "hangs" : what);
}

/* How many were wrong. */
static unsigned sweep(const struct victim *v) {
    char dir[T_PATH], bus[T_PATH + 4];
    struct image image = {0};
    unsigned failures = 0;
    int64_t begun = t_now();
    int status = 1;
    *progress = (struct progress){0};
    make_dir(v, dir);
    snprintf(bus, sizeof bus, "%s/bus", dir);
    v->make(bus, &image);
    if (!image.head) image.head = image.size;
    for (uint64_t next = how.from; status && failures < MANY; next = progress->trial + 1) {
        fflush(NULL);
        pid_t pid = fork();
        T_NEED(pid >= 0);
        if (!pid) try_from(v, &image, bus, next);
        while (waitpid(pid, &status, 0) < 0) T_NEED(errno == EINTR);
        if (status) tell(v, &image, status), failures++;
    }
    printf("%s %s: %" PRIu64 " trials, in %" PRIu64 " something was refused, %.1f s\n", failures ? "not ok" : "ok",
           v->name, progress->trials, progress->refused, (double)(t_now() - begun) / 1e9);
    for (unsigned i = 0; i < image.count; i++) free(image.bytes[i]);
    t_dir_remove(dir);
    return failures;
}

static void list(void) {
    for (const struct victim *v = victims; v->name; v++) printf("%s\n", v->name);
    for (int i = 0; i < KINDS; i++) printf("  %s\n", kinds[i].name);
}

static const struct option long_options[] = {{"trials", required_argument, NULL, 'n'},
                                             {"only", required_argument, NULL, 'o'},
                                             {"kind", required_argument, NULL, 'k'},
                                             {"seed", required_argument, NULL, 's'},
                                             {"from", required_argument, NULL, 'f'},
                                             {"to", required_argument, NULL, 't'},
                                             {"list", no_argument, NULL, 'l'},
                                             {"each", no_argument, NULL, 'e'},
                                             {NULL, 0, NULL, 0}};

static bool read_options(int argc, char **argv) {
    how.seed = t_random() % 1000000000;
    for (int c; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        uint64_t number = optarg ? strtoull(optarg, NULL, 0) : 0;
        if (c == 'n') how.trials = number;
        if (c == 'o') how.only = optarg;
        if (c == 'k') how.kind = optarg;
        if (c == 's') how.seed = number;
        if (c == 'f') how.from = number;
        if (c == 't') how.to = number;
        if (c == 'e') how.each = true;
        if (c == 'l') list(), exit(0);
        if (c == '?') return false;
    }
    return optind == argc;
}

int main(int argc, char **argv) {
    unsigned failures = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!read_options(argc, argv)) return fputs(usage, stderr), 2;
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    T_NEED(progress != MAP_FAILED);
    printf("seed %" PRIu64 "\n", how.seed);
    for (const struct victim *v = victims; v->name; v++)
        if (!fnmatch(how.only, v->name, 0)) failures += sweep(v);
    return failures != 0;
}
