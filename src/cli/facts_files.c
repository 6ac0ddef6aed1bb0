/* facts_files.c - facts of what is one small file: rows, a tokenizer, a configuration, settings, a theme, a template, a proof. */
#include "src/cli/facts.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/train/dataset.h"
#include "engine/train/run.h"
#include "src/cli/train_args.h"
#include "ui/core/theme.h"

#include <string.h>

enum { SMALL_FILE = 4 << 20, TOKENIZER_MAX = 256 << 20 };

static bool read_text(const struct facts *f, size_t most, struct str *text, struct gm_error *err)
{
    if (!file_read_all(f->path, most, text, err))
        return false;
    if (utf8_valid(str_text(text), text->len))
        return true;
    str_free(text);
    return error_set(err, GM_E_INPUT, "read %s: it is not valid UTF-8 (save it as UTF-8)", f->path);
}

static bool data_facts(struct facts *f, struct gm_error *err)
{
    static const char *const splits[SPLIT_COUNT] = {"train", "valid", "test"}, *const forms[] = {"messages", "conversations", "text", "ids"};
    struct dataset_options o = {.max_seq_length = 512, .mask_prompt = true, .pool = f->o->pool};
    struct dataset *d = dataset_open(f->path, &o, NULL, NULL, err);
    if (!d)
        return false;
    json_t *out = json_object(), *counts = json_object(), *found = json_object();
    for (int i = 0; i < SPLIT_COUNT; i++)
        json_object_set_new(counts, splits[i], json_integer(d->count[i]));
    for (int i = 0; i < FIND_COUNT; i++)
        if (d->found[i]) {
            json_object_set_new(found, finding_name((enum finding)i), json_integer(d->found[i]));
            facts_warn(f, "%d row%s: %s: %s", d->found[i], d->found[i] == 1 ? "" : "s", finding_name((enum finding)i), finding_about((enum finding)i));
        }
    json_object_set_new(out, "rows", json_integer(d->n_rows));
    json_object_set_new(out, "splits", counts);
    json_object_set_new(out, "split_from_seed", json_boolean(d->split_made));
    json_object_set_new(out, "form", d->n_rows > 0 ? json_string(forms[d->rows[0].form]) : json_null());
    json_object_set_new(out, "sha256", json_string(d->hash));
    json_object_set_new(out, "found", found);
    json_object_set_new(f->out, "data", out);
    facts_summary(f, "%d rows of %s: %d train, %d valid, %d test", d->n_rows, d->n_rows ? forms[d->rows[0].form] : "nothing", d->count[SPLIT_TRAIN],
                  d->count[SPLIT_VALID], d->count[SPLIT_TEST]);
    dataset_free(d);
    return true;
}

static bool tokenizer_facts(struct facts *f, struct gm_error *err)
{
    struct tokenizer *t = NULL;
    struct str text = {0};
    size_t n = strlen(f->path);
    bool json = n > 5 && strcmp(f->path + n - 5, ".json") == 0;
    if (json) {
        if (file_read_all(f->path, TOKENIZER_MAX, &text, err))
            t = tokenizer_open_json(str_text(&text), text.len, NULL, f->path, err);
    } else { /* a folder, or tokenizer.model, which is read by way of its folder */
        struct model_source s;
        char *folder = dir_exists(f->path) ? mem_copy(f->path) : path_folder(f->path);
        char *beside = path_join(folder, "tokenizer.json");
        if (!dir_exists(f->path) && file_exists(beside))
            facts_note(f, "tokenizer.json stands beside it, and is what is read");
        if (model_source_open_tokenizer(&s, folder, err)) {
            t = tokenizer_open(&s, err);
            model_source_close(&s);
        }
        mem_free(beside);
        mem_free(folder);
    }
    str_free(&text);
    if (!t)
        return false;
    facts_tokenizer(f, t);
    static const char probe[] = "an old silent pond\na frog, 5-7-5: \xe6\x9d\xbe\xe5\xb0\xbe\xe8\x8a\xad\xe8\x95\x89";
    struct id_list ids = {0};
    struct str back = {0};
    bool ok = tokenizer_encode(t, probe, strlen(probe), TOKENIZE_LITERAL, &ids, err) && tokenizer_decode(t, ids.ids, ids.n, true, &back, err);
    if (ok && strcmp(str_text(&back), probe) != 0)
        facts_warn(f, "a text does not come back from its ids as it was");
    id_list_free(&ids);
    str_free(&back);
    tokenizer_free(t);
    return ok;
}

static bool config_facts(struct facts *f, struct gm_error *err)
{
    struct model_config c;
    struct str text = {0};
    bool ok = file_read_all(f->path, SMALL_FILE, &text, err) && model_config_parse(&c, str_text(&text), text.len, f->path, err);
    if (ok) {
        char size[24];
        facts_summary(f, "%s, %s parameters, %d layers", c.family, facts_size(model_config_parameters(&c), size), c.n_layers);
    }
    str_free(&text);
    return ok;
}

static bool json_facts(struct facts *f, const char *key, const char *what, struct gm_error *err)
{
    json_t *o = json_load_file_checked(f->path, SMALL_FILE, err);
    const json_t *inner = NULL;
    bool ok = o && (!key || json_get_object(o, key, REQUIRED, &inner, err) || error_context(err, "read %s", f->path));
    if (ok)
        facts_summary(f, "%s", what);
    json_decref(o);
    return ok;
}

