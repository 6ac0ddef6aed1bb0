/* pass.c - what callers ask of a pass: a loss, gradients, hidden states, logits. The layers:
 * pass_forward.c, pass_backward.c. */
#include "engine/model/pass_private.h"

#include "engine/kernel/head.h"
#include "engine/kernel/ops.h"

#include <assert.h>
#include <string.h>

static void check_batch(const struct pass *p, const struct lora *lora, const struct batch *b)
{
    assert(b->T >= 1 && b->T <= p->limits.max_tokens && b->n_targets <= p->limits.max_targets);
    assert(b->n_seqs >= 1 && b->n_seqs <= p->limits.max_seqs && b->seq_start[0] == 0 &&
           b->seq_start[b->n_seqs] == b->T);
    assert(!lora || (lora_is_bound(lora) && lora->options.rank <= p->rank && (lora->options.keys & ~p->keys) == 0));
    for (int64_t t = 0; t < b->T; t++)
        assert(b->ids[t] >= 0 && b->ids[t] < p->m->config.vocab_size && b->positions[t] >= 0 &&
               b->positions[t] < p->rows);
}

static struct layer_run start(struct pass *p, const struct compute *c, const struct lora *lora,
                              struct lora_span *span)
{
    *span = (struct lora_span){.lora = lora};
    p->type = c->mode == GM_COMPUTE_F32 ? DT_F32 : DT_BF16;
    assert(p->type == DT_BF16 || p->number == sizeof(float));
    return (struct layer_run){.c = c,
                              .m = p->m,
                              .spans = span,
                              .n_spans = 1,
                              .dropped = pass_operand(p, p->dropped, p->widest),
                              .thin = p->thin};
}

/* The next slice of whole sequences; false: none is left. Begin with *slice zero. */
static bool next_slice(struct pass *p, const struct batch *b, struct batch *slice, int *seq,
                       int64_t *target)
{
    int first = *seq, n = 0;
    if (first >= b->n_seqs)
        return false;
    const int32_t row0 = b->seq_start[first];
    while (first + n < b->n_seqs && (n == 0 || b->seq_start[first + n + 1] - row0 <= PASS_SLICE))
        n++;
    const int32_t row1 = b->seq_start[first + n];
    assert(row1 - row0 <= p->rows);
    for (int i = 0; i <= n; i++)
        p->slice_start[i] = b->seq_start[first + i] - row0;
    int64_t n_targets = 0;
    while (*target + n_targets < b->n_targets && b->target_row[*target + n_targets] < row1) {
        assert(n_targets < p->targets && b->target_row[*target + n_targets] >= row0);
        p->slice_rows[n_targets] = b->target_row[*target + n_targets] - row0;
        n_targets++;
    }
    *slice = (struct batch){.T = row1 - row0,
                            .ids = b->ids + row0,
                            .positions = b->positions + row0,
                            .n_seqs = n,
                            .seq_start = p->slice_start,
                            .n_targets = n_targets,
                            .target_row = p->slice_rows,
                            .target_id = b->target_id + *target};
    *seq += n;
    *target += n_targets;
    return true;
}

/* Final norm of the rows that predict, then the head. With want_grad p->head_dh holds the gradient
 * of the normed rows. */
static double loss_of_targets(struct pass *p, const struct compute *c, const struct batch *b,
                              float weight, float *nll, bool want_grad, float *d_head)
{
    const struct model_config *config = &p->m->config;
    for (int64_t i = 0; i < b->n_targets; i++)
        memcpy(p->head_x + i * p->d, p->x + b->target_row[i] * p->d, (size_t)p->d * sizeof(float));
    rmsnorm(c, p->head_h, p->head_rstd, p->head_x, p->m->norm_final, b->n_targets, p->d,
            config->rms_norm_eps);
    return head_loss(c, &p->m->head, config->final_softcap, p->head_h, b->target_id, b->n_targets,
                     weight, nll, want_grad ? p->head_dh : NULL, d_head, p->head_work);
}

