/* config_keys.c - the keys of a config.json that nobody here reads: which may be there, and which
 * would change the numbers. */
#include "engine/model/config_private.h"

#include "engine/format/json.h"

#include <string.h>

/* Options of other models and of variants that change the numbers, with the one value that means
 * "not used". */
static const struct neutral {
    const char *key;
    enum { NULL_OR_FALSE, ONE, ZERO, WORD } value;
    const char *word;
} NEUTRAL[] = {{"rope_interleaved", NULL_OR_FALSE, NULL},
               {"use_bidirectional_attention", NULL_OR_FALSE, NULL},
               {"no_rope_layers", NULL_OR_FALSE, NULL},
               {"no_rope_layer_interval", NULL_OR_FALSE, NULL},
               {"use_qk_norm", NULL_OR_FALSE, NULL},
               {"qk_layernorm", NULL_OR_FALSE, NULL},
               {"clip_qkv", NULL_OR_FALSE, NULL},
               {"attention_k_eq_v", NULL_OR_FALSE, NULL},
               {"kv_lora_rank", NULL_OR_FALSE, NULL},
               {"per_layer_config", NULL_OR_FALSE, NULL},
               {"cla_share_factor", NULL_OR_FALSE, NULL},
               {"use_mrope", NULL_OR_FALSE, NULL},
               {"use_parallel_residual", NULL_OR_FALSE, NULL},
               {"lm_head_bias", NULL_OR_FALSE, NULL},
               {"is_encoder_decoder", NULL_OR_FALSE, NULL},
               {"add_cross_attention", NULL_OR_FALSE, NULL},
               {"full_attn_mod", ONE, NULL},
               {"interpolate_factor", ONE, NULL},
               {"embedding_multiplier", ONE, NULL},
               {"residual_multiplier", ONE, NULL},
               {"logits_scaling", ONE, NULL},
               {"logit_scale", ONE, NULL},
               {"num_kv_shared_layers", ZERO, NULL},
               {"num_experts", ZERO, NULL},
               {"num_local_experts", ZERO, NULL},
               {"hidden_size_per_layer_input", ZERO, NULL},
               {"position_embedding_type", WORD, "rope"}};

/* Keys that are read elsewhere, or that say nothing about the numbers of inference and training. */
static const char *const KNOWN[] = {
    /* read */
    "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
    "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings",
    "rms_norm_eps", "hidden_act", "hidden_activation", "rope_theta", "rope_local_base_freq",
    "rope_scaling", "rope_parameters", "partial_rotary_factor", "original_max_position_embeddings",
    "layer_types", "sliding_window_pattern", "sliding_window", "use_sliding_window",
    "max_window_layers", "query_pre_attn_scalar", "attn_logit_softcapping",
    "final_logit_softcapping", "attention_bias", "mlp_bias", "tie_word_embeddings", "bos_token_id",
    "eos_token_id", "text_config", "quantization", "quantization_config",
    /* about the file and its training */
    "architectures", "torch_dtype", "dtype", "transformers_version", "initializer_range",
    "use_cache", "pretraining_tp", "is_llama_config", "cache_implementation", "attn_implementation",
    "model_max_length", "max_sequence_length", "seq_length", "tf_legacy_loss", "torchscript",
    "return_dict", "chunk_size_feed_forward", "output_attentions", "output_hidden_states",
    "use_bfloat16", "is_decoder", "gradient_checkpointing", "use_flash_attn", "use_flash_attention",
    "unsloth_fixed", "sliding_window_size",
    /* settings of generation that old files hold */
    "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
    "num_return_sequences", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty",
    "length_penalty",
    /* remarks: texts and lists that say nothing of the architecture */
    "auto_map", "transformers.js_config", "unsloth_version", "model_name", "tokenizer_class",
    "name_or_path", "finetuning_task", "task_specific_params", "id2label", "label2id",
    "problem_type", "prefix", "pruned_heads", "bad_words_ids", "suppress_tokens",
    /* pictures beside the text */
    "mm_tokens_per_image", "vision_config"};

