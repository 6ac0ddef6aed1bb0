/* adapter_config.json, "%%%%", the tensors; as an MLX folder, a PEFT folder, and, where the input has one part, as a GGUF LoRA. The model is
 * the built-in one. */
#include "tests/fuzz/fuzz.h"

#include "engine/model/lora.h"

#include <unistd.h>

const char *const FUZZ_WORDS[] = {"%%%%\n", "\"lora_alpha\":", "\"r\":", "\"target_modules\":", "\"all-linear\"", "\"use_rslora\":true", "\"use_dora\":true", "\"lora_parameters\":", "\"scale\":", "\"rank\":",
                                  "\"num_layers\":", "\"keys\":", "\"fine_tune_type\":", "lora_a", "lora_b", "lora_magnitude_vector", "model.layers.0.self_attn.q_proj", "\"F32\"", "\"BF16\"", NULL};

static struct model *nano;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct gm_error err = {0};
    nano = model_open("nano", &err);
    return nano == NULL;
}

static void load(const char *path)
{
    struct gm_error err = {0};
    lora_free(lora_load(path, &nano->config, &err));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_part part[2];
    if (fuzz_parts(data, size, part, 2) < 2) {
        load(fuzz_file("adapter.gguf", data, size));
        return 0;
    }
    fuzz_file("adapter_config.json", part[0].data, part[0].size);
    const char *mlx = fuzz_file("adapters.safetensors", part[1].data, part[1].size);
    load(fuzz_folder());
    unlink(mlx);
    const char *peft = fuzz_file("adapter_model.safetensors", part[1].data, part[1].size);
    load(fuzz_folder());
    unlink(peft);
    return 0;
}
