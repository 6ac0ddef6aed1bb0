/* data_view.c - the rows of the Data screen, and all about the selected one. UI thread; cheap: a row is looked up, the detail of one row is worked out
 * when the selection moves. */
#include "src/workbench/state.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { DETAIL_BYTES = 8192, DETAIL_PIECES = 4096 };

struct detail {
    size_t row; /* which row this is; SIZE_MAX: none */
    uint64_t version;
    struct view_detail view;
    struct view_turn turns[2];
    char *prompt, *answer;
    struct verse_text verse;
    struct view_word *words;
    char **word_texts;
    size_t n_words;
    struct view_piece *pieces;
    char **piece_texts;
    size_t n_pieces;
    char place[300], flags[160];
};

static void detail_clear(struct detail *d)
{
    for (size_t i = 0; i < d->n_words; i++)
        mem_free(d->word_texts[i]);
    for (size_t i = 0; i < d->n_pieces; i++)
        mem_free(d->piece_texts[i]);
    mem_free(d->words);
    mem_free(d->word_texts);
    mem_free(d->pieces);
    mem_free(d->piece_texts);
    mem_free(d->prompt);
    mem_free(d->answer);
    verse_free(&d->verse);
    *d = (struct detail){.row = SIZE_MAX};
}

void data_view_free(struct workbench *w)
{
    if (w->detail)
        detail_clear(w->detail);
    mem_free(w->detail);
    w->detail = NULL;
    rows_free(w->rows);
    w->rows = NULL;
}

static const struct view_row *row_at(void *ctx, size_t i)
{
    return &((struct workbench *)ctx)->rows->rows[i];
}

/* As much of a text as is worth showing, and as can be worked out while a person moves through the rows; mem_free. */
static char *beginning(const char *text)
{
    size_t n = strlen(text);
    return mem_copy_n(text, n > DETAIL_BYTES ? utf8_complete_prefix(text, DETAIL_BYTES) : n);
}

static void add_words(struct workbench *w, struct detail *d, const char *answer)
{
    struct line_count count = {0};
    size_t at = 0, length, n = strlen(answer), cap = 0;
    const char *line;
    for (int k = 0; form_next_line(answer, n, &at, &line, &length); k++) {
        syllables_line(w->syllables, line, length, &count);
        if (d->n_words + count.n_words > cap) {
            size_t bigger = 2 * (d->n_words + count.n_words);
            d->words = mem_grow(d->words, cap, bigger, sizeof *d->words);
            d->word_texts = mem_grow(d->word_texts, cap, bigger, sizeof *d->word_texts);
            cap = bigger;
        }
        for (size_t i = 0; i < count.n_words; i++, d->n_words++) {
            const struct word_count *c = &count.words[i];
            char *raw = mem_copy_n(line + c->start, c->length);
            d->word_texts[d->n_words] = clean_copy(raw, false);
            mem_free(raw);
            d->words[d->n_words] = (struct view_word){.text = d->word_texts[d->n_words], .syllables = c->likely, .min = c->min, .max = c->max,
                                                      .source = c->source, .line = k};
        }
    }
    line_count_free(&count);
}

static void add_pieces(struct workbench *w, struct detail *d, const struct row *r)
{
    int n = r->n < DETAIL_PIECES ? r->n : DETAIL_PIECES;
    d->pieces = mem_new(n > 0 ? (size_t)n : 1, sizeof *d->pieces);
    d->piece_texts = mem_new(n > 0 ? (size_t)n : 1, sizeof *d->piece_texts);
    for (int i = 0; i < n; i++, d->n_pieces++) {
        struct str text = {0}, clean = {0};
        tokenizer_decode(w->tools.tokenizer, &r->ids[i], 1, false, &text, NULL);
        for (size_t k = 0; k < text.len; k++) {
            if (text.data[k] == '\n')
                str_add(&clean, "\\n");
            else
                str_add_char(&clean, text.data[k]);
        }
        char *shown = clean_copy(str_text(&clean), false);
        d->piece_texts[i] = shown;
        d->pieces[i] = (struct view_piece){.text = shown, .id = r->ids[i], .loss = r->supervised[i]};
        str_free(&text);
        str_free(&clean);
    }
}

