/* The built-in data `haiku`: strict 5-7-5 beyond dispute, no near duplicates, no leaks between its
 * files. The rules are proved on planted faults first. */
#include "engine/base/mem.h"
#include "engine/base/str.h"
#include "engine/builtin/builtin.h"
#include "engine/verse/form.h"
#include "tests/unit/verse/with_syllables.h"

#include <jansson.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FILES = 3, RUN_MAX = 3 };

static const char *const names[FILES] = {"haiku/train.jsonl", "haiku/valid.jsonl",
                                         "haiku/test.jsonl"};

struct row {
    int file; /* index into names */
    const char *prompt, *poem;
};

struct rows {
    struct row *at;
    size_t n;
};

struct faults {
    int form;      /* not three clean lines, not strict, or of more than one accepted count */
    int near_dup;  /* a run of more than RUN_MAX words that two poems share */
    int line;      /* a line that two poems share */
    int prompt;    /* a prompt that stands twice */
    int topic;     /* a topic word in the prompts of two files */
    int character; /* something other than printable ASCII and the two line breaks */
};

struct key {
    char *text;
    int file;
    size_t row;
};

struct keys {
    struct key *at;
    size_t n;
};

static void keys_add(struct keys *k, char *text, const struct rows *rows, size_t row)
{
    k->at = mem_grow(k->at, k->n, k->n + 1, sizeof *k->at);
    k->at[k->n++] = (struct key){text, rows->at[row].file, row};
}

static int compare_key(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

/* How many keys stand in two rows (of two files, if `across`); frees them. */
static int keys_shared(struct keys *k, bool across, const char *what, bool tell)
{
    int shared = 0;
    if (k->n)
        qsort(k->at, k->n, sizeof *k->at, compare_key);
    for (size_t i = 1; i < k->n; i++) {
        const struct key *a = &k->at[i - 1], *b = &k->at[i];
        if (strcmp(a->text, b->text) != 0 || a->row == b->row || (across && a->file == b->file))
            continue;
        shared++;
        if (tell)
            print_message("%s in two rows: %s\n", what, a->text);
    }
    for (size_t i = 0; i < k->n; i++)
        mem_free(k->at[i].text);
    mem_free(k->at);
    *k = (struct keys){0};
    return shared;
}

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool among(const char *word, const char *list)
{
    char *padded = mem_printf(" %s ", word);
    bool found = strstr(list, padded) != NULL;
    mem_free(padded);
    return found;
}

/* Lower-case words, those of `without` left out; free each and the array. An apostrophe inside a
 * word belongs to it when `apostrophes`. */
static char **words_of(const char *text, const char *without, bool apostrophes, size_t *n)
{
    char **words = mem_new(strlen(text) + 1, sizeof *words);
    char *lower = mem_copy(text);
    for (char *p = lower; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 32);
    *n = 0;
    for (const char *p = lower; *p;) {
        const char *start = p;
        while (is_word_byte(*p) || (apostrophes && *p == '\'' && p > start && is_word_byte(p[1])))
            p++;
        if (p == start) {
            p++;
            continue;
        }
        char *word = mem_copy_n(start, (size_t)(p - start));
        if (among(word, without))
            mem_free(word);
        else
            words[(*n)++] = word;
    }
    mem_free(lower);
    return words;
}

static void words_free(char **words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(words[i]);
    mem_free(words);
}

static const char function_words[] =
    " a about above across after again all along am an and another any are as at away back be"
    " because been before behind both but by can cannot could did do does down each for from had"
    " has have he her here him his how i if in inside into is it its just like me more most my near"
    " no nor not now of off on once one only or other out over own round she so some still than"
    " that the their them then there these they this those through till to too under until up us"
    " was we were what when where which while who whom whose why will with without would yet you"
    " your ";

/* Words that ask for a haiku or join the sentence, and name nothing. */
static const char asking_words[] =
    " write haiku poem please give tell explain describe compose make say put three lines line"
    " short something seventeen syllable syllables 5 7 a about an am and any are at be better by "
    "can"
    " could day do does first for from good have he how i in is it just last left me my need new no"
    " not of on or out over put she should some still t that the there this to want was we what who"
    " which why with work would yes you your ";

static void add_runs(struct keys *k, const struct rows *rows, size_t row, const char *without)
{
    size_t n;
    char **words = words_of(rows->at[row].poem, without, true, &n);
    for (size_t i = 0; i + RUN_MAX < n; i++) {
        struct str run = {0};
        for (size_t j = i; j <= i + RUN_MAX; j++)
            str_printf(&run, "%s ", words[j]);
        keys_add(k, str_take(&run), rows, row);
    }
    words_free(words, n);
}

static void add_topics(struct keys *k, const struct rows *rows, size_t row)
{
    size_t n;
    char **words = words_of(rows->at[row].prompt, asking_words, false, &n);
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(words[i]);
        while (length > 1 && words[i][length - 1] == 's')
            length--;
        keys_add(k, mem_copy_n(words[i], length), rows, row);
    }
    words_free(words, n);
}

