#include "ui/core/theme.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/core/theme_builtin.h"

static const char *const role_names[ROLE_COUNT] = {
#define X(id, name) name,
    ROLE_TABLE(X)
#undef X
};
static const char *const color_names[8] = {"black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"};
static const char *const attribute_names[5] = {"bold", "dim", "italic", "underline", "reverse"};

const char *role_name(enum role role)
{
    return role_names[role];
}

static int square(int x)
{
    return x * x;
}

/* The six levels of the colour cube and the 24 greys of the usual 256-colour palette. */
static void rgb_of_256(int index, int rgb[3])
{
    static const int level[6] = {0, 95, 135, 175, 215, 255};
    static const int basic[16][3] = {{0, 0, 0},       {205, 0, 0},   {0, 205, 0},   {205, 205, 0},  {0, 0, 238},    {205, 0, 205},
                                     {0, 205, 205},   {229, 229, 229}, {127, 127, 127}, {255, 0, 0},  {0, 255, 0},    {255, 255, 0},
                                     {92, 92, 255},   {255, 0, 255}, {0, 255, 255}, {255, 255, 255}};
    if (index < 16)
        memcpy(rgb, basic[index], sizeof basic[0]);
    else if (index < 232) {
        rgb[0] = level[(index - 16) / 36];
        rgb[1] = level[(index - 16) / 6 % 6];
        rgb[2] = level[(index - 16) % 6];
    } else
        rgb[0] = rgb[1] = rgb[2] = 8 + 10 * (index - 232);
}

static int nearest(const int rgb[3], int first, int last)
{
    int best = first, best_distance = 1 << 30;
    for (int i = first; i <= last; i++) {
        int other[3];
        rgb_of_256(i, other);
        int d = square(rgb[0] - other[0]) + square(rgb[1] - other[1]) + square(rgb[2] - other[2]);
        if (d < best_distance) {
            best_distance = d;
            best = i;
        }
    }
    return best;
}

int theme_rgb_to_256(int r, int g, int b)
{
    return nearest((const int[3]){r, g, b}, 16, 255);
}

int theme_256_to_16(int index)
{
    int rgb[3];
    if (index < 16)
        return index;
    rgb_of_256(index, rgb);
    return nearest(rgb, 0, 15);
}

/* ---- the parser: statements go into a draft (palette, styles by name), the draft becomes a theme at the end ---- */

enum { COLORS_MAX = 64, WORDS_MAX = 10 };
struct color {
    char name[24];
    int16_t by_level[3];
};
struct role_style {
    bool given, mono_given;
    int fg, bg; /* palette index */
    uint8_t attributes, mono;
};
struct draft {
    char name[32];
    bool light;
    struct color colors[COLORS_MAX];
    int color_count;
    struct role_style roles[ROLE_COUNT];
};

static bool parse_color_name(const char *word, int *out)
{
    int bright = strncmp(word, "bright", 6) == 0 ? 8 : 0;
    for (int i = 0; i < 8; i++)
        if (strcmp(word + (bright ? 6 : 0), color_names[i]) == 0) {
            *out = i + bright;
            return true;
        }
    return false;
}

static bool parse_rgb(const char *word, int rgb[3])
{
    if (word[0] != '#' || strlen(word) != 7)
        return false;
    for (int i = 0; i < 3; i++) {
        int high = hex_digit(word[1 + 2 * i]), low = hex_digit(word[2 + 2 * i]);
        if (high < 0 || low < 0)
            return false;
        rgb[i] = high * 16 + low;
    }
    return true;
}

static int color_find(const struct draft *d, const char *name)
{
    for (int i = 0; i < d->color_count; i++)
        if (strcmp(d->colors[i].name, name) == 0)
            return i;
    return -1;
}

static int role_find(const char *name)
{
    for (int i = 0; i < ROLE_COUNT; i++)
        if (strcmp(role_names[i], name) == 0)
            return i;
    return -1;
}

