/* args_names.c - tables of names. */
#include "src/cli/args_names.h"

#include <string.h>

bool args_name(const char *word, size_t n, char out[ARG_NAME_MAX])
{
    size_t at = 0;
    if (n > 0 && word[0] != '-') { /* a key of a file */
        out[at++] = '-';
        out[at++] = '-';
    }
    if (n == 0 || at + n >= ARG_NAME_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        out[at++] = word[i] == '_' ? '-' : word[i];
    out[at] = 0;
    return true;
}

static const struct {
    const char *name, *ours;
} ALIASES[] = {
    {"-c", "--config"},
    {"-p", "--prompt"},
    {"-m", "--max-tokens"},
    {"--adapter-path", "--adapter"},
    {"--system-prompt", "--system"},
    {"--ignore-chat-template", "--raw"},
    {"--temperature", "--temp"},
    {"--eos-token", "--stop"},
    {"--extra-eos-token", "--stop"},
    {"--repetition-penalty", "--repeat-penalty"},
    {"--lora-layers", "--num-layers"},
    {"--gradient-accumulation-steps", "--grad-accumulation-steps"},
    {"--train-type", "--fine-tune-type"},
    {"--de-quantize", "--dequantize"},
    {"--lora-parameters.rank", "--rank"},
    {"--lora-parameters.alpha", "--alpha"},
    {"--lora-parameters.scale", "--scale"},
    {"--lora-parameters.dropout", "--dropout"},
    {"--lora-parameters.keys", "--keys"},
    {"--lr-schedule.name", "--lr-schedule"},
    {"--lr-schedule.arguments", "--lr-arguments"},
    {"--lr-schedule.warmup", "--warmup"},
    {"--lr-schedule.warmup-init", "--warmup-init"},
};

const char *args_alias(const char *name)
{
    for (size_t i = 0; i < sizeof ALIASES / sizeof *ALIASES; i++)
        if (strcmp(name, ALIASES[i].name) == 0)
            return ALIASES[i].ours;
    return NULL;
}

static const char HUB[] = "nothing is uploaded or downloaded here: use `hf upload REPO FOLDER` on the folder when it is written";
static const char LOGS[] = "every event is in journal.jsonl of the run: read that, or watch with `gemmaiku RUN`";
static const char CACHE[] = "leave it out: the key/value cache holds the whole conversation in f32";
static const char COLUMNS[] = "rename the fields of the rows to messages, prompt and completion, or text";

static const struct foreign FOREIGN[] = {
    {"--trust-remote-code", false, NULL, NULL}, /* no code of a model is ever run */
    {"--clear-cache-threshold", true, NULL, NULL},
    {"--prefill-step-size", true, NULL, NULL},
    {"--verbose", true, NULL, NULL},
    {"--use-default-chat-template", false, NULL, NULL},
    {"--min-tokens-to-keep", true, NULL, NULL},
    {"--xtc-threshold", true, NULL, NULL},
    {"--kv-group-size", true, NULL, NULL},
    {"--quantized-kv-start", true, NULL, NULL},
    {"--num-draft-tokens", true, NULL, NULL},
    {"--cache-limit-gb", true, NULL, NULL},
    {"--colorize", false, NULL, NULL},
    {"--repetition-context-size", true, "leave it out: --repeat-penalty looks at the last 64 tokens", "64"},
    {"--training-mode", true, "only next-token training is here: leave it out", "normal"},
    {"--train-mode", true, "only next-token training is here: leave it out", "sft"},
    {"--upload-repo", true, HUB, NULL},
    {"--upload-name", true, HUB, NULL},
    {"--hf-path", true, "leave it out: it only names the origin of an upload; --model is the base", NULL},
    {"--hf-repo", true, HUB, NULL},
    {"--hf-dataset", true, "save it as a folder with train.jsonl and valid.jsonl, and name that as --data", NULL},
    {"--wandb", true, LOGS, NULL},
    {"--report-to", true, LOGS, "none"},
    {"--project-name", true, LOGS, NULL},
    {"--prompt-feature", true, COLUMNS, "prompt"},
    {"--completion-feature", true, COLUMNS, "completion"},
    {"--text-feature", true, COLUMNS, "text"},
    {"--chat-feature", true, COLUMNS, "messages"},
    {"--adapter-file", true, "name the folder: --adapter-path FOLDER", NULL},
    {"--use-dora", false, "write --fine-tune-type dora", NULL},
    {"--prefill-response", true, "write the whole text, answer begun, with --raw --prompt", NULL},
    {"--xtc-probability", true, "leave it out: --min-p cuts unlikely tokens", "0"},
    {"--max-kv-size", true, CACHE, NULL},
    {"--prompt-cache-file", true, CACHE, NULL},
    {"--kv-bits", true, CACHE, NULL},
    {"--quantize-activations", false, "leave it out: --compute bf16 is the fast arithmetic here", NULL},
    {"-qa", false, "leave it out: --compute bf16 is the fast arithmetic here", NULL},
    {"--draft-model", true, "leave it out: one model answers here", NULL},
    {"--image", true, "leave it out: text models only", NULL},
    {"--pipeline", false, "leave it out: one machine computes here", NULL},
    {"--load-in-4bits", false, "name a base that is stored in 4 bits as --model", NULL},
    {"--load-in-8bits", false, "name a base that is stored in 8 bits as --model", NULL},
};

const struct foreign *args_foreign(const char *name)
{
    for (size_t i = 0; i < sizeof FOREIGN / sizeof *FOREIGN; i++)
        if (strcmp(name, FOREIGN[i].name) == 0)
            return &FOREIGN[i];
    return NULL;
}

const char *args_foreign_command(const char *name)
{
    static const struct {
        const char *name, *remedy;
    } commands[] = {
        {"convert", "gemmaiku export --model MODEL --to safetensors --type TYPE --out FOLDER writes a model in another storage type"},
        {"perplexity", "gemmaiku eval --model MODEL --data DATA --split test tells loss and perplexity"},
        {"evaluate", "gemmaiku eval --model MODEL --data DATA --split test tells loss, perplexity, BLEU, chrF and form rate"},
        {"benchmark", "gemmaiku bench measures this machine"},
        {"server", "export the model for a program that serves: gemmaiku export RUN --to ollama --out FOLDER"},
        {"cache_prompt", "leave it out: a prompt is read anew"},
        {"manage", "the cache is that of Hugging Face: hf cache scan"},
        {"upload", "nothing is uploaded here: hf upload REPO FOLDER"},
        {"share", "nothing is sent here: copy the folder"},
        {"awq", "gemmaiku export --to safetensors --type mlx4 stores in 4 bits"},
        {"dwq", "gemmaiku export --to safetensors --type mlx4 stores in 4 bits"},
        {"gptq", "gemmaiku export --to safetensors --type mlx4 stores in 4 bits"},
        {"dynamic_quant", "gemmaiku export --to safetensors --type mlx4 stores in 4 bits"},
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].remedy;
    return NULL;
}
