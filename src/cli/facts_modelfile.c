/* facts_modelfile.c - facts of a Modelfile: its instructions, what FROM and ADAPTER lead to, and whether its TEMPLATE asks the model as it was trained. */
#include "src/cli/facts.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/export/modelfile.h"
#include "engine/export/ollama_template.h"

#include <limits.h>
#include <string.h>

enum { MODELFILE_MAX = 4 << 20 };

/* Where FROM or ADAPTER lead, from the folder of the Modelfile on; NULL: to no file. mem_free. */
static char *file_of(const struct modelfile *m, const char *name, const char *folder)
{
    const char *value = modelfile_value(m, name);
    if (!value || !(strchr(value, '/') || strstr(value, ".gguf")))
        return NULL;
    const char *inside = strncmp(value, "./", 2) == 0 ? value + 2 : value;
    return value[0] == '/' || strcmp(folder, ".") == 0 ? mem_copy(inside) : path_join(folder, inside);
}

static bool named_file(struct facts *f, const struct modelfile *m, const char *name, const char *folder, struct gm_error *err)
{
    char *path = file_of(m, name, folder);
    enum artifact what;
    if (!path)
        return true;
    if (recognise(path, &what, NULL) && what == ARTIFACT_MODELFILE) { /* this one, maybe */
        bool is_folder = dir_exists(path);
        if (is_folder)
            facts_note(f, "%s %s: a folder with a Modelfile in it is not looked into", name, modelfile_value(m, name));
        else
            error_set(err, GM_E_INPUT, "read %s: %s leads to a Modelfile (name a GGUF, or a model's folder)", f->path, name);
        mem_free(path);
        return is_folder;
    }
    json_t *facts = facts_of(path, f->o, err), *fault = json_array_get(json_object_get(facts, "faults"), 0);
    bool ok = facts != NULL;
    if (ok && f->o->verify && fault)
        ok = error_set(err, GM_E_INPUT, "%s", json_string_value(fault));
    if (ok)
        facts_summary(f, "%s %s (%s)", name, modelfile_value(m, name), json_string_value(json_object_get(facts, "summary")));
    json_decref(facts);
    mem_free(path);
    return ok;
}

/* The prompts of one conversation, by TEMPLATE and by the chat template in the GGUF. */
static void compare_talk(struct facts *f, const struct go_template *go, const struct chat_template *tpl, const struct tokenizer *t,
                         const struct chat_message *talk, size_t n, const char *what)
{
    struct gm_error err = {0};
    unsigned reasons = ollama_explain(go, tokenizer_adds_bos(t), tpl, t, talk, n, &err);
    if (reasons == UINT_MAX)
        facts_warn(f, "its TEMPLATE builds another prompt of %s than the chat template in the GGUF (gemmaiku tokenize --chat shows where)", what);
    for (unsigned bit = 1; reasons != UINT_MAX && bit < 1u << OLLAMA_DIFFERS_COUNT; bit <<= 1)
        if (reasons & bit)
            facts_note(f, "%s: %s", what, ollama_differs_text(bit));
}

/* Would Ollama ask the model as it was trained? A turn, several, and several behind a system message. */
static void compare_templates(struct facts *f, const struct modelfile *m, const char *folder)
{
    const char *text = modelfile_value(m, "template"), *system = modelfile_value(m, "system");
    char *path = file_of(m, "from", folder);
    struct model_source s;
    struct gm_error none = {0};
    if (text && path && file_exists(path) && model_source_open_tokenizer(&s, path, &none)) {
        struct tokenizer *t = tokenizer_open(&s, &none);
        struct chat_template *tpl = t ? chat_template_open(&s, t, NULL, &none) : NULL;
        struct go_template *go = tpl ? go_template_parse(text, strlen(text), &none) : NULL;
        const struct chat_message talk[] = {
            {"system", system ? system : "Be brief."}, {"user", "rain"}, {"assistant", "soft rain on the roof"}, {"user", "snow"}};
        if (go) {
            compare_talk(f, go, tpl, t, talk + 1, 1, "a question");
            compare_talk(f, go, tpl, t, talk + 1, 3, "several turns");
            compare_talk(f, go, tpl, t, talk, 4, "a system message and several turns");
        }
        go_template_free(go);
        chat_template_free(tpl);
        tokenizer_free(t);
        model_source_close(&s);
    }
    mem_free(path);
}

bool facts_modelfile(struct facts *f, struct gm_error *err)
{
    char *path = dir_exists(f->path) ? path_join(f->path, "Modelfile") : mem_copy(f->path), **lines = NULL;
    size_t n = 0;
    char *folder = path_folder(path);
    struct str text = {0};
    struct modelfile m = {0};
    bool ok = file_read_all(path, MODELFILE_MAX, &text, err) && modelfile_read(&m, str_text(&text), text.len, path, err);
    if (ok) {
        json_t *commands = json_array();
        for (size_t i = 0; i < m.n; i++) {
            char *name = m.commands[i].parameter ? mem_printf("parameter %s", m.commands[i].name) : mem_copy(m.commands[i].name);
            json_t *o = json_object();
            json_object_set_new(o, name, json_text(m.commands[i].value));
            json_array_append_new(commands, o);
            mem_free(name);
        }
        json_object_set_new(f->out, "instructions", commands);
        ok = modelfile_check(&m, &lines, &n);
        for (size_t i = 0; i < n; i++) {
            if (!ok && i == 0)
                error_set(err, GM_E_INPUT, "read %s: %s", path, lines[i]);
            else
                facts_warn(f, "%s", lines[i]);
            mem_free(lines[i]);
        }
        mem_free(lines);
        ok = ok && named_file(f, &m, "from", folder, err) && named_file(f, &m, "adapter", folder, err);
        if (ok && f->o->verify)
            compare_templates(f, &m, folder);
    }
    modelfile_free(&m);
    str_free(&text);
    mem_free(folder);
    mem_free(path);
    return ok;
}
