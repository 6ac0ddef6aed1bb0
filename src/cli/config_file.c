/* config_file.c - a tree of settings, leaf by leaf, into the targets of a table. */
#include "src/cli/config_file.h"

#include "engine/base/mem.h"
#include "src/cli/args_names.h"

#include <stdio.h>
#include <string.h>

/* What mlx-lm's files hold beside options. */
static const struct {
    const char *key, *remedy; /* NULL: of no effect */
} OTHER_KEYS[] = {
    {"config", NULL},
    {"hf_dataset", "save it as a folder with train.jsonl and valid.jsonl, and name that as data"},
    {"optimizer_config.muon", "use adam, adamw or sgd"},
    {"optimizer_config.adafactor", "use adam, adamw or sgd"},
    {"optimizer_config.sgd.momentum", "leave it out: sgd is plain here"},
    {"optimizer_config.sgd.nesterov", "leave it out: sgd is plain here"},
    {"optimizer_config.sgd.dampening", "leave it out: sgd is plain here"},
    {"lora_parameters.loftq", "leave it out"},
};

/* optimizer_config.NAME.SETTING: counts where NAME is the optimiser that is used. */
static const struct {
    const char *setting, *option;
} OPTIMIZER_KEYS[] = {
    {"betas", "--betas"},
    {"eps", "--eps"},
    {"weight_decay", "--weight-decay"},
    {"bias_correction", "--adam-bias-correction"},
};

bool config_file_open(struct config_file *c, const char *path, struct gm_error *err)
{
    *c = (struct config_file){.path = path};
    c->settings = yaml_load_file(path, &c->lines, err);
    if (!c->settings)
        return false;
    if (json_is_null(c->settings)) {
        json_decref(c->settings);
        c->settings = json_object();
    }
    return json_is_object(c->settings) || error_set(err, GM_E_INPUT, "read %s:1: it holds no settings (write key: value, a line each)", path);
}

void config_file_close(struct config_file *c)
{
    json_decref(c->settings);
    yaml_lines_free(&c->lines);
    for (size_t i = 0; i < c->n_texts; i++)
        mem_free(c->texts[i]);
    mem_free(c->texts);
    *c = (struct config_file){0};
}

const char *config_file_text(const struct config_file *c, const char *key)
{
    return json_string_value(json_object_get(c->settings, key));
}

/* Puts the place in front; every fault of a file is one of its content. */
static bool at(const struct config_file *c, const char *path, struct gm_error *err)
{
    if (err)
        err->code = GM_E_USAGE;
    return error_context(err, "read %s:%d", c->path, yaml_line(&c->lines, path));
}

static const char *keep(struct config_file *c, char *text)
{
    c->texts = mem_room(c->texts, c->n_texts, &c->cap_texts, sizeof *c->texts);
    return c->texts[c->n_texts++] = text;
}

/* A scalar as the line would say it; NULL: it is none. */
static char *scalar_text(const json_t *value)
{
    if (json_is_string(value))
        return mem_copy(json_string_value(value));
    if (json_is_boolean(value))
        return mem_copy(json_is_true(value) ? "on" : "off");
    if (json_is_integer(value))
        return mem_printf("%lld", (long long)json_integer_value(value));
    if (json_is_real(value))
        return mem_printf("%.17g", json_real_value(value));
    return NULL;
}

static bool unknown(struct config_file *c, const struct arg_spec *spec, const char *path, struct gm_error *err)
{
    char name[ARG_NAME_MAX], near_key[ARG_NAME_MAX] = "";
    const char *near = args_name(path, strlen(path), name) ? args_near_option(spec, name) : NULL;
    error_set(err, GM_E_USAGE, "there is no setting \"%.100s\"", path);
    if (near) { /* as a key is written */
        snprintf(near_key, sizeof near_key, "%s", near + strspn(near, "-"));
        for (char *p = near_key; *p; p++)
            if (*p == '-')
                *p = '_';
        error_remedy(err, "did you mean %s?", near_key);
    } else {
        error_remedy(err, "gemmaiku %s --help lists them", spec->command);
    }
    return at(c, path, err);
}

static bool set(struct config_file *c, const struct arg_spec *spec, struct general *g, const char *path, const char *option, const char *value,
                struct gm_error *err)
{
    switch (args_set(spec, g, option, value, err)) {
    case ARGS_UNKNOWN:
        return unknown(c, spec, path, err);
    case ARGS_FAILED:
        return at(c, path, err);
    default:
        return true;
    }
}

