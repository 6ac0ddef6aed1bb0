/* train_args.c - command line to train_options, by way of defaults, a preset, a file, and the flags. */
#include "src/cli/train_args.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "src/cli/presets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ALL_KEYS = (1u << PROJ_COUNT) - 1 };

void train_args_init(struct train_args *a)
{
    *a = (struct train_args){.o = train_options_default(), .test_batches = 500};
    a->schedule = (int)a->o.schedule;
    a->optimizer = (int)a->o.optimizer;
    a->alpha = a->o.lora.alpha;
}

void train_args_free(struct train_args *a)
{
    train_options_free(&a->o);
    config_file_close(&a->file);
}

/* At the end of a layer: the scale is told in one way. */
static bool settle_scale(struct train_args *a, struct gm_error *err)
{
    if (a->alpha_given && a->scale_given)
        return error_set(err, GM_E_USAGE, "read settings: alpha and scale both set the scale (give one of them)");
    if (a->alpha_given || a->scale_given)
        a->use_scale = a->scale_given;
    a->alpha_given = a->scale_given = false;
    return true;
}

bool train_args_layers(struct train_args *a, const struct arg_spec *spec, const char *preset, int argc, char **argv, struct general *g,
                       struct gm_error *err)
{
    bool markdown;
    const char *config = args_asks_help(argc, argv, &markdown) ? NULL : args_peek(argc, argv, "--config"), *named = args_peek(argc, argv, "--preset");
    if (config && !config_file_open(&a->file, config, err))
        return false;
    if (!named && config)
        named = config_file_text(&a->file, "preset");
    if ((named || preset) && !preset_apply(named ? named : preset, spec, g, err))
        return false;
    if (!settle_scale(a, err))
        return false;
    a->warmup_given = a->weight_decay_given = a->sample_every_given = false; /* a preset's values give way to those that follow from others */
    if (!config)
        return true;
    a->file.optimizer = args_peek(argc, argv, "--optimizer");
    if (!config_file_apply(&a->file, spec, g, err) || (!settle_scale(a, err) && !error_context(err, "read %s", config)))
        return false;
    if (args_peek(argc, argv, "--data"))
        a->data.n = 0; /* the flags' sets instead of the file's, not beside them */
    return true;
}

static bool parse_warmup(void *target, const char *value, struct gm_error *err)
{
    struct train_options *o = target;
    char *end;
    double x = strtod(value, &end);
    bool percent = strcmp(end, "%") == 0;
    if (end == value || (*end && !percent) || !isfinite(x) || x < 0 || (percent && x > 100))
        return error_set(err, GM_E_USAGE, "read option --warmup: \"%s\" is neither a number of updates nor a share (write 20 or 3%%)", value);
    o->warmup = percent ? x / 100 : x;
    o->warmup_percent = percent;
    return true;
}

/* Ours, and the names of mlx.optimizers. */
static bool parse_schedule(void *target, const char *value, struct gm_error *err)
{
    static const struct {
        const char *name;
        enum lr_schedule schedule;
    } names[] = {{"constant", LR_CONSTANT},      {"linear", LR_LINEAR}, {"cosine", LR_COSINE}, {"exponential", LR_EXPONENTIAL}, {"step", LR_STEP},
                 {"linear_schedule", LR_LINEAR}, {"cosine_decay", LR_COSINE}, {"exponential_decay", LR_EXPONENTIAL}, {"step_decay", LR_STEP}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, value) == 0) {
            *(int *)target = (int)names[i].schedule;
            return true;
        }
    return error_set(err, GM_E_USAGE, "read option --lr-schedule: \"%s\" is none of constant, linear, cosine, exponential, step", value);
}

/* Up to `most` numbers with commas between them; n: how many came. */
static bool parse_numbers(const char *option, const char *value, int most, double *out, int *n, struct gm_error *err)
{
    *n = 0;
    for (const char *p = value;; p++) {
        char *end;
        double x = strtod(p, &end);
        if (end == p || (*end && *end != ',') || !isfinite(x) || *n == most)
            return error_set(err, GM_E_USAGE, "read option %s: \"%s\" is no list of at most %d numbers", option, value, most);
        out[(*n)++] = x;
        p = end;
        if (!*p)
            return true;
    }
}