static bool good_form(const struct syllables *s, const char *poem)
{
    struct verdict v;
    form_judge(s, form_find("haiku"), poem, strlen(poem), &v);
    bool good = v.strict;
    for (int i = 0; good && i < 3; i++)
        good = v.min[i] == v.syllables[i] && v.max[i] == v.syllables[i];

    int breaks = 0;
    for (const char *p = poem; *p; p++) {
        breaks += *p == '\n';
        bool edge = p == poem || p[-1] == '\n' || p[1] == '\n' || p[1] == '\0';
        good = good && !(edge && *p == ' ');
    }
    return good && breaks == 2;
}

static int strange_characters(const char *text, bool lines)
{
    int strange = !utf8_valid(text, strlen(text));
    for (const char *p = text; *p; p++)
        strange += (*p < ' ' || *p > '~') && !(lines && *p == '\n');
    return strange;
}

static struct faults find_faults(const struct syllables *s, const struct rows *rows, bool tell)
{
    struct faults f = {0};
    struct keys lines = {0}, prompts = {0}, topics = {0}, all = {0}, content = {0};
    for (size_t i = 0; i < rows->n; i++) {
        const struct row *row = &rows->at[i];
        if (!good_form(s, row->poem)) {
            f.form++;
            if (tell)
                print_message("form: %s\n", row->poem);
        }
        f.character += strange_characters(row->prompt, false) + strange_characters(row->poem, true);

        const char *line;
        size_t at = 0, length, n = strlen(row->poem);
        while (form_next_line(row->poem, n, &at, &line, &length))
            keys_add(&lines, mem_copy_n(line, length), rows, i);
        keys_add(&prompts, mem_copy(row->prompt), rows, i);
        add_topics(&topics, rows, i);
        add_runs(&all, rows, i, "");
        add_runs(&content, rows, i, function_words);
    }
    f.line = keys_shared(&lines, false, "line", tell);
    f.prompt = keys_shared(&prompts, false, "prompt", tell);
    f.topic = keys_shared(&topics, true, "topic", tell);
    f.near_dup = keys_shared(&all, false, "run", tell);
    f.near_dup += keys_shared(&content, false, "run of content words", tell);
    return f;
}

/* Reads a row; fails the test unless it is one user turn and one assistant turn and nothing else.
 */
