/* dataset.c - finds the files of DATA, has their rows read, encoded, split and compared, and says
 * what was noteworthy. */
#include "engine/train/dataset.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/builtin/builtin.h"
#include "engine/train/encode.h"
#include "engine/train/gate.h"
#include "engine/train/split.h"
#include "engine/train/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const SPLIT_NAMES[SPLIT_COUNT] = {"train", "valid", "test"};
enum { NOTES_NAMED = 20 }; /* rows named one by one; the rest is counted */

struct owned {
    struct store store;
    struct str hashed;  /* "HEX  NAME\n" of each file, "WEIGHT  SOURCE\n" of each source of a mixture */
    struct str ignored; /* columns of tables */
};

static void note(struct dataset *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct dataset *d, const char *format, ...)
{
    struct str line = {0};
    va_list args;
    va_start(args, format);
    str_vprintf(&line, format, args);
    va_end(args);
    text_clean(&d->notes, str_text(&line), line.len, false, false);
    str_add_char(&d->notes, '\n');
    str_free(&line);
}

/* ---- files ---- */

static bool read_bytes(struct dataset *d, struct row_list *list, const void *bytes, size_t n,
                       const char *label, enum split split, struct gm_error *err)
{
    struct owned *own = d->owned;
    char hex[65];
    const char *file = store_text(&own->store, label);
    bool ok = table_ending(label) ? table_read(list, &own->store, bytes, n, file, split, &own->ignored, err)
                                  : rows_read_file(list, &own->store, bytes, n, file, split, err);
    if (ok) {
        sha256_bytes(bytes, n, hex);
        str_printf(&own->hashed, "%s  %s\n", hex, path_base(label));
    }
    return ok;
}

static bool read_path(struct dataset *d, struct row_list *list, const char *path, enum split split,
                      struct gm_error *err)
{
    static const char *const BINARY[] = {".parquet", ".arrow"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof BINARY / sizeof *BINARY; i++)
        if (n > strlen(BINARY[i]) && strcmp(path + n - strlen(BINARY[i]), BINARY[i]) == 0)
            return error_set(err, GM_E_UNSUPPORTED, "read %s: files of this kind are not read (convert it to .jsonl)", path);
    struct mapping m;
    if (!mapping_open(&m, path, err))
        return false;
    bool ok = read_bytes(d, list, m.size ? (const void *)m.data : "", m.size, path, split, err);
    mapping_close(&m);
    return ok;
}

/* One split of a folder: NAME.jsonl, NAME.json, NAME.csv or NAME.tsv. *found says whether there is one. */
static bool read_split_file(struct dataset *d, struct row_list *list, const char *folder,
                            enum split split, bool *found, struct gm_error *err)
{
    static const char *const ENDINGS[] = {"jsonl", "json", "csv", "tsv"};
    *found = false;
    for (size_t i = 0; i < sizeof ENDINGS / sizeof *ENDINGS && !*found; i++) {
        char *name = mem_printf("%s.%s", SPLIT_NAMES[split], ENDINGS[i]),
             *path = path_join(folder, name);
        bool ok = true;
        if (file_exists(path)) {
            *found = true;
            ok = read_path(d, list, path, split, err);
        }
        mem_free(name);
        mem_free(path);
        if (!ok)
            return false;
    }
    return true;
}

static bool read_builtin(struct dataset *d, struct row_list *list, const char *name,
                         bool found[SPLIT_COUNT], struct gm_error *err)
{
    for (int s = 0; s < SPLIT_COUNT; s++) {
        char *label = mem_printf("%s/%s.jsonl", name, SPLIT_NAMES[s]);
        const struct builtin_file *f = builtin_find(label);
        found[s] = f != NULL;
        bool ok = !f || read_bytes(d, list, f->data, f->size, label, (enum split)s, err);
        mem_free(label);
        if (!ok)
            return false;
    }
    return true;
}