static bool parse_lr_arguments(void *target, const char *value, struct gm_error *err)
{
    struct train_options *o = target;
    return parse_numbers("--lr-arguments", value, TRAIN_MAX_LR_ARGUMENTS, o->lr_arguments, &o->n_lr_arguments, err);
}

static bool parse_betas(void *target, const char *value, struct gm_error *err)
{
    struct train_options *o = target;
    double betas[2];
    int n;
    if (!parse_numbers("--betas", value, 2, betas, &n, err))
        return false;
    if (n != 2)
        return error_set(err, GM_E_USAGE, "read option --betas: \"%s\" is not two numbers (write 0.9,0.999)", value);
    o->beta1 = betas[0];
    o->beta2 = betas[1];
    return true;
}

/* Bytes of "auto", "2GB", "1.5g", "800 MiB", "2000000000". */
static bool parse_size(void *target, const char *value, struct gm_error *err)
{
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"", 1}, {"k", 1e3}, {"kb", 1e3}, {"m", 1e6}, {"mb", 1e6}, {"g", 1e9}, {"gb", 1e9}, {"t", 1e12}, {"tb", 1e12},
                 {"kib", 1024}, {"mib", 1048576}, {"gib", 1073741824}, {"tib", 1099511627776}};
    uint64_t *bytes = target;
    char *end;
    if (strcmp(value, "auto") == 0) {
        *bytes = 0;
        return true;
    }
    double x = strtod(value, &end);
    bool number = end > value;
    if (number && !*end && x > 0 && x < 1e6) /* gigabytes were meant, or megabytes */
        return error_set(err, GM_E_USAGE, "read option --memory-budget: %s bytes is less than any run takes (write %sGB or %sMB)", value, value, value);
    while (*end == ' ')
        end++;
    for (size_t i = 0; number && i < sizeof units / sizeof *units; i++)
        if (strcasecmp(end, units[i].name) == 0 && x * units[i].bytes >= 1 && x * units[i].bytes <= 1e18) {
            *bytes = (uint64_t)(x * units[i].bytes);
            return true;
        }
    return error_set(err, GM_E_USAGE, "read option --memory-budget: \"%s\" is no amount of memory (write auto, 2GB or 800MB)", value);
}

static bool parse_keys(void *target, const char *value, struct gm_error *err)
{
    unsigned *keys = target;
    *keys = 0;
    if (strcmp(value, "all-linear") == 0) {
        *keys = ALL_KEYS;
        return true;
    }
    char name[64];
    for (const char *p = value;; p++) {
        size_t n = strcspn(p, ",");
        unsigned which;
        if (n >= sizeof name)
            return error_set(err, GM_E_USAGE, "read option --keys: \"%s\" holds an overlong name", value);
        memcpy(name, p, n);
        name[n] = 0;
        if (!module_parse(name, &which))
            return error_set(err, GM_E_USAGE,
                             "read option --keys: \"%s\" is no projection (q_proj k_proj v_proj o_proj gate_proj up_proj down_proj, or all-linear; "
                             "Phi-3: qkv_proj gate_up_proj)",
                             name);
        *keys |= which;
        p += n;
        if (!*p)
            return true;
    }
}

/* A model of four million parameters wants a higher rate than a billion do. */
void train_args_demo(struct train_args *a)
{
    a->o.run_stem = "demo";
    a->o.learning_rate = 4e-4;
    a->o.lora.dropout = 0.2f;
    a->o.batch_size = 8;
    a->o.iters = 1000;
    a->o.steps_per_eval = a->o.save_every = a->o.sample_every = 50;
    a->o.samples_per_temp = 8;
}

