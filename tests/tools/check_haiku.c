/* check_haiku.c - reads haiku rows and says what is wrong with them, for whoever writes them.
 *
 *     ninja check_haiku && tests/tools/check_haiku train.jsonl valid.jsonl test.jsonl [--uncertain]
 *
 * A row is {"messages": [...]} (the last assistant message is the haiku, the last user message the
 * prompt), {"conversations": [...]},
 * {"prompt", "completion"} or {"text"}. Complaints, one a line, "FILE:LINE: kind: ...":
 *
 *     form       not three lines, or likely counts that are not 5-7-5; every word with its counts
 *     loose      strict, but some word has other accepted counts (only with --uncertain)
 *     guess      a word that no dictionary holds: look at its count (only with --uncertain)
 *     near       shares a run of more than three content words with another haiku (function words
 * are skipped) line       has a line that stands in another haiku as well prompt     the prompt
 * stands in another file as well, or twice in this one
 *
 * Exit status 0: nothing but loose and guess; 1: complaints; 2: a file cannot be read.
 */
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/verse/form.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUN_MAX = 3 }; /* content words that two haiku may share in a row */

static const char *const function_words[] = {
    "a",     "about",   "above",   "across",  "after",   "again",  "against", "all",    "along",
    "am",    "among",   "an",      "and",     "another", "any",    "are",     "around", "as",
    "at",    "away",    "back",    "be",      "because", "been",   "before",  "behind", "being",
    "below", "beneath", "beside",  "between", "beyond",  "both",   "but",     "by",     "can",
    "could", "did",     "do",      "does",    "down",    "each",   "every",   "for",    "from",
    "had",   "has",     "have",    "he",      "her",     "here",   "hers",    "him",    "his",
    "how",   "i",       "if",      "in",      "into",    "is",     "it",      "its",    "itself",
    "just",  "like",    "may",     "me",      "might",   "mine",   "more",    "most",   "must",
    "my",    "near",    "no",      "nor",     "not",     "now",    "of",      "off",    "on",
    "once",  "one",     "only",    "onto",    "or",      "other",  "our",     "ours",   "out",
    "over",  "own",     "past",    "shall",   "she",     "should", "so",      "some",   "still",
    "such",  "than",    "that",    "the",     "their",   "theirs", "them",    "then",   "there",
    "these", "they",    "this",    "those",   "through", "till",   "to",      "too",    "toward",
    "under", "until",   "up",      "upon",    "us",      "very",   "was",     "we",     "were",
    "what",  "when",    "where",   "which",   "while",   "who",    "whose",   "why",    "will",
    "with",  "within",  "without", "would",   "yet",     "you",    "your",    "yours"};

struct haiku {
    int file;     /* index into the arguments */
    int line;     /* from 1 */
    char *prompt; /* may be NULL */
    char *text;
};

/* A key (a run of words, a line, a prompt) and where it was seen. */
struct key {
    char *text;
    int row;
};

struct check {
    const struct syllables *s;
    const char **files;
    struct haiku *rows;
    int n_rows, n_complaints;
    bool uncertain;
};

