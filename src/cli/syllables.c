/* syllables.c - `gemmaiku syllables`: counts of each line and word, and the verdict. */
#include "src/cli/cli.h"

#include "engine/base/mem.h"
#include "engine/format/json.h"
#include "engine/verse/verse_json.h"

#include <stdio.h>
#include <string.h>

static void print_text(const struct syllables *s, const struct form *form, const char *text, size_t n)
{
    struct verdict v;
    form_judge(s, form, text, n, &v);
    size_t at = 0, length;
    const char *line;
    struct line_count count = {0};
    while (form_next_line(text, n, &at, &line, &length)) {
        syllables_line(s, line, length, &count);
        if (count.min == count.max)
            printf("%5d  ", count.likely);
        else
            printf("%2d~%-2d  ", count.min, count.max);
        cli_print_clean(line, length);
        fputs("   ", stdout);
        for (size_t w = 0; w < count.n_words; w++) {
            putchar(' ');
            cli_print_clean(line + count.words[w].start, count.words[w].length);
            printf("/%d", count.words[w].likely);
            for (int k = 1; k < count.words[w].n_alternatives; k++)
                printf("|%d", count.words[w].alternatives[k]);
        }
        putchar('\n');
    }
    line_count_free(&count);
    printf("%s: %s\n", form->title, v.strict ? "yes" : v.possible ? "possible, with another pronunciation" : "no");
}

static bool json_rows(const struct syllables *s, const struct form *form, bool *all_good, struct gm_error *err)
{
    struct str line = {0};
    char label[48];
    for (int row = 1; cli_next_line(&line, err); row++) {
        if (line.len == 0)
            continue;
        struct gm_error bad = {0};
        snprintf(label, sizeof label, "standard input:%d", row);
        json_t *o = json_parse(str_text(&line), line.len, label, &bad);
        const char *text = NULL;
        if (o && !json_is_object(o))
            error_set(&bad, GM_E_INPUT, "read %s: the row is no object", label);
        else if (o && json_get_string(o, "text", REQUIRED, &text, &bad))
            cli_print_json(verse_json_line(s, form, text, strlen(text)));
        if (!text) {
            *all_good = false;
            cli_print_json(json_pack("{s:s}", "error", bad.text));
        }
        json_decref(o);
        fflush(stdout);
    }
    str_free(&line);
    return err->code == GM_OK;
}

int command_syllables(int argc, char **argv)
{
    struct general g = {0};
    const char *form_name = "haiku";
    bool jsonl = false;
    int status;
    const struct arg table[] = {
        {"--form", ARG_TEXT, &form_name, "NAME", "haiku or tanka", 0, 0, NULL, NULL},
        {"--jsonl", ARG_FLAG, &jsonl, NULL, "reads {\"text\": ...} per line of standard input, writes counts and verdict per line", 0, 0, NULL, NULL},
        {0}};
    struct arg_spec spec = {.command = "syllables", .positional = "[TEXT...]", .table = table, .max_words = 256,
                            .summary = "Syllables of each line and word, and whether they make the form. Without TEXT: of standard input. Words of the\n"
                                       "command line are lines."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    struct gm_error err = {0};
    const struct form *form = form_find(form_name);
    if (!form) {
        error_set(&err, GM_E_USAGE, "find form %s: there is none of this name (haiku and tanka are known)", form_name);
        return cli_fail(&err);
    }
    struct syllables *s = syllables_open(&err);
    if (!s)
        return cli_fail(&err);
    bool good = true, ok = true;
    struct str text = {0};
    if (jsonl) {
        ok = json_rows(s, form, &good, &err);
    } else {
        for (int i = 0; i < spec.n_words; i++)
            str_printf(&text, "%s%s", i ? "\n" : "", spec.words[i]);
        ok = spec.n_words > 0 || cli_read_stdin(&text, 64 << 20, &err);
        if (ok && g.json)
            cli_print_json(verse_json_line(s, form, str_text(&text), text.len));
        else if (ok)
            print_text(s, form, str_text(&text), text.len);
    }
    str_free(&text);
    syllables_free(s);
    return ok ? cli_end(good ? EXIT_DONE : EXIT_FAILED) : cli_fail(&err);
}
