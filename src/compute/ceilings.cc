#include "compute/ceilings.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#include <sys/auxv.h>
#endif

namespace onsight::compute {
namespace {

using Clock = std::chrono::steady_clock;

// Chains that do not wait for each other: enough to hide the latency of any current core (4 cycles, 2 a cycle), few
// enough for 16 registers.
constexpr int kChains = 12;
constexpr int64_t kBlock = 20'000;  // steps between two looks at the clock: some tens of microseconds

// Runs kBlock steps of kChains instructions; `ops` are the operations of one instruction.
struct Probe {
  void (*run)() = nullptr;
  double ops = 0;
  const char* instruction = "";
};
struct Probes {
  Probe f32, int8, bf16;
};

#if defined(__x86_64__)

// The empty asm hides where a value came from and that nobody reads it.
__attribute__((target("avx512f"))) void f32_avx512() {
  __m512 acc[kChains];
  for (__m512& a : acc) a = _mm512_set1_ps(1e-9f);
  __m512 x = _mm512_set1_ps(1.0000001f), y = _mm512_set1_ps(1e-7f);
  asm volatile("" : "+v"(x), "+v"(y));
  for (int64_t i = 0; i < kBlock; ++i)
    for (__m512& a : acc) a = _mm512_fmadd_ps(a, x, y);
  for (__m512& a : acc) asm volatile("" : "+v"(a));
}

__attribute__((target("avx2,fma"))) void f32_avx2() {
  __m256 acc[kChains];
  for (__m256& a : acc) a = _mm256_set1_ps(1e-9f);
  __m256 x = _mm256_set1_ps(1.0000001f), y = _mm256_set1_ps(1e-7f);
  asm volatile("" : "+x"(x), "+x"(y));
  for (int64_t i = 0; i < kBlock; ++i)
    for (__m256& a : acc) a = _mm256_fmadd_ps(a, x, y);
  for (__m256& a : acc) asm volatile("" : "+x"(a));
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) void int8_avx512vnni() {
  __m512i acc[kChains];
  for (__m512i& a : acc) a = _mm512_setzero_si512();
  __m512i x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(-5);
  asm volatile("" : "+v"(x), "+v"(y));
  for (int64_t i = 0; i < kBlock; ++i)
    for (__m512i& a : acc) a = _mm512_dpbusd_epi32(a, x, y);
  for (__m512i& a : acc) asm volatile("" : "+v"(a));
}

__attribute__((target("avx2,avxvnni"))) void int8_avxvnni() {
  __m256i acc[kChains];
  for (__m256i& a : acc) a = _mm256_setzero_si256();
  __m256i x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(-5);
  asm volatile("" : "+x"(x), "+x"(y));
  for (int64_t i = 0; i < kBlock; ++i)
    for (__m256i& a : acc) a = _mm256_dpbusd_avx_epi32(a, x, y);
  for (__m256i& a : acc) asm volatile("" : "+x"(a));
}

// Three instructions for what VNNI does in one: products summed in pairs, pairs in fours, fours onto the sum.
__attribute__((target("avx2"))) void int8_avx2() {
  __m256i acc[kChains];
  for (__m256i& a : acc) a = _mm256_setzero_si256();
  __m256i x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(-5), ones = _mm256_set1_epi16(1);
  for (int64_t i = 0; i < kBlock; ++i) {
    for (__m256i& a : acc) {
      asm volatile("" : "+x"(x));  // or the products would be computed once
      a = _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), ones));
    }
  }
  for (__m256i& a : acc) asm volatile("" : "+x"(a));
}

__attribute__((target("avx512f,avx512bf16"))) void bf16_avx512() {
  __m512 acc[kChains];
  for (__m512& a : acc) a = _mm512_setzero_ps();
  __m512 one = _mm512_set1_ps(1e-9f);
  asm volatile("" : "+v"(one));
  const __m512bh x = _mm512_cvtne2ps_pbh(one, one);
  for (int64_t i = 0; i < kBlock; ++i)
    for (__m512& a : acc) a = _mm512_dpbf16_ps(a, x, x);
  for (__m512& a : acc) asm volatile("" : "+v"(a));
}

