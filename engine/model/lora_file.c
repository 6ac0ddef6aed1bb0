/* lora_file.c - adapters from disk, whatever wrote them.
 *
 *   MLX   adapters.safetensors       model.layers.0.self_attn.q_proj.lora_a [in, rank], .lora_b [rank, out], .m [out]
 *   PEFT  adapter_model.safetensors  base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight [rank, in], .lora_B.weight
 *                                    [out, rank], .lora_magnitude_vector [out] (with .weight behind it in some versions)
 *   GGUF  anything.gguf              blk.0.attn_q.weight.lora_a [rank, in], .lora_b [out, rank]
 *
 * An adapter in memory has one rank and one scale. Parts of a smaller rank get rows and columns of zeros, which stay zero in training;
 * a scale of its own goes into B.
 */
#include "engine/model/lora_private.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { CONFIG_MAX_BYTES = 4 << 20 };
static const char PEFT_PREFIX[] = "base_model.model.";

/* ---- names ---- */

static bool starts_with(const char **text, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(*text, prefix, n) != 0)
        return false;
    *text += n;
    return true;
}

/* ".lora_A.weight" at the end of `name`: what stands before it is the module. */
static bool ends_with(const char *name, const char *tail, size_t *module)
{
    size_t n = strlen(name), k = strlen(tail);
    if (n < k || strcmp(name + n - k, tail) != 0)
        return false;
    *module = n - k;
    return true;
}

static char which_half(const struct lora_reading *r, const char *name, size_t *module)
{
    static const struct {
        enum lora_layout layout;
        const char *tail;
        char half;
    } tails[] = {{LAYOUT_MLX, ".lora_a", 'a'},
                 {LAYOUT_MLX, ".lora_b", 'b'},
                 {LAYOUT_MLX, ".m", 'm'},
                 {LAYOUT_PEFT, ".lora_A.weight", 'a'},
                 {LAYOUT_PEFT, ".lora_B.weight", 'b'},
                 {LAYOUT_PEFT, ".lora_magnitude_vector", 'm'},
                 {LAYOUT_PEFT, ".lora_magnitude_vector.weight", 'm'}};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
        if (tails[i].layout == r->layout && ends_with(name, tails[i].tail, module))
            return tails[i].half;
    return 0;
}

/* The language model's layers, as text-only and multimodal models call them. */
static bool skip_prefix(const char **name)
{
    return starts_with(name, "model.layers.") || starts_with(name, "language_model.model.layers.") ||
           starts_with(name, "model.language_model.layers.") || starts_with(name, "language_model.layers.");
}

/* "model.layers.3.mlp.up_proj.lora_b" -> part and half. */
static bool parse_name(const struct lora_reading *r, const char *name, int *index, char *half)
{
    if (r->layout == LAYOUT_GGUF)
        return lora_gguf_name(r, name, index, half);
    int layer = 0, used = 0;
    size_t end;
    char module[64];
    if (r->layout == LAYOUT_PEFT)
        starts_with(&name, PEFT_PREFIX);
    *half = which_half(r, name, &end);
    const char *rest = name;
    if (!*half || !skip_prefix(&rest) || sscanf(rest, "%4d.%n", &layer, &used) != 1 || used == 0 || layer < 0 ||
        layer >= r->config->n_layers)
        return false;
    rest += used;
    size_t n = end > (size_t)(rest - name) ? end - (size_t)(rest - name) : 0;
    struct module m;
    if (n == 0 || n >= sizeof module)
        return false;
    memcpy(module, rest, n);
    module[n] = 0;
    if (!module_find(r->config, module, &m))
        return false;
    *index = layer * PROJ_COUNT + (int)m.first;
    return true;
}

static bool refuse_tensor(const struct lora_reading *r, const char *name, struct gm_error *err)
{
    static const char *const others[] = {"embed", "lm_head", "output", "vision", "projector", "visual", "modules_to_save", ".bias"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strstr(name, others[i]))
            return error_set(err, GM_E_UNSUPPORTED,
                             "tensor \"%s\" is not supported: only the projections of the layers can be adapted (merge it into the base "
                             "with the program that made it, and open the result)",
                             name);
    return error_set(err, GM_E_UNSUPPORTED,
                     "tensor \"%s\" is not supported (known: A, B and DoRA's magnitudes of the projections of layers 0 to %d)", name,
                     r->config->n_layers - 1);
}

