#include "ui/core/list.h"

void list_move(struct list *l, size_t count, long delta)
{
    if (count == 0) {
        l->selected = l->top = 0;
        return;
    }
    if (l->selected >= count)
        l->selected = count - 1;
    if (delta < 0)
        l->selected -= (size_t)-delta < l->selected ? (size_t)-delta : l->selected;
    else
        l->selected += (size_t)delta < count - 1 - l->selected ? (size_t)delta : count - 1 - l->selected;
}

void list_show(struct list *l, size_t count, size_t page)
{
    list_move(l, count, 0);
    if (page == 0 || count == 0)
        return;
    if (l->selected < l->top)
        l->top = l->selected;
    if (l->selected - l->top >= page)
        l->top = l->selected - page + 1;
    if (count <= page)
        l->top = 0;
    else if (l->top > count - page)
        l->top = count - page;
}
