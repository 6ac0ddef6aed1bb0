/* config_private.h - private to config*.c: what a family is, and what every reader checks at the
 * end. */
#ifndef GM_MODEL_CONFIG_PRIVATE_H
#define GM_MODEL_CONFIG_PRIVATE_H

#include "engine/model/config.h"

#define CONFIG_FAMILIES "gemma3_text, llama"

enum {
    MODEL_MAX_WIDTH = 1 << 17,
    MODEL_MAX_VOCAB = 1 << 24,
    MODEL_MAX_POSITIONS = 1 << 24,
    MODEL_MAX_HEADS = 1024,
    MODEL_MAX_HEAD_DIM = 1024
};

/* Everything of a family that no file has to say, and the defaults of what a file may leave out. */
void config_gemma3(struct model_config *c);
void config_llama(struct model_config *c);
/* Relations between the numbers; ranges were checked while reading. */
bool config_check(const struct model_config *c, struct gm_error *err);
void config_add_eos(struct model_config *c,
                    int64_t id); /* ignores repetitions, and more than MODEL_MAX_EOS */
bool config_read_gguf(struct model_config *c, const struct model_source *source,
                      struct gm_error *err);

#endif
