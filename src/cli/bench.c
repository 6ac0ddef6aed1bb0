/* bench.c - `gemmaiku bench --train-shape NAME`: one LoRA training step of a model's real shape with random weights, measured. */
#include "src/cli/cli.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/model/pass.h"
#include "src/cli/train_args.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shape {
    const char *name, *config;
};
/* The published config.json values that decide the arithmetic. */
static const struct shape SHAPES[] = {
    {"smollm2-135m", "{\"model_type\":\"llama\",\"vocab_size\":49152,\"hidden_size\":576,\"intermediate_size\":1536,\"num_hidden_layers\":30,"
                     "\"num_attention_heads\":9,\"num_key_value_heads\":3,\"hidden_act\":\"silu\",\"rms_norm_eps\":1e-5,\"rope_theta\":100000.0,"
                     "\"max_position_embeddings\":8192,\"tie_word_embeddings\":true,\"bos_token_id\":1,\"eos_token_id\":2}"},
    {"tinyllama", "{\"model_type\":\"llama\",\"vocab_size\":32000,\"hidden_size\":2048,\"intermediate_size\":5632,\"num_hidden_layers\":22,"
                  "\"num_attention_heads\":32,\"num_key_value_heads\":4,\"hidden_act\":\"silu\",\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,"
                  "\"max_position_embeddings\":2048,\"tie_word_embeddings\":false,\"bos_token_id\":1,\"eos_token_id\":2}"},
    {"gemma3-270m", "{\"model_type\":\"gemma3_text\",\"vocab_size\":262144,\"hidden_size\":640,\"intermediate_size\":2048,\"num_hidden_layers\":18,"
                    "\"num_attention_heads\":4,\"num_key_value_heads\":1,\"head_dim\":256,\"query_pre_attn_scalar\":256,\"sliding_window\":512,"
                    "\"hidden_activation\":\"gelu_pytorch_tanh\",\"rms_norm_eps\":1e-6,\"rope_theta\":1000000.0,\"rope_local_base_freq\":10000.0,"
                    "\"max_position_embeddings\":32768,\"sliding_window_pattern\":6,\"bos_token_id\":2,\"eos_token_id\":1}"},
    {"gemma3-1b", "{\"model_type\":\"gemma3_text\",\"vocab_size\":262144,\"hidden_size\":1152,\"intermediate_size\":6912,\"num_hidden_layers\":26,"
                  "\"num_attention_heads\":4,\"num_key_value_heads\":1,\"head_dim\":256,\"query_pre_attn_scalar\":256,\"sliding_window\":512,"
                  "\"hidden_activation\":\"gelu_pytorch_tanh\",\"rms_norm_eps\":1e-6,\"rope_theta\":1000000.0,\"rope_local_base_freq\":10000.0,"
                  "\"max_position_embeddings\":32768,\"sliding_window_pattern\":6,\"bos_token_id\":2,\"eos_token_id\":1}"},
    {"gemma3-4b", "{\"model_type\":\"gemma3_text\",\"vocab_size\":262208,\"hidden_size\":2560,\"intermediate_size\":10240,\"num_hidden_layers\":34,"
                  "\"num_attention_heads\":8,\"num_key_value_heads\":4,\"head_dim\":256,\"query_pre_attn_scalar\":256,\"sliding_window\":1024,"
                  "\"hidden_activation\":\"gelu_pytorch_tanh\",\"rms_norm_eps\":1e-6,\"rope_theta\":1000000.0,\"rope_local_base_freq\":10000.0,"
                  "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8.0},"
                  "\"max_position_embeddings\":131072,\"sliding_window_pattern\":6,\"bos_token_id\":2,\"eos_token_id\":1}"},
};
/* Names of --weights, as export's --type spells them. */
static const struct {
    const char *name;
    enum dtype type;
} WEIGHTS[] = {{"bf16", DT_BF16}, {"f16", DT_F16}, {"f32", DT_F32}, {"q8_0", DT_Q8_0}, {"q4_0", DT_Q4_0}, {"q4_1", DT_Q4_1},
               {"q5_0", DT_Q5_0}, {"q5_1", DT_Q5_1}, {"q4_k", DT_Q4_K}, {"q5_k", DT_Q5_K}, {"q6_k", DT_Q6_K}, {"iq4_nl", DT_IQ4_NL},
               {"mlx4", DT_MLX4}, {"mlx8", DT_MLX8}};
