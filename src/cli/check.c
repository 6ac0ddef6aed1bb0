/* check.c - `gemmaiku check`: what each path is, and whether it would work. */
#include "src/cli/facts.h"

#include "engine/base/mem.h"

#include <stdio.h>
#include <string.h>

/* Each line of a list on stderr, with `before` in front. */
static void print_list(const json_t *facts, const char *list, const char *before)
{
    size_t i;
    json_t *line;
    json_array_foreach(json_object_get(facts, list), i, line)
    {
        struct str clean = {0};
        const char *text = json_string_value(line);
        text_clean(&clean, text, strlen(text), false, false);
        cli_say(before, str_text(&clean));
        str_free(&clean);
    }
}

/* Faults name the file themselves. */
static void print_remarks(const json_t *facts, const char *path, bool quiet)
{
    char *warning = mem_printf("gemmaiku: warning: %s: ", path), *note = mem_printf("gemmaiku: %s: ", path);
    print_list(facts, "warnings", warning);
    if (!quiet)
        print_list(facts, "notes", note);
    print_list(facts, "faults", "gemmaiku: ");
    mem_free(warning);
    mem_free(note);
}

static void print_answer(const json_t *facts, bool works)
{
    const char *path = json_string_value(json_object_get(facts, "path")), *kind = json_string_value(json_object_get(facts, "kind")),
               *summary = json_string_value(json_object_get(facts, "summary"));
    struct str line = {0};
    str_printf(&line, "%s: %s", path, kind);
    if (works)
        str_printf(&line, "%s%s: works", *summary ? ", " : "", summary);
    else
        str_add(&line, ": would not work");
    cli_print_folded(str_text(&line), 0, 2);
    putchar('\n');
    fflush(stdout);
    str_free(&line);
}

static json_t *answer_json(const json_t *facts, bool works)
{
    static const char *const keys[] = {"path", "kind", "summary", "warnings", "notes"};
    json_t *o = json_object(), *first = json_array_get(json_object_get(facts, "faults"), 0);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        json_object_set(o, keys[i], json_object_get(facts, keys[i]));
    json_object_set_new(o, "works", json_boolean(works));
    json_object_set(o, "error", first ? first : json_null());
    return o;
}

int command_check(int argc, char **argv)
{
    struct general g = {0};
    int status = EXIT_DONE;
    const char *base = NULL;
    const struct arg table[] = {
        {"--model", ARG_TEXT, &base, "MODEL", "the base that adapters are compared with; default the one they name", 0, 0, NULL, NULL}, {0}};
    struct arg_spec spec = {.command = "check", .positional = "PATH...", .table = table, .min_words = 1, .max_words = 256,
                            .summary = "Says of each path what it is and whether it would work: a model folder, a GGUF, safetensors, an adapter (MLX, PEFT, "
                                       "GGUF), a run, data, a tokenizer, a Modelfile, a chat template, a configuration, settings for -c, a theme, or a model of "
                                       "the Hugging Face cache. All of it is read: every weight has to be a finite number. Exit status 1 when one would not work."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    struct gm_error err = {0};
    struct pool *pool = pool_new(g.threads, &err);
    if (!pool)
        return cli_fail(&err);
    struct facts_options o = {.verify = true, .pool = pool, .base = base};
    for (int i = 0; i < spec.n_words; i++) {
        err = (struct gm_error){0};
        json_t *facts = facts_of(spec.words[i], &o, &err);
        bool works = facts && facts_works(facts);
        if (!works)
            status = EXIT_FAILED;
        if (!facts) {
            if (g.json)
                cli_print_json(json_pack("{s:o, s:n, s:b, s:o}", "path", json_text(spec.words[i]), "kind", "works", 0, "error", json_text(err.text)));
            cli_fail(&err);
            continue;
        }
        if (g.json)
            cli_print_json(answer_json(facts, works));
        else
            print_answer(facts, works);
        print_remarks(facts, spec.words[i], g.quiet);
        json_decref(facts);
    }
    pool_free(pool);
    return cli_end(status);
}
