/* keys_md.c - prints docs/keys.md from the command table; with a file name, compares instead (exit 1 when they differ). */
#include <stdio.h>
#include <string.h>

#include "ui/screens/app.h"

int main(int argc, char **argv)
{
    struct str made = {0}, known = {0};
    ui_keys_markdown(&made);
    int rc = 0;
    if (argc > 1) {
        FILE *file = fopen(argv[1], "rb");
        char buffer[4096];
        for (size_t n; file && (n = fread(buffer, 1, sizeof buffer, file)) > 0;)
            str_add_n(&known, buffer, n);
        rc = !file || known.len != made.len || memcmp(known.data, made.data, made.len) != 0;
        if (rc)
            fprintf(stderr, "%s is not what the command table says (build the target `keys`)\n", argv[1]);
        if (file)
            fclose(file);
    } else
        fputs(str_text(&made), stdout);
    str_free(&made);
    str_free(&known);
    return rc;
}