#define WEIGHT_CHOICES "bf16|f16|f32|q8_0|q4_0|q4_1|q5_0|q5_1|q4_k|q5_k|q6_k|iq4_nl|mlx4|mlx8" /* in the order of WEIGHTS */
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES, STEPS_MAX = 100 };

struct bench_args {
    const char *shape;
    int seq, batch, steps, weights, checkpoint;
    double supervised;
    struct lora_options lora;
};

struct measured {
    double ms[STEPS_MAX];
    int n;
    struct pass_part parts[16];
    int n_parts;
    double peak_gflops; /* of all threads, mean of before and after */
};

/* A packed batch of `batch` rows of `seq` random tokens, loss on the last share of each. */
struct random_batch {
    struct batch b;
    int32_t *memory;
};

static void random_batch_init(struct random_batch *r, const struct bench_args *a, int vocab)
{
    int64_t T = (int64_t)a->seq * a->batch;
    int first = (int)((1 - a->supervised) * a->seq), each = a->seq - first;
    if (first < 1) {
        first = 1;
        each = a->seq - 1;
    }
    r->memory = mem_new((size_t)(4 * T + a->batch + 1), sizeof(int32_t));
    int32_t *ids = r->memory, *positions = ids + T, *rows = positions + T, *targets = rows + T, *borders = targets + T;
    struct rng rng = rng_stream(1, "bench", 0);
    int64_t n = 0;
    for (int s = 0; s < a->batch; s++) {
        borders[s] = s * a->seq;
        for (int i = 0; i < a->seq; i++) {
            ids[s * a->seq + i] = (int32_t)rng_below(&rng, (uint64_t)vocab);
            positions[s * a->seq + i] = i;
        }
        for (int i = first; i < a->seq; i++, n++) {
            rows[n] = s * a->seq + i - 1;
            targets[n] = ids[s * a->seq + i];
        }
    }
    borders[a->batch] = (int32_t)T;
    r->b = (struct batch){.T = T, .ids = ids, .positions = positions, .n_seqs = a->batch, .seq_start = borders,
                          .n_targets = (int64_t)each * a->batch, .target_row = rows, .target_id = targets};
}

static double peak_of_machine(const struct compute *c, int threads)
{
    double gflops[FAMILY_COUNT];
    compute_probe(gflops);
    return gflops[c->family] * threads;
}

