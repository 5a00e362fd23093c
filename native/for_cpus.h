// One source for several CPUs: which version of a function runs is found when the addon is loaded.
#pragma once

// What such a function calls must be inlined into it: `[[gnu::always_inline]]`.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define LOPT_FOR_CPUS __attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#else
#define LOPT_FOR_CPUS
#endif
