/* proof.c - what was written is read by our own reader and compared with what was meant: logits over fixed token sequences.
 *
 * The sequences are drawn from the vocabulary by a named stream, so that every export of a model is proved on the same ones. KL(meant || written) in nats.
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
    struct pass_limits limits = {.kind = PASS_FORWARD, .max_tokens = SEQUENCES * LENGTH, .max_seqs = SEQUENCES};
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

/* The logits of what stands in the folder. */
static bool logits_written(const struct export_request *r, const struct compute *c, const char *folder, const int32_t *ids, float *logits,
                           struct gm_error *err)
{
    if (r->to == EXPORT_SAFETENSORS) {
        struct model *m = model_open(folder, err);
        bool ok = m && logits_of(m, NULL, c, ids, logits, err);
        model_free(m);
        return ok;
    }
    struct lora *l = lora_load(folder, &r->model->config, err);
    bool ok = l && logits_of(r->model, l, c, ids, logits, err);
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
    bool ok = meant && written && logits_of(r->model, r->lora, c, ids, meant, err) && logits_written(r, c, folder, ids, written, err);
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
