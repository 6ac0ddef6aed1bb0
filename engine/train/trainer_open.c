/* trainer_open.c - builds a trainer: model, data, memory for everything, and the run on disk, in
 * this order, so that what fails early leaves nothing behind. */
#include "engine/train/trainer_private.h"

#include "engine/base/mem.h"
#include "engine/train/run_files.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PROBE_SECONDS 0.2 /* of measuring before a run: a few steps of a small model, one of a few layers of a large one */

/* ---- model and text ---- */

/* Only the shape and the tokenizer come from the folder; the weights are drawn. */
static bool open_random_model(struct trainer *t, struct gm_error *err)
{
    struct model_config config;
    t->source = mem_new(1, sizeof *t->source);
    if (!model_source_open_tokenizer(t->source, t->o.model, err)) {
        mem_free(t->source);
        t->source = NULL;
        return false;
    }
    t->own_source = true;
    if (!t->source->config)
        return error_set(err, GM_E_INPUT,
                         "open model %s: no config.json, which says the shape of the model",
                         t->o.model);
    if (!model_config_read(&config, t->source, err))
        return false;
    t->model = model_random(&config, DT_F32, t->o.init_seed, err);
    return t->model != NULL;
}

static bool open_model(struct trainer *t, struct gm_error *err)
{
    if (t->o.init_random) {
        if (!open_random_model(t, err))
            return false;
    } else {
        t->model = model_open(t->o.model, err);
        if (!t->model)
            return false;
        t->source = t->model->source;
    }
    return t->o.tune != TUNE_FULL || model_make_trainable(t->model, err);
}

static bool open_text(struct trainer *t, struct gm_error *err)
{
    struct gm_error no_template = {0};
    t->tokenizer = model_tokenizer(t->model, t->source, t->o.model, err);
    if (!t->tokenizer)
        return false;
    t->tpl = chat_template_open(t->source, t->tokenizer, t->o.chat_template, &no_template);
    if (!t->tpl && t->o.chat_template)
        return error_set(err, no_template.code, "%s", no_template.text);
    if (t->tpl && t->o.chat_template_config &&
        !chat_template_set_variables(t->tpl, t->o.chat_template_config, err))
        return false;
    struct dataset_options d = {.max_seq_length = t->o.max_seq_length,
                                .mask_prompt = t->o.mask_prompt,
                                .system = t->o.system,
                                .seed = t->o.seed,
                                .pool = t->pool};
    t->dataset = dataset_open(t->o.data, &d, t->tokenizer, t->tpl, err);
    if (!t->dataset && !t->tpl && err && strstr(err->text, "no chat template"))
        return error_set(err, no_template.code, "%s", no_template.text); /* the reason behind it */
    return t->dataset != NULL;
}

/* ---- what is trained ---- */

/* The weights of another adapter, its file's hash as parent, and a warning where it was made on another base. */
static bool load_start_adapter(struct trainer *t, struct gm_error *err)
{
    struct str why = {0};
    struct lora *l = lora_load_for(t->o.resume_adapter, t->o.resume_adapter, t->o.model,
                                   &t->model->config, err);
    if (!l)
        return false;
    const struct lora_options *a = &l->options, *b = &t->lora->options;
    bool ok = a->dora == b->dora && a->rank == b->rank && a->keys == b->keys && l->set.count == t->lora->set.count;
    if (ok) {
        memcpy(t->lora->set.w, l->set.w, l->set.count * sizeof *l->set.w);
        lora_changed(t->lora, &t->compute);
        if (!lora_fits(l, t->source, &why))
            t->start_warning = str_take(&why);
        char *file = lora_find_file(t->o.resume_adapter, err);
        ok = file && sha256_file(file, t->lora->origin.parent_sha256, NULL, err);
        mem_free(file);
    } else if (a->dora != b->dora)
        error_set(err, GM_E_INPUT, "read %s: it is of the other kind of adapter (give --fine-tune-type %s)", t->o.resume_adapter,
                  a->dora ? "dora" : "lora");
    else
        error_set(err, GM_E_INPUT,
                  "read %s: rank %d, %zu parameters, but the run asks for rank %d, %zu parameters "
                  "(give the same --rank, --keys, --num-layers)",
                  t->o.resume_adapter, a->rank, l->set.count, b->rank, t->lora->set.count);
    lora_free(l);
    return ok;
}