static bool color_statement(struct draft *d, char *const *word, int count, struct gm_error *err)
{
    if (count != 5)
        return error_set(err, GM_E_INPUT, "color wants NAME #rrggbb 0..255 NAME16, there are %d words", count - 1);
    if (strlen(word[1]) >= sizeof d->colors[0].name)
        return error_set(err, GM_E_INPUT, "colour name \"%.40s\" is longer than 23 characters", word[1]);
    struct color c = {.by_level = {-1, -1, -1}};
    snprintf(c.name, sizeof c.name, "%s", word[1]);
    int rgb[3], value;
    if (parse_rgb(word[2], rgb))
        c.by_level[THEME_256] = (int16_t)theme_rgb_to_256(rgb[0], rgb[1], rgb[2]);
    else if (strcmp(word[2], "default") != 0)
        return error_set(err, GM_E_INPUT, "colour \"%.40s\" is neither #rrggbb nor default", word[2]);
    if (strcmp(word[3], "-") != 0) {
        char *end;
        long index = strtol(word[3], &end, 10);
        if (*end || end == word[3] || index < 0 || index > 255)
            return error_set(err, GM_E_INPUT, "256-colour value \"%.40s\" is neither 0..255 nor -", word[3]);
        c.by_level[THEME_256] = (int16_t)index;
    }
    if (parse_color_name(word[4], &value))
        c.by_level[THEME_16] = (int16_t)value;
    else if (strcmp(word[4], "-") == 0)
        c.by_level[THEME_16] = c.by_level[THEME_256] < 0 ? -1 : (int16_t)theme_256_to_16(c.by_level[THEME_256]);
    else if (strcmp(word[4], "default") != 0)
        return error_set(err, GM_E_INPUT, "16-colour name \"%.40s\" is none (black ... white, brightblack ... brightwhite)", word[4]);
    int at = color_find(d, c.name);
    if (at < 0) {
        if (d->color_count == COLORS_MAX)
            return error_set(err, GM_E_INPUT, "more than %d colours", COLORS_MAX);
        at = d->color_count++;
    }
    d->colors[at] = c;
    return true;
}

static bool attribute_words(char *const *word, int count, uint8_t *out, struct gm_error *err)
{
    *out = 0;
    for (int i = 0; i < count; i++) {
        int k = 0;
        while (k < 5 && strcmp(word[i], attribute_names[k]) != 0)
            k++;
        if (k == 5)
            return error_set(err, GM_E_INPUT, "attribute \"%.40s\" is none of bold dim italic underline reverse", word[i]);
        *out |= (uint8_t)(1 << k);
    }
    return true;
}

static bool style_statement(struct draft *d, char *const *word, int count, struct gm_error *err)
{
    bool mono = strcmp(word[0], "mono") == 0;
    if (count < (mono ? 2 : 4))
        return error_set(err, GM_E_INPUT, mono ? "mono wants ROLE [attributes]" : "style wants ROLE FG BG [attributes]");
    int role = role_find(word[1]);
    if (role < 0)
        return error_set(err, GM_E_INPUT, "role \"%.40s\" is unknown (sumi.theme names them all)", word[1]);
    struct role_style *s = &d->roles[role];
    if (mono) {
        s->mono_given = true;
        return attribute_words(word + 2, count - 2, &s->mono, err);
    }
    int fg = color_find(d, word[2]), bg = color_find(d, word[3]);
    if (fg < 0 || bg < 0)
        return error_set(err, GM_E_INPUT, "colour \"%.40s\" is not defined above", fg < 0 ? word[2] : word[3]);
    s->given = true;
    s->fg = fg;
    s->bg = bg;
    return attribute_words(word + 4, count - 4, &s->attributes, err);
}

static bool parse_into(struct draft *d, const char *text, size_t n, const char *file, bool may_inherit, struct gm_error *err);

static bool statement(struct draft *d, char *const *word, int count, bool may_inherit, struct gm_error *err)
{
    if (strcmp(word[0], "color") == 0)
        return color_statement(d, word, count, err);
    if (strcmp(word[0], "style") == 0 || strcmp(word[0], "mono") == 0)
        return style_statement(d, word, count, err);
    if (count != 2)
        return error_set(err, GM_E_INPUT, "statement \"%.40s\" is none of name background inherit color style mono, or lacks its word",
                         word[0]);
    if (strcmp(word[0], "name") == 0) {
        if (strlen(word[1]) >= sizeof d->name)
            return error_set(err, GM_E_INPUT, "name is longer than 31 characters");
        snprintf(d->name, sizeof d->name, "%s", word[1]);
    } else if (strcmp(word[0], "background") == 0) {
        d->light = strcmp(word[1], "light") == 0;
        if (!d->light && strcmp(word[1], "dark") != 0)
            return error_set(err, GM_E_INPUT, "background \"%.40s\" is neither dark nor light", word[1]);
    } else if (strcmp(word[0], "inherit") == 0) {
        const char *base = strcmp(word[1], "sumi") == 0 ? theme_sumi_text : strcmp(word[1], "washi") == 0 ? theme_washi_text : NULL;
        if (!base || !may_inherit)
            return error_set(err, GM_E_INPUT, "cannot inherit \"%.40s\" (built-in themes: sumi washi)", word[1]);
        char name[32];
        snprintf(name, sizeof name, "%s", d->name);
        bool light = d->light;
        if (!parse_into(d, base, strlen(base), "built-in theme", strcmp(word[1], "sumi") != 0, err))
            return false;
        if (name[0]) { /* what the file said already stays */
            memcpy(d->name, name, sizeof name);
            d->light = light;
        }
    } else
        return error_set(err, GM_E_INPUT, "statement \"%.40s\" is none of name background inherit color style mono", word[0]);
    return true;
}

