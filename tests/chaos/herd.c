/* SPDX-License-Identifier: MIT */
/* chaos/herd.c - the processes from the outside: starting, killing, stopping, reaping, and seeing who hangs. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chaos/chaos.h"

/* A bound, and no promise: on a busy machine a process may not be run for long. */
#define HANGS LW_SEC(60)

/* ---- starting ---------------------------------------------------------------------------------------------------- */

static void live(struct ledger *ledger, uint32_t i, uint32_t life) {
    struct actor *actor = &ledger->actor[i];
    struct self self = {.ledger = ledger,
                        .actor = actor,
                        .life = life,
                        .dice = {.state = dice_mix(ledger->seed + ((uint64_t)i << 32 | life))}};
    void (*const lives[])(struct self *) = {writer_live, reader_live, looker_live,
                                            client_live, server_live, cutter_live};
    lives[actor->role](&self);
}

void herd_start(struct herd *herd, uint32_t i) {
    struct animal *a = &herd->animal[i];
    pid_t parent = getpid();
    if (a->lives == LIVES_MAX - 1) return; /* hours */
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) live(herd->ledger, i, a->lives);
        _exit(0);
    }
    if (pid < 0) {
        complain(herd->ledger, "fork: %s", strerror(errno));
        return;
    }
    a->pid = pid;
    a->lives++;
    a->stopped_until = 0;
    a->moved = now();
}

/* ---- reaping ----------------------------------------------------------------------------------------------------- */

static void buried(struct herd *herd, uint32_t i) {
    struct animal *a = &herd->animal[i];
    a->pid = 0;
    a->stopped_until = 0;
    links_buried(herd->ledger, i);
    a->start_at = dice(&herd->dice, 8) ? 0 : now() + LW_MS(dice(&herd->dice, 60)); /* mostly at once */
}

/* Ended by itself, or by a signal that was not ours. */
static void check_status(struct herd *herd, uint32_t i, int status) {
    struct ledger *ledger = herd->ledger;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    if (WIFEXITED(status) && WEXITSTATUS(status) == COMPLAINED && atomic_load(&ledger->complaints)) return;
    complain(ledger, "process %u (role %d %u, life %u) ended with %s %d while it %s", i, ledger->actor[i].role,
             ledger->actor[i].index, herd->animal[i].lives - 1, WIFSIGNALED(status) ? "signal" : "status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), atomic_load(&ledger->actor[i].doing));
}

static void complain_hang(struct herd *herd, uint32_t i, const char *how);

/* A killed process is gone soon, but not at once. */
static bool wait_for_death(int pid, int *status) {
    for (int64_t end = now() + HANGS; now() < end; nap(LW_MS(1) / 20))
        if (waitpid(pid, status, WNOHANG) == pid) return true;
    return false;
}

void herd_kill(struct herd *herd, uint32_t i) {
    struct animal *a = &herd->animal[i];
    int status = 0;
    if (!a->pid) return;
    kill(a->pid, SIGKILL);
    if (!wait_for_death(a->pid, &status)) {
        complain_hang(herd, i, "does not die of SIGKILL");
        return;
    }
    bool by_us = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!by_us) check_status(herd, i, status);
    herd->kills += by_us;
    a->kills += by_us;
    buried(herd, i);
}

void herd_strike(struct herd *herd, uint32_t i) {
    if (herd->animal[i].pid) kill(herd->animal[i].pid, SIGKILL);
}

void herd_stop(struct herd *herd, uint32_t i, int64_t ns) {
    struct animal *a = &herd->animal[i];
    if (!a->pid || a->stopped_until) return;
    kill(a->pid, SIGSTOP);
    a->stopped_until = now() + ns;
    herd->stops++;
    a->stops++;
}

void herd_go_on(struct herd *herd, uint32_t i) {
    struct animal *a = &herd->animal[i];
    if (!a->pid || !a->stopped_until) return;
    kill(a->pid, SIGCONT);
    a->stopped_until = 0;
    a->moved = now();
}

/* It walked into its ambush. The others come now, while it stands where it is. */
static void stopped(struct herd *herd, uint32_t i) {
    struct animal *a = &herd->animal[i];
    if (a->stopped_until) return; /* that was us */
    a->stopped_until = now() + LW_MS(dice_between(&herd->dice, 1, 40));
    if (herd->ledger->actor[i].role == WRITER) atomic_store(&herd->ledger->alone, NOBODY);
    herd->stops++;
    a->stops++;
}

static void reap(struct herd *herd, uint32_t i) {
    int status;
    if (waitpid(herd->animal[i].pid, &status, WNOHANG | WUNTRACED) != herd->animal[i].pid) return;
    if (WIFSTOPPED(status)) {
        stopped(herd, i);
        return;
    }
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; /* an ambush, or a strike */
    if (!killed) check_status(herd, i, status);
    herd->kills += killed;
    herd->animal[i].kills += killed;
    buried(herd, i);
}