static bool read_folder(struct dataset *d, struct row_list *list, const char *folder,
                        bool found[SPLIT_COUNT], struct gm_error *err)
{
    for (int s = 0; s < SPLIT_COUNT; s++)
        if (!read_split_file(d, list, folder, (enum split)s, &found[s], err))
            return false;
    if (!found[SPLIT_TRAIN] && !found[SPLIT_VALID] && !found[SPLIT_TEST])
        return error_set(err, GM_E_INPUT,
                         "read %s: no train, valid or test file with the ending .jsonl, .json, .csv or .tsv "
                         "(name a file, or add train.jsonl)",
                         folder);
    return true;
}

/* found[s]: the split came as a file of its own. */
static bool read_data(struct dataset *d, struct row_list *list, const char *data,
                      bool found[SPLIT_COUNT], struct gm_error *err)
{
    char *builtin = mem_printf("%s/train.jsonl", data);
    bool is_builtin = builtin_find(builtin) != NULL;
    mem_free(builtin);
    if (is_builtin)
        return read_builtin(d, list, data, found, err);
    if (dir_exists(data))
        return read_folder(d, list, data, found, err);
    found[SPLIT_TRAIN] = true;
    if (!file_exists(data) && !strchr(data, '/') && !strchr(data, '.'))
        return error_set(
            err, GM_E_INPUT,
            "read data %s: no such file or folder, and no built-in set is called so (haiku is)",
            data);
    return read_path(d, list, data, SPLIT_TRAIN, err);
}

/* ---- what is noteworthy ---- */

static void note_lengths(struct dataset *d, bool encoded, int max)
{
    int named = 0, rest = 0;
    for (int i = 0; encoded && i < d->n_rows; i++) {
        const struct row *r = &d->rows[i];
        bool empty = r->n_supervised == 0, shorter = r->n_full > r->n;
        d->n_skipped += empty;
        if (!empty && !shorter)
            continue;
        if (named++ >= NOTES_NAMED)
            rest++;
        else if (empty)
            note(d, "%s:%d: skipped, none of its %d tokens is to be learnt%s", r->file, r->line,
                 r->n, shorter ? " after cutting" : "");
        else
            note(d, "%s:%d: cut at %d of %d tokens", r->file, r->line, r->n, r->n_full);
    }
    if (rest)
        note(d, "and %d more rows cut or skipped at %d tokens", rest, max);
}

static void count_splits(struct dataset *d)
{
    memset(d->count, 0, sizeof d->count);
    for (int i = 0; i < d->n_rows; i++)
        d->count[d->rows[i].split]++;
}

/* Of one source: what it does not bring as files is cut from its train rows. */
static void split_source(struct dataset *d, int source, const bool found[SPLIT_COUNT], uint64_t seed, bool folder)
{
    bool valid = !found[SPLIT_VALID], test = !folder && !found[SPLIT_TEST];
    if (!found[SPLIT_TRAIN] || !valid)
        return;
    d->split_made = d->sources[source].split_made = true;
    bool grouped = split_make(d, source, valid, test, seed);
    int count[SPLIT_COUNT] = {0};
    for (int i = 0; i < d->n_rows; i++)
        if (d->rows[i].source == source)
            count[d->rows[i].split]++;
    note(d, "%s%ssplit from seed %llu: %d train, %d valid, %d test%s", d->n_sources > 1 ? d->sources[source].name : "",
         d->n_sources > 1 ? ": " : "", (unsigned long long)seed, count[SPLIT_TRAIN], count[SPLIT_VALID], count[SPLIT_TEST],
         grouped ? "; rows that share a prompt or a line stay together"
                 : "; the rows hang together, so that some stand on both sides");
}

/* All findings, counted; first[f]: the first row that has it. */
static void look_at_rows(struct dataset *d, const struct row_list *list, const struct tokenizer *t, int first[FIND_COUNT])
{
    split_find_duplicates(d);
    split_find_twins(d);
    split_find_leaks(d);
    gate_look(d, list, t);
    for (int i = 0; i < d->n_rows; i++)
        for (int f = 0; f < FIND_COUNT; f++)
            if (row_found(&d->rows[i], (enum finding)f) && d->found[f]++ == 0)
                first[f] = i;
}

