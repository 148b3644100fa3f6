// Integer dot tiles: the inner loops of quantised layers, the only code here on raw intrinsics, because Highway has no
// such op. A tile is up to kDotRows rows of codes against one panel of kPanel outputs; four values of the shared axis
// lie side by side (a quad), because that is what one dot instruction takes.
//
//   x      [quads][rows][4]     codes of the rows
//   panel  [quads][kPanel][4]   codes of the outputs
//   acc    [rows][kPanel] i32   acc[r][j] = sum over k of x[k/4][r][k%4] · panel[k/4][j][k%4], exact
#pragma once

#include <cstdint>
#include <vector>

namespace onsight::compute {

constexpr int kDotRows = 8;
constexpr int kQuad = 4;

// 4-bit weights: groups of kGroup inputs, each output with a scale of its own a group. A group of a panel is kGroup/8
// runs of kPanel quads, of which the low halves of the bytes are quad i and the high halves quad i + kGroup/8, codes
// plus 8; then kPanel scales in f16.
constexpr int kGroup = 32;
constexpr int kGroupPanelBytes = 32 * kGroup / 2 + 32 * 2;

// Two bits more of an 8-bit weight: which quarter of a step it lies in. A quarter's middle is 2 · fine − 3 times
// kFineScale from the code.
constexpr int kFineSteps = 4;
constexpr int kFineUnits = 2 * kFineSteps;  // of a step of the code
constexpr float kFineScale = 1.0f / kFineUnits;

// Four bits more of an input: which sixteenth of the step around its code it lies in.
constexpr int kRestUnits = 16;

// Inputs of a layer whose second codes count: sums of all products, in their smallest unit, keep to 32 bits.
constexpr int64_t kMostFineInputs = 4096;
static_assert(kMostFineInputs * (kRestUnits * 255 * 127 + kRestUnits / kFineUnits * 255 * 3 + kRestUnits * 127) <
              INT32_MAX);

struct DotTiles {
  const char* name;
  // Codes 0…255 of `x` in signed_panel are stored minus this number: some machines multiply u8 by i8, others i8 by i8.
  int x_offset;
  // The largest code of an unsigned panel.
  int unsigned_max;
  // x: 0…255 less x_offset; panel: −127…127
  void (*signed_panel)(const void* x, int rows, int64_t quads, const int8_t* panel, int32_t* acc);
  // x: −127…127; panel: 0…unsigned_max
  void (*unsigned_panel)(const int8_t* x, int rows, int64_t quads, const uint8_t* panel, int32_t* acc);
  // y[r][kPanel] = sum over groups of x_scale[g][r] · scale[g][j] · sum over k of x · (code − 8). rows at most 4.
  // x [quads][rows][4] −127…127; x_sum [groups][rows]: sum of x over the group.
  void (*four_bit)(const int8_t* x, const float* x_scale, const int32_t* x_sum, int rows, int64_t groups,
                   const std::byte* panel, float* y);
  // As signed_panel, of the fine codes of a q10 panel; or nullptr: they are widened first. What few rows need and many
  // do not, who share the widened codes.
  void (*fine_panel)(const void* x, int rows, int64_t quads, const std::byte* fine, int32_t* acc) = nullptr;
};
constexpr int kFourBitRows = 4;

extern const DotTiles kScalarDot;
std::vector<const DotTiles*> dot_tiles();  // those that run here, worst first, kScalarDot included

}  // namespace onsight::compute
