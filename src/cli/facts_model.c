/* facts_model.c - facts of a model: what its files hold, what it is in our terms, its tokenizer and its template. */
#include "src/cli/facts.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static json_t *config_json(const struct model_config *c)
{
    json_t *o = json_object(), *eos = json_array();
    int sliding = 0;
    for (int i = 0; i < c->n_layers; i++)
        sliding += c->sliding[i];
    json_object_set_new(o, "family", json_text(c->family));
    json_object_set_new(o, "parameters", json_integer(model_config_parameters(c)));
    json_object_set_new(o, "layers", json_integer(c->n_layers));
    json_object_set_new(o, "width", json_integer(c->d_model));
    json_object_set_new(o, "heads", json_integer(c->n_heads));
    json_object_set_new(o, "kv_heads", json_integer(c->n_kv_heads));
    json_object_set_new(o, "head_dim", json_integer(c->head_dim));
    json_object_set_new(o, "mlp_width", json_integer(c->d_ff));
    json_object_set_new(o, "vocabulary", json_integer(c->vocab_size));
    json_object_set_new(o, "positions", json_integer(c->max_positions));
    json_object_set_new(o, "norm_eps", json_number(round((double)c->rms_norm_eps * 1e12) / 1e12));
    json_object_set_new(o, "tied_head", json_boolean(c->tied_head));
    if (c->fused)
        json_object_set_new(o, "fused", json_string("qkv_proj gate_up_proj"));
    if (c->qkv_bias || c->o_bias || c->mlp_bias) {
        char biases[32];
        snprintf(biases, sizeof biases, "%s%s%s", c->qkv_bias ? "q k v " : "", c->o_bias ? "o " : "", c->mlp_bias ? "gate up down " : "");
        biases[strlen(biases) - 1] = 0;
        json_object_set_new(o, "biases", json_string(biases));
    }
    json_object_set_new(o, "rope_theta", json_number(c->rope_theta));
    static const char *const scalings[] = {"none", "linear", "llama3", "longrope"};
    if (c->rope.kind != ROPE_PLAIN)
        json_object_set_new(o, "rope_scaling", json_string(scalings[c->rope.kind]));
    if (c->rope.kind == ROPE_LINEAR || c->rope.kind == ROPE_LLAMA3)
        json_object_set_new(o, "rope_factor", json_number(c->rope.factor));
    if (c->rope.kind == ROPE_LLAMA3 || c->rope.kind == ROPE_LONG)
        json_object_set_new(o, "rope_original_positions", json_integer(c->rope.original_positions));
    if (c->rotary_dim != c->head_dim)
        json_object_set_new(o, "rotary_dim", json_integer(c->rotary_dim));
    if (sliding > 0) {
        if (c->local_rope)
            json_object_set_new(o, "rope_theta_sliding", json_number(c->rope_theta_local));
        json_object_set_new(o, "window", json_integer(c->sliding_window));
        json_object_set_new(o, "sliding_layers", json_integer(sliding));
    }
    if (c->attn_softcap > 0)
        json_object_set_new(o, "attention_softcap", json_number((double)c->attn_softcap));
    if (c->final_softcap > 0)
        json_object_set_new(o, "final_softcap", json_number((double)c->final_softcap));
    for (int i = 0; i < c->n_eos; i++)
        json_array_append_new(eos, json_integer(c->eos_ids[i]));
    json_object_set_new(o, "bos", c->bos_id >= 0 ? json_integer(c->bos_id) : json_null());
    json_object_set_new(o, "eos", eos);
    return o;
}

static json_t *piece_json(const struct tokenizer *t, int32_t id)
{
    size_t n;
    const char *piece = id >= 0 ? tokenizer_piece(t, id, &n) : NULL;
    return piece ? json_pack("{s:i, s:o}", "id", (int)id, "piece", json_text(piece)) : json_null();
}

void facts_tokenizer(struct facts *f, const struct tokenizer *t)
{
    int32_t n = tokenizer_vocab_size(t);
    int special = 0;
    json_t *o = json_object(), *specials = json_array();
    for (int32_t id = 0; id < n; id++)
        if (tokenizer_is_special(t, id)) {
            if (special++ < 16 || f->o->whole_arrays)
                json_array_append_new(specials, piece_json(t, id));
        }
    bool bytes = tokenizer_id_of(t, "<0x0A>") >= 0;
    json_object_set_new(o, "kind", json_string(bytes ? "SentencePiece BPE with byte fallback" : "byte-level BPE"));
    json_object_set_new(o, "pieces", json_integer(n));
    json_object_set_new(o, "adds_bos", json_boolean(tokenizer_adds_bos(t)));
    json_object_set_new(o, "bos", piece_json(t, tokenizer_bos(t)));
    json_object_set_new(o, "eos", piece_json(t, tokenizer_eos(t)));
    json_object_set_new(o, "pad", piece_json(t, tokenizer_pad(t)));
    json_object_set_new(o, "special", json_integer(special));
    json_object_set_new(o, "special_pieces", specials);
    json_object_set_new(f->out, "tokenizer", o);
    facts_summary(f, "%s tokenizer of %d pieces", bytes ? "SentencePiece" : "byte-level", (int)n);
}