static bool sort_tensors(struct lora_reading *r, const struct tensor_info *tensors, int n, struct gm_error *err)
{
    if (n == 0)
        return error_set(err, GM_E_INPUT, "there is no tensor in it");
    for (int i = 0; i < n; i++) {
        const struct tensor_info *t = &tensors[i];
        int index;
        char half;
        if (!parse_name(r, t->name, &index, &half))
            return refuse_tensor(r, t->name, err);
        struct lora_part *part = &r->parts[index];
        const struct tensor_info **at = half == 'a' ? &part->a : half == 'b' ? &part->b : &part->m;
        if (*at)
            return error_set(err, GM_E_INPUT, "tensors \"%s\" and \"%s\" are for the same projection", (*at)->name, t->name);
        if (half != 'm' && t->n_dims != 2)
            return error_set(err, GM_E_INPUT, "tensor \"%s\" is no matrix", t->name);
        *at = t;
    }
    return true;
}

/* ---- shapes ---- */

static bool check_part(struct lora_reading *r, int index, struct gm_error *err)
{
    struct lora_part *part = &r->parts[index];
    const struct tensor_info *a = part->a, *b = part->b, *m = part->m;
    const bool mlx = r->layout == LAYOUT_MLX;
    if (!a || !b)
        return error_set(err, GM_E_INPUT, "tensor \"%s\" has no partner (A and B come in pairs)", (a ? a : b ? b : m)->name);
    if (r->options.dora != (m != NULL))
        return error_set(err, GM_E_INPUT, "tensor \"%s\" %s", (m ? m : a)->name,
                         m ? "is a magnitude of DoRA, but the configuration says LoRA" : "has no magnitude, but the configuration says DoRA");
    const int64_t rank = a->shape[mlx ? 1 : 0];
    struct module module;
    module_of(r->config, (enum proj)(index % PROJ_COUNT), &module);
    const int64_t out = module.out, in = module.in;
    if (rank < 1 || rank > LORA_MAX_RANK)
        return error_set(err, GM_E_UNSUPPORTED, "tensor \"%s\" has rank %lld, which is not supported (known: 1 to %d)", a->name, (long long)rank,
                         LORA_MAX_RANK);
    struct mat mat;
    if (!tensor_mat_expect(a, mlx ? in : rank, mlx ? rank : in, &mat, err) ||
        !tensor_mat_expect(b, mlx ? rank : out, mlx ? out : rank, &mat, err) || (m && !tensor_mat_expect(m, 0, out, &mat, err)) ||
        !tensor_check_finite(a, err) || !tensor_check_finite(b, err) || (m && !tensor_check_finite(m, err)))
        return false;
    part->rank = (int)rank;
    part->factor = 1;
    return true;
}

/* Ranks, keys and layers as the tensors have them. */
static bool read_shapes(struct lora_reading *r, struct gm_error *err)
{
    int first = r->config->n_layers;
    for (int i = 0; i < r->config->n_layers * PROJ_COUNT; i++) {
        const struct lora_part *part = &r->parts[i];
        if (!part->a && !part->b && !part->m)
            continue;
        if (!check_part(r, i, err))
            return false;
        r->options.rank = part->rank > r->options.rank ? part->rank : r->options.rank;
        struct module module;
        module_of(r->config, (enum proj)(i % PROJ_COUNT), &module);
        r->options.keys |= module_bits(&module);
        first = i / PROJ_COUNT < first ? i / PROJ_COUNT : first;
    }
    r->options.num_layers = r->config->n_layers - first;
    return true;
}