/* Values of the adapter; those of full fine-tuning are the model's. */
static bool open_trained(struct trainer *t, struct gm_error *err)
{
    if (t->o.tune == TUNE_FULL)
        return true;
    t->lora = lora_new(&t->model->config, &t->o.lora, t->o.init_seed, err);
    if (t->lora)
        lora_bind(t->lora, t->model, &t->compute);
    return t->lora && (!t->o.resume_adapter || t->resumed || load_start_adapter(t, err));
}

/* Gradients and moments. */
static bool open_optimizer(struct trainer *t, struct gm_error *err)
{
    const size_t count = t->lora ? t->lora->set.count : t->model->full.count;
    t->optimizer = optimizer_new(&t->o, count, err);
    t->grads = t->optimizer ? mem_alloc(count * sizeof *t->grads, "gradients", err) : NULL;
    if (!t->grads)
        return false;
    float *const arrays[] = {t->grads, t->optimizer->m, t->optimizer->v};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        mem_touch(t->pool, GM_TRAIN, arrays[i], count * sizeof *arrays[i]);
    return true;
}

static bool open_batches(struct trainer *t, struct gm_error *err)
{
    bool usable = false;
    t->train = batcher_new(t->dataset, SPLIT_TRAIN, t->o.batch_size, t->o.shuffle, t->o.seed, err);
    if (!t->train)
        return false;
    for (int i = 0; i < t->dataset->n_rows; i++)
        usable |= t->dataset->rows[i].split == SPLIT_VALID && t->dataset->rows[i].n_supervised > 0;
    if (usable &&
        !(t->valid = batcher_new(t->dataset, SPLIT_VALID, t->o.batch_size, false, 0, err)))
        return false;
    t->n_valid_leaks = dataset_leaks(t->dataset, SPLIT_VALID);
    if (t->o.epochs > 0) {
        double updates =
            ceil(t->o.epochs * batcher_rows(t->train) / (double)trainer_rows_per_update(t));
        if (!(updates >= 1 && updates <= 1e9))
            return error_set(err, GM_E_USAGE, "plan run: %g passes over %d rows are %g updates",
                             t->o.epochs, batcher_rows(t->train), updates);
        t->o.iters = (int)updates;
    }
    return true;
}

/* The workspace of the largest batch, with as many layers computed again as the plan says. */
static bool open_pass(struct trainer *t, struct gm_error *err)
{
    struct pass_limits limits;
    forecast_limits(&t->input, &t->o, &limits);
    limits.recompute_layers = t->o.recompute_layers = t->plan.recomputed;
    t->pass = pass_new(t->model, t->lora ? &t->lora->options : NULL, &limits, err);
    if (t->pass)
        pass_touch(t->pass, &t->compute);
    return t->pass != NULL;
}

static bool open_samples(struct trainer *t, struct gm_error *err)
{
    struct gm_error why = {0};
    if (t->o.sample_every == 0 || t->o.n_temps * t->o.samples_per_temp == 0)
        return true;
    t->samples = samples_new(t->model, t->tokenizer, t->tpl, t->dataset, &t->o, &t->compute, &why);
    return t->samples || why.code == GM_OK || error_set(err, why.code, "%s", why.text);
}

/* ---- what it will take ---- */

static const struct batch *batch_of_tape(void *arg, int i)
{
    struct trainer *t = arg;
    return batcher_fill(t->train, (int64_t)i * t->o.batch_size, t->o.batch_size);
}

/* Seconds to hash and write a byte of a checkpoint; of the disk only that it takes no longer than hashing. */
static double time_of_a_byte(void)
{
    enum { BYTES = 1 << 18 };
    char hash[65];
    void *block = mem_new(BYTES, 1);
    double began = clock_seconds();
    sha256_bytes(block, BYTES, hash);
    double seconds = clock_seconds() - began;
    mem_free(block);
    return 2 * seconds / BYTES;
}

