#include "tests/golden/fixture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { POINTS = 612, VALS = 7, ROWS = 40 };

struct fixture {
    double x[POINTS], loss[POINTS], lr[POINTS], norm[POINTS], speed[POINTS];
    double val_x[VALS], val[VALS], form[VALS];
};
static struct fixture f; /* a test program: one fixture, never changed after fixture_fill */

static const struct view_line pond[] = {{"Old pond, still water", 5, 5, 5, 5}, {"a frog leaps into the dark", 7, 7, 7, 7}, {"rings fade to silence", 5, 5, 5, 5}};
static const struct view_line rome[] = {{"Empire of bright stone", 5, 5, 6, 5}, {"roads remember every boot", 8, 7, 8, 7}, {"grass forgets them all", 5, 5, 5, 5}};
static const struct view_line tea[] = {{"Cold rain on the roof", 5, 5, 5, 5}, {"the kettle hums its old answer", 8, 8, 8, 7}, {"two cups, one still full", 5, 5, 5, 5}};
static const struct view_line sort[] = {{"Pick one and divide", 5, 5, 5, 5}, {"the small lean left, the tall right now", 9, 9, 9, 7}, {"call yourself again", 5, 5, 5, 5}};
static const struct view_line prose[] = {{"The pond is a small body of still water that does not flow.", 14, 14, 14, 5}};

static const struct view_verse verses[] = {
    {pond, 3, VERDICT_STRICT, NULL},
    {rome, 3, VERDICT_POSSIBLE, "\"every\": the dictionary lists 2 and 3"},
    {tea, 3, VERDICT_NEAR, "near: line 2 has 8"},
    {sort, 3, VERDICT_WRONG, "line 2 has 9"},
    {prose, 1, VERDICT_LINES, "one line instead of three"},
};
static const char *const prompts[] = {"Write a haiku about an old pond", "The Roman Empire, in full", "Tea on a rainy evening", "explain quicksort",
                                      "What is a pond?", "winter morning, no school", "my cat ignores me", "\xe5\x8f\xa4\xe6\xb1\xa0\xe3\x82\x84 in English, please"};

static const struct view_row *row(void *ctx, size_t i)
{
    static struct view_row r;
    const struct view_verse *v = &verses[i % 5];
    (void)ctx;
    memset(&r, 0, sizeof r);
    r.id = (long)i + 1;
    r.split = i % 7 == 3 ? VIEW_VALID : i % 11 == 10 ? VIEW_TEST : VIEW_TRAIN;
    r.tokens = 29 + (int)(i * 7 % 23);
    r.supervised = 19;
    r.line_count = (int)v->line_count;
    for (int k = 0; k < r.line_count; k++) {
        r.syllables[k] = (int8_t)v->lines[k].syllables;
        r.want[k] = (int8_t)v->lines[k].want;
        r.unsure[k] = v->lines[k].max > v->lines[k].min;
    }
    r.verdict = v->verdict;
    r.truncated = i == 13;
    r.leak = i == 9;
    r.duplicate_of = i == 20 ? 1 : 0;
    r.prompt = prompts[i % 8];
    r.first_line = v->lines[0].text;
    if (i == 30) { /* still to be checked */
        r.line_count = -1;
        r.tokens = -1;
        r.verdict = VERDICT_NONE;
    }
    return &r;
}

static const struct view_word words[] = {{"Empire", "Em-pire", 2, 2, 3, "dictionary", 0}, {"of", NULL, 1, 1, 1, "dictionary", 0},
                                         {"bright", NULL, 1, 1, 1, "dictionary", 0},      {"stone", NULL, 1, 1, 1, "dictionary", 0},
                                         {"roads", NULL, 1, 1, 1, "dictionary", 1},       {"remember", NULL, 3, 3, 3, "dictionary", 1},
                                         {"every", NULL, 3, 2, 3, "dictionary", 1},       {"boot", NULL, 1, 1, 1, "dictionary", 1},
                                         {"grass", NULL, 1, 1, 1, "dictionary", 2},       {"forgets", NULL, 2, 2, 2, "rule", 2},
                                         {"them", NULL, 1, 1, 1, "dictionary", 2},        {"all", NULL, 1, 1, 1, "dictionary", 2}};
