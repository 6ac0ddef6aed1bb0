/* facts.c - finding out which kind a path is of, and the facts that all kinds share: notes, tensors, metadata. */
#include "src/cli/facts.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/builtin/builtin.h"
#include "engine/format/hub_cache.h"
#include "engine/train/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void add_line(json_t *out, const char *list, const char *text)
{
    json_array_append_new(json_object_get(out, list), json_text(text));
}

#define FORMATTED(text)          \
    struct str text = {0};       \
    va_list args;                \
    va_start(args, format);      \
    str_vprintf(&text, format, args); \
    va_end(args)

void facts_note(struct facts *f, const char *format, ...)
{
    FORMATTED(text);
    add_line(f->out, "notes", str_text(&text));
    str_free(&text);
}

void facts_warn(struct facts *f, const char *format, ...)
{
    FORMATTED(text);
    add_line(f->out, "warnings", str_text(&text));
    str_free(&text);
}

void facts_fault(struct facts *f, const struct gm_error *err)
{
    add_line(f->out, "faults", err->text);
}

void facts_summary(struct facts *f, const char *format, ...)
{
    FORMATTED(text);
    const char *before = json_string_value(json_object_get(f->out, "summary"));
    char *both = *before ? mem_printf("%s, %s", before, str_text(&text)) : mem_copy(str_text(&text));
    json_object_set_new(f->out, "summary", json_text(both));
    mem_free(both);
    str_free(&text);
}

const char *facts_size(int64_t n, char out[24])
{
    double x = (double)n;
    int unit = 0;
    while (x >= 999.5 && unit < 3) {
        x /= 1000;
        unit++;
    }
    snprintf(out, 24, "%.3g%s", x, (const char *const[]){"", " K", " M", " B"}[unit]);
    return out;
}

bool facts_works(const json_t *facts)
{
    return json_array_size(json_object_get(facts, "faults")) == 0;
}

/* ---- tensors ---- */

static json_t *shape_json(const struct tensor_info *t)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->n_dims; i++)
        json_array_append_new(shape, json_integer(t->shape[i]));
    return shape;
}

static json_t *types_json(const struct tensor_info *const *tensors, int n)
{
    int64_t count[DT_COUNT] = {0}, elements[DT_COUNT] = {0}, bytes[DT_COUNT] = {0};
    for (int i = 0; i < n; i++) {
        count[tensors[i]->type]++;
        elements[tensors[i]->type] += tensor_elements(tensors[i]);
        bytes[tensors[i]->type] += (int64_t)tensors[i]->bytes;
    }
    json_t *types = json_array();
    for (int t = 0; t < DT_COUNT; t++)
        if (count[t])
            json_array_append_new(types, json_pack("{s:s, s:I, s:I, s:I}", "type", dtype_name((enum dtype)t), "tensors", (json_int_t)count[t], "elements",
                                                   (json_int_t)elements[t], "bytes", (json_int_t)bytes[t]));
    return types;
}

void facts_tensors(struct facts *f, const struct tensor_info *const *tensors, int n)
{
    int64_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += (int64_t)tensors[i]->bytes;
    json_t *o = json_pack("{s:i, s:I, s:o}", "count", n, "bytes", (json_int_t)bytes, "types", types_json(tensors, n));
    if (f->o->all_tensors) {
        json_t *list = json_array();
        for (int i = 0; i < n; i++) {
            json_t *t = json_object();
            json_object_set_new(t, "name", json_text(tensors[i]->name));
            json_object_set_new(t, "type", json_string(dtype_name(tensors[i]->type)));
            json_object_set_new(t, "shape", shape_json(tensors[i]));
            json_object_set_new(t, "bytes", json_integer((json_int_t)tensors[i]->bytes));
            json_array_append_new(list, t);
        }
        json_object_set_new(o, "list", list);
    }
    json_object_set_new(f->out, "tensors", o);
}

/* ---- metadata ---- */

enum { ARRAY_SHOWN = 8, TEXT_SHOWN = 200 };

/* A text, cut where it is long. */
static json_t *short_text(const char *p, size_t n, bool whole)
{
    struct str s = {0};
    size_t shown = whole || n <= TEXT_SHOWN ? n : utf8_complete_prefix(p, TEXT_SHOWN);
    text_clean(&s, p, shown, true, false);
    if (shown < n)
        str_printf(&s, " ... (%zu bytes)", n);
    json_t *value = json_text(str_text(&s));
    str_free(&s);
    return value;
}

