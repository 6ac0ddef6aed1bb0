/* hub_cache.h - where the Hugging Face cache keeps a repository. Reads the environment
 * (HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HOME), never the network.
 *
 * models--ORG--NAME/refs/REVISION holds a commit, snapshots/COMMIT the files, as links into blobs/.
 * A revision without a file in refs is a commit itself. Another snapshot is never taken instead.
 * (huggingface_hub: file_download.py, constants.py)
 */
#ifndef GM_FORMAT_HUB_CACHE_H
#define GM_FORMAT_HUB_CACHE_H

#include "engine/base/error.h"

/* True for `name` or `org/name`, with `@revision` or without, in the letters that the hub allows. */
bool hub_id_valid(const char *id);
/* "org/name" of a MODEL that is a repository of the hub and no path that is here (mem_free); NULL: it is none. */
char *hub_repository(const char *model);
/* The folder of the snapshot of the revision (`main` unless the id names one; mem_free), or NULL with an error that
 * names the folder searched. */
char *hub_cache_find(const char *id, struct gm_error *err);
/* False for a snapshot that was downloaded in part only: a file is missing behind its link, or there are no weights. */
bool hub_cache_whole(const char *snapshot, const char *id, struct gm_error *err);

#endif
