/* need.h - whether a field must be there. An optional field that is absent leaves the caller's
 * value (the default) as it is. */
#ifndef GM_FORMAT_NEED_H
#define GM_FORMAT_NEED_H

enum need { OPTIONAL = 0, REQUIRED = 1 };

#endif
