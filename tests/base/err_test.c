/* SPDX-License-Identifier: MIT */
/* Codes, their names and sentences, and the text that a failed call leaves. */
#include "base/err.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "util/util.h"

static void every_code_has_its_name_and_a_sentence(void **state) {
    (void)state;
#define CHECK(code, number, sentence)                                                                                  \
    assert_int_equal(code, -(number));                                                                                 \
    assert_string_equal(lw_errname(code), #code);                                                                      \
    assert_string_equal(lw_strerror(code), sentence);
    LW_ERRORS(CHECK)
#undef CHECK
}

static void an_errno_has_its_own(void **state) {
    (void)state;
    assert_string_equal(lw_errname(-ENOSPC), "ENOSPC");
    assert_string_equal(lw_strerror(-ENOSPC), strerror(ENOSPC));
    assert_string_equal(lw_errname(0), "OK");
    assert_string_equal(lw_strerror(0), "no error");
}

static void an_unknown_code_is_never_null(void **state) {
    const int odd[] = {1, 2001, -2000, -2999, -4095, -4096, INT32_MIN, INT32_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        assert_string_equal(lw_errname(odd[i]), "?");
        assert_string_equal(lw_strerror(odd[i]), "unknown error");
    }
}

static void a_text_may_be_made_from_the_text_before(void **state) {
    (void)state;
    assert_int_equal(lw__fail(-EIO, "%s: %d", "first", 1), -EIO);
    assert_string_equal(lw_errtext(), "first: 1");
    assert_int_equal(lw__fail(LW_ENAME, "second (%s)", lw_errtext()), LW_ENAME);
    assert_string_equal(lw_errtext(), "second (first: 1)");
    assert_int_equal(lw__fail_in(LW_EFS, "in"), LW_EFS);
    assert_string_equal(lw_errtext(), "in: second (first: 1)");
}

static void a_long_text_is_cut(void **state) {
    char big[2000];
    (void)state;
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = 0;
    lw__fail(-EIO, "%s", big);
    assert_int_equal(strlen(lw_errtext()), 511);
    lw__fail_in(-EIO, big);
    assert_int_equal(strlen(lw_errtext()), 511);
}

static void *other_thread(void *arg) {
    *(bool *)arg = *lw_errtext() == 0;
    lw__fail(-EIO, "of the other thread");
    return NULL;
}

static void the_text_is_each_threads_own(void **state) {
    pthread_t thread;
    bool was_empty = false;
    (void)state;
    lw__fail(-EIO, "mine");
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &was_empty), 0);
    pthread_join(thread, NULL);
    assert_true(was_empty);
    assert_string_equal(lw_errtext(), "mine");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_name_and_a_sentence),
        cmocka_unit_test(an_errno_has_its_own),
        cmocka_unit_test(an_unknown_code_is_never_null),
        cmocka_unit_test(a_text_may_be_made_from_the_text_before),
        cmocka_unit_test(a_long_text_is_cut),
        cmocka_unit_test(the_text_is_each_threads_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
