/* proof.c - what was written is read by our own reader and compared with what was meant: weights to the bit, the tokenizer's ids, and logits.
 *
 * Logits are compared over the same sequences for every export of a model (sequences.h). KL(meant || written) in nats a position, at the places where an
 * answer is written; random sequences are told beside it. Always in f32 arithmetic: what is to be seen is the rounding of the weights, not that of a kernel.
 */
#include "engine/export/plan.h"
#include "engine/export/sequences.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/json.h"

#include <math.h>
#include <string.h>

enum { ROWS = 8 };

/* What rounding the weights once to the type may cost in the mean, in nats a position (measured on the models at hand: docs/formats.md), with room. */
static double kl_allowed(const struct export_job *j)
{
    static const double allowed[EXPORT_TYPE_COUNT] = {[EXPORT_F32] = 1e-6, [EXPORT_F16] = 1e-3, [EXPORT_BF16] = 2e-2, [EXPORT_Q8_0] = 1e-2,
                                                      [EXPORT_MLX8] = 2e-2, [EXPORT_Q4_0] = 2, [EXPORT_Q4_K_M] = 2, [EXPORT_MLX4] = 2};
    return allowed[export_target(j->r.to)->whole_model ? j->type : EXPORT_F32]; /* adapters are the same numbers: only the order of sums differs */
}

/* ---- logits ---- */

struct side { /* a model with its adapter, and a pass over it */
    const struct model *model;
    const struct lora *lora;
    struct pass *pass;
    const float *hidden;
    float *logits; /* [ROWS, vocab] */
};

static bool side_open(struct side *s, const struct model *m, const struct lora *l, struct gm_error *err)
{
    struct pass_limits limits = {.kind = PASS_FORWARD, .max_tokens = SEQUENCE_MAX, .max_seqs = 1, .mode = GM_COMPUTE_F32};
    *s = (struct side){.model = m, .lora = l};
    s->pass = pass_new(m, l ? &l->options : NULL, &limits, err);
    s->logits = s->pass ? mem_alloc((size_t)ROWS * (size_t)m->config.vocab_size * sizeof(float), "proof", err) : NULL;
    return s->logits != NULL;
}

static void side_close(struct side *s)
{
    pass_free(s->pass);
    mem_free(s->logits);
}

static void side_run(struct side *s, const struct compute *c, const int32_t *ids, int n)
{
    int32_t positions[SEQUENCE_MAX], borders[2] = {0, n};
    for (int i = 0; i < n; i++)
        positions[i] = i;
    struct batch b = {.T = n, .ids = ids, .positions = positions, .n_seqs = 1, .seq_start = borders};
    s->hidden = pass_hidden(s->pass, c, s->lora, &b, NULL);
}

static double log_sum(const float *x, int n)
{
    double top = (double)x[0], sum = 0;
    for (int i = 1; i < n; i++)
        top = (double)x[i] > top ? (double)x[i] : top;
    for (int i = 0; i < n; i++)
        sum += exp((double)x[i] - top);
    return top + log(sum);
}

struct tally {
    double kl, max_kl;
    int64_t same, positions;
};

static void compare(const float *a, const float *b, int vocab, struct tally *tally, struct export_result *out)
{
    double la = log_sum(a, vocab), lb = log_sum(b, vocab), kl = 0;
    int best_a = 0, best_b = 0;
    for (int i = 0; i < vocab; i++) {
        double difference = fabs((double)a[i] - (double)b[i]), p = exp((double)a[i] - la);
        if (!(difference <= out->max_logit_difference))
            out->max_logit_difference = difference; /* NaN too */
        kl += p * (((double)a[i] - la) - ((double)b[i] - lb));
        best_a = a[i] > a[best_a] ? i : best_a;
        best_b = b[i] > b[best_b] ? i : best_b;
    }
    tally->same += best_a == best_b;
    tally->kl += kl;
    if (!(kl <= tally->max_kl))
        tally->max_kl = kl;
    tally->positions++;
}

