/* fuzz.h - what a fuzz target is: one function that is given any bytes and must come back, having read nothing that is not
 * its own and having given back all memory. The same function as libFuzzer's, so that it can drive the targets, too.
 *
 *     int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
 *     {
 *         struct gm_error err = {0};
 *         json_decref(json_parse((const char *)data, size, "fuzz", &err));
 *         return 0;
 *     }
 *
 * Targets that take more than one file cut the input at lines "%%%%" (fuzz_parts); a target that opens files writes them into a
 * folder of its own (fuzz_file), which is made once and lies in memory where the system has /dev/shm.
 */
#ifndef GM_TEST_FUZZ_H
#define GM_TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Optional: what is opened once, before the first input. 0: done. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
/* Words that the format knows, for the mutator; ends with NULL. Every target has one. */
extern const char *const FUZZ_WORDS[];

struct fuzz_part {
    const uint8_t *data;
    size_t size;
};
/* Cuts the input into at most max parts; missing ones are empty. Returns how many there were. */
int fuzz_parts(const uint8_t *data, size_t size, struct fuzz_part *parts, int max);
/* Writes the bytes to NAME in the target's folder and returns the path, which stays valid; size 0 removes the file. */
const char *fuzz_file(const char *name, const void *data, size_t size);
const char *fuzz_folder(void);

#endif
