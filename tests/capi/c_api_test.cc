// The library through its public header alone, on the tiny checkpoint of tests/golden/ and the model that ships.
#include <gtest/gtest.h>
#include <onsight.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

const std::string kSource = ONSIGHT_SOURCE_DIR;
const std::string kTiny = kSource + "/tests/golden/tiles/model",
                  kPicture = kSource + "/tests/golden/tiles/picture0.png";

template <class T, void (*kFree)(T*)>
struct Free {
  void operator()(T* p) const { kFree(p); }
};
using Model = std::unique_ptr<onsight_model, Free<onsight_model, onsight_model_free>>;
using Chat = std::unique_ptr<onsight_chat, Free<onsight_chat, onsight_chat_free>>;
using Reply = std::unique_ptr<onsight_reply, Free<onsight_reply, onsight_reply_free>>;

Model load(const char* path = kTiny.c_str()) {
  onsight_load_options options = {sizeof options};
  options.threads = 2;
  onsight_model* model = nullptr;
  onsight_error error = {};
  EXPECT_EQ(onsight_model_load(path, &options, &model, &error), ONSIGHT_OK) << error.message;
  return Model(model);
}

Chat question(const std::string& text) {
  Chat chat(onsight_chat_new());
  EXPECT_EQ(onsight_chat_text(chat.get(), text.c_str(), nullptr), ONSIGHT_OK);
  return chat;
}

onsight_ask_options tokens(int most) {
  onsight_ask_options options = {sizeof options};
  options.max_tokens = most;
  return options;
}

Reply ask(const Model& model, const Chat& chat, const onsight_ask_options& options = tokens(24),
          onsight_on_text on_text = nullptr, void* user = nullptr) {
  onsight_reply* reply = nullptr;
  onsight_error error = {};
  EXPECT_EQ(onsight_ask(model.get(), chat.get(), &options, on_text, user, &reply, &error), ONSIGHT_OK) << error.message;
  EXPECT_NE(reply, nullptr);
  return Reply(reply);
}

std::string text_of(const Model& model, const Chat& chat, const onsight_ask_options& options = tokens(24)) {
  const Reply reply = ask(model, chat, options);
  EXPECT_EQ(std::strlen(reply->text), reply->length);
  return reply->text;
}

