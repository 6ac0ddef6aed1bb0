/* The first line is a name; the rest is what lies in the file that is called so. Everything that `gemmaiku check` finds out about it: what it claims to
 * be, and whether that holds: settings, themes, proofs, indexes, adapter configurations, journals ... */
#include "tests/fuzz/fuzz.h"

#include "src/cli/facts.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <unistd.h>

const char *const FUZZ_WORDS[] = {
    "settings.yaml\n", "settings.json\n", "plain.theme\n", "proof.json\n", "model.safetensors.index.json\n", "adapter_config.json\n", "journal.jsonl\n", "samples.jsonl\n", "config.json\n",
    "rows.json\n", "plain.jinja\n", "Modelfile\n", "x.json\n", "x\n", "tokenizer.json\n", "tokenizer.model\n", "x.safetensors\n", "adapters.safetensors\n", "x.gguf\n", "model: ", "data: ", "iters: ",
    "preset: quotes\n", "lora_parameters: {rank: 8, scale: 2.0, dropout: 0.1, keys: [self_attn.q_proj]}\n", "lr_schedule:\n  name: cosine_decay\n  warmup: 3\n  arguments: [1e-4, 10, 0]\n",
    "optimizer: adam\n", "optimizer_config:\n  adam:\n    betas: [0.9, 0.99]\n", "fine_tune_type: dora\n", "mask_prompt: true\n", "num_layers: -1\n", "inherit sumi\n", "color x #a0b1c2 - red\n",
    "style text x default bold\n", "\"to\": ", "\"mean_kl\": ", "\"weight_map\": {", "\"metadata\": {\"total_size\": ", "\"event\": ", "\"step\": ", "FROM ", "\"peft_type\": \"LORA\"", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = memchr(data, '\n', size);
    char name[40] = {0};
    size_t n = line ? (size_t)(line - data) : size;
    if (!line || n == 0 || n >= sizeof name)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (isalnum(data[i]) || strchr("._-", data[i])) /* no way out of the folder */
            name[i] = (char)data[i];
        else
            return 0;
    if (name[0] == '.' || chdir(fuzz_folder()) != 0)
        return 0;
    const char *path = fuzz_file(name, line + 1, size - n - 1);
    struct gm_error err = {0};
    json_t *facts = facts_of(name, &(struct facts_options){.verify = true, .all_tensors = true}, &err);
    assert(facts || err.text[0]);
    json_decref(facts);
    unlink(path);
    return 0;
}