void train_args_table(struct train_args *a, struct arg rows[TRAIN_ARG_ROWS])
{
    struct train_options *o = &a->o;
    const struct arg table[] = {
        {"--model", ARG_TEXT, &a->model, "MODEL", "folder, .gguf, hub id in the cache, or nano (default)", 0, 0, NULL, NULL},
        {"--data", ARG_TEXTS, &a->data, "DATA[:WEIGHT]",
         "folder with train/valid/test files, one .jsonl, .json, .csv or .tsv file, or haiku (default); more than once: a mixture", 0, 0, NULL, NULL},
        {"--run", ARG_TEXT, &a->run, "NAME", "name of the run; default MODEL-DATA-NNN", 0, 0, NULL, NULL},
        {"--system", ARG_TEXT, &a->system, "TEXT|FILE", "system message put in front of every row that has none", 0, 0, NULL, NULL},
        CLI_TEMPLATE_ARGS(a->chat_template, a->chat_template_config),
        {"--preset", ARG_TEXT, &a->preset, "NAME", PRESET_NAMES "; a file and other options win over it", 0, 0, NULL, NULL},
        {"--config", ARG_TEXT, &a->config, "FILE", "(-c) settings from a YAML or JSON file, mlx-lm's keys or these; options win over it", 0, 0, NULL, NULL},
        {"--init", ARG_CHOICE, &a->init, "weights|random", "random: start from random weights (with --fine-tune-type full)", 0, 0, &a->init_given, NULL},
        {"--fine-tune-type", ARG_CHOICE, &a->fine_tune, "lora|full|dora", "what is trained", 0, 0, NULL, NULL},
        {"--iters", ARG_INT, &o->iters, "N", "updates", 1, 1e9, NULL, NULL},
        {"--epochs", ARG_DOUBLE, &o->epochs, "X", "passes over the data, instead of --iters; default: --iters counts", 0, 1e6, NULL, NULL},
        {"--batch-size", ARG_INT, &o->batch_size, "N", "rows a micro-batch", 1, 65536, NULL, NULL},
        {"--grad-accumulation-steps", ARG_INT, &o->grad_accumulation, "N", "micro-batches an update", 1, 65536, NULL, NULL},
        {"--learning-rate", ARG_DOUBLE, &o->learning_rate, "X", "highest rate", 0, 10, NULL, NULL},
        {"--lr-schedule", ARG_CUSTOM, &a->schedule, "constant|linear|cosine", "how the rate falls to a tenth at the end; default cosine", 0, 0, NULL,
         parse_schedule},
        {"--lr-arguments", ARG_CUSTOM, o, "X,X,...", "a schedule with its own numbers, as mlx-lm's lr_schedule: cosine RATE,UPDATES[,END]; linear "
         "RATE,END,UPDATES; exponential RATE,FACTOR; step RATE,FACTOR,UPDATES; default none", 0, 0, NULL, parse_lr_arguments},
        {"--warmup", ARG_CUSTOM, o, "N|N%", "updates of rising rate; default 3%, with --lr-arguments 0", 0, 0, &a->warmup_given, parse_warmup},
        {"--warmup-init", ARG_DOUBLE, &o->warmup_init, "X", "with --lr-arguments: the rate that the warm-up begins at", 0, 10, NULL, NULL},
        {"--optimizer", ARG_CHOICE, &a->optimizer, "adamw|adam|sgd", "optimiser", 0, 0, NULL, NULL},
        {"--weight-decay", ARG_DOUBLE, &o->weight_decay, "X", "weight decay (adamw)", 0, 10, &a->weight_decay_given, NULL},
        {"--betas", ARG_CUSTOM, o, "B1,B2", "decay of Adam's moments; default 0.9,0.999", 0, 0, NULL, parse_betas},
        {"--eps", ARG_DOUBLE, &o->eps, "X", "added to the root of Adam's second moment", 0, 1, NULL, NULL},
        {"--adam-bias-correction", ARG_ON_OFF, &o->bias_correction, NULL, "bias correction of Adam", 0, 0, NULL, NULL},
        {"--max-grad-norm", ARG_DOUBLE, &o->max_grad_norm, "X", "clip gradients to this norm; 0 = off", 0, 1e9, NULL, NULL},
        {"--rank", ARG_INT, &o->lora.rank, "R", "rank of the adapters", 1, 4096, NULL, NULL},
        {"--alpha", ARG_FLOAT, &a->alpha, "X", "scale = alpha / rank", 0, 1e6, &a->alpha_given, NULL},
        {"--scale", ARG_FLOAT, &a->scale, "X", "scale as a plain factor, instead of --alpha; default alpha / rank", 0, 1e6, &a->scale_given, NULL},
        {"--dropout", ARG_FLOAT, &o->lora.dropout, "P", "dropout in front of the adapters; dora: in front of A only", 0, 0.99, NULL, NULL},
        {"--rslora", ARG_FLAG, &o->lora.rslora, NULL, "scale = alpha / sqrt(rank)", 0, 0, NULL, NULL},
        {"--keys", ARG_CUSTOM, &o->lora.keys, "q_proj,v_proj,...|all-linear", "projections that get an adapter; default all-linear", 0, 0, NULL, parse_keys},
        {"--num-layers", ARG_INT, &o->lora.num_layers, "N", "adapt the last N layers; -1 = all", -1, 1000, NULL, NULL},
        {"--max-seq-length", ARG_INT, &o->max_seq_length, "N", "longer rows are cut, counted and named", 8, 1e6, NULL, NULL},
        {"--mask-prompt", ARG_ON_OFF, &o->mask_prompt, NULL, "loss on the answers only", 0, 0, NULL, NULL},
        {"--no-shuffle", ARG_OFF, &o->shuffle, NULL, "rows in file order", 0, 0, NULL, NULL},
        {"--grad-checkpoint", ARG_TRI, &o->checkpoint_layers, NULL, "of every layer keep the input only and compute the rest again; auto: of as many as --memory-budget wants; the bits "
         "are the same", 0, 0, NULL, NULL},
        {"--memory-budget", ARG_CUSTOM, &o->memory_budget, "SIZE", "what the whole program may use: 2GB, 800MB; default auto: what the machine has "
         "free, less a fifth", 0, 0, NULL, parse_size},
        {"--head-skip", ARG_ON_OFF, &o->head_skip, NULL, "leave out of the gradient the parts of the vocabulary whose probabilities round to nothing beside the others", 0, 0, NULL, NULL},
        {"--steps-per-report", ARG_INT, &o->steps_per_report, "N", "a report every N updates", 1, 1e9, NULL, NULL},
        {"--steps-per-eval", ARG_INT, &o->steps_per_eval, "N", "validation loss every N updates", 1, 1e9, NULL, NULL},
        {"--val-batches", ARG_INT, &o->val_batches, "N", "batches of a validation; -1 = all", -1, 1e9, NULL, NULL},
        {"--save-every", ARG_INT, &o->save_every, "N", "a checkpoint every N updates", 1, 1e9, NULL, NULL},
        {"--sample-every", ARG_INT, &o->sample_every, "N", "samples every N updates; default as --steps-per-eval; 0 = none", 0, 1e9, &a->sample_every_given, NULL},
        {"--sample-temps", ARG_FLOATS, &a->temps, "T,T,...", "temperatures of the samples; default 0.3,0.7,1.0", 0, 100, NULL, NULL},
        {"--early-stop", ARG_INT, &o->early_stop, "N", "end after N evaluations without a lower loss; 0 = off", 0, 1e6, NULL, NULL},
        {"--resume-adapter-file", ARG_TEXT, &a->resume_adapter, "FILE", "start from these adapter weights, with a fresh optimiser", 0, 0, NULL, NULL},
        {"--init-seed", ARG_U64, &o->init_seed, "N", "seed of the starting weights; default --seed", 0, 0, &a->init_seed_given, NULL},
        {"--adapter-path", ARG_TEXT, &a->adapter_path, "FOLDER", "copy the last adapter of the run to this folder, too", 0, 0, NULL, NULL},
        {"--train", ARG_FLAG, &a->train, NULL, "train (mlx-lm's lora wants it said)", 0, 0, NULL, NULL},
        {"--test", ARG_FLAG, &a->test, NULL, "loss on the test rows, after the training", 0, 0, NULL, NULL},
        {"--test-batches", ARG_INT, &a->test_batches, "N", "batches of that test; -1 = all", -1, 1e9, NULL, NULL},
        {"--on-hangup", ARG_CHOICE, &a->on_hangup, "stop|continue", "when the terminal goes away: save and stop, or train on", 0, 0, NULL, NULL},
        {0}};
    _Static_assert(sizeof table / sizeof *table <= TRAIN_ARG_ROWS, "the table holds every row");
    memcpy(rows, table, sizeof table);
}

