/* SPDX-License-Identifier: MIT */
/*
 * options.c - reads the options of every subcommand, from tables, and prints their help from the
 * same tables. getopt_long() does the splitting.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

enum { MOST_ROWS = 32, LETTERS_FROM = 256 }; /* an option without a letter is LETTERS_FROM + row */

struct common common;
static bool help_asked;

static const struct option_row common_rows[] = {
    {"bus", 0, parse_text, &common.bus, "DIR", "the bus ($LANEWAY_DIR, else /dev/shm/laneway-UID)"},
    {"node", 0, parse_text, &common.node, "NAME", "our name on the bus (default: one of a pool)"},
    {"group", 0, parse_text, &common.group, "NAME", "if the bus is made now, make it for this group of users"},
    {"json", 0, parse_flag, &common.json, NULL, "print JSON"},
    {"help", 'h', parse_flag, &help_asked, NULL, "print this and exit"},
    OPTION_END,
};

/* The rows of a subcommand and the common ones, and what getopt_long() wants to have made of them. */
struct parser {
    const struct option_row *rows[MOST_ROWS];
    struct option options[MOST_ROWS + 1];
    char letters[3 * MOST_ROWS];
    char problem[256]; /* the first thing that was wrong */
};

static void add_rows(struct parser *parser, const struct option_row *row) {
    size_t n = 0;
    while (parser->rows[n]) n++;
    for (; row && row->name; row++, n++) {
        int code = row->letter ? row->letter : LETTERS_FROM + (int)n;
        int takes = row->argument ? required_argument : no_argument;
        parser->rows[n] = row;
        parser->options[n] = (struct option){row->name, takes, NULL, code};
        if (row->letter) {
            char letter[] = {(char)row->letter, row->argument ? ':' : '\0', '\0'};
            strcat(parser->letters, letter);
        }
    }
}

static const struct option_row *find_row(const struct parser *parser, int code) {
    for (size_t n = 0; parser->rows[n]; n++)
        if (parser->options[n].val == code) return parser->rows[n];
    return NULL;
}

__attribute__((format(printf, 2, 3))) static void note_problem(struct parser *parser, const char *format, ...) {
    va_list args;
    if (parser->problem[0]) return;
    va_start(args, format);
    vsnprintf(parser->problem, sizeof parser->problem, format, args);
    va_end(args);
}

static void print_rows(const struct option_row *row) {
    for (; row && row->name; row++) {
        char left[64], letter[8] = "";
        if (row->letter) snprintf(letter, sizeof letter, "-%c, ", row->letter);
        snprintf(left, sizeof left, "%s--%s %s", letter, row->name, row->argument ? row->argument : "");
        printf("  %-24s %s\n", left, row->help);
    }
}

static void print_help(const struct usage *usage) {
    printf("usage: laneway%s%s [options] %s\n\n%s\n\noptions:\n", *usage->command ? " " : "", usage->command,
           usage->arguments, usage->about);
    print_rows(usage->rows);
    print_rows(common_rows);
}

void options_refuse(const struct usage *usage, const char *format, ...) {
    char text[512];
    const char *space = *usage->command ? " " : "";
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (common.json)
        fail(-EINVAL, "%s", text);
    else
        fprintf(stderr,
                "laneway%s%s: %s\n"
                "usage: laneway%s%s [options] %s\n"
                "try: laneway%s%s --help\n",
                space, usage->command, text, space, usage->command, usage->arguments, space, usage->command);
    exit(EXIT_USAGE);
}

static void read_value(struct parser *parser, const struct option_row *row, const char *text) {
    const char *expected = row->parse(text ? text : "", row->value);
    if (expected) note_problem(parser, "--%s: '%s' is not %s", row->name, text, expected);
}

/* `word` is the last word that getopt_long() was at; an unknown letter is in optopt. */
static void read_option(struct parser *parser, int code, const char *word) {
    static const char hint[] = "(what begins with - and is no option goes after --)";
    const struct option_row *row = find_row(parser, code == ':' ? optopt : code);
    if (code == ':' && row)
        note_problem(parser, "--%s needs a value, %s", row->name, row->argument);
    else if (row)
        read_value(parser, row, optarg);
    else if (optopt && (row = find_row(parser, optopt)))
        note_problem(parser, "--%s takes no value", row->name);
    else if (optopt)
        note_problem(parser, "unknown option -%c %s", optopt, hint);
    else
        note_problem(parser, "unknown option %s %s", word, hint);
}

static void check_arguments(struct parser *parser, const struct usage *usage, int argc, char **argv) {
    int given = argc - optind;
    if (given < usage->least)
        note_problem(parser, "%s missing: %s", given ? "an argument is" : "arguments are", usage->arguments);
    else if (given > usage->most)
        note_problem(parser, "'%s' is one argument too many", argv[optind + usage->most]);
}

int options_read(const struct usage *usage, int argc, char **argv) {
    struct parser parser = {0};
    strcpy(parser.letters, usage->stop_at_argument ? "+:" : ":");
    add_rows(&parser, usage->rows);
    add_rows(&parser, common_rows);
    opterr = 0;
    optind = 0;
    int code;
    while ((code = getopt_long(argc, argv, parser.letters, parser.options, NULL)) != -1)
        read_option(&parser, code, argv[optind - 1]);
    if (help_asked) {
        print_help(usage);
        exit(fflush(stdout) ? EXIT_FAILED : EXIT_OK);
    }
    check_arguments(&parser, usage, argc, argv);
    if (parser.problem[0]) options_refuse(usage, "%s", parser.problem);
    return optind;
}
