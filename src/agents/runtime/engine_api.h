// EngineRuntime: the Engine API, version 1.40, as docker and podman both have it.
#pragma once

#include <mutex>

#include "agents/runtime/answers.h"
#include "agents/runtime/dialect.h"
#include "agents/runtime/runtime.h"
#include "net/unix_client.h"

namespace onsight::agents::runtime {

class EngineRuntime : public Runtime {
 public:
  EngineRuntime(Path socket, EngineVersion version, const Dialect& dialect);
  ~EngineRuntime() override;

  std::string_view engine() const override { return dialect_.name; }
  std::string_view version() const override { return version_.version; }
  const Path& socket() const override { return client_.socket(); }

  Result<std::string> create(const ContainerSpec& spec) override;
  Status start(const std::string& id) override;
  Result<std::unique_ptr<Attachment>> attach(const std::string& id, bool replay) override;
  bool attaches_before_start() const override { return true; }
  Status resize(const std::string& id, int rows, int columns) override;
  Result<std::optional<ContainerInfo>> inspect(const std::string& id) override;
  Result<std::vector<ContainerInfo>> list(const Labels& labels) override;
  Status stop(const std::string& id, std::chrono::seconds grace) override;
  Status remove(const std::string& id) override;
  Result<int> wait(const std::string& id, std::chrono::milliseconds limit) override;
  Result<ExecResult> exec(const std::string& id, const std::vector<std::string>& command,
                          std::chrono::milliseconds limit, uint64_t max_bytes) override;
  Result<std::pair<std::string, std::unique_ptr<Attachment>>> exec_terminal(const std::string& id,
                                                                            const std::vector<std::string>& command,
                                                                            int rows, int columns) override;
  Result<int> exec_exit_code(const std::string& exec) override;
  Status resize_exec(const std::string& exec, int rows, int columns) override;
  Result<ExecResult> run(const ContainerSpec& spec, const std::function<Status(std::string_view)>& out,
                         std::chrono::milliseconds limit) override;
  Result<std::optional<std::string>> image_id(const std::string& tag) override;
  Result<Labels> image_labels(const std::string& tag) override;
  Status import_image(const Path& tar, const std::string& tag, const Labels& labels,
                      const std::vector<std::string>& environment,
                      const std::function<void(uint64_t)>& progress) override;
  Status remove_image(const std::string& tag) override;
  Result<std::vector<Check>> check(const std::string& image) override;

 private:
  Result<net::HttpResponse> call(std::string_view method, const std::string& path, const std::string& body = {},
                                 double seconds = 0) const;
  Result<std::unique_ptr<net::RawStream>> hijack(const std::string& path, const std::string& body,
                                                 std::string_view what) const;
  Result<std::optional<Inspected>> look_at(const std::string& id) const;
  Result<std::optional<ImageInfo>> look_at_image(const std::string& tag) const;
  Result<std::string> create_exec(const std::string& id, const std::vector<std::string>& command, bool terminal) const;
  Result<int> exit_code_soon(const std::string& id) const;
  Result<std::string> seccomp_option();
  Result<std::string> create_body(const ContainerSpec& spec);
  // "docker: NAME: why"
  tl::unexpected<Error> refused(std::string_view what, const net::HttpResponse& response) const;

  const net::UnixClient client_;
  const EngineVersion version_;
  const Dialect& dialect_;
  std::mutex profile_mutex_;
  int profile_file_ = -1;  // of an engine that reads the seccomp profile by its path
};

}  // namespace onsight::agents::runtime
