/* config_rope.c - rotary positions in config.json: theta, scaling, and the spellings of several
 * generations of files (rope_theta + rope_scaling, rope_parameters flat or by layer type). */
#include "engine/model/config_private.h"

#include "engine/format/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

double config_tidy(float v)
{
    char text[32];
    double d = (double)v;
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (sscanf(text, "%lf", &d) == 1 && (float)d == v)
            return d;
    }
    return (double)v;
}

double config_long_attention_factor(double positions, double original)
{
    return positions <= original || original <= 1 ? 1 : sqrt(1 + log(positions / original) / log(original));
}

static bool read_factors(const json_t *o, const char *key, int n, float *out, struct gm_error *err)
{
    const json_t *list = NULL;
    if (!json_get_array(o, key, REQUIRED, &list, err))
        return false;
    if (json_array_size(list) != (size_t)n)
        return error_set(err, GM_E_INPUT, "\"%s\" has %zu numbers for %d rotated pairs", key,
                         json_array_size(list), n);
    for (int i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, (size_t)i);
        double x = json_is_number(v) ? json_number_value(v) : 0;
        if (!(x > 1e-6 && x < 1e9))
            return error_set(err, GM_E_INPUT, "\"%s\": entry %d is no positive number", key, i);
        out[i] = (float)x;
    }
    return true;
}

static bool read_long(const struct model_config *c, struct rope_scaling *s, const json_t *o,
                      int64_t beside, struct gm_error *err)
{
    int64_t original = beside > 0 ? beside : c->max_positions;
    if (beside == 0 && !json_get_int(o, "original_max_position_embeddings", OPTIONAL, 2,
                                     MODEL_MAX_POSITIONS, &original, err))
        return false;
    double factor = (double)c->max_positions / (double)original;
    if (!read_factors(o, "short_factor", c->rotary_dim / 2, s->short_factors, err) ||
        !read_factors(o, "long_factor", c->rotary_dim / 2, s->long_factors, err) ||
        !json_get_double(o, "factor", OPTIONAL, 1e-3, 1e6, &factor, err))
        return false;
    s->original_positions = (int)original;
    s->attention_factor = config_long_attention_factor(factor * (double)original, (double)original);
    return json_get_double(o, "attention_factor", OPTIONAL, 1e-3, 1e3, &s->attention_factor, err);
}

static bool read_llama3(const struct model_config *c, struct rope_scaling *s, const json_t *o,
                        int64_t beside, struct gm_error *err)
{
    int64_t original = beside > 0 ? beside : c->max_positions;
    if (!json_get_double(o, "factor", REQUIRED, 1e-3, 1e6, &s->factor, err) ||
        !json_get_double(o, "low_freq_factor", REQUIRED, 1e-3, 1e6, &s->low_freq_factor, err) ||
        !json_get_double(o, "high_freq_factor", REQUIRED, 1e-3, 1e6, &s->high_freq_factor, err) ||
        (beside == 0 && !json_get_int(o, "original_max_position_embeddings", OPTIONAL, 1,
                                      MODEL_MAX_POSITIONS, &original, err)))
        return false;
    if (s->high_freq_factor <= s->low_freq_factor)
        return error_set(err, GM_E_INPUT, "high_freq_factor %g is not above low_freq_factor %g",
                         s->high_freq_factor, s->low_freq_factor);
    s->original_positions = (int)original;
    return true;
}

static bool only_known(const json_t *o, struct gm_error *err)
{
    static const char *const known[] = {"rope_type",
                                        "type",
                                        "rope_theta",
                                        "factor",
                                        "low_freq_factor",
                                        "high_freq_factor",
                                        "original_max_position_embeddings",
                                        "short_factor",
                                        "long_factor",
                                        "attention_factor",
                                        "partial_rotary_factor"};
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        bool found = json_is_null(v);
        for (size_t i = 0; i < sizeof known / sizeof *known && !found; i++)
            found = strcmp(key, known[i]) == 0;
        if (!found)
            return json_unsupported(v, key, "absent", err);
    }
    return true;
}

