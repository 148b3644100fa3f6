#include "server/dialects.inc"

#include "server/dialect.h"

namespace onsight::server {

std::span<const Dialect* const> dialects() { return kDialects; }

}  // namespace onsight::server
