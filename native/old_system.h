// Lets an addon that was compiled beside a newer glibc and libstdc++ load on older ones, down to
// those that libtorch itself needs (glibc 2.28). What the compiler would take from newer ones
// without need is named here and in old_system.cc; packing checks that nothing else is.
#pragma once

#include <condition_variable>

#if defined(__linux__) && defined(__GLIBCXX__)
// A new version of the symbol came with GCC 12, and the old one stayed beside it. Counts for the
// file that includes this.
asm(".symver _ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE,"
    "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE@GLIBCXX_3.4.11");
#endif
