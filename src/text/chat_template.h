// ChatTemplate: the Jinja template of a checkpoint folder, rendered with the origin of every byte kept, so that what a
// user typed can never become a control token.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file_source.h"
#include "base/result.h"
#include "text/tokenizer.h"

namespace onsight::text {

struct ChatPart {
  enum class Kind { kText, kImage, kVideo };
  Kind kind = Kind::kText;
  std::string text;  // of a kText part
};
struct ChatMessage {
  std::string role;  // "user", "assistant", "system"
  std::vector<ChatPart> content;
};

// The rendered prompt. `user_text` lists the byte ranges that come from message texts; the rest comes from the template
// itself.
struct RenderedPrompt {
  std::string text;
  std::vector<ByteRange> user_text;  // sorted, not overlapping
};

class ChatTemplate {
 public:
  // chat_template.jinja, chat_template.json, or tokenizer_config.json's / processor_config.json's "chat_template", in
  // the order in which transformers' processor prefers them. A template with a construct that is not supported is
  // refused here, naming the construct.
  static Result<ChatTemplate> load(const FileSource& files);
  // The text of the template that load() takes.
  static Result<std::string> source(const FileSource& files);
  // `variables`: what the template knows beside the conversation, as bos_token and its text.
  static Result<ChatTemplate> parse(std::string_view source, std::string_view where,
                                    const std::vector<std::pair<std::string, std::string>>& variables = {});

  // The family's own template: for a model that comes without one, and for any conversation with a video.
  static ChatTemplate built_in();
  static std::string_view built_in_source();

  // Refuses a role with other characters than letters, digits, '_' and '-': it must not be able to spell a control
  // token.
  Result<RenderedPrompt> render(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const;

 private:
  struct Data;
  std::shared_ptr<const Data> data_;
};

}  // namespace onsight::text