// Without AVX2 the program computes with SSE2: a product, then a sum.
void f32_sse2() {
  __m128 acc[kChains];
  for (__m128& a : acc) a = _mm_set1_ps(1e-9f);
  __m128 x = _mm_set1_ps(1.0000001f), y = _mm_set1_ps(1e-7f);
  asm volatile("" : "+x"(x), "+x"(y));
  for (int64_t i = 0; i < kBlock; ++i)
    for (__m128& a : acc) a = _mm_add_ps(_mm_mul_ps(a, x), y);
  for (__m128& a : acc) asm volatile("" : "+x"(a));
}

void int8_sse2() {  // bytes widened to 16 bits beforehand
  __m128i acc[kChains];
  for (__m128i& a : acc) a = _mm_setzero_si128();
  __m128i x = _mm_set1_epi16(3), y = _mm_set1_epi16(-5);
  for (int64_t i = 0; i < kBlock; ++i) {
    for (__m128i& a : acc) {
      asm volatile("" : "+x"(x));
      a = _mm_add_epi32(a, _mm_madd_epi16(x, y));
    }
  }
  for (__m128i& a : acc) asm volatile("" : "+x"(a));
}

// The compilers' own list of CPU features does not name AVX-VNNI everywhere.
bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

Probes probes_of_this_cpu() {
  Probes p{{f32_sse2, 2.0 * 4, "SSE2 mulps, addps"}, {int8_sse2, 2.0 * 8, "SSE2 pmaddwd"}, {}};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    p.f32 = {f32_avx2, 2.0 * 8, "AVX2 vfmadd"};
    p.int8 = {int8_avx2, 2.0 * 32, "AVX2 vpmaddubsw"};
  }
  if (has_avx_vnni()) p.int8 = {int8_avxvnni, 2.0 * 32, "AVX-VNNI vpdpbusd"};
  if (__builtin_cpu_supports("avx512f")) p.f32 = {f32_avx512, 2.0 * 16, "AVX-512 vfmadd"};
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni"))
    p.int8 = {int8_avx512vnni, 2.0 * 64, "AVX-512 vpdpbusd"};
  if (__builtin_cpu_supports("avx512bf16")) p.bf16 = {bf16_avx512, 2.0 * 32, "AVX-512 vdpbf16ps"};
  return p;
}

#elif defined(__aarch64__)

void f32_neon() {
  float32x4_t acc[kChains];
  for (float32x4_t& a : acc) a = vdupq_n_f32(1e-9f);
  float32x4_t x = vdupq_n_f32(1.0000001f), y = vdupq_n_f32(1e-7f);
  asm volatile("" : "+w"(x), "+w"(y));
  for (int64_t i = 0; i < kBlock; ++i)
    for (float32x4_t& a : acc) a = vfmaq_f32(a, x, y);
  for (float32x4_t& a : acc) asm volatile("" : "+w"(a));
}

// Written as words: compilers of this age declare these instructions only where the whole file is built for them. The
// operands are v30 and v31, the sums v0 to v11.
#define ONSIGHT_TWELVE(word)                                                                                        \
  ".inst " word " + 0\n.inst " word " + 1\n.inst " word " + 2\n.inst " word " + 3\n.inst " word " + 4\n.inst " word \
  " + 5\n.inst " word " + 6\n.inst " word " + 7\n.inst " word " + 8\n.inst " word " + 9\n.inst " word               \
  " + 10\n.inst " word " + 11\n"
#define ONSIGHT_TWELVE_CLOBBERS "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v30", "v31"

void int8_neon_dot() {  // sdot vN.4s, v30.16b, v31.16b
  asm volatile("movi v30.16b, #3\nmovi v31.16b, #5\n" ::: "v30", "v31");
  for (int64_t i = 0; i < kBlock; ++i) asm volatile(ONSIGHT_TWELVE("0x4e9f97c0")::: ONSIGHT_TWELVE_CLOBBERS);
}

