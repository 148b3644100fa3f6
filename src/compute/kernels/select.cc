#include <cstdlib>
#include <string>

#include "compute/kernels/kernel_table.h"

namespace onsight::compute {

std::vector<const KernelTable*> available_kernels() {
  std::vector<const KernelTable*> out = {&kScalarKernels};
  for (const KernelTable* table : simd_kernels()) out.push_back(table);
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
