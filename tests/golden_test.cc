// The tiny checkpoints of tests/golden/ give what transformers computed from them: ids, pixels, every layer, logits,
// greedy text.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/json.h"
#include "engine/engine.h"
#include "formats/npy.h"
#include "media/image.h"

namespace onsight {
namespace {

using compute::DType;
using compute::Tensor;

constexpr double kTolerance = 1e-3;  // of the reference's root mean square

const Path kGolden = Path(ONSIGHT_SOURCE_DIR) / "tests/golden";

struct Array {
  compute::Shape shape;
  std::vector<double> values;
};

std::vector<double> to_doubles(const Tensor& tensor) {
  std::vector<double> out(static_cast<size_t>(tensor.shape.elements()));
  for (size_t i = 0; i < out.size(); ++i) {
    auto at = [&]<class T>(T) { return static_cast<double>(reinterpret_cast<const T*>(tensor.data)[i]); };
    out[i] = tensor.dtype == DType::kF32 ? at(float{}) : tensor.dtype == DType::kU8 ? at(uint8_t{}) : at(int32_t{});
  }
  return out;
}

Array read(const Path& path) {
  Result<formats::NpyArray> array = formats::read_npy(path);
  EXPECT_TRUE(array) << array.error().message;
  return {array->shape, to_doubles(array->tensor())};
}

class Golden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder_ = kGolden / GetParam();
    case_ = load_json(folder_ / "case.json").value();
    Result<std::unique_ptr<engine::Engine>> engine = engine::Engine::load(folder_ / "model", {.threads = 2});
    ASSERT_TRUE(engine) << engine.error().message;
    engine_ = *std::move(engine);
    std::vector<std::shared_ptr<const media::Image>> images;
    for (const Json& name : case_["pictures"]) {
      Path path = folder_ / name.get<std::string>();
      images.push_back(
          std::make_shared<media::Image>(media::decode_image(read_file(path).value(), path.string()).value()));
    }
    request_.messages = {engine::user_message(images, case_["prompt"].get<std::string>()).value()};
    request_.max_tokens = static_cast<int>(case_["tokens"].size());
  }

  // The 8-bit values that these normalised pixels [tiles, 3, T, T] come from.
  std::vector<double> to_8_bit(const Array& pixels) const {
    std::vector<double> out = pixels.values;
    size_t plane = static_cast<size_t>(pixels.shape[2] * pixels.shape[3]);
    for (size_t i = 0; i < out.size(); ++i) {
      size_t colour = i / plane % 3;
      out[i] = std::round((out[i] * case_["std"][colour].get<double>() + case_["mean"][colour].get<double>()) * 255);
    }
    return out;
  }

  Path folder_;
  Json case_;
  std::unique_ptr<engine::Engine> engine_;
  engine::Request request_;
};

TEST_P(Golden, TraceEqualsTransformers) {
  std::map<std::string, Array> traced;
  Status status = engine_->trace(request_, /*answer=*/{}, [&](std::string_view name, const Tensor& tensor) -> Status {
    traced[std::string(name)] = {tensor.shape, to_doubles(tensor)};
    return {};
  });
  ASSERT_TRUE(status) << status.error().message;
  ASSERT_EQ(traced.size(), case_["tensors"].size());
  for (const Json& entry : case_["tensors"]) {
    const std::string name = entry.get<std::string>();
    Array want = read(folder_ / (name + ".npy"));
    std::string traced_name = name == "pixels" ? "pixel_values" : name;
    ASSERT_TRUE(traced.contains(traced_name)) << name;
    Array got = traced[traced_name];
    if (name == "input_ids") {
      EXPECT_EQ(got.values, want.values);
      continue;
    }
    if (name == "pixels") {
      EXPECT_EQ(got.shape, want.shape);
      EXPECT_EQ(to_8_bit(got), want.values);
      continue;
    }
    if (name == "logits") {  // of the last positions
      ASSERT_EQ(got.shape[1], want.shape[1]);
      ASSERT_GE(got.values.size(), want.values.size());
      got.values.erase(got.values.begin(), got.values.end() - static_cast<std::ptrdiff_t>(want.values.size()));
    } else {
      ASSERT_EQ(got.shape, want.shape) << name;
    }
    double square = 0, worst = 0;
    for (size_t i = 0; i < want.values.size(); ++i) {
      square += want.values[i] * want.values[i];
      worst = std::max(worst, std::abs(got.values[i] - want.values[i]));
    }
    EXPECT_LE(worst, kTolerance * std::sqrt(square / static_cast<double>(want.values.size()))) << name;
  }
}

TEST_P(Golden, GreedyAnswerEqualsTransformers) {
  std::string streamed;
  Result<engine::Reply> reply =
      engine_->generate(request_, {.on_text = [&](std::string_view piece) { streamed += piece; }, .on_progress = {}});
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->tokens, case_["tokens"].get<std::vector<int32_t>>());
  std::string text = case_["text"].get<std::string>();
  if (text.starts_with(' ')) text.erase(0, 1);  // the space after "Assistant:" is not printed
  EXPECT_EQ(reply->text, text);
  EXPECT_EQ(streamed, reply->text);
  EXPECT_EQ(reply->prompt_tokens, read(folder_ / "input_ids.npy").shape[0]);
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Golden, testing::Values("tiles", "idefics3", "single", "text"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace onsight
