/* inspect.c - `gemmaiku inspect`: what a model, an adapter, a GGUF, a run holds; the facts as a tree, for people or as JSON. */
#include "src/cli/facts.h"

#include "engine/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { LABEL_MAX = 44 };

static void print_text(const char *text)
{
    cli_print_clean(text, strlen(text));
}

static void add_scalar(struct str *out, const json_t *v)
{
    if (json_is_string(v))
        str_add(out, json_string_value(v));
    else if (json_is_integer(v))
        str_printf(out, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        str_printf(out, "%.9g", json_real_value(v));
    else if (json_is_boolean(v))
        str_add(out, json_is_true(v) ? "yes" : "no");
    else
        str_add(out, "-");
}

/* A value that begins at this column, and its line's end. */
static void print_line(struct str *text, int column)
{
    cli_print_folded(str_text(text), column, column);
    putchar('\n');
    str_free(text);
}

static bool is_scalar(const json_t *v)
{
    return !json_is_object(v) && !json_is_array(v);
}

/* Where the values of an object stand: behind its longest key. */
static int label_width(const json_t *object)
{
    const char *key;
    json_t *inner;
    int width = 8;
    json_object_foreach((json_t *)object, key, inner)
    {
        int n = (int)strlen(key) + 2;
        width = n > width && n <= LABEL_MAX ? n : width;
    }
    return width;
}

/* Gives the column behind it. */
static int print_label(int depth, const char *key, int width)
{
    int used = (int)strlen(key), space = used < width ? width - used : 1;
    printf("%*s", 2 * depth, "");
    print_text(key);
    printf("%*s", space, "");
    return 2 * depth + used + space;
}

static void print_value(int depth, const char *key, int width, const json_t *v);

/* "id 2 <eos>": a small object on one line, that begins at this column. */
static bool print_small(const json_t *v, int column)
{
    const char *key;
    json_t *inner;
    struct str line = {0};
    json_object_foreach((json_t *)v, key, inner)
        if (!is_scalar(inner) || (json_is_string(inner) && strchr(json_string_value(inner), '\n')))
            return false;
    if (json_object_size(v) > 6)
        return false;
    json_object_foreach((json_t *)v, key, inner)
    {
        str_printf(&line, "%s%s ", line.len ? ", " : "", key);
        add_scalar(&line, inner);
    }
    print_line(&line, column);
    return true;
}

static void print_list(int depth, const json_t *list, int column)
{
    size_t i;
    json_t *item;
    bool flat = true;
    json_array_foreach(list, i, item)
        flat = flat && is_scalar(item);
    if (flat) {
        struct str line = {0};
        json_array_foreach(list, i, item)
        {
            str_add(&line, i ? ", " : "");
            add_scalar(&line, item);
        }
        str_add(&line, i ? "" : "-");
        print_line(&line, column);
        return;
    }
    putchar('\n');
    json_array_foreach(list, i, item)
    {
        const char *key;
        json_t *inner;
        if (json_is_object(item) && json_object_size(item) == 1) { /* an instruction of a Modelfile over several lines */
            json_object_foreach(item, key, inner)
                print_value(depth + 1, key, 0, inner);
            continue;
        }
        printf("%*s", 2 * depth + 2, "");
        if (!json_is_object(item) || !print_small(item, 2 * depth + 4))
            print_value(depth + 1, "", 0, item);
    }
}

/* Shape and type in columns: tensors are many. */
static void print_tensors(const json_t *list)
{
    size_t i, k;
    json_t *t, *d;
    json_array_foreach(list, i, t)
    {
        struct str shape = {0};
        json_array_foreach(json_object_get(t, "shape"), k, d)
            str_printf(&shape, "%s%lld", k ? ", " : "", (long long)json_integer_value(d));
        printf("  %-7s [%s]%*s", json_string_value(json_object_get(t, "type")), str_text(&shape), shape.len < 20 ? (int)(20 - shape.len) : 1, "");
        print_text(json_string_value(json_object_get(t, "name")));
        putchar('\n');
        str_free(&shape);
    }
}

static void print_block(int depth, const char *text)
{
    putchar('\n');
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        printf("%*s| ", 2 * depth + 2, "");
        cli_print_clean(p, n);
        putchar('\n');
        p += n + (p[n] == '\n');
    }
}

static void print_value(int depth, const char *key, int width, const json_t *v)
{
    const char *inner_key;
    json_t *inner;
    int column = *key ? print_label(depth, key, width) : 2 * depth;
    if (json_is_string(v) && strchr(json_string_value(v), '\n')) {
        print_block(depth, json_string_value(v));
    } else if (is_scalar(v)) {
        struct str line = {0};
        add_scalar(&line, v);
        print_line(&line, column);
    } else if (json_is_array(v) && strcmp(key, "list") == 0) {
        putchar('\n');
        print_tensors(v);
    } else if (json_is_array(v)) {
        print_list(depth, v, column);
    } else if (depth == 0 || !print_small(v, column)) {
        int inner_width = label_width(v);
        putchar('\n');
        json_object_foreach((json_t *)v, inner_key, inner)
            print_value(depth + 1, inner_key, inner_width, inner);
    }
}

static void print_facts(const json_t *facts)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)facts, key, value)
    {
        if (json_is_array(value) && json_array_size(value) == 0)
            continue;
        bool lines = strcmp(key, "notes") == 0 || strcmp(key, "warnings") == 0 || strcmp(key, "faults") == 0;
        if (!lines) {
            print_value(0, key, 11, value);
            continue;
        }
        size_t i;
        json_t *line;
        json_array_foreach(value, i, line)
            print_value(0, strcmp(key, "notes") == 0 ? "note" : strcmp(key, "warnings") == 0 ? "warning" : "fault", 11, line);
    }
}

int command_inspect(int argc, char **argv)
{
    struct general g = {0};
    struct facts_options o = {0};
    int status;
    const struct arg table[] = {
        {"--tensors", ARG_FLAG, &o.all_tensors, NULL, "every tensor: type, shape, name", 0, 0, NULL, NULL},
        {"--template", ARG_FLAG, &o.whole_template, NULL, "the whole chat template, not its first lines", 0, 0, NULL, NULL},
        {"--arrays", ARG_FLAG, &o.whole_arrays, NULL, "long texts and arrays of the metadata in full", 0, 0, NULL, NULL},
        {0}};
    struct arg_spec spec = {.command = "inspect", .positional = "PATH", .table = table, .min_words = 1, .max_words = 1,
                            .summary = "What a model, an adapter, a GGUF, a run or any file that `check` knows holds: tensors, metadata, configuration, tokenizer, "
                                       "template, adapter, where a run comes from. Reads headers, not weights."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    struct gm_error err = {0};
    json_t *facts = facts_of(spec.words[0], &o, &err);
    if (!facts)
        return cli_fail(&err);
    bool works = facts_works(facts);
    if (g.json)
        cli_print_json(facts);
    else
        print_facts(facts);
    if (!g.json)
        json_decref(facts);
    return cli_end(works ? EXIT_DONE : EXIT_FAILED);
}
