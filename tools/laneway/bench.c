/* SPDX-License-Identifier: MIT */
/* bench.c - `laneway bench`: runs one of the benchmarks of bench/, which are built into the tool. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "tool.h"

static const struct usage usage = {
    .command = "bench",
    .arguments = "[NAME [bench options]]",
    .about = "Runs the benchmark NAME; its options follow its name. Alone it lists them.",
    .least = 0,
    .most = INT_MAX,
    .stop_at_argument = true,
};

static void list(void) {
    struct json json = json_stdout();
    for (const struct bench *bench = lw_benches; bench->name; bench++) {
        if (!common.json) {
            printf("%-12s %s\n", bench->name, bench->what);
            continue;
        }
        json_open(&json, NULL, '{');
        json_text(&json, "name", bench->name);
        json_text(&json, "what", bench->what);
        json_close(&json, '}');
        json_end(&json);
    }
}

int bench_main(int argc, char **argv) {
    int at = options_read(&usage, argc, argv);
    if (at == argc) {
        list();
        return EXIT_OK;
    }
    for (const struct bench *bench = lw_benches; bench->name; bench++)
        if (!strcmp(bench->name, argv[at])) return bench->main(argc - at, argv + at);
    options_refuse(&usage, "no benchmark '%s'; laneway bench lists them", argv[at]);
}
