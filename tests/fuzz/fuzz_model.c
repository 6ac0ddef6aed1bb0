/* A Hugging Face folder: config.json, "%%%%", model.safetensors, "%%%%", tokenizer.json. */
#include "tests/fuzz/fuzz.h"

const char *const FUZZ_WORDS[] = {"%%%%\n", "\"model_type\":", "\"llama\"", "\"gemma2\"", "\"gemma3_text\"", "\"qwen3\"", "\"phi3\"", "\"quantization\":", "\"group_size\":", "\"bits\":",
                                  "\"rope_scaling\":", "\"head_dim\":", "\"num_key_value_heads\":", "\"tie_word_embeddings\":", "\"layer_types\":", "\"sliding_window\":", "null", "true",
                                  "model.embed_tokens.weight", ".scales", ".biases", NULL};

void fuzz_run_model(const char *path);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_part part[3];
    if (fuzz_parts(data, size, part, 3) < 2)
        return 0;
    fuzz_file("config.json", part[0].data, part[0].size);
    fuzz_file("model.safetensors", part[1].data, part[1].size);
    fuzz_file("tokenizer.json", part[2].data, part[2].size);
    fuzz_run_model(fuzz_folder());
    return 0;
}
