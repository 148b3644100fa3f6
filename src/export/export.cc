#include "export/export.h"

#include <algorithm>
#include <new>

#include "base/atomic_folder.h"
#include "export/targets/job.h"

namespace onsight::exports {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kCard = "README.md", kWrittenBy = "written by `onsight export`";
constexpr uint64_t kMaxCardBytes = 1 << 20;

// "SmolVLM-500M-Q8_0" of its file or folder; of two files with a comma between them, the first one's.
std::string name_of(const Path& source) {
  std::string text = source.string();
  if (const size_t comma = text.find(".gguf,"); comma != std::string::npos) text.resize(comma);
  std::string name = models::name_of(text);
  const Path extension = Path(name).extension();
  if (extension == ".gguf" || extension == ".onsight") name = Path(name).stem().string();
  for (char& c : name)
    if (static_cast<unsigned char>(c) <= ' ' || c == '`' || c == 0x7f) c = '-';
  return name.empty() ? "model" : name;
}

std::string in_backticks(std::string_view file) { return fmt::format("`{}`", file); }

// An earlier export is one whose card names every file that is there.
bool is_export(const Path& folder) {
  const Result<std::string> card = read_file(folder / kCard, kMaxCardBytes);
  if (!card || card->find(kWrittenBy) == std::string::npos) return false;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->is_directory(error)) continue;
    const std::string file = fs::relative(it->path(), folder, error).generic_string();
    if (error || (file != kCard && card->find(in_backticks(file)) == std::string::npos)) return false;
  }
  return !error;
}

Status check_folder(const Path& folder) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (!fs::exists(status)) return {};
  if (!fs::is_directory(status))
    return make_error(ErrorCode::kUsage, "{}: expected a folder to write, found a file", folder.string());
  if (fs::is_empty(folder, error) || is_export(folder)) return {};
  return make_error(ErrorCode::kUsage,
                    "{}: not empty, expected a folder that is empty, not there, or of an earlier export",
                    folder.string());
}

// What is read must not be what is replaced.
Status check_apart(const Path& source, const Path& target) {
  const std::string both = source.string();
  const size_t comma = both.find(".gguf,");
  const std::string one = comma == std::string::npos ? both : both.substr(0, comma + 5);
  const std::string other = comma == std::string::npos ? both : both.substr(comma + 6);
  std::error_code error;
  const Path written = fs::weakly_canonical(target, error);
  for (const std::string& file : {one, other}) {
    const Path read = fs::weakly_canonical(file, error);
    if (error) return {};  // what is not there is said when it is opened
    if (std::mismatch(written.begin(), written.end(), read.begin(), read.end()).first == written.end())
      return make_error(ErrorCode::kUsage,
                        "{}: is or holds the model {}, which it would replace, expected another folder",
                        target.string(), both);
  }
  return {};
}

// Parameters as people say them.
std::string count_of(int64_t parameters) {
  if (parameters >= 1'000'000'000) return fmt::format("{:.1f} billion", static_cast<double>(parameters) / 1e9);
  return fmt::format("{:.1f} million", static_cast<double>(parameters) / 1e6);
}

std::string card_of(const Job& job) {
  const models::ModelFacts& facts = job.outline.facts;
  std::string command = fmt::format("onsight export {} DIR --to {}", job.name, job.request.target->name);
  for (const auto& [option, value] : job.request.chosen) command += fmt::format(" {} {}", option, value);
  std::string out = fmt::format(
      "# {}\n\n"
      "{}: {} parameters, {} tokens of context; pictures are looked at in tiles of {} pixels.\n"
      "This is {}, {} from the weights of `{}`, by {}:\n\n"
      "```sh\n{}\n```\n\n## How to use it\n\n{}\n## Files\n\n| file | what |\n|---|---|\n",
      job.name, facts.architecture, count_of(facts.parameters), facts.context_length, facts.tile_size,
      job.request.target->help, kWrittenBy, job.name, job.request.program, command, job.usage);
  for (const auto& [file, what] : job.files)
    out += fmt::format("| {} | {} |\n", in_backticks(file), what.empty() ? "settings" : what);
  return out;
}

Status export_opened(const Path& source, const Path& target, const Request& request) {
  TRY_STATUS(check_folder(target));
  TRY_STATUS(check_apart(source, target));
  TRY(const models::OpenModel opened, models::open_model(source));
  if (const std::string* rounded = models::find_rounded(opened.checkpoint))
    return bad_input(
        "{}: its weights are rounded to codes ({}), expected a file of --quant none, or what it was converted from",
        source.string(), *rounded);
  return opened.def->describe(source, opened.checkpoint, [&](const models::Outline& outline) -> Status {
    TRY(AtomicFolder folder, AtomicFolder::create(target));
    Job job{.request = request,
            .outline = outline,
            .checkpoint = opened.checkpoint,
            .name = name_of(source),
            .folder = folder.path()};
    Status done = request.target->write(job);
    if (done) done = write_file_atomically(job.folder / kCard, card_of(job));
    if (done) done = job.advance(0);
    if (!done) return tl::unexpected(folder.placed(std::move(done).error()));
    return folder.commit();
  });
}

}  // namespace

Status export_model(const Path& source, const Path& folder, const Request& request) {
  try {
    return export_opened(source, folder, request);
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "{}: not enough memory to export it", source.string());
  }
}

}  // namespace onsight::exports
