/* export_all.h - `gemmaiku export --to all`: every form, and what each costs on the rows that the adapter was validated on. */
#ifndef GM_CLI_EXPORT_ALL_H
#define GM_CLI_EXPORT_ALL_H

#include "engine/export/export.h"
#include "src/cli/cli.h"

/* `data`: NULL: those of the adapter's run, or none. r: all but `to`. */
bool cli_export_all(const struct export_request *r, struct session *s, const char *data, int answers, const struct general *g, struct gm_error *err);

#endif
