/* number.c - how many syllables a number has when it is read aloud. */
#include "engine/verse/number.h"

#include "engine/verse/fold.h"

#include <string.h>

enum { DIGITS_MAX = 15 }; /* longer ones are read digit by digit */

static int below_hundred(int v)
{
    static const int ones[] = {2, 1, 1, 1, 1, 1, 1, 2, 1, 1,
                               1, 3, 1, 2, 2, 2, 2, 3, 2, 2}; /* zero .. nineteen */
    if (v < 20)
        return ones[v];
    return (v / 10 == 7 ? 3 : 2) + (v % 10 ? ones[v % 10] : 0);
}

/* 1..999. `and` says whether "and" was possible inside. */
static int below_thousand(int v, int *ands)
{
    if (v < 100)
        return below_hundred(v);
    if (v % 100 == 0)
        return below_hundred(v / 100) + 2;
    ++*ands;
    return below_hundred(v / 100) + 2 + below_hundred(v % 100);
}

static struct reading cardinal(uint64_t v)
{
    if (v == 0)
        return reading_of(2, FROM_NUMBER);
    int count = 0, ands = 0;
    uint64_t unit = 1000000000000u; /* trillion; every unit word has two syllables */
    for (; unit >= 1; unit /= 1000) {
        int group = (int)(v / unit % 1000);
        if (group == 0)
            continue;
        if (unit == 1 && group < 100 && v >= 1000)
            ands++;
        count += below_thousand(group, &ands) + (unit > 1 ? 2 : 0);
    }
    struct reading r = reading_of(count, FROM_NUMBER);
    for (int i = 1; i <= ands; i++)
        reading_also(&r, count + i);
    return r;
}

static struct reading year(int v)
{
    int high = v / 100, low = v % 100;
    struct reading whole = cardinal((uint64_t)v);
    if (high == 20 && low < 10)
        return whole; /* two thousand nine */
    struct reading r = reading_of(below_hundred(high) + (low == 0   ? 2
                                                         : low < 10 ? 1 + below_hundred(low)
                                                                    : below_hundred(low)),
                                  FROM_NUMBER);
    reading_or(&r, &whole);
    return r;
}

static struct reading digit_by_digit(const char *c, size_t n)
{
    long count = 0, zeros = 0, more = 0;
    for (size_t i = 0; i < n; i++) {
        count += below_hundred(c[i] - '0');
        zeros += c[i] == '0';
    }
    more = count - zeros; /* "oh" for zero */
    struct reading r = reading_of((int)(count < READING_CAP ? count : READING_CAP), FROM_NUMBER);
    if (zeros)
        reading_also(&r, (int)(more < READING_CAP ? more : READING_CAP));
    return r;
}

bool number_begins(const char *c, size_t n, size_t at)
{
    if (at >= n)
        return false;
    if (fold_is_digit(c[at]))
        return true;
    return (c[at] == '$' || c[at] == '#' || c[at] == '.') && at + 1 < n && fold_is_digit(c[at + 1]);
}

static size_t digits_at(const char *c, size_t n, size_t at)
{
    size_t k = 0;
    while (at + k < n && fold_is_digit(c[at + k]))
        k++;
    return k;
}

/* Do these letters stand at `at` as all that is left of the letters there? */
static bool letters_at(const char *c, size_t n, size_t at, const char *letters)
{
    size_t k = 0;
    for (; letters[k]; k++)
        if (at + k >= n || fold_lower(c[at + k]) != letters[k])
            return false;
    return at + k >= n || !fold_is_letter(c[at + k]);
}

static const struct {
    const char *letters;
    int likely, other;
} units[] = {{"am", 2, 2},  {"pm", 2, 2},  {"km", 4, 4}, {"kg", 3, 3}, {"cm", 4, 4},
             {"mm", 4, 4},  {"mg", 3, 3},  {"ml", 4, 4}, {"ft", 1, 1}, {"lb", 1, 1},
             {"lbs", 1, 1}, {"mph", 5, 3}, {"hz", 1, 1}, {"kb", 4, 2}, {"mb", 4, 2},
             {"gb", 4, 2},  {"k", 1, 2},   {"m", 2, 1},  {"h", 2, 1}};