static void note_findings(struct dataset *d, const struct row_list *list, const struct tokenizer *t)
{
    int first[FIND_COUNT];
    look_at_rows(d, list, t, first);
    if (d->found[FIND_DUPLICATE])
        note(d, "%d row%s twice or more", d->found[FIND_DUPLICATE], d->found[FIND_DUPLICATE] == 1 ? " stands" : "s stand");
    if (d->found[FIND_LEAK])
        note(d, "%d rows of valid and test share their prompt or a line with train", d->found[FIND_LEAK]);
    for (int f = 0; f < FIND_COUNT; f++) {
        if (d->found[f] == 0 || f == FIND_DUPLICATE || f == FIND_LEAK || f == FIND_CUT) /* note_lengths() tells of the last one */
            continue;
        const struct row *r = &d->rows[first[f]];
        char mark[40] = "";
        if (f == FIND_CHAT_MARK)
            gate_chat_mark(&list->rows[first[f]], t, mark);
        note(d, "%s:%d: %s%s%s%s (%d row%s)", r->file, r->line, finding_about((enum finding)f), *mark ? ": \"" : "", mark, *mark ? "\"" : "",
             d->found[f], d->found[f] == 1 ? "" : "s");
    }
}

static int source_of(const struct dataset *d, int row)
{
    int s = 0;
    for (int end = d->sources[0].n_rows; row >= end && s + 1 < d->n_sources; end += d->sources[s].n_rows)
        s++;
    return s;
}

static void fill_rows(struct dataset *d, const struct row_list *list)
{
    d->rows = mem_new((size_t)list->n + 1, sizeof *d->rows);
    d->n_rows = list->n;
    for (int i = 0; i < list->n; i++) {
        const struct raw_row *raw = &list->rows[i];
        d->rows[i] = (struct row){.form = raw->form,
                                  .split = list->splits[i],
                                  .file = raw->file,
                                  .line = raw->line,
                                  .prompt = (char *)row_prompt(raw),
                                  .answer = (char *)row_answer(raw),
                                  .n_messages = raw->n_messages,
                                  .duplicate_of = -1,
                                  .source = source_of(d, i)};
    }
}

static bool refuse_bad(const struct row_list *list, struct gm_error *err)
{
    *err = list->first_bad;
    if (list->n_bad > 1) {
        char more[96];
        int n_more = snprintf(more, sizeof more, "; %d more rows are bad", list->n_bad - 1);
        if (list->n_unseen > 0)
            snprintf(more + n_more, sizeof more - (size_t)n_more, ", the other %d were not looked at", list->n_unseen);
        size_t n = strlen(err->text);
        if (n + strlen(more) < sizeof err->text)
            memcpy(err->text + n, more, strlen(more) + 1);
    }
    return false;
}

/* ---- the sources of a mixture ---- */

enum { SOURCES_MAX = 64 };
static const double WEIGHT_MAX = 1000;

char *dataset_source(const char *text, size_t n, double *weight)
{
    char *name = mem_copy_n(text, n), *colon = strrchr(name, ':'), *end;
    *weight = 1;
    if (!colon || colon == name || path_exists(name))
        return name;
    double w = strtod(colon + 1, &end);
    if (end == colon + 1 || *end)
        return name;
    *weight = w;
    *colon = '\0';
    return name;
}

char *dataset_title(const char *data)
{
    struct str title = {0};
    for (const char *p = data; *p;) {
        size_t n = strcspn(p, "\n");
        double weight;
        char *name = dataset_source(p, n, &weight), *plain = path_trimmed(name);
        str_printf(&title, "%s%s", title.len ? "+" : "", path_base(plain));
        mem_free(plain);
        mem_free(name);
        p += p[n] ? n + 1 : n;
    }
    return str_take(&title);
}

struct found_splits {
    bool found[SPLIT_COUNT];
};

static bool read_source(struct dataset *d, struct row_list *list, const char *text, size_t n, bool mixed, struct found_splits *found,
                        struct gm_error *err)
{
    struct owned *own = d->owned;
    struct data_source *s = &d->sources[d->n_sources];
    char *name = dataset_source(text, n, &s->weight);
    int before = list->n;
    s->name = store_text(&own->store, name);
    mem_free(name);
    if (!isfinite(s->weight) || s->weight <= 0 || s->weight > WEIGHT_MAX)
        return error_set(err, GM_E_USAGE, "read data %s: its weight is no number above 0 and up to %g", s->name, WEIGHT_MAX);
    if (!read_data(d, list, s->name, found->found, err))
        return false;
    if (mixed)
        str_printf(&own->hashed, "%.17g  %s\n", s->weight, path_base(s->name));
    s->n_rows = list->n - before;
    d->n_sources++;
    return true;
}