int append(void* user, const char* text, size_t length) {
  EXPECT_EQ(text[length], '\0');
  static_cast<std::string*>(user)->append(text, length);
  return 0;
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A call that must fail: its code, and a sentence that holds `part`.
#define EXPECT_FAILS(expected, part, call)                                                \
  do {                                                                                    \
    onsight_error error = {};                                                             \
    EXPECT_EQ(call, expected);                                                            \
    EXPECT_EQ(error.code, expected);                                                      \
    EXPECT_NE(std::string(error.message).find(part), std::string::npos) << error.message; \
  } while (false)

TEST(CApi, StreamsWhatTheReplyHolds) {
  const Model model = load();
  std::string streamed;
  const Reply reply = ask(model, question("What is there of 12?"), tokens(24), append, &streamed);
  EXPECT_EQ(reply->text, streamed);
  EXPECT_GT(reply->length, 0u);
  EXPECT_EQ(reply->completion_tokens, 24);
  EXPECT_EQ(reply->finish, ONSIGHT_LENGTH);
  EXPECT_GT(reply->prompt_tokens, 0);
  EXPECT_GT(reply->first_token_ms, 0);
  EXPECT_GT(reply->decode_ms, 0);
  EXPECT_GT(reply->peak_memory_bytes, 1'000'000);
  EXPECT_EQ(reply->cached_tiles, 0);
}

// Programs that were built with the first version's header read a reply where it was then.
struct FirstReply {
  const char* text;
  size_t length;
  int finish, prompt_tokens, completion_tokens, cached_tokens;
  double preprocess_ms, vision_ms, prefill_ms, decode_ms, first_token_ms;
};
static_assert(offsetof(onsight_reply, cached_tokens) == offsetof(FirstReply, cached_tokens));
static_assert(offsetof(onsight_reply, first_token_ms) == offsetof(FirstReply, first_token_ms));
static_assert(offsetof(onsight_reply, peak_memory_bytes) == sizeof(FirstReply));

TEST(CApi, SaysWhatItLoaded) {
  const Model model = load();
  const onsight_info* info = onsight_model_info(model.get());
  EXPECT_STREQ(info->name, "model");
  EXPECT_GT(info->parameters, 0);
  EXPECT_GT(info->tile_size, 0);
  EXPECT_GT(info->context_length, 0);
  EXPECT_STREQ(info->text_quant, "");
  EXPECT_STREQ(onsight_version(), ONSIGHT_EXPECTED_VERSION);
}

TEST(CApi, QuantisesTheTowerAsTheProgramDoes) {
  onsight_load_options options = {sizeof options};
  options.quant = ONSIGHT_QUANT_Q4;
  onsight_model* model = nullptr;
  ASSERT_EQ(onsight_model_load(kTiny.c_str(), &options, &model, nullptr), ONSIGHT_OK);
  const Model owner(model);
  EXPECT_STREQ(onsight_model_info(model)->text_quant, "q4");
  EXPECT_STREQ(onsight_model_info(model)->vision_quant, "q8");
}

TEST(CApi, KeysAndValuesTakeWhatTheirFormatSays) {
  const auto memory = [](int kv) {
    onsight_load_options options = {sizeof options};
    options.kv = kv;
    onsight_model* model = nullptr;
    EXPECT_EQ(onsight_model_load(kTiny.c_str(), &options, &model, nullptr), ONSIGHT_OK);
    const Model owner(model);
    return onsight_model_info(model)->memory_bytes;
  };
  EXPECT_EQ(memory(ONSIGHT_KV_AUTO), memory(ONSIGHT_KV_F32));
  EXPECT_LT(memory(ONSIGHT_KV_F16), memory(ONSIGHT_KV_F32));
  EXPECT_LT(memory(ONSIGHT_KV_Q8), memory(ONSIGHT_KV_F32));
}

TEST(CApi, NoDraftIsTheSameAnswer) {
  const Model model = load();
  onsight_ask_options options = {sizeof options};
  options.max_tokens = 200;
  const Chat chat = question("one two three one two three one two");
  const Reply drafted = ask(model, chat, options);
  EXPECT_GT(drafted->drafted_tokens, 0);
  EXPECT_LE(drafted->accepted_tokens, drafted->drafted_tokens);
  options.no_draft = 1;
  const Reply alone = ask(model, chat, options);
  EXPECT_STREQ(alone->text, drafted->text);
  EXPECT_EQ(alone->drafted_tokens, 0);
  EXPECT_EQ(alone->accepted_tokens, 0);
}

// What came later is not read of them.
TEST(CApi, TakesTheOptionsOfOlderHeaders) {
  onsight_load_options loading = {offsetof(onsight_load_options, kv)};
  loading.kv = 99;
  onsight_model* model = nullptr;
  ASSERT_EQ(onsight_model_load(kTiny.c_str(), &loading, &model, nullptr), ONSIGHT_OK);
  const Model owner(model);
  onsight_ask_options asking = {offsetof(onsight_ask_options, no_draft)};
  asking.max_tokens = 3;
  EXPECT_FALSE(text_of(owner, question("What?"), asking).empty());
}

// A BMP's bytes are pixels, so that the test needs no decoder: rows from the last up, blue first.
struct Bmp {
  int width, height;
  std::vector<uint8_t> rgb;
  std::string file() const {
    const auto put = [](std::string& out, uint32_t value, int bytes) {
      for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> 8 * i);
    };
    const size_t row = (static_cast<size_t>(width) * 3 + 3) / 4 * 4;
    std::string out = "BM";
    put(out, static_cast<uint32_t>(54 + row * height), 4), put(out, 0, 4), put(out, 54, 4), put(out, 40, 4);
    put(out, width, 4), put(out, height, 4), put(out, 1, 2), put(out, 24, 2);
    for (int i = 0; i < 6; ++i) put(out, 0, 4);
    for (int y = height - 1; y >= 0; --y) {
      std::string line;
      for (int x = 0; x < width; ++x)
        for (int c = 2; c >= 0; --c) line += static_cast<char>(rgb[(y * width + x) * 3 + c]);
      line.resize(row);
      out += line;
    }
    return out;
  }
};

