/* storage.c - which type each matrix of a GGUF file gets, as llama.cpp's own quantiser decides (src/llama-quant.cpp).
 *
 * Q4_K_M is a mix: attention's values and the way down of the MLP are Q6_K in the first and last eighth of the layers and in every third one between,
 * the head is Q6_K (the embedding, where that is the head), the rest Q4_K. Q4_0 has the head in Q6_K, too. K types have blocks of 256: rows of another
 * width fall back to the type of like size with blocks of 32, and to F16 where even those do not fit.
 */
#include "engine/export/plan.h"

#include <stdio.h>
#include <string.h>

static bool more_bits(int layer, int n)
{
    return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

static enum dtype wanted_q4_k_m(const char *name, int n_layers)
{
    int layer;
    char part[32];
    if (sscanf(name, "blk.%d.%31[a-z_]", &layer, part) != 2)
        return DT_Q4_K;
    if (strcmp(part, "attn_qkv") == 0)
        return DT_Q5_K;
    bool matters = strcmp(part, "attn_v") == 0 || strcmp(part, "ffn_down") == 0;
    return matters && more_bits(layer, n_layers) ? DT_Q6_K : DT_Q4_K;
}

enum dtype storage_wanted(enum export_type type, const char *name, int n_layers, bool tied_head)
{
    bool head = strcmp(name, tied_head ? "token_embd.weight" : "output.weight") == 0;
    switch (type) {
    case EXPORT_F32:
        return DT_F32;
    case EXPORT_F16:
        return DT_F16;
    case EXPORT_Q8_0:
        return DT_Q8_0;
    case EXPORT_Q4_0:
        return head ? DT_Q6_K : DT_Q4_0;
    case EXPORT_Q4_K_M:
        return head ? DT_Q6_K : wanted_q4_k_m(name, n_layers);
    default:
        return DT_BF16;
    }
}

enum dtype storage_that_fits(enum dtype wanted, int64_t cols)
{
    if (cols % dtype_block(wanted) == 0)
        return wanted;
    if (cols % 32 != 0)
        return DT_F16;
    return wanted == DT_Q4_K ? DT_Q5_0 : wanted == DT_Q5_K ? DT_Q5_1 : DT_Q8_0;
}
