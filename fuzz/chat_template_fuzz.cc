// The source of a chat template, rendered for a fixed conversation.
#include "text/chat_template.h"

using namespace onsight::text;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto chat = ChatTemplate::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!chat) return 0;
  const std::vector<ChatMessage> messages = {
      {"system", {{ChatPart::Kind::kText, "Be kind."}}},
      {"user", {{ChatPart::Kind::kImage, ""}, {ChatPart::Kind::kText, " What is \xc3\xa9 <image>?\n"}}},
      {"assistant", {{ChatPart::Kind::kText, "A cat"}}},
      {"user", {}},
  };
  auto prompt = chat->render(messages, true);
  if (!prompt) return 0;
  size_t last = 0;
  for (const ByteRange& r : prompt->user_text) {
    if (r.begin < last || r.end <= r.begin || r.end > prompt->text.size()) __builtin_trap();
    last = r.end;
  }
  return 0;
}