/* What follows from the parts that are open; measures for about `seconds`. */
static bool measure(struct trainer *t, size_t resident, double seconds, struct gm_error *err)
{
    struct forecast_input *in = &t->input;
    struct probe_request probe = {.model = t->model, .options = &t->o, .compute = &t->compute, .batch = batch_of_tape, .arg = t, .seconds = seconds};
    const uint64_t weights = t->model->weight_bytes, masters = t->model->full.count * sizeof(float);
    in->weights = weights;
    in->program = resident > weights + masters ? resident - weights - masters : 0;
    in->own = resident - mem_rss_file_bytes();
    in->available = mem_available_bytes();
    in->byte_s = time_of_a_byte();
    in->samples_s = NAN;
    forecast_limits(in, &t->o, &probe.limits);
    return probe_run(&probe, &in->probe, err) && (!t->samples || samples_time(t->samples, &t->compute, t->lora, &in->samples_s, err));
}

/* All that a plan rests on. t->o is set. */
static bool open_inputs(struct trainer *t, double seconds, struct gm_error *err)
{
    if (!train_options_check(&t->o, err) ||
        !compute_init(&t->compute, t->pool, GM_TRAIN, t->o.compute, t->o.kernel, err))
        return false;
    t->compute.head_skip = t->o.head_skip;
    t->o.compute = t->compute.mode;
    t->o.kernel = t->compute.family;
    if (!open_model(t, err) || !open_text(t, err) || !dataset_check_ids(t->dataset, t->model->config.vocab_size, err) || !open_batches(t, err))
        return false;
    t->input = (struct forecast_input){.config = &t->model->config, .options = &t->o, .mode = t->compute.mode, .train = t->train, .valid = t->valid,
                                       .start = t->now.step};
    const size_t resident = mem_rss_bytes();
    if (!open_trained(t, err))
        return false;
    const size_t live = mem_live_bytes();
    if (!open_samples(t, err))
        return false;
    t->input.samples = t->samples ? mem_live_bytes() - live : 0;
    return measure(t, resident, seconds, err);
}

/* Everything but the run on disk. */
static bool open_parts(struct trainer *t, struct gm_error *err)
{
    if (!open_inputs(t, PROBE_SECONDS, err) || !forecast_choose(&t->input, &t->plan, err) || !open_optimizer(t, err) || !open_pass(t, err))
        return false;
    t->step = (struct step){.pass = t->pass,
                            .compute = &t->compute,
                            .lora = t->lora,
                            .model = t->model,
                            .optimizer = t->optimizer,
                            .grads = t->grads,
                            .dropout_seed = t->o.seed,
                            .weights = &t->weights};
    return true;
}

/* ---- the run on disk ---- */

static bool check_space(const struct trainer *t, struct gm_error *err)
{
    struct checkpoint_parts parts = trainer_parts(t);
    uint64_t needed = 2 * checkpoint_bytes(&parts), there;
    if (disk_free_bytes(t->run_dir, &there, NULL) && there < needed)
        return error_set(
            err, GM_E_IO,
            "make run %s: %llu MiB are free, two checkpoints need %llu MiB (free some space)",
            t->run_dir, (unsigned long long)(there >> 20), (unsigned long long)(needed >> 20));
    return true;
}

static bool open_journals(struct trainer *t, struct gm_error *err)
{
    char *journal = path_join(t->run_dir, "journal.jsonl"),
         *samples = path_join(t->run_dir, "samples.jsonl");
    bool ok =
        journal_open(&t->journal, journal, err) && journal_open(&t->samples_journal, samples, err);
    mem_free(journal);
    mem_free(samples);
    return ok;
}

static bool make_run(struct trainer *t, const char *root, struct gm_error *err)
{
    struct run_origin origin;
    if (!run_origin_of(&origin, t->source, t->tokenizer, t->dataset, !t->o.init_random, err))
        return false;
    trainer_set_origin(t, &origin);
    t->run_dir = run_create(root, &t->o, &t->lock, err);
    if (!t->run_dir)
        return false;
    mem_free(t->o.run);
    t->o.run = mem_copy(path_base(t->run_dir));
    if (check_space(t, err) && open_journals(t, err) &&
        run_write_json(t->run_dir, &t->o, &origin, t->dataset, NULL, err))
        return true;
    run_uncreate(t->run_dir, &t->lock);
    return false;
}

static struct trainer *trainer_empty(struct pool *pool, const struct train_listener *l)
{
    struct trainer *t = mem_new(1, sizeof *t);
    t->pool = pool;
    if (l)
        t->listener = *l;
    t->lock.fd = t->journal.fd = t->samples_journal.fd = -1;
    t->now = (struct checkpoint_state){.val_loss = NAN,
                                       .form_rate = NAN,
                                       .best_loss = NAN,
                                       .best_form = NAN,
                                       .best_form_loss = NAN};
    t->saved_step = -1;
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->wake, NULL);
    pthread_mutex_init(&t->weights, NULL);
    t->began_s = clock_seconds();
    return t;
}

