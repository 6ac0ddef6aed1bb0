/* layout.h - where things stand, as a pure function of the size: no state, no drawing, tested over every size.
 *
 * Row 0: title and tabs; then the panes; last but one row: run status; last row: hints, a prompt or a message.
 * Below 60 x 12 there is `small`: a notice. Panes that do not fit are empty (rows 0); pane 0 always fits.
 *
 *     struct layout l; layout_make(&l, rows, cols, LAYOUT_TRAIN, -1);     -1: no pane fills the whole body
 */
#ifndef GM_UI_LAYOUT_H
#define GM_UI_LAYOUT_H

#include "ui/core/canvas.h"

enum layout_kind { /* the first seven are the screens, in order */
    LAYOUT_DATA,
    LAYOUT_TRAIN,
    LAYOUT_SAMPLES,
    LAYOUT_CHAT,
    LAYOUT_CKPTS,
    LAYOUT_EXPORT,
    LAYOUT_LOG,
    LAYOUT_START,
    LAYOUT_COUNT
};
enum { PANE_MAX = 8, LAYOUT_MIN_ROWS = 12, LAYOUT_MIN_COLS = 60 };
enum { DATA_LIST, DATA_DETAIL, DATA_CHECKS };
enum { TRAIN_PLOT, TRAIN_RUN, TRAIN_SAMPLE, TRAIN_LR, TRAIN_NORM, TRAIN_SPEED, TRAIN_FORM };
enum { SAMPLES_LIST, SAMPLES_DETAIL };
enum { CHAT_PANE };
enum { CKPTS_LIST, CKPTS_DETAIL };
enum { EXPORT_FORM, EXPORT_RESULT };
enum { LOG_PANE };
enum { START_LIST, START_DETAIL };

struct layout {
    bool small;
    struct rect title, body, status, hint;
    struct rect pane[PANE_MAX];
    int pane_count; /* of this screen, shown or not */
};

void layout_make(struct layout *l, int rows, int cols, enum layout_kind kind, int zoomed);
bool layout_shown(const struct layout *l, int pane);

#endif
