/* model_quant.c - see model_quant.h. */
#include "engine/model/model_quant.h"

#include "engine/format/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct tensor_info *part(const struct model_source *s, const char *module,
                                      const char *end)
{
    char name[160];
    snprintf(name, sizeof name, "%s.%s", module, end);
    return model_source_find(s, name);
}

bool quant_find(const struct model_source *s, const char *module, struct quantised *q)
{
    if (s->kind != SOURCE_HF)
        return false;
    *q = (struct quantised){.weight = part(s, module, "weight"),
                            .scales = part(s, module, "scales"),
                            .biases = part(s, module, "biases")};
    return q->weight && q->scales;
}

/* Bits and group of a module. An entry of its own starts from MLX's defaults, not from the common
 * one. */
struct spec {
    enum dtype type;
    int bits, group;
};

static bool read_entry(const json_t *o, struct spec *s, struct gm_error *err)
{
    const char *mode = "affine";
    if (!json_get_string(o, "mode", OPTIONAL, &mode, err))
        return false;
    bool fp4 = strcmp(mode, "mxfp4") == 0;
    int64_t bits = 4, group = fp4 ? 32 : 64;
    if (!fp4 && strcmp(mode, "affine") != 0)
        return json_unsupported(json_object_get(o, "mode"), "mode", "affine, mxfp4", err);
    if (!json_get_int(o, "bits", OPTIONAL, 1, 64, &bits, err) ||
        !json_get_int(o, "group_size", OPTIONAL, 1, 1 << 20, &group, err))
        return false;
    if (fp4 ? bits != 4 : dtype_mlx((int)bits) == DT_COUNT)
        return json_unsupported(json_object_get(o, "bits"), "bits",
                                fp4 ? "4 with mxfp4" : "2, 3, 4, 5, 6, 8", err);
    if (fp4 ? group != 32 : group != 32 && group != 64 && group != 128)
        return json_unsupported(json_object_get(o, "group_size"), "group_size",
                                fp4 ? "32 with mxfp4" : "32, 64, 128", err);
    *s = (struct spec){fp4 ? DT_MLX_FP4 : dtype_mlx((int)bits), (int)bits, (int)group};
    return true;
}

static bool find_spec(const struct model_source *source, const char *module, struct spec *s,
                      struct gm_error *err)
{
    const json_t *all = json_object_get(source->config, "quantization");
    if (!json_is_object(all))
        all = json_object_get(source->config, "quantization_config");
    if (!json_is_object(all))
        return error_set(err, GM_E_INPUT,
                         "tensor \"%s.scales\" is there, but config.json has no \"quantization\"",
                         module);
    const json_t *own = json_object_get(all, module);
    if (json_is_false(own))
        return error_set(err, GM_E_INPUT,
                         "\"quantization\": \"%s\" is false, but \"%s.scales\" is there", module,
                         module);
    return read_entry(json_is_object(own) ? own : all, s, err) ||
           error_context(err, "\"quantization\" of \"%s\"", module);
}

static bool expect(const struct tensor_info *t, int64_t rows, int64_t cols, const struct spec *s,
                   struct gm_error *err)
{
    char have[64];
    if (t->n_dims == 2 && t->shape[0] == rows && t->shape[1] == cols)
        return true;
    return error_set(err, GM_E_INPUT,
                     "tensor \"%s\" is %s, not [%" PRId64 ", %" PRId64
                     "] as config.json says (%d bits, groups of %d)",
                     t->name, tensor_shape_text(t, have, sizeof have), rows, cols, s->bits,
                     s->group);
}

static bool check_powers(const struct tensor_info *t, struct gm_error *err)
{
    const unsigned char *e = t->data;
    for (size_t i = 0; i < t->bytes; i++)
        if (e[i] == 0xff)
            return error_set(err, GM_E_INPUT, "tensor \"%s\": scale %zu is no number", t->name, i);
    return true;
}

bool quant_mat(const struct model_source *source, const char *module, const struct quantised *q,
               int64_t rows, int64_t cols, struct mat *out, struct gm_error *err)
{
    struct spec s = {0};
    if (!find_spec(source, module, &s, err))
        return false;
    const bool fp4 = s.type == DT_MLX_FP4;
    const enum dtype scale = q->scales->type;
    if (cols % s.group != 0)
        return error_set(err, GM_E_INPUT, "tensor \"%s\": rows of %" PRId64 " are no multiple of %d",
                         q->weight->name, cols, s.group);
    if (q->weight->type != DT_U32 ||
        (fp4 ? scale != DT_U8 : scale != DT_F32 && scale != DT_F16 && scale != DT_BF16))
        return error_set(err, GM_E_INPUT,
                         "tensor \"%s\" is of type %s with scales of type %s, which no %s matrix is",
                         q->weight->name, dtype_name(q->weight->type), dtype_name(scale),
                         dtype_name(s.type));
    if (!fp4 == !q->biases)
        return error_set(err, GM_E_INPUT, "tensor \"%s.biases\" is %s", module,
                         fp4 ? "there, but mxfp4 has none" : "missing");
    if (q->biases && q->biases->type != scale)
        return error_set(err, GM_E_INPUT, "tensor \"%s\" is of type %s, the scales are of type %s",
                         q->biases->name, dtype_name(q->biases->type), dtype_name(scale));
    if (!expect(q->weight, rows, cols * s.bits / 32, &s, err) ||
        !expect(q->scales, rows, cols / s.group, &s, err) ||
        (q->biases && !expect(q->biases, rows, cols / s.group, &s, err)))
        return false;
    if (fp4 ? !check_powers(q->scales, err)
            : !tensor_check_finite(q->scales, err) || !tensor_check_finite(q->biases, err))
        return false;
    *out = (struct mat){.data = q->weight->data,
                        .type = s.type,
                        .rows = rows,
                        .cols = cols,
                        .row_bytes = (size_t)(cols * s.bits / 8),
                        .scales = q->scales->data,
                        .biases = q->biases ? q->biases->data : NULL,
                        .scale_type = scale,
                        .group = s.group};
    return true;
}
