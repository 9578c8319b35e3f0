/* SPDX-License-Identifier: MIT */
/* main.c - `laneway`: finds the subcommand by name and runs it. Each has a file of its own. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static const struct command {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"pub", pub_main, "publish a message, or stdin cut into messages"},
    {"sub", sub_main, "subscribe and write the messages to stdout or a file"},
    {"create", create_main, "make a topic"},
    {"echo-server", echo_server_main, "answer each message of every link with the same"},
    {"echo", echo_main, "send messages to an echo-server, check and time the answers"},
    {"ls", ls_main, "list the topics, the nodes or the links of a bus"},
    {"info", info_main, "show a topic: shape, publishers, subscribers, who holds back"},
    {"verify", verify_main, "check all that a topic holds"},
    {"forget", forget_main, "free the place of a durable subscriber"},
    {"rm", rm_main, "remove a topic, or links"},
    {"clean", clean_main, "take back what dead processes left"},
    {"bench", bench_main, "measure speed"},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_usage(FILE *to) {
    fprintf(to, "usage: laneway COMMAND [options] [arguments]\n"
                "       laneway COMMAND --help\n\ncommands:\n");
    for (size_t i = 0; i < COMMANDS; i++) fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].what);
    fprintf(to, "\nevery command takes --bus DIR and --json; laneway --version tells the version\n");
}

/* A closed stdout must not be given to a file that we open: what we print would land in it. The
 * stand-ins are opened the wrong way round, so using them is an error. */
static int fill_standard_streams(void) {
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd) return -1;
    return 0;
}

static bool stdout_reader_gone(void) {
    struct pollfd look = {STDOUT_FILENO, POLLOUT, 0};
    return poll(&look, 1, 0) == 1 && (look.revents & POLLERR);
}

/* Whether all that was printed has arrived. A reader that went away early is its own business. */
static int finish_stdout(int result) {
    errno = 0;
    if (!fflush(stdout) && !ferror(stdout)) return result;
    if (stdout_reader_gone()) return result;
    return fail(-errno, "can not write to stdout: %s", errno ? strerror(errno) : "it failed before");
}

static const struct command *find_command(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++)
        if (!strcmp(name, commands[i].name)) return &commands[i];
    return NULL;
}

/* Options come behind the command; --json is heard all the same, so that a refusal is JSON where JSON is wanted. */
static int refuse_command(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--json")) common.json = true;
    if (argv[1][0] == '-')
        fail(-EINVAL, "options come behind the command, as in: laneway ls %s", argv[1]);
    else
        fail(-EINVAL, "'%s' is not a command; laneway --help lists them", argv[1]);
    return EXIT_USAGE;
}

int main(int argc, char **argv) {
    if (fill_standard_streams()) return EXIT_FAILED;
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        print_usage(stdout);
        return finish_stdout(EXIT_OK);
    }
    if (!strcmp(argv[1], "--version")) {
        printf("laneway %s\n", lw_version());
        return finish_stdout(EXIT_OK);
    }
    const struct command *command = find_command(argv[1]);
    if (!command) return refuse_command(argc, argv);
    return finish_stdout(command->main(argc - 1, argv + 1));
}
