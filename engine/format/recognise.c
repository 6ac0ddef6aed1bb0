/* recognise.c - rules, the more particular ones first. */
#include "engine/format/recognise.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/format/sniff.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const char *const NAMES[ARTIFACT_COUNT] = {
    "model",        "GGUF",          "weights", "adapter",         "run",    "checkpoint",
    "data",         "tokenizer",     "model config", "adapter config", "index",  "chat template",
    "settings",     "Modelfile",     "theme",   "journal", "proof"};

const char *artifact_name(enum artifact a)
{
    return NAMES[a];
}

static bool ends(const char *name, const char *tail)
{
    size_t n = strlen(name), m = strlen(tail);
    return n >= m && strcasecmp(name + n - m, tail) == 0;
}

/* ---- folders ---- */

struct listing {
    char **names;
    size_t n;
};

static bool holds(const struct listing *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->names[i], name) == 0)
            return true;
    return false;
}

static bool holds_end(const struct listing *l, const char *tail)
{
    for (size_t i = 0; i < l->n; i++)
        if (ends(l->names[i], tail))
            return true;
    return false;
}

static bool holds_rows(const struct listing *l)
{
    static const char *const splits[] = {"train.", "valid.", "test."}, *const forms[] = {"jsonl", "json", "csv", "tsv"};
    for (size_t s = 0; s < 3; s++)
        for (size_t f = 0; f < 4; f++) {
            char name[16];
            strcpy(name, splits[s]);
            strcat(name, forms[f]);
            if (holds(l, name))
                return true;
        }
    return false;
}

static bool of_folder(const struct listing *l, enum artifact *what)
{
    bool config = holds(l, "config.json"), weights = holds_end(l, ".safetensors");
    if (holds(l, "run.json"))
        *what = ARTIFACT_RUN;
    else if (holds(l, "state.json") && weights)
        *what = ARTIFACT_CHECKPOINT;
    else if (holds(l, "Modelfile"))
        *what = ARTIFACT_MODELFILE;
    else if (holds(l, "adapter_config.json") && !(config && (holds(l, "model.safetensors") || holds(l, "model.safetensors.index.json"))))
        *what = ARTIFACT_ADAPTER;
    else if (config || weights || holds_end(l, ".gguf") || holds(l, "pytorch_model.bin"))
        *what = ARTIFACT_MODEL;
    else if (holds(l, "tokenizer.json") || holds(l, "tokenizer.model"))
        *what = ARTIFACT_TOKENIZER;
    else if (holds_rows(l))
        *what = ARTIFACT_DATA;
    else
        return false;
    return true;
}

static bool recognise_folder(const char *path, enum artifact *what, struct gm_error *err)
{
    struct listing l = {0};
    if (!dir_list(path, &l.names, &l.n, err))
        return false;
    bool ok = of_folder(&l, what);
    for (size_t i = 0; i < l.n; i++)
        mem_free(l.names[i]);
    mem_free(l.names);
    return ok || error_set(err, GM_E_INPUT,
                           "look at %s: %s (name a model, an adapter, a run, or a folder with train.jsonl)", path,
                           l.n == 0 ? "the folder is empty" : "nothing in this folder is known here");
}

/* ---- files ---- */

static bool by_name(const char *name, enum artifact *what)
{
    static const struct {
        const char *name;
        enum artifact what;
    } whole[] = {{"config.json", ARTIFACT_MODEL_CONFIG},
                 {"adapter_config.json", ARTIFACT_ADAPTER_CONFIG},
                 {"model.safetensors.index.json", ARTIFACT_INDEX},
                 {"tokenizer.json", ARTIFACT_TOKENIZER},
                 {"tokenizer.model", ARTIFACT_TOKENIZER},
                 {"journal.jsonl", ARTIFACT_JOURNAL},
                 {"samples.jsonl", ARTIFACT_JOURNAL},
                 {"proof.json", ARTIFACT_PROOF},
                 {"adapters.safetensors", ARTIFACT_ADAPTER},
                 {"adapter_model.safetensors", ARTIFACT_ADAPTER}},
      tails[] = {{".gguf", ARTIFACT_GGUF},     {"_adapters.safetensors", ARTIFACT_ADAPTER}, {".safetensors", ARTIFACT_WEIGHTS},
                 {".jsonl", ARTIFACT_DATA},    {".csv", ARTIFACT_DATA},                     {".tsv", ARTIFACT_DATA},
                 {".jinja", ARTIFACT_TEMPLATE}, {".yaml", ARTIFACT_SETTINGS},               {".yml", ARTIFACT_SETTINGS},
                 {".proof.json", ARTIFACT_PROOF}, {".theme", ARTIFACT_THEME},   {".modelfile", ARTIFACT_MODELFILE}};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (strcmp(name, whole[i].name) == 0) {
            *what = whole[i].what;
            return true;
        }
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
        if (ends(name, tails[i].name)) {
            *what = tails[i].what;
            return true;
        }
    if (strncasecmp(name, "Modelfile", 9) == 0) {
        *what = ARTIFACT_MODELFILE;
        return true;
    }
    return false;
}

