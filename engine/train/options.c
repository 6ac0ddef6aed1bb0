/* options.c - the options of a run: defaults, checks, and their JSON form in run.json. One table
 * says how each field is called there. */
#include "engine/train/options.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

enum field_type {
    FIELD_TEXT,
    FIELD_BOOL,
    FIELD_INT,
    FIELD_U64,
    FIELD_FLOAT,
    FIELD_DOUBLE,
    FIELD_CHOICE
};

struct field {
    const char *key;
    enum field_type type;
    size_t offset;
    double min, max;
    const char *const *names; /* FIELD_CHOICE: the enum's values, NULL-terminated */
};

static const char *const TUNES[] = {"lora", "full", "dora", NULL};
static const char *const SCHEDULES[] = {"constant", "linear", "cosine", "exponential", "step", NULL};
static const char *const OPTIMIZERS[] = {"adamw", "adam", "sgd", NULL};
static const char *const CHECKPOINTING[] = {"auto", "off", "on", NULL}; /* value + 1 */

#define AT(member) offsetof(struct train_options, member)
enum { ANY_INT = 1000000000 };
static const struct field FIELDS[] = {
    {"model", FIELD_TEXT, AT(model), 0, 0, NULL},
    {"data", FIELD_TEXT, AT(data), 0, 0, NULL},
    {"run", FIELD_TEXT, AT(run), 0, 0, NULL},
    {"system", FIELD_TEXT, AT(system), 0, 0, NULL},
    {"chat_template", FIELD_TEXT, AT(chat_template), 0, 0, NULL},
    {"chat_template_config", FIELD_TEXT, AT(chat_template_config), 0, 0, NULL},
    {"resume_adapter_file", FIELD_TEXT, AT(resume_adapter), 0, 0, NULL},
    {"init_random", FIELD_BOOL, AT(init_random), 0, 0, NULL},
    {"fine_tune_type", FIELD_CHOICE, AT(tune), 0, 0, TUNES},
    {"iters", FIELD_INT, AT(iters), 1, ANY_INT, NULL},
    {"epochs", FIELD_DOUBLE, AT(epochs), 0, 1e6, NULL},
    {"batch_size", FIELD_INT, AT(batch_size), 1, 65536, NULL},
    {"grad_accumulation_steps", FIELD_INT, AT(grad_accumulation), 1, 65536, NULL},
    {"learning_rate", FIELD_DOUBLE, AT(learning_rate), 0, 10, NULL},
    {"lr_schedule", FIELD_CHOICE, AT(schedule), 0, 0, SCHEDULES},
    {"warmup", FIELD_DOUBLE, AT(warmup), 0, ANY_INT, NULL},
    {"warmup_percent", FIELD_BOOL, AT(warmup_percent), 0, 0, NULL},
    {"warmup_init", FIELD_DOUBLE, AT(warmup_init), 0, 10, NULL},
    {"optimizer", FIELD_CHOICE, AT(optimizer), 0, 0, OPTIMIZERS},
    {"beta1", FIELD_DOUBLE, AT(beta1), 0, 1, NULL},
    {"beta2", FIELD_DOUBLE, AT(beta2), 0, 1, NULL},
    {"eps", FIELD_DOUBLE, AT(eps), 0, 1, NULL},
    {"weight_decay", FIELD_DOUBLE, AT(weight_decay), 0, 10, NULL},
    {"max_grad_norm", FIELD_DOUBLE, AT(max_grad_norm), 0, 1e9, NULL},
    {"adam_bias_correction", FIELD_BOOL, AT(bias_correction), 0, 0, NULL},
    {"rank", FIELD_INT, AT(lora.rank), 1, 4096, NULL},
    {"alpha", FIELD_FLOAT, AT(lora.alpha), 0, 1e9, NULL},
    {"scale", FIELD_FLOAT, AT(lora.scale), 0, 1e9, NULL},
    {"dropout", FIELD_FLOAT, AT(lora.dropout), 0, 0.99, NULL},
    {"rslora", FIELD_BOOL, AT(lora.rslora), 0, 0, NULL},
    {"num_layers", FIELD_INT, AT(lora.num_layers), -1, 1000, NULL},
    {"max_seq_length", FIELD_INT, AT(max_seq_length), 2, 1e6, NULL},
    {"mask_prompt", FIELD_BOOL, AT(mask_prompt), 0, 0, NULL},
    {"shuffle", FIELD_BOOL, AT(shuffle), 0, 0, NULL},
    {"memory_budget", FIELD_U64, AT(memory_budget), 0, 0, NULL},
    {"head_skip", FIELD_BOOL, AT(head_skip), 0, 0, NULL},
    {"recompute_layers", FIELD_INT, AT(recompute_layers), -1, 1000, NULL},
    {"steps_per_report", FIELD_INT, AT(steps_per_report), 1, ANY_INT, NULL},
    {"steps_per_eval", FIELD_INT, AT(steps_per_eval), 1, ANY_INT, NULL},
    {"val_batches", FIELD_INT, AT(val_batches), -1, ANY_INT, NULL},
    {"save_every", FIELD_INT, AT(save_every), 1, ANY_INT, NULL},
    {"sample_every", FIELD_INT, AT(sample_every), 0, ANY_INT, NULL},
    {"samples_per_temp", FIELD_INT, AT(samples_per_temp), 0, 256, NULL},
    {"sample_max_tokens", FIELD_INT, AT(sample_max_tokens), 1, 100000, NULL},
    {"early_stop", FIELD_INT, AT(early_stop), 0, 1000000, NULL},
    {"seed", FIELD_U64, AT(seed), 0, 0, NULL},
    {"init_seed", FIELD_U64, AT(init_seed), 0, 0, NULL},
};
enum { N_FIELDS = sizeof FIELDS / sizeof *FIELDS };

