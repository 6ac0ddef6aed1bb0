/* proof.c - what was written is read by our own reader and compared with what was meant: logits over fixed token sequences.
 *
 * The sequences are drawn from the vocabulary by a named stream, so that every export of a model is proved on the same ones. KL(meant || written) in nats.
 * Always in f32 arithmetic: what is to be seen is the rounding of the weights, not that of a kernel.
 */
#include "engine/export/export.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/format/json.h"

#include <math.h>
#include <string.h>

enum { SEQUENCES = 4, LENGTH = 24 };

/* What rounding the weights once to the type may cost, in nats a position (measured on the models at hand: docs/formats.md), with room. */
static double kl_allowed(const struct export_request *r, enum dtype type)
{
    if (r->to != EXPORT_SAFETENSORS || type == DT_F32)
        return 1e-6; /* the same numbers: only the order of sums differs */
    return type == DT_F16 ? 1e-3 : 2e-2;
}

static bool logits_of(const struct model *m, const struct lora *l, const struct compute *c, const int32_t *ids, float *logits, struct gm_error *err)
{
    struct pass_limits limits = {.kind = PASS_FORWARD, .max_tokens = SEQUENCES * LENGTH, .max_seqs = SEQUENCES, .mode = c->mode};
    struct pass *p = pass_new(m, l ? &l->options : NULL, &limits, err);
    if (!p)
        return false;
    int32_t positions[SEQUENCES * LENGTH], borders[SEQUENCES + 1];
    for (int i = 0; i < SEQUENCES * LENGTH; i++)
        positions[i] = i % LENGTH;
    for (int i = 0; i <= SEQUENCES; i++)
        borders[i] = i * LENGTH;
    struct batch b = {.T = SEQUENCES * LENGTH, .ids = ids, .positions = positions, .n_seqs = SEQUENCES, .seq_start = borders};
    const float *hidden = pass_hidden(p, c, l, &b, NULL);
    pass_logits(p, c, hidden, SEQUENCES * LENGTH, logits);
    pass_free(p);
    return true;
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

static void compare(const float *meant, const float *written, int vocab, struct export_result *out)
{
    int same = 0;
    out->positions = SEQUENCES * LENGTH;
    for (int t = 0; t < SEQUENCES * LENGTH; t++) {
        const float *a = meant + (size_t)t * (size_t)vocab, *b = written + (size_t)t * (size_t)vocab;
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
        same += best_a == best_b;
        out->mean_kl += kl / (SEQUENCES * LENGTH);
        if (!(kl <= out->max_kl))
            out->max_kl = kl;
    }
    out->greedy_agreement = (double)same / (SEQUENCES * LENGTH);
}

static bool write_proof(const struct export_request *r, enum dtype type, const char *folder, const struct export_result *p, struct gm_error *err)
{
    json_t *o = json_object();
    json_object_set_new(o, "to", json_string(export_to_name(r->to)));
    json_object_set_new(o, "type", json_string(r->to == EXPORT_SAFETENSORS ? dtype_name(type) : "F32"));
    json_object_set_new(o, "positions", json_integer(p->positions));
    json_object_set_new(o, "max_logit_difference", json_real(p->max_logit_difference));
    json_object_set_new(o, "mean_kl", json_real(p->mean_kl));
    json_object_set_new(o, "max_kl", json_real(p->max_kl));
    json_object_set_new(o, "kl_allowed", json_real(p->kl_allowed));
    json_object_set_new(o, "greedy_agreement", json_real(p->greedy_agreement));
    char *file = path_join(folder, "proof.json");
    bool ok = json_write_file(file, o, err);
    json_decref(o);
    mem_free(file);
    return ok;
}

/* The tokenizer that went along gives the ids that ours gives. */
static bool check_tokenizer(const struct export_request *r, const struct model *written, struct gm_error *err)
{
    static const char *const texts[] = {"An old silent pond: a frog jumps in!", "  two  spaces\n\nand\ttabs, 1234567890 (it's)", "caf\xc3\xa9 \xe4\xbf\xb3\xe5\x8f\xa5 \xf0\x9f\x8c\xb8"};
    struct tokenizer *t = tokenizer_open(written->source, err);
    bool ok = t != NULL, same = ok && tokenizer_vocab_size(t) == tokenizer_vocab_size(r->tokenizer) && tokenizer_bos(t) == tokenizer_bos(r->tokenizer);
    for (size_t i = 0; ok && same && i < sizeof texts / sizeof *texts; i++) {
        struct id_list a = {0}, b = {0};
        ok = tokenizer_encode(r->tokenizer, texts[i], strlen(texts[i]), TOKENIZE_ADD_SPECIAL, &a, err)
             && tokenizer_encode(t, texts[i], strlen(texts[i]), TOKENIZE_ADD_SPECIAL, &b, err);
        same = a.n == b.n && (a.n == 0 || memcmp(a.ids, b.ids, a.n * sizeof *a.ids) == 0);
        id_list_free(&a);
        id_list_free(&b);
    }
    tokenizer_free(t);
    if (ok && !same)
        ok = error_set(err, GM_E_CHECK, "prove %s: its tokenizer gives other ids than the base's (the files were removed)", r->out);
    return ok;
}

/* The factors and what they are multiplied by, to the bit. */
static bool check_adapter(const struct export_request *r, const struct lora *written, struct gm_error *err)
{
    const struct lora *l = r->lora;
    if (written->set.count == l->set.count && written->options.scale == l->options.scale
        && memcmp(written->set.w, l->set.w, l->set.count * sizeof *l->set.w) == 0)
        return true;
    return error_set(err, GM_E_CHECK, "prove %s: the adapter that was read back is another one (the files were removed)", r->out);
}

/* The logits of what stands in the folder, once it is known to be what was meant. */
static bool logits_written(const struct export_request *r, const struct compute *c, enum dtype type, const char *folder, const int32_t *ids,
                           float *logits, struct gm_error *err)
{
    if (r->to == EXPORT_SAFETENSORS) {
        struct model *m = export_check_fused(r, type, folder, err) ? model_open(folder, err) : NULL;
        if (m && r->progress)
            r->progress(r->arg, 0.8, "comparing logits");
        bool ok = m && check_tokenizer(r, m, err) && logits_of(m, NULL, c, ids, logits, err);
        model_free(m);
        return ok;
    }
    struct lora *l = lora_load(folder, &r->model->config, err);
    bool ok = l && check_adapter(r, l, err);
    if (ok)
        lora_bind(l, r->model, c);
    ok = ok && logits_of(r->model, l, c, ids, logits, err);
    lora_free(l);
    return ok;
}

bool export_prove(const struct export_request *r, const struct compute *c, enum dtype type, const char *folder, struct export_result *result,
                  struct gm_error *err)
{
    int vocab = r->model->config.vocab_size;
    size_t bytes = (size_t)SEQUENCES * LENGTH * (size_t)vocab * sizeof(float);
    float *meant = mem_alloc(bytes, "proof", err), *written = meant ? mem_alloc(bytes, "proof", err) : NULL;
    int32_t ids[SEQUENCES * LENGTH];
    struct rng rng = rng_stream(0, "proof", 0);
    for (int i = 0; i < SEQUENCES * LENGTH; i++)
        ids[i] = (int32_t)rng_below(&rng, (uint64_t)vocab);
    result->kl_allowed = kl_allowed(r, type);
    struct compute exact = {0};
    struct lora *l = r->lora ? lora_copy(r->lora) : NULL; /* whose lengths are exact, too */
    bool ok = meant && written && compute_init(&exact, c->pool, c->role, GM_COMPUTE_F32, FAMILY_AUTO, err);
    if (ok && l)
        lora_bind(l, r->model, &exact);
    ok = ok && logits_of(r->model, l, &exact, ids, meant, err) && logits_written(r, &exact, type, folder, ids, written, err);
    lora_free(l);
    compute_free(&exact);
    if (ok) {
        compare(meant, written, vocab, result);
        ok = write_proof(r, type, folder, result, err);
    }
    if (ok && !(result->mean_kl <= result->kl_allowed))
        ok = error_set(err, GM_E_CHECK, "prove %s: mean KL %.3g to the unfused model is above %.3g (choose another --type; the files were removed)",
                       r->out, result->mean_kl, result->kl_allowed);
    mem_free(meant);
    mem_free(written);
    return ok;
}
