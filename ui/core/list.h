/* list.h - a selection and a scroll position over `count` rows of which `page` are visible. A plain value.
 *
 *     list_move(&l, count, +1);  list_show(&l, count, page);  for (i = l.top; i < count && i < l.top + page; i++) draw(i, i == l.selected);
 */
#ifndef GM_UI_LIST_H
#define GM_UI_LIST_H

#include <stddef.h>

struct list {
    size_t selected, top;
};

void list_move(struct list *l, size_t count, long delta); /* clamped to 0..count-1 */
void list_show(struct list *l, size_t count, size_t page); /* scrolls so that the selection is visible and the page is full */

#endif
