// What token masks cost for a vocabulary:  mask_bench TOKENIZER.json
//
// Writes random values, token by token, and times the masks, each mask alone.
#include <time.h>

#include <algorithm>
#include <random>

#include "base/file.h"
#include "text/token_mask.h"

namespace onsight::text {
namespace {

// Of this thread's own time, so that what else the machine does does not count.
double now_us() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}
double us_since(double start) { return now_us() - start; }

constexpr std::pair<const char*, const char*> kSchemas[] = {
    {"a number", R"({"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]})"},
    {"a receipt", R"({"type": "object", "properties": {"shop": {"type": "string", "maxLength": 60},
       "date": {"type": "string", "format": "date"}, "items": {"type": "array", "items": {"type": "object",
       "properties": {"name": {"type": "string"}, "price": {"type": "number", "minimum": 0}, "count": {"type": "integer"}},
       "required": ["name", "price"]}}, "total": {"type": "number"}}, "required": ["shop", "items", "total"]})"},
    {"a tree", R"({"type": "object", "properties": {"text": {"type": "string", "maxLength": 200},
       "children": {"type": "array", "items": {"$ref": "#"}}}, "required": ["text"]})"},
    {"patterns", R"({"type": "array", "items": {"type": "string", "pattern": "^\\w+( \\w+)*$", "maxLength": 80}})"},
    {"anything", "{}"}};

Status run(const Path& path) {
  TRY(std::string json, read_file(path, uint64_t{1} << 30));
  TRY(Tokenizer tokenizer, Tokenizer::from_json(json, path.string()));
  const int32_t ends[] = {2};
  auto start = now_us();
  const auto trie = std::make_shared<const TokenTrie>(tokenizer, tokenizer.vocabulary_size(), ends);
  fmt::print("{} tokens, trie of {} bytes made in {:.1f} ms\n\n", tokenizer.vocabulary_size(), trie->nodes().size(),
             us_since(start) / 1e3);
  fmt::print("| schema | compiled in | tokens | mean | median | 99 % | worst |\n|---|---:|---:|---:|---:|---:|---:|\n");
  for (const auto& [name, text] : kSchemas) {
    start = now_us();
    TRY(JsonSchema schema, JsonSchema::compile(text, name));
    const double compiled = us_since(start);
    std::vector<double> times;
    std::mt19937 random(1);
    for (int answer = 0; answer < 3; ++answer) {  // each as the first of its schema
      TRY(TokenMask mask, TokenMask::make(schema, trie));
      for (int64_t left = 300; left > 0 && !mask.ended(); --left) {
        start = now_us();
        const std::span<const uint64_t> bits = mask.allowed(left);
        times.push_back(us_since(start));
        std::vector<int32_t> allowed;
        for (int32_t token = 0; token < tokenizer.vocabulary_size(); ++token)
          if (bits[static_cast<size_t>(token) / 64] >> (token % 64) & 1) allowed.push_back(token);
        const int32_t token = allowed[random() % allowed.size()];
        if (token == ends[0]) break;
        mask.accept(token);
      }
    }
    double sum = 0;
    for (const double time : times) sum += time;
    const size_t n = times.size();
    std::sort(times.begin(), times.end());
    fmt::print("| {} | {:.1f} ms | {} | {:.0f} µs | {:.0f} µs | {:.0f} µs | {:.0f} µs |\n", name, compiled / 1e3, n,
               sum / static_cast<double>(n), times[n / 2], times[n * 99 / 100], times[n - 1]);
  }
  return {};
}

}  // namespace
}  // namespace onsight::text

int main(int argc, char** argv) {
  const auto done = argc == 2 ? onsight::text::run(argv[1]) : onsight::bad_input("usage: mask_bench TOKENIZER.json");
  if (!done) fmt::print(stderr, "mask_bench: {}\n", done.error().message);
  return done ? 0 : 1;
}
