/* SPDX-License-Identifier: MIT */
/* chaos/looker.c - one life of a process that looks on, and tidies: it must never see damage, nor do any. */
#include "chaos/chaos.h"

enum { LOOKS = 200 };

static int nothing_reader(const struct lw_reader_info *info, void *user) {
    *(uint64_t *)user += info->lag_messages;
    return 0;
}

static int nothing_writer(const struct lw_writer_info *info, void *user) {
    *(uint64_t *)user += info->messages;
    return 0;
}

static void need(struct self *self, const char *call, int rc) {
    if (rc) complain_call(self->ledger, self->actor, call, rc);
}

static void look_once(struct self *self, uint64_t *number) {
    struct lw_topic_info info = LW_TOPIC_INFO_INIT;
    uint64_t sum = 0;
    say(self->actor, "verifies");
    need(self, "lw_topic_verify", lw_topic_verify(self->bus, TOPIC, NULL));
    say(self->actor, "looks at the topic");
    need(self, "lw_topic_stat", lw_topic_stat(self->bus, TOPIC, &info));
    need(self, "lw_topic_readers", lw_topic_readers(self->bus, TOPIC, nothing_reader, &sum));
    need(self, "lw_topic_writers", lw_topic_writers(self->bus, TOPIC, nothing_writer, &sum));
    if (info.number < *number)
        complain(self->ledger, "lw_topic_stat: %llu messages, and before it were %llu", (unsigned long long)info.number,
                 (unsigned long long)*number);
    *number = info.number;
}

void looker_live(struct self *self) {
    bool observes = dice(&self->dice, 2);
    uint64_t number = 0;
    self_open(self, observes ? LW_BUS_OBSERVE : 0);
    for (uint32_t i = 0; i < LOOKS && atomic_load(&self->ledger->stage) == RUN; i++) {
        look_once(self, &number);
        if (!observes && dice(&self->dice, 8) == 0) {
            say(self->actor, "cleans");
            need(self, "lw_bus_clean", lw_bus_clean(self->bus, NULL));
        }
        say(self->actor, "naps");
        nap(LW_MS(dice_between(&self->dice, 2, 30)));
    }
    self_close(self);
}