/* Two turns and a question: what every template has to be able to say. */
static void try_template(struct facts *f, const struct chat_template *tpl, const struct tokenizer *t)
{
    static const struct chat_message talk[] = {{"user", "rain"}, {"assistant", "soft rain on the roof"}, {"user", "snow"}};
    struct gm_error err = {0};
    struct id_list ids = {0};
    uint8_t *supervised = NULL;
    int32_t stops[8];
    if (!chat_encode(tpl, t, talk, 2, false, &ids, &supervised, &err) || !chat_encode(tpl, t, talk, 3, true, &ids, NULL, &err))
        facts_warn(f, "%s", err.text);
    else if (chat_stop_ids(tpl, t, stops) == 0)
        facts_warn(f, "its chat template puts nothing behind an answer that could end it");
    mem_free(supervised);
    id_list_free(&ids);
}

static void template_facts(struct facts *f, const struct model_source *s, const struct tokenizer *t)
{
    struct gm_error err = {0};
    struct chat_template *tpl = chat_template_open(s, t, NULL, &err);
    if (!tpl) {
        facts_warn(f, "%s", err.text);
        return;
    }
    const char *text = chat_template_text(tpl);
    int lines = 1;
    size_t shown = 0;
    for (const char *p = text; *p; p++) {
        lines += *p == '\n' && p[1];
        if (lines <= 6)
            shown = (size_t)(p - text) + 1;
    }
    if (shown > 600)
        shown = utf8_complete_prefix(text, 600);
    json_t *o = json_object(), *ends = json_array();
    char *head = mem_copy_n(text, f->o->whole_template ? strlen(text) : shown);
    int32_t stops[8];
    size_t n_stops = chat_stop_ids(tpl, t, stops);
    for (size_t i = 0; i < n_stops; i++)
        json_array_append_new(ends, piece_json(t, stops[i]));
    json_object_set_new(o, "name", json_text(chat_template_name(tpl)));
    json_object_set_new(o, "lines", json_integer(lines));
    json_object_set_new(o, "bytes", json_integer((json_int_t)strlen(text)));
    json_object_set_new(o, "stops", ends);
    json_object_set_new(o, f->o->whole_template || !text[shown] ? "text" : "begins", json_text(head));
    json_object_set_new(f->out, "template", o);
    facts_summary(f, "chat template of %d lines", lines);
    if (f->o->verify)
        try_template(f, tpl, t);
    mem_free(head);
    chat_template_free(tpl);
}

/* Parts of a checkpoint that text has no use for. */
static void other_parts(struct facts *f, const struct model_source *s)
{
    static const struct {
        const char *prefix, *name;
    } parts[] = {{"vision_tower.", "vision tower"},    {"model.vision_tower.", "vision tower"},
                 {"multi_modal_projector.", "projector"}, {"model.multi_modal_projector.", "projector"},
                 {"v.", "vision tower"},               {"mm.", "projector"}};
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        int n = 0;
        double bytes = 0;
        for (int i = 0; i < s->n_tensors; i++) {
            const struct tensor_info *t = model_source_tensor(s, i);
            if (strncmp(t->name, parts[k].prefix, strlen(parts[k].prefix)) == 0) {
                n++;
                bytes += (double)t->bytes;
            }
        }
        if (n > 0)
            facts_note(f, "its %s (%d tensors, %.1f MB) is passed over: text only", parts[k].name, n, bytes / 1e6);
    }
}

static void source_facts(struct facts *f, const struct model_source *s)
{
    json_object_set_new(f->out, "format",
                        s->gguf ? json_sprintf("GGUF, version %u", s->gguf->version) : json_string(s->builtin ? "built in" : "Hugging Face folder"));
    json_object_set_new(f->out, "files", json_integer(s->gguf ? 1 : s->n_shards));
    if (s->config && json_is_object(json_object_get(s->config, "quantization")))
        json_object_set(f->out, "quantization", json_object_get(s->config, "quantization"));
    const struct tensor_info **tensors = mem_new((size_t)s->n_tensors + 1, sizeof *tensors);
    for (int i = 0; i < s->n_tensors; i++)
        tensors[i] = model_source_tensor(s, i);
    facts_tensors(f, tensors, s->n_tensors);
    mem_free(tensors);
    if (s->gguf)
        facts_metadata_gguf(f, s->gguf);
}

