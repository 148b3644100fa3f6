// onsight list: the models that are on this machine.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/model_path.h"
#include "cli/program.h"
#include "cli/stats.h"
#include "hub/cache.h"

namespace onsight::cli {
namespace {

struct Row {
  std::string name;  // by which --model finds it
  std::string commit;
  Path path;
  engine::ModelInfo info;
};

class List : public Verb {
 public:
  void declare(Options& options) override { options.flag("--json", json_, "print one JSON object a line"); }

  Status run(Context& context) override {
    std::vector<Row> rows = installed(context);
    TRY(Path cache, hub::cache_folder());
    for (hub::CachedModel& model : hub::Cache(std::move(cache)).models()) {
      auto info = context.services.inspect(model.folder);
      if (!info) continue;  // of others' models most are not for us
      std::string name = model.repository.id();
      if (model.repository.revision != "main") name += "@" + model.repository.revision;
      rows.push_back({std::move(name), std::move(model.commit), std::move(model.folder), *std::move(info)});
    }
    return context.out.write(json_ ? to_json(rows) : to_table(rows));
  }

 private:
  static std::vector<Row> installed(Context& context) {
    std::vector<Row> rows;
    std::set<std::string> names;  // the first of a name is the one that is found
    for (const Path& folder : model_folders()) {
      for (const Path& path : children_of(folder)) {
        std::string name = path.filename().string();
        if (names.count(name)) continue;
        auto info = context.services.inspect(path);
        if (!info) continue;
        names.insert(name);
        rows.push_back({std::move(name), "", path, *std::move(info)});
      }
    }
    return rows;
  }

  static std::string to_json(const std::vector<Row>& rows) {
    std::string out;
    for (const Row& row : rows) {
      nlohmann::ordered_json object = {{"name", row.name},
                                       {"path", row.path.string()},
                                       {"architecture", row.info.architecture},
                                       {"parameters", row.info.parameters},
                                       {"weight_types", row.info.weight_types},
                                       {"file_bytes", row.info.file_bytes}};
      if (!row.commit.empty()) object["commit"] = row.commit;
      out += object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    }
    return out;
  }

  static std::string to_table(const std::vector<Row>& rows) {
    size_t widest = 4;
    for (const Row& row : rows) widest = std::max(widest, row.name.size());
    std::string out = fmt::format("{:<{}}  {:>13}  {:>8}  {}\n", "name", widest, "parameters", "size", "weights");
    for (const Row& row : rows)
      out +=
          fmt::format("{:<{}}  {:>13}  {:>8}  {}\n", printable(row.name), widest, readable_count(row.info.parameters),
                      readable_bytes(row.info.file_bytes), printable(row.info.weight_types));
    return out;
  }

  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_list() { return std::make_unique<List>(); }

}  // namespace onsight::cli