static const struct view_piece pieces[] = {
    {"<bos>", 2, false},     {"<start_of_turn>", 105, false}, {"user", 2364, false},  {"\\n", 107, false},      {"The", 818, false},
    {" Roman", 13158, false}, {" Empire", 21003, false},       {",", 236764, false},   {" in", 528, false},      {" full", 2480, false},
    {"<end_of_turn>", 106, false}, {"\\n", 107, false},        {"<start_of_turn>", 105, false}, {"model", 4368, false}, {"\\n", 107, false},
    {"Empire", 1, true},      {" of", 2, true},                {" bright", 3, true},   {" stone", 4, true},      {"\\n", 107, true},
    {"roads", 5, true},       {" remember", 6, true},          {" every", 7, true},    {" boot", 8, true},       {"\\n", 107, true},
    {"grass", 9, true},       {" forgets", 10, true},          {" them", 11, true},    {" all", 12, true},       {"<end_of_turn>", 106, true}};
static const char *const texts[] = {"Old pond, still water\na frog leaps into the dark\nrings fade to silence",
                                    "Empire of bright stone\nroads remember every boot\ngrass forgets them all"};

static const struct view_detail *detail(void *ctx, size_t i)
{
    static struct view_detail d;
    static struct view_turn turns[2];
    static char place[32];
    (void)ctx;
    if (i == 30)
        return NULL;
    snprintf(place, sizeof place, "train.jsonl:%zu", i + 1);
    turns[0] = (struct view_turn){"user", prompts[i % 8]};
    turns[1] = (struct view_turn){"assistant", texts[i % 2]};
    d = (struct view_detail){.place = place,
                             .turns = turns,
                             .turn_count = 2,
                             .verse = verses[i % 5],
                             .words = words,
                             .word_count = i % 5 == 1 ? sizeof words / sizeof words[0] : 0,
                             .pieces = pieces,
                             .piece_count = sizeof pieces / sizeof pieces[0],
                             .flags = i == 13 ? "cut at 512 tokens" : NULL,
                             .max_seq = 512};
    return &d;
}

static struct view_sample samples[] = {
    {0, 0.3, 7, "old pond", {prose, 1, VERDICT_LINES, "one line instead of three"}, 0.9, 15},
    {0, 0.7, 7, "old pond", {prose, 1, VERDICT_LINES, "one line instead of three"}, 0.9, 15},
    {0, 1.0, 7, "old pond", {prose, 1, VERDICT_LINES, "one line instead of three"}, 0.9, 15},
    {300, 0.3, 7, "old pond", {tea, 3, VERDICT_NEAR, "near: line 2 has 8"}, 0.6, 19},
    {300, 0.7, 7, "old pond", {sort, 3, VERDICT_WRONG, "line 2 has 9"}, 0.6, 20},
    {300, 1.0, 7, "old pond", {prose, 1, VERDICT_LINES, "one line instead of three"}, 0.6, 15},
    {600, 0.3, 7, "Write a haiku about an old pond", {pond, 3, VERDICT_STRICT, NULL}, 0.5, 19},
    {600, 0.7, 7, "Write a haiku about an old pond", {rome, 3, VERDICT_POSSIBLE, "\"every\": the dictionary lists 2 and 3"}, 0.5, 19},
    {600, 1.0, 7, "Write a haiku about an old pond", {tea, 3, VERDICT_NEAR, "near: line 2 has 8"}, 0.6, 19},
};

static const struct view_fact facts[] = {{"base", "nano  bf16  3.1 M params"},
                                         {"adapter", "LoRA r16 a32, 7 targets, 0.4 M (12 %)"},
                                         {"data", "haiku  train 360  valid 40"},
                                         {"optimizer", "AdamW 0.9 0.999  wd 0  clip 1"},
                                         {"schedule", "warm-up 45, cosine to 2e-5"},
                                         {"batch", "4 x 1  seq 512  seed 42"},
                                         {"compute", "bf16  avx512f  2 threads"},
                                         {"plan", "0.11 s a step, done in 3 min"},
                                         {"takes", "84 MB of memory, 62 MB on disk"},
                                         {"eval", "every 100 steps, samples at 0.3 0.7 1.0"}};