struct train_options train_options_default(void)
{
    return (struct train_options){
        .tune = TUNE_LORA,
        .iters = 600,
        .batch_size = 4,
        .grad_accumulation = 1,
        .learning_rate = 2e-4,
        .schedule = LR_COSINE,
        .warmup = 0.03,
        .warmup_percent = true,
        .optimizer = OPT_ADAMW,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .eps = 1e-8,
        .max_grad_norm = 1,
        .bias_correction = true,
        .lora =
            {.rank = 16, .alpha = 32, .scale = 2, .keys = (1u << PROJ_COUNT) - 1, .num_layers = -1},
        .max_seq_length = 512,
        .mask_prompt = true,
        .shuffle = true,
        .checkpoint_layers = -1,
        .recompute_layers = -1,
        .steps_per_report = 1,
        .steps_per_eval = 100,
        .val_batches = -1,
        .save_every = 100,
        .sample_every = 100,
        .temps = {0.3f, 0.7f, 1.0f},
        .n_temps = 3,
        .samples_per_temp = 4,
        .sample_max_tokens = 64,
        .compute = GM_COMPUTE_AUTO,
        .kernel = FAMILY_AUTO,
    };
}

void train_options_tune(struct train_options *o, enum fine_tune tune)
{
    o->tune = tune;
    o->lora.dora = tune == TUNE_DORA;
}

static char **text_of(struct train_options *o, const struct field *f)
{
    return f->type == FIELD_TEXT ? (char **)(void *)((char *)o + f->offset) : NULL;
}

void train_options_free(struct train_options *o)
{
    for (int i = 0; i < N_FIELDS; i++) {
        char **text = text_of(o, &FIELDS[i]);
        if (text) {
            mem_free(*text);
            *text = NULL;
        }
    }
}

struct train_options train_options_copy(const struct train_options *o)
{
    struct train_options copy = *o;
    for (int i = 0; i < N_FIELDS; i++) {
        char **text = text_of(&copy, &FIELDS[i]);
        if (text && *text)
            *text = mem_copy(*text);
    }
    return copy;
}

/* A number as a double, to check it against its range. */
static double field_number(const struct train_options *o, const struct field *f)
{
    const char *at = (const char *)o + f->offset;
    if (f->type == FIELD_INT)
        return *(const int *)at;
    if (f->type == FIELD_FLOAT)
        return (double)*(const float *)at;
    return *(const double *)at;
}

