/* sniff.c - the table of look-alikes. */
#include "engine/format/sniff.h"

#include <string.h>
#include <strings.h>

struct look {
    const char *start;
    size_t n;
    const char *what, *remedy;
};

#define LOOK(start, what, remedy) {start, sizeof(start) - 1, what, remedy}
static const struct look looks[] = {
    LOOK("version https://git-lfs", "it is a git-lfs pointer, not the file itself",
         "run `git lfs pull`, or download the file"),
    LOOK("<!doctype", "it is a web page", "download the file itself, not the page about it"),
    LOOK("<html", "it is a web page", "download the file itself, not the page about it"),
    LOOK("\x1f\x8b", "it is compressed with gzip", "unpack it first"),
    LOOK("\xfd"
         "7zXZ",
         "it is compressed with xz", "unpack it first"),
    LOOK("\x28\xb5\x2f\xfd", "it is compressed with zstd", "unpack it first"),
    LOOK("PK\x03\x04", "it is a zip archive or a pickled PyTorch file",
         "pickles are not read: convert it to safetensors"),
    LOOK("\x80\x02", "it is a Python pickle", "pickles are not read: convert it to safetensors"),
    LOOK("\x89HDF", "it is an HDF5 file", "convert it to safetensors"),
    LOOK("lmgg", "it is a GGML file of the time before GGUF", "convert it to GGUF"),
    LOOK("tjgg", "it is a GGML file of the time before GGUF", "convert it to GGUF"),
};

bool sniff_is_gguf(const unsigned char *bytes, size_t n)
{
    return n >= 4 && memcmp(bytes, "GGUF", 4) == 0;
}

/* A small header length, then the brace of the header. */
bool sniff_is_safetensors(const unsigned char *bytes, size_t n)
{
    return n >= 9 && bytes[8] == '{' && bytes[4] == 0 && bytes[5] == 0 && bytes[6] == 0 &&
           bytes[7] == 0;
}

static bool is_text_json(const unsigned char *bytes, size_t n)
{
    return n >= 2 && bytes[0] == '{' &&
           (bytes[1] == '"' || bytes[1] == '\n' || bytes[1] == '\r' || bytes[1] == ' ' ||
            bytes[1] == '}');
}

bool sniff_refuse(const unsigned char *bytes, size_t n, enum sniff_wanted wanted, const char *label,
                  struct gm_error *err)
{
    if (n == 0)
        return error_set(err, GM_E_INPUT, "read %s: it is empty (copy or download it again)",
                         label);
    const bool is_ours = sniff_is_safetensors(bytes, n); /* first: a header of 640 bytes begins like a pickle */
    for (size_t i = 0; !is_ours && i < sizeof looks / sizeof *looks; i++)
        if (n >= looks[i].n && strncasecmp((const char *)bytes, looks[i].start, looks[i].n) == 0)
            return error_set(err, GM_E_INPUT, "read %s: %s (%s)", label, looks[i].what,
                             looks[i].remedy);
    if (wanted != SNIFF_GGUF && sniff_is_gguf(bytes, n))
        return error_set(err, GM_E_INPUT,
                         "read %s: it is a GGUF file (name the file itself as MODEL)", label);
    if (wanted != SNIFF_SAFETENSORS && is_ours)
        return error_set(err, GM_E_INPUT,
                         "read %s: it is a safetensors file (name the folder that holds it)",
                         label);
    if (wanted != SNIFF_JSON && is_text_json(bytes, n))
        return error_set(err, GM_E_INPUT,
                         "read %s: it is a JSON text, not weights (name the folder of the model, "
                         "or its weights)",
                         label);
    return true;
}
