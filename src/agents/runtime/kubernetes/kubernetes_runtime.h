// KubernetesRuntime: the pods of one namespace of a cluster as containers, through kubectl.
//
//   TRY(auto runtime, connect_cluster({.engine = "kubernetes", .kubernetes = config.kubernetes, .project =
//   project.id}));
#pragma once

#include <map>
#include <mutex>

#include "agents/runtime/kubernetes/pods.h"
#include "agents/runtime/kubernetes/terminal.h"

namespace onsight::agents::runtime::kubernetes {

class KubernetesRuntime : public Runtime {
 public:
  struct Place {
    std::string version;  // of the API server
    std::string project;
    Path sockets;
  };
  KubernetesRuntime(Cluster cluster, KubectlOptions kubectl, Place place);

  std::string_view engine() const override { return "kubernetes"; }
  std::string_view version() const override { return place_.version; }
  const Path& socket() const override { return name_; }

  Result<std::string> create(const ContainerSpec& spec) override { return pods_.create(spec); }
  Status start(const std::string& id) override { return pods_.start(id); }
  Result<std::unique_ptr<Attachment>> attach(const std::string& id, bool replay) override;
  Status resize(const std::string& id, int rows, int columns) override;
  Result<std::optional<ContainerInfo>> inspect(const std::string& id) override;
  Result<std::vector<ContainerInfo>> list(const Labels& labels) override { return pods_.list(labels); }
  Status stop(const std::string& id, std::chrono::seconds grace) override { return pods_.stop(id, grace); }
  Status remove(const std::string& id) override { return pods_.remove(id); }
  Result<int> wait(const std::string& id, std::chrono::milliseconds limit) override { return pods_.wait(id, limit); }
  Result<ExecResult> exec(const std::string& id, const std::vector<std::string>& command,
                          std::chrono::milliseconds limit, uint64_t max_bytes) override {
    return pods_.exec(id, command, limit, max_bytes);
  }
  Result<std::pair<std::string, std::unique_ptr<Attachment>>> exec_terminal(const std::string& id,
                                                                            const std::vector<std::string>& command,
                                                                            int rows, int columns) override;
  Result<int> exec_exit_code(const std::string& exec) override;
  Status resize_exec(const std::string& exec, int rows, int columns) override;
  Result<ExecResult> run(const ContainerSpec& spec, const std::function<Status(std::string_view)>& out,
                         std::chrono::milliseconds limit) override {
    return pods_.run(spec, out, limit);
  }
  Status forget(const Path& folder) override { return pods_.remove_claim(place_.project, folder); }
  Result<std::string> give(const std::string& id, const Path& file) override;
  Status take_back(const std::string& id, const std::string& path) override;

  // What nodes pull is not asked for here: its name.
  Result<std::optional<std::string>> image_id(const std::string& tag) override;
  Result<Labels> image_labels(const std::string&) override { return Labels(); }
  Status import_image(const Path& tar, const std::string& tag, const Labels& labels,
                      const std::vector<std::string>& environment,
                      const std::function<void(uint64_t)>& progress) override;
  Status remove_image(const std::string& tag) override;
  Result<std::vector<Check>> check(const std::string& image) override;

 private:
  std::shared_ptr<Line> line_of(const std::string& name) const;
  const Cluster cluster_;
  const Place place_;
  const Path name_;  // "CONTEXT/NAMESPACE"
  const Pods pods_;
  mutable std::mutex mutex_;
  std::map<std::string, std::weak_ptr<Line>> lines_;  // of pods
  std::map<std::string, std::shared_ptr<Line>> commands_;
  int last_command_ = 0;
};

// Asks the API server for its version; an error says what keeps it from answering.
Result<std::unique_ptr<Runtime>> connect_cluster(const ConnectOptions& options);

}  // namespace onsight::agents::runtime::kubernetes