static struct row read_row(int file, int number, const char *line, size_t n)
{
    json_error_t error;
    json_t *json = json_loadb(line, n, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        fail_msg("%s:%d: %s", names[file], number, error.text);
    const json_t *messages = json_object_get(json, "messages");
    if (json_object_size(json) != 1 || json_array_size(messages) != 2)
        fail_msg("%s:%d: not two messages", names[file], number);
    static const char *const roles[2] = {"user", "assistant"};
    const char *content[2];
    for (size_t i = 0; i < 2; i++) {
        const json_t *message = json_array_get(messages, i);
        const char *role = json_string_value(json_object_get(message, "role"));
        content[i] = json_string_value(json_object_get(message, "content"));
        if (json_object_size(message) != 2 || !role || strcmp(role, roles[i]) != 0 || !content[i] ||
            !*content[i])
            fail_msg("%s:%d: message %zu is not %s with content", names[file], number, i, roles[i]);
    }
    struct row row = {file, mem_copy(content[0]), mem_copy(content[1])};
    json_decref(json);
    return row;
}

static void rows_free(struct rows *rows)
{
    for (size_t i = 0; i < rows->n; i++) {
        mem_free((char *)rows->at[i].prompt);
        mem_free((char *)rows->at[i].poem);
    }
    mem_free(rows->at);
}

static void rows_add(struct rows *rows, struct row row)
{
    rows->at = mem_grow(rows->at, rows->n, rows->n + 1, sizeof *rows->at);
    rows->at[rows->n++] = row;
}

static void test_data(void **state)
{
    const struct syllables *s = *state;
    static const int expected[FILES] = {507, 40, 40};
    struct rows rows = {0};
    for (int file = 0; file < FILES; file++) {
        const struct builtin_file *f = builtin_find(names[file]);
        assert_non_null(f);
        assert_true(utf8_valid((const char *)f->data, f->size));
        int number = 0;
        const char *p = (const char *)f->data, *end = p + f->size;
        while (p < end) {
            const char *stop = memchr(p, '\n', (size_t)(end - p));
            if (!stop)
                fail_msg("%s: the last line does not end", names[file]);
            rows_add(&rows, read_row(file, ++number, p, (size_t)(stop - p)));
            p = stop + 1;
        }
        assert_int_equal(number, expected[file]);
    }
    struct faults f = find_faults(s, &rows, true);
    assert_int_equal(f.form, 0);
    assert_int_equal(f.character, 0);
    assert_int_equal(f.near_dup, 0);
    assert_int_equal(f.line, 0);
    assert_int_equal(f.prompt, 0);
    assert_int_equal(f.topic, 0);
    rows_free(&rows);
}

#define SNOW "All night the snow falls.\nAt dawn the street has no name\nand no one to ask."
#define ROSE "A rose on the bus.\nHe holds it down by his knee\nso no one will see."

/* Each rule finds the fault it is there for, and only that. */
static void test_rules(void **state)
{
    const struct syllables *s = *state;
    static const struct {
        struct row second;
        struct faults expected;
    } cases[] = {
        {{1, "rose", ROSE}, {0}},
        {{0, "Snows in May", ROSE}, {0}}, /* one file may come back to its topic */
        {{1, "Tell me about snows.", ROSE}, {.topic = 1}},
        {{0, "snow", ROSE}, {.prompt = 1}},
        {{1, "rose", "A rose on the bus.\nHe holds it down\nso no one will see."}, {.form = 1}},
        {{1, "rose", ROSE "\n"}, {.form = 1}},
        {{1, "rose", ROSE " "}, {.form = 1}},
        {{1, "rose", "A rose by the fire.\nHe holds it down by his knee\nso no one will see."},
         {.form = 1}}, /* fire: one or two */
        {{1, "rose", "A rose on the bus.\nHe holds it down by his knee\nand no one to ask."},
         {.line = 1, .near_dup = 2}}, /* four words twice in a run of five */
        {{1, "rose",
          "Snow falls on the street.\nHe holds it down by his knee\nall night, the snow falls."},
         {.near_dup = 2}},
        {{1, "rose",
          "Night and snow falls. Dawn,\nstreet. He holds it by his knee\nso no one will see."},
         {.near_dup = 2}}, /* night snow falls dawn street */
        {{1, "r\xC3\xB4se", ROSE}, {.character = 2}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct row two[2] = {{0, "snow", SNOW}, cases[i].second};
        struct rows rows = {two, 2};
        struct faults f = find_faults(s, &rows, false);
        if (memcmp(&f, &cases[i].expected, sizeof f) != 0)
            fail_msg("case %zu: form %d, near %d, line %d, prompt %d, topic %d, character %d", i,
                     f.form, f.near_dup, f.line, f.prompt, f.topic, f.character);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules), cmocka_unit_test(test_data)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