static void set_flags(struct detail *d, const struct row *r, int max_seq)
{
    struct str s = {0};
    if (r->n_full > r->n)
        str_printf(&s, "cut at %d of %d tokens", max_seq, r->n_full);
    if (r->duplicate_of >= 0)
        str_printf(&s, "%sduplicates row %d", s.len ? ", " : "", r->duplicate_of + 1);
    if (row_found(r, FIND_LEAK))
        str_printf(&s, "%sstands in train, too", s.len ? ", " : "");
    const unsigned told = 1u << FIND_CUT | 1u << FIND_DUPLICATE | 1u << FIND_LEAK;
    for (int f = 0; f < FIND_COUNT; f++)
        if (r->findings & ~told & 1u << f)
            str_printf(&s, "%s%s", s.len ? ", " : "", finding_name((enum finding)f));
    snprintf(d->flags, sizeof d->flags, "%s", str_text(&s));
    str_free(&s);
}

static const struct view_detail *detail_at(void *ctx, size_t i)
{
    struct workbench *w = ctx;
    if (!w->detail) {
        w->detail = mem_new(1, sizeof *w->detail);
        w->detail->row = SIZE_MAX;
    }
    struct detail *d = w->detail;
    if (d->row == i && d->version == w->view.data.version)
        return &d->view;
    const struct row *r = &w->rows->dataset->rows[i];
    detail_clear(d);
    d->row = i;
    d->version = w->view.data.version;
    char *prompt = beginning(r->prompt), *answer = beginning(r->answer);
    d->prompt = clean_copy(prompt, true);
    d->answer = clean_copy(answer, true);
    d->turns[0] = (struct view_turn){"user", d->prompt};
    d->turns[1] = (struct view_turn){"assistant", d->answer};
    verse_set(&d->verse, w->syllables, answer, strlen(answer));
    if (!*answer)
        d->verse.verdict = VERDICT_NONE; /* as in the list: a row without an answer is not judged */
    add_words(w, d, answer);
    mem_free(prompt);
    mem_free(answer);
    add_pieces(w, d, r);
    int max_seq = w->tools.options ? w->tools.options->max_seq_length : 0;
    set_flags(d, r, max_seq);
    char *file = clean_copy(r->file, false);
    snprintf(d->place, sizeof d->place, "%s:%d", file, r->line);
    mem_free(file);
    d->view = (struct view_detail){.place = d->place, .turns = d->turns, .turn_count = r->form == ROW_MESSAGES || r->form == ROW_CONVERSATIONS ? 2 : 1,
                                   .verse = verse_view(&d->verse), .words = d->words, .word_count = d->n_words, .pieces = d->pieces,
                                   .piece_count = d->n_pieces, .flags = d->flags[0] ? d->flags : NULL, .max_seq = max_seq};
    if (d->view.turn_count == 1)
        d->turns[0] = (struct view_turn){"text", *r->answer ? d->answer : d->prompt};
    return &d->view;
}

void data_view_fill(struct workbench *w)
{
    struct view_data *v = &w->view.data;
    if (!w->rows)
        return;
    const struct dataset *d = w->rows->dataset;
    snprintf(w->data_about, sizeof w->data_about, "train %d  valid %d  test %d%s", d->count[SPLIT_TRAIN], d->count[SPLIT_VALID], d->count[SPLIT_TEST],
             d->split_made ? "  (split from the seed)" : "");
    v->about = w->data_about;
    v->name = w->data_name;
    v->count = v->checked = w->rows->n;
    v->row = row_at;
    v->detail = detail_at;
    v->ctx = w;
    v->strict = w->rows->strict;
    v->possible = w->rows->possible;
    v->wrong = w->rows->wrong;
    v->duplicates = (size_t)d->found[FIND_DUPLICATE];
    v->leaks = (size_t)d->found[FIND_LEAK];
    v->truncated = (size_t)d->found[FIND_CUT];
}
