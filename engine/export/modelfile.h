/* modelfile.h - Ollama's Modelfiles: written so that its parser reads back what was meant, read and checked by the same rules.
 *
 * Memory: modelfile_free frees what modelfile_read gave. Threads: any; nothing is shared.
 *
 *     struct modelfile_settings s = {.from = "./model.gguf", .template = o.text, .sampling = sampling_default(), ...};
 *     char *text = modelfile_write(&s, &err);
 */
#ifndef GM_EXPORT_MODELFILE_H
#define GM_EXPORT_MODELFILE_H

#include "engine/infer/sampler.h"

struct modelfile_settings {
    const char *from;                      /* "./model.gguf" */
    const char *template;                  /* an ollama_template's text */
    const char *system;                    /* what it was trained with; NULL: none */
    const char *const *stops;
    size_t n_stops;
    struct sampling sampling;              /* written in full: Ollama's defaults are others */
    int64_t num_ctx;                       /* 0: not written */
    const char *license;                   /* NULL: not known */
    const char *comment;                   /* lines for the head of the file; may be NULL */
};
/* The text of a Modelfile (mem_free). An error where Ollama's parser would not read back what was meant. */
char *modelfile_write(const struct modelfile_settings *s, struct gm_error *err);

struct modelfile_command {
    char *name, *value; /* lower case, "from" "template" "system" "adapter" "license" "message" ...; of a PARAMETER its own name */
    bool parameter;
    int line;
};
struct modelfile {
    struct modelfile_command *commands;
    size_t n, cap;
};
/* As Ollama reads it; an error names the line. `label` names the file. */
bool modelfile_read(struct modelfile *m, const char *text, size_t n, const char *label, struct gm_error *err);
const char *modelfile_value(const struct modelfile *m, const char *name); /* of the last such instruction; NULL: none */
void modelfile_free(struct modelfile *m);
/* What is wrong or doubtful, one line each (mem_free each and the array): unknown parameters, values that are no number, a TEMPLATE that
 * does not parse, stop texts that are empty. False: Ollama would refuse the file, for the first line's reason. */
bool modelfile_check(const struct modelfile *m, char ***lines, size_t *n);

#endif