struct trainer *trainer_new(const struct train_options *o, const char *runs_root, struct pool *pool,
                            const struct train_listener *l, struct gm_error *err)
{
    struct trainer *t = trainer_empty(pool, l);
    t->o = train_options_copy(o);
    if (!open_parts(t, err) || !make_run(t, runs_root, err)) {
        trainer_free(t);
        return NULL;
    }
    t->name = mem_copy(path_base(t->run_dir));
    return t;
}

struct trainer *trainer_plan(const struct train_options *o, double seconds, struct pool *pool, struct gm_error *err)
{
    struct trainer *t = trainer_empty(pool, NULL);
    struct gm_error too_much = {0};
    t->o = train_options_copy(o);
    if (!open_inputs(t, seconds, err)) {
        trainer_free(t);
        return NULL;
    }
    forecast_choose(&t->input, &t->plan, &too_much); /* what does not fit is told with its plan */
    return t;
}

/* ---- resume ---- */

/* The newest checkpoint that is whole; damaged ones are named. With none at all the run begins
 * again at step 0. */
static bool load_newest(struct trainer *t, struct str *damaged, struct gm_error *err)
{
    struct checkpoint_parts parts = trainer_parts(t);
    int *steps, n;
    bool loaded = false;
    if (!checkpoint_steps(t->run_dir, &steps, &n, err))
        return false;
    for (int i = n; i-- > 0 && !loaded;) {
        struct gm_error why = {0};
        loaded = checkpoint_load(t->run_dir, steps[i], &parts, &t->now, &why);
        if (loaded)
            t->saved_step = steps[i];
        else
            str_printf(damaged, "%scheckpoint %d cannot be used: %s", damaged->len ? "; " : "",
                       steps[i], why.text);
    }
    mem_free(steps);
    if (n > 0 && !loaded)
        return error_set(err, GM_E_INPUT, "resume %s: %s", t->run_dir, str_text(damaged));
    if (loaded && t->lora)
        lora_changed(t->lora, &t->compute);
    if (n == 0 && t->lora && t->o.resume_adapter && !load_start_adapter(t, err))
        return false;
    t->saved_whole = true;
    t->resumed_from = t->now.step;
    t->elapsed_before_s = t->now.elapsed_s;
    return true;
}

static bool check_goal(struct trainer *t, struct gm_error *err)
{
    if (t->now.step < t->o.iters)
        return true;
    bool ended = strcmp(t->now.why, "end") == 0;
    if (t->now.step > t->o.iters || ended)
        return error_set(
            err, GM_E_USAGE,
            "resume %s: it stands at step %d of %d already (give --iters to go further)", t->name,
            t->now.step, t->o.iters);
    return true;
}

static bool check_kernel(const struct trainer *t, struct gm_error *err)
{
    if (t->o.kernel != FAMILY_AUTO && !family_runs_here(t->o.kernel))
        return error_set(err, GM_E_UNSUPPORTED,
                         "resume %s: it ran on the kernels of %s, which this processor lacks "
                         "(--kernel auto goes on with others, not bit for bit)",
                         t->name, family_name(t->o.kernel));
    return true;
}