Bmp drawn() {
  Bmp bmp = {.width = 37, .height = 23, .rgb = {}};
  for (int y = 0; y < bmp.height; ++y)
    for (int x = 0; x < bmp.width; ++x)
      for (int value : {x * 6, y * 10, (x * y) % 255}) bmp.rgb.push_back(static_cast<uint8_t>(value));
  return bmp;
}

TEST(CApi, PixelsInAnyLayoutAreThePictureOfTheFile) {
  const Model model = load();
  const Bmp bmp = drawn();
  const std::string file = bmp.file();
  const int w = bmp.width, h = bmp.height;
  Chat of_file(onsight_chat_new());
  onsight_error error = {};
  ASSERT_EQ(onsight_chat_image_bytes(of_file.get(), file.data(), file.size(), &error), ONSIGHT_OK) << error.message;
  onsight_chat_text(of_file.get(), "What?", nullptr);
  const std::string wanted = text_of(model, of_file);

  std::vector<uint8_t> padded, rgba, upside;
  const ptrdiff_t stride = w * 3 + 11;
  padded.resize(static_cast<size_t>(stride * h), 99), upside = padded;
  for (int y = 0; y < h; ++y) {
    std::memcpy(&padded[static_cast<size_t>(y * stride)], &bmp.rgb[static_cast<size_t>(y * w * 3)], w * 3);
    std::memcpy(&upside[static_cast<size_t>((h - 1 - y) * stride)], &bmp.rgb[static_cast<size_t>(y * w * 3)], w * 3);
  }
  for (size_t i = 0; i < bmp.rgb.size(); ++i) {
    rgba.push_back(bmp.rgb[i]);
    if (i % 3 == 2) rgba.push_back(static_cast<uint8_t>(i));
  }
  struct {
    const uint8_t* first;
    int channels;
    ptrdiff_t stride;
  } layouts[] = {{bmp.rgb.data(), 3, 0},
                 {bmp.rgb.data(), 3, w * 3},
                 {padded.data(), 3, stride},
                 {&upside[static_cast<size_t>((h - 1) * stride)], 3, -stride},
                 {rgba.data(), 4, 0}};
  for (const auto& layout : layouts) {
    Chat chat(onsight_chat_new());
    ASSERT_EQ(onsight_chat_image_pixels(chat.get(), layout.first, w, h, layout.channels, layout.stride, nullptr), 0);
    onsight_chat_text(chat.get(), "What?", nullptr);
    EXPECT_EQ(text_of(model, chat), wanted) << layout.channels << " " << layout.stride;
  }
  // Another picture gives another answer, or the test would say nothing.
  std::vector<uint8_t> other(bmp.rgb.rbegin(), bmp.rgb.rend());
  Chat chat(onsight_chat_new());
  onsight_chat_image_pixels(chat.get(), other.data(), w, h, 3, 0, nullptr);
  onsight_chat_text(chat.get(), "What?", nullptr);
  EXPECT_NE(text_of(model, chat), wanted);
}

TEST(CApi, AFileIsItsBytes) {
  const Model model = load();
  const std::string bytes = read(kPicture);
  Chat file(onsight_chat_new()), memory(onsight_chat_new());
  ASSERT_EQ(onsight_chat_image_file(file.get(), kPicture.c_str(), nullptr), ONSIGHT_OK);
  ASSERT_EQ(onsight_chat_image_bytes(memory.get(), bytes.data(), bytes.size(), nullptr), ONSIGHT_OK);
  EXPECT_EQ(text_of(model, file), text_of(model, memory));
  auto options = tokens(8);
  options.max_tiles = 1;
  const Reply whole = ask(model, file, options);
  EXPECT_LT(whole->prompt_tokens, ask(model, file)->prompt_tokens);
}