/* {rope_type | type, rope_theta, ...}: one rotary table. beside: original_max_position_embeddings
 * where it stands outside, which then counts; 0: it does not. */
static bool read_one(struct model_config *c, const json_t *o, int64_t beside, double *theta,
                     struct rope_scaling *s, struct gm_error *err)
{
    const char *type = NULL;
    static const char *const keys[] = {"rope_type", "type"};
    for (int i = 0; i < 2 && !type; i++)
        if (!json_get_string(o, keys[i], OPTIONAL, &type, err))
            return false;
    if (!only_known(o, err) || !json_get_double(o, "rope_theta", OPTIONAL, 1, 1e15, theta, err))
        return false;
    if (!type || strcmp(type, "default") == 0)
        return true;
    if (strcmp(type, "linear") == 0) {
        s->kind = ROPE_LINEAR;
        return json_get_double(o, "factor", REQUIRED, 1e-3, 1e6, &s->factor, err);
    }
    if (strcmp(type, "llama3") == 0) {
        s->kind = ROPE_LLAMA3;
        return read_llama3(c, s, o, beside, err);
    }
    if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0) {
        s->kind = ROPE_LONG;
        return read_long(c, s, o, beside, err);
    }
    return json_unsupported(json_object_get(o, json_has(o, "rope_type") ? "rope_type" : "type"),
                            json_has(o, "rope_type") ? "rope_type" : "type",
                            "default, linear, llama3, longrope", err);
}

/* The part of a head that is rotated; a file says so beside or inside the rotary options. */
static bool read_partial(struct model_config *c, const struct model_family *f, const json_t *o,
                         struct gm_error *err)
{
    double part = 1;
    if (!json_get_double(o, "partial_rotary_factor", OPTIONAL, 1e-3, 1, &part, err))
        return false;
    if (part != 1 && !f->may_partial)
        return json_unsupported(json_object_get(o, "partial_rotary_factor"), "partial_rotary_factor",
                                "1", err);
    if (json_has(o, "partial_rotary_factor"))
        c->rotary_dim = (int)(part * c->head_dim);
    return config_check(c, err);
}

/* The newer spelling: one table, or one for each kind of layer. */
static bool read_parameters(struct model_config *c, const struct model_family *f,
                            const json_t *parameters, int64_t beside, struct gm_error *err)
{
    const json_t *full = json_object_get(parameters, "full_attention"),
                 *local = json_object_get(parameters, "sliding_attention");
    if (!c->local_rope || (!full && !local)) {
        if (!read_partial(c, f, parameters, err) ||
            !read_one(c, parameters, beside, &c->rope_theta, &c->rope, err))
            return error_context(err, "\"rope_parameters\"");
        return true;
    }
    struct rope_scaling unscaled = {.kind = ROPE_PLAIN};
    if (full && (!read_partial(c, f, full, err) ||
                 !read_one(c, full, beside, &c->rope_theta, &c->rope, err)))
        return error_context(err, "\"rope_parameters.full_attention\"");
    if (local && (!read_partial(c, f, local, err) ||
                  !read_one(c, local, beside, &c->rope_theta_local, &unscaled, err)))
        return error_context(err, "\"rope_parameters.sliding_attention\"");
    return unscaled.kind == ROPE_PLAIN ||
           json_unsupported(local, "rope_parameters.sliding_attention",
                            "no scaling on sliding layers", err);
}

/* A file may say it in both spellings, as long as they say one thing. */
static bool rope_equal(const struct model_config *a, const struct model_config *b)
{
    const struct rope_scaling *x = &a->rope, *y = &b->rope;
    const size_t bytes = (size_t)(a->rotary_dim / 2) * sizeof *x->short_factors;
    return a->rotary_dim == b->rotary_dim && x->kind == y->kind && x->factor == y->factor &&
           x->low_freq_factor == y->low_freq_factor && x->high_freq_factor == y->high_freq_factor &&
           x->original_positions == y->original_positions && x->attention_factor == y->attention_factor &&
           memcmp(x->short_factors, y->short_factors, bytes) == 0 &&
           memcmp(x->long_factors, y->long_factors, bytes) == 0;
}

