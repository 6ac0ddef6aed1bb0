/* main.c - picks the command. `gemmaiku [RUN]` opens the workbench; every other first word is a sub-command with a file of its own
 * under src/cli. */
#include "engine/base/file.h"
#include "src/cli/args_names.h"
#include "src/cli/cli.h"
#include "src/workbench/workbench.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct entry {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
};
static const struct entry ENTRIES[] = {
#define X(name, summary) {#name, command_##name, summary},
    CLI_COMMANDS(X)
#undef X
};
enum { N_ENTRIES = sizeof ENTRIES / sizeof *ENTRIES };

static int help(void)
{
    printf("usage: gemmaiku [RUN]            the workbench on a run, or its start page\n"
           "       gemmaiku COMMAND ...      one of these, without a screen\n\n");
    for (int i = 0; i < N_ENTRIES; i++)
        printf("  %-10s %s\n", ENTRIES[i].name, ENTRIES[i].summary);
    printf("\ngemmaiku COMMAND --help tells the options of each.\n");
    return cli_end(EXIT_DONE);
}

/* docs/options.md */
static int help_markdown(void)
{
    struct str out = {0};
    str_add(&out, "# Options\n\nMade from the tables in the code by `gemmaiku --help=markdown`; do not edit.\n\n## Every command\n\n");
    args_general_markdown(&out);
    fwrite(str_text(&out), 1, out.len, stdout);
    putchar('\n');
    str_free(&out);
    char option[] = "--help=markdown";
    char *argv[] = {option, NULL};
    int status = EXIT_DONE;
    for (int i = 0; i < N_ENTRIES; i++)
        status |= ENTRIES[i].run(1, argv);
    return status;
}

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C"); /* numbers in files are everybody's */
    signal(SIGPIPE, SIG_IGN);   /* a closed pipe is an error of write, told as such */
    signal(SIGXFSZ, SIG_IGN);   /* so is a limit on file sizes */
    if (argc > 1) {
        const char *word = argv[1];
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
            return help();
        if (strcmp(word, "--help=markdown") == 0)
            return help_markdown();
        if (strcmp(word, "--version") == 0) {
            printf("gemmaiku %s\n", GM_VERSION);
            return cli_end(EXIT_DONE);
        }
        for (int i = 0; i < N_ENTRIES; i++)
            if (strcmp(word, ENTRIES[i].name) == 0)
                return ENTRIES[i].run(argc - 2, argv + 2);
        const char *remedy = path_exists(word) ? NULL : args_foreign_command(word);
        if (remedy) {
            struct gm_error err = {0};
            error_set(&err, GM_E_USAGE, "read command line: %s is a command of mlx-lm that is not here (%s)", word, remedy);
            return cli_fail(&err);
        }
    }
    return workbench_main(argc - 1, argv + 1);
}