TEST(CApi, AnswersAboutAConversation) {
  const Model model = load();
  Chat chat(onsight_chat_new());
  ASSERT_EQ(onsight_chat_message(chat.get(), ONSIGHT_SYSTEM, nullptr), ONSIGHT_OK);
  ASSERT_EQ(onsight_chat_text(chat.get(), "Be brief.", nullptr), ONSIGHT_OK);
  ASSERT_EQ(onsight_chat_message(chat.get(), ONSIGHT_USER, nullptr), ONSIGHT_OK);
  ASSERT_EQ(onsight_chat_image_file(chat.get(), kPicture.c_str(), nullptr), ONSIGHT_OK);
  const Reply first = ask(model, chat);
  ASSERT_EQ(onsight_chat_message(chat.get(), ONSIGHT_ASSISTANT, nullptr), ONSIGHT_OK);
  ASSERT_EQ(onsight_chat_text(chat.get(), first->text, nullptr), ONSIGHT_OK);
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "at its end",
               onsight_ask(model.get(), chat.get(), nullptr, nullptr, nullptr, nullptr, &error));
  ASSERT_EQ(onsight_chat_message(chat.get(), ONSIGHT_USER, nullptr), ONSIGHT_OK);
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "message 4 is empty",
               onsight_ask(model.get(), chat.get(), nullptr, nullptr, nullptr, nullptr, &error));
  ASSERT_EQ(onsight_chat_text(chat.get(), "And then?", nullptr), ONSIGHT_OK);
  const Reply second = ask(model, chat);
  EXPECT_GT(second->prompt_tokens, first->prompt_tokens);
  EXPECT_GT(second->cached_tokens, 0);
}

TEST(CApi, SamplesStopsAndKeepsToASchema) {
  const Model model = load();
  const Chat chat = question("What is there of 12?");
  const std::string greedy = text_of(model, chat);
  auto options = tokens(24);
  options.temperature = 1.5f, options.top_p = 0.9f, options.top_k = 50, options.seed = 7;
  const std::string sampled = text_of(model, chat, options);
  EXPECT_EQ(text_of(model, chat, options), sampled);
  options.seed = 8;
  EXPECT_NE(text_of(model, chat, options), sampled);

  const std::string middle = greedy.substr(greedy.size() / 2, 3);
  const char* const stops[] = {middle.c_str(), nullptr};
  options = tokens(24);
  options.stops = stops;
  const Reply stopped = ask(model, chat, options);
  EXPECT_EQ(stopped->text, greedy.substr(0, greedy.find(middle)));
  EXPECT_EQ(stopped->finish, ONSIGHT_STOP);

  options = tokens(24);
  options.json_schema = R"({"enum": ["left", "right"]})";
  const std::string json = text_of(model, chat, options);
  EXPECT_TRUE(json == "\"left\"" || json == "\"right\"") << json;
}

TEST(CApi, CacheKeepsPicturesForTheNextModel) {
  const auto folder = std::filesystem::temp_directory_path() / ("onsight-c-api-" + std::to_string(::getpid()));
  std::filesystem::remove_all(folder);
  onsight_load_options options = {sizeof options};
  options.cache = folder.c_str();
  Chat chat(onsight_chat_new());
  ASSERT_EQ(onsight_chat_image_file(chat.get(), kPicture.c_str(), nullptr), ONSIGHT_OK);
  std::string texts[2];
  for (int i = 0; i < 2; ++i) {
    onsight_model* model = nullptr;
    ASSERT_EQ(onsight_model_load(kTiny.c_str(), &options, &model, nullptr), ONSIGHT_OK);
    const Model owner(model);
    const Reply reply = ask(owner, chat);
    texts[i] = reply->text;
    EXPECT_EQ(reply->cached_tokens > 0, i == 1);
    EXPECT_EQ(reply->cached_tiles > 0, i == 1);
  }
  EXPECT_EQ(texts[0], texts[1]);
  EXPECT_GT(std::filesystem::remove_all(folder), 0u);
}

