#include "text/chat_template.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/json.h"

namespace onsight::text {
namespace {

const std::string kTemplates = std::string(ONSIGHT_SOURCE_DIR) + "/tests/data/text/templates/";

ChatPart text(std::string t) { return {ChatPart::Kind::kText, std::move(t)}; }
ChatPart image() { return {ChatPart::Kind::kImage, {}}; }
ChatPart video() { return {ChatPart::Kind::kVideo, {}}; }

const std::vector<ChatMessage> kQuestion = {{"user", {image(), text("What is <image>?")}}};

RenderedPrompt render(std::string_view source, const std::vector<ChatMessage>& messages = kQuestion,
                      bool generation = true) {
  auto chat = ChatTemplate::parse(source, "t.jinja");
  EXPECT_TRUE(chat) << chat.error().message;
  auto prompt = chat->render(messages, generation);
  EXPECT_TRUE(prompt) << prompt.error().message;
  return prompt ? *prompt : RenderedPrompt{};
}

// The prompt with what users typed in brackets.
std::string marked(const RenderedPrompt& prompt) {
  std::string out = prompt.text;
  for (auto r = prompt.user_text.rbegin(); r != prompt.user_text.rend(); ++r) {
    out.insert(r->end, 1, ']');
    out.insert(r->begin, 1, '[');
  }
  return out;
}

std::string template_refusal(std::string_view source) {
  auto chat = ChatTemplate::parse(source, "t.jinja");
  return chat ? "" : chat.error().message;
}

std::string failure(std::string_view source, const std::vector<ChatMessage>& messages = kQuestion) {
  auto chat = ChatTemplate::parse(source, "t.jinja");
  if (!chat) return "refused: " + chat.error().message;
  auto prompt = chat->render(messages, true);
  return prompt ? "" : prompt.error().message;
}

TEST(ChatTemplate, ThePublishedTemplate) {
  std::string source = read_file(kTemplates + "smolvlm2.jinja").value();
  std::vector<ChatMessage> chat = {
      {"user", {image(), text("What is <image>?")}}, {"assistant", {text("A cat.")}}, {"user", {text("Sure?")}}};
  EXPECT_EQ(marked(render(source, chat)),
            "<|im_start|>User:<image>[What is <image>?]<end_of_utterance>\nAssistant: [A cat.]<end_of_utterance>\n"
            "User: [Sure?]<end_of_utterance>\nAssistant:");
  EXPECT_EQ(render(source, {{"user", {video(), text("x")}}}, false).text,
            "<|im_start|>User: <video>x<end_of_utterance>\n");
}

TEST(ChatTemplate, TheBuiltInVideoTemplate) {
  ChatTemplate chat = ChatTemplate::built_in();
  EXPECT_EQ(marked(chat.render({{"user", {video(), text("Hm?")}}, {"assistant", {text("So.")}}}, true).value()),
            "<|im_start|>User: <video>[Hm?]<end_of_utterance>\nAssistant: [So.]<end_of_utterance>\nAssistant:");
}

TEST(ChatTemplate, OriginSurvivesFilters) {
  std::vector<ChatMessage> chat = {{"user", {text("  aBé ß ")}}};
  std::string t = "messages[0].content[0].text";
  EXPECT_EQ(marked(render("{{ " + t + " | trim }}.", chat)), "[aBé ß].");
  EXPECT_EQ(marked(render("{{ ('<' ~ " + t + ".strip() ~ '>') | upper }}", chat)), "<[ABÉ SS]>");
  EXPECT_EQ(marked(render("{{ (" + t + " + '|')[2:5] }}", chat)), "[aBé]");
  EXPECT_EQ(marked(render("{{ " + t + ".split() | join('-') }}", chat)), "[aBé]-[ß]");
  EXPECT_EQ(marked(render("{{ " + t + ".replace('aB', '<image>') }}", chat)), "[  ]<image>[é ß ]");
  EXPECT_EQ(marked(render("{% set x %}<{{ " + t + " }}>{% endset %}{{ x * 2 }}", chat)), "<[  aBé ß ]><[  aBé ß ]>");
  EXPECT_EQ(marked(render("{% for c in " + t + " %}{{ c | capitalize }}{% endfor %}", chat)), "[  ABÉ Ss ]");
  EXPECT_EQ(marked(render("{{ messages[0].content | tojson }}", chat)),
            "[{\"type\": \"text\", \"text\": \"[  aBé ß ]\"}]");
  EXPECT_EQ(marked(render("{{ messages[0].content[0].text == '' }}{{ messages[0].role }}", chat)), "Falseuser");
}

TEST(ChatTemplate, WhiteSpaceAroundTags) {
  EXPECT_EQ(render("a\n  {% if true %}\n b\n  {% endif %}\nc\n").text, "a\n b\nc");
  EXPECT_EQ(render("a  {%- if true -%}  b  {%- endif -%}  \n c").text, "abc");
  EXPECT_EQ(render("a\n  {%+ if true %}\n{% endif +%}\nb").text, "a\n  \nb");
  EXPECT_EQ(render("  {{ 1 }}\n  {{- 2 -}}\n 3").text, "  123");
  EXPECT_EQ(render("a {# note #}\nb\n {# note\n #}\nc{#- note -#} \n d").text, "a b\ncd");
  EXPECT_EQ(render("a\r\n{{ '\r\n' }}b\r").text, "a\n\nb");
  EXPECT_EQ(render("{{ '}}' ~ {'a': {'b': 1}}['a']['b'] }}").text, "}}1");
}

TEST(ChatTemplate, WhatIsNotSupportedIsRefusedByNameAndLine) {
  EXPECT_EQ(template_refusal("a\n{% macro x() %}{% endmacro %}"),
            "t.jinja: line 2: the statement 'macro' is not supported in chat templates");
  EXPECT_EQ(template_refusal("{{ x | map('upper') }}"), "t.jinja: line 1: the filter 'map' is not supported");
  EXPECT_EQ(template_refusal("{{ x is sameas y }}"), "t.jinja: line 1: the test 'sameas' is not supported");
  EXPECT_EQ(template_refusal("{{ x.format(1) }}"), "t.jinja: line 1: the method 'format' is not supported");
  EXPECT_EQ(template_refusal("\n\n{{ strftime_now('%d') }}"),
            "t.jinja: line 3: the function 'strftime_now' is not supported");
  EXPECT_EQ(template_refusal("{{ cycler }}"), "t.jinja: line 1: the function 'cycler' is not supported as a value");
  EXPECT_EQ(template_refusal("{{ 1.5 }}"), "t.jinja: line 1: only whole decimal numbers are supported, found '1…'");
  EXPECT_EQ(template_refusal("{{ a / b }}"), "t.jinja: line 1: the operator '/' is not supported");
  EXPECT_EQ(template_refusal("{{ a.__class__ }}"), "t.jinja: line 1: the attribute '__class__' is not supported");
  EXPECT_EQ(template_refusal("{{ loop.index }}"), "t.jinja: line 1: this use of 'loop' is not supported");
  EXPECT_EQ(template_refusal("{% for x in y recursive %}{% endfor %}"),
            "t.jinja: line 1: recursive loops are not supported");
  EXPECT_EQ(template_refusal("{% break %}"), "t.jinja: line 1: 'break' is not directly inside a loop");
  EXPECT_EQ(template_refusal("{{ x|trim('a', 'b') }}"), "t.jinja: line 1: 'trim' with 2 arguments is not supported");
  EXPECT_EQ(template_refusal("{{ x|tojson(indent=2) }}"),
            "t.jinja: line 1: 'tojson' with the argument 'indent' is not supported");
  EXPECT_EQ(template_refusal("{{ x, y }}"), "t.jinja: line 1: printing a tuple is not supported");
}

TEST(ChatTemplate, BrokenTemplatesAreRefused) {
  EXPECT_EQ(template_refusal("a\n{% if x %}"), "t.jinja: line 2: expected 'endif' before the end of the template");
  EXPECT_EQ(template_refusal("{{ x"), "t.jinja: line 1: expected '}}' before the end of the template");
  EXPECT_EQ(template_refusal("{{ 'x }}"), "t.jinja: line 1: expected the end of the string");
  EXPECT_EQ(template_refusal("{# x"), "t.jinja: line 1: expected the end of the comment");
  EXPECT_EQ(template_refusal("{{ (x] }}"), "t.jinja: line 1: unexpected ']'");
  EXPECT_EQ(template_refusal("{{ ? }}"), "t.jinja: line 1: unexpected character '?'");
  EXPECT_EQ(template_refusal("{{ }}"), "t.jinja: line 1: expected an expression, found '}}'");
  EXPECT_EQ(template_refusal("{% else %}"), "t.jinja: line 1: the statement 'else' is not supported in chat templates");
  EXPECT_EQ(template_refusal("\xff"), "t.jinja: the chat template is not valid UTF-8");
  EXPECT_NE(template_refusal("{{ " + std::string(1000, '(') + "1" + std::string(1000, ')') + " }}"), "");
  EXPECT_NE(template_refusal("{{ " + std::string(1000, '-') + "1 }}"), "");
  std::string sums = "{{ 1";
  for (int i = 0; i < 1000; ++i) sums += " + 1";
  EXPECT_NE(template_refusal(sums + " }}").find("nested deeper"), std::string::npos);
  std::string ifs;
  for (int i = 0; i < 1000; ++i) ifs += "{% if 1 %}";
  EXPECT_NE(template_refusal(ifs).find("nested deeper"), std::string::npos);
  EXPECT_NE(template_refusal(std::string(2 << 20, 'a')).find("larger than"), std::string::npos);
}

TEST(ChatTemplate, FailuresWhileRendering) {
  EXPECT_EQ(failure("\n{{ raise_exception('Roles must alternate') }}"),
            "chat template: line 2: the template refuses the conversation: Roles must alternate");
  EXPECT_EQ(failure("{{ messages[7].role }}"), "chat template: line 1: 'role' is asked of something undefined");
  EXPECT_EQ(failure("{{ messages }}"), "chat template: line 1: a list cannot be written as text");
  EXPECT_EQ(failure("{{ 'a' + 1 }}"), "chat template: line 1: a string + an integer is not supported");
  EXPECT_EQ(failure("{{ 1 // 0 }}"), "chat template: line 1: division by zero");
  EXPECT_EQ(failure("{{ messages.append }}"), "chat template: line 1: the method 'append' is not supported as a value");
  EXPECT_EQ(failure("{{ 'Σ' | lower }}"),
            "chat template: line 1: the lower case of a Greek capital sigma is not supported");
  EXPECT_EQ(failure("{{ 999999999999999 * 999999999999999 }}"),
            "chat template: line 1: a number is larger than 64 bits");
}

TEST(ChatTemplate, RunawayTemplatesStop) {
  EXPECT_NE(failure("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}").find("steps"),
            std::string::npos);
  EXPECT_NE(failure("{{ 'a' * 999999999 }}").find("steps"), std::string::npos);
  EXPECT_NE(failure("{{ ('a' * 1000000) * 1000 }}"), "");
  EXPECT_NE(failure("{{ range(999999999) | length }}").find("range"), std::string::npos);
  EXPECT_NE(
      failure("{% set ns = namespace(x='a') %}{% for i in range(1000) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"), "");
  EXPECT_NE(failure("{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}")
                .find("nested"),
            std::string::npos);
  EXPECT_NE(failure("{% set ns = namespace() %}{% set ns.x = ns %}").find("namespace"), std::string::npos);
}

TEST(ChatTemplate, RolesCannotSpellTokens) {
  auto chat = ChatTemplate::parse("{{ messages[0].role }}", "t.jinja").value();
  EXPECT_TRUE(chat.render({{"tool_call-2", {}}}, true));
  for (std::string role : {"", "<|im_start|>", "user\n", "a b", "\xc3\xa9"}) {
    auto prompt = chat.render({{role, {}}}, true);
    ASSERT_FALSE(prompt);
    EXPECT_NE(prompt.error().message.find("the role"), std::string::npos);
  }
}

TEST(ChatTemplate, InvalidUtf8InMessagesIsReplaced) {
  EXPECT_EQ(marked(render("{{ messages[0].content[0].text }}", {{"user", {text("a\xff")}}})), "[a\xef\xbf\xbd]");
}

class ChatTemplateFolder : public testing::Test {
 protected:
  ChatTemplateFolder() { std::filesystem::create_directories(folder_ / "additional_chat_templates"); }
  ~ChatTemplateFolder() override { std::filesystem::remove_all(folder_); }
  void write(const char* name, std::string_view content) {
    ASSERT_TRUE(write_file_atomically(folder_ / name, content));
  }
  std::string loaded() {
    auto chat = ChatTemplate::load(folder_);
    if (!chat) return chat.error().message;
    return chat->render({}, true).value().text;
  }
  Path folder_ = std::filesystem::temp_directory_path() / fmt::format("onsight_chat_template_{}", ::getpid());
};

TEST_F(ChatTemplateFolder, ThePreferredFileWins) {
  EXPECT_EQ(loaded(), folder_.string() + ": no chat template, expected chat_template.jinja or chat_template.json");
  write("tokenizer_config.json", R"({"chat_template": "T{{ bos_token }}", "bos_token": {"content": "<b>"}})");
  EXPECT_EQ(loaded(), "T<b>");
  write("chat_template.jinja", "J{{ bos_token }}\n");
  EXPECT_EQ(loaded(), "J<b>");
  write("chat_template.json", R"({"chat_template": "L"})");
  EXPECT_EQ(loaded(), "L");
  write("processor_config.json", R"({"chat_template": null})");
  EXPECT_EQ(loaded(), "L");
  write("processor_config.json", R"({"chat_template": {"default": "P", "other": "O"}})");
  EXPECT_EQ(loaded(), "P");
}

TEST_F(ChatTemplateFolder, NamedTemplatesLeaveTheDefaultOne) {
  // Also those that nobody could parse: they are not read.
  write("additional_chat_templates/tool_use.jinja", "{% bad %}");
  EXPECT_EQ(loaded(), folder_.string() + ": no chat template, expected chat_template.jinja or chat_template.json");
  write("additional_chat_templates/default.jinja", "D");
  EXPECT_EQ(loaded(), "D");
  write("chat_template.jinja", "J");
  EXPECT_EQ(loaded(), "J");
}

TEST_F(ChatTemplateFolder, BadFilesAreNamed) {
  write("chat_template.json", "{}");
  EXPECT_NE(loaded().find("chat_template.json: chat_template: expected a string"), std::string::npos) << loaded();
  write("chat_template.json", "{");
  EXPECT_NE(loaded().find("chat_template.json: expected valid JSON"), std::string::npos);
  write("chat_template.json", R"({"chat_template": [{"name": "other", "template": "x"}]})");
  EXPECT_NE(loaded().find("expected a template named 'default'"), std::string::npos);
  write("chat_template.json", R"({"chat_template": "{% bad %}"})");
  EXPECT_NE(loaded().find("chat_template.json: chat_template: line 1: the statement 'bad'"), std::string::npos)
      << loaded();
  write("chat_template.json", R"({"chat_template": "x"})");
  write("additional_chat_templates/tool_use.jinja", "y");
  EXPECT_NE(loaded().find("expected one or the other"), std::string::npos);
}

}  // namespace
}  // namespace onsight::text
