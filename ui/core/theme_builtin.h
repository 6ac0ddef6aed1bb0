/* theme_builtin.h - the text of themes/sumi.theme and themes/washi.theme as it is compiled in (theme_builtin.c), so that the program
 * has its colours uninstalled. A test compares it with the files. */
#ifndef GM_UI_THEME_BUILTIN_H
#define GM_UI_THEME_BUILTIN_H

extern const char theme_sumi_text[], theme_washi_text[];

#endif