static bool check_ranges(const struct train_options *o, struct gm_error *err)
{
    for (int i = 0; i < N_FIELDS; i++) {
        const struct field *f = &FIELDS[i];
        if (f->type != FIELD_INT && f->type != FIELD_FLOAT && f->type != FIELD_DOUBLE)
            continue;
        double x = field_number(o, f);
        if (!(x >= f->min && x <= f->max))
            return error_set(err, GM_E_USAGE, "check option %s: %g is outside of %g to %g", f->key,
                             x, f->min, f->max);
    }
    for (int i = 0; i < o->n_temps; i++)
        if (!(o->temps[i] >= 0 && o->temps[i] <= 100))
            return error_set(err, GM_E_USAGE,
                             "check option sample temperature: %g is outside of 0 to 100",
                             (double)o->temps[i]);
    return true;
}

/* How many numbers a schedule takes; which of them counts steps. */
static bool check_schedule(const struct train_options *o, struct gm_error *err)
{
    static const struct {
        int least, most, steps; /* place of the steps; 0: none */
    } takes[] = {[LR_CONSTANT] = {0, 0, 0},
                 [LR_LINEAR] = {3, 3, 2},
                 [LR_COSINE] = {2, 3, 1},
                 [LR_EXPONENTIAL] = {2, 2, 0},
                 [LR_STEP] = {3, 3, 2}};
    int n = o->n_lr_arguments, s = (int)o->schedule;
    bool own = n == 0 && s <= LR_COSINE;
    if (!own && (n < takes[s].least || n > takes[s].most))
        return error_set(err, GM_E_USAGE,
                         "check option lr-schedule: %s takes %d to %d numbers, %d are told (cosine: rate, updates, last rate; linear: rate, "
                         "last rate, updates; exponential: rate, factor; step: rate, factor, updates)",
                         SCHEDULES[s], takes[s].least, takes[s].most, n);
    for (int i = 0; i < n; i++)
        if (!(o->lr_arguments[i] >= 0 && o->lr_arguments[i] <= ANY_INT) || (i == 0 && o->lr_arguments[0] > 10))
            return error_set(err, GM_E_USAGE, "check option lr-schedule: its number %d, %g, is out of range", i + 1, o->lr_arguments[i]);
    if (n > 0 && takes[s].steps && o->lr_arguments[takes[s].steps] < 1)
        return error_set(err, GM_E_USAGE, "check option lr-schedule: %g updates are less than one", o->lr_arguments[takes[s].steps]);
    if (n == 0 && o->warmup_init > 0)
        return error_set(err, GM_E_USAGE, "check option warmup-init: it goes with a schedule that is told with its numbers");
    return true;
}

bool train_options_check(const struct train_options *o, struct gm_error *err)
{
    if (o->n_temps < 0 || o->n_temps > TRAIN_MAX_TEMPS)
        return error_set(err, GM_E_USAGE, "check options: %d sample temperatures (at most %d)",
                         o->n_temps, TRAIN_MAX_TEMPS);
    if (!check_ranges(o, err) || !check_schedule(o, err))
        return false;
    if (!o->model || !*o->model)
        return error_set(err, GM_E_USAGE, "check options: no model is named (give --model)");
    if (!o->data || !*o->data)
        return error_set(err, GM_E_USAGE, "check options: no data is named (give --data)");
    if (o->init_random && o->tune != TUNE_FULL)
        return error_set(err, GM_E_USAGE,
                         "check options: random weights under an adapter never learn (add "
                         "--fine-tune-type full)");
    if (o->resume_adapter && o->tune == TUNE_FULL)
        return error_set(err, GM_E_USAGE,
                         "check options: full fine-tuning has no adapter to start from (drop "
                         "--resume-adapter-file)");
    if (o->tune != TUNE_FULL && (o->lora.keys & ((1u << PROJ_COUNT) - 1)) == 0)
        return error_set(err, GM_E_USAGE,
                         "check options: no projection gets an adapter (give --keys)");
    if (o->lora.dora != (o->tune == TUNE_DORA))
        return error_set(err, GM_E_USAGE, "check options: fine-tune type and adapter do not say the same");
    if (o->warmup_percent && o->warmup > 1)
        return error_set(err, GM_E_USAGE, "check option warmup: a share above 100 %%");
    if (o->beta1 >= 1 || o->beta2 >= 1)
        return error_set(err, GM_E_USAGE, "check options: the betas of Adam must stay below 1");
    return true;
}