static bool take_up(struct trainer *t, const struct resume_options *how, char **created,
                    struct str *damaged, struct gm_error *err)
{
    struct run_origin then, now;
    char *lock = path_join(t->run_dir, "LOCK"), *checkpoints = path_join(t->run_dir, "checkpoints");
    bool ok = run_read_json(t->run_dir, &t->o, &then, created, err) &&
              lock_take(&t->lock, lock, err) && dir_make(checkpoints, err);
    mem_free(lock);
    mem_free(checkpoints);
    if (!ok)
        return false;
    checkpoint_sweep(t->run_dir);
    enum family before = t->o.kernel;
    if (how->new_kernel)
        t->o.kernel = how->kernel; /* compute_init() says whether it runs here */
    else if (!check_kernel(t, err))
        return false;
    if (how->iters > 0) {
        t->o.iters = how->iters;
        t->o.epochs = 0;
    }
    if (!open_parts(t, err) ||
        !run_origin_of(&now, t->source, t->tokenizer, t->dataset, !t->o.init_random, err) ||
        !run_origin_check(&then, &now, &t->o, err) || !load_newest(t, damaged, err) ||
        !check_goal(t, err) || !check_space(t, err))
        return false;
    t->input.start = t->now.step;
    forecast_make(&t->input, &t->o, t->o.recompute_layers, &t->plan); /* of what is left */
    trainer_set_origin(t, &then);
    if (t->o.kernel != before)
        str_printf(damaged,
                   "%sfrom step %d on the kernels of %s compute, not of %s: not bit for bit what "
                   "it would have been",
                   damaged->len ? "; " : "", t->now.step, family_name(t->o.kernel),
                   family_name(before));
    return open_journals(t, err) &&
           run_write_json(t->run_dir, &t->o, &then, t->dataset, *created, err);
}

struct trainer *trainer_resume_with(const char *run_dir, const struct resume_options *how,
                                    struct pool *pool, const struct train_listener *l,
                                    struct gm_error *err)
{
    struct trainer *t = trainer_empty(pool, l);
    struct str notes = {0};
    char *created = NULL;
    t->run_dir = path_trimmed(run_dir);
    t->name = mem_copy(path_base(t->run_dir));
    t->resumed = true;
    bool ok = take_up(t, how, &created, &notes, err);
    if (ok && notes.len)
        ok = trainer_tell_warning(t, str_text(&notes), err);
    str_free(&notes);
    mem_free(created);
    if (ok)
        return t;
    trainer_free(t);
    return NULL;
}

struct trainer *trainer_resume(const char *run_dir, int iters, struct pool *pool,
                               const struct train_listener *l, struct gm_error *err)
{
    return trainer_resume_with(run_dir, &(struct resume_options){.iters = iters}, pool, l, err);
}

/* ---- the rest ---- */

void trainer_free(struct trainer *t)
{
    if (!t)
        return;
    samples_free(t->samples);
    pass_free(t->pass);
    batcher_free(t->train);
    batcher_free(t->valid);
    optimizer_free(t->optimizer);
    mem_free(t->grads);
    lora_free(t->lora);
    dataset_free(t->dataset);
    chat_template_free(t->tpl);
    tokenizer_free(t->tokenizer);
    model_free(t->model);
    if (t->own_source) {
        model_source_close(t->source);
        mem_free(t->source);
    }
    compute_free(&t->compute);
    journal_close(&t->journal);
    journal_close(&t->samples_journal);
    lock_release(&t->lock);
    pthread_mutex_destroy(&t->mutex);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->weights);
    train_options_free(&t->o);
    mem_free(t->run_dir);
    mem_free(t->name);
    mem_free(t->start_warning);
    mem_free(t);
}

struct checkpoint_parts trainer_parts(const struct trainer *t)
{
    return (struct checkpoint_parts){.lora = t->lora,
                                     .model = t->model,
                                     .optimizer = t->optimizer,
                                     .model_name = t->o.model,
                                     .source = t->source,
                                     .tokenizer = t->tokenizer,
                                     .template_text = t->tpl ? chat_template_text(t->tpl) : NULL};
}

int64_t trainer_rows_per_update(const struct trainer *t)
{
    return (int64_t)t->o.batch_size * t->o.grad_accumulation;
}

const struct model *trainer_model(const struct trainer *t)
{
    return t->model;
}

const struct tokenizer *trainer_tokenizer(const struct trainer *t)
{
    return t->tokenizer;
}

const struct chat_template *trainer_template(const struct trainer *t)
{
    return t->tpl;
}

const struct dataset *trainer_dataset(const struct trainer *t)
{
    return t->dataset;
}

const struct train_options *trainer_options(const struct trainer *t)
{
    return &t->o;
}

const char *trainer_run_dir(const struct trainer *t)
{
    return t->run_dir;
}

const struct compute *trainer_compute(const struct trainer *t)
{
    return &t->compute;
}

const struct forecast *trainer_forecast(const struct trainer *t)
{
    return &t->plan;
}

int trainer_changes(const struct trainer *t, struct forecast_change changes[FORECAST_CHANGES])
{
    return forecast_changes(&t->input, &t->plan, changes);
}