static void complain(struct check *c, int row, const char *kind)
{
    printf("%s:%d: %s: ", c->files[c->rows[row].file], c->rows[row].line, kind);
    c->n_complaints++;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_function_word(const char *word)
{
    return bsearch(&word, function_words, sizeof function_words / sizeof *function_words,
                   sizeof *function_words, compare_text) != NULL;
}

/* The words of a text in lower case; with `content` only those that are no function words.
 * NULL-terminated, mem_free all. */
static char **words_of(const struct check *c, const char *text, bool content)
{
    struct line_count line = {0};
    syllables_line(c->s, text, strlen(text), &line);
    char **words = mem_new(line.n_words + 1, sizeof *words);
    size_t n = 0;
    for (size_t i = 0; i < line.n_words; i++) {
        char *word = mem_copy_n(text + line.words[i].start, line.words[i].length);
        for (char *p = word; *p; p++)
            if (*p >= 'A' && *p <= 'Z')
                *p = (char)(*p + 32);
        if (content && is_function_word(word))
            mem_free(word);
        else
            words[n++] = word;
    }
    line_count_free(&line);
    return words;
}

static void words_free(char **words)
{
    for (char **w = words; *w; w++)
        mem_free(*w);
    mem_free(words);
}

static char *joined(char **words, size_t n)
{
    struct str s = {0};
    for (size_t i = 0; i < n && words[i]; i++) {
        if (i)
            str_add_char(&s, ' ');
        str_add(&s, words[i]);
    }
    return str_take(&s);
}

static const char *last_content(const json_t *turns, const char *who_key, const char *text_key,
                                const char *a, const char *b)
{
    const char *found = NULL;
    size_t i;
    json_t *turn;
    json_array_foreach(turns, i, turn)
    {
        const char *who = json_string_value(json_object_get(turn, who_key));
        const char *text = json_string_value(json_object_get(turn, text_key));
        if (who && text && (strcmp(who, a) == 0 || strcmp(who, b) == 0))
            found = text;
    }
    return found;
}

static bool read_row(const char *line, size_t n, struct haiku *h)
{
    json_t *row = json_loadb(line, n, 0, NULL);
    const char *prompt = NULL, *text = NULL;
    const json_t *messages = json_object_get(row, "messages"),
                 *turns = json_object_get(row, "conversations");
    if (messages) {
        prompt = last_content(messages, "role", "content", "user", "human");
        text = last_content(messages, "role", "content", "assistant", "model");
    } else if (turns) {
        prompt = last_content(turns, "from", "value", "human", "user");
        text = last_content(turns, "from", "value", "gpt", "assistant");
    } else {
        prompt = json_string_value(json_object_get(row, "prompt"));
        text = json_string_value(json_object_get(row, prompt ? "completion" : "text"));
    }
    h->prompt = prompt ? mem_copy(prompt) : NULL;
    h->text = text ? mem_copy(text) : NULL;
    json_decref(row);
    return h->text != NULL;
}

static bool read_file(struct check *c, int file)
{
    struct gm_error err = {0};
    struct str all = {0};
    if (!file_read_all(c->files[file], 256u << 20, &all, &err)) {
        fprintf(stderr, "check_haiku: %s\n", err.text);
        return false;
    }
    int line = 0;
    bool good = true;
    for (const char *p = str_text(&all), *end = p + all.len; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop)
            stop = end;
        line++;
        if (stop > p && strspn(p, " \t\r") < (size_t)(stop - p)) {
            struct haiku h = {.file = file, .line = line};
            if (read_row(p, (size_t)(stop - p), &h)) {
                c->rows =
                    mem_grow(c->rows, (size_t)c->n_rows, (size_t)c->n_rows + 1, sizeof *c->rows);
                c->rows[c->n_rows++] = h;
            } else {
                fprintf(stderr, "check_haiku: read %s:%d: no JSON row with a haiku in it\n",
                        c->files[file], line);
                mem_free(h.prompt);
                good = false;
            }
        }
        p = stop + 1;
    }
    str_free(&all);
    return good;
}

static void print_words(const char *text, const struct line_count *line)
{
    for (size_t i = 0; i < line->n_words; i++) {
        const struct word_count *w = &line->words[i];
        printf(" %.*s %d", (int)w->length, text + w->start, w->likely);
        for (int k = 1; k < w->n_alternatives; k++)
            printf("|%d", w->alternatives[k]);
        if (strcmp(w->source, "dictionary") != 0 && strcmp(w->source, "overlay") != 0)
            printf(" (%s)", w->source);
    }
}

static void check_form(struct check *c, int row)
{
    const char *text = c->rows[row].text, *line;
    size_t n = strlen(text), at = 0, length;
    struct verdict v;
    form_judge(c->s, form_find("haiku"), text, n, &v);
    if (!v.strict) {
        complain(c, row, "form");
        if (!v.three_lines)
            printf("%d lines", v.n_lines);
        struct line_count count = {0};
        for (int i = 0; form_next_line(text, n, &at, &line, &length); i++) {
            if (i < FORM_LINES && v.fits[i])
                continue;
            syllables_line(c->s, line, length, &count);
            printf(" [line %d = %d:", i + 1, count.likely);
            print_words(line, &count);
            printf("]");
        }
        printf("%s\n", v.possible ? " (possible)" : "");
        line_count_free(&count);
    } else if (c->uncertain) {
        struct line_count count = {0};
        while (form_next_line(text, n, &at, &line, &length)) {
            syllables_line(c->s, line, length, &count);
            for (size_t i = 0; i < count.n_words; i++) {
                const struct word_count *w = &count.words[i];
                bool guess =
                    strcmp(w->source, "dictionary") != 0 && strcmp(w->source, "overlay") != 0;
                if (!guess && w->n_alternatives == 1)
                    continue;
                printf("%s:%d: %s: %.*s %d", c->files[c->rows[row].file], c->rows[row].line,
                       guess ? "guess" : "loose", (int)w->length, line + w->start, w->likely);
                for (int k = 1; k < w->n_alternatives; k++)
                    printf("|%d", w->alternatives[k]);
                printf(" (%s)\n", w->source);
            }
        }
        line_count_free(&count);
    }
}