/* A JSON object, by the keys that it mentions. */
static bool by_keys(const struct str *head, enum artifact *what)
{
    static const struct {
        const char *key;
        enum artifact what;
    } keys[] = {{"\"added_tokens\"", ARTIFACT_TOKENIZER},        {"\"pre_tokenizer\"", ARTIFACT_TOKENIZER},
                {"\"model_type\"", ARTIFACT_MODEL_CONFIG},       {"\"architectures\"", ARTIFACT_MODEL_CONFIG},
                {"\"peft_type\"", ARTIFACT_ADAPTER_CONFIG},      {"\"weight_map\"", ARTIFACT_INDEX},
                {"\"messages\"", ARTIFACT_DATA},                 {"\"conversations\"", ARTIFACT_DATA},
                {"\"text\"", ARTIFACT_DATA},                     {"\"model\"", ARTIFACT_SETTINGS},
                {"\"data\"", ARTIFACT_SETTINGS},                 {"\"preset\"", ARTIFACT_SETTINGS},
                {"\"iters\"", ARTIFACT_SETTINGS},                {"\"learning_rate\"", ARTIFACT_SETTINGS},
                {"\"lora_parameters\"", ARTIFACT_SETTINGS},      {"\"rank\"", ARTIFACT_SETTINGS}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strstr(str_text(head), keys[i].key)) {
            *what = keys[i].what;
            return true;
        }
    return false;
}

static bool by_content(const struct str *head, enum artifact *what)
{
    const char *p = str_text(head), *end = p + head->len;
    if (sniff_is_gguf((const unsigned char *)p, head->len)) {
        *what = ARTIFACT_GGUF;
        return true;
    }
    if (sniff_is_safetensors((const unsigned char *)p, head->len)) {
        *what = ARTIFACT_WEIGHTS;
        return true;
    }
    while (p < end && isspace((unsigned char)*p))
        p++;
    if (p == end)
        return false;
    if (*p == '[') {
        *what = ARTIFACT_DATA;
    } else if (*p == '{' && p[1] != '%' && p[1] != '{') {
        return by_keys(head, what);
    } else if (strstr(p, "{%") || strstr(p, "{{")) {
        *what = ARTIFACT_TEMPLATE;
    } else {
        return false;
    }
    return true;
}

/* The first bytes, with NUL behind them. */
static bool read_head(const char *path, struct str *head, struct gm_error *err)
{
    char block[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_errno(err, "open %s", path);
    ssize_t n = 0;
    while (head->len < RECOGNISE_BYTES && (n = read(fd, block, sizeof block)) > 0)
        str_add_n(head, block, (size_t)n);
    if (n < 0)
        error_errno(err, "read %s", path);
    close(fd);
    return n >= 0;
}

bool recognise(const char *path, enum artifact *what, struct gm_error *err)
{
    if (dir_exists(path))
        return recognise_folder(path, what, err);
    if (!file_exists(path))
        return error_set(err, GM_E_INPUT, "look at %s: there is no such file or folder (check the name)", path);
    if (by_name(path_base(path), what))
        return true;
    struct str head = {0};
    bool read_ok = read_head(path, &head, err), ok = read_ok && by_content(&head, what);
    enum sniff_wanted wanted = str_text(&head)[0] == '{' ? SNIFF_JSON : SNIFF_GGUF;
    if (read_ok && !ok && sniff_refuse((const unsigned char *)str_text(&head), head.len, wanted, path, err))
        error_set(err, GM_E_INPUT, "look at %s: it is nothing that is known here (gemmaiku check --help lists what is)", path);
    str_free(&head);
    return ok;
}
