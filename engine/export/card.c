/* card.c - the text of a README.md. */
#include "engine/export/card.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/hub_cache.h"
#include "engine/format/model_source.h"
#include "engine/train/run.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

/* ---- texts of others ---- */

/* As code inside a line: cleaned, and without the backticks that would end it. */
static void add_code(struct str *out, const char *text)
{
    struct str clean = {0};
    text_clean(&clean, text, strlen(text), false, false);
    str_add(out, "`");
    for (size_t i = 0; i < clean.len; i++)
        str_add_char(out, clean.data[i] == '`' ? '\'' : clean.data[i]);
    str_add(out, clean.len ? "`" : " `");
    str_free(&clean);
}

/* A block whose fence is longer than any in the text. */
static void add_block(struct str *out, const char *text)
{
    size_t longest = 2, run = 0;
    for (const char *p = text; *p; p++) {
        run = *p == '`' ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    struct str fence = {0};
    for (size_t i = 0; i <= longest; i++)
        str_add(&fence, "`");
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    str_printf(out, "%s\n", str_text(&fence));
    text_clean(out, text, n, true, false);
    str_printf(out, "\n%s\n", str_text(&fence));
    str_free(&fence);
}

/* As plain words: what Markdown or HTML would take for its own is escaped. */
static void add_plain(struct str *out, const char *text)
{
    struct str clean = {0};
    text_clean(&clean, text, strlen(text), false, false);
    for (size_t i = 0; i < clean.len; i++) {
        if (strchr("\\`*_[]<>#&|~", clean.data[i]))
            str_add_char(out, '\\');
        str_add_char(out, clean.data[i]);
    }
    str_free(&clean);
}

static void yaml_text(struct str *out, const char *key, const char *text)
{
    struct str clean = {0};
    text_clean(&clean, text, strlen(text), false, false);
    str_printf(out, "%s: ", key);
    json_quote(out, str_text(&clean), clean.len); /* a JSON text is a YAML text */
    str_add(out, "\n");
    str_free(&clean);
}

/* ---- the run ---- */

enum { SAMPLES_MAX = 6 };

struct facts {
    struct run_info run;
    bool known;
    int step;                              /* asked for, or the last with a checkpoint */
    double loss_before, loss, loss_last;   /* validation: step 0, at `step`, the last there is */
    int last_step;
    double rate_before, rate, low, high;   /* form, NaN: not measured */
    int rate_n;
    int64_t parameters;
    char valid_source[64];
    int64_t overlap;
    char *samples[SAMPLES_MAX]; /* text */
    double temperatures[SAMPLES_MAX];
    char *prompts[SAMPLES_MAX];
    char verdicts[SAMPLES_MAX][64];
    int n_samples;
};

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static bool take_event(void *arg, json_t *event)
{
    struct facts *f = arg;
    const char *what = json_string_value(json_object_get(event, "event"));
    int step = (int)json_integer_value(json_object_get(event, "step"));
    if (!what)
        return true;
    if (strcmp(what, "start") == 0) {
        const char *source = json_string_value(json_object_get(event, "valid_source"));
        f->parameters = json_integer_value(json_object_get(event, "parameters"));
        f->overlap = json_integer_value(json_object_get(event, "valid_overlap"));
        text_clean_fixed(f->valid_source, sizeof f->valid_source, source ? source : "", source ? strlen(source) : 0);
    } else if (strcmp(what, "eval") == 0) {
        f->loss_last = number(event, "loss");
        f->last_step = step;
        if (step == 0)
            f->loss_before = f->loss_last;
        if (step == f->step)
            f->loss = f->loss_last;
    } else if (strcmp(what, "form") == 0 && (step == 0 || step == f->step)) {
        if (step == 0)
            f->rate_before = number(event, "rate");
        if (step == f->step) {
            const json_t *interval = json_object_get(event, "interval");
            f->rate = number(event, "rate");
            f->rate_n = (int)json_integer_value(json_object_get(event, "n"));
            f->low = json_number_value(json_array_get(interval, 0));
            f->high = json_number_value(json_array_get(interval, 1));
        }
    }
    return true;
}

/* The first two of each temperature. */
static bool take_sample(void *arg, json_t *sample)
{
    struct facts *f = arg;
    const char *text = json_string_value(json_object_get(sample, "text")), *prompt = json_string_value(json_object_get(sample, "prompt"));
    double temperature = number(sample, "temperature");
    const json_t *verdict = json_object_get(sample, "verdict");
    if (!text || f->n_samples == SAMPLES_MAX || (int)json_integer_value(json_object_get(sample, "step")) != f->step)
        return true;
    int of_this = 0;
    for (int i = 0; i < f->n_samples; i++)
        of_this += f->temperatures[i] == temperature;
    if (of_this == 2)
        return true;
    struct str counts = {0};
    const json_t *count;
    size_t i;
    json_array_foreach(json_object_get(verdict, "syllables"), i, count)
        if (i < 8)
            str_printf(&counts, "%s%lld", i ? "-" : "", (long long)json_integer_value(count));
    bool strict = json_is_true(json_object_get(verdict, "strict")), possible = json_is_true(json_object_get(verdict, "possible"));
    const char *how = strict ? "in form" : possible ? "possibly in form" : "not in form";
    snprintf(f->verdicts[f->n_samples], sizeof *f->verdicts, "%s: %s", how, str_text(&counts));
    str_free(&counts);
    f->samples[f->n_samples] = mem_copy(text);
    f->prompts[f->n_samples] = mem_copy(prompt ? prompt : "");
    f->temperatures[f->n_samples++] = temperature;
    return true;
}

static void facts_open(struct facts *f, const struct card *c)
{
    *f = (struct facts){.step = c->step, .loss_before = NAN, .loss = NAN, .loss_last = NAN, .rate_before = NAN, .rate = NAN};
    if (!c->run_dir || !run_info_open(&f->run, c->run_dir, NULL))
        return;
    f->known = true;
    char *journal = path_join(c->run_dir, "journal.jsonl"), *samples = path_join(c->run_dir, "samples.jsonl");
    journal_read(journal, take_event, f, NULL);
    journal_read(samples, take_sample, f, NULL);
    mem_free(journal);
    mem_free(samples);
}

static void facts_close(struct facts *f)
{
    for (int i = 0; i < f->n_samples; i++) {
        mem_free(f->samples[i]);
        mem_free(f->prompts[i]);
    }
    if (f->known)
        run_info_free(&f->run);
}

/* ---- front matter ---- */

static bool is(const char *a, const char *b) { return strcmp(a, b) == 0; }

static bool is_gguf(const struct card *c) { return is(c->target, "gguf") || is(c->target, "ollama") || is(c->target, "gguf-lora"); }
static bool is_adapter(const struct card *c) { return is(c->target, "mlx") || is(c->target, "peft") || is(c->target, "gguf-lora"); }
static bool is_mlx(const struct card *c) { return is(c->target, "mlx") || (c->type && strncmp(c->type, "mlx", 3) == 0); }

static void front_matter(struct str *out, const struct card *c, const struct facts *f)
{
    str_add(out, "---\n");
    char *repository = hub_repository(c->base);
    if (repository) {
        yaml_text(out, "base_model", repository);
        str_printf(out, "base_model_relation: %s\n", is_adapter(c) ? "adapter" : c->has_adapter ? "finetune" : "quantized");
    }
    mem_free(repository);
    if (c->license)
        yaml_text(out, "license", c->license);
    str_printf(out, "library_name: %s\n", is(c->target, "peft") ? "peft" : is_mlx(c) ? "mlx" : is_gguf(c) ? "gguf" : "transformers");
    const char *data = f->known ? json_string_value(json_object_get(json_object_get(f->run.json, "options"), "data")) : NULL;
    if (data && is(data, "haiku")) /* the built-in set; of others the language is not known */
        str_add(out, "language: en\n");
    str_add(out, "pipeline_tag: text-generation\ntags:\n- gemmaiku\n- haiku\n");
    if (c->has_adapter)
        str_add(out, "- lora\n");
    if (is(c->target, "ollama"))
        str_add(out, "- ollama\n");
    str_add(out, "---\n\n");
}

/* ---- parts of the text ---- */

/* A name of the hub as it is; of a path its last part: where things lie on somebody's machine is nobody's business. */
static char *shown(const char *name)
{
    char *whole = path_trimmed(name), *repository = hub_repository(whole), *part = repository ? repository : mem_copy(path_base(whole));
    mem_free(whole);
    return part;
}

/* A folder that is only called after what is in it ("peft") says less than its run does. */
static const char *title(const struct card *c, const struct facts *f)
{
    return f->known && is(c->target, c->name) ? f->run.name : c->name;
}

static void about(struct str *out, const struct card *c, const struct facts *f)
{
    char *base = shown(c->base);
    str_add(out, "# ");
    add_plain(out, title(c, f));
    str_printf(out, "\n\n%s of ", is(c->target, "all") ? "Adapters and fused models of a fine-tune" : is_adapter(c) ? "A LoRA adapter"
                                 : c->has_adapter ? "A fused fine-tune" : "A conversion");
    add_code(out, base);
    mem_free(base);
    if (c->type)
        str_printf(out, ", weights in %s", c->type);
    str_add(out, ", written by gemmaiku, which trains small language models to write haiku.\n\n");
    str_add(out, c->license ? "The base's license says: "
                            : "The license of the base is not known here; what it asks for holds for this as well.\n\n");
    if (c->license) {
        add_code(out, c->license);
        str_add(out, ".\n\n");
    }
    if (c->system && c->system[0]) {
        str_add(out, "It was trained with this system message, and answers best with it:\n\n");
        add_block(out, c->system);
        str_add(out, "\n");
    }
}

static void row_text(struct str *out, const char *name, const char *value)
{
    str_printf(out, "| %s | ", name);
    struct str code = {0};
    add_code(&code, value);
    for (size_t i = 0; i < code.len; i++)
        str_add_char(out, code.data[i] == '|' ? '/' : code.data[i]);
    str_free(&code);
    str_add(out, " |\n");
}

static void training(struct str *out, const struct card *c, const struct facts *f)
{
    str_add(out, "## Training\n\n");
    if (!f->known) {
        str_add(out, c->has_adapter ? "The adapter does not come from a run that is at hand: data, settings and losses are not known.\n\n"
                                    : "None: these are the base's weights.\n\n");
        return;
    }
    const json_t *run = f->run.json, *o = json_object_get(run, "options"), *rows = json_object_get(run, "rows");
    static const struct {
        const char *name, *key;
    } texts[] = {{"data", "data"}, {"fine-tuning", "fine_tune_type"}, {"learning-rate schedule", "lr_schedule"},
                 {"optimiser", "optimizer"}, {"compute", "compute"}},
      numbers[] = {{"learning rate", "learning_rate"}, {"batch", "batch_size"}, {"gradient accumulation", "grad_accumulation_steps"},
                   {"rank", "rank"}, {"scale", "scale"}, {"dropout", "dropout"}, {"longest sequence", "max_seq_length"}, {"seed", "seed"}};
    str_add(out, "| | |\n|---|---|\n");
    row_text(out, "run", f->run.name);
    const char *hash = json_string_value(json_object_get(run, "data_sha256")), *model_hash = json_string_value(json_object_get(run, "model_sha256"));
    if (model_hash)
        row_text(out, "base, sha256", model_hash);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *value = json_string_value(json_object_get(o, texts[i].key));
        char *name = value ? shown(value) : NULL;
        if (name)
            row_text(out, texts[i].name, name);
        mem_free(name);
        if (i == 0 && hash)
            row_text(out, "data, sha256", hash);
    }
    str_printf(out, "| rows | %lld for training, %lld for validation, %lld for testing |\n",
               (long long)json_integer_value(json_object_get(rows, "train")),
               (long long)json_integer_value(json_object_get(rows, "valid")), (long long)json_integer_value(json_object_get(rows, "test")));
    if (f->valid_source[0])
        str_printf(out, "| validation rows | from %s; %lld of them are training rows as well |\n", f->valid_source, (long long)f->overlap);
    str_printf(out, "| steps | %d of %lld |\n", f->step, (long long)json_integer_value(json_object_get(o, "iters")));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double v = number(o, numbers[i].key);
        if (isfinite(v))
            str_printf(out, "| %s | %.10g |\n", numbers[i].name, v);
    }
    if (f->parameters > 0)
        str_printf(out, "| trained numbers | %lld |\n", (long long)f->parameters);
    str_add(out, "\n");
}