static bool parse_into(struct draft *d, const char *text, size_t n, const char *file, bool may_inherit, struct gm_error *err)
{
    int line_number = 0;
    for (size_t i = 0; i < n;) {
        size_t len = 0;
        while (i + len < n && text[i + len] != '\n')
            len++;
        line_number++;
        char line[256], *word[WORDS_MAX];
        int count = 0;
        if (len >= sizeof line)
            return error_set(err, GM_E_INPUT, "read theme %s:%d: line is longer than 255 bytes", file, line_number);
        memcpy(line, text + i, len);
        line[len] = '\0';
        i += len + 1;
        if (memchr(line, '\0', len))
            return error_set(err, GM_E_INPUT, "read theme %s:%d: holds a NUL byte", file, line_number);
        char *rest = NULL;
        for (char *w = strtok_r(line, " \t\r", &rest); w; w = strtok_r(NULL, " \t\r", &rest)) {
            bool color = count == 2 && strcmp(word[0], "color") == 0; /* here # begins a colour, elsewhere a comment */
            if (w[0] == '#' && !color)
                break;
            if (count == WORDS_MAX)
                return error_set(err, GM_E_INPUT, "read theme %s:%d: more than %d words", file, line_number, WORDS_MAX);
            word[count++] = w;
        }
        if (count > 0 && !statement(d, word, count, may_inherit, err))
            return error_context(err, "read theme %s:%d", file, line_number);
    }
    return true;
}

/* a.b.c -> a.b -> a -> text; returns the role whose line counts. */
static int fallback(const struct draft *d, int role, bool mono)
{
    char name[32];
    snprintf(name, sizeof name, "%s", role_names[role]);
    for (;;) {
        int r = role_find(name);
        if (r >= 0 && (mono ? d->roles[r].mono_given : d->roles[r].given))
            return r;
        char *dot = strrchr(name, '.');
        if (!dot)
            return ROLE_TEXT;
        *dot = '\0';
    }
}

bool theme_parse(struct theme *t, const char *text, size_t n, const char *file, struct gm_error *err)
{
    struct draft d = {0};
    if (!parse_into(&d, theme_sumi_text, strlen(theme_sumi_text), "built-in theme", false, err))
        return false;
    d.name[0] = '\0';
    if (!parse_into(&d, text, n, file, true, err))
        return false;
    struct theme made = {.light = d.light};
    snprintf(made.name, sizeof made.name, "%s", d.name[0] ? d.name : "unnamed");
    for (int role = 0; role < ROLE_COUNT; role++) {
        const struct role_style *s = &d.roles[fallback(&d, role, false)];
        for (int level = THEME_16; level <= THEME_256; level++)
            made.styles[level][role] =
                (struct style){d.colors[s->fg].by_level[level], d.colors[s->bg].by_level[level], s->attributes};
        uint8_t mono = d.roles[role].mono_given ? d.roles[role].mono : d.roles[role].given ? s->attributes : d.roles[fallback(&d, role, true)].mono;
        made.styles[THEME_MONO][role] = (struct style){-1, -1, mono};
    }
    *t = made;
    return true;
}

bool theme_builtin(struct theme *t, const char *name)
{
    const char *text = strcmp(name, "sumi") == 0 ? theme_sumi_text : strcmp(name, "washi") == 0 ? theme_washi_text : NULL;
    return text && theme_parse(t, text, strlen(text), "built-in theme", NULL);
}

const char *theme_default_name(const char *colorfgbg)
{
    const char *last = colorfgbg ? strrchr(colorfgbg, ';') : NULL;
    return last && (strcmp(last, ";7") == 0 || strcmp(last, ";15") == 0) ? "washi" : "sumi";
}

struct style theme_style(const struct theme *t, enum role role, enum theme_level level)
{
    return t->styles[level][role];
}

enum theme_level theme_level(const char *mode, const char *no_color, const char *term, int colors)
{
    bool always = mode && strcmp(mode, "always") == 0;
    if (mode && strcmp(mode, "never") == 0)
        return THEME_MONO;
    if (!always && ((no_color && *no_color) || !term || strcmp(term, "dumb") == 0))
        return THEME_MONO;
    return colors >= 256 ? THEME_256 : colors >= 8 ? THEME_16 : THEME_MONO;
}
