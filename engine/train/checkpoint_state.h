/* checkpoint_state.h - state.json of a checkpoint. Private to this room. */
#ifndef GM_TRAIN_CHECKPOINT_STATE_H
#define GM_TRAIN_CHECKPOINT_STATE_H

#include "engine/train/checkpoint.h"

/* Writes state.json over what the folder holds: state, and size and hash of each other file. */
bool checkpoint_state_write(const char *dir, const struct checkpoint_state *s,
                            struct gm_error *err);
/* Every file that state.json names is there, with that size and hash. */
bool checkpoint_state_verify(const char *dir, struct gm_error *err);

#endif
