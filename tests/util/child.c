/* SPDX-License-Identifier: MIT */
/* util/child.c - child processes that talk with the test through two pipes. */
#include "util/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/util.h"

/* This process's two ends when it is a child. */
static int say_fd = -1, listen_fd = -1;

/* Those of this test case, so that a failed one leaves nothing behind. */
enum { CHILDREN = 1024 };
static struct t_child children[CHILDREN];
static int count;

static void remember(const struct t_child *child) {
    if (count == CHILDREN) t_need_failed("fewer children", __FILE__, __LINE__);
    children[count++] = *child;
}

static void forget(const struct t_child *child) {
    for (int i = 0; i < count; i++)
        if (children[i].pid == child->pid) {
            children[i] = children[--count];
            return;
        }
}

static void close_pipes(struct t_child *child) {
    if (child->out >= 0) close(child->out);
    if (child->in >= 0) close(child->in);
    child->out = child->in = -1;
}

void t_children_end(void) {
    for (int i = 0; i < count; i++) {
        kill(children[i].pid, SIGKILL);
        while (waitpid(children[i].pid, NULL, 0) < 0 && errno == EINTR) continue;
        close_pipes(&children[i]);
    }
    count = 0;
}

static void run_child(int (*body)(void *), void *arg, int out[2], int in[2], pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(98);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGSEGV, SIG_DFL); /* cmocka would go on with the rest of the tests, here */
    for (int i = 0; i < count; i++) close_pipes(&children[i]);
    count = 0;
    if (say_fd >= 0) close(say_fd);
    if (listen_fd >= 0) close(listen_fd);
    close(out[0]);
    close(in[1]);
    say_fd = out[1];
    listen_fd = in[0];
    int status = body(arg);
    fflush(NULL);
    _exit(status);
}

struct t_child t_fork(int (*body)(void *arg), void *arg) {
    int out[2], in[2];
    pid_t parent = getpid();
    T_NEED(!pipe2(out, O_CLOEXEC) && !pipe2(in, O_CLOEXEC));
    signal(SIGPIPE, SIG_IGN); /* telling a child that is gone is no reason to die */
    fflush(NULL);
    pid_t pid = fork();
    T_NEED(pid >= 0);
    if (pid == 0) run_child(body, arg, out, in, parent);
    close(out[1]);
    close(in[0]);
    struct t_child child = {.pid = pid, .out = out[0], .in = in[1]};
    remember(&child);
    return child;
}

void t_say(int64_t number) {
    T_NEED(write(say_fd, &number, sizeof number) == sizeof number);
}

/* True: there is something to read. */
static bool wait_to_read(int fd, int wait_ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int ready;
    for (int64_t end = t_now() + LW_MS(1) * wait_ms;;) {
        if (t_meanwhile) t_meanwhile();
        ready = poll(&p, 1, t_meanwhile && wait_ms ? T_MEANWHILE_MS : wait_ms);
        if (ready > 0) return true;
        if (wait_ms >= 0 && t_now() >= end) return false;
    }
}

int64_t t_listen(void) {
    int64_t number;
    ssize_t n;
    wait_to_read(listen_fd, -1);
    do n = read(listen_fd, &number, sizeof number);
    while (n < 0 && errno == EINTR);
    if (n != sizeof number) _exit(97);
    return number;
}

void t_forever(void) {
    for (;;)
        if (t_meanwhile)
            t_sleep(LW_SEC(1));
        else
            pause();
}

bool t_heard(struct t_child *child, int wait_ms, int64_t *number) {
    return wait_to_read(child->out, wait_ms) && read(child->out, number, sizeof *number) == sizeof *number;
}

int64_t t_hear(struct t_child *child) {
    int64_t number;
    if (!t_heard(child, 20000, &number)) fail_msg("child %d said nothing", (int)child->pid);
    return number;
}

void t_tell(struct t_child *child, int64_t number) {
    ssize_t n = write(child->in, &number, sizeof number);
    (void)n; /* a child that is gone shows elsewhere */
}

static int reap(struct t_child *child) {
    int status;
    while (waitpid(child->pid, &status, 0) < 0)
        if (errno != EINTR) fail_msg("child %d: %s", (int)child->pid, strerror(errno));
    forget(child);
    close_pipes(child);
    child->pid = 0;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void wait_for(pid_t pid, int kind, int64_t ns) {
    int64_t end = t_now() + ns;
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)pid, &info, kind | WNOHANG | WNOWAIT))
            fail_msg("child %d: %s", (int)pid, strerror(errno));
        if (info.si_pid) return;
        if (t_now() > end) fail_msg("child %d does not end", (int)pid);
        t_sleep(LW_MS(1) / 5);
    }
}

int t_wait(struct t_child *child) {
    wait_for(child->pid, WEXITED, LW_SEC(60));
    return reap(child);
}

void t_kill_unreaped(struct t_child *child) {
    kill(child->pid, SIGKILL);
    wait_for(child->pid, WEXITED, LW_SEC(60));
}

void t_kill(struct t_child *child) {
    t_kill_unreaped(child);
    reap(child);
}

void t_stop(struct t_child *child) {
    kill(child->pid, SIGSTOP);
    wait_for(child->pid, WSTOPPED, LW_SEC(60));
}

void t_go_on(struct t_child *child) {
    kill(child->pid, SIGCONT);
}
