/* ask.h - one line from a person on a plain terminal, with editing and history (GNU Readline); no screen.
 *
 * Ctrl-C empties the line, Ctrl-D on an empty line ends. UI thread only.
 *
 *     ask_open("/home/u/.local/state/gemmaiku/history-chat");
 *     while ((line = ask_line("> "))) { ...; free(line); }
 *     ask_close();
 */
#ifndef GM_UI_ASK_H
#define GM_UI_ASK_H

void ask_open(const char *history_file); /* NULL: no history kept */
char *ask_line(const char *prompt);      /* free(); NULL at the end */
void ask_close(void);                    /* writes the history */

#endif