static bool measure(const struct bench_args *a, const struct general *g, const struct model *m, struct compute *c, struct measured *out,
                    struct gm_error *err)
{
    struct random_batch data;
    random_batch_init(&data, a, m->config.vocab_size);
    struct pass_limits limits = {.kind = PASS_LORA, .max_tokens = data.b.T, .max_targets = data.b.n_targets, .max_seqs = a->batch,
                                 .max_seq_tokens = a->seq, .checkpoint = a->checkpoint == 1, .mode = c->mode};
    struct lora *l = lora_new(&m->config, &a->lora, 1, err);
    struct pass *p = l ? pass_new(m, &a->lora, &limits, err) : NULL;
    size_t bytes = l ? l->set.count * sizeof(float) : 0;
    if (l)
        lora_bind(l, m, c);
    float *memory = p ? mem_alloc(3 * bytes, "gradients and moments", err) : NULL;
    bool ok = memory != NULL;
    out->peak_gflops = peak_of_machine(c, pool_threads(c->pool)) / 2;
    for (int i = 0; ok && i <= a->steps; i++) { /* step 0 touches memory for the first time: not counted */
        float *grads = memory, *m1 = memory + l->set.count, *m2 = m1 + l->set.count;
        double began = clock_seconds();
        memset(grads, 0, bytes);
        double nll = pass_loss_and_grad(p, c, l, &data.b, 1.0f / (float)data.b.n_targets, 1, (uint64_t)i, grads);
        double norm = sqrt(sum_squares(c, grads, (int64_t)l->set.count));
        struct adam adam = {.lr = 1e-4f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .bias1 = 1, .bias2 = 1};
        adamw_update(c, &adam, l->set.w, m1, m2, grads, norm > 1 ? (float)(1 / norm) : 1, (int64_t)l->set.count);
        lora_changed(l, c);
        double ms = 1000 * (clock_seconds() - began);
        if (!isfinite(nll))
            ok = error_set(err, GM_E_INPUT, "bench step %d: the loss is no number", i);
        if (i > 0)
            out->ms[out->n++] = ms;
        cli_note(g, "step %d  %.1f ms  loss %.4f%s", i, ms, nll / (double)data.b.n_targets, i ? "" : "  (first touch, not counted)");
    }
    out->peak_gflops += peak_of_machine(c, pool_threads(c->pool)) / 2;
    if (ok)
        out->n_parts = pass_parts(p, out->parts);
    mem_free(memory);
    pass_free(p);
    lora_free(l);
    mem_free(data.memory);
    return ok;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Flops that the mathematics needs: base products forward and back to the input, adapters, attention, head where there is loss. */
static double useful_flops(const struct model_config *c, const struct bench_args *a)
{
    double T = (double)a->seq * a->batch, q = (double)c->n_heads * c->head_dim, kv = (double)c->n_kv_heads * c->head_dim;
    double sizes[PROJ_COUNT][2] = {{c->d_model, q}, {c->d_model, kv}, {c->d_model, kv}, {q, c->d_model},
                                   {c->d_model, c->d_ff}, {c->d_model, c->d_ff}, {c->d_ff, c->d_model}};
    int adapted = c->n_layers - lora_first_layer(c, &a->lora);
    double body = 0, lora = 0;
    for (int p = 0; p < PROJ_COUNT; p++) {
        body += sizes[p][0] * sizes[p][1];
        if (a->lora.keys >> p & 1)
            lora += (sizes[p][0] + sizes[p][1]) * a->lora.rank;
    }
    double attention = 2 * q * a->seq; /* forward, per token: causal half of q·k and p·v */
    return T * (2 * body * (c->n_layers + adapted) + 6 * lora * adapted + attention * (c->n_layers + 2.5 * adapted)
                + 4 * a->supervised * (double)c->d_model * c->vocab_size);
}

static void report(const struct bench_args *a, const struct general *g, const struct model *m, const struct compute *c, struct measured *r)
{
    qsort(r->ms, (size_t)r->n, sizeof *r->ms, by_size);
    double median = r->n % 2 ? r->ms[r->n / 2] : (r->ms[r->n / 2 - 1] + r->ms[r->n / 2]) / 2;
    double tokens = (double)a->seq * a->batch, share = useful_flops(&m->config, a) / (median * 1e6) / r->peak_gflops;
    if (g->json) {
        json_t *parts = json_array(), *o = json_object();
        for (int i = 0; i < r->n_parts; i++) {
            const struct pass_part *p = &r->parts[i];
            json_array_append_new(parts, json_pack("{s:s, s:f, s:f, s:f}", "name", p->name, "ms", 1000 * p->seconds, "gflops",
                                                   p->seconds > 0 ? p->flops / p->seconds / 1e9 : 0, "bytes", p->bytes));
        }
        json_object_set_new(o, "shape", json_string(a->shape));
        json_object_set_new(o, "tokens_per_second", json_real(1000 * tokens / median));
        json_object_set_new(o, "step_ms", json_real(median));
        json_object_set_new(o, "step_ms_min", json_real(r->ms[0]));
        json_object_set_new(o, "step_ms_max", json_real(r->ms[r->n - 1]));
        json_object_set_new(o, "peak_memory_bytes", json_integer((json_int_t)mem_rss_peak_bytes()));
        json_object_set_new(o, "weights", json_string(WEIGHTS[a->weights].name));
        json_object_set_new(o, "weight_bytes", json_integer((json_int_t)m->weight_bytes));
        json_object_set_new(o, "compute", json_string(compute_mode_name(c->mode)));
        json_object_set_new(o, "kernel", json_string(family_name(c->family)));
        json_object_set_new(o, "threads", json_integer(pool_threads(c->pool)));
        json_object_set_new(o, "share_of_peak", json_real(share));
        json_object_set_new(o, "parts", parts);
        cli_print_json(o);
        return;
    }
    printf("%s %s  %d x %d tokens  %s %s  %d threads\n", a->shape, WEIGHTS[a->weights].name, a->batch, a->seq, compute_mode_name(c->mode), family_name(c->family),
           pool_threads(c->pool));
    printf("%.1f tok/s   step %.1f ms (%.1f .. %.1f)   weights %.0f MB, peak memory %.0f MB   %.0f %% of the measured peak\n\n", 1000 * tokens / median, median,
           r->ms[0], r->ms[r->n - 1], (double)m->weight_bytes / 1e6, (double)mem_rss_peak_bytes() / 1e6, 100 * share);
    for (int i = 0; i < r->n_parts; i++)
        printf("%-24s %9.2f ms %9.1f GFLOP/s\n", r->parts[i].name, 1000 * r->parts[i].seconds,
               r->parts[i].seconds > 0 ? r->parts[i].flops / r->parts[i].seconds / 1e9 : 0);
}

static const struct shape *find_shape(const char *name, struct gm_error *err)
{
    for (int i = 0; name && i < N_SHAPES; i++)
        if (strcmp(SHAPES[i].name, name) == 0)
            return &SHAPES[i];
    error_set(err, GM_E_USAGE, "find shape %s: %s", name ? name : "to bench", name ? "it is not known" : "none is told");
    error_remedy(err, "--train-shape smollm2-135m, tinyllama, gemma3-270m, gemma3-1b or gemma3-4b");
    return NULL;
}

/* Options that mean here what they mean for `train`. */
static bool is_of_train(const char *name)
{
    static const char *const names[] = {"--rank", "--keys", "--fine-tune-type", "--num-layers"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

int command_bench(int argc, char **argv)
{
    struct general g = {0};
    struct train_args t;
    struct gm_error err = {0};
    int status;
    train_args_init(&t);
    struct arg train_rows[TRAIN_ARG_ROWS] = {{0}};
    train_args_table(&t, train_rows);
    struct bench_args a = {.seq = 512, .batch = 1, .steps = 5, .supervised = 1.0 / 3, .checkpoint = -1};
    struct arg table[16] = {
        {"--train-shape", ARG_TEXT, &a.shape, "NAME", "smollm2-135m, tinyllama, gemma3-270m, gemma3-1b, gemma3-4b", 0, 0, NULL, NULL},
        {"--seq", ARG_INT, &a.seq, "N", "tokens of a row", 2, 65536, NULL, NULL},
        {"--batch", ARG_INT, &a.batch, "N", "rows of a step", 1, 1024, NULL, NULL},
        {"--supervised", ARG_DOUBLE, &a.supervised, "SHARE", "share of each row that carries loss", 0.001, 1, NULL, NULL},
        {"--weights", ARG_CHOICE, &a.weights, WEIGHT_CHOICES, "storage type of the random weights", 0, 0, NULL, NULL},
        {"--grad-checkpoint", ARG_TRI, &a.checkpoint, NULL, "recompute instead of keeping", 0, 0, NULL, NULL},
        {"--steps", ARG_INT, &a.steps, "N", "measured steps", 1, STEPS_MAX, NULL, NULL}};
    int n = 7;
    for (int i = 0; train_rows[i].kind != ARG_NONE; i++)
        if (is_of_train(train_rows[i].name))
            table[n++] = train_rows[i];
    struct arg_spec spec = {.command = "bench", .positional = "", .table = table,
                            .summary = "One training step of a model's real shape, random weights, measured; no model file is needed."};
    if (!cli_begin(&spec, argc, argv, &g, &status)) {
        train_options_free(&t.o);
        return status;
    }
    a.lora = t.o.lora;
    a.lora.dora = t.fine_tune == TUNE_DORA;
    train_options_free(&t.o);
    const struct shape *shape = NULL;
    if (t.fine_tune == TUNE_FULL)
        error_set(&err, GM_E_USAGE, "bench --fine-tune-type full: only adapters are measured (lora or dora)");
    else
        shape = find_shape(a.shape, &err);
    struct model_config config;
    struct pool *pool = NULL;
    struct compute c = {0};
    struct model *m = NULL;
    struct measured result = {0};
    bool ok = shape && model_config_parse(&config, shape->config, strlen(shape->config), shape->name, &err)
              && (pool = pool_new(g.threads, &err)) && compute_init(&c, pool, GM_TRAIN, general_mode(&g), general_family(&g), &err)
              && (m = model_random(&config, WEIGHTS[a.weights].type, 1, &err)) && measure(&a, &g, m, &c, &result, &err);
    if (ok)
        report(&a, &g, m, &c, &result);
    model_free(m);
    compute_free(&c);
    pool_free(pool);
    return ok ? cli_end(EXIT_DONE) : cli_fail(&err);
}