static const struct view_part parts[] = {{"embedding", 0.2, NAN},
                                         {"forward: products", 31.4, 0.81},
                                         {"forward: adapters", 2.1, 0.36},
                                         {"forward: attention", 7.9, 0.34},
                                         {"forward: norms, gates", 4.4, NAN},
                                         {"head and loss", 9.3, 0.72},
                                         {"backward: products", 33.0, 0.76},
                                         {"backward: adapters", 6.5, 0.24},
                                         {"backward: attention", 9.6, 0.41},
                                         {"backward: norms, gates", 4.9, NAN},
                                         {"clip and update", 0.5, NAN},
                                         {"rest", 0.1, NAN}};

static const struct view_line stream[] = {{"Pick one and divide", 5, 5, 5, 5}, {"the small lean left, the tall right", 8, 8, 8, 7}, {"call yourself aga", -1, -1, -1, 5}};
static struct view_chat_turn turns[] = {
    {.who = CHAT_NOTE, .text = "talking to the live model; its weights are taken anew for every answer"},
    {.who = CHAT_USER, .text = "Write a long essay about the Roman Empire, with all its emperors, roads and wars, in at least two thousand words."},
    {.who = CHAT_MODEL, .text = "Empire of bright stone\nroads remember every boot\ngrass forgets them all", .verse = {rome, 3, VERDICT_POSSIBLE, "\"every\": 2 or 3"}, .tokens = 19, .seconds = 0.4, .tokens_per_s = 47},
    {.who = CHAT_USER, .text = "an old pond"},
    {.who = CHAT_MODEL, .text = "Old pond, still water\n...", .verse = {pond, 3, VERDICT_STRICT, NULL}, .tokens = 19, .seconds = 0.4, .tokens_per_s = 47},
    {.who = CHAT_NOTE, .text = "temperature 0.9 for this chat (was 0.7)"},
    {.who = CHAT_USER, .text = "explain quicksort in C"},
    {.who = CHAT_MODEL, .text = "Pick one and divide\n", .verse = {stream, 3, VERDICT_NONE, NULL}, .tokens = 14, .tokens_per_s = 31, .streaming = true},
};

static const struct view_ckpt ckpts[] = {
    {"live", 612, NAN, NAN, 0, 0, 0, 0, false, false, true, false, "as it trains"},
    {"600", 600, 2.034, 0.18, 0.10, 0.30, 60, 15200000, true, false, false, true, "best loss"},
    {"500", 500, 2.101, 0.22, 0.13, 0.34, 60, 15200000, false, true, false, true, "best form"},
    {"300", 300, 2.402, 0.05, 0.01, 0.14, 60, 15200000, false, false, false, true, NULL},
    {"base", 0, 4.412, 0, 0, 0.06, 60, 0, false, false, false, false, "no adapter"},
};

static const struct view_format formats[] = {
    {"mlx", "adapter for mlx-lm", true, 0, {NULL}, {15200000}},
    {"peft", "adapter for PEFT, transformers", true, 0, {NULL}, {15200000}},
    {"gguf-lora", "adapter for llama.cpp, a file", false, 0, {NULL}, {15200000}},
    {"safetensors", "model, Hugging Face or MLX folder", false, 5, {"bf16", "f32", "f16", "mlx4", "mlx8"}, {22000000, 44000000, 22000000, 6000000, 12000000}},
    {"gguf", "model for llama.cpp, one file", false, 6, {"bf16", "f32", "f16", "q8_0", "q4_0", "q4_k_m"}, {22000000, 44000000, 22000000, 12000000, 6500000, 7100000}},
    {"ollama", "model and Modelfile, a folder", false, 6, {"bf16", "f32", "f16", "q8_0", "q4_0", "q4_k_m"}, {22000000, 44000000, 22000000, 12000000, 6500000, 7100000}},
};
static const struct view_export_line results[] = {
    {"out/demo-003/mlx  15.2 MB  proved: KL 0, same token 100 %", EXPORT_WROTE},
    {"out/demo-003/safetensors  22.0 MB  proved: KL 2.3e-06, same token 100 %", EXPORT_WROTE},
    {"out/demo-003/model-q4_k_m.gguf  7.1 MB  proved: KL 0.002, same token 98 %", EXPORT_WROTE},
    {"mlx_lm fuse rounds the adapter's part before it adds it: its weights are up to one step of bf16 away from ours (--to safetensors rounds once)", EXPORT_NOTE},
    {"Q8_0 instead of Q6_K: rows of 192 are no multiple of 256: token_embd.weight, attn_v (4)", EXPORT_NOTE}};
