#include "agents/broker/broker.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>

#include "agents/broker/conversation.h"
#include "agents/broker/head.h"

namespace onsight::agents::broker {
namespace {

constexpr std::chrono::milliseconds kLook{1000}, kLease{4'000}, kRenew{1'000};
constexpr std::string_view kDuty = "broker";
constexpr int kMostConnections = 2000;

tl::unexpected<Error> no_socket(const Path& path) {
  return make_error(ErrorCode::kIo, "{}: no socket can be opened there ({})", path.string(), std::strerror(errno));
}

// Bound beside its place and renamed, so that a client finds the old one or the new one.
Result<Descriptor> listen_on(const Path& path, mode_t mode) {
  const Path temporary = path.string() + ".new";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (temporary.string().size() >= sizeof address.sun_path)
    return make_error(ErrorCode::kIo, "{}: the path of a socket is too long, expected at most {} bytes", path.string(),
                      sizeof address.sun_path - 5);
  std::memcpy(address.sun_path, temporary.c_str(), temporary.string().size() + 1);
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ::unlink(temporary.c_str());
  const bool good = socket.get() >= 0 &&
                    ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                    ::chmod(temporary.c_str(), mode) == 0 && ::listen(socket.get(), 128) == 0 &&
                    ::rename(temporary.c_str(), path.c_str()) == 0;
  if (!good) {
    auto error = no_socket(path);
    ::unlink(temporary.c_str());
    return error;
  }
  return socket;
}

Status make_socket_folder(const Path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error || ::chmod(folder.c_str(), 0755) != 0)
    return make_error(ErrorCode::kIo, "{}: cannot be made ({})", folder.string(),
                      error ? error.message() : std::strerror(errno));
  return {};
}

std::optional<uid_t> peer_uid(int fd) {
  ucred who{};
  socklen_t length = sizeof who;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length) != 0) return {};
  return who.uid;
}

// Agents that have a container, or will have one. One that was stopped reaches nothing any more.
bool is_served(const state::AgentRow& row) {
  using state::Phase;
  if (row.wanted == state::Wanted::kRunning)
    return row.phase != Phase::kError && (row.phase != Phase::kStopped || row.resume);
  return row.phase == Phase::kStarting || row.phase == Phase::kRunning || row.phase == Phase::kStopping;
}

class Presence {
 public:
  Presence(AgentLink& link, int fd) : link_(link), fd_(fd), entered_(link.enter(fd)) { ++link.connections; }
  Presence(const Presence&) = delete;
  Presence& operator=(const Presence&) = delete;
  ~Presence() {
    link_.leave(fd_);
    --link_.connections;
  }
  bool entered() const { return entered_; }

 private:
  AgentLink& link_;
  int fd_;
  bool entered_;
};

class RunningBroker : public Broker {
 public:
  explicit RunningBroker(BrokerOptions options) : options_(std::move(options)) {}
  ~RunningBroker() override { stop(); }

  Status open() {
    service_->store = options_.store;
    service_->bus = options_.bus;
    service_->limits = options_.limits;
    service_->key = options_.key;
    service_->resolver = options_.resolver ? options_.resolver : Resolver(resolve);
    service_->dial = options_.dial ? options_.dial : Dial(dial);
    if (!vault::ready()) return make_error(ErrorCode::kIo, "libsodium cannot be used");
    TRY(service_->tls, TlsClient::make(options_.authorities));
    const Path lock = options_.project.run / "broker.lock";
    lock_ = Descriptor(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (lock_.get() < 0)
      return make_error(ErrorCode::kIo, "{}: cannot be opened ({})", lock.string(), std::strerror(errno));
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0)
      return make_error(ErrorCode::kBusy, "a broker of this project runs already");
    TRY_STATUS(take_lease());
    wake_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    TRY(control_, listen_on(options_.project.broker_control(), 0600));
    TRY_STATUS(refresh());
    thread_ = std::thread([this] { loop(); });
    return {};
  }

  void stop() override {
    service_->stopping = true;
    wake();
    if (thread_.joinable()) thread_.join();
    {
      const std::lock_guard lock(mutex_);
      for (auto& [name, entry] : entries_) entry.link->cut_off();
      // Those of a broker that took over have the same paths.
      for (auto& [name, entry] : entries_)
        if (!lost_.load()) ::unlink(entry.path.c_str());
      entries_.clear();
    }
    if (options_.bus) options_.bus->wake();
    std::unique_lock lock(live_->mutex);
    live_->changed.wait(lock, [&] { return live_->count == 0; });
    lock.unlock();
    if (control_.get() >= 0 && !lost_.load()) ::unlink(options_.project.broker_control().c_str());
    control_ = Descriptor();
    if (leased_) options_.store->drop_lease(lease_);
    leased_ = false;
  }