static void loss_row(struct str *out, const char *what, int step, double loss)
{
    if (isfinite(loss))
        str_printf(out, "| %s | %d | %.4f | %.2f |\n", what, step, loss, exp(loss));
}

static void quality(struct str *out, const struct facts *f)
{
    if (!f->known)
        return;
    str_add(out, "## Losses and form\n\nNats per supervised token, on the validation rows.\n\n| | step | loss | perplexity |\n|---|---|---|---|\n");
    loss_row(out, "the base, before", 0, f->loss_before);
    loss_row(out, "this export", f->step, f->loss);
    double best = NAN;
    int best_step = 0;
    for (int i = 0; i < f->run.n_checkpoints; i++)
        if (f->run.checkpoints[i].best_loss) {
            best = f->run.checkpoints[i].val_loss;
            best_step = f->run.checkpoints[i].step;
        }
    loss_row(out, "best checkpoint", best_step, best);
    loss_row(out, "last", f->last_step, f->loss_last);
    str_add(out, "\n");
    if (isfinite(f->rate))
        str_printf(out, "%.0f %% of %d samples were haiku by their syllables (95 %% interval %.0f to %.0f %%)", 100 * f->rate, f->rate_n,
                   100 * f->low, 100 * f->high);
    else
        str_add(out, "How many samples were haiku was not measured at this step");
    if (isfinite(f->rate_before))
        str_printf(out, "; %.0f %% before training", 100 * f->rate_before);
    str_add(out, ".\n\n");
    if (f->n_samples == 0)
        return;
    str_add(out, "## Samples\n\nThe first ones at this step, not chosen.\n\n");
    for (int i = 0; i < f->n_samples; i++) {
        str_printf(out, "Temperature %.10g, %s. Prompt ", f->temperatures[i], f->verdicts[i]);
        add_code(out, f->prompts[i]);
        str_add(out, ":\n\n");
        add_block(out, f->samples[i]);
        str_add(out, "\n");
    }
}