bool config_read_rope(struct model_config *c, const struct model_family *f, const json_t *o,
                      struct gm_error *err)
{
    const json_t *scaling = NULL, *parameters = NULL;
    c->rotary_dim = c->head_dim;
    int64_t beside = f->may_partial ? 4096 : 0; /* Phi-3's class has it beside the scaling */
    if (!json_get_double(o, "rope_theta", OPTIONAL, 1, 1e15, &c->rope_theta, err) ||
        (c->local_rope && !json_get_double(o, "rope_local_base_freq", OPTIONAL, 1, 1e15,
                                           &c->rope_theta_local, err)) ||
        !json_get_int(o, "original_max_position_embeddings", OPTIONAL, 2, MODEL_MAX_POSITIONS,
                      &beside, err) ||
        !json_get_object(o, "rope_scaling", OPTIONAL, &scaling, err) ||
        !json_get_object(o, "rope_parameters", OPTIONAL, &parameters, err) ||
        !read_partial(c, f, o, err))
        return false;
    if (scaling && (!read_partial(c, f, scaling, err) ||
                    !read_one(c, scaling, beside, &c->rope_theta, &c->rope, err)))
        return error_context(err, "\"rope_scaling\"");
    if (!parameters)
        return true;
    const struct model_config told = *c;
    c->rope = f->defaults.rope;
    if (!read_parameters(c, f, parameters, beside, err))
        return false;
    return !scaling || rope_equal(c, &told) ||
           error_set(err, GM_E_INPUT, "\"rope_scaling\" and \"rope_parameters\" say different things (take one of them out)");
}

static json_t *numbers(const float *v, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_real(config_tidy(v[i])));
    return list;
}

static json_t *long_scaling(const struct model_config *c)
{
    const struct rope_scaling *s = &c->rope;
    json_t *o = json_object();
    json_object_set_new(o, "long_factor", numbers(s->long_factors, c->rotary_dim / 2));
    json_object_set_new(o, "short_factor", numbers(s->short_factors, c->rotary_dim / 2));
    json_object_set_new(o, "type", json_string("longrope"));
    double implied = config_long_attention_factor(c->max_positions, s->original_positions);
    if (fabs(implied - s->attention_factor) > 1e-6) /* older readers count the three keys above */
        json_object_set_new(o, "attention_factor", json_real(s->attention_factor));
    return o;
}

void config_write_rope(const struct model_config *c, json_t *o)
{
    const struct rope_scaling *s = &c->rope;
    json_t *scaling = json_null();
    switch (s->kind) {
    case ROPE_PLAIN:
        break;
    case ROPE_LINEAR:
        scaling = json_pack("{s:s, s:f}", "rope_type", "linear", "factor", s->factor);
        break;
    case ROPE_LLAMA3:
        scaling = json_pack("{s:f, s:f, s:f, s:i, s:s}", "factor", s->factor, "low_freq_factor",
                            s->low_freq_factor, "high_freq_factor", s->high_freq_factor,
                            "original_max_position_embeddings", s->original_positions, "rope_type",
                            "llama3");
        break;
    case ROPE_LONG:
        scaling = long_scaling(c);
        json_object_set_new(o, "original_max_position_embeddings",
                            json_integer(s->original_positions));
        break;
    }
    json_object_set_new(o, "rope_theta", json_real(c->rope_theta));
    json_object_set_new(o, "rope_scaling", scaling);
    if (c->local_rope)
        json_object_set_new(o, "rope_local_base_freq", json_real(c->rope_theta_local));
    if (c->rotary_dim != c->head_dim) {
        /* A decimal that gives the very number of dimensions when it is multiplied again. */
        double part = (double)c->rotary_dim / c->head_dim;
        if ((int)(part * c->head_dim) != c->rotary_dim)
            part = (c->rotary_dim + 0.5) / c->head_dim;
        json_object_set_new(o, "partial_rotary_factor", json_real(part));
    }
}
