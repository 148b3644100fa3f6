// The codes that the program ends with and that the C library returns, documented in README.md and include/onsight.h.
#pragma once

#include "base/result.h"

namespace onsight {

constexpr int kExitDone = 0, kExitOutput = 1, kExitUsage = 2, kExitBadInput = 3, kExitMemory = 4,
              kExitInterrupted = 130;

constexpr int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage:
      return kExitUsage;
    case ErrorCode::kBadInput:
      return kExitBadInput;
    case ErrorCode::kOutOfMemory:
      return kExitMemory;
    case ErrorCode::kInterrupted:
      return kExitInterrupted;
    case ErrorCode::kIo:
    case ErrorCode::kBusy:
      return kExitOutput;
  }
  return kExitBadInput;
}

}  // namespace onsight
