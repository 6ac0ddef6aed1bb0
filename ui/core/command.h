/* command.h - the one table of everything a person can ask for. Key bindings, the `:` line and its completion, the help
 * overlay, the hint line and docs/keys.md are all made from it; nothing is listed a second time.
 *
 * A row: X(ID, name, argument, who, keys, hint, help)
 *   name      what is typed after `:` (and after `/` in the chat); "" = key only
 *   argument  shown in help: "" none, "[X]" optional, "X" needed
 *   who       UI = the screens carry it out themselves; APP = it is handed to the program (src/workbench)
 *   keys      "context key key; context key ..." where a context is global or a screen; a screen's binding wins over global
 *   hint      one or two words for the hint line; "" = not there
 *
 * What APP commands carry in struct command:
 *   PAUSE, RESUME   the key p gives whichever makes sense
 *   EXPORT     number = index into view.ckpts.rows, flags = bit i for view.export_form.formats[i], text = folder to write
 *   QUIT       number = QUIT_NOW (nothing runs) / QUIT_SAVE / QUIT_WHEN_DONE
 *   CHAT       text = what was said                     TEMP    text = number as typed
 *   LOAD       number = index into view.ckpts.rows      SAMPLE  text = the prompt ("" = the run's own prompts)
 *   OPEN       number = index into view.start.rows      THEME   text = name
 *   SHOT       text = file to write the screen to       COPY    text = what to put on the clipboard (term_copy)
 *   CANCEL     stop what runs in front: the answer, the export
 */
#ifndef GM_UI_COMMAND_H
#define GM_UI_COMMAND_H

#include "engine/base/error.h"
#include "engine/base/str.h"
#include "ui/core/key.h"

