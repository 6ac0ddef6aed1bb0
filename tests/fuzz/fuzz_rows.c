/* A data file: JSON Lines or an array, a .csv, a .tsv; encoded by the built-in model's tokenizer and template, split, and put through the gate. */
#include "tests/fuzz/fuzz.h"

#include "engine/text/chat_template.h"
#include "engine/train/dataset.h"
#include "engine/format/model_source.h"

const char *const FUZZ_WORDS[] = {"{\"messages\":[{\"role\":\"user\",\"content\":\"", "\"}]}\n", "\"prompt\":", "\"completion\":", "\"text\":", "\"input_ids\":[", "\"labels\":[-100,", "\"conversations\":",
                                  "\"from\":\"human\"", "prompt,completion\n", "\"\"", "\t", "\r\n", "instruction;input;output\n", "\xC3\xA2\xE2\x82\xAC\xE2\x84\xA2", "<|im_end|>", NULL};

static struct model_source source;
static struct tokenizer *tokenizer;
static struct chat_template *tpl;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct gm_error err = {0};
    if (model_source_open_tokenizer(&source, "nano", &err) && (tokenizer = tokenizer_open(&source, &err)))
        tpl = chat_template_open(&source, tokenizer, NULL, &err);
    return tpl == NULL;
}

static void open_as(const char *name, const uint8_t *data, size_t size)
{
    struct gm_error err = {0};
    struct dataset_options o = {.max_seq_length = 64, .mask_prompt = true, .seed = 1};
    dataset_free(dataset_open(fuzz_file(name, data, size), &o, tokenizer, tpl, &err));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    open_as("rows.jsonl", data, size);
    open_as("rows.csv", data, size);
    open_as("rows.tsv", data, size);
    return 0;
}
