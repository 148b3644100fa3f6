// Ceilings: what this machine can do at most, measured. Speeds of the kernels are stated as fractions of these.
//
//   Ceilings c = measure_ceilings({.threads = 2, .available_bytes = 4 << 30});   // well under two seconds
//   double fraction = ops / seconds / c.f32_ops_per_s;
#pragma once

#include <cstdint>
#include <string>

namespace onsight::compute {

struct CeilingOptions {
  int threads = 1;
  int64_t available_bytes = 0;  // of memory; reading is measured only where its buffers are a small part of it
  int64_t buffer_bytes = int64_t{256} << 20;  // of a thread, at least: reading is of buffers that no cache holds
  double seconds = 0.05;                      // of each of the measurements, of which there are three a ceiling
};

// Operations a second over all threads, registers to registers; a multiplication and an addition are two.
struct Ceilings {
  int threads = 0;
  double f32_ops_per_s = 0;
  double int8_ops_per_s = 0;    // products of bytes summed in 32 bits
  double bf16_ops_per_s = 0;    // 0: this CPU has no such instruction
  double read_bytes_per_s = 0;  // from memory, no cache can hold it; 0: not measured
  const char* f32_instruction = "";
  const char* int8_instruction = "";
  const char* bf16_instruction = "";
  std::string read_refused;  // why reading was not measured, in one sentence
};
Ceilings measure_ceilings(const CeilingOptions& options);
// read_bytes_per_s alone, or 0: other programs share the memory, so what it gives changes within seconds.
double measure_reading(const CeilingOptions& options);

}  // namespace onsight::compute
