/* workbench.h - the screen side of the program: `gemmaiku [RUN]` and what `demo` opens on a terminal. UI thread. */
#ifndef GM_WORKBENCH_WORKBENCH_H
#define GM_WORKBENCH_WORKBENCH_H

#include "engine/train/options.h"
#include "src/cli/args.h"

int workbench_main(int argc, char **argv); /* `gemmaiku [RUN] [OPTIONS]`; an unknown first word is named as such */
/* Opens the workbench with a new run already training; gives the exit status. */
int workbench_train(const struct train_options *options, const struct general *general);
/* Is there a terminal that the workbench can draw on (stdin and stdout, TERM not dumb, no --plain)? */
bool workbench_possible(const struct general *general);

#endif
