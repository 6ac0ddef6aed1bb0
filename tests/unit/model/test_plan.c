/* Memory of a LoRA step, planned: what training takes beside the stored weights stays below the bar for the shapes that people train
 * (rank 16 on all seven projections, 512 tokens, checkpoints). */
#include "engine/model/pass.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GEMMA(vocab, d, ff, layers, heads, kv)                                                                         \
    "{\"model_type\":\"gemma3_text\",\"vocab_size\":" #vocab ",\"hidden_size\":" #d ",\"intermediate_size\":" #ff      \
    ",\"num_hidden_layers\":" #layers ",\"num_attention_heads\":" #heads ",\"num_key_value_heads\":" #kv               \
    ",\"head_dim\":256,\"query_pre_attn_scalar\":256,\"sliding_window\":512,\"sliding_window_pattern\":6}"

static const struct {
    const char *name, *config;
    double bar; /* bytes */
} SHAPES[] = {
    {"Gemma 3 270M", GEMMA(262144, 640, 2048, 18, 4, 1), 0.45e9},
    {"Gemma 3 1B", GEMMA(262144, 1152, 6912, 26, 4, 1), 0.45e9},
    {"Gemma 3 4B", GEMMA(262208, 2560, 10240, 34, 8, 4), 0.75e9},
    {"TinyLlama", "{\"model_type\":\"llama\",\"vocab_size\":32000,\"hidden_size\":2048,\"intermediate_size\":5632,"
                  "\"num_hidden_layers\":22,\"num_attention_heads\":32,\"num_key_value_heads\":4,\"tie_word_embeddings\":false}", 0.45e9},
};
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES, RANK = 16, T = 512 };

/* The program itself, and what products convert and pack (as wide as two sides of the gated unit, in bf16). */
static double outside_of_the_plan(const struct model_config *c)
{
    return 20e6 + 2.0 * T * c->d_ff * 2;
}

static void test_bars(void **state)
{
    for (int i = 0; i < N_SHAPES; i++) {
        struct model_config c;
        struct gm_error err = {0};
        if (!model_config_parse(&c, SHAPES[i].config, strlen(SHAPES[i].config), SHAPES[i].name, &err))
            fail_msg("%s", err.text);
        struct lora_options lora = {.rank = RANK, .scale = 2, .keys = (1u << PROJ_COUNT) - 1};
        struct pass_limits limits = {.kind = PASS_LORA, .max_tokens = T, .max_targets = T - 1, .max_seqs = 1, .max_seq_tokens = T,
                                     .recompute_layers = RECOMPUTE_ALL, .mode = GM_COMPUTE_BF16};
        double adapter = 0, pass = (double)pass_bytes(&c, &lora, &limits);
        for (int p = 0; p < PROJ_COUNT; p++) {
            int64_t out, in;
            proj_shape(&c, (enum proj)p, &out, &in);
            adapter += 4.0 * (double)(RANK * (out + in)) * c.n_layers;
        }
        double all = pass + 4 * adapter + outside_of_the_plan(&c); /* values, gradients, two moments */
        print_message("%s: adapter with gradients and moments %.0f MB, pass %.0f MB, all %.0f MB\n", SHAPES[i].name, 4 * adapter / 1e6,
                      pass / 1e6, all / 1e6);
        if (all > SHAPES[i].bar)
            fail_msg("%s: %.0f MB beside the weights, the bar is %.0f MB", SHAPES[i].name, all / 1e6, SHAPES[i].bar / 1e6);
        for (int n = c.n_layers - 1; n >= 0; n--) { /* every layer that keeps more costs more */
            limits.recompute_layers = n;
            double more = (double)pass_bytes(&c, &lora, &limits);
            assert_true(more > pass || n == c.n_layers - 1);
            pass = more;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bars)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
