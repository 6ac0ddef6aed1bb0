/* vocab.c - `gemmaiku vocab`: a byte-level BPE vocabulary from a text, as tokenizer.json and tokenizer_config.json; the first step of making a model
 * from nothing. */
#include "src/cli/cli.h"

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/text/bpe_train.h"

#include <stdio.h>

int command_vocab(int argc, char **argv)
{
    struct general g = {0};
    const char *text_file = NULL, *out = NULL;
    int size = 4096, status;
    const struct arg table[] = {
        {"--text", ARG_TEXT, &text_file, "FILE", "the text", 0, 0, NULL, NULL},
        {"--size", ARG_INT, &size, "N", "pieces, special ones and bytes included", 512, 65536, NULL, NULL},
        {"--out", ARG_TEXT, &out, "FOLDER", "where tokenizer.json and tokenizer_config.json go", 0, 0, NULL, NULL},
        {0}};
    struct arg_spec spec = {.command = "vocab", .positional = "", .table = table, .summary = "Makes a vocabulary from a text."};
    if (!cli_begin(&spec, argc, argv, &g, &status))
        return status;
    struct gm_error err = {0};
    struct str text = {0}, tokenizer = {0}, config = {0};
    bool ok = text_file && out ? file_read_all(text_file, (size_t)1 << 30, &text, &err)
                               : error_set(&err, GM_E_USAGE, "read command line: vocab needs --text and --out");
    ok = ok && bpe_train(str_text(&text), text.len, size, &tokenizer, &err) && dir_make(out, &err);
    if (ok) {
        bpe_train_config(&config);
        char *a = path_join(out, "tokenizer.json"), *b = path_join(out, "tokenizer_config.json");
        ok = file_replace(a, tokenizer.data, tokenizer.len, &err) && file_replace(b, config.data, config.len, &err);
        mem_free(a);
        mem_free(b);
    }
    str_free(&text);
    str_free(&tokenizer);
    str_free(&config);
    return ok ? cli_end(EXIT_DONE) : cli_fail(&err);
}
