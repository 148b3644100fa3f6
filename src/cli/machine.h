// The machine that a measurement was made on, and the peak of memory as something that can be measured again.
#pragma once

#include <cstdint>
#include <string>

namespace onsight::cli {

struct Machine {
  std::string cpu;  // "AMD EPYC 9654"
  std::string isa;  // of the kernels that were chosen: "AVX3_ZEN4"
  int cores = 0;    // that this process may use
  int64_t memory_bytes = 0;
};
Machine this_machine();

// Gives free memory back and lets the peak start from what is held now; where the system cannot, the peak stays that of
// the whole process.
void reset_peak_memory();

}  // namespace onsight::cli
