/* nano_marks - the last step of making the built-in model: the rows of the two turn marks.
 *
 * Verse shows the model neither <start_of_turn> nor <end_of_turn>: their rows of the tied embedding are still random, and all tokens that were never seen
 * look alike to the head, so an adapter could not learn to end a turn without wakening the others. They take the place of the marks that verse does show:
 * <start_of_turn> begins as <bos>, <end_of_turn> as 1.1 times <eos>, as one gives new tokens the row of the nearest known one.
 *
 *     nano_marks FOLDER        rewrites FOLDER/model.safetensors (bf16) in place
 */
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/safetensors.h"

#include <stdio.h>
#include <string.h>

enum { EOS = 1, BOS = 2, START_OF_TURN = 4, END_OF_TURN = 5 };

static void copy_row(uint16_t *rows, int64_t d, int to, int from, float factor)
{
    for (int64_t i = 0; i < d; i++)
        rows[to * d + i] = f32_to_bf16(factor * bf16_to_f32(rows[from * d + i]));
}

static bool rewrite(const char *path, struct gm_error *err)
{
    struct safetensors s;
    if (!safetensors_open(&s, path, err))
        return false;
    const struct tensor_info *embed = safetensors_find(&s, "model.embed_tokens.weight");
    if (!embed || embed->type != DT_BF16 || embed->n_dims != 2 || embed->shape[0] <= END_OF_TURN) {
        safetensors_close(&s);
        return error_set(err, GM_E_INPUT, "rewrite %s: it has no bf16 embedding", path);
    }
    uint16_t *rows = mem_alloc(embed->bytes, "embedding", err);
    struct tensor_out *out = mem_new((size_t)s.n_tensors, sizeof *out);
    if (rows) {
        memcpy(rows, embed->data, embed->bytes);
        copy_row(rows, embed->shape[1], START_OF_TURN, BOS, 1);
        copy_row(rows, embed->shape[1], END_OF_TURN, EOS, 1.1f);
    }
    for (int i = 0; i < s.n_tensors; i++) {
        const struct tensor_info *t = &s.tensors[i];
        out[i] = (struct tensor_out){.name = t->name, .type = t->type, .n_dims = t->n_dims, .data = t == embed ? rows : t->data};
        memcpy(out[i].shape, t->shape, sizeof out[i].shape);
    }
    static const char *const meta[] = {"format", "pt"};
    bool ok = rows && safetensors_write(path, out, s.n_tensors, meta, 1, err);
    mem_free(rows);
    mem_free(out);
    safetensors_close(&s);
    return ok;
}

int main(int argc, char **argv)
{
    struct gm_error err = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: nano_marks FOLDER\n");
        return 2;
    }
    char *path = path_join(argv[1], "model.safetensors");
    bool ok = rewrite(path, &err);
    mem_free(path);
    if (!ok)
        fprintf(stderr, "nano_marks: %s\n", err.text);
    return !ok;
}
