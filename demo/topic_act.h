/* SPDX-License-Identifier: MIT */
/*
 * demo/topic_act.h - the first act: files go through a topic.
 *
 * A publisher sends a tar of what is under /usr, in records of mixed sizes, several times over. "archive" is a durable
 * subscriber; "late" is one without a name that joins in the middle. The parent kills the publisher and the archive at
 * random with SIGKILL and starts them again; it decides from their notes (ledger.h, checker.h) what became of the
 * messages.
 */
#ifndef DEMO_TOPIC_ACT_H
#define DEMO_TOPIC_ACT_H

#include "checker.h"
#include "stage.h"

struct topic_act {
    uint64_t passes;
    struct ledger *ledger;
    struct actor publisher, archive, late;
    struct checker archive_check, late_check;
    uint64_t total, late_at;
    uint64_t vanished, invented; /* messages that the topic had too few or too many of when the publisher came back */
    uint64_t before[2];          /* sent and tried when it died */
    uint16_t resume_checked;     /* the publisher's life for which that was looked at */
    uint64_t begin_ns, end_ns;
};

static struct topic_act topic_act;

/* ---- deaths ------------------------------------------------------------------------------------------------------- */

/* The topic holds what was sent, or that and the call that was under way. */
static void check_resume(void) {
    struct topic_act *act = &topic_act;
    const struct notes *notes = act->publisher.part.notes;
    uint16_t life = act->publisher.part.life;
    if (act->resume_checked == life || note_get(&notes->ready) != life) return;
    act->resume_checked = life;
    uint64_t resumed = note_get(&notes->resumed);
    if (resumed < act->before[0])
        act->vanished += act->before[0] - resumed;
    else if (resumed != act->before[0] && resumed != act->before[1])
        act->invented++;
}

static void publisher_died(struct actor *actor) {
    check_resume();
    topic_act.before[0] = note_get(&actor->part.notes->sent);
    topic_act.before[1] = note_get(&actor->part.notes->tried);
}

static void archive_died(struct actor *actor) {
    (void)actor;
    check_death(&topic_act.archive_check);
}

/* ---- the run ------------------------------------------------------------------------------------------------------ */

static uint64_t published(void) {
    return note_get(&topic_act.ledger->publisher.sent);
}

static void move_topic_gate(void) {
    uint64_t slack = topic_act.total / 50 + 1, gate = gate_of(&topic_act.publisher, topic_act.total, slack);
    gate = gate_of(&topic_act.archive, gate, slack);
    if (!is_open(&topic_act.late) && topic_act.late_at + slack < gate) gate = topic_act.late_at + slack;
    note_set(&topic_act.ledger->gate, gate);
}

static void watch_topic(void) {
    const struct topic_act *act = &topic_act;
    uint64_t moved =
        published() + act->archive_check.next + act->late_check.next + act->publisher.kills + act->archive.kills;
    if (has_stalled(moved))
        fail("nothing has moved for %d seconds: %" PRIu64 " sent, archive at %" PRIu64 ", late at %" PRIu64, STALL_S,
             published(), act->archive_check.next, act->late_check.next);
    if (is_time_to_show())
        fprintf(stderr,
                "\r  %3" PRIu64 " %%   %" PRIu64 " messages   publisher killed %" PRIu64 "x, archive %" PRIu64 "x ",
                100 * published() / act->total, published(), act->publisher.kills, act->archive.kills);
}

static void topic_step(void) {
    struct topic_act *act = &topic_act;
    check_log(&act->archive_check);
    check_log(&act->late_check);
    check_resume();
    look_for_end(&act->publisher);
    look_for_end(&act->archive);
    look_for_end(&act->late);
    kill_if_due(&act->publisher);
    kill_if_due(&act->archive);
    if (!act->late.part.life && published() >= act->late_at) start(&act->late);
    move_topic_gate();
    watch_topic();
}

static void play_topic(void) {
    struct topic_act *act = &topic_act;
    act->begin_ns = now_ns();
    start(&act->archive);
    while (!act->publisher.ended || !act->archive.ended || !act->late.ended) {
        if (!act->publisher.part.life && note_get(&act->ledger->archive.ready)) start(&act->publisher);
        topic_step();
        sleep_and_hear();
    }
    act->end_ns = now_ns();
    clear_progress();
    check_end(&act->archive_check, act->total);
    check_end(&act->late_check, act->total);
}

/* ---- setting up --------------------------------------------------------------------------------------------------- */

static void make_topic_actor(struct actor *actor, const char *name, struct notes *notes,
                             void (*body)(const struct part *)) {
    make_actor(actor, name, notes, body);
    actor->part.ledger = topic_act.ledger;
    actor->part.total = topic_act.total;
}