static bool compare_sequence(const struct export_job *j, const struct compute *exact, struct side *meant, struct side *written,
                             const struct sequence *q, struct tally *tally, struct gm_error *err)
{
    const size_t vocab = (size_t)meant->model->config.vocab_size, d = (size_t)meant->model->config.d_model;
    side_run(meant, exact, q->ids, q->n);
    side_run(written, exact, q->ids, q->n);
    for (int at = q->answer < 0 ? 0 : q->answer; at < q->n; at += ROWS) {
        int n = q->n - at < ROWS ? q->n - at : ROWS;
        pass_logits(meant->pass, exact, meant->hidden + (size_t)at * d, n, meant->logits);
        pass_logits(written->pass, exact, written->hidden + (size_t)at * d, n, written->logits);
        for (int k = 0; k < n; k++)
            compare(meant->logits + (size_t)k * vocab, written->logits + (size_t)k * vocab, (int)vocab, tally, j->result);
        if (export_cancelled(j, err))
            return false;
    }
    return true;
}

static double mean(double sum, int64_t n) { return n ? sum / (double)n : 0; }

static bool compare_logits(const struct export_job *j, const struct compute *exact, const struct model *m, const struct lora *l, struct gm_error *err)
{
    struct export_result *out = j->result;
    struct side meant = {0}, written = {0};
    struct sequences *s = mem_new(1, sizeof *s);
    struct tally random = {0}, asked = {0};
    export_progress(j, SHARE_PROVING / 100.0, "answering prompts");
    bool ok = sequences_make(s, j, exact, err) && side_open(&meant, j->r.model, j->r.lora, err) && side_open(&written, m, l, err);
    for (int i = 0; ok && i < s->n; i++) {
        export_progress(j, (SHARE_PROVING + (100.0 - SHARE_PROVING) * i / s->n) / 100, "comparing logits");
        ok = compare_sequence(j, exact, &meant, &written, &s->list[i], s->list[i].answer < 0 ? &random : &asked, err);
    }
    const struct tally *t = asked.positions ? &asked : &random; /* nothing could be asked */
    out->sequences = s->n;
    out->positions = t->positions;
    out->mean_kl = mean(t->kl, t->positions);
    out->max_kl = t->max_kl;
    out->greedy_agreement = mean((double)t->same, t->positions);
    out->random_positions = random.positions;
    out->random_mean_kl = mean(random.kl, random.positions);
    side_close(&meant);
    side_close(&written);
    mem_free(s);
    return ok;
}

/* ---- what is not logits ---- */

static bool same_ids(const struct tokenizer *a, const struct tokenizer *b, unsigned flags, bool *same, struct gm_error *err)
{
    static const char *const texts[] = {"An old silent pond: a frog jumps in!", "  two  spaces\n\nand\ttabs, 1234567890 (it's)",
                                        "caf\xc3\xa9 \xe4\xbf\xb3\xe5\x8f\xa5 \xf0\x9f\x8c\xb8"};
    bool ok = true;
    for (size_t i = 0; ok && *same && i < sizeof texts / sizeof *texts; i++) {
        struct id_list x = {0}, y = {0};
        ok = tokenizer_encode(a, texts[i], strlen(texts[i]), flags, &x, err)
             && tokenizer_encode(b, texts[i], strlen(texts[i]), flags, &y, err);
        *same = id_list_same(&x, &y);
        id_list_free(&x);
        id_list_free(&y);
    }
    return ok;
}

/* The tokenizer that went along gives the ids that ours gives, the template is the one we used. A GGUF has a piece for every row of the embedding. */
static bool check_text(const struct export_job *j, const struct model *written, struct gm_error *err)
{
    const struct export_request *r = &j->r;
    struct tokenizer *t = tokenizer_open(written->source, err);
    struct chat_template *tpl = t && r->tpl ? chat_template_open(written->source, t, NULL, err) : NULL;
    bool ok = t && (tpl || !r->tpl);
    bool same = ok && tokenizer_vocab_size(t) >= tokenizer_vocab_size(r->tokenizer) && tokenizer_bos(t) == tokenizer_bos(r->tokenizer);
    ok = ok && same_ids(r->tokenizer, t, j->ollama ? 0 : TOKENIZE_ADD_SPECIAL, &same, err); /* Ollama: BOS as the TEMPLATE needs it */
    if (ok && !same)
        ok = error_set(err, GM_E_CHECK, "its tokenizer gives other ids than the base's (the files were removed)");
    if (ok && tpl && strcmp(chat_template_text(tpl), chat_template_text(r->tpl)) != 0)
        ok = error_set(err, GM_E_CHECK, "its chat template is another one (the files were removed)");
    chat_template_free(tpl);
    tokenizer_free(t);
    return ok;
}