static int compare_key(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

static void keys_add(struct key **keys, size_t *n, char *text, int row)
{
    if ((*n & (*n - 1)) == 0)
        *keys = mem_grow(*keys, *n, *n ? *n * 2 : 1, sizeof **keys);
    (*keys)[(*n)++] = (struct key){text, row};
}

/* Names every key that more than one row has, each row once after the first. */
static void keys_report(struct check *c, struct key *keys, size_t n, const char *kind)
{
    if (n)
        qsort(keys, n, sizeof *keys, compare_key);
    int told_row = -1, told_other = -1;
    for (size_t i = 1; i < n; i++) {
        if (strcmp(keys[i].text, keys[i - 1].text) != 0 || keys[i].row == keys[i - 1].row)
            continue;
        if (keys[i].row == told_row && keys[i - 1].row == told_other)
            continue; /* a longer run of the same two */
        told_row = keys[i].row;
        told_other = keys[i - 1].row;
        const struct haiku *other = &c->rows[keys[i - 1].row];
        complain(c, keys[i].row, kind);
        printf("\"%s\" also at %s:%d\n", keys[i].text, c->files[other->file], other->line);
    }
    for (size_t i = 0; i < n; i++)
        mem_free(keys[i].text);
    mem_free(keys);
}

static void check_shared(struct check *c)
{
    struct key *runs = NULL, *lines = NULL, *prompts = NULL;
    size_t n_runs = 0, n_lines = 0, n_prompts = 0;
    for (int row = 0; row < c->n_rows; row++) {
        const char *text = c->rows[row].text, *line;
        char **words = words_of(c, text, true);
        size_t n = 0, at = 0, length;
        while (words[n])
            n++;
        for (size_t i = 0; i + RUN_MAX + 1 <= n; i++)
            keys_add(&runs, &n_runs, joined(words + i, RUN_MAX + 1), row);
        words_free(words);
        while (form_next_line(text, strlen(text), &at, &line, &length)) {
            char *copy = mem_copy_n(line, length);
            words = words_of(c, copy, false);
            keys_add(&lines, &n_lines, joined(words, length), row);
            words_free(words);
            mem_free(copy);
        }
        if (c->rows[row].prompt) {
            words = words_of(c, c->rows[row].prompt, false);
            keys_add(&prompts, &n_prompts, joined(words, strlen(c->rows[row].prompt) + 1), row);
            words_free(words);
        }
    }
    keys_report(c, runs, n_runs, "near");
    keys_report(c, lines, n_lines, "line");
    keys_report(c, prompts, n_prompts, "prompt");
}

int main(int argc, char **argv)
{
    struct gm_error err = {0};
    struct syllables *s = syllables_open(&err);
    if (!s) {
        fprintf(stderr, "check_haiku: %s\n", err.text);
        return 2;
    }
    struct check c = {.s = s, .files = mem_new((size_t)argc, sizeof(char *))};
    int n_files = 0;
    bool good = true;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--uncertain") == 0)
            c.uncertain = true;
        else
            c.files[n_files++] = argv[i];
    }
    if (n_files == 0)
        fprintf(stderr, "usage: check_haiku FILE.jsonl... [--uncertain]\n");
    for (int i = 0; i < n_files; i++)
        good = read_file(&c, i) && good;
    for (int i = 0; i < c.n_rows; i++)
        check_form(&c, i);
    check_shared(&c);
    fprintf(stderr, "%d rows, %d complaints\n", c.n_rows, c.n_complaints);
    for (int i = 0; i < c.n_rows; i++) {
        mem_free(c.rows[i].prompt);
        mem_free(c.rows[i].text);
    }
    mem_free(c.rows);
    mem_free(c.files);
    syllables_free(s);
    return !good || n_files == 0 ? 2 : c.n_complaints ? 1 : 0;
}
