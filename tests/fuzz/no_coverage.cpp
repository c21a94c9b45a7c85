// What the parsers of a sanitized build call in every program but the fuzzer.
extern "C" void __sanitizer_cov_trace_pc() {}