static void proof(struct str *out, const struct card *c)
{
    str_add(out, "## Proof\n\n");
    if (c->proof)
        str_printf(out,
                   "The files were read back and run beside the unfused model: %d sequences, %lld positions, mean KL %.3g nats, greatest %.3g, "
                   "the same best token at %.1f %%, greatest difference of a logit %.3g. `proof.json` has the numbers.\n\n",
                   c->proof->sequences, (long long)c->proof->positions, c->proof->mean_kl, c->proof->max_kl, 100 * c->proof->greedy_agreement,
                   c->proof->max_logit_difference);
    else
        str_add(out, is(c->target, "all") ? "Every form has its own: `proof.json` in its folder, or `FILE.proof.json`.\n\n" : "Not measured.\n\n");
    if (c->proof && c->proof->prompts_verified)
        str_printf(out, "%d conversations of several turns, with and without a system message, were put through the TEMPLATE "
                        "and the tokenizer of the GGUF: the ids are those of the training.\n\n", c->proof->prompts_verified);
    if (c->fuse_table)
        str_printf(out, "What each storage type costs:\n\n%s\n", c->fuse_table);
}

static void usage(struct str *out, const struct card *c, const struct facts *f)
{
    str_add(out, "## How to use it\n\n");
    char *repository = hub_repository(c->base);
    struct str name = {0};
    for (const char *p = path_base(title(c, f)); *p; p++) /* as a word of a shell, and of Ollama */
        str_add_char(&name, isalnum((unsigned char)*p) || strchr("-_.", *p) ? *p : '-');
    const char *n = str_text(&name)[0] ? str_text(&name) : "haiku", *base = repository ? repository : "BASE";
    if (is(c->target, "all"))
        str_add(out, "Every folder in here has a README.md that says how. `.gguf` files are for llama.cpp: `llama-cli -m FILE`, "
                     "the adapter with `--lora FILE`.\n\n");
    else if (is(c->target, "ollama"))
        str_printf(out, "    ollama create %s -f Modelfile\n    ollama run %s \"Write a haiku about rain.\"\n\n"
                        "The TEMPLATE builds the ids that the model was trained on; the sampling settings are those that "
                        "its samples were tasted with, not Ollama's own.\n\n", n, n);
    else if (is(c->target, "gguf"))
        str_printf(out, "    llama-cli -m %s -p \"Write a haiku about rain.\" --temp 0.7 --top-k 0 --top-p 1 --min-p 0 --repeat-penalty 1\n\n", n);
    else if (is(c->target, "gguf-lora"))
        str_printf(out, "    llama-cli -m BASE.gguf --lora %s -p \"Write a haiku about rain.\" "
                        "--temp 0.7 --top-k 0 --top-p 1 --min-p 0 --repeat-penalty 1\n\n", n);
    else if (is(c->target, "mlx"))
        str_printf(out, "    mlx_lm.generate --model %s --adapter-path . --prompt \"Write a haiku about rain.\" --temp 0.7\n\n", base);
    else if (is_mlx(c))
        str_add(out, "    mlx_lm.generate --model . --prompt \"Write a haiku about rain.\" --temp 0.7\n\n");
    else if (is(c->target, "peft"))
        str_printf(out, "```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
                        "model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(\"%s\"), \".\")\n```\n\n", base);
    else
        str_add(out, "```python\nfrom transformers import pipeline\n\nwrite = pipeline(\"text-generation\", model=\".\")\n"
                     "print(write([{\"role\": \"user\", \"content\": \"Write a haiku about rain.\"}], "
                     "do_sample=True, temperature=0.7, top_k=0, top_p=1.0))\n```\n\n");
    str_free(&name);
    mem_free(repository);
}

