/* ollama.c - a folder for Ollama: the fused model as a GGUF, and a Modelfile that makes the same prompts; both are read back and asked. */
#include "engine/export/parts.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/export/card.h"
#include "engine/export/modelfile.h"
#include "engine/format/model_source.h"

#include <string.h>

enum { CONTEXT_USUAL = 4096, MODELFILE_MAX = 4 << 20 };

static const char *system_line(const struct export_request *r)
{
    return r->system_line ? r->system_line : r->system ? r->system : "";
}

bool export_ollama_begin(struct export_job *j, struct ollama_template *o, struct gm_error *err)
{
    *o = (struct ollama_template){0};
    if (!j->r.tpl)
        return error_set(err, GM_E_UNSUPPORTED, "Ollama needs a chat template (name the one that was trained with: --chat-template)");
    if (!ollama_template_derive(o, j->r.tpl, j->r.tokenizer, err))
        return false;
    j->ollama = o;
    for (unsigned i = 0; i < OLLAMA_DIFFERS_COUNT; i++)
        if (o->differs >> i & 1)
            export_note(j, "%s", ollama_differs_text(1u << i));
    const char *trained = j->r.system ? j->r.system : "", *line = system_line(&j->r);
    if (strcmp(line, trained) != 0)
        export_note(j, line[0] ? "the SYSTEM line was not in training: what the model sees in Ollama is not what it learned with (train --system puts it there)"
                               : "there is no SYSTEM line, and training had a system message: answers will be other ones");
    if (line[0] && (o->differs & OLLAMA_SYSTEM_LEFT_OUT))
        export_note(j, "the system message is not written: this chat template has no place for it");
    return true;
}

/* llama.cpp asks the vocabulary whether a BOS stands in front of a prompt; the template that was trained with may say otherwise. */
void export_note_bos(struct export_job *j)
{
    static const struct chat_message one[] = {{"user", "x"}};
    int32_t bos = tokenizer_bos(j->r.tokenizer);
    struct id_list ids = {0};
    if (j->r.tpl && bos >= 0 && tokenizer_adds_bos(j->r.tokenizer) && chat_encode(j->r.tpl, j->r.tokenizer, one, 1, true, &ids, NULL, NULL)
        && ids.n > 0 && ids.ids[0] != bos)
        export_note(j, "llama.cpp puts a begin-of-sequence token in front of every prompt, as the vocabulary says; the chat template, "
                       "and so the training, has none");
    id_list_free(&ids);
}

/* A model in use takes memory for its whole context: Ollama's usual size, where the model reaches that far. */
static int64_t context(const struct model_config *c)
{
    return c->max_positions > 0 && c->max_positions < CONTEXT_USUAL ? c->max_positions : CONTEXT_USUAL;
}

bool export_write_modelfile(struct export_job *j, const char *folder, struct gm_error *err)
{
    const struct export_request *r = &j->r;
    int32_t ids[8];
    const char *stops[8];
    size_t n = 0, n_ids = chat_stop_ids(r->tpl, r->tokenizer, ids);
    for (size_t i = 0; i < n_ids; i++) {
        const char *piece = tokenizer_piece(r->tokenizer, ids[i], NULL);
        if (piece && piece[0])
            stops[n++] = piece;
    }
    char *license = card_license(r->model->source);
    const struct modelfile_settings s = {.from = "./model.gguf", .template = j->ollama->text,
                                         .system = j->ollama->differs & OLLAMA_SYSTEM_LEFT_OUT ? NULL : system_line(r),
                                         .stops = stops, .n_stops = n, .sampling = r->sampling ? *r->sampling : sampling_default(),
                                         .num_ctx = context(&r->model->config), .license = license,
                                         .comment = "ollama create NAME -f Modelfile\nTEMPLATE builds the ids that the model was trained on."};
    char *text = modelfile_write(&s, err);
    bool ok = text && file_replace_in(folder, "Modelfile", text, strlen(text), err);
    mem_free(text);
    mem_free(license);
    return ok;
}

/* What stands in the folder is asked: the file's TEMPLATE, the GGUF's tokenizer, with or without BOS as that says. */
bool export_check_modelfile(const struct export_job *j, const char *folder, const struct model_source *gguf, struct gm_error *err)
{
    char *path = path_join(folder, "Modelfile");
    struct str text = {0};
    struct modelfile m = {0};
    struct tokenizer *t = tokenizer_open(gguf, err);
    bool ok = t && file_read_all(path, MODELFILE_MAX, &text, err) && modelfile_read(&m, str_text(&text), text.len, path, err);
    struct ollama_template o = {.text = ok ? mem_copy(modelfile_value(&m, "template")) : NULL, .add_bos = t && tokenizer_adds_bos(t),
                                .differs = j->ollama->differs};
    ok = ok && ollama_template_verify(&o, j->r.tpl, j->r.tokenizer, t, err);
    if (ok)
        j->result->prompts_verified = o.verified;
    ollama_template_free(&o);
    modelfile_free(&m);
    tokenizer_free(t);
    str_free(&text);
    mem_free(path);
    return ok;
}
