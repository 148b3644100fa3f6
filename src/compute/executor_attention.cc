// The executor's attention: full, in floats or in codes, and causal over the caches of sequences.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "compute/executor_run.h"
#include "compute/kernels/integer.h"
#include "compute/kernels/pairs.h"

namespace onsight::compute {

void Executor::attention_in_codes(Run& run, const Op& op) {
  const int64_t rows = run.shape(op.output)[0], width = run.shape(op.output)[1], group = op.group;
  const int64_t heads = rows / group * op.heads;
  const int64_t head_bytes = filled(IntHead::bytes(group, op.head_dim), 64);
  grow(pages_, static_cast<size_t>(heads * head_bytes));
  for (Buffer& scratch : scratch_) grow(scratch, static_cast<size_t>(attend_int_scratch_bytes(group, op.head_dim)));
  std::vector<IntHead> prepared(static_cast<size_t>(heads));
  const auto at = [&](int64_t head, int64_t row) {
    return (head / op.heads * group + row) * width + head % op.heads * op.head_dim;
  };
  pool_.run(heads, [&](int64_t h, int thread) {
    std::byte* memory = pages_.data() + h * head_bytes;
    const int64_t codes = filled(group, kQuad) * op.head_dim;
    IntHead& head = prepared[static_cast<size_t>(h)];
    head = {.keys = group,
            .head_dim = op.head_dim,
            .k = memory,
            .v = reinterpret_cast<int8_t*>(memory + codes),
            .v_scale = reinterpret_cast<float*>(memory + 2 * codes),
            .v_mean = reinterpret_cast<float*>(memory + 2 * codes) + std::max(op.head_dim, 8),
            .k_scale = 1};
    kernels_.integer->prepare_head(*kernels_.dot, run.f32(op.in[1]) + at(h, 0), run.f32(op.in[2]) + at(h, 0), width,
                                   head, scratch_[static_cast<size_t>(thread)].data());
  });
  const int64_t blocks = (group + kAttendQueries - 1) / kAttendQueries;
  pool_.run(heads * blocks, [&](int64_t i, int thread) {
    const int64_t h = i / blocks, row = i % blocks * kAttendQueries;
    kernels_.integer->attend(*kernels_.dot, prepared[static_cast<size_t>(h)], run.f32(op.in[0]) + at(h, row), width,
                             static_cast<int>(std::min<int64_t>(kAttendQueries, group - row)),
                             1.0f / std::sqrt(static_cast<float>(op.head_dim)), run.out(op) + at(h, row), width,
                             scratch_[static_cast<size_t>(thread)].data());
  });
}

void Executor::attend_all(std::vector<AttendBlock>& blocks, int64_t scratch_floats) {
  for (Buffer& scratch : scratch_)
    if (scratch.bytes() < static_cast<size_t>(scratch_floats) * sizeof(float))
      scratch = Buffer(static_cast<size_t>(scratch_floats) * sizeof(float));
  pool_.run(static_cast<int64_t>(blocks.size()), [&](int64_t i, int thread) {
    AttendBlock& block = blocks[static_cast<size_t>(i)];
    block.scratch = scratch_[static_cast<size_t>(thread)].f32();
    kernels_.attend(block);
  });
}

void Executor::attention(Run& run, const Op& op) {
  const int64_t rows = run.shape(op.output)[0], width = run.shape(op.output)[1], group = op.group;
  const int64_t pages = (group + kKvPage - 1) / kKvPage;
  const KvLayout layout = {.layers = 1, .kv_heads = 1, .head_dim = op.head_dim};
  const int64_t heads = rows / group * op.heads;  // one head of one group is independent of all others
  const size_t bytes = static_cast<size_t>(heads * pages * layout.head_bytes());
  if (pages_.bytes() < bytes) {
    pages_ = Buffer();
    pages_ = Buffer(bytes);
    std::memset(pages_.data(), 0, bytes);  // keys beyond the last are read, then masked
  }
  std::vector<KvPageView> views(static_cast<size_t>(heads * pages));
  pool_.run(heads, [&](int64_t head, int) {
    for (int64_t p = 0; p < pages; ++p) {
      std::byte* keys = pages_.data() + (head * pages + p) * layout.head_bytes();
      std::byte* values = keys + layout.keys_bytes();
      for (int64_t i = p * kKvPage; i < std::min(group, (p + 1) * kKvPage); ++i) {
        const int64_t at = (head / op.heads * group + i) * width + head % op.heads * op.head_dim;
        kernels_.put_kv(run.f32(op.in[1]) + at, run.f32(op.in[2]) + at, op.head_dim, DType::kF32,
                        static_cast<int>(i % kKvPage), keys, values);
      }
      views[static_cast<size_t>(head * pages + p)] = {keys, values};
    }
  });
  const std::vector<int32_t> visible(kAttendRows, static_cast<int32_t>(group));
  std::vector<AttendBlock> blocks;
  for (int64_t head = 0; head < heads; ++head) {
    const int64_t first = head / op.heads * group, column = head % op.heads * op.head_dim;
    for (int64_t r = 0; r < group; r += kAttendRows) {
      const int64_t at = (first + r) * width + column;
      blocks.push_back({.q = run.f32(op.in[0]) + at,
                        .q_stride = width,
                        .rows = static_cast<int>(std::min<int64_t>(kAttendRows, group - r)),
                        .head_dim = op.head_dim,
                        .scale = 1.0f / std::sqrt(static_cast<float>(op.head_dim)),
                        .kv = DType::kF32,
                        .pages = &views[static_cast<size_t>(head * pages)],
                        .visible = visible.data(),
                        .out = run.out(op) + at,
                        .out_stride = width,
                        .scratch = nullptr});
    }
  }
  attend_all(blocks, attend_scratch_floats(group, op.head_dim));
}

void Executor::cached_attention(Run& run, const Op& op) {
  const Bindings& b = run.bindings;
  const int64_t rows = run.shape(op.in[1])[0], kv_width = int64_t{op.kv_heads} * op.head_dim;
  ONSIGHT_CHECK(static_cast<int64_t>(b.positions.size()) == rows && static_cast<int64_t>(b.sequences.size()) == rows);
  const auto put_head = [&](int64_t head, int) {
    for (int64_t r = 0; r < rows; ++r) {
      KvCache& cache = *b.caches[static_cast<size_t>(b.sequences[r])];
      const int64_t page = b.positions[r] / kKvPage, at = r * kv_width + head * op.head_dim;
      const float *k = run.f32(op.in[1]) + at, *v = run.f32(op.in[2]) + at;
      std::byte* keys = cache.keys(op.layer, static_cast<int>(head), page);
      std::byte* values = cache.values(op.layer, static_cast<int>(head), page);
      if (cache.layout().in_codes())
        put_codes(k, v, op.head_dim, b.positions[r] % kKvPage, keys, values);
      else
        kernels_.put_kv(k, v, op.head_dim, cache.layout().dtype, b.positions[r] % kKvPage, keys, values);
    }
  };
  if (rows <= kExactRows)
    for (int64_t head = 0; head < op.kv_heads; ++head) put_head(head, 0);
  else
    pool_.run(op.kv_heads, put_head);

  Queries asked = {.positions = b.positions, .sequences = b.sequences};
  std::vector<int32_t> positions, sequences;
  if (op.in[3]) {
    for (const int32_t row : std::span(run.i32(op.in[3]), static_cast<size_t>(run.shape(op.output)[0]))) {
      positions.push_back(b.positions[static_cast<size_t>(row)]);
      sequences.push_back(b.sequences[static_cast<size_t>(row)]);
    }
    asked = {.positions = positions, .sequences = sequences};
  }
  // Rows of one sequence that follow each other: a few are decoded, many are a prompt.
  std::vector<RowRun> few, many;
  const auto queries = std::ssize(asked.positions);
  for (int64_t first = 0; first < queries;) {
    int64_t end = first + 1;
    while (end < queries && asked.sequences[end] == asked.sequences[first]) ++end;
    (end - first <= kExactRows ? few : many).push_back({first, end});
    first = end;
  }
  if (!few.empty()) attend_by_pages(run, op, asked, few);
  if (many.empty()) return;
  op.in_codes&& kernels_.pairs ? attend_in_pairs(run, op, asked, many) : attend_by_rows(run, op, asked, many);
}

void Executor::expect_pages(const Run& run, const Op& op) {
  const Bindings& b = run.bindings;
  if (b.sequences.back() != b.sequences.front()) return;  // of many sequences, each has little
  const KvCache& cache = *b.caches[static_cast<size_t>(b.sequences.front())];
  const int64_t pages = b.positions.back() / kKvPage + 1;
  for (int thread = 0; thread < pool_.threads(); ++thread) {
    const auto* heads = static_cast<const std::byte*>(cache.view(op.layer, 0, pool_.first_of(pages, thread)).keys);
    pool_.expect(thread, {heads, heads + op.kv_heads * cache.layout().head_bytes()});
  }
}

void Executor::attend_by_pages(Run& run, const Op& op, const Queries& asked, std::span<const RowRun> runs) {
  const std::span<KvCache* const> caches = run.bindings.caches;
  const int64_t width = run.shape(op.output)[1], value_stride = kv_value_stride(op.head_dim);
  const int queries = op.heads / op.kv_heads;  // query heads that share one key head
  const auto pages_of = [&](int64_t row) { return asked.positions[row] / kKvPage + 1; };
  struct PageTask {
    RowRun rows;
    int64_t page, pages;
    float* parts;  // [row][head]: largest [pages], sum [pages], mixed [pages, value_stride]
  };
  const int64_t part_floats = 2 + value_stride;
  std::vector<PageTask> tasks;
  int64_t floats = 0;
  for (const RowRun& rows : runs) floats += (rows.end - rows.first) * op.heads * pages_of(rows.end - 1) * part_floats;
  float* parts = grow(parts_, static_cast<size_t>(floats) * sizeof(float));
  for (const RowRun& rows : runs) {
    const int64_t pages = pages_of(rows.end - 1);
    for (int64_t p = 0; p < pages; ++p) tasks.push_back({rows, p, pages, parts});
    parts += (rows.end - rows.first) * op.heads * pages * part_floats;
  }
  // Queries of caches in codes, once for all pages.
  const int64_t head_codes = queries * KvCodes(op.head_dim).quads() * kQuad, row_codes = op.kv_heads * head_codes;
  std::vector<float> units;
  bool in_codes = false;
  for (const RowRun& rows : runs)
    in_codes |= caches[static_cast<size_t>(asked.sequences[rows.first])]->layout().in_codes();
  if (in_codes) {
    units.resize(asked.positions.size() * static_cast<size_t>(op.heads));
    grow(queries_, static_cast<size_t>(static_cast<int64_t>(asked.positions.size()) * row_codes));
    for (const RowRun& rows : runs)
      for (int64_t r = rows.first; r < rows.end; ++r)
        for (int h = 0; h < op.kv_heads; ++h)
          kernels_.integer->quantise_queries(
              *kernels_.dot, run.f32(op.in[0]) + r * width + int64_t{h} * queries * op.head_dim, queries, op.head_dim,
              1.0f / std::sqrt(static_cast<float>(op.head_dim)), queries_.data() + r * row_codes + h * head_codes,
              &units[static_cast<size_t>(r * op.heads + h * queries)]);
  }
  // All heads of a page lie one after the other, and so do the pages that a thread begins with.
  pool_.run(static_cast<int64_t>(tasks.size()), [&](int64_t i, int) {
    const PageTask& task = tasks[static_cast<size_t>(i)];
    const KvCache& cache = *caches[static_cast<size_t>(asked.sequences[task.rows.first])];
    for (int h = 0; h < op.kv_heads; ++h)
      for (int64_t r = task.rows.first; r < task.rows.end; ++r) {
        const int64_t visible = std::min<int64_t>(kKvPage, asked.positions[r] + 1 - task.page * kKvPage);
        if (visible <= 0) continue;
        float* part = task.parts +
                      ((r - task.rows.first) * op.heads + int64_t{h} * queries) * task.pages * part_floats + task.page;
        const AttendPage page = {.q = run.f32(op.in[0]) + r * width + int64_t{h} * queries * op.head_dim,
                                 .rows = queries,
                                 .head_dim = op.head_dim,
                                 .scale = 1.0f / std::sqrt(static_cast<float>(op.head_dim)),
                                 .kv = cache.layout().dtype,
                                 .page = cache.view(op.layer, h, task.page),
                                 .visible = static_cast<int>(visible),
                                 .largest = part,
                                 .sum = part + task.pages,
                                 .stride = task.pages * part_floats,
                                 .mixed = part - task.page + 2 * task.pages + task.page * value_stride,
                                 .mixed_stride = task.pages * part_floats};
        if (cache.layout().in_codes())
          kernels_.integer->attend_page(*kernels_.dot, page, queries_.data() + r * row_codes + h * head_codes,
                                        &units[static_cast<size_t>(r * op.heads + h * queries)]);
        else
          kernels_.attend_page(page);
      }
  });
  for (size_t i = 0; i < tasks.size(); i += static_cast<size_t>(tasks[i].pages)) {
    const PageTask& task = tasks[i];
    const auto merge = [&](int64_t n, int) {
      const int64_t r = task.rows.first + n / op.heads;
      float* part = task.parts + n * task.pages * part_floats;
      kernels_.merge_pages(part, part + task.pages, part + 2 * task.pages, pages_of(r), op.head_dim,
                           run.out(op) + r * width + n % op.heads * op.head_dim);
    };
    const int64_t merges = (task.rows.end - task.rows.first) * op.heads;
    constexpr int64_t kWorthSharing = 4096;  // pages: some ten microseconds
    if (merges * task.pages >= kWorthSharing)
      pool_.run(merges, merge);
    else
      for (int64_t n = 0; n < merges; ++n) merge(n, 0);
  }
}

std::vector<std::vector<KvPageView>> Executor::float_pages(const Run& run, const Op& op, const Queries& asked,
                                                           std::span<const RowRun> runs) {
  std::vector<std::vector<KvPageView>> views;
  const KvLayout wide = {.layers = 1, .kv_heads = 1, .head_dim = op.head_dim, .dtype = DType::kF16};
  struct Widened {
    const KvCache* cache;
    int head;
    int64_t page;
    std::byte* keys;
  };
  std::vector<Widened> in_codes;
  int64_t pages = 0;
  for (const RowRun& rows : runs) {
    const KvCache& cache = *run.bindings.caches[static_cast<size_t>(asked.sequences[rows.first])];
    if (cache.layout().in_codes()) pages += cache.pages() * op.kv_heads;
  }
  grow(pages_, static_cast<size_t>(pages * wide.head_bytes()));
  for (const RowRun& rows : runs) {
    const KvCache& cache = *run.bindings.caches[static_cast<size_t>(asked.sequences[rows.first])];
    for (int h = 0; h < op.kv_heads; ++h) {
      std::vector<KvPageView>& list = views.emplace_back();
      for (int64_t p = 0; p * kKvPage < cache.length(); ++p) {
        list.push_back(cache.view(op.layer, h, p));
        if (!cache.layout().in_codes()) continue;
        std::byte* keys = pages_.data() + static_cast<int64_t>(in_codes.size()) * wide.head_bytes();
        in_codes.push_back({&cache, h, p, keys});
        list.back() = {keys, keys + wide.keys_bytes()};
      }
    }
  }
  pool_.run(static_cast<int64_t>(in_codes.size()), [&](int64_t i, int) {
    const Widened& to = in_codes[static_cast<size_t>(i)];
    const KvPageView from = to.cache->view(op.layer, to.head, to.page);
    const int64_t filled_positions = std::min<int64_t>(kKvPage, to.cache->length() - to.page * kKvPage);
    std::memset(to.keys, 0, static_cast<size_t>(wide.head_bytes()));  // keys beyond the last are read, then masked
    std::vector<float> k(static_cast<size_t>(op.head_dim)), v(k.size());
    for (int at = 0; at < filled_positions; ++at) {
      read_codes(static_cast<const std::byte*>(from.keys), static_cast<const std::byte*>(from.values), op.head_dim, at,
                 k.data(), v.data());
      kernels_.put_kv(k.data(), v.data(), op.head_dim, DType::kF16, at, to.keys, to.keys + wide.keys_bytes());
    }
  });
  return views;
}

void Executor::attend_by_rows(Run& run, const Op& op, const Queries& asked, std::span<const RowRun> runs) {
  const int64_t width = run.shape(op.output)[1];
  std::vector<int32_t> visible(asked.positions.size());
  int64_t longest = 1;
  const std::vector<std::vector<KvPageView>> views = float_pages(run, op, asked, runs);
  std::vector<AttendBlock> blocks;
  for (const RowRun& rows : runs) {
    const KvCache& cache = *run.bindings.caches[static_cast<size_t>(asked.sequences[rows.first])];
    for (int64_t r = rows.first; r < rows.end; ++r) {
      visible[static_cast<size_t>(r)] = asked.positions[r] + 1;
      longest = std::max<int64_t>(longest, asked.positions[r] + 1);
    }
    const size_t first_view = static_cast<size_t>(&rows - runs.data()) * static_cast<size_t>(op.kv_heads);
    for (int64_t first = rows.first; first < rows.end; first += kAttendRows)
      for (int h = 0; h < op.heads; ++h) {
        const int64_t at = first * width + int64_t{h} * op.head_dim;
        blocks.push_back({.q = run.f32(op.in[0]) + at,
                          .q_stride = width,
                          .rows = static_cast<int>(std::min<int64_t>(kAttendRows, rows.end - first)),
                          .head_dim = op.head_dim,
                          .scale = 1.0f / std::sqrt(static_cast<float>(op.head_dim)),
                          .kv = cache.layout().in_codes() ? DType::kF16 : cache.layout().dtype,
                          .pages = views[first_view + static_cast<size_t>(h / (op.heads / op.kv_heads))].data(),
                          .visible = &visible[static_cast<size_t>(first)],
                          .out = run.out(op) + at,
                          .out_stride = width,
                          .scratch = nullptr});
      }
  }
  attend_all(blocks, attend_scratch_floats(longest, op.head_dim));
}

void Executor::attend_in_pairs(Run& run, const Op& op, const Queries& asked, std::span<const RowRun> runs) {
  const int64_t width = run.shape(op.output)[1], value_stride = kv_value_stride(op.head_dim);
  const int64_t pair_stride = pair_value_stride(op.head_dim), key_pairs = (op.head_dim + 1) / 2;
  const int64_t key_numbers = key_pairs * kKvPage * 2, value_numbers = kKvPage * pair_stride;  // a page
  const std::vector<std::vector<KvPageView>> views = float_pages(run, op, asked, runs);
  std::vector<PairHead> heads;
  struct PageTask {
    KvPageView from;
    DType dtype;
    uint16_t *keys, *values;
  };
  std::vector<PageTask> tasks;
  int64_t pages = 0;
  for (const std::vector<KvPageView>& list : views) pages += std::ssize(list);
  auto* memory = reinterpret_cast<uint16_t*>(
      grow(pairs_, static_cast<size_t>(pages * (key_numbers + value_numbers)) * sizeof(uint16_t)));
  for (const RowRun& rows : runs) {
    const KvLayout& layout = run.bindings.caches[static_cast<size_t>(asked.sequences[rows.first])]->layout();
    for (int h = 0; h < op.kv_heads; ++h) {
      const std::vector<KvPageView>& list = views[heads.size()];
      uint16_t *keys = memory, *values = memory + std::ssize(list) * key_numbers;
      heads.push_back({keys, values});
      for (const KvPageView& page : list) {
        tasks.push_back({page, layout.in_codes() ? DType::kF16 : layout.dtype, keys, values});
        keys += key_numbers;
        values += value_numbers;
      }
      memory = values;
    }
  }
  pool_.run(std::ssize(tasks), [&](int64_t i, int) {
    const PageTask& task = tasks[static_cast<size_t>(i)];
    const auto* keys = static_cast<const std::byte*>(task.from.keys);
    const auto* values = static_cast<const std::byte*>(task.from.values);
    const auto at = [&](const std::byte* numbers, int64_t n) { return numbers + bytes_of(task.dtype, n); };
    for (int64_t p = 0; p < key_pairs; ++p)
      kernels_.interleave(task.dtype, at(keys, 2 * p * kKvPage),
                          2 * p + 1 < op.head_dim ? at(keys, (2 * p + 1) * kKvPage) : nullptr, kKvPage,
                          task.keys + p * 2 * kKvPage);
    for (int64_t p = 0; p < kKvPage / 2; ++p) {
      uint16_t* out = task.values + p * 2 * pair_stride;
      kernels_.interleave(task.dtype, at(values, 2 * p * value_stride), at(values, (2 * p + 1) * value_stride),
                          value_stride, out);
      std::fill(out + 2 * value_stride, out + 2 * pair_stride, uint16_t{0});
    }
  });

  int64_t longest = 1;
  for (const RowRun& rows : runs) longest = std::max<int64_t>(longest, asked.positions[rows.end - 1] + 1);
  std::vector<int32_t> visible(asked.positions.size());
  for (size_t r = 0; r < visible.size(); ++r) visible[r] = asked.positions[r] + 1;
  const int64_t scratch_bytes = attend_pairs_scratch_floats(longest, op.head_dim) * int64_t{sizeof(float)};
  for (Buffer& scratch : scratch_) grow(scratch, static_cast<size_t>(scratch_bytes));
  std::vector<PairBlock> blocks;
  for (const RowRun& rows : runs)
    for (int64_t first = rows.first; first < rows.end; first += kPairRows)
      for (int h = 0; h < op.heads; ++h) {
        const int64_t at = first * width + int64_t{h} * op.head_dim;
        const int64_t head = (&rows - runs.data()) * op.kv_heads + h / (op.heads / op.kv_heads);
        blocks.push_back({.q = run.f32(op.in[0]) + at,
                          .q_stride = width,
                          .rows = static_cast<int>(std::min<int64_t>(kPairRows, rows.end - first)),
                          .head_dim = op.head_dim,
                          .scale = 1.0f / std::sqrt(static_cast<float>(op.head_dim)),
                          .head = heads[static_cast<size_t>(head)],
                          .visible = &visible[static_cast<size_t>(first)],
                          .out = run.out(op) + at,
                          .out_stride = width,
                          .scratch = nullptr});
      }
  pool_.run(std::ssize(blocks), [&](int64_t i, int thread) {
    PairBlock& block = blocks[static_cast<size_t>(i)];
    block.scratch = scratch_[static_cast<size_t>(thread)].f32();
    kernels_.attend_pairs(*kernels_.pairs, block);
  });
}

}  // namespace onsight::compute