static void limits(struct str *out, const struct card *c, const struct facts *f)
{
    str_add(out, "## What is not known\n\n");
    if (c->n_notes > 0) {
        str_add(out, "Where other programs differ, and what was decided on the way:\n\n");
        for (int i = 0; i < c->n_notes; i++) {
            str_add(out, "- ");
            add_plain(out, c->notes[i]);
            str_add(out, "\n");
        }
        str_add(out, "\n");
    }
    str_add(out, "Not measured: how good the poems are, what the model does with other requests than those it was trained on, and what of its base's "
                 "knowledge it has lost");
    if (!c->fuse_table)
        str_add(out, "; what other storage types would cost");
    if (!f->known)
        str_add(out, "; losses and form");
    str_add(out, ". Syllables are counted by a table and rules, for English.\n");
}

char *card_write(const struct card *c)
{
    struct str out = {0};
    struct facts f;
    facts_open(&f, c);
    front_matter(&out, c, &f);
    about(&out, c, &f);
    training(&out, c, &f);
    quality(&out, &f);
    proof(&out, c);
    usage(&out, c, &f);
    limits(&out, c, &f);
    facts_close(&f);
    return str_take(&out);
}

/* ---- the base's license ---- */

static char *license_name(const char *text, size_t n)
{
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\r' || text[n - 1] == '"' || text[n - 1] == '\''))
        n--;
    while (n > 0 && (*text == ' ' || *text == '"' || *text == '\'')) {
        text++;
        n--;
    }
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("-._+", text[i]))
            return NULL;
    return n > 0 && n <= 60 ? mem_copy_n(text, n) : NULL;
}

char *card_license(const struct model_source *base)
{
    struct gguf_text text = {"", 0};
    if (!base || base->builtin)
        return NULL;
    if (base->kind == SOURCE_GGUF)
        return gguf_string(base->gguf, "general.license", OPTIONAL, &text, NULL) ? license_name(text.data, text.len) : NULL;
    struct str readme = {0};
    char *found = NULL;
    if (model_source_has_file(base, "README.md") && model_source_read_file(base, "README.md", 4 << 20, &readme, NULL)
        && strncmp(str_text(&readme), "---", 3) == 0) {
        const char *line = str_text(&readme);
        for (int i = 0; line && !found && (i == 0 || strncmp(line, "---", 3) != 0); i++) {
            if (strncmp(line, "license:", 8) == 0)
                found = license_name(line + 8, strcspn(line + 8, "\n"));
            line = strchr(line, '\n');
            line = line ? line + 1 : NULL;
        }
    }
    str_free(&readme);
    return found;
}
