#include <strings.h>

#include <cstdlib>
#include <string>

#include "compute/kernels/pairs.h"
#include "compute/kernels/simd_tables.h"

namespace onsight::compute {

namespace {

// An instruction set: the float kernels of one name with the dot tiles of another, worst first.
struct Isa {
  std::string_view simd, tiles;
  const char* name;
  bool pairs = false;
};
constexpr Isa kIsas[] = {
    {"SSE4", "scalar", "SSE4"},    {"AVX2", "AVX2", "AVX2"},
    {"AVX3", "AVX2", "AVX3"},      {"AVX3", "VNNI", "AVX3_VNNI"},
    {"NEON", "NEON", "NEON"},      {"NEON", "DOT", "NEON_DOT"},
    {"NEON", "I8MM", "NEON_I8MM"}, {"AVX3", "VNNI", "AVX3_BF16", true},
};

std::vector<KernelTable> make_tables() {
  std::vector<KernelTable> tables = {kScalarKernels};
  const std::vector<SimdTable> simds = simd_kernels();
  const std::vector<const DotTiles*> tiles = dot_tiles();
  for (const Isa& isa : kIsas)
    for (const SimdTable& simd : simds)
      for (const DotTiles* t : tiles) {
        if (simd.kernels.name != isa.simd || t->name != isa.tiles || (isa.pairs && !pair_tiles())) continue;
        KernelTable table = simd.kernels;
        table.name = isa.name;
        table.integer = simd_integer(simd.target);
        table.dot = t;
        if (isa.pairs) table.pairs = pair_tiles();
        tables.push_back(table);
      }
  return tables;
}

}  // namespace

std::vector<const KernelTable*> available_kernels() {
  static const std::vector<KernelTable> kTables = make_tables();
  std::vector<const KernelTable*> out;
  for (const KernelTable& table : kTables) out.push_back(&table);
  return out;
}

Result<const KernelTable*> select_kernels() {
  std::vector<const KernelTable*> tables = available_kernels();
  const char* forced = std::getenv("ONSIGHT_ISA");
  if (!forced || !*forced) return tables.back();
  std::string names;
  for (const KernelTable* table : tables) {
    if (strcasecmp(table->name, forced) == 0) return table;
    names += (names.empty() ? "" : ", ") + std::string(table->name);
  }
  return make_error(ErrorCode::kUsage, "ONSIGHT_ISA={}: this machine has {}", forced, names);
}

}  // namespace onsight::compute
