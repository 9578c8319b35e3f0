/* SPDX-License-Identifier: MIT */
/* Which names may be used. */
#include <string.h>

#include "bus/bus.h"
#include "util/util.h"

static void good_names_pass(void **state) {
    char longest[LW_NAME_MAX + 1];
    const char *const good[] = {"a", "Z", "0", "_", "_1", "a.b", "a-b", "a_b", "risk-2.prod", "a..b", longest};
    (void)state;
    memset(longest, 'n', LW_NAME_MAX);
    longest[LW_NAME_MAX] = 0;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_ok(lw__name_check(good[i], "node"));
}

static void bad_names_are_refused_with_what_they_are(void **state) {
    const char *const bad[] = {"",     ".",    "..",   ".lane", "-a",   "a/b",   "../x", "/x", "a b",
                               "a\nb", "a\tb", "a\\b", "*",     "\xc3", "a\x7f", "a:b",  "~",  "a,b"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(lw__name_check(bad[i], "subscriber"), LW_ENAME, "subscriber name");
}

static void a_name_of_64_characters_is_refused_not_cut(void **state) {
    char name[400];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    assert_fails(lw__name_check(name, "node"), LW_ENAME, "nnnn");
    name[LW_NAME_MAX + 1] = 0;
    assert_fails(lw__name_check(name, "node"), LW_ENAME, name);
    struct lw_bus *bus;
    assert_fails(t_bus_open(&bus, *state, name, 0), LW_ENAME, "node name");
    assert_fails(t_bus_open(&bus, *state, "../x", 0), LW_ENAME, "node name");
    assert_null(bus);
    assert_fails(t_bus_open(&bus, *state, NULL, LW_BUS_OBSERVE), LW_ENOBUS, *state); /* nothing was made */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_names_pass),
        cmocka_unit_test(bad_names_are_refused_with_what_they_are),
        t_test(a_name_of_64_characters_is_refused_not_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