static bool proof_facts(struct facts *f, struct gm_error *err)
{
    json_t *o = json_load_file_checked(f->path, SMALL_FILE, err);
    const char *to = NULL, *type = NULL;
    double kl = 0;
    bool ok = o && ((json_get_string(o, "to", REQUIRED, &to, err) && json_get_string(o, "type", OPTIONAL, &type, err) &&
                     json_get_double(o, "mean_kl", REQUIRED, 0, 1e9, &kl, err)) || error_context(err, "read %s", f->path));
    if (ok) {
        facts_summary(f, "of an export to %s%s%s, mean KL %.3g", to, type ? " in " : "", type ? type : "", kl);
        json_object_set(f->out, "proof", o);
    }
    json_decref(o);
    return ok;
}

static bool settings_facts(struct facts *f, struct gm_error *err)
{
    struct general g = {0};
    struct train_args a;
    struct arg table[TRAIN_ARG_ROWS] = {{0}};
    train_args_init(&a);
    train_args_table(&a, table);
    struct arg_spec spec = {.command = "train", .positional = "", .table = table, .mlx_lm = true};
    char option[] = "--config", *path = mem_copy(f->path), *argv[] = {option, path};
    bool ok = train_args_layers(&a, &spec, NULL, 2, argv, &g, err) && train_args_finish(&a, &g, err);
    if (ok) {
        facts_summary(f, "model %s, %d updates of %d rows", a.o.model, a.o.iters, a.o.batch_size * a.o.grad_accumulation);
        json_object_set_new(f->out, "options", train_options_to_json(&a.o));
    }
    train_args_free(&a);
    mem_free(path);
    return ok;
}

static bool theme_facts(struct facts *f, struct gm_error *err)
{
    struct str text = {0};
    struct theme t = {0};
    bool ok = read_text(f, SMALL_FILE, &text, err) && theme_builtin(&t, "sumi") && theme_parse(&t, str_text(&text), text.len, f->path, err);
    if (ok)
        facts_summary(f, "%s, %s", t.name, t.light ? "light" : "dark");
    str_free(&text);
    return ok;
}

/* With the built-in tokenizer: what a template says does not depend on it, which pieces it marks does. */
static bool jinja_facts(struct facts *f, struct gm_error *err)
{
    struct str text = {0};
    struct model_source s;
    if (!read_text(f, SMALL_FILE, &text, err))
        return false;
    bool ok = model_source_open_tokenizer(&s, "nano", err);
    struct tokenizer *t = ok ? tokenizer_open(&s, err) : NULL;
    struct chat_template *tpl = t ? chat_template_from_text(str_text(&text), t, err) : NULL;
    if (tpl)
        facts_summary(f, "%zu bytes", text.len);
    bool good = tpl != NULL || error_context(err, "read %s", f->path);
    static const struct chat_message talk[] = {{"user", "rain"}, {"assistant", "soft rain on the roof"}, {"user", "snow"}};
    struct str rendered = {0};
    if (tpl && !chat_render(tpl, talk, 3, true, &rendered, NULL, err))
        good = error_context(err, "read %s", f->path);
    str_free(&rendered);
    chat_template_free(tpl);
    tokenizer_free(t);
    if (ok)
        model_source_close(&s);
    str_free(&text);
    return good;
}

static bool weights_facts(struct facts *f, struct gm_error *err)
{
    struct safetensors s;
    if (!safetensors_open(&s, f->path, err))
        return false;
    const struct tensor_info **list = mem_new((size_t)s.n_tensors + 1, sizeof *list);
    bool ok = true;
    for (int i = 0; i < s.n_tensors; i++) {
        list[i] = &s.tensors[i];
        ok = ok && (!f->o->verify || tensor_check_finite(list[i], err) || error_context(err, "read %s", f->path));
    }
    facts_tensors(f, list, s.n_tensors);
    facts_metadata_safetensors(f, &s);
    facts_summary(f, "%d tensors, %.1f MB", s.n_tensors, (double)s.size / 1e6);
    mem_free(list);
    safetensors_close(&s);
    return ok;
}

static bool count_line(void *arg, json_t *event)
{
    ++*(int *)arg;
    return json_is_object(event);
}

static bool journal_facts(struct facts *f, struct gm_error *err)
{
    int lines = 0;
    bool ok = journal_read(f->path, count_line, &lines, err);
    if (ok)
        facts_summary(f, "%d lines", lines);
    return ok;
}

void facts_small_file(struct facts *f, enum artifact what)
{
    struct gm_error err = {0};
    bool ok = false;
    switch (what) {
    case ARTIFACT_DATA:
        ok = data_facts(f, &err);
        break;
    case ARTIFACT_TOKENIZER:
        ok = tokenizer_facts(f, &err);
        break;
    case ARTIFACT_MODEL_CONFIG:
        ok = config_facts(f, &err);
        break;
    case ARTIFACT_ADAPTER_CONFIG:
        ok = json_facts(f, NULL, "of an adapter", &err);
        break;
    case ARTIFACT_INDEX:
        ok = json_facts(f, "weight_map", "of a model in several files", &err);
        break;
    case ARTIFACT_SETTINGS:
        ok = settings_facts(f, &err);
        break;
    case ARTIFACT_THEME:
        ok = theme_facts(f, &err);
        break;
    case ARTIFACT_TEMPLATE:
        ok = jinja_facts(f, &err);
        break;
    case ARTIFACT_WEIGHTS:
        ok = weights_facts(f, &err);
        break;
    case ARTIFACT_JOURNAL:
        ok = journal_facts(f, &err);
        break;
    case ARTIFACT_MODELFILE:
        ok = facts_modelfile(f, &err);
        break;
    case ARTIFACT_PROOF:
        ok = proof_facts(f, &err);
        break;
    default:
        error_set(&err, GM_E_UNSUPPORTED, "read %s: a %s cannot be looked into yet", f->path, artifact_name(what));
    }
    if (!ok)
        facts_fault(f, &err);
}
