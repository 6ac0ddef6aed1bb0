/* Any bytes as a GGUF: metadata and tensors, then its vocabulary, then the whole model with one token put through it. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/base/pool.h"
#include "engine/model/decode.h"

#include <string.h>

const char *const FUZZ_WORDS[] = {"GGUF", "general.architecture", "general.alignment", "llama", "gemma3", "gemma2", "qwen2", "phi3", "tokenizer.ggml.tokens", "tokenizer.ggml.model",
                                  "gpt2", "tokenizer.ggml.merges", "tokenizer.ggml.token_type", "token_embd.weight", "output.weight", "blk.0.attn_q.weight", "rope_freqs.weight",
                                  "llama.attention.head_count_kv", "llama.rope.dimension_count", "\1\0\0\0\0\0\0\0", NULL};

void fuzz_run_model(const char *path); /* fuzz_model_run.c */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gm_error err = {0};
    struct gguf g;
    void *aligned = mem_alloc(size + 8, "input", &err);
    memcpy(aligned, data, size);
    bool opened = gguf_open_bytes(&g, aligned, size, "fuzz", &err);
    if (opened) {
        for (int i = 0; i < g.n_tensors; i++) {
            struct mat m;
            tensor_check_finite(&g.tensors[i], &err);
            if (tensor_mat(&g.tensors[i], &m, &err) && m.rows > 0 && m.cols > 0 && m.cols < 1 << 16) {
                float *row = mem_new((size_t)m.cols, sizeof *row);
                mat_row_to_f32(&m, m.rows - 1, row);
                mem_free(row);
            }
        }
        gguf_close(&g);
    }
    mem_free(aligned);
    if (opened)
        fuzz_run_model(fuzz_file("model.gguf", data, size));
    return 0;
}
