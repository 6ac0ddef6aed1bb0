/* parts.h - private to engine/export: the parts that an export is made of. Each writer writes into an existing folder, and appends what a person should
 * know to the notes of the job. */
#ifndef GM_EXPORT_PARTS_H
#define GM_EXPORT_PARTS_H

#include "engine/export/export.h"
#include "engine/export/ollama_template.h"

/* One export under way. */
struct export_job {
    struct export_request r;      /* out: what messages call the target */
    enum export_type type;        /* resolved */
    const struct compute *c;
    struct export_result *result; /* notes go there */
    struct plan *plan;            /* of a whole model's weights; NULL: an adapter */
    const struct ollama_template *ollama; /* of EXPORT_OLLAMA; else NULL */
};
void export_note(struct export_job *j, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool export_cancelled(const struct export_job *j, struct gm_error *err); /* true with the error set */
void export_progress(const struct export_job *j, double share, const char *what);
enum { SHARE_CHECKING = 55, SHARE_PROVING = 85 }; /* percent of the whole: where reading back and comparing logits begin */

bool export_check_space(const char *folder, uint64_t need, struct gm_error *err);
/* A folder of several exports that appears whole or not at all: `fill` writes into the folder that it is given. */
bool export_whole_folder(const struct export_request *r, bool (*fill)(void *arg, const char *folder, struct gm_error *err), void *arg,
                         struct gm_error *err);

bool export_write_peft(struct export_job *j, const char *folder, struct gm_error *err);
bool export_write_gguf_lora(struct export_job *j, const char *file, struct gm_error *err);
bool export_write_safetensors(struct export_job *j, const char *folder, struct gm_error *err);
bool export_write_gguf(struct export_job *j, const char *file, struct gm_error *err);
/* For Ollama: what TEMPLATE will be, before anything is written (o stays with the job); the Modelfile; and the same read back beside its GGUF. */
bool export_ollama_begin(struct export_job *j, struct ollama_template *o, struct gm_error *err);
void export_note_bos(struct export_job *j); /* of EXPORT_GGUF, where it matters */
bool export_write_modelfile(struct export_job *j, const char *folder, struct gm_error *err);
bool export_check_modelfile(const struct export_job *j, const char *folder, const struct model_source *gguf, struct gm_error *err);
struct card;
/* README.md, when everything else is known; what c says of the request is filled in here. */
bool export_put_card(const struct export_request *r, struct card *c, const char *folder, struct gm_error *err);
/* Every weight of what was written, bit for bit. */
bool export_check_safetensors(struct export_job *j, const char *folder, struct gm_error *err);
bool export_check_gguf(struct export_job *j, const char *file, struct gm_error *err);

/* ---- shared by writers ---- */
struct gguf_out;
void export_put_general(struct gguf_out *g, const struct export_job *j); /* name, size, base */
/* Is it a projection of a layer, which an adapter may change? */
bool export_projection(const struct model *m, const struct mat *mat, int *layer, enum proj *p);
/* Row r of a GGUF's q or k of llama: h*D + 2i + s there is h*D + s*D/2 + i in the model. turned_heads 0: r. */
int64_t export_model_row(int64_t r, int64_t rows, int turned_heads);

/* Reads `path` back, compares weights, tokenizer and logits, and writes `proof`, a JSON file. */
bool export_prove(struct export_job *j, const char *path, const char *proof, struct gm_error *err);

#endif