void lora_scale_parts(struct lora_reading *r, const double *alphas, double alpha)
{
    const int n = r->config->n_layers * PROJ_COUNT;
    for (int i = 0; i < n && alpha == 0 && alphas; i++) /* 0 for all but those that the pattern names */
        alpha = r->parts[i].a ? alphas[i] : 0;
    const double scale = lora_scale_of(alpha, r->options.rank, r->options.rslora);
    r->options.alpha = (float)alpha;
    r->options.scale = (float)scale;
    for (int i = 0; i < n && scale != 0; i++) {
        struct lora_part *part = &r->parts[i];
        double own = alphas ? alphas[i] : alpha;
        if (part->a && (part->rank != r->options.rank || own != alpha))
            part->factor = lora_scale_of(own, part->rank, r->options.rslora) / scale;
    }
}

/* ---- values ---- */

/* Row by row into dst [rows, stride], whose first cols columns are filled. t is [rows, cols], or [cols, rows] when transposed. */
static void copy_matrix(float *dst, int64_t stride, const struct tensor_info *t, int64_t rows, int64_t cols, bool transposed)
{
    struct mat m;
    if (!tensor_mat(t, &m, NULL))
        return; /* cannot be: the shape was checked */
    if (!transposed) {
        for (int64_t i = 0; i < rows; i++)
            mat_row_to_f32(&m, i, dst + i * stride);
        return;
    }
    float *row = mem_new((size_t)rows, sizeof *row);
    for (int64_t j = 0; j < cols; j++) {
        mat_row_to_f32(&m, j, row);
        for (int64_t i = 0; i < rows; i++)
            dst[i * stride + j] = row[i];
    }
    mem_free(row);
}

/* Rows of a GGUF's B into Hugging Face's order. */
static void turn_rows(const struct lora_reading *r, enum proj p, float *b, int64_t rows, int64_t rank)
{
    const size_t n = (size_t)(rows * rank);
    float *copy = mem_new(n, sizeof *copy);
    memcpy(copy, b, n * sizeof *copy);
    for (int64_t o = 0; o < rows; o++)
        memcpy(b + o * rank, copy + lora_gguf_row(r->config, p, o) * rank, (size_t)rank * sizeof *b);
    mem_free(copy);
}

static void fill(const struct lora_reading *r, struct lora *l, int index)
{
    const struct lora_part *part = &r->parts[index];
    const struct lora_pair *pair = &l->pairs[index]; /* the first of its module: A, B and m begin here */
    const enum proj p = (enum proj)(index % PROJ_COUNT);
    const int rank = l->options.rank;
    struct module module;
    module_of(r->config, p, &module);
    float *b = l->set.w + pair->b;
    copy_matrix(l->set.w + pair->a, module.in, part->a, part->rank, module.in, r->layout == LAYOUT_MLX);
    copy_matrix(b, rank, part->b, module.out, part->rank, r->layout == LAYOUT_MLX);
    if (r->layout == LAYOUT_GGUF)
        turn_rows(r, p, b, module.out, rank);
    for (int64_t i = 0; i < module.out * rank && part->factor != 1; i++)
        b[i] = (float)((double)b[i] * part->factor);
    struct mat m;
    if (part->m && tensor_mat(part->m, &m, NULL))
        mat_row_to_f32(&m, 0, l->set.w + pair->m);
}

static struct lora *build(const struct lora_reading *r, struct gm_error *err)
{
    const int n = r->config->n_layers * PROJ_COUNT;
    bool *present = mem_new((size_t)n, sizeof *present);
    for (int i = 0; i < n; i++)
        present[i] = r->parts[i].a != NULL;
    struct lora *l = lora_lay_out(r->config, &r->options, present, err);
    for (int i = 0; l && i < n; i++)
        if (present[i])
            fill(r, l, i);
    mem_free(present);
    return l;
}

/* ---- files ---- */

static bool is_peft(const struct safetensors *s)
{
    size_t module;
    for (int i = 0; i < s->n_tensors; i++)
        if (strncmp(s->tensors[i].name, PEFT_PREFIX, sizeof PEFT_PREFIX - 1) == 0 || ends_with(s->tensors[i].name, ".lora_A.weight", &module))
            return true;
    return false;
}