double pass_loss(struct pass *p, const struct compute *c, const struct lora *lora,
                 const struct batch *b, float *nll)
{
    struct lora_span span;
    struct layer_run r = start(p, c, lora, &span);
    struct batch slice;
    int seq = 0;
    int64_t target = 0;
    double sum = 0;
    check_batch(p, lora, b);
    while (next_slice(p, b, &slice, &seq, &target)) {
        if (slice.n_targets == 0)
            continue;
        span.n = slice.T;
        pass_forward(p, &r, &slice, false, NULL);
        sum += loss_of_targets(p, c, &slice, 1, nll ? nll + target - slice.n_targets : NULL, false,
                               NULL);
    }
    return sum;
}

static float *grad_of(const struct pass *p, float *grads, int param)
{
    return grads + p->m->full.params[param].offset;
}

/* Loss of a slice, and the gradient of the last layer's output in p->dx. */
static double loss_backward(struct pass *p, const struct compute *c, const struct batch *b,
                            float weight, float *grads)
{
    const struct model *m = p->m;
    bool full = p->limits.kind == PASS_FULL;
    int last = m->full.n_params - 1, final_norm = m->config.tied_head ? last : last - 1;
    float *d_head = full ? grad_of(p, grads, m->config.tied_head ? 0 : last) : NULL;
    double nll = loss_of_targets(p, c, b, weight, NULL, true, d_head);
    rmsnorm_backward(c, p->head_dh, full ? grad_of(p, grads, final_norm) : NULL, p->head_dh,
                     p->head_x, p->head_rstd, m->norm_final, b->n_targets, p->d, false);
    memset(p->dx, 0, (size_t)(b->T * p->d) * sizeof(float));
    for (int64_t i = 0; i < b->n_targets; i++) {
        float *to = p->dx + b->target_row[i] * p->d;
        for (int64_t k = 0; k < p->d; k++)
            to[k] += p->head_dh[i * p->d + k];
    }
    /* logits, and their gradient by the rows (and by the head): the head is read once */
    part_end(&p->clock, PART_HEAD,
             (full ? 6.0 : 4.0) * (double)b->n_targets * (double)p->d * (double)m->config.vocab_size,
             (double)mat_bytes(&m->head) + 4.0 * (double)p->d * (double)(3 * b->n_targets + b->T));
    return nll;
}

double pass_loss_and_grad(struct pass *p, const struct compute *c, const struct lora *lora,
                          const struct batch *b, float weight, uint64_t dropout_seed,
                          uint64_t dropout_step, float *grads)
{
    bool full = p->limits.kind == PASS_FULL;
    assert(p->limits.kind != PASS_FORWARD &&
           (full ? !lora && p->m->full.count > 0 : lora && lora->first_layer >= p->first_layer));
    struct lora_span span;
    struct layer_run r = start(p, c, lora, &span);
    struct batch slice;
    int seq = 0;
    int64_t target = 0;
    double nll = 0;
    check_batch(p, lora, b);
    p->clock = (struct part_clock){0};
    r.parts = &p->clock;
    if (lora)
        r.dropout = (struct dropout){
            .p = lora->options.dropout, .seed = dropout_seed, .step = dropout_step, .kept = p->survives};
    assert(r.dropout.p == 0 || p->dropout);
    while (next_slice(p, b, &slice, &seq, &target)) {
        r.dropout.row0 = slice.ids - b->ids;
        if (slice.n_targets == 0)
            continue;
        span.n = slice.T;
        pass_forward(p, &r, &slice, true, NULL);
        nll += loss_backward(p, c, &slice, weight, grads);
        pass_backward(p, &r, &slice, lora, grads);
    }
    return nll;
}

const float *pass_hidden(struct pass *p, const struct compute *c, const struct lora *lora,
                         const struct batch *b, float *layer_outputs)
{
    struct lora_span span;
    struct layer_run r = start(p, c, lora, &span);
    check_batch(p, lora, b);
    assert(b->T <= p->rows);
    span.n = b->T;
    pass_forward(p, &r, b, false, layer_outputs);
    rmsnorm(c, p->o, NULL, p->x, p->m->norm_final, b->T, p->d, p->m->config.rms_norm_eps);
    return p->o;
}

void pass_logits(struct pass *p, const struct compute *c, const float *hidden_rows, int64_t n_rows,
                 float *logits)
{
    head_logits(c, &p->m->head, p->m->config.final_softcap, logits, hidden_rows, n_rows);
}