static bool is_neutral(const json_t *v, const struct neutral *n)
{
    if (!v || json_is_null(v))
        return true;
    switch (n->value) {
    case NULL_OR_FALSE:
        return json_is_false(v);
    case ONE:
        return json_is_number(v) && json_number_value(v) == 1;
    case ZERO:
        return json_is_number(v) && json_number_value(v) == 0;
    default:
        return json_is_string(v) && strcmp(json_string_value(v), n->word) == 0;
    }
}

static bool is_known(const char *key)
{
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (strcmp(key, KNOWN[i]) == 0)
            return true;
    /* private to a library, or of training alone */
    return key[0] == '_' || text_ends(key, "dropout") || text_ends(key, "pdrop") || text_ends(key, "_token_id") ||
           text_ends(key, "_token_index");
}

/* A number or `true` under a name that nobody knows may well be an option of the architecture. Texts
 * and lists are remarks more often than not: who made the file, with which version. */
static bool may_count(const json_t *v)
{
    return json_is_true(v) || (json_is_number(v) && json_number_value(v) != 0);
}

static bool check_optional(const json_t *o, const struct model_family *f, struct gm_error *err)
{
    const struct {
        const char *key;
        bool allowed;
    } options[] = {{"attention_bias", f->may_attention_bias || f->defaults.qkv_bias},
                   {"mlp_bias", f->may_mlp_bias},
                   {"use_sliding_window", f->slides == SLIDES_ON_TOP},
                   {"attn_logit_softcapping", f->may_cap},
                   {"final_logit_softcapping", f->may_cap},
                   {"query_pre_attn_scalar", f->may_cap}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const json_t *v = json_object_get(o, options[i].key);
        if (!options[i].allowed && v && !json_is_null(v) && !json_is_false(v))
            return json_unsupported(v, options[i].key, "absent, null or false in this family", err);
    }
    return true;
}

static const struct neutral *find_neutral(const char *key)
{
    for (size_t i = 0; i < sizeof NEUTRAL / sizeof *NEUTRAL; i++)
        if (strcmp(key, NEUTRAL[i].key) == 0)
            return &NEUTRAL[i];
    return NULL;
}

/* Texts, lists and objects under names that nobody knows: passed over, but said. */
void config_list_unknown(const json_t *o, struct str *names)
{
    enum { NAMES_BYTES = 600 }; /* the first ones, where there are many */
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        bool says_something = json_is_string(v) || json_object_size(v) > 0 || json_array_size(v) > 0;
        if (names->len < NAMES_BYTES && says_something && !find_neutral(key) && !is_known(key))
            str_printf(names, "%s\"%.60s\"", names->len ? ", " : "", key);
    }
}

bool config_check_keys(const json_t *o, const struct model_family *f, struct gm_error *err)
{
    static const char *const neutral[] = {"absent, null or false", "1", "0"};
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        const struct neutral *n = find_neutral(key);
        if (n && !is_neutral(v, n))
            return json_unsupported(v, key, n->word ? n->word : neutral[n->value], err);
        if (!n && !is_known(key) && may_count(v))
            return json_unsupported(
                v, key, "no option of this name; take it out if it changes no numbers", err);
    }
    return check_optional(o, f, err) && config_check_quantisation(o, err);
}

bool config_check_quantisation(const json_t *o, struct gm_error *err)
{
    static const char *const keys[] = {"quantization", "quantization_config"};
    for (int i = 0; i < 2; i++) {
        const json_t *q = json_object_get(o, keys[i]);
        if (!q || json_is_null(q) || json_is_false(q))
            continue;
        const char *method = json_string_value(json_object_get(q, "quant_method"));
        if (method || !json_is_object(q))
            return json_unsupported(method ? json_object_get(q, "quant_method") : q,
                                    method ? "quant_method" : keys[i],
                                    "MLX: group_size and bits; or take a model that is not quantised",
                                    err);
    }
    return true;
}