static void make_topic_act(uint64_t kills, uint64_t passes) {
    struct topic_act *act = &topic_act;
    struct ledger *ledger = act->ledger = make_ledger(sizeof *ledger);
    act->passes = passes;
    act->total = stage.input.count * passes;
    make_topic_actor(&act->publisher, "publisher", &ledger->publisher, be_publisher);
    make_topic_actor(&act->archive, "archive", &ledger->archive, be_subscriber);
    make_topic_actor(&act->late, "late", &ledger->late, be_subscriber);
    plan_kills(&act->publisher, kills, act->total);
    act->publisher.progress = &ledger->publisher.sent;
    act->publisher.after_death = publisher_died;
    plan_kills(&act->archive, kills, act->total);
    act->archive.progress = &ledger->archive.released;
    act->archive.after_death = archive_died;
    act->archive.part.durable = "archive";
    act->archive.part.from = LW_FROM_OLDEST;
    act->late.part.from = dice(2) ? LW_FROM_OLDEST : LW_FROM_NOW;
    act->late_at = act->total / 100 * (30 + dice(40));
    act->archive_check = (struct checker){.input = &stage.input, .notes = &ledger->archive, .begun = true};
    act->late_check = (struct checker){.input = &stage.input, .notes = &ledger->late};
}

/* ---- what came of it ---------------------------------------------------------------------------------------------- */

static void show_topic_begin(void) {
    printf("\n  input      %d MB of files of /usr%s, cut in %" PRIu64 " records of 0 to %d bytes\n",
           INPUT_SIZE / 1000000, stage.input.repeated ? " (some of them twice)" : "", stage.input.count, RECORD_MOST);
    printf("  topic      \"%s\" in %s, a ring of %d KiB\n", TOPIC, stage.bus, RING >> 10);
    fflush(stdout);
}

static void show_sent(void) {
    const struct topic_act *act = &topic_act;
    double mb = INPUT_SIZE / 1e6 * (double)act->passes, seconds = (double)(act->end_ns - act->begin_ns) / 1e9;
    printf("  sent       the input %" PRIu64 " times: %" PRIu64
           " messages, %.0f MB in %.1f s, %.0f messages/s, %.0f MB/s\n",
           act->passes, act->total, mb, seconds, (double)act->total / seconds, mb / seconds);
}

static void show_subscriber(const struct actor *actor, const struct checker *checker, const char *how) {
    printf("  %-10s %s: %" PRIu64 " messages", actor->part.name, how, checker->next - checker->first);
    if (actor->kills) printf(", %" PRIu64 " redelivered (it had not released them)", checker->redelivered);
    putchar('\n');
}

static bool show_sums(const struct actor *actor, const struct checker *checker) {
    uint64_t expected = check_expected(&stage.input, checker->first, topic_act.total);
    bool equal = expected == checker->sum;
    printf("  checksums  %-7s of what was sent to it %016" PRIx64 ", of what it got %016" PRIx64 ": %s\n",
           actor->part.name, expected, checker->sum, equal ? "equal" : "DIFFERENT");
    return equal;
}

static bool topic_is_sound(void) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    struct lw_bus *bus = observe(stage.bus);
    bool sound =
        !lw_topic_verify(bus, TOPIC, NULL) && !lw_topic_stat(bus, TOPIC, &info) && info.number == topic_act.total;
    if (!sound) printf("  topic      NOT SOUND: %s\n\n", lw_errtext());
    lw_bus_close(bus);
    return sound;
}

static struct outcome show_topic_end(void) {
    const struct topic_act *act = &topic_act;
    const struct checker *archive = &act->archive_check, *late = &act->late_check;
    uint64_t order = archive->out_of_order + late->out_of_order + act->invented;
    uint64_t corrupt = archive->corrupt + late->corrupt;
    char joined[96];
    show_sent();
    show_kills(&act->publisher);
    show_kills(&act->archive);
    show_subscriber(&act->archive, archive, "durable");
    snprintf(joined, sizeof joined, "joined late, from %s, at message %" PRIu64,
             act->late.part.from == LW_FROM_NOW ? "now" : "the oldest", late->first);
    show_subscriber(&act->late, late, joined);
    bool good = show_sums(&act->archive, archive);
    good &= show_sums(&act->late, late);
    printf("  checker    %" PRIu64 " out of order, %" PRIu64 " corrupt\n", order, corrupt);
    good &= topic_is_sound();
    return (struct outcome){.messages = act->total,
                            .lost = archive->lost + late->lost + act->vanished,
                            .repeated = archive->repeated + late->repeated,
                            .good = good && !order && !corrupt};
}

#endif
