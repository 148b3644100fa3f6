// onsight agents serve: the web page of the agents.
#include <thread>

#include "base/file.h"
#include "base/subprocess.h"
#include "cli/agents/agents.h"

namespace onsight::cli {
namespace {

constexpr std::chrono::seconds kBrowserTime{20};

class AgentsServe : public Verb {
 public:
  void declare(Options& options) override {
    options.number("--port", "N", port_, {.min = 0, .max = 65535}, "0: any that is free (default 0)");
    options.flag("--open", open_, "show the page in your browser");
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
  }

  Status run(Context& context) override {
    agents::page::PageOptions options;
    options.open = [this] { return open_fleet(project_); };
    options.port = static_cast<uint16_t>(port_);
    options.stop_on_signals = true;
    TRY(const auto server, agents::page::PageServer::listen(options));
    TRY_STATUS(context.out.write(server->url() + "\n"));
    Path way;
    std::thread browser;
    if (open_) {
      TRY(way, write_way(server->url()));
      browser = std::thread([way] { show_in_browser(way); });
    }
    server->run();
    if (browser.joinable()) browser.join();
    std::error_code ignored;
    std::filesystem::remove(way, ignored);
    return {};
  }

 private:
  // What a program is started with, all users of the machine can read: the address with its token lies in a folder of
  // this user's alone, in a page that leads there.
  Result<Path> write_way(const std::string& url) const {
    TRY(const auto project, agents::Project::find(project_ ? Path(*project_) : std::filesystem::current_path()));
    const Path way = project.run / "page.html";
    TRY_STATUS(write_file_atomically(
        way, fmt::format("<!doctype html><title>onsight</title><meta http-equiv=\"refresh\" content=\"0; url={}\">\n",
                         url)));
    return way;
  }

  static void show_in_browser(const Path& way) {
    const auto ended = onsight::run({.command = {"xdg-open", way.string()}, .limit = kBrowserTime});
    if (!ended || ended->code != 0)
      print_error("--open: xdg-open does not show a page here: open the address in a browser");
  }

  int port_ = 0;
  bool open_ = false;
  std::optional<std::string> project_;
};

}  // namespace

std::unique_ptr<Verb> make_agents_serve() { return std::make_unique<AgentsServe>(); }

}  // namespace onsight::cli