static bool read_sources(struct dataset *d, struct row_list *list, const char *data, struct found_splits found[SOURCES_MAX],
                         struct gm_error *err)
{
    bool mixed = strchr(data, '\n') != NULL;
    for (const char *p = data; *p || d->n_sources == 0;) {
        size_t n = strcspn(p, "\n");
        if (d->n_sources == SOURCES_MAX)
            return error_set(err, GM_E_USAGE, "read data: more than %d sources", SOURCES_MAX);
        if (!read_source(d, list, p, n, mixed, &found[d->n_sources], err))
            return false;
        p += p[n] ? n + 1 : n;
    }
    return true;
}

static void note_mixture(struct dataset *d)
{
    struct owned *own = d->owned;
    if (own->ignored.len)
        note(d, "columns that say nothing here: %s", str_text(&own->ignored));
    for (int s = 0; d->n_sources > 1 && s < d->n_sources; s++)
        note(d, "%s: %d rows, weight %g", d->sources[s].name, d->sources[s].n_rows, d->sources[s].weight);
}

static bool load(struct dataset *d, const char *data, const struct dataset_options *o,
                 const struct tokenizer *t, const struct chat_template *tpl, struct row_list *list,
                 struct gm_error *err)
{
    struct owned *own = d->owned;
    struct found_splits found[SOURCES_MAX] = {{{false}}};
    if (!read_sources(d, list, data, found, err))
        return false;
    sha256_bytes(str_text(&own->hashed), own->hashed.len, d->hash);
    fill_rows(d, list);
    if (t && list->n_bad == 0)
        encode_rows(d->rows, list, &own->store, o, t, tpl);
    if (list->n_bad > 0)
        return refuse_bad(list, err);
    note_mixture(d);
    for (int s = 0; s < d->n_sources; s++)
        split_source(d, s, found[s].found, o->seed, dir_exists(d->sources[s].name));
    count_splits(d);
    note_findings(d, list, t);
    note_lengths(d, t != NULL, o->max_seq_length);
    return true;
}

struct dataset *dataset_open(const char *data, const struct dataset_options *o,
                             const struct tokenizer *tokenizer, const struct chat_template *tpl,
                             struct gm_error *err)
{
    struct dataset *d = mem_new(1, sizeof *d);
    struct row_list list = {0};
    struct gm_error why = {0};
    d->owned = mem_new(1, sizeof(struct owned));
    d->sources = mem_new(SOURCES_MAX, sizeof *d->sources);
    bool ok = load(d, data, o, tokenizer, tpl, &list, &why);
    row_list_free(&list);
    if (ok)
        return d;
    dataset_free(d);
    if (err)
        *err = why;
    return NULL;
}

int dataset_leaks(const struct dataset *d, enum split split)
{
    int n = 0;
    for (int i = 0; i < d->n_rows; i++)
        n += d->rows[i].split == split && row_found(&d->rows[i], FIND_LEAK);
    return n;
}

void dataset_free(struct dataset *d)
{
    if (!d)
        return;
    struct owned *own = d->owned;
    store_free(&own->store);
    str_free(&own->hashed);
    str_free(&own->ignored);
    mem_free(d->sources);
    mem_free(own);
    mem_free(d->rows);
    str_free(&d->notes);
    mem_free(d);
}

bool dataset_check_ids(const struct dataset *d, int vocab, struct gm_error *err)
{
    for (int i = 0; i < d->n_rows; i++) {
        const struct row *r = &d->rows[i];
        for (int k = 0; k < r->n; k++)
            if (r->ids[k] < 0 || r->ids[k] >= vocab ||
                (r->targets && r->supervised[k] && (r->targets[k] < 0 || r->targets[k] >= vocab)))
                return error_set(err, GM_E_INPUT,
                                 "read %s:%d: item %d is no token of the model, which has %d (was the row made "
                                 "with another tokenizer?)",
                                 r->file, r->line, k + 1, vocab);
    }
    return true;
}
