/* peers.h - the programs that an export goes to, where they compute something else than we do: one table, told at the export and in its card.
 *
 * Threads: any. The lines live as long as the program.
 *
 *     const char *lines[PEERS_MAX];
 *     int n = peers_that_differ(EXPORT_MLX, &model->config, model->source, lines);
 */
#ifndef GM_EXPORT_PEERS_H
#define GM_EXPORT_PEERS_H

#include "engine/export/export.h"

enum { PEERS_MAX = 24 };
/* source may be NULL. */
int peers_that_differ(enum export_to target, const struct model_config *c, const struct model_source *source, const char *lines[PEERS_MAX]);

#endif