/* "MLX 4-bit", "MXFP4" into out: how the config.json of an MLX folder says that weights are stored. NULL: not so. */
static const char *mlx_type(const struct model_source *s, char out[24])
{
    const json_t *q = s->config ? json_object_get(s->config, "quantization") : NULL;
    const char *mode = json_string_value(json_object_get(q, "mode"));
    if (!json_is_object(q))
        return NULL;
    if (mode && strcmp(mode, "affine") != 0)
        snprintf(out, 24, "%.20s", mode);
    else
        snprintf(out, 24, "MLX %d-bit", (int)(json_integer_value(json_object_get(q, "bits")) & 0xff));
    return out;
}

/* The type that most weights are stored in. */
static const char *main_type(const struct facts *f)
{
    size_t i;
    json_t *t;
    const char *best = "";
    json_int_t most = 0;
    json_array_foreach(json_object_get(json_object_get(f->out, "tensors"), "types"), i, t)
        if (json_integer_value(json_object_get(t, "bytes")) > most) {
            most = json_integer_value(json_object_get(t, "bytes"));
            best = json_string_value(json_object_get(t, "type"));
        }
    return best;
}

static void tokenizer_and_template(struct facts *f, const struct model_source *s, const struct model_config *c)
{
    struct gm_error err = {0};
    struct tokenizer *t = tokenizer_open(s, &err);
    if (!t) {
        facts_fault(f, &err);
        return;
    }
    facts_tokenizer(f, t);
    if (c && tokenizer_vocab_size(t) > c->vocab_size) {
        error_set(&err, GM_E_INPUT, "open model %s: the tokenizer has %d pieces, the model %d rows (they do not belong together)", f->path,
                  (int)tokenizer_vocab_size(t), c->vocab_size);
        facts_fault(f, &err);
    }
    int without = c ? c->vocab_size - (int)tokenizer_vocab_size(t) : 0;
    if (without > 0 && s->gguf)
        facts_warn(f, "%d rows of its embedding have no piece: llama.cpp refuses such a file", without);
    else if (without > 0)
        facts_note(f, "%d rows of its embedding have no piece (padding)", without);
    for (int i = 0; c && i < c->n_eos; i++)
        if (c->eos_ids[i] >= c->vocab_size)
            facts_warn(f, "the end id %d lies outside of the vocabulary of %d", (int)c->eos_ids[i], c->vocab_size);
    template_facts(f, s, t);
    tokenizer_free(t);
}

/* The system is told that all of the weights will be read: from a cold disk this is five times as fast as one page fault after another. */
static void announce(const struct model_source *s)
{
    if (s->gguf)
        posix_madvise((void *)(uintptr_t)s->gguf->bytes, s->gguf->size, POSIX_MADV_WILLNEED);
    for (int i = 0; !s->builtin && i < s->n_shards; i++)
        posix_madvise((void *)(uintptr_t)s->shards[i].bytes, s->shards[i].size, POSIX_MADV_WILLNEED);
}

void facts_model(struct facts *f, const char *model)
{
    struct gm_error err = {0};
    struct model_source *s = mem_new(1, sizeof *s);
    struct model *m = NULL;
    struct model_config c;
    bool opened = model_source_open(s, model, &err), known = false;
    if (!opened) { /* what stands beside the weights may still be told */
        facts_fault(f, &err);
        err = (struct gm_error){0};
        if (!model_source_open_tokenizer(s, model, &(struct gm_error){0})) {
            mem_free(s);
            return;
        }
    }
    if (s->gguf && gguf_has(s->gguf, "general.type")) {
        struct gguf_text type = {"", 0};
        if (gguf_string(s->gguf, "general.type", OPTIONAL, &type, &err) && gguf_text_is(type, "adapter")) {
            model_source_close(s);
            mem_free(s);
            json_object_set_new(f->out, "kind", json_string("adapter"));
            facts_adapter_gguf(f, model);
            return;
        }
    }
    if (opened)
        source_facts(f, s);
    known = (s->config || s->gguf) && model_config_read(&c, s, &err);
    if (known) {
        json_object_set_new(f->out, "config", config_json(&c));
        char size[24], mlx[24];
        const char *type = mlx_type(s, mlx);
        facts_summary(f, "%s, %s parameters, %s", c.family, facts_size(model_config_parameters(&c), size), type ? type : main_type(f));
    } else if (opened) {
        facts_fault(f, &err);
    }
    if (opened && f->o->verify)
        announce(s);
    if (known && opened && f->o->verify && !(m = model_open_source(s, &err)))
        facts_fault(f, &err);
    for (int i = 0; m && i < m->n_notes; i++)
        facts_note(f, "%s", m->notes[i]);
    if (opened && !m)
        other_parts(f, s);
    tokenizer_and_template(f, s, known ? &c : NULL);
    if (m) {
        model_free(m); /* and its source */
    } else {
        model_source_close(s);
        mem_free(s);
    }
}