  Status reload(config::Config config) override {
    {
      const std::lock_guard lock(mutex_);
      options_.config = std::move(config);
    }
    return refresh();
  }

  Status poke() override {
    TRY_STATUS(refresh());
    if (options_.bus) options_.bus->wake();
    return {};
  }

  std::chrono::milliseconds idle() const override {
    const std::lock_guard lock(mutex_);
    if (!entries_.empty()) return std::chrono::milliseconds(0);
    const std::lock_guard live(live_->mutex);
    if (live_->count > 0) return std::chrono::milliseconds(0);
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - std::max(busy_until_, live_->ended));
  }

  bool lost() const override { return lost_.load(); }

 private:
  struct Entry {
    std::shared_ptr<AgentLink> link;
    Descriptor listener;
    Path path;
  };
  // Shared with the threads of connections, which end after the broker has counted them out.
  struct Live {
    std::mutex mutex;
    std::condition_variable changed;
    int count = 0;
    Time ended = Clock::now();
  };

  void wake() {
    const uint64_t one = 1;
    if (wake_.get() >= 0) (void)!::write(wake_.get(), &one, sizeof one);
  }

  Status refresh() {
    struct Found {
      state::AgentRow row;
      std::optional<uid_t> uid;
    };
    std::vector<Found> found;
    TRY_STATUS(options_.store->read([&](state::Transaction& t) -> Status {
      TRY(std::vector<state::AgentRow> rows, t.agents());
      seen_seq_ = t.last_seq();
      for (state::AgentRow& row : rows) {
        if (!is_served(row)) continue;
        TRY(const std::vector<state::Event> created, t.events({.agent = row.name, .kind_prefix = "agent.created"}));
        std::optional<uid_t> uid;
        if (!created.empty())
          if (const auto at = created.back().body.find("uid");
              at != created.back().body.end() && at->is_number_integer())
            uid = at->get<uid_t>();
        found.push_back({std::move(row), uid});
      }
      return {};
    }));
    const std::lock_guard lock(mutex_);
    for (auto it = entries_.begin(); it != entries_.end();) {
      const bool stays =
          std::any_of(found.begin(), found.end(), [&](const Found& one) { return one.row.name == it->first; });
      if (!stays) {
        it->second.link->cut_off();
        ::unlink(it->second.path.c_str());
        busy_until_ = Clock::now();
      }
      it = stays ? std::next(it) : entries_.erase(it);
    }
    for (const Found& one : found)
      if (const Status taken = take_agent(one.row, one.uid); !taken)
        std::fprintf(stderr, "onsight: %s: the broker does not serve it (%s)\n", one.row.name.c_str(),
                     taken.error().message.c_str());
    wake();
    return {};
  }

  Status take_agent(const state::AgentRow& row, std::optional<uid_t> uid) {
    auto made = options_.policy ? options_.policy(row, options_.config) : policy_of(row, options_.config);
    const auto at = entries_.find(row.name);
    if (!made) {
      // Better nothing than rules that are no longer those of the configuration.
      if (at != entries_.end()) {
        at->second.link->cut_off();
        ::unlink(at->second.path.c_str());
        entries_.erase(at);
      }
      return tl::unexpected<Error>(made.error());
    }
    if (!made->uid) made->uid = uid;
    auto policy = std::make_shared<const Policy>(*std::move(made));
    if (at != entries_.end()) {
      at->second.link->set_policy(std::move(policy));
      return {};
    }
    Entry entry;
    const Path folder = options_.project.sockets(row.name);
    entry.path = folder / "broker.sock";
    TRY_STATUS(make_socket_folder(folder));
    TRY(entry.listener, listen_on(entry.path, 0666));
    entry.link = std::make_shared<AgentLink>(row.name, std::move(policy));
    entries_.emplace(row.name, std::move(entry));
    return {};
  }

  void loop() {
    Time look_at = Clock::now() + kLook, renew_at = Clock::now() + kRenew;
    while (!service_->stopping.load()) {
      std::vector<pollfd> about = {pollfd{wake_.get(), POLLIN, 0}, pollfd{control_.get(), POLLIN, 0}};
      std::vector<std::shared_ptr<AgentLink>> links;
      {
        const std::lock_guard lock(mutex_);
        for (const auto& [name, entry] : entries_) {
          about.push_back({entry.listener.get(), POLLIN, 0});
          links.push_back(entry.link);
        }
      }
      const int n = ::poll(about.data(), about.size(), 500);
      if (about[0].revents != 0) {
        uint64_t ignored = 0;
        (void)!::read(wake_.get(), &ignored, sizeof ignored);
      }
      if (n > 0 && about[1].revents != 0) accept_control();
      for (size_t i = 0; n > 0 && i < links.size(); ++i)
        if (about[i + 2].revents != 0) accept_agent(links[i]);
      if (Clock::now() >= renew_at) {
        renew_at = Clock::now() + kRenew;
        renew();
      }
      if (Clock::now() >= look_at) {
        look_at = Clock::now() + kLook;
        look();
      }
    }
  }

  // The lock says that the one before has ended; its lease may last for a moment yet.
  Status take_lease() {
    const Time until = Clock::now() + kLease + kRenew;
    for (;;) {
      auto taken = options_.store->take_lease(kDuty, fmt::format("{}", ::getpid()), kLease.count());
      if (taken) {
        lease_ = *std::move(taken);
        leased_ = true;
        return {};
      }
      if (taken.error().code != ErrorCode::kBusy || Clock::now() >= until) return tl::unexpected<Error>(taken.error());
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }

  void renew() {
    const Status renewed = options_.store->renew_lease(lease_, kLease.count());
    if (renewed || renewed.error().code != ErrorCode::kBusy) return;  // a full disk is no other broker
    // It ended while this process slept, say; nobody else may have taken it.
    auto again = options_.store->take_lease(kDuty, fmt::format("{}", ::getpid()), kLease.count());
    if (again) {
      lease_ = *std::move(again);
      return;
    }
    lost_ = true;
    service_->stopping = true;
    const std::lock_guard lock(mutex_);
    for (auto& [name, entry] : entries_) entry.link->cut_off();
  }

  // Events that other processes wrote.
  void look() {
    int64_t seq = 0;
    const Status read = options_.store->read([&](state::Transaction& t) -> Status {
      seq = t.last_seq();
      return {};
    });
    if (!read || seq == seen_seq_.load()) return;
    if (const Status done = poke(); !done)
      std::fprintf(stderr, "onsight: the agents cannot be read (%s)\n", done.error().message.c_str());
  }

  Descriptor accept_on(int listener) {
    Descriptor socket(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.get() < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return socket;
  }

  void accept_agent(const std::shared_ptr<AgentLink>& link) {
    int listener = -1;
    {
      const std::lock_guard lock(mutex_);
      const auto at = entries_.find(link->name);
      if (at == entries_.end() || at->second.link != link) return;
      listener = at->second.listener.get();
    }
    Descriptor socket = accept_on(listener);
    if (socket.get() < 0) return;
    const auto policy = link->policy();
    if (policy->uid && peer_uid(socket.get()) != policy->uid) {
      int64_t unlogged = 0;
      if (link->admit_log(service_->limits.logged_per_minute, unlogged))
        service_->add_event(*link, "egress.refused", {{"host", ""}, {"method", ""}, {"path", ""}, {"reason", "peer"}});
      return;
    }
    if (link->connections.load() >= service_->limits.connections) {
      constexpr std::string_view kFull =
          "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
      (void)!::send(socket.get(), kFull.data(), kFull.size(), MSG_NOSIGNAL);
      return;
    }
    start_thread(std::move(socket), [service = service_, link](Descriptor fd) {
      const int number = fd.get();
      Conversation conversation(*service, *link, make_channel(std::move(fd)));
      const Presence presence(*link, number);  // goes before the descriptor is closed and its number given to another
      if (presence.entered()) conversation.run();
    });
  }

  void accept_control() {
    Descriptor socket = accept_on(control_.get());
    if (socket.get() < 0 || peer_uid(socket.get()) != ::geteuid()) return;
    start_thread(std::move(socket), [this](Descriptor fd) { answer_control(*make_channel(std::move(fd))); });
  }

  void answer_control(Channel& channel) {
    const Waiting waiting{&service_->stopping, -1};
    const Time until = Clock::now() + std::chrono::seconds(5);
    std::string in;
    std::array<char, 4096> bytes;
    while (head_end(in) == 0) {
      const auto n = channel.read(bytes.data(), bytes.size(), waiting, until);
      if (!n || *n == 0 || in.size() > kMaxHeadBytes) return;
      in.append(bytes.data(), *n);
    }
    const auto head = parse_request_head(std::string_view(in).substr(0, head_end(in)));
    int status = 404;
    Json body = {{"error", {{"message", "expected POST /poke or GET /status"}}}};
    if (head && head->method == "POST" && head->target == "/poke") {
      const Status done = poke();
      status = done ? 200 : 500;
      body = done ? Json::object() : Json({{"error", {{"message", done.error().message}}}});
    } else if (head && head->method == "GET" && head->target == "/status") {
      status = 200;
      const std::lock_guard lock(mutex_);
      body = {{"pid", ::getpid()}, {"agents", Json::array()}};
      for (const auto& [name, entry] : entries_)
        body["agents"].push_back({{"name", name}, {"connections", entry.link->connections.load()}});
    }
    const std::string text = body.dump();
    (void)channel.write(net::head_of(status, {{"Content-Type", "application/json"},
                                              {"Content-Length", std::to_string(text.size())},
                                              {"Connection", "close"}}) +
                            text,
                        waiting, until);
  }

  template <class Work>
  void start_thread(Descriptor socket, Work work) {
    {
      const std::lock_guard lock(live_->mutex);
      if (live_->count >= kMostConnections) return;
      ++live_->count;
    }
    auto body = [live = live_, work = std::move(work), fd = std::move(socket)]() mutable {
      // OpenSSL writes without MSG_NOSIGNAL.
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
      try {
        work(std::move(fd));
      } catch (const std::exception& error) {
        std::fprintf(stderr, "onsight: a connection ended (%s)\n", error.what());
      }
      const std::lock_guard lock(live->mutex);
      --live->count;
      live->ended = Clock::now();
      live->changed.notify_all();
    };
    try {
      std::thread(std::move(body)).detach();
    } catch (const std::exception&) {
      const std::lock_guard lock(live_->mutex);
      --live_->count;
    }
  }

  BrokerOptions options_;
  std::shared_ptr<Service> service_ = std::make_shared<Service>();
  std::shared_ptr<Live> live_ = std::make_shared<Live>();
  mutable std::mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_;
  Time busy_until_ = Clock::now();
  std::atomic<int64_t> seen_seq_{0};
  std::atomic<bool> lost_{false};
  Descriptor wake_, control_, lock_;
  state::Store::Lease lease_;
  bool leased_ = false;
  std::thread thread_;
};

}  // namespace