static const struct view_export_line failed[] = {
    {"out/demo-003/mlx  15.2 MB  proved: KL 0, same token 100 %", EXPORT_WROTE},
    {"write out/demo-003/fused/model.safetensors: No space left on device (free 22 MB, or choose another folder); nothing was left half written", EXPORT_FAULT}};

static const struct view_log_line lines[] = {{"10:12:20", MESSAGE_INFO, "gemmaiku 0.1.0, kernels avx512f, 2 threads"},
                                             {"10:12:20", MESSAGE_INFO, "loaded nano (built in): 4.9 MB, 26 tensors"},
                                             {"10:12:21", MESSAGE_INFO, "haiku: 440 rows, train 360, valid 40, test 40; no leaks"},
                                             {"10:14:02", MESSAGE_WARN, "step 403: loss 5.1 is far above the average 2.3 (rows 5 88 190 301)"},
                                             {"10:15:40", MESSAGE_INFO, "checkpoint 600: val 2.034, best so far"},
                                             {"10:15:41", MESSAGE_ERROR, "write samples.jsonl: No space left on device (free some room; training goes on and the samples of this step are kept in memory until then)"}};

static const struct view_start_row starts[] = {{START_DEMO, "demo", "built-in model and haiku, about 3 minutes", NULL},
                                               {START_RUN, "demo-003", "stopped at 612/1500, val 2.034, today 10:15", NULL},
                                               {START_RUN, "smollm2-gemmaiku-001", "done, val 2.075, yesterday", NULL},
                                               {START_MODEL, "SmolLM2-135M-Instruct.gguf", "llama, 135 M, q8_0", "gemmaiku train --model SmolLM2-135M-Instruct.gguf --data DATA"}};

void fixture_fill(struct view *v)
{
    uint32_t state = 12345;
    for (int i = 0; i < POINTS; i++) {
        state = state * 1664525u + 1013904223u;
        double noise = ((double)(state >> 8) / (1 << 24) - 0.5) * 0.5;
        f.x[i] = i + 1;
        f.loss[i] = (1.9 + 2.6 * exp(-i / 90.0)) * (1 + noise);
        f.lr[i] = i < 45 ? 2e-4 * (i + 1) / 45 : 2e-5 + 9e-5 * (1 + cos(3.14159265 * (i - 45) / 1455));
        f.norm[i] = 0.7 + 2 * exp(-i / 60.0) + noise * 0.4;
        f.speed[i] = 1240 + noise * 200;
    }
    f.loss[402] = 9.5;
    static const double vals[VALS] = {4.412, 3.1, 2.71, 2.402, 2.23, 2.101, 2.034}, forms[VALS] = {0, 0, 0.02, 0.05, 0.12, 0.22, 0.18};
    for (int i = 0; i < VALS; i++) {
        f.val_x[i] = i * 100;
        f.val[i] = vals[i];
        f.form[i] = forms[i];
    }
    *v = (struct view){.now_s = 700};
    v->run = (struct view_run){.state = RUN_TRAINING,
                               .name = "demo-003",
                               .model = "nano",
                               .about = "LoRA r16 a32  2 threads",
                               .step = 612,
                               .iters = 1500,
                               .loss = 1.938,
                               .ema = 2.012,
                               .val_loss = 2.034,
                               .best_val_loss = 2.034,
                               .val_step = 600,
                               .best_val_step = 600,
                               .tokens_per_s = 1240,
                               .steps_per_s = 9.1,
                               .elapsed_s = 68,
                               .eta_s = 97,
                               .epoch = 6.6,
                               .learning_rate = 1.3e-4,
                               .grad_norm = 0.71,
                               .memory_bytes = 84000000,
                               .memory_peak_bytes = 96000000,
                               .parts = parts,
                               .part_count = sizeof parts / sizeof parts[0],
                               .share_of_peak = 0.58,
                               .plan = "84 MB, 0.11 s a step, done in 3 min, 62 MB on disk",
                               .facts = facts,
                               .fact_count = sizeof facts / sizeof facts[0]};
    v->data = (struct view_data){.name = "train.jsonl", .about = "train 31  valid 6  test 3", .count = ROWS, .version = 1, .row = row, .detail = detail,
                                 .strict = 8, .possible = 8, .wrong = 23, .duplicates = 1, .leaks = 1, .truncated = 1, .checked = 39};
    v->curves = (struct view_curves){.version = 1,
                                     .loss = {f.x, f.loss, POINTS},
                                     .val_loss = {f.val_x, f.val, VALS},
                                     .form_rate = {f.val_x, f.form, VALS},
                                     .learning_rate = {f.x, f.lr, POINTS},
                                     .grad_norm = {f.x, f.norm, POINTS},
                                     .tokens_per_s = {f.x, f.speed, POINTS},
                                     .val_note = "valid: haiku, 0 of 40 rows also in train"};
    v->samples = (struct view_samples){samples, sizeof samples / sizeof samples[0], false, NULL};
    v->chat = (struct view_chat){turns, 7, "live @612", 0.9, 0.95, false};
    v->ckpts = (struct view_ckpts){ckpts, sizeof ckpts / sizeof ckpts[0]};
    v->export_form = (struct view_export){.formats = formats, .format_count = 6, .folder = "out/demo-003", .free_bytes = 80100000000, .version = 1};
    v->log = (struct view_log){lines, sizeof lines / sizeof lines[0], "runs/demo-003/log.txt"};
}

