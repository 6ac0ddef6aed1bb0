/* no_coverage.c - what instrumented code calls at every branch, for programs that do not count: nothing. */
void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
}
