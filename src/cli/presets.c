/* presets.c - the tables. */
#include "src/cli/presets.h"

#include <string.h>

struct setting {
    const char *option, *value;
};
enum { PRESET_SETTINGS = 24 };

static const struct preset {
    const char *name;
    struct setting settings[PRESET_SETTINGS]; /* ends with NULL */
} PRESETS[] = {
    /* haiku into Gemma 3, the small and the middle one */
    {"gemmaiku-270m",
     {{"--fine-tune-type", "lora"}, {"--rank", "16"}, {"--alpha", "32"}, {"--keys", "all-linear"}, {"--num-layers", "-1"}, {"--iters", "1500"}}},
    {"gemmaiku-1b",
     {{"--fine-tune-type", "lora"}, {"--rank", "16"}, {"--alpha", "32"}, {"--keys", "all-linear"}, {"--num-layers", "-1"}, {"--iters", "2000"}}},
    /* TinyLlama on fifty quotations, with mlx-lm */
    {"quotes",
     {{"--rank", "8"},           {"--scale", "20"},          {"--keys", "q_proj,v_proj"},      {"--num-layers", "16"},
      {"--optimizer", "adam"},   {"--adam-bias-correction", "off"}, {"--learning-rate", "1e-4"}, {"--lr-schedule", "constant"},
      {"--warmup", "0"},         {"--max-grad-norm", "0"},   {"--batch-size", "1"},            {"--iters", "50"},
      {"--max-seq-length", "512"}, {"--mask-prompt", "off"}, {"--seed", "42"},                 {"--steps-per-report", "5"},
      {"--steps-per-eval", "20"}}},
    /* the defaults of mlx_lm.lora (0.32) */
    {"mlx-lm",
     {{"--rank", "8"},           {"--scale", "20"},          {"--keys", "all-linear"},         {"--num-layers", "16"},
      {"--dropout", "0"},        {"--optimizer", "adam"},    {"--adam-bias-correction", "off"}, {"--learning-rate", "1e-5"},
      {"--lr-schedule", "constant"}, {"--warmup", "0"},      {"--max-grad-norm", "0"},         {"--batch-size", "4"},
      {"--iters", "1000"},       {"--max-seq-length", "2048"}, {"--mask-prompt", "off"},       {"--seed", "0"},
      {"--steps-per-report", "10"}, {"--steps-per-eval", "200"}, {"--val-batches", "25"},      {"--save-every", "100"},
      {"--sample-every", "0"}}},
};

bool preset_apply(const char *name, const struct arg_spec *spec, struct general *g, struct gm_error *err)
{
    for (size_t i = 0; i < sizeof PRESETS / sizeof *PRESETS; i++) {
        if (strcmp(PRESETS[i].name, name) != 0)
            continue;
        for (const struct setting *s = PRESETS[i].settings; s->option; s++) {
            enum args_outcome outcome = args_set(spec, g, s->option, s->value, err);
            if (outcome == ARGS_UNKNOWN)
                error_set(err, GM_E_USAGE, "use preset %s: gemmaiku %s has no option %s", name, spec->command, s->option);
            if (outcome != ARGS_SET)
                return false;
        }
        return true;
    }
    return error_set(err, GM_E_USAGE, "use preset %s: there is none of this name (%s)", name, PRESET_NAMES);
}