/* ---- JSON ---- */

static json_t *field_json(const struct train_options *o, const struct field *f)
{
    const char *at = (const char *)o + f->offset;
    switch (f->type) {
    case FIELD_TEXT: {
        const char *text = *(char *const *)at;
        return text ? json_string(text) : json_null();
    }
    case FIELD_BOOL:
        return json_boolean(*(const bool *)at);
    case FIELD_INT:
        return json_integer(*(const int *)at);
    case FIELD_U64:
        return json_integer((json_int_t) * (const uint64_t *)at);
    case FIELD_CHOICE: {
        int value; /* enums without negative values are unsigned int here, of the same size */
        memcpy(&value, at, sizeof value);
        return json_string(f->names[value]);
    }
    case FIELD_FLOAT:
        return json_f32(*(const float *)at);
    default:
        return json_real(field_number(o, f));
    }
}

json_t *train_options_to_json(const struct train_options *o)
{
    json_t *j = json_object(), *keys = json_array(), *temps = json_array(), *numbers = json_array();
    for (int i = 0; i < N_FIELDS; i++)
        json_object_set_new(j, FIELDS[i].key, field_json(o, &FIELDS[i]));
    for (int p = 0; p < PROJ_COUNT; p++)
        if (o->lora.keys >> p & 1)
            json_array_append_new(keys, json_string(proj_name((enum proj)p)));
    for (int i = 0; i < o->n_temps; i++)
        json_array_append_new(temps, json_f32(o->temps[i]));
    for (int i = 0; i < o->n_lr_arguments; i++)
        json_array_append_new(numbers, json_real(o->lr_arguments[i]));
    json_object_set_new(j, "lr_arguments", numbers);
    json_object_set_new(j, "keys", keys);
    json_object_set_new(j, "sample_temps", temps);
    json_object_set_new(j, "grad_checkpoint", json_string(CHECKPOINTING[o->checkpoint_layers + 1]));
    json_object_set_new(j, "compute", json_string(compute_mode_name(o->compute)));
    json_object_set_new(j, "kernel",
                        json_string(o->kernel == FAMILY_AUTO ? "auto" : family_name(o->kernel)));
    return j;
}

static int choice_of(const char *text, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    return -1;
}

static bool field_read(struct train_options *o, const json_t *j, const struct field *f,
                       struct gm_error *err)
{
    char *at = (char *)o + f->offset;
    const char *text = NULL;
    int64_t whole = 0;
    double real = 0;
    if (!json_has(j, f->key))
        return true; /* an option that a later program added has its default */
    switch (f->type) {
    case FIELD_TEXT:
        if (!json_get_string(j, f->key, REQUIRED, &text, err))
            return false;
        mem_free(*(char **)at);
        *(char **)at = mem_copy(text);
        return true;
    case FIELD_BOOL:
        return json_get_bool(j, f->key, REQUIRED, (bool *)at, err);
    case FIELD_INT:
        if (!json_get_int(j, f->key, REQUIRED, (int64_t)f->min, (int64_t)f->max, &whole, err))
            return false;
        *(int *)at = (int)whole;
        return true;
    case FIELD_U64:
        if (!json_get_int(j, f->key, REQUIRED, INT64_MIN, INT64_MAX, &whole, err))
            return false;
        *(uint64_t *)at = (uint64_t)whole;
        return true;
    case FIELD_CHOICE: {
        if (!json_get_string(j, f->key, REQUIRED, &text, err))
            return false;
        int value = choice_of(text, f->names);
        if (value < 0)
            return error_set(err, GM_E_INPUT, "field %s: \"%s\" is not known", f->key, text);
        memcpy(at, &value, sizeof value);
        return true;
    }
    default:
        if (!json_get_double(j, f->key, REQUIRED, f->min, f->max, &real, err))
            return false;
        if (f->type == FIELD_FLOAT)
            *(float *)at = (float)real;
        else
            *(double *)at = real;
        return true;
    }
}

