#include <cstdlib>
#include <string>

#include "compute/kernels/simd_tables.h"

namespace onsight::compute {

namespace {

// Float tables and dot tiles side by side: each table with the best tiles that come with its instruction set, and the
// best table once more with tiles beyond it.
std::vector<KernelTable> make_tables() {
  std::vector<KernelTable> tables = {kScalarKernels};
  const std::vector<const DotTiles*> tiles = dot_tiles();
  for (const SimdTable& simd : simd_kernels()) {
    KernelTable table = simd.kernels;
    const std::string_view name = table.name;
    table.integer = simd_integer(simd.target);
    table.dot = &kScalarDot;
    for (const DotTiles* t : tiles)
      if (std::string_view(t->name) == "AVX2" && name != "SSE4") table.dot = t;
    tables.push_back(table);
    for (const DotTiles* t : tiles) {
      const bool beyond = (name == "AVX3" && std::string_view(t->name) == "VNNI") ||
                          (name == "NEON" && std::string_view(t->name) == "DOT");
      if (!beyond) continue;
      table.name = name == "AVX3" ? "AVX3_VNNI" : "NEON_DOT";
      table.dot = t;
      tables.push_back(table);
    }
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
    if (std::string_view(table->name) == forced) return table;
    names += (names.empty() ? "" : ", ") + std::string(table->name);
  }
  return make_error(ErrorCode::kUsage, "ONSIGHT_ISA={}: this machine has {}", forced, names);
}

}  // namespace onsight::compute
