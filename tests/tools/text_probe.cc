// Shows src/text to tests/parity/test_text.py: one JSON request a line on stdin, one JSON answer a line on stdout.
//
//   text_probe tokenizer FILE      {"text": "..."} or {"hex": "..."}, with "parse": true and "literal": [[begin, end],
//   ...] → ids
//                                  {"ids": [...], "skip": true} → text
//   text_probe speed FILE TEXT     loads and encodes a file and prints the times in milliseconds
//   text_probe template            {"template": "..."}, {"folder": "..."} or {"built_in": true}, "messages",
//   "generation" → {"text", "user"} or {"error"}
#include <chrono>
#include <iostream>

#include "base/json.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

using namespace onsight;
using namespace onsight::text;

namespace {

std::string from_hex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    out.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return out;
}

void answer(const Json& json) { std::cout << json.dump(-1, ' ', true, Json::error_handler_t::replace) << "\n"; }

void tokenize(const Tokenizer& tokenizer, const Json& request) {
  if (request.contains("ids")) {
    auto ids = request["ids"].get<std::vector<int32_t>>();
    return answer(tokenizer.decode(ids, request.value("skip", true)));
  }
  std::string text = request.contains("hex") ? from_hex(request["hex"]) : request["text"].get<std::string>();
  if (request.contains("literal")) {
    std::vector<ByteRange> literal;
    for (const Json& r : request["literal"]) literal.push_back({r[0], r[1]});
    return answer(tokenizer.encode(text, literal));
  }
  answer(tokenizer.encode(text, request.value("parse", false) ? SpecialTokens::kParse : SpecialTokens::kAsText));
}

void render(const Json& request) {
  auto chat = request.contains("built_in") ? ChatTemplate::built_in()
              : request.contains("folder") ? ChatTemplate::load(request["folder"].get<std::string>())
                                           : ChatTemplate::parse(request["template"].get<std::string>(), "template");
  if (!chat) return answer({{"refused", chat.error().message}});
  std::vector<ChatMessage> messages;
  for (const Json& m : request["messages"]) {
    ChatMessage message{m["role"], {}};
    for (const Json& part : m["content"]) {
      std::string type = part["type"];
      message.content.push_back({type == "text"    ? ChatPart::Kind::kText
                                 : type == "image" ? ChatPart::Kind::kImage
                                                   : ChatPart::Kind::kVideo,
                                 part.value("text", "")});
    }
    messages.push_back(std::move(message));
  }
  auto prompt = chat->render(messages, request.value("generation", false));
  if (!prompt) return answer({{"error", prompt.error().message}});
  Json user = Json::array();
  for (const ByteRange& r : prompt->user_text) user.push_back({r.begin, r.end});
  answer({{"text", prompt->text}, {"user", user}});
}

Result<Tokenizer> read_tokenizer(const char* path) {
  TRY(std::string json, read_file(path));
  return Tokenizer::from_json(json, path);
}

int speed(const char* file, const char* text_file) {
  auto now = [] { return std::chrono::steady_clock::now(); };
  auto ms = [](auto from, auto to) { return std::chrono::duration<double, std::milli>(to - from).count(); };
  auto start = now();
  auto tokenizer = read_tokenizer(file);
  auto loaded = now();
  auto text = read_file(text_file);
  if (!tokenizer || !text) return 1;
  auto before = now();
  size_t count = tokenizer->encode(*text).size();
  auto encoded = now();
  answer({{"load_ms", ms(start, loaded)}, {"encode_ms", ms(before, encoded)}, {"ids", count}});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "speed" && argc == 4) return speed(argv[2], argv[3]);
  std::optional<Tokenizer> tokenizer;
  if (mode == "tokenizer" && argc == 3) {
    auto loaded = std::filesystem::is_directory(argv[2]) ? Tokenizer::load(argv[2]) : read_tokenizer(argv[2]);
    if (!loaded) {
      std::cerr << loaded.error().message << "\n";
      return 3;
    }
    tokenizer = std::move(*loaded);
  } else if (mode != "template") {
    std::cerr << "usage: text_probe tokenizer FILE | speed FILE TEXT | template\n";
    return 2;
  }
  for (std::string line; std::getline(std::cin, line);) {
    Json request = Json::parse(line);
    if (tokenizer)
      tokenize(*tokenizer, request);
    else
      render(request);
  }
}
