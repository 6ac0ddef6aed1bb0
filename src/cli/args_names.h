/* args_names.h - the names that options go by: both spellings, mlx-lm's names for ours, and what has no counterpart here.
 *
 *     char name[ARG_NAME_MAX];
 *     args_name("--lora_parameters.rank", 22, name);   // "--lora-parameters.rank"
 *     args_alias(name);                                // "--rank"
 *
 * Pure functions. The tables name options of mlx-lm's lora, fuse, generate and chat, of its older releases, and of programs built on it.
 */
#ifndef GM_CLI_ARGS_NAMES_H
#define GM_CLI_ARGS_NAMES_H

#include <stdbool.h>
#include <stddef.h>

enum { ARG_NAME_MAX = 64 };

/* n bytes of a word as an option's name: '_' becomes '-', and two dashes stand in front. False: too long to be one. */
bool args_name(const char *word, size_t n, char out[ARG_NAME_MAX]);
/* Our name for it, or NULL. */
const char *args_alias(const char *name);

struct foreign {
    const char *name;
    bool takes_value;
    const char *remedy; /* NULL: it may stand there, and changes nothing */
    const char *unset;  /* the value that says "do not", which may stand there, too; NULL: none */
};
const struct foreign *args_foreign(const char *name); /* NULL: nothing is known of it */
/* What to do instead of a command that only mlx-lm has; NULL: it has none of this name. */
const char *args_foreign_command(const char *name);

#endif
