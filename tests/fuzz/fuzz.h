/* fuzz.h - the entry point of a fuzz target, as libFuzzer calls it. */
#ifndef QI_TESTS_FUZZ_H
#define QI_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* 0; a crash or a sanitizer's report is the failure. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#endif
