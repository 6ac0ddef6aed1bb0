/* hub_cache.h - where the Hugging Face cache keeps a repository. Reads the environment
 * (HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HOME), never the network.
 * Room-internal. */
#ifndef GM_FORMAT_HUB_CACHE_H
#define GM_FORMAT_HUB_CACHE_H

#include "engine/base/error.h"

/* True for `name` or `org/name` in the letters that the hub allows. */
bool hub_id_valid(const char *id);
/* The folder of the snapshot that `main` points to (mem_free), or NULL with an error that names the
 * folder searched. */
char *hub_cache_find(const char *id, struct gm_error *err);

#endif
