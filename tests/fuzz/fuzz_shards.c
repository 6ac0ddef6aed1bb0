/* model.safetensors.index.json, "%%%%", the first shard, "%%%%", the second: what is opened agrees with its index both ways. */
#include "tests/fuzz/fuzz.h"

#include "engine/format/model_source.h"

const char *const FUZZ_WORDS[] = {"%%%%\n", "\"weight_map\":", "\"metadata\":{\"total_size\":1}", "\"model-00001-of-00002.safetensors\"", "\"model-00002-of-00002.safetensors\"", "\"../model.safetensors\"", "\"config.json\"",
                                  "\"a\":\"model-00001-of-00002.safetensors\",", "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]", "null", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_part part[3];
    struct gm_error err = {0};
    struct model_source s;
    if (fuzz_parts(data, size, part, 3) < 2)
        return 0;
    fuzz_file("config.json", "{}", 2);
    fuzz_file("model.safetensors.index.json", part[0].data, part[0].size);
    fuzz_file("model-00001-of-00002.safetensors", part[1].data, part[1].size);
    fuzz_file("model-00002-of-00002.safetensors", part[2].data, part[2].size);
    if (model_source_open(&s, fuzz_folder(), &err)) {
        char hex[65];
        for (int i = 0; i < s.n_tensors; i++)
            model_source_find(&s, model_source_tensor(&s, i)->name);
        model_source_fingerprint(&s, hex);
        model_source_hash(&s, hex, &err);
        model_source_close(&s);
    }
    return 0;
}
