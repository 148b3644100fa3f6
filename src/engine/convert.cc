#include "engine/convert.h"

#include <new>

#include "engine/weight_choice.h"
#include "formats/native_writer.h"
#include "models/model.h"

namespace onsight::engine {
namespace {

Status verify(const Path& file, ThreadPool& pool, const ConvertProgress& progress) {
  return formats::verify_native(
      file, pool, [&](int64_t done, int64_t total) { return !progress || progress("checking", done, total); });
}

Status convert_with(const Path& source, const Path& target, const EngineOptions& options,
                    const Calibration& calibration, std::string program, const ConvertProgress& progress) {
  TRY(models::OpenModel opened, models::open_model(source));
  if (opened.checkpoint.is_native())
    return bad_input("{}: converted already, expected a checkpoint folder or a GGUF file", source.string());
  TRY(const models::WeightFormats formats, choose_formats(opened.checkpoint, options, source));
  ThreadPool pool(options.threads);
  models::Conversion conversion{
      .target = target, .formats = formats, .calibrate = calibration.vision, .program = std::move(program)};
  conversion.progress = [&](int64_t done, int64_t total) { return !progress || progress("packing", done, total); };
  conversion.check = [&](const Path& written) { return verify(written, pool, progress); };
  return opened.def->convert(source, opened.checkpoint, conversion, pool);
}

}  // namespace

Status convert(const Path& source, const Path& target, const EngineOptions& options, const Calibration& calibration,
               std::string program, const ConvertProgress& progress) {
  try {
    return convert_with(source, target, options, calibration, std::move(program), progress);
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "{}: not enough memory to convert it", source.string());
  }
}

Status verify(const Path& file, int threads, const ConvertProgress& progress) {
  try {
    ThreadPool pool(threads);
    return verify(file, pool, progress);
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "{}: not enough memory to read it", file.string());
  }
}

}  // namespace onsight::engine
