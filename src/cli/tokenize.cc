// onsight tokenize: JSON strings in, JSON arrays of token ids out; or the other way.
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/json.h"
#include "cli/model_path.h"
#include "cli/program.h"
#include "models/model.h"

namespace onsight::cli {
namespace {

constexpr size_t kMaxTextBytes = size_t{256} << 20;

class Tokenize : public Verb {
 public:
  void declare(Options& options) override {
    options.text("-m,--model", "MODEL", model_,
                 "the folder with tokenizer.json, a .onsight or a GGUF file, or the name of an installed model "
                 "(default onsight-nano)");
    options.flag("--decode", decode_, "read arrays of token ids, write strings");
    options.flag("--special", special_, "special tokens in a string are control tokens; with --decode, write them");
  }

  Status run(Context& context) override {
    TRY(Path model, find_model(model_));
    TRY(text::Tokenizer tokenizer, models::load_tokenizer(model));
    std::string input, output;
    size_t begin = 0;  // of the line that is not yet complete
    while (true) {
      TRY(bool more, read_more(input));
      Status converted;
      size_t searched = begin;
      for (size_t end; converted && (end = input.find('\n', searched)) != std::string::npos;
           begin = searched = end + 1) {
        converted = convert(tokenizer, std::string_view(input).substr(begin, end - begin), output);
        if (output.size() > (1 << 16)) TRY_STATUS(flush(context, output));
      }
      if (converted && !more && begin < input.size())
        converted = convert(tokenizer, std::string_view(input).substr(begin), output);
      // Before each wait for input, so that a program at the other end can take turns; and what precedes a bad line.
      TRY_STATUS(flush(context, output));
      if (!converted || !more) return converted;
      input.erase(0, std::exchange(begin, 0));
      if (input.size() > kMaxTextBytes)
        return bad_input("standard input: line {}: longer than {} bytes", line_ + 1, kMaxTextBytes);
    }
  }

 private:
  static Result<bool> read_more(std::string& input) {
    constexpr size_t kChunk = 1 << 20;
    size_t before = input.size();
    input.resize(before + kChunk);
    ssize_t n;
    do {
      n = ::read(STDIN_FILENO, input.data() + before, kChunk);
    } while (n < 0 && errno == EINTR);
    input.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n < 0) return bad_input("standard input: cannot be read ({})", std::strerror(errno));
    return n > 0;
  }

  static Status flush(Context& context, std::string& output) {
    Status status = context.out.write(output);
    output.clear();
    return status;
  }

  Status convert(const text::Tokenizer& tokenizer, std::string_view line, std::string& output) {
    ++line_;
    std::string where = fmt::format("standard input: line {}", line_);
    TRY(Json value, parse_json(line, where));
    if (!decode_) {
      if (!value.is_string()) return bad_input("{}: expected a JSON string, found {}", where, value.type_name());
      auto special = special_ ? text::SpecialTokens::kParse : text::SpecialTokens::kAsText;
      output += '[';
      for (bool first = true; int32_t id : tokenizer.encode(value.get_ref<const std::string&>(), special)) {
        if (!std::exchange(first, false)) output += ", ";
        fmt::format_to(std::back_inserter(output), "{}", id);
      }
      output += "]\n";
      return {};
    }
    if (!value.is_array())
      return bad_input("{}: expected a JSON array of token ids, found {}", where, value.type_name());
    std::vector<int32_t> ids;
    ids.reserve(value.size());
    for (const Json& id : value) {
      bool inside = id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < tokenizer.vocabulary_size();
      if (!inside)
        return bad_input("{}: expected token ids from 0 to {}, found {}", where, tokenizer.vocabulary_size() - 1,
                         id.is_primitive() ? id.dump(-1, ' ', true, Json::error_handler_t::replace) : id.type_name());
      ids.push_back(id.get<int32_t>());
    }
    output += Json(tokenizer.decode(ids, !special_)).dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
    return {};
  }

  std::optional<std::string> model_;
  bool decode_ = false, special_ = false;
  size_t line_ = 0;
};

}  // namespace

std::unique_ptr<Verb> make_tokenize() { return std::make_unique<Tokenize>(); }

}  // namespace onsight::cli
