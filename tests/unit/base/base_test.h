/* base_test.h - what the tests of engine/base share: a child process for what must end badly or
 * must change limits, and a directory of its own for every test that writes. */
#ifndef BASE_TEST_H
#define BASE_TEST_H

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/pool.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
/* A block that is not to be had is NULL here, too, instead of the end of the program. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
#else
enum { SANITIZED = 0 };
#endif

#define MARK "\xEF\xBF\xBD"

__attribute__((unused)) static struct pool *make_pool(int n_threads)
{
    struct gm_error err = {0};
    struct pool *p = pool_new(n_threads, &err);
    if (!p)
        fail_msg("%s", err.text);
    return p;
}

/* Runs `body` in a child without stderr and core file; its exit status, or 256 + the signal that
 * ended it. */
__attribute__((unused)) static int in_child(int (*body)(void *), void *arg)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        int null = open("/dev/null", O_WRONLY);
        if (null >= 0)
            dup2(null, STDERR_FILENO);
        _exit(body(arg));
    }
    assert_true(pid > 0);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* mem_free the name; temp_end removes what is left. */
__attribute__((unused)) static char *temp_begin(void)
{
    const char *root = getenv("TMPDIR");
    char *dir = mem_printf("%s/gm-base-XXXXXX", root && root[0] ? root : "/tmp");
    assert_non_null(mkdtemp(dir));
    return dir;
}

__attribute__((unused)) static void temp_end(char *dir)
{
    struct gm_error err = {0};
    if (!dir_remove(dir, &err))
        fail_msg("%s", err.text);
    assert_false(dir_exists(dir));
    mem_free(dir);
}

#endif