void int8_neon_matrix() {  // smmla vN.4s, v30.16b, v31.16b
  asm volatile("movi v30.16b, #3\nmovi v31.16b, #5\n" ::: "v30", "v31");
  for (int64_t i = 0; i < kBlock; ++i) asm volatile(ONSIGHT_TWELVE("0x4e9fa7c0")::: ONSIGHT_TWELVE_CLOBBERS);
}

void bf16_neon_dot() {  // bfdot vN.4s, v30.8h, v31.8h
  asm volatile("movi v30.16b, #0\nmovi v31.16b, #0\n" ::: "v30", "v31");
  for (int64_t i = 0; i < kBlock; ++i) asm volatile(ONSIGHT_TWELVE("0x6e5fffc0")::: ONSIGHT_TWELVE_CLOBBERS);
}

void int8_neon() {  // smlal on halves, the pairs onto the sum
  int32x4_t acc[kChains];
  for (int32x4_t& a : acc) a = vdupq_n_s32(0);
  int8x8_t x = vdup_n_s8(3), y = vdup_n_s8(-5);
  for (int64_t i = 0; i < kBlock; ++i) {
    for (int32x4_t& a : acc) {
      asm volatile("" : "+w"(x));
      a = vpadalq_s16(a, vmull_s8(x, y));
    }
  }
  for (int32x4_t& a : acc) asm volatile("" : "+w"(a));
}

Probes probes_of_this_cpu() {
  constexpr unsigned long kDotProduct = 1ul << 20;                         // HWCAP_ASIMDDP
  constexpr unsigned long kMatrixMultiply = 1ul << 13, kBf16 = 1ul << 14;  // HWCAP2_I8MM, HWCAP2_BF16
  Probes p{{f32_neon, 2.0 * 4, "NEON fmla"}, {int8_neon, 2.0 * 8, "NEON smull, sadalp"}, {}};
  if (::getauxval(AT_HWCAP) & kDotProduct) p.int8 = {int8_neon_dot, 2.0 * 16, "NEON sdot"};
  if (::getauxval(AT_HWCAP2) & kMatrixMultiply) p.int8 = {int8_neon_matrix, 2.0 * 32, "NEON smmla"};
  if (::getauxval(AT_HWCAP2) & kBf16) p.bf16 = {bf16_neon_dot, 2.0 * 8, "NEON bfdot"};
  return p;
}

#else

void f32_plain() {
  float acc[kChains] = {};
  volatile float seed = 1.0000001f;
  const float x = seed;
  for (int64_t i = 0; i < kBlock; ++i)
    for (float& a : acc) a = a * x + x;
  for (const float& a : acc) asm volatile("" ::"m"(a));
}

void int8_plain() {
  int32_t acc[kChains] = {};
  volatile int8_t seed = 3;
  for (int64_t i = 0; i < kBlock; ++i) {
    const int32_t x = seed;
    for (int32_t& a : acc) a += x * x;
  }
  for (const int32_t& a : acc) asm volatile("" ::"m"(a));
}

Probes probes_of_this_cpu() { return {{f32_plain, 2, "plain C++"}, {int8_plain, 2, "plain C++"}, {}}; }

#endif