Result<Policy> policy_of(const state::AgentRow& agent, const config::Config& config) {
  Policy out;
  out.agent = agent.name;
  out.placeholder = agent.placeholder;
  const auto found = config.roles.find(agent.role);
  if (found == config.roles.end()) return bad_input("the role '{}' is none of those in the configuration", agent.role);
  const config::Role& role = found->second;
  out.role = role;
  out.fleet = config.fleet;
  for (const auto& [name, provider] : config.providers) {
    TRY(Url url, parse_url(provider.url));
    out.provider_urls.push_back(std::move(url));
    if (role.providers.empty() || std::find(role.providers.begin(), role.providers.end(), name) != role.providers.end())
      out.providers.emplace(name, provider);
  }
  if (!config.vision_url.empty()) {
    TRY(out.vision, parse_url(config.vision_url));
  }
  return out;
}

Result<std::unique_ptr<Broker>> Broker::start(BrokerOptions options) {
  auto out = std::make_unique<RunningBroker>(std::move(options));
  TRY_STATUS(out->open());
  return std::unique_ptr<Broker>(std::move(out));
}

Status serve(BrokerOptions options, const std::function<bool()>& interrupted, std::chrono::milliseconds idle_limit) {
  TRY(const std::unique_ptr<Broker> broker, Broker::start(std::move(options)));
  while (!interrupted() && broker->idle() < idle_limit) {
    if (broker->lost()) return make_error(ErrorCode::kBusy, "another broker of this project has taken over");
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  return {};
}

void harden_process() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::mallopt(M_ARENA_MAX, 4);  // connections have a thread each: their heaps would keep what they once held
  ::umask(0077);
}

}  // namespace onsight::agents::broker
