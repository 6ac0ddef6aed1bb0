/* Any bytes as a safetensors file: header, and every byte of every tensor. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/format/safetensors.h"

#include <string.h>

const char *const FUZZ_WORDS[] = {"\"dtype\":", "\"shape\":", "\"data_offsets\":", "\"F32\"", "\"BF16\"", "\"U32\"", "\"F64\"", "\"BOOL\"", "[0,0]", "[4294967296,4294967296]",
                                  "__metadata__", "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}", ",", "}", "    ", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gm_error err = {0};
    struct safetensors s;
    void *aligned = mem_alloc(size + 8, "input", &err); /* the reader asks for 8-aligned bytes */
    memcpy(aligned, data, size);
    if (safetensors_open_bytes(&s, aligned, size, "fuzz", &err)) {
        for (int i = 0; i < s.n_tensors; i++) {
            const struct tensor_info *t = &s.tensors[i];
            struct mat m;
            volatile unsigned char sum = 0;
            for (size_t k = 0; k < t->bytes; k++)
                sum ^= ((const unsigned char *)t->data)[k];
            tensor_check_finite(t, &err);
            if (tensor_mat(t, &m, &err) && m.rows > 0 && m.cols > 0 && m.cols < 1 << 16) {
                float *row = mem_new((size_t)m.cols, sizeof *row);
                mat_row_to_f32(&m, m.rows - 1, row);
                mem_free(row);
            }
            safetensors_find(&s, t->name);
        }
        safetensors_meta(&s, "format");
        safetensors_close(&s);
    }
    mem_free(aligned);
    return 0;
}
