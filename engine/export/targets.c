/* targets.c - what can be exported, and as what: the tables behind --to and --type. */
#include "engine/export/export.h"

#include "engine/base/mem.h"

#include <string.h>

#define ONE(t) (1u << (t))
enum {
    FLOATS = ONE(EXPORT_F32) | ONE(EXPORT_F16) | ONE(EXPORT_BF16),
    BLOCKS = ONE(EXPORT_Q8_0) | ONE(EXPORT_Q4_0) | ONE(EXPORT_Q4_K_M),
    MLX = ONE(EXPORT_MLX4) | ONE(EXPORT_MLX8)
};

static const struct export_target TARGETS[EXPORT_TO_COUNT] = {
    [EXPORT_MLX] = {"mlx", "adapter for mlx-lm", false, NULL, false, 0},
    [EXPORT_PEFT] = {"peft", "adapter for PEFT, transformers", false, NULL, false, 0},
    [EXPORT_GGUF_LORA] = {"gguf-lora", "adapter for llama.cpp, a file", false, ".gguf", true, 0},
    [EXPORT_SAFETENSORS] = {"safetensors", "model, Hugging Face or MLX folder", true, NULL, false, FLOATS | MLX},
    [EXPORT_GGUF] = {"gguf", "model for llama.cpp, one file", true, ".gguf", true, FLOATS | BLOCKS},
    [EXPORT_OLLAMA] = {"ollama", "model and Modelfile, a folder", true, NULL, true, FLOATS | BLOCKS},
};

static const struct export_storage STORAGES[EXPORT_TYPE_COUNT] = {
    [EXPORT_AS_BASE] = {"", "as the base stores its weights; bf16 if it is quantised"},
    [EXPORT_F32] = {"f32", "4 bytes a weight: exact"},
    [EXPORT_F16] = {"f16", "2 bytes a weight, 11 bits of it"},
    [EXPORT_BF16] = {"bf16", "2 bytes a weight, 8 bits of it and f32's range"},
    [EXPORT_Q8_0] = {"q8_0", "8.5 bits a weight, near the original"},
    [EXPORT_Q4_0] = {"q4_0", "4.5 bits a weight, the plain form"},
    [EXPORT_Q4_K_M] = {"q4_k_m", "about 4.9 bits a weight, the parts that matter most in 6"},
    [EXPORT_MLX4] = {"mlx4", "MLX, 4 bits in groups of 64"},
    [EXPORT_MLX8] = {"mlx8", "MLX, 8 bits in groups of 64"},
};

const struct export_target *export_target(enum export_to to) { return &TARGETS[to]; }
const struct export_storage *export_storage(enum export_type type) { return &STORAGES[type]; }

char *export_default_name(enum export_to to, enum export_type type)
{
    switch (to) {
    case EXPORT_GGUF_LORA:
        return mem_copy("adapter.gguf");
    case EXPORT_GGUF:
        return type == EXPORT_AS_BASE ? mem_copy("model.gguf") : mem_printf("model-%s.gguf", STORAGES[type].name);
    default:
        return mem_copy(TARGETS[to].name);
    }
}

bool export_to_parse(const char *name, enum export_to *to)
{
    for (int i = 0; i < EXPORT_TO_COUNT; i++)
        if (strcmp(name, TARGETS[i].name) == 0) {
            *to = (enum export_to)i;
            return true;
        }
    return false;
}

bool export_type_parse(const char *name, enum export_type *type)
{
    for (int i = EXPORT_AS_BASE + 1; i < EXPORT_TYPE_COUNT; i++)
        if (strcmp(name, STORAGES[i].name) == 0) {
            *type = (enum export_type)i;
            return true;
        }
    return false;
}

enum export_type export_type_for(const struct model *m, enum export_type type)
{
    if (type != EXPORT_AS_BASE)
        return type;
    enum dtype base = m->layers[0].w[PROJ_Q].type;
    return base == DT_F32 ? EXPORT_F32 : base == DT_F16 ? EXPORT_F16 : EXPORT_BF16;
}
