/* gguf_types.c - the numbers of GGUF: value types, and the tensor types that were ever published.
 */
#include "engine/format/gguf_write.h"

const char *gguf_type_name(enum gguf_type t)
{
    static const char *const names[GGUF_TYPE_COUNT] = {
        [GGUF_U8] = "u8",         [GGUF_I8] = "i8",       [GGUF_U16] = "u16", [GGUF_I16] = "i16",
        [GGUF_U32] = "u32",       [GGUF_I32] = "i32",     [GGUF_F32] = "f32", [GGUF_BOOL] = "bool",
        [GGUF_STRING] = "string", [GGUF_ARRAY] = "array", [GGUF_U64] = "u64", [GGUF_I64] = "i64",
        [GGUF_F64] = "f64",
    };
    return (unsigned)t < GGUF_TYPE_COUNT ? names[t] : "unknown";
}

struct type_row {
    const char *name;
    int type; /* enum dtype, or -1: known by name, not read */
};

/* By number, as in ggml.h. Numbers of layouts that were withdrawn keep their names: such files
 * exist. */
static const struct type_row types[] = {
    [0] = {"F32", DT_F32},      [1] = {"F16", DT_F16},     [2] = {"Q4_0", DT_Q4_0},
    [3] = {"Q4_1", DT_Q4_1},    [4] = {"Q4_2", -1},        [5] = {"Q4_3", -1},
    [6] = {"Q5_0", DT_Q5_0},    [7] = {"Q5_1", DT_Q5_1},   [8] = {"Q8_0", DT_Q8_0},
    [9] = {"Q8_1", -1},         [10] = {"Q2_K", DT_Q2_K},  [11] = {"Q3_K", DT_Q3_K},
    [12] = {"Q4_K", DT_Q4_K},   [13] = {"Q5_K", DT_Q5_K},  [14] = {"Q6_K", DT_Q6_K},
    [15] = {"Q8_K", -1},        [16] = {"IQ2_XXS", -1},    [17] = {"IQ2_XS", -1},
    [18] = {"IQ3_XXS", -1},     [19] = {"IQ1_S", -1},      [20] = {"IQ4_NL", DT_IQ4_NL},
    [21] = {"IQ3_S", -1},       [22] = {"IQ2_S", -1},      [23] = {"IQ4_XS", DT_IQ4_XS},
    [24] = {"I8", DT_I8},       [25] = {"I16", DT_I16},    [26] = {"I32", DT_I32},
    [27] = {"I64", DT_I64},     [28] = {"F64", DT_F64},    [29] = {"IQ1_M", -1},
    [30] = {"BF16", DT_BF16},   [31] = {"Q4_0_4_4", -1},   [32] = {"Q4_0_4_8", -1},
    [33] = {"Q4_0_8_8", -1},    [34] = {"TQ1_0", -1},      [35] = {"TQ2_0", -1},
    [36] = {"IQ4_NL_4_4", -1},  [37] = {"IQ4_NL_4_8", -1}, [38] = {"IQ4_NL_8_8", -1},
    [39] = {"MXFP4", DT_MXFP4}, [40] = {"NVFP4", -1},
};

const char *gguf_tensor_type_name(uint32_t id)
{
    return id < sizeof types / sizeof *types ? types[id].name : NULL;
}

bool gguf_tensor_type(uint32_t id, enum dtype *type)
{
    if (!gguf_tensor_type_name(id) || types[id].type < 0)
        return false;
    *type = (enum dtype)types[id].type;
    return true;
}

bool gguf_type_id(enum dtype type, uint32_t *id)
{
    for (uint32_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].name && types[i].type == (int)type) {
            *id = i;
            return true;
        }
    return false;
}