/* The factors and what they are multiplied by, to the bit. GGUF keeps alpha, and a reader divides by the rank: the scale may be a rounding away. */
static bool check_adapter(const struct export_job *j, const struct lora *written, struct gm_error *err)
{
    const struct lora *l = j->r.lora;
    float off = fabsf(written->options.scale - l->options.scale), room = j->r.to == EXPORT_GGUF_LORA ? 1e-6f * fabsf(l->options.scale) : 0;
    if (written->set.count == l->set.count && off <= room && memcmp(written->set.w, l->set.w, l->set.count * sizeof *l->set.w) == 0)
        return true;
    return error_set(err, GM_E_CHECK, "the adapter that was read back is another one (the files were removed)");
}

static bool write_proof(const struct export_job *j, const char *proof, struct gm_error *err)
{
    const struct export_result *p = j->result;
    bool whole = export_target(j->r.to)->whole_model;
    json_t *o = json_object(), *notes = json_array();
    json_object_set_new(o, "to", json_string(export_target(j->r.to)->name));
    json_object_set_new(o, "type", json_string(whole ? export_storage(j->type)->name : "f32"));
    json_object_set_new(o, "base", json_text(j->r.model_name ? j->r.model_name : ""));
    json_object_set_new(o, "weights",
                        json_string(!whole ? "the adapter's own, bit for bit" : "the sum in f32, rounded once to the type, bit for bit"));
    json_object_set_new(o, "sequences", json_integer(p->sequences));
    json_object_set_new(o, "positions", json_integer(p->positions));
    json_object_set_new(o, "max_logit_difference", json_number(p->max_logit_difference));
    json_object_set_new(o, "mean_kl", json_number(p->mean_kl));
    json_object_set_new(o, "max_kl", json_number(p->max_kl));
    json_object_set_new(o, "random_positions", json_integer(p->random_positions));
    json_object_set_new(o, "random_mean_kl", json_number(p->random_mean_kl));
    json_object_set_new(o, "kl_allowed", json_number(p->kl_allowed));
    json_object_set_new(o, "greedy_agreement", json_number(p->greedy_agreement));
    if (j->ollama)
        json_object_set_new(o, "prompts_verified", json_integer(p->prompts_verified));
    for (int i = 0; i < p->n_notes; i++)
        json_array_append_new(notes, json_text(p->notes[i]));
    json_object_set_new(o, "notes", notes);
    bool ok = json_write_file(proof, o, err);
    json_decref(o);
    return ok;
}

/* ---- the proof ---- */

static bool prove_model(struct export_job *j, const struct compute *exact, const char *path, struct gm_error *err)
{
    char *file = j->ollama ? path_join(path, "model.gguf") : mem_copy(path);
    j->plan->bytes_done = 0;
    struct model *m = (export_target(j->r.to)->gguf ? export_check_gguf : export_check_safetensors)(j, file, err) ? model_open(file, err) : NULL;
    bool ok = m && check_text(j, m, err) && (!j->ollama || export_check_modelfile(j, path, m->source, err)) && compare_logits(j, exact, m, NULL, err);
    model_free(m);
    mem_free(file);
    return ok;
}

static bool prove_adapter(struct export_job *j, const struct compute *exact, const char *path, struct gm_error *err)
{
    struct lora *l = lora_load(path, &j->r.model->config, err);
    bool ok = l && check_adapter(j, l, err);
    if (ok)
        lora_bind(l, j->r.model, exact);
    ok = ok && compare_logits(j, exact, j->r.model, l, err);
    lora_free(l);
    return ok;
}

bool export_prove(struct export_job *j, const char *path, const char *proof, struct gm_error *err)
{
    struct export_result *p = j->result;
    struct compute exact = {0};
    const struct lora *asked = j->r.lora;
    struct lora *l = asked ? lora_copy(asked) : NULL; /* whose lengths (DoRA) are exact, too */
    bool ok = compute_init(&exact, j->c->pool, j->c->role, GM_COMPUTE_F32, FAMILY_AUTO, err);
    if (ok && l)
        lora_bind(l, j->r.model, &exact);
    j->r.lora = l;
    ok = ok && (j->plan ? prove_model : prove_adapter)(j, &exact, path, err);
    j->r.lora = asked;
    lora_free(l);
    compute_free(&exact);
    p->kl_allowed = kl_allowed(j);
    if (ok && !(p->mean_kl <= p->kl_allowed))
        ok = error_set(err, GM_E_CHECK, "mean KL %.3g to the unfused model is above %.3g (choose another --type; the files were removed)",
                       p->mean_kl, p->kl_allowed);
    return ok && write_proof(j, proof, err);
}