static json_t *gguf_value(const struct gguf_kv *kv, uint64_t i, bool whole)
{
    static const size_t sizes[GGUF_TYPE_COUNT] = {[GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
                                                  [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};
    const unsigned char *p = kv->data + i * sizes[kv->element];
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        float f32;
        uint64_t u64;
        int64_t i64;
        double f64;
    } v = {0};
    if (kv->element == GGUF_STRING)
        return short_text(kv->strings[i].data, kv->strings[i].len, whole);
    memcpy(&v, p, sizes[kv->element]);
    switch (kv->element) {
    case GGUF_U8:
        return json_integer(v.u8);
    case GGUF_I8:
        return json_integer(v.i8);
    case GGUF_U16:
        return json_integer(v.u16);
    case GGUF_I16:
        return json_integer(v.i16);
    case GGUF_U32:
        return json_integer(v.u32);
    case GGUF_I32:
        return json_integer(v.i32);
    case GGUF_F32: { /* as it was most likely written */
        char text[32];
        snprintf(text, sizeof text, "%.7g", (double)v.f32);
        double x = 0;
        sscanf(text, "%lf", &x);
        return json_number(x);
    }
    case GGUF_BOOL:
        return json_boolean(v.u8);
    case GGUF_U64:
        return json_integer((json_int_t)v.u64);
    case GGUF_I64:
        return json_integer((json_int_t)v.i64);
    case GGUF_F64:
        return json_number(v.f64);
    default:
        return json_null();
    }
}

void facts_metadata_gguf(struct facts *f, const struct gguf *g)
{
    json_t *o = json_object();
    for (int i = 0; i < g->n_kv; i++) {
        const struct gguf_kv *kv = &g->kv[i];
        bool whole = f->o->whole_arrays, template = strcmp(kv->key, "tokenizer.chat_template") == 0;
        if (kv->type != GGUF_ARRAY) {
            json_object_set_new(o, kv->key, gguf_value(kv, 0, template ? f->o->whole_template : whole));
            continue;
        }
        json_t *array = json_array();
        for (uint64_t k = 0; k < kv->n && (whole || k < ARRAY_SHOWN); k++)
            json_array_append_new(array, gguf_value(kv, k, whole));
        json_object_set_new(o, kv->key, !whole && kv->n > ARRAY_SHOWN ? json_pack("{s:s, s:I, s:o}", "array", gguf_type_name(kv->element), "length",
                                                                                  (json_int_t)kv->n, "first", array)
                                                                      : array);
    }
    json_object_set_new(f->out, "metadata", o);
}

void facts_metadata_safetensors(struct facts *f, const struct safetensors *s)
{
    json_t *o = json_object();
    for (int i = 0; i + 1 < 2 * s->n_meta; i += 2)
        json_object_set_new(o, s->meta[i], short_text(s->meta[i + 1], strlen(s->meta[i + 1]), f->o->whole_arrays));
    if (json_object_size(o) > 0)
        json_object_set_new(f->out, "metadata", o);
    else
        json_decref(o);
}

/* ---- of which kind ---- */

/* A name that is no path: a run, a checkpoint of one, something built in, a model in the cache. */
static bool named(const char *name, enum artifact *what, char **path, struct gm_error *err)
{
    bool is_run = false;
    int step;
    struct gm_error none = {0};
    if (strcmp(name, "haiku") == 0 || strcmp(name, "nano") == 0) {
        *what = strcmp(name, "nano") == 0 ? ARTIFACT_MODEL : ARTIFACT_DATA;
        *path = mem_copy(name);
        return true;
    }
    *path = strchr(name, ':') ? run_adapter_path(cli_runs_root(), name, &is_run, &step, &none) : run_resolve(cli_runs_root(), name, &none);
    if (*path && dir_exists(*path)) {
        *what = is_run ? ARTIFACT_CHECKPOINT : ARTIFACT_RUN;
        return true;
    }
    mem_free(*path);
    *path = mem_copy(name);
    if (hub_id_valid(name) && strchr(name, '/')) {
        *what = ARTIFACT_MODEL;
        return true;
    }
    return recognise(name, what, err); /* which tells that it is not there */
}

json_t *facts_of(const char *path, const struct facts_options *o, struct gm_error *err)
{
    enum artifact what;
    char *found = NULL;
    if (!(path_exists(path) ? recognise(path, &what, err) : named(path, &what, &found, err))) {
        mem_free(found);
        return NULL;
    }
    const char *at = found ? found : path;
    struct facts f = {.out = json_pack("{s:o, s:s, s:s, s:[], s:[], s:[]}", "path", json_text(path), "kind", artifact_name(what), "summary", "", "notes",
                                       "warnings", "faults"),
                      .o = o, .path = at};
    switch (what) {
    case ARTIFACT_MODEL:
    case ARTIFACT_GGUF:
        facts_model(&f, at);
        break;
    case ARTIFACT_ADAPTER:
        facts_adapter(&f, at);
        break;
    case ARTIFACT_RUN:
        facts_run(&f, at);
        break;
    case ARTIFACT_CHECKPOINT:
        facts_checkpoint(&f, at);
        break;
    default:
        facts_small_file(&f, what);
    }
    mem_free(found);
    return f.out;
}