bool fixture_variant(struct view *v, const char *word)
{
    static const double nothing[1] = {0};
    if (strcmp(word, "training") == 0)
        fixture_fill(v);
    else if (strcmp(word, "paused") == 0)
        v->run.state = RUN_PAUSED;
    else if (strcmp(word, "waits") == 0)
        v->run.waits_share = 0.62;
    else if (strcmp(word, "failed") == 0) {
        v->run.state = RUN_FAILED;
        v->message = (struct view_message){MESSAGE_ERROR, "read model.safetensors: header ends at byte 7 of 8 (copy the file again)", 1, 699};
    } else if (strcmp(word, "none") == 0 || strcmp(word, "empty") == 0) {
        fixture_fill(v);
        v->run = (struct view_run){.state = word[0] == 'n' ? RUN_NONE : RUN_LOADING, .name = "demo-004", .model = "nano", .step = 0, .iters = word[0] == 'n' ? 0 : 600,
                                   .loss = NAN, .ema = NAN, .val_loss = NAN, .best_val_loss = NAN, .val_step = -1, .best_val_step = -1,
                                   .eta_s = NAN, .epoch = NAN, .grad_norm = NAN, .plan = "45 MB, 9 ms a step, done in 8 s, 31 MB on disk"};
        v->curves = (struct view_curves){.version = 2, .loss = {nothing, nothing, 0}};
        v->samples.count = v->chat.count = v->ckpts.count = v->log.count = v->data.count = 0;
        v->data.checked = v->data.strict = v->data.possible = v->data.wrong = 0;
        v->data.version = 2;
    } else if (strcmp(word, "nan") == 0) {
        f.loss[500] = NAN;
        f.loss[501] = INFINITY;
        v->curves.version++;
    } else if (strcmp(word, "answering") == 0) {
        v->chat.count = 8;
        v->chat.answering = true;
        v->run.waits_share = 0.8;
    } else if (strcmp(word, "exporting") == 0) {
        v->export_form.state = JOB_RUNNING;
        v->export_form.progress = 0.42;
        v->export_form.stage = "layer 14/18";
        v->export_form.results = results;
        v->export_form.result_count = 1;
    } else if (strcmp(word, "exported") == 0) {
        v->export_form.state = JOB_DONE;
        v->export_form.results = results;
        v->export_form.result_count = 5;
        v->export_form.path = "out/demo-003";
    } else if (strcmp(word, "exportfailed") == 0) {
        v->export_form.state = JOB_FAILED;
        v->export_form.results = failed;
        v->export_form.result_count = 2;
    } else if (strcmp(word, "start") == 0) {
        v->start = (struct view_start){true, starts, sizeof starts / sizeof starts[0]};
        v->run = (struct view_run){.state = RUN_NONE, .loss = NAN, .ema = NAN, .val_loss = NAN, .best_val_loss = NAN};
    } else
        return false;
    return true;
}
