/* fixture.h - a view as a workbench would fill it, fixed for ever: what the golden screens are drawn from. */
#ifndef GM_TESTS_GOLDEN_FIXTURE_H
#define GM_TESTS_GOLDEN_FIXTURE_H

#include "ui/screens/view.h"

/* Variants a script can ask for with `view WORD`: training paused failed none nan answering exporting exported start empty poison. */
void fixture_fill(struct view *v);
bool fixture_variant(struct view *v, const char *word);

#endif
