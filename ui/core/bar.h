/* bar.h - a bar of plain characters: how long something took, and how much of that the work itself would have taken at the machine's limit.
 *
 *     bar_text(out, 20, 0.5, 0.7);      "#######...": half of 20 cells long, 70 % of it filled
 */
#ifndef GM_UI_BAR_H
#define GM_UI_BAR_H

enum { BAR_CELLS_MAX = 120 };

/* share of `cells` (clamped to 0..1), of which `filled` (clamped; NAN: not known, all) is '#', the rest '.'. What is more than nothing has a cell. Returns the cells used. */
int bar_text(char out[BAR_CELLS_MAX + 1], int cells, double share, double filled);

#endif
