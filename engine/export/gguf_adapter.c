/* gguf_adapter.c - an adapter as a GGUF file, as llama.cpp's `--lora` takes it: A [rank, in] and B [out, rank] of each matrix under the matrix's name.
 *
 * llama.cpp multiplies B A by alpha / rank: alpha is our factor times the rank, whatever it was called where it came from (MLX's scale, rsLoRA). Rows of B
 * that change llama's q and k stand in the order of the rows that they change.
 */
#include "engine/export/parts.h"

#include "engine/base/mem.h"
#include "engine/format/gguf_write.h"
#include "engine/model/model_items.h"

struct turned { /* B with its rows in the file's order */
    const float *from;
    int64_t rows, cols;
    int heads; /* 0: as they are */
};

static bool write_turned(void *arg, struct writer *w, struct gm_error *err)
{
    const struct turned *t = arg;
    for (int64_t r = 0; r < t->rows; r++)
        writer_write(w, t->from + export_model_row(r, t->rows, t->heads) * t->cols, (size_t)t->cols * sizeof *t->from);
    return true;
}

static void add(struct gguf_out *g, const struct item *item, const struct lora *l, const struct lora_pair *pair, struct turned *b)
{
    char *a_name = mem_printf("%s.lora_a", item->gguf), *b_name = mem_printf("%s.lora_b", item->gguf);
    *b = (struct turned){.from = l->set.w + pair->b, .rows = item->rows, .cols = l->options.rank, .heads = item->turned_heads};
    gguf_out_tensor(
        g, &(struct tensor_out){.name = a_name, .type = DT_F32, .n_dims = 2, .shape = {l->options.rank, item->cols}, .data = l->set.w + pair->a});
    gguf_out_tensor(g,
                    &(struct tensor_out){
                        .name = b_name, .type = DT_F32, .n_dims = 2, .shape = {item->rows, l->options.rank}, .produce = write_turned, .arg = b});
    mem_free(a_name);
    mem_free(b_name);
}

bool export_write_gguf_lora(struct export_job *j, const char *file, struct gm_error *err)
{
    const struct lora *l = j->r.lora;
    if (l->options.dora)
        return error_set(err, GM_E_UNSUPPORTED, "a GGUF adapter has no place for DoRA's magnitudes (fuse it: --to gguf)");
    int n;
    struct item *items = model_items((struct model *)(uintptr_t)j->r.model, &n); /* lists, changes nothing */
    struct turned *turned = mem_new((size_t)n, sizeof *turned);
    struct gguf_out *g = gguf_out_new();
    gguf_out_text(g, "general.architecture", model_config_architecture(&j->r.model->config));
    gguf_out_text(g, "general.type", "adapter");
    export_put_general(g, j);
    gguf_out_text(g, "adapter.type", "lora");
    gguf_out_f32(g, "adapter.lora.alpha", l->options.scale * (float)l->options.rank);
    const char *origin[2 * LORA_ORIGIN_PAIRS];
    for (int i = 0, pairs = lora_origin_pairs(&l->origin, origin); i < pairs; i++)
        gguf_out_text(g, origin[2 * i], origin[2 * i + 1]);
    for (int i = 0; i < n; i++) {
        int layer;
        enum proj p;
        const struct lora_pair *pair = items[i].mat && export_projection(j->r.model, items[i].mat, &layer, &p) ? lora_at(l, layer, p) : NULL;
        if (pair)
            add(g, &items[i], l, pair, &turned[i]);
    }
    bool ok = gguf_write(g, file, err);
    gguf_out_free(g);
    mem_free(turned);
    mem_free(items);
    return ok;
}
