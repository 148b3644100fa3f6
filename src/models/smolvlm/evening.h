// Evens out the inputs of the tower's layers before they become codes.
#pragma once

#include <vector>

#include "models/smolvlm/weights.h"

namespace onsight::models::smolvlm {

// Fills TensorSpec::evening for the norms of a tower in codes and the matrices that they feed: the square root of how
// much larger a channel is than the others (Xiao et al. 2023, SmoothQuant, with α = ½). How large a channel will be is
// reckoned from the weights that write into it, so that no example picture is needed: trained towers and their random
// likenesses have channels many times the rest. `weights` is what the specs point into. A native file holds evened
// weights already.
void even_out(const formats::Checkpoint& checkpoint, const Weights& weights, std::vector<TensorSpec>& specs,
              const WeightFormats& formats);

}  // namespace onsight::models::smolvlm