static void read_origin(struct lora *l, const struct safetensors *s, const struct gguf *g)
{
    int n;
    const struct lora_origin_field *fields = lora_origin_fields(&n);
    for (int i = 0; l && i < n; i++) {
        struct gguf_text text = {"", 0};
        const char *value = s ? safetensors_meta(s, fields[i].name) : NULL;
        if (value)
            text = (struct gguf_text){value, strlen(value)};
        if (g && !gguf_string(g, fields[i].name, OPTIONAL, &text, NULL))
            continue; /* of another type: not ours */
        lora_origin_set(&l->origin, &fields[i], text.data, text.len);
    }
}

static struct lora *read_safetensors(struct lora_reading *r, const char *file, const char *folder, struct gm_error *err)
{
    struct safetensors s;
    struct lora *l = NULL;
    if (!safetensors_open(&s, file, err))
        return NULL;
    r->layout = is_peft(&s) ? LAYOUT_PEFT : LAYOUT_MLX;
    char *path = path_join(folder, LORA_CONFIG_FILE);
    json_t *config = json_load_file_checked(path, CONFIG_MAX_BYTES, err);
    if (config && (lora_config_check(r, config, err) || error_context(err, "read %s", path)) &&
        ((sort_tensors(r, s.tensors, s.n_tensors, err) && read_shapes(r, err)) || error_context(err, "read %s", file)) &&
        (lora_config_scale(r, config, err) || error_context(err, "read %s", path)))
        l = build(r, err);
    read_origin(l, &s, NULL);
    json_decref(config);
    mem_free(path);
    safetensors_close(&s);
    return l;
}

static struct lora *read_gguf(struct lora_reading *r, const char *file, struct gm_error *err)
{
    struct gguf g;
    struct lora *l = NULL;
    if (!gguf_open(&g, file, err))
        return NULL;
    r->layout = LAYOUT_GGUF;
    if (lora_gguf_check(r, &g, err) && sort_tensors(r, g.tensors, g.n_tensors, err) && read_shapes(r, err) && lora_gguf_scale(r, &g, err))
        l = build(r, err);
    else
        error_context(err, "read %s", file);
    read_origin(l, NULL, &g);
    gguf_close(&g);
    return l;
}

static bool is_gguf(const char *path)
{
    struct mapping m;
    if (!mapping_open(&m, path, NULL))
        return false;
    bool yes = m.size >= 4 && memcmp(m.data, "GGUF", 4) == 0;
    mapping_close(&m);
    return yes;
}

char *lora_find_file(const char *path, struct gm_error *err)
{
    if (!dir_exists(path))
        return mem_copy(path);
    char *mlx = path_join(path, LORA_MLX_FILE), *peft = path_join(path, LORA_PEFT_FILE), *chosen = NULL;
    if (file_exists(mlx))
        chosen = mem_copy(mlx);
    else if (file_exists(peft))
        chosen = mem_copy(peft);
    else
        error_set(err, GM_E_INPUT, "read adapter %s: neither %s nor %s is there", path, LORA_MLX_FILE, LORA_PEFT_FILE);
    mem_free(mlx);
    mem_free(peft);
    return chosen;
}

struct lora *lora_load(const char *path, const struct model_config *c, struct gm_error *err)
{
    struct lora_reading r = {.config = c};
    char *file = lora_find_file(path, err);
    if (!file)
        return NULL;
    r.parts = mem_new((size_t)c->n_layers * PROJ_COUNT, sizeof *r.parts);
    char *folder = path_folder(file);
    struct lora *l = is_gguf(file) ? read_gguf(&r, file, err) : read_safetensors(&r, file, folder, err);
    mem_free(folder);
    mem_free(r.parts);
    mem_free(file);
    return l;
}

struct lora *lora_load_for(const char *path, const char *called, const char *model, const struct model_config *c, struct gm_error *err)
{
    struct lora *l = lora_load(path, c, err);
    if (!l && err && (err->code == GM_E_INPUT || err->code == GM_E_UNSUPPORTED))
        error_context(err, "use adapter %s with %s (was it made for this model?)", called, model);
    return l;
}
