/* SPDX-License-Identifier: MIT */
/*
 * The inline functions as symbols, for languages that can not include laneway/fast.h. This file does not include it
 * either: what is declared here is what such a language declares.
 */
#include "laneway/topic.h"
#include "util/util.h"

extern int opens(struct lw_bus **bus, const struct lw_bus_options *options) __asm__("lw_bus_open");
extern int64_t lw_pub_send(struct lw_pub *pub, uint16_t type, const void *data, size_t len, int64_t timeout);
extern int lw_pub_reserve(struct lw_pub *pub, void **data, size_t len, int64_t timeout);
extern int64_t lw_pub_commit(struct lw_pub *pub, uint16_t type, size_t len);
extern int lw_sub_next(struct lw_sub *sub, struct lw_msg *msg, int64_t timeout);
extern int lw_sub_release(struct lw_sub *sub, const struct lw_msg *msg);

static void messages_go_through_the_symbols(void **state) {
    struct lw_bus_options opt = LW_BUS_OPTIONS_INIT;
    struct lw_pub_options sole = {sizeof sole, LW_PUB_EXCLUSIVE, LW_SHAPE_INIT};
    struct lw_bus *bus;
    struct lw_pub *pub;
    struct lw_sub *sub;
    struct lw_msg msg;
    void *at;
    opt.dir = *state;
    assert_ok(opens(&bus, &opt));
    assert_ok(lw_sub_open(&sub, bus, "t", NULL));
    assert_ok(lw_pub_open(&pub, bus, "t", &sole));
    for (uint64_t i = 0; i < 300000; i++) {
        if (i % 2) {
            assert_int_equal(lw_pub_send(pub, 7, &i, sizeof i, 0), i * 16);
        } else {
            assert_ok(lw_pub_reserve(pub, &at, 10, 0));
            *(uint64_t *)at = i;
            assert_int_equal(lw_pub_commit(pub, 7, sizeof i), i * 16);
        }
        assert_int_equal(lw_sub_next(sub, &msg, 0), 1);
        assert_true(*(const uint64_t *)msg.data == i && msg.type == 7 && msg.number == i && msg.len == sizeof i);
        assert_ok(lw_sub_release(sub, &msg));
        assert_int_equal(lw_sub_release(sub, &msg), LW_ESTATE);
    }
    assert_int_equal(lw_sub_next(sub, &msg, 0), LW_EEMPTY);
    lw_sub_close(sub);
    lw_pub_close(pub);
    assert_ok(lw_bus_close(bus));
}

int main(void) {
    const struct CMUnitTest tests[] = {t_test(messages_go_through_the_symbols)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
