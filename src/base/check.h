// CHECK(condition): for mistakes of the programmer only, never for anything a user, a file or a socket can cause.
#pragma once

#include <cstdio>
#include <cstdlib>

#define ONSIGHT_CHECK(condition)                                                                      \
  do {                                                                                                \
    if (!(condition)) {                                                                               \
      std::fprintf(stderr, "onsight: internal error at %s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                                   \
    }                                                                                                 \
  } while (false)