static char *copy_or_null(const char *text)
{
    return text ? mem_copy(text) : NULL;
}

/* --system takes a text, or a file that holds it. */
static bool read_system(struct train_args *a, struct gm_error *err)
{
    struct str text = {0};
    if (!a->system)
        return true;
    if (!file_exists(a->system)) {
        a->o.system = mem_copy(a->system);
        return true;
    }
    if (!file_read_all(a->system, 1 << 20, &text, err))
        return false;
    while (text.len > 0 && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.data[--text.len] = 0;
    a->o.system = mem_copy(str_text(&text));
    str_free(&text);
    return true;
}

/* mlx-lm counts micro-batches where this program counts updates. */
static bool count_updates(struct train_options *o, struct gm_error *err)
{
    int k = o->grad_accumulation;
    if (o->iters < k)
        return error_set(err, GM_E_USAGE, "read settings: %d iterations of mlx-lm are less than one update of %d micro-batches (raise --iters)", o->iters, k);
    int *counts[] = {&o->iters, &o->steps_per_report, &o->steps_per_eval, &o->save_every, &o->sample_every};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (*counts[i] > 0)
            *counts[i] = *counts[i] < k ? 1 : *counts[i] / k;
    return true;
}

static void finish_schedule(struct train_args *a)
{
    struct train_options *o = &a->o;
    o->schedule = (enum lr_schedule)a->schedule;
    if (o->n_lr_arguments == 0)
        return;
    o->learning_rate = o->lr_arguments[0];
    if (!a->warmup_given) {
        o->warmup = 0;
        o->warmup_percent = false;
    }
}

bool train_args_finish(struct train_args *a, const struct general *g, struct gm_error *err)
{
    struct train_options *o = &a->o;
    if (!settle_scale(a, err) || !read_system(a, err))
        return false;
    mem_free(o->model);
    mem_free(o->data);
    o->model = mem_copy(a->model ? a->model : "nano");
    struct str data = {0}; /* a source a line */
    for (int i = 0; i < a->data.n; i++)
        str_printf(&data, "%s%s", i ? "\n" : "", a->data.items[i]);
    o->data = str_take(&data);
    if (a->data.n == 0) {
        mem_free(o->data);
        o->data = mem_copy("haiku");
    }
    o->run = copy_or_null(a->run);
    o->chat_template = copy_or_null(a->chat_template);
    o->chat_template_config = copy_or_null(a->chat_template_config);
    o->resume_adapter = copy_or_null(a->resume_adapter);
    o->init_random = a->init == 1;
    train_options_tune(o, (enum fine_tune)a->fine_tune);
    finish_schedule(a);
    o->optimizer = (enum optimizer_kind)a->optimizer;
    if (a->mlx_lm && o->optimizer == OPT_ADAMW && !a->weight_decay_given)
        o->weight_decay = 0.01; /* of mlx.optimizers.AdamW */
    if (a->use_scale) {
        o->lora.scale = a->scale;
        o->lora.alpha = a->scale * (float)o->lora.rank;
    } else {
        o->lora.alpha = a->alpha;
        o->lora.scale = (float)lora_scale_of((double)a->alpha, o->lora.rank, o->lora.rslora);
    }
    if (!a->sample_every_given && o->sample_every > 0)
        o->sample_every = o->steps_per_eval;
    if (a->temps.n > 0) {
        if (a->temps.n > TRAIN_MAX_TEMPS)
            return error_set(err, GM_E_USAGE, "read option --sample-temps: %d temperatures are more than %d", a->temps.n, TRAIN_MAX_TEMPS);
        memcpy(o->temps, a->temps.items, (size_t)a->temps.n * sizeof *o->temps);
        o->n_temps = a->temps.n;
    }
    if (a->mlx_lm && !count_updates(o, err))
        return false;
    if (g->seed_given)
        o->seed = g->seed;
    if (!a->init_seed_given)
        o->init_seed = o->seed;
    o->compute = general_mode(g);
    o->kernel = general_family(g);
    o->threads = g->threads;
    return train_options_check(o, err);
}
