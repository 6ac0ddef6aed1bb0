/* model_shards.h - the safetensors files of a model source, one or many. Room-internal. */
#ifndef GM_FORMAT_MODEL_SHARDS_H
#define GM_FORMAT_MODEL_SHARDS_H

#include "engine/format/model_source.h"

bool model_file_name_plain(const char *name);
bool model_shards_add(struct model_source *s, const char *name, struct gm_error *err);
bool model_shards_add_bytes(struct model_source *s, const void *data, size_t size,
                            struct gm_error *err);
/* `has_single`: there is a model.safetensors, too. */
bool model_shards_open_index(struct model_source *s, bool has_single, struct gm_error *err);
void model_shards_close(struct model_source *s);

#endif