// Calls body(thread) on `threads` threads at once and returns the sum of what they return.
template <class Body>
double on_threads(int threads, const Body& body) {
  std::vector<double> results(static_cast<size_t>(threads));
  std::atomic<int> waiting{threads};
  std::vector<std::jthread> workers;
  for (int i = 0; i < threads; ++i) {
    workers.emplace_back([&, i] {
      for (waiting.fetch_sub(1); waiting.load() > 0;) std::this_thread::yield();
      results[static_cast<size_t>(i)] = body(i);
    });
  }
  workers.clear();
  double sum = 0;
  for (double r : results) sum += r;
  return sum;
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Repeats `pass`, which returns the work that it did, for the wanted time; work a second.
template <class Pass>
double rate_of(double seconds, const Pass& pass) {
  pass();  // wakes the wide units, and pages
  double work = 0;
  const Clock::time_point start = Clock::now();
  do work += pass();
  while (seconds_since(start) < seconds);
  return work / seconds_since(start);
}

// The best of three: whatever else the machine does can only slow one down.
template <class Measure>
double best_of_three(const Measure& measure) {
  double best = 0;
  for (int i = 0; i < 3; ++i) best = std::max(best, measure());
  return best;
}

double ops_per_s(const Probe& probe, const CeilingOptions& options) {
  if (!probe.run) return 0;
  return best_of_three([&] {
    return on_threads(options.threads, [&](int) {
      return rate_of(options.seconds, [&] {
        probe.run();
        return probe.ops * kChains * kBlock;
      });
    });
  });
}

constexpr size_t kLine = 8;  // words of a cache line

// The words of a buffer, all looked at. The compiler makes vectors of the eight independent sums.
uint64_t sum_of(const uint64_t* words, size_t n) {
  uint64_t sums[kLine] = {};
  for (size_t i = 0; i < n; i += kLine)
    for (size_t k = 0; k < kLine; ++k) sums[k] += words[i + k];
  uint64_t sum = 0;
  for (uint64_t s : sums) sum += s;
  return sum;
}

void read_memory(const CeilingOptions& options, Ceilings& out) {
  int64_t cache = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
  cache = std::max<int64_t>(0, ::sysconf(_SC_LEVEL3_CACHE_SIZE));
#endif
  const int64_t bytes = std::max(options.buffer_bytes, 2 * cache / options.threads) / 4096 * 4096;
  const int64_t needed = bytes * options.threads;
  if (needed > options.available_bytes / 2) {
    out.read_refused = fmt::format("reading is measured on {} MB, of {} MB that are free", needed >> 20,
                                   options.available_bytes >> 20);
    return;
  }
  const size_t words = static_cast<size_t>(bytes) / sizeof(uint64_t);
  std::vector<std::unique_ptr<uint64_t[]>> buffers(static_cast<size_t>(options.threads));
  for (auto& buffer : buffers) buffer.reset(new (std::nothrow) uint64_t[words]);
  if (std::any_of(buffers.begin(), buffers.end(), [](const auto& b) { return b == nullptr; })) {
    out.read_refused = fmt::format("reading is measured on {} MB, which were refused", needed >> 20);
    return;
  }
  // Each thread writes its own buffer first, so that the pages are near it.
  on_threads(options.threads, [&](int i) {
    std::fill_n(buffers[static_cast<size_t>(i)].get(), words, uint64_t{1});
    return 0.0;
  });
  out.read_bytes_per_s = best_of_three([&] {
    return on_threads(options.threads, [&](int i) {
      const uint64_t* buffer = buffers[static_cast<size_t>(i)].get();
      const Clock::time_point start = Clock::now();
      uint64_t sum = sum_of(buffer, words);
      asm volatile("" : "+r"(sum));
      return static_cast<double>(bytes) / seconds_since(start);
    });
  });
}

}  // namespace

Ceilings measure_ceilings(const CeilingOptions& wanted) {
  CeilingOptions options = wanted;
  options.threads = std::max(1, options.threads);
  const Probes probes = probes_of_this_cpu();
  Ceilings out;
  out.threads = options.threads;
  out.f32_instruction = probes.f32.instruction;
  out.int8_instruction = probes.int8.instruction;
  out.bf16_instruction = probes.bf16.instruction;
  out.f32_ops_per_s = ops_per_s(probes.f32, options);
  out.int8_ops_per_s = ops_per_s(probes.int8, options);
  out.bf16_ops_per_s = ops_per_s(probes.bf16, options);
  read_memory(options, out);
  return out;
}

double measure_reading(const CeilingOptions& wanted) {
  CeilingOptions options = wanted;
  options.threads = std::max(1, options.threads);
  Ceilings out;
  read_memory(options, out);
  return out.read_bytes_per_s;
}

}  // namespace onsight::compute
