/* Any bytes as config.json alone. What is accepted can be said again, and is then understood as the same. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/format/gguf_write.h"
#include "engine/model/config.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

const char *const FUZZ_WORDS[] = {
    "\"model_type\":", "\"llama\"", "\"gemma2\"", "\"gemma3_text\"", "\"gemma3\"", "\"qwen2\"", "\"qwen3\"", "\"phi3\"", "\"text_config\":{", "\"quantization\":{\"group_size\":64,\"bits\":4}", "\"rope_scaling\":",
    "\"rope_parameters\":", "{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}", "{\"type\":\"linear\",\"factor\":2.0}",
    "{\"type\":\"longrope\",\"short_factor\":[1.0,1.0],\"long_factor\":[2.0,2.0]}", "\"type\":\"yarn\"", "\"rope_theta\":", "\"rope_local_base_freq\":", "\"partial_rotary_factor\":0.5", "\"head_dim\":",
    "\"num_key_value_heads\":", "\"num_attention_heads\":", "\"num_hidden_layers\":", "\"hidden_size\":", "\"intermediate_size\":", "\"vocab_size\":", "\"tie_word_embeddings\":", "\"layer_types\":[\"sliding_attention\",\"full_attention\"]",
    "\"sliding_window\":", "\"sliding_window_pattern\":", "\"max_position_embeddings\":", "\"original_max_position_embeddings\":", "\"query_pre_attn_scalar\":", "\"final_logit_softcapping\":", "\"attn_logit_softcapping\":",
    "\"hidden_activation\":\"gelu_pytorch_tanh\"", "\"hidden_act\":\"silu\"", "\"attention_bias\":true", "\"mlp_bias\":true", "\"use_sliding_window\":true", "\"max_window_layers\":", "\"eos_token_id\":[1,106]",
    "\"bos_token_id\":", "\"rms_norm_eps\":1e-6", "null", "true", "false", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gm_error err = {0};
    struct model_config *c = mem_new(2, sizeof *c); /* too large for a stack under AddressSanitizer */
    if (model_config_parse(&c[0], (const char *)data, size, "fuzz", &err)) {
        model_config_parameters(&c[0]);
        for (int i = 0; c[0].rope.kind == ROPE_LONG && i < c[0].rotary_dim / 2; i++)
            assert(c[0].rope.short_factors[i] > 0 && c[0].rope.long_factors[i] > 0); /* divisors */
        json_t *json = model_config_to_json(&c[0]);
        char *text = json_pretty(json);
        if (!model_config_parse(&c[1], text, strlen(text), "fuzz", &err)) {
            fprintf(stderr, "%s\n%s\n", err.text, text);
            assert(!"what was said is understood");
        }
        assert(c[0].n_layers == c[1].n_layers && c[0].d_model == c[1].d_model && c[0].head_dim == c[1].head_dim && c[0].rotary_dim == c[1].rotary_dim);
        assert(memcmp(c[0].sliding, c[1].sliding, sizeof c[0].sliding) == 0 && c[0].rope.kind == c[1].rope.kind && c[0].attn_scale == c[1].attn_scale);
        mem_free(text);
        json_decref(json);
        struct gguf_out *g = gguf_out_new();
        model_config_to_gguf(&c[0], g, &err);
        gguf_out_free(g);
    } else {
        assert(err.text[0]);
    }
    mem_free(c);
    return 0;
}
