// Marks a loop that is compiled once for every instruction set and chosen when the program starts.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(CMAT_SANITIZED)
#define CMAT_MULTIVERSION __attribute__((target_clones("default", "avx2")))
#else
#define CMAT_MULTIVERSION
#endif
