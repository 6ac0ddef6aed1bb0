/* What a run leaves: run.json, "%%%%", journal.jsonl, and of its checkpoint state.json, "%%%%", adapter_config.json, "%%%%", adapters.safetensors, "%%%%",
 * optimizer.safetensors. Read as a list of runs does, and as a resume does; the hashes in state.json are made to fit, so that what they guard is read. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/train/checkpoint_state.h"
#include "engine/train/run_files.h"

#include <assert.h>

const char *const FUZZ_WORDS[] = {
    "%%%%\n", "\"options\":", "\"model\":\"nano\"", "\"iters\":", "\"temps\":[", "\"fine_tune_type\":\"dora\"", "\"kernel\":", "\"model_sha256\":", "\"created\":", "\"event\":\"start\"", "\"event\":\"step\"",
    "\"event\":\"eval\"", "\"event\":\"end\",\"reason\":\"finished\"", "\"event\":\"checkpoint\",\"best\":\"both\"", "\"step\":3", "\"loss\":NaN", "\"files\":", "\"sha256\":", "\"bytes\":", "\"rows_seen\":",
    "\"optimizer_updates\":", "\"val_loss\":null", "lora_a.m", "lora_b.v", "\"F32\"", "\"shape\":[1,96]", "null", "\n", NULL};

enum { STEP = 3 };
static struct model *nano;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct gm_error err = {0};
    char *dir = checkpoint_path(fuzz_folder(), STEP);
    bool ok = dir_make(dir, &err);
    mem_free(dir);
    return !ok || !(nano = model_open("nano", &err));
}

static bool count_event(void *arg, json_t *event)
{
    ++*(int *)arg;
    return json_is_object(event);
}

static void load(const struct train_options *o)
{
    struct gm_error err = {0};
    struct lora *lora = lora_new(&nano->config, &o->lora, o->init_seed, &err);
    struct optimizer *opt = lora ? optimizer_new(o, lora->set.count, &err) : NULL;
    struct checkpoint_parts parts = {.lora = lora, .model = nano, .optimizer = opt, .model_name = "nano", .source = nano->source};
    struct checkpoint_state state;
    if (opt && !checkpoint_load(fuzz_folder(), STEP, &parts, &state, &err))
        assert(err.text[0]);
    optimizer_free(opt);
    lora_free(lora);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const NAMES[] = {"run.json", "journal.jsonl", "checkpoints/0000003/state.json", "checkpoints/0000003/adapter_config.json", "checkpoints/0000003/adapters.safetensors",
                                        "checkpoints/0000003/optimizer.safetensors"};
    struct fuzz_part part[6];
    struct gm_error err = {0};
    struct run_info r;
    struct train_options o;
    struct run_origin origin;
    struct checkpoint_state state;
    char *created, *dir = checkpoint_path(fuzz_folder(), STEP);
    int lines = 0;
    fuzz_parts(data, size, part, 6);
    for (int i = 0; i < 6; i++)
        fuzz_file(NAMES[i], part[i].data, part[i].size);
    if (run_info_open(&r, fuzz_folder(), &err))
        run_info_free(&r);
    journal_read(fuzz_file("journal.jsonl", part[1].data, part[1].size), count_event, &lines, &err);
    checkpoint_state_verify(dir, &err);
    bool whole = checkpoint_read_state(dir, &state, NULL, &err) && checkpoint_state_write(dir, &state, &err);
    if (run_read_json(fuzz_folder(), &o, &origin, &created, &err)) {
        if (whole && train_options_check(&o, &err) && o.lora.rank <= 64)
            load(&o);
        train_options_free(&o);
        mem_free(created);
    }
    mem_free(dir);
    return 0;
}