/* clang-format off */
#define COMMAND_TABLE(X) \
    X(GO_DATA,      "data",     "",         UI,  "global 1 A-1",            "",              "data: rows, syllables, tokens, loss mask") \
    X(GO_TRAIN,     "train",    "",         UI,  "global 2 A-2",            "",              "train: the live curve") \
    X(GO_SAMPLES,   "samples",  "",         UI,  "global 3 A-3",            "",              "samples of each evaluation") \
    X(CHAT,         "chat",     "[TEXT]",   APP, "global 4 A-4",            "",              "chat with the model, or say TEXT to it") \
    X(GO_CKPTS,     "ckpts",    "",         UI,  "global 5 A-5",            "",              "checkpoints with losses and form rates") \
    X(EXPORT,       "export",   "[FOLDER]", APP, "global 6 A-6",            "",              "export form, or export to FOLDER at once") \
    X(GO_LOG,       "log",      "",         UI,  "global 7 A-7",            "",              "log: messages and warnings") \
    X(PAUSE,        "pause",    "",         APP, "global p",                "pause",         "pause or resume training") \
    X(RESUME,       "resume",   "",         APP, "",                        "",              "resume training") \
    X(SAVE,         "save",     "",         APP, "train s; ckpts s",        "save",          "write a checkpoint now") \
    X(EVAL,         "eval",     "",         APP, "train e; samples e; ckpts e", "eval",          "evaluate now: validation loss and samples") \
    X(STOP,         "stop",     "",         APP, "train x",                 "stop",          "stop the run, keeping a checkpoint (asks)") \
    X(SAMPLE,       "sample",   "[PROMPT]", APP, "samples s",               "sample",        "sample now, from PROMPT or the run's own") \
    X(TEMP,         "temp",     "T",        APP, "",                        "",              "temperature of the chat") \
    X(RETRY,        "retry",    "",         APP, "chat r",                  "retry",         "answer the last line again") \
    X(CLEAR,        "clear",    "",         APP, "",                        "",              "forget this chat") \
    X(LOAD,         "load",     "STEP",     APP, "ckpts Enter",             "talk to it",    "talk to this checkpoint (or best, live, base)") \
    X(OPEN,         "",         "",         APP, "start Enter",             "open",          "open it") \
    X(MOVE_DOWN,    "",         "",         UI,  "global j Down",           "move",          "down") \
    X(MOVE_UP,      "",         "",         UI,  "global k Up",             "",              "up") \
    X(MOVE_LEFT,    "",         "",         UI,  "global h Left",           "",              "left") \
    X(MOVE_RIGHT,   "",         "",         UI,  "global l Right",          "",              "right") \
    X(MOVE_FIRST,   "",         "",         UI,  "global g Home",           "",              "first") \
    X(MOVE_LAST,    "",         "",         UI,  "global G End",            "",              "last") \
    X(HALF_DOWN,    "",         "",         UI,  "global C-d",              "",              "half a page down") \
    X(HALF_UP,      "",         "",         UI,  "global C-u",              "",              "half a page up") \
    X(PAGE_DOWN,    "",         "",         UI,  "global PgDn",             "",              "page down") \
    X(PAGE_UP,      "",         "",         UI,  "global PgUp",             "",              "page up") \
    X(PANE_NEXT,    "",         "",         UI,  "global Tab",              "",              "next pane") \
    X(PANE_PREV,    "",         "",         UI,  "global S-Tab",            "",              "previous pane") \
    X(ZOOM_PANE,    "zoom",     "",         UI,  "global z; data Enter; samples Enter", "whole",         "this pane alone, and back") \
    X(SEARCH,       "search",   "TEXT",     UI,  "global /",                "search",        "search") \
    X(SEARCH_NEXT,  "",         "",         UI,  "global n",                "",              "next hit") \
    X(SEARCH_PREV,  "",         "",         UI,  "global N",                "",              "previous hit") \
    X(FILTER,       "filter",   "[WHAT]",   UI,  "data f; log f",           "filter",        "show only bad or TEXT; data also maybe dup long leak train valid test") \
    X(SORT,         "sort",     "[COLUMN]", UI,  "data s; ckpts o",         "sort",          "sort by the next column") \
    X(TOKENS,       "tokens",   "",         UI,  "data t",                  "tokens",        "tokens and loss mask of the row") \
    X(NEXT_TWIN,    "",         "",         UI,  "data d",                  "duplicate",     "go to the row this one duplicates") \
    X(TIME,         "time",     "",         UI,  "train t",                 "time",          "where the time of a step goes, or the curve again") \
    X(LOG_Y,        "logy",     "",         UI,  "train L",                 "log-y",         "logarithmic or linear axis") \
    X(SMOOTH_MORE,  "",         "",         UI,  "train w",                 "smooth",        "more smoothing") \
    X(SMOOTH_LESS,  "",         "",         UI,  "train W",                 "",              "less smoothing") \
    X(SMOOTH,       "smooth",   "0..0.999", UI,  "",                        "",              "smoothing of the curve") \
    X(CURSOR,       "",         "",         UI,  "train c",                 "cursor",        "read values off the curve (h l move)") \
    X(METRIC,       "metric",   "[NAME]",   UI,  "train v",                 "metric",        "next curve: loss, form rate, lr, grad norm, tok/s") \
    X(ZOOM_IN,      "",         "",         UI,  "train + =",               "zoom",          "zoom in") \
    X(ZOOM_OUT,     "",         "",         UI,  "train -",                 "",              "zoom out") \
    X(FIT,          "fit",      "",         UI,  "train 0 F",               "fit",           "whole run, following the newest step") \
    X(PAN_LEFT,     "",         "",         UI,  "train <",                 "",              "earlier") \
    X(PAN_RIGHT,    "",         "",         UI,  "train >",                 "",              "later") \
    X(RAW,          "raw",      "",         UI,  "train r",                 "raw",           "raw points on or off") \
    X(SAMPLE_LINE,  "",         "",         UI,  "samples i",               "prompt",        "type a prompt to sample from") \
    X(CHAT_LINE,    "",         "",         UI,  "chat i Enter",            "type",          "type to the model") \
    X(TO_EXPORT,    "",         "",         UI,  "ckpts x E",               "export",        "export this checkpoint") \
    X(FIELD_TOGGLE, "",         "",         UI,  "export Space",            "tick",          "tick, or choose") \
    X(FIELD_TYPE,   "",         "",         UI,  "export t",                "type",          "how the weights of this format are stored (h l, too)") \
    X(FIELD_ENTER,  "",         "",         UI,  "export Enter",            "edit, run",     "edit, or press the button") \
    X(COPY,         "copy",     "",         APP, "global y",                "copy",          "copy what is selected to the clipboard") \
    X(THEME,        "theme",    "NAME",     APP, "",                        "",              "sumi (dark) or washi (light)") \
    X(SHOT,         "shot",     "FILE",     APP, "",                        "",              "write this screen as text to FILE") \
    X(LINE,         "",         "",         UI,  "global :",                "command",       "command line (Tab completes)") \
    X(HELP,         "help",     "",         UI,  "global ? F1",             "help",          "this help") \
    X(BACK,         "",         "",         UI,  "global Esc",              "",              "back, close") \
    X(CANCEL,       "cancel",   "",         APP, "global C-c",              "",              "stop the answer or the export; twice: quit?") \
    X(REDRAW,       "redraw",   "",         APP, "global C-l",              "",              "draw the screen anew") \
    X(SUSPEND,      "suspend",  "",         APP, "global C-z",              "",              "suspend (training sleeps too)") \
    X(LEAVE,        "",         "",         UI,  "global q",                "back",          "back; at the top: quit") \
    X(QUIT,         "quit",     "",         APP, "global Q",                "",              "quit (asks while something runs)")
/* clang-format on */

enum command_id {
    COMMAND_NONE,
#define X(id, name, argument, who, keys, hint, help) COMMAND_##id,
    COMMAND_TABLE(X)
#undef X
        COMMAND_COUNT
};

enum { QUIT_NOW, QUIT_SAVE, QUIT_WHEN_DONE }; /* struct command.number of COMMAND_QUIT */

enum { COMMAND_CHOICES = 16 };
struct command {
    enum command_id id;
    long number;
    unsigned flags;
    unsigned char choices[COMMAND_CHOICES]; /* COMMAND_EXPORT: the type of each format that flags ticks */
    struct str text; /* owned; reuse the struct, free once */
};

void command_clear(struct command *c); /* id NONE, text empty (memory kept) */
void command_free(struct command *c);

struct command_info {
    const char *name, *argument, *keys, *hint, *help;
    bool app; /* handed to the program */
};
const struct command_info *command_info(enum command_id id);

/* "pause", " export out/x " -> id and text. False with err on an unknown name (the nearest one is named), a missing or a
 * needless argument. */
bool command_parse(struct command *c, const char *line, struct gm_error *err);
/* The i-th name that starts with prefix, NULL after the last: completion. */
const char *command_complete(const char *prefix, size_t i);

#endif