TEST(CApi, ManyThreadsGetTheAnswersThatEachGetsAlone) {
  const Model model = load();
  std::vector<std::string> alone, together(6);
  for (int i = 0; i < 6; ++i) alone.push_back(text_of(model, question("How much is " + std::to_string(i * 37) + "?")));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 6; ++i)
    threads.emplace_back(
        [&, i] { together[i] = text_of(model, question("How much is " + std::to_string(i * 37) + "?")); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
}

TEST(CApi, TheCallbackEndsTheAnswer) {
  const Model model = load();
  int calls = 0;
  const auto once = [](void* user, const char*, size_t) { return ++*static_cast<int*>(user); };
  const Reply reply = ask(model, question("What is there of 12?"), tokens(400), once, &calls);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(reply->finish, ONSIGHT_CANCELLED);
  EXPECT_LT(reply->completion_tokens, 400);
}

TEST(CApi, TheCallbackMayAskAgain) {
  const Model model = load();
  const Chat chat = question("What is there of 12?");
  struct Inner {
    const Model& model;
    const Chat& chat;
    std::string text;
  } inner = {model, question("How much is 5?"), {}};
  const auto ask_again = [](void* user, const char*, size_t) {
    auto& in = *static_cast<Inner*>(user);
    if (in.text.empty()) in.text = text_of(in.model, in.chat);
    return 0;
  };
  const Reply outer = ask(model, chat, tokens(24), ask_again, &inner);
  EXPECT_EQ(outer->text, text_of(model, chat));
  EXPECT_EQ(inner.text, text_of(model, inner.chat));
}

TEST(CApi, AnotherThreadCancels) {
  const Model model = load();
  const Chat chat = question("What is there of 12?");
  std::atomic<int> pieces{0};
  std::thread other([&] {
    while (pieces == 0) std::this_thread::yield();
    onsight_chat_cancel(chat.get(), 1);
  });
  const auto slowly = [](void* user, const char*, size_t) {
    ++*static_cast<std::atomic<int>*>(user);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return 0;
  };
  Reply reply = ask(model, chat, tokens(100'000), slowly, &pieces);
  other.join();
  EXPECT_EQ(reply->finish, ONSIGHT_CANCELLED);
  // It stays so until it is taken back: a cancel that comes too early is not lost.
  EXPECT_EQ(ask(model, chat, tokens(100'000))->finish, ONSIGHT_CANCELLED);
  onsight_chat_cancel(chat.get(), 0);
  EXPECT_EQ(ask(model, chat, tokens(8))->finish, ONSIGHT_LENGTH);
}

TEST(CApi, FreeingTheModelEndsWhatOthersWaitFor) {
  Model model = load();
  std::atomic<int> pieces{0};
  int code = -1, finish = -1;
  onsight_model* const lent = model.get();
  std::thread other([&] {
    const Chat chat = question("What is there of 12?");
    const auto options = tokens(100'000);
    onsight_reply* reply = nullptr;
    const auto count = [](void* user, const char*, size_t) {
      ++*static_cast<std::atomic<int>*>(user);
      return 0;
    };
    code = onsight_ask(lent, chat.get(), &options, count, &pieces, &reply, nullptr);
    const Reply owner(reply);
    if (reply) finish = reply->finish;
  });
  while (pieces == 0) std::this_thread::yield();
  model.reset();
  other.join();
  EXPECT_EQ(code, ONSIGHT_OK);
  EXPECT_EQ(finish, ONSIGHT_CANCELLED);
}

TEST(CApi, RefusesModels) {
  const auto load = [](const char* path, onsight_error* error) {
    onsight_model* model = reinterpret_cast<onsight_model*>(1);
    const int code = onsight_model_load(path, nullptr, &model, error);
    EXPECT_EQ(model, nullptr);
    return code;
  };
  EXPECT_FAILS(ONSIGHT_BAD_INPUT, "/nowhere: no such folder", load("/nowhere", &error));
  EXPECT_FAILS(ONSIGHT_BAD_INPUT, "model 'none' not found", load("none", &error));
  EXPECT_FAILS(ONSIGHT_BAD_INPUT, "config.json", load((kSource + "/docs").c_str(), &error));
  EXPECT_FAILS(ONSIGHT_BAD_INPUT, "found a file of another kind", load((kSource + "/README.md").c_str(), &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "path", load("", &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "model", onsight_model_load(nullptr, nullptr, nullptr, &error));
  // A sentence that is too long is cut at a character.
  std::string name = "/x";
  while (name.size() < 3000) name += "é";
  onsight_error error = {};
  EXPECT_EQ(load(name.c_str(), &error), ONSIGHT_BAD_INPUT);
  const size_t length = std::strlen(error.message);
  EXPECT_GE(length, sizeof error.message - 3);
  EXPECT_EQ(static_cast<unsigned char>(error.message[length - 1]), 0xA9);
}

TEST(CApi, RefusesOptions) {
  const auto load = [](const onsight_load_options& options, onsight_error* error) {
    onsight_model* model = nullptr;
    return onsight_model_load(kTiny.c_str(), &options, &model, error);
  };
  onsight_load_options options = {};
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "size", load(options, &error));
  options = {sizeof options};
  options.threads = -1;
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "threads", load(options, &error));
  options = {sizeof options};
  options.quant = 5;
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "quant", load(options, &error));
  options = {sizeof options};
  options.kv = 4;
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "kv", load(options, &error));
  options = {sizeof options};
  options.cache = "";
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "cache", load(options, &error));

  // A newer header's struct: what is not asked for is no matter.
  struct {
    onsight_load_options known;
    int64_t later;
  } longer = {{sizeof longer}, 0};
  onsight_model* model = nullptr;
  EXPECT_EQ(onsight_model_load(kTiny.c_str(), &longer.known, &model, nullptr), ONSIGHT_OK);
  onsight_model_free(model);
  longer.later = 1;
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "does not know", onsight_model_load(kTiny.c_str(), &longer.known, &model, &error));
}

TEST(CApi, RefusesQuestions) {
  const Model model = load();
  const Chat chat = question("What?");
  const auto refuse = [&](const char* part, auto change) {
    onsight_ask_options options = {sizeof options};
    change(options);
    onsight_reply* reply = reinterpret_cast<onsight_reply*>(1);
    EXPECT_FAILS(ONSIGHT_WRONG_USAGE, part,
                 onsight_ask(model.get(), chat.get(), &options, nullptr, nullptr, &reply, &error));
    EXPECT_EQ(reply, nullptr);
  };
  refuse("max_tokens", [](auto& o) { o.max_tokens = -1; });
  refuse("temperature", [](auto& o) { o.temperature = NAN; });
  refuse("temperature", [](auto& o) { o.temperature = 11; });
  refuse("top_k", [](auto& o) { o.top_k = -1; });
  refuse("top_p", [](auto& o) { o.top_p = 1.5f; });
  refuse("min_p", [](auto& o) { o.min_p = -0.1f; });
  refuse("repetition_penalty", [](auto& o) { o.repetition_penalty = -1; });
  refuse("max_tiles", [](auto& o) { o.max_tiles = -1; });
  static const char* const kEmpty[] = {"", nullptr};
  static const char* const kDot[] = {".", nullptr};
  refuse("stop", [](auto& o) { o.stops = kEmpty; });
  refuse("exclude each other", [](auto& o) { o.stops = kDot, o.json_schema = "{}"; });
  refuse("size", [](auto& o) { o.size = 4; });
  onsight_ask_options options = {sizeof options};
  options.json_schema = "{";
  EXPECT_FAILS(ONSIGHT_BAD_INPUT, "json_schema",
               onsight_ask(model.get(), chat.get(), &options, nullptr, nullptr, nullptr, &error));

  const Chat empty(onsight_chat_new());
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "found none",
               onsight_ask(model.get(), empty.get(), nullptr, nullptr, nullptr, nullptr, &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "model",
               onsight_ask(nullptr, chat.get(), nullptr, nullptr, nullptr, nullptr, &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "chat",
               onsight_ask(model.get(), nullptr, nullptr, nullptr, nullptr, nullptr, &error));
  EXPECT_EQ(onsight_ask(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr), ONSIGHT_WRONG_USAGE);
}

TEST(CApi, RefusesParts) {
  const Model model = load();
  const Chat chat = question("What?");
  const std::string before = text_of(model, chat);
  onsight_chat* c = chat.get();
  const uint8_t pixels[12] = {};
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "chat", onsight_chat_text(nullptr, "a", &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "text", onsight_chat_text(c, nullptr, &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "role", onsight_chat_message(c, 3, &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "role", onsight_chat_message(c, -1, &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "path", onsight_chat_image_file(c, nullptr, &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "path", onsight_chat_image_file(c, "", &error));
  EXPECT_FAILS(ONSIGHT_BAD_INPUT, "/nowhere.png", onsight_chat_image_file(c, "/nowhere.png", &error));
  EXPECT_FAILS(ONSIGHT_BAD_INPUT, "README.md", onsight_chat_image_file(c, (kSource + "/README.md").c_str(), &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "bytes", onsight_chat_image_bytes(c, nullptr, 5, &error));
  EXPECT_FAILS(ONSIGHT_BAD_INPUT, "bytes", onsight_chat_image_bytes(c, "GIF89", 5, &error));
  EXPECT_FAILS(ONSIGHT_BAD_INPUT, "bytes", onsight_chat_image_bytes(c, "", 0, &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "size", onsight_chat_image_bytes(c, "GIF89", SIZE_MAX, &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "pixels", onsight_chat_image_pixels(c, nullptr, 2, 2, 3, 0, &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "channels", onsight_chat_image_pixels(c, pixels, 2, 2, 2, 0, &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "stride", onsight_chat_image_pixels(c, pixels, 2, 2, 3, 5, &error));
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "stride", onsight_chat_image_pixels(c, pixels, 2, 2, 3, -5, &error));
  EXPECT_FAILS(ONSIGHT_BAD_INPUT, "at least one pixel", onsight_chat_image_pixels(c, pixels, 0, 2, 3, 0, &error));
  EXPECT_FAILS(ONSIGHT_BAD_INPUT, "at least one pixel", onsight_chat_image_pixels(c, pixels, 2, -2, 3, 0, &error));
  EXPECT_FAILS(ONSIGHT_BAD_INPUT, "at most", onsight_chat_image_pixels(c, pixels, INT32_MAX, INT32_MAX, 4, 0, &error));
  EXPECT_FAILS(ONSIGHT_BAD_INPUT, "/nowhere.mp4", onsight_chat_video_file(c, "/nowhere.mp4", nullptr, &error));
  onsight_clip_options clip = {sizeof clip};
  clip.start = 2, clip.end = 1;
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "after start", onsight_chat_video_file(c, "/nowhere.mp4", &clip, &error));
  clip = {sizeof clip};
  clip.fps = INFINITY;
  EXPECT_FAILS(ONSIGHT_WRONG_USAGE, "fps", onsight_chat_video_file(c, "/nowhere.mp4", &clip, &error));
  EXPECT_EQ(text_of(model, chat), before);  // what failed changed nothing
}

TEST(CApi, NothingMayBeFreed) {
  onsight_model_free(nullptr);
  onsight_chat_free(nullptr);
  onsight_reply_free(nullptr);
  onsight_chat_cancel(nullptr, 1);
  EXPECT_EQ(onsight_model_info(nullptr), nullptr);
}

TEST(CApi, TextNeedsNotBeUtf8) {
  const Model model = load();
  EXPECT_GT(ask(model, question("a\xff\xfe<image>\x01 b"))->completion_tokens, 0);
}

TEST(CApi, LooksAtVideos) {
  const Model model = load();
  onsight_clip_options clip = {sizeof clip};
  clip.max_frames = 2;
  const auto film = [&] {
    Chat chat = question("What moves?");
    onsight_error error = {};
    EXPECT_EQ(onsight_chat_video_file(chat.get(), (kSource + "/tests/data/video/walk.gif").c_str(), &clip, &error),
              ONSIGHT_OK)
        << error.message;
    return chat;
  };
  const Chat seen = film(), unseen = film();
  EXPECT_EQ(ask(model, seen, tokens(4))->finish, ONSIGHT_LENGTH);
  onsight_chat_cancel(seen.get(), 1);
  EXPECT_EQ(ask(model, seen, tokens(100'000))->finish, ONSIGHT_CANCELLED);
  onsight_chat_cancel(unseen.get(), 1);
  EXPECT_FAILS(ONSIGHT_INTERRUPTED, "",
               onsight_ask(model.get(), unseen.get(), nullptr, nullptr, nullptr, nullptr, &error));
}

TEST(CApi, FindsTheShippedModel) {
  const Model model = load(nullptr);
  EXPECT_STREQ(onsight_model_info(model.get())->name, "onsight-nano");
  Chat chat(onsight_chat_new());
  onsight_chat_image_file(chat.get(), (kSource + "/examples/receipt.jpg").c_str(), nullptr);
  onsight_chat_text(chat.get(), "Read the text.", nullptr);
  EXPECT_EQ(text_of(model, chat, tokens(256)).substr(0, 10), "Bread 2.45");
}

}  // namespace