/* What follows an integer: st nd rd th, s, units. Moves *at. */
static void suffix(const char *c, size_t n, size_t *at, uint64_t v, struct reading *r)
{
    static const char *const ordinals[] = {"st", "nd", "rd", "th"};
    for (size_t i = 0; i < 4; i++)
        if (letters_at(c, n, *at, ordinals[i])) {
            *at += 2;
            bool tens = v % 100 >= 20 && v % 10 == 0, second = v % 10 == 2 && v % 100 != 12;
            reading_shift(r, tens || second ? 1 : 0); /* twenty, twentieth; two, second */
            return;
        }
    size_t s = *at + (*at < n && c[*at] == '\'');
    if (letters_at(c, n, s, "s")) {
        *at = s + 1;
        if (v % 10 == 6 && v % 100 != 16)
            reading_shift(r, 1); /* sixes */
        return;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (letters_at(c, n, *at, units[i].letters)) {
            struct reading unit = reading_of(units[i].likely, FROM_NUMBER);
            reading_also(&unit, units[i].other);
            reading_plus(r, &unit);
            *at += strlen(units[i].letters);
            return;
        }
}

/* The integer at *at, with thousands marks. */
static struct reading integer(const char *c, size_t n, size_t *at, uint64_t *value)
{
    size_t k = digits_at(c, n, *at), end = *at + k;
    bool marks = false;
    char all[DIGITS_MAX + 1];
    size_t n_all = k < DIGITS_MAX ? k : DIGITS_MAX;
    memcpy(all, c + *at, n_all);
    while (k <= 3 && end < n && c[end] == ',' && digits_at(c, n, end + 1) == 3 &&
           n_all + 3 <= DIGITS_MAX) {
        memcpy(all + n_all, c + end + 1, 3);
        n_all += 3;
        end += 4;
        marks = true;
    }
    *value = 0;
    for (size_t i = 0; i < n_all; i++)
        *value = *value * 10 + (uint64_t)(all[i] - '0');
    struct reading r;
    if (!marks && (k > DIGITS_MAX || (k > 1 && c[*at] == '0')))
        r = digit_by_digit(c + *at, k);
    else if (!marks && k == 4 && *value >= 1100 && *value < 2100)
        r = year((int)*value);
    else
        r = cardinal(*value);
    if (!marks && k == 4 && *value > 1009 && *value < 1100)
        reading_also(&r, 1 + below_hundred((int)(*value % 100))); /* ten sixty-six */
    *at = end;
    return r;
}

size_t number_read(const char *c, size_t n, size_t at, struct reading *r)
{
    size_t start = at;
    char money = c[at] == '$' || c[at] == '#' ? c[at] : '\0';
    at += money != '\0';
    uint64_t value = 0;
    bool whole = at < n && fold_is_digit(c[at]);
    *r = whole ? integer(c, n, &at, &value) : reading_of(0, FROM_NUMBER);
    if (at + 1 < n && c[at] == '.' && fold_is_digit(c[at + 1])) {
        size_t k = digits_at(c, n, at + 1);
        struct reading part = digit_by_digit(c + at + 1, k);
        if (money && whole && k == 2) { /* five dollars and fifty cents, five fifty */
            part = cardinal((uint64_t)((c[at + 1] - '0') * 10 + (c[at + 2] - '0')));
            reading_also(&part, part.count[0] + 2);
        } else
            reading_shift(&part, 1); /* point */
        reading_plus(r, &part);
        at += 1 + k;
    } else if (at + 2 < n && c[at] == ':' && digits_at(c, n, at + 1) == 2) {
        int minutes = (c[at + 1] - '0') * 10 + (c[at + 2] - '0');
        struct reading part =
            reading_of(below_hundred(minutes) + (minutes < 10), FROM_NUMBER); /* seven oh five */
        if (minutes == 0) { /* seven o'clock, seven hundred; seven a.m. */
            bool half_day = letters_at(c, n, at + 3, "am") || letters_at(c, n, at + 3, "pm");
            part = reading_of(half_day ? 0 : 2, FROM_NUMBER);
            reading_also(&part, half_day ? 2 : 0);
        }
        reading_plus(r, &part);
        at += 3;
        suffix(c, n, &at, 1, r);
    } else
        suffix(c, n, &at, value, r);
    if (money)
        reading_shift(r, money == '$' ? 2 : 1);
    return at - start;
}

bool number_roman(const char *c, size_t n, struct reading *r)
{
    static const struct {
        const char *sign;
        int value;
    } steps[] = {{"M", 1000}, {"CM", 900}, {"D", 500}, {"CD", 400}, {"C", 100},
                 {"XC", 90},  {"L", 50},   {"XL", 40}, {"X", 10},   {"IX", 9},
                 {"V", 5},    {"IV", 4},   {"I", 1}};
    if (n < 2 || n > 15)
        return false;
    size_t at = 0;
    int value = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        size_t k = strlen(steps[i].sign);
        int most =
            k == 2 || steps[i].sign[0] == 'D' || steps[i].sign[0] == 'L' || steps[i].sign[0] == 'V'
                ? 1
                : 3;
        for (int times = 0; times < most && n - at >= k && memcmp(c + at, steps[i].sign, k) == 0;
             times++) {
            at += k;
            value += steps[i].value;
        }
    }
    if (at != n)
        return false;
    *r = value >= 1100 && value < 2100 ? year(value) : cardinal((uint64_t)value);
    return true;
}