/* A list: an option that may come more than once gets its items one by one, others get them joined. */
static bool set_list(struct config_file *c, const struct arg_spec *spec, struct general *g, const char *path, const char *option, const json_t *list,
                     struct gm_error *err)
{
    struct str joined = {0};
    bool each = args_kind(spec, option) == ARG_TEXTS, ok = true;
    for (size_t i = 0; ok && i < json_array_size(list); i++) {
        char *item = scalar_text(json_array_get(list, i));
        if (!item) {
            error_set(err, GM_E_USAGE, "item %zu of \"%.100s\" is neither a text nor a number", i + 1, path);
            ok = at(c, path, err);
        } else if (each) {
            ok = set(c, spec, g, path, option, keep(c, item), err);
        } else {
            str_printf(&joined, "%s%s", i ? "," : "", item);
            mem_free(item);
        }
    }
    if (ok && !each)
        ok = set(c, spec, g, path, option, keep(c, str_take(&joined)), err);
    str_free(&joined);
    return ok;
}

/* The option that a path of mlx-lm's optimizer_config means; NULL: it is none, or of another optimiser (*skip). */
static const char *optimizer_option(const struct config_file *c, const char *path, bool *skip)
{
    static const char head[] = "optimizer_config.";
    *skip = false;
    if (strncmp(path, head, sizeof head - 1) != 0)
        return NULL;
    const char *name = path + sizeof head - 1, *dot = strchr(name, '.'), *used = c->optimizer ? c->optimizer : config_file_text(c, "optimizer");
    if (!dot)
        return NULL;
    if (!used)
        used = "adam";
    *skip = strncmp(name, used, (size_t)(dot - name)) != 0 || used[dot - name] != 0;
    for (size_t i = 0; i < sizeof OPTIMIZER_KEYS / sizeof *OPTIMIZER_KEYS; i++)
        if (strcmp(dot + 1, OPTIMIZER_KEYS[i].setting) == 0)
            return OPTIMIZER_KEYS[i].option;
    *skip = false;
    return NULL;
}

static bool apply_value(struct config_file *c, const struct arg_spec *spec, struct general *g, const char *path, const json_t *value,
                        struct gm_error *err);

static bool apply_map(struct config_file *c, const struct arg_spec *spec, struct general *g, const char *path, const json_t *map, struct gm_error *err)
{
    const char *key;
    json_t *value;
    bool ok = true;
    json_object_foreach((json_t *)map, key, value)
    {
        char *inner = *path ? mem_printf("%s.%s", path, key) : mem_copy(key);
        ok = apply_value(c, spec, g, inner, value, err);
        mem_free(inner);
        if (!ok)
            break;
    }
    return ok;
}

/* A setting, or a map of mlx-lm's, that is told as null: as if it were not there. */
static bool null_is_known(const struct arg_spec *spec, const char *path, const char *option)
{
    static const char *const maps[] = {"lora_parameters", "lr_schedule", "optimizer_config"};
    char name[ARG_NAME_MAX];
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        if (strcmp(path, maps[i]) == 0)
            return true;
    return args_kind(spec, option) != ARG_NONE || (spec->mlx_lm && args_name(path, strlen(path), name) && args_foreign(name));
}

static bool apply_value(struct config_file *c, const struct arg_spec *spec, struct general *g, const char *path, const json_t *value,
                        struct gm_error *err)
{
    for (size_t i = 0; i < sizeof OTHER_KEYS / sizeof *OTHER_KEYS; i++)
        if (strcmp(path, OTHER_KEYS[i].key) == 0) {
            bool empty = json_is_null(value) || json_is_false(value) || (json_is_object(value) && json_object_size(value) == 0) ||
                         (json_is_number(value) && json_number_value(value) == 0);
            if (empty || !OTHER_KEYS[i].remedy)
                return true;
            error_set(err, GM_E_USAGE, "\"%s\" has no counterpart here (%s)", path, OTHER_KEYS[i].remedy);
            return at(c, path, err);
        }
    if (json_is_object(value))
        return apply_map(c, spec, g, path, value, err);
    bool skip = strcmp(path, "lora_parameters.alpha") == 0 && json_object_get(json_object_get(c->settings, "lora_parameters"), "scale");
    if (skip) /* mlx-lm looks at the scale alone */
        return true;
    const char *option = optimizer_option(c, path, &skip);
    if (skip)
        return true;
    if (!option)
        option = path;
    if (json_is_null(value))
        return null_is_known(spec, path, option) || unknown(c, spec, path, err);
    if (json_is_array(value))
        return set_list(c, spec, g, path, option, value, err);
    return set(c, spec, g, path, option, keep(c, scalar_text(value)), err);
}

bool config_file_apply(struct config_file *c, const struct arg_spec *spec, struct general *g, struct gm_error *err)
{
    return apply_map(c, spec, g, "", c->settings, err);
}