/* ---- who hangs --------------------------------------------------------------------------------------------------- */

/* A file of /proc on one line. */
static void read_proc(char *text, size_t room, int pid, const char *file) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, room - 1, f) : 0;
    if (f) fclose(f);
    text[n] = 0;
    for (char *c = text; *c; c++)
        if (*c == '\n') *c = ' ';
}

static void complain_hang(struct herd *herd, uint32_t i, const char *how) {
    char stack[200], call[100];
    const struct actor *actor = &herd->ledger->actor[i];
    read_proc(stack, sizeof stack, herd->animal[i].pid, "stack");
    read_proc(call, sizeof call, herd->animal[i].pid, "syscall");
    complain(herd->ledger, "process %u (role %d %u, pid %d) %s: it %s; last refusal: %.150s; stack: %s; call: %s", i,
             actor->role, actor->index, herd->animal[i].pid, how, atomic_load(&actor->doing), actor->text, stack, call);
}

static void look_at_beats(struct herd *herd, uint32_t i) {
    struct animal *a = &herd->animal[i];
    uint64_t beats = atomic_load(&herd->ledger->actor[i].beats);
    if (beats != a->beats || a->stopped_until) a->moved = now();
    a->beats = beats;
    if (now() - a->moved > HANGS) complain_hang(herd, i, "hangs");
}

/* Everybody is busy, and nothing comes through: also a way to hang. */
static void look_at_progress(struct herd *herd) {
    uint64_t messages = 0;
    for (uint32_t i = 0; i < herd->ledger->actors; i++) messages += atomic_load(&herd->ledger->actor[i].messages);
    if (messages != herd->messages || !herd->moved) herd->moved = now();
    herd->messages = messages;
    if (now() - herd->moved > HANGS) complain(herd->ledger, "no message was sent or received for a minute");
}

/* Shall it be started again? At the end only who has not read everything yet. */
static bool is_needed(const struct ledger *ledger, uint32_t i) {
    const struct actor *actor = &ledger->actor[i];
    int stage = atomic_load(&ledger->stage);
    if (i >= ledger->first_link) return stage == RUN || !pair_is_complete(&ledger->pair[actor->index]);
    if (actor->role != READER || stage != DRAIN) return stage == RUN || actor->role == READER;
    bool named = actor->kind == DURABLE || actor->kind == LAGGING;
    return named && !atomic_load(&ledger->durable[actor->index].drained);
}

static void look_at_one(struct herd *herd, uint32_t i) {
    struct animal *a = &herd->animal[i];
    if (a->pid) reap(herd, i);
    if (a->pid) look_at_beats(herd, i);
    if (a->stopped_until && now() >= a->stopped_until) herd_go_on(herd, i);
    if (!a->pid && is_needed(herd->ledger, i) && now() >= a->start_at) herd_start(herd, i);
}

bool herd_look(struct herd *herd) {
    for (uint32_t i = 0; i < herd->ledger->actors; i++) look_at_one(herd, i);
    look_at_progress(herd);
    return atomic_load(&herd->ledger->complaints) == 0;
}

/* What shows that one gets on. */
static uint64_t progress(const struct ledger *ledger, uint32_t i) {
    const struct actor *actor = &ledger->actor[i];
    return atomic_load(actor->role == LOOKER || actor->role == CUTTER ? &actor->beats : &actor->messages);
}

bool herd_calm(struct herd *herd) {
    uint64_t before[ACTORS_MAX];
    struct ledger *ledger = herd->ledger;
    int64_t end = now() + HANGS;
    atomic_store(&ledger->alone, NOBODY);
    for (uint32_t i = 0; i < ledger->actors; i++) before[i] = progress(ledger, i);
    for (uint32_t i = 0; i < ledger->actors; i++) {
        while (progress(ledger, i) == before[i]) {
            if (now() > end) complain_hang(herd, i, "gets nothing done");
            if (!herd_look(herd)) return false;
            nap(LW_MS(1) / 5);
        }
    }
    return true;
}

bool herd_is_over(const struct herd *herd) {
    for (uint32_t i = 0; i < herd->ledger->actors; i++)
        if (herd->animal[i].pid || is_needed(herd->ledger, i)) return false;
    return true;
}

void herd_end(struct herd *herd) {
    uint64_t kills = herd->kills;
    for (uint32_t i = 0; i < herd->ledger->actors; i++) herd_kill(herd, i);
    herd->kills = kills;
}

void herd_describe(const struct herd *herd) {
    for (uint32_t i = 0; i < herd->ledger->actors; i++) {
        const struct actor *a = &herd->ledger->actor[i];
        const char *doing = atomic_load(&a->doing);
        fprintf(stderr, "  process %u: role %d %u, life %u, pid %d%s, %s; %s\n", i, a->role, a->index,
                herd->animal[i].lives, herd->animal[i].pid, herd->animal[i].stopped_until ? ", stopped" : "",
                doing ? doing : "", a->text);
    }
}