static bool read_keys(struct train_options *o, const json_t *list, struct gm_error *err)
{
    size_t i;
    json_t *item;
    o->lora.keys = 0;
    json_array_foreach(list, i, item)
    {
        unsigned keys;
        if (!json_is_string(item) || !module_parse(json_string_value(item), &keys))
            return error_set(err, GM_E_INPUT, "field keys: item %zu is no projection", i + 1);
        o->lora.keys |= keys;
    }
    return true;
}

static bool read_numbers(const json_t *list, const char *key, int most, double *out, int *n, struct gm_error *err)
{
    size_t i;
    json_t *item;
    if (json_array_size(list) > (size_t)most)
        return error_set(err, GM_E_INPUT, "field %s: %zu values (at most %d)", key, json_array_size(list), most);
    *n = 0;
    json_array_foreach(list, i, item)
    {
        if (!json_is_number(item))
            return error_set(err, GM_E_INPUT, "field %s: item %zu is no number", key, i + 1);
        out[(*n)++] = json_number_value(item);
    }
    return true;
}

static bool read_all(struct train_options *o, const json_t *j, struct gm_error *err)
{
    for (int i = 0; i < N_FIELDS; i++)
        if (!field_read(o, j, &FIELDS[i], err))
            return false;
    train_options_tune(o, o->tune);
    const json_t *keys = NULL, *temps = NULL, *numbers = NULL;
    const char *checkpointing = "auto", *compute = "auto", *kernel = "auto";
    double degrees[TRAIN_MAX_TEMPS];
    if (!json_get_array(j, "keys", OPTIONAL, &keys, err) || (keys && !read_keys(o, keys, err)) ||
        !json_get_array(j, "sample_temps", OPTIONAL, &temps, err) ||
        (temps && !read_numbers(temps, "sample_temps", TRAIN_MAX_TEMPS, degrees, &o->n_temps, err)) ||
        !json_get_array(j, "lr_arguments", OPTIONAL, &numbers, err) ||
        (numbers && !read_numbers(numbers, "lr_arguments", TRAIN_MAX_LR_ARGUMENTS, o->lr_arguments, &o->n_lr_arguments, err)) ||
        !json_get_string(j, "grad_checkpoint", OPTIONAL, &checkpointing, err) ||
        !json_get_string(j, "compute", OPTIONAL, &compute, err) ||
        !json_get_string(j, "kernel", OPTIONAL, &kernel, err))
        return false;
    for (int i = 0; temps && i < o->n_temps; i++)
        o->temps[i] = (float)degrees[i];
    int value = choice_of(checkpointing, CHECKPOINTING);
    if (value < 0)
        return error_set(err, GM_E_INPUT, "field grad_checkpoint: \"%s\" is not known",
                         checkpointing);
    o->checkpoint_layers = value - 1;
    if (!compute_mode_parse(compute, &o->compute))
        return error_set(err, GM_E_INPUT, "field compute: \"%s\" is not known", compute);
    o->kernel = FAMILY_AUTO;
    if (strcmp(kernel, "auto") != 0 && !family_parse(kernel, &o->kernel))
        return error_set(err, GM_E_INPUT, "field kernel: \"%s\" is not known", kernel);
    return true;
}

bool train_options_from_json(struct train_options *o, json_t *json, const char *label,
                             struct gm_error *err)
{
    if (!json_is_object(json))
        return error_set(err, GM_E_INPUT, "read %s: options is not an object", label);
    if (!read_all(o, json, err) || !train_options_check(o, err))
        return error_context(err, "read %s", label);
    return true;
}
