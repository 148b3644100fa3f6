// HTTP over unix sockets: the server on them, what a proxy is asked, connections that leave HTTP, and the client, also
// against servers that do not keep to the rules.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <fstream>
#include <future>
#include <mutex>

#include "net/raw_server.h"
#include "net/server.h"
#include "net/target.h"
#include "net/unix_client.h"

namespace onsight::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class UnixSockets : public testing::Test {
 protected:
  UnixSockets() {
    std::string name = (std::filesystem::temp_directory_path() / "onsight-unix-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~UnixSockets() override { std::filesystem::remove_all(folder_); }
  Path at(const char* name) const { return folder_ / name; }

  Path folder_;
};

// A server that runs until the end of the test.
class Running {
 public:
  Running(const ServerOptions& options, Site site)
      : server_(std::move(Server::listen(options, std::move(site)).value())) {
    thread_ = std::thread([this] { server_->run(); });
  }
  ~Running() {
    server_->stop();
    thread_.join();
  }
  Server& operator*() { return *server_; }
  Server* operator->() { return server_.get(); }

 private:
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

Site telling_site() {
  Site site;
  site.handle = [](const HttpRequest& request, const std::shared_ptr<Exchange>& exchange) {
    exchange->respond({200,
                       {},
                       fmt::format("{} {} {} {}:{} {} {} {} {}", request.method, request.path, request.scheme,
                                   request.host, request.port, request.peer, request.peer_uid ? "uid" : "none",
                                   request.target, request.body.size())});
  };
  return site;
}

ServerOptions on(const Path& path, int mode = 0600) {
  ServerOptions options;
  options.unix_socket = UnixSocket{.path = path, .mode = mode};
  options.drain_time = milliseconds(500);
  return options;
}

TEST_F(UnixSockets, ServerAnswersAndCleansUp) {
  {
    Running server(on(at("s"), 0622), telling_site());
    struct stat made {};
    ASSERT_EQ(::stat(at("s").c_str(), &made), 0);
    EXPECT_EQ(made.st_mode & 0777, 0622u);
    const UnixClient client(at("s"));
    const auto response =
        client.request({.method = "POST", .target = "/a%20b?c", .body = "12345"}, seconds_from_now(5));
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_EQ(response->body, "POST /a b  :0 unix uid /a%20b?c 5");
  }
  EXPECT_FALSE(std::filesystem::exists(at("s")));
}

TEST_F(UnixSockets, ADeadSocketIsReplacedALivingOneRefused) {
  const int dead = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, at("s").c_str());
  ASSERT_EQ(::bind(dead, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ::close(dead);
  ASSERT_TRUE(std::filesystem::exists(at("s")));
  Running server(on(at("s")), telling_site());
  const auto second = Server::listen(on(at("s")), telling_site());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message, at("s").string() + ": another process listens there");
  EXPECT_TRUE(UnixClient(at("s")).request({}, seconds_from_now(5)));
}

TEST_F(UnixSockets, WhatIsNoSocketStays) {
  std::ofstream(at("file")) << "mine";
  std::filesystem::create_symlink("elsewhere", at("link"));
  for (const char* name : {"file", "link"}) {
    const auto refused = Server::listen(on(at(name)), telling_site());
    ASSERT_FALSE(refused) << name;
    EXPECT_NE(refused.error().message.find("expected a socket"), std::string::npos) << refused.error().message;
  }
  EXPECT_TRUE(std::filesystem::exists(at("file")));
  EXPECT_FALSE(Server::listen(on(at("no/folder")), telling_site()));
  const auto longer = Server::listen(on(folder_ / std::string(120, 'x')), telling_site());
  ASSERT_FALSE(longer);
  EXPECT_NE(longer.error().message.find("at most 107 bytes"), std::string::npos);
  EXPECT_FALSE(UnixClient(folder_ / std::string(120, 'x')).request({}, seconds_from_now(1)));
}

TEST_F(UnixSockets, AFileThatIsNoLongerOursStays) {
  auto first = Server::listen(on(at("s")), telling_site());
  ASSERT_TRUE(first);
  std::filesystem::remove(at("s"));
  Running second(on(at("s")), telling_site());
  first->reset();
  EXPECT_TRUE(UnixClient(at("s")).request({}, seconds_from_now(5)));
}

TEST_F(UnixSockets, EachSocketNamesItsPeer) {
  Running server(on(at("control")), telling_site());
  for (const char* name : {"ann", "bob"}) ASSERT_TRUE(server->add({.path = at(name), .mode = 0666, .peer = name}));
  for (const char* name : {"ann", "bob"}) {
    Result<HttpResponse> response = UnixClient(at(name)).request({}, seconds_from_now(5));
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_NE(response->body.find(std::string(" ") + name + " uid"), std::string::npos) << response->body;
  }
  EXPECT_FALSE(server->add({.path = at("ann"), .peer = "eve"}));
  // A connection that came by a socket goes with it. The answer shows that it is no longer waiting to be accepted.
  const auto held = connect_unix(at("bob").string(), seconds_from_now(5));
  ASSERT_TRUE(held);
  RawStream bob(*held, {});
  ASSERT_TRUE(bob.write("GET /kept HTTP/1.1\r\nHost: bob\r\n\r\n"));
  std::string answer;
  while (answer.find("/kept") == std::string::npos) {
    const auto piece = bob.read(seconds(5));
    ASSERT_TRUE(piece && *piece && !(*piece)->empty()) << answer;
    answer += **piece;
  }
  server->remove(at("bob"));
  EXPECT_EQ(bob.read(seconds(5)).value(), std::optional<std::string>(""));
  for (int i = 0; i < 500 && std::filesystem::exists(at("bob")); ++i) std::this_thread::sleep_for(milliseconds(2));
  EXPECT_FALSE(UnixClient(at("bob")).request({}, seconds_from_now(1)));
  EXPECT_TRUE(UnixClient(at("ann")).request({}, seconds_from_now(5)));
  server->remove(at("nobody"));
}

// Echoes what comes, in capitals, on a connection that it takes over.
Site shouting_site() {
  Site site;
  site.handle = [](const HttpRequest& request, const std::shared_ptr<Exchange>& exchange) {
    if (request.path == "/no") return exchange->respond({403, {}, "no"});
    const int status = request.method == "CONNECT" ? 200 : 101;
    exchange->take_over(status, {{"Upgrade", "tcp"}, {"Connection", "Upgrade"}}, [](std::unique_ptr<RawStream> stream) {
      std::thread([stream = std::move(stream)] {
        for (;;) {
          auto bytes = stream->read(seconds(5));
          if (!bytes || !*bytes || (*bytes)->empty()) return;
          for (char& c : **bytes) c = static_cast<char>(std::toupper(c));
          if (!stream->write(**bytes)) return;
        }
      }).detach();
    });
  };
  return site;
}

std::string read_all(RawStream& stream, size_t bytes) {
  std::string all;
  while (all.size() < bytes) {
    const auto piece = stream.read(seconds(5));
    if (!piece || !*piece || (*piece)->empty()) break;
    all += **piece;
  }
  return all;
}

TEST_F(UnixSockets, AConnectionIsTakenOver) {
  Running server(on(at("s")), shouting_site());
  const UnixClient client(at("s"));
  UnixRequest request{.method = "POST", .target = "/attach", .body = "{}"};
  request.headers.set("Upgrade", "tcp");
  auto hijacked = client.hijack(request, seconds_from_now(5));
  ASSERT_TRUE(hijacked) << hijacked.error().message;
  ASSERT_EQ(hijacked->head.status, 101);
  ASSERT_TRUE(hijacked->stream->write("hello"));
  EXPECT_EQ(read_all(*hijacked->stream, 5), "HELLO");
  const std::string large(3 << 20, 'x');
  auto written = std::async(std::launch::async, [&] { return hijacked->stream->write(large).has_value(); });
  EXPECT_EQ(read_all(*hijacked->stream, large.size()), std::string(large.size(), 'X'));
  EXPECT_TRUE(written.get());
  EXPECT_EQ(server->connections(), 0);  // the server has forgotten it
  EXPECT_EQ(hijacked->stream->read(milliseconds(10)).value(), std::nullopt);
  hijacked->stream->end_sending();
  EXPECT_EQ(hijacked->stream->read(seconds(5)).value(), std::optional<std::string>(""));

  const auto refused = client.hijack({.method = "POST", .target = "/no"}, seconds_from_now(5));
  ASSERT_TRUE(refused);
  EXPECT_FALSE(refused->stream);
  EXPECT_EQ(refused->head.status, 403);
  EXPECT_EQ(refused->head.body, "no");
}

TEST_F(UnixSockets, BytesBehindTheRequestAreKept) {
  Running server(on(at("s")), shouting_site());
  for (int i = 0; i < 50; ++i) {
    RawStream stream(connect_unix(at("s").string(), seconds_from_now(5)).value(), {});
    ASSERT_TRUE(stream.write("GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst"));
    if (i % 2 == 0) std::this_thread::sleep_for(milliseconds(i % 7));
    ASSERT_TRUE(stream.write(" second"));
    std::string all;
    while (all.find("SECOND") == std::string::npos) {
      const auto piece = stream.read(seconds(5));
      ASSERT_TRUE(piece && *piece && !(*piece)->empty()) << all;
      all += **piece;
    }
    EXPECT_NE(all.find("\r\n\r\nFIRST SECOND"), std::string::npos) << all;
  }
}

TEST_F(UnixSockets, AProxyIsToldWhereTo) {
  ServerOptions options = on(at("s"));
  options.reader.proxy = true;
  Running server(options, telling_site());
  const UnixClient client(at("s"));
  const auto told = [&](const char* method, const char* target) {
    UnixRequest request{.method = method, .target = target};
    request.headers.set("Content-Encoding", "zstd");
    const auto response = client.request(request, seconds_from_now(5));
    return !response                 ? response.error().message
           : response->status == 200 ? response->body
                                     : std::to_string(response->status);
  };
  EXPECT_EQ(told("GET", "http://Example.org/a%2fb?c=d"),
            "GET /a%2Fb http example.org:80 unix uid http://Example.org/a%2fb?c=d 0");
  EXPECT_EQ(told("GET", "https://example.org:8443"),
            "GET / https example.org:8443 unix uid https://example.org:8443 0");
  EXPECT_EQ(told("GET", "http://[::1]:80/"), "GET / http ::1:80 unix uid http://[::1]:80/ 0");
  EXPECT_EQ(told("GET", "/upstream/a"), "GET /upstream/a  :0 unix uid /upstream/a 0");
  for (const char* bad : {"http://user@example.org/", "http:///a", "http://a:0/", "http://a:65536/", "http://a:/",
                          "http://[::1/", "http://a b/", "http://a..b/", "http://%61/", "ftp://a/"})
    EXPECT_TRUE(told("GET", bad) == "400" || told("GET", bad).find("without spaces") != std::string::npos)
        << bad << told("GET", bad);
  RawStream connecting(connect_unix(at("s").string(), seconds_from_now(5)).value(), {});
  ASSERT_TRUE(
      connecting.write("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nConnection: close\r\n\r\n"));
  EXPECT_NE(read_all(connecting, 1000).find("CONNECT *  example.org:443 unix uid example.org:443 0"),
            std::string::npos);
  for (const char* bad : {"CONNECT example.org", "CONNECT /", "CONNECT :1", "CONNECT a:b"}) {
    RawStream one(connect_unix(at("s").string(), seconds_from_now(5)).value(), {});
    ASSERT_TRUE(one.write(bad + std::string(" HTTP/1.1\r\nHost: x\r\n\r\n")));
    EXPECT_EQ(read_all(one, 12).substr(9, 3), "400") << bad;
  }
}

TEST_F(UnixSockets, OthersAreNoProxy) {
  Running server(on(at("s")), telling_site());
  const UnixClient client(at("s"));
  EXPECT_EQ(client.request({.target = "http://example.org/a"}, seconds_from_now(5))->body,
            "GET /a  :0 unix uid http://example.org/a 0");
  UnixRequest packed{.method = "POST", .target = "/", .body = "x"};
  packed.headers.set("Content-Encoding", "gzip");
  EXPECT_EQ(client.request(packed, seconds_from_now(5))->status, 415);
  RawStream connecting(connect_unix(at("s").string(), seconds_from_now(5)).value(), {});
  ASSERT_TRUE(connecting.write("CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  EXPECT_NE(read_all(connecting, 1000).find("CONNECT *  :0"), std::string::npos);
}

TEST_F(UnixSockets, TwoStreamsAreRelayed) {
  int left[2], right[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, left), 0);
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, right), 0);
  RawStream a(left[0], {}), inner_a(left[1], "before "), inner_b(right[0], {}), b(right[1], {});
  auto relayed = std::async(std::launch::async, [&] { return relay(inner_a, inner_b, seconds(5)); });
  ASSERT_TRUE(a.write("there"));
  EXPECT_EQ(read_all(b, 12), "before there");
  ASSERT_TRUE(b.write("back"));
  EXPECT_EQ(read_all(a, 4), "back");
  a.end_sending();
  EXPECT_EQ(b.read(seconds(5)).value(), std::optional<std::string>(""));
  ASSERT_TRUE(b.write("more"));
  EXPECT_EQ(read_all(a, 4), "more");
  b.end_sending();
  const Relayed counted = relayed.get();
  EXPECT_EQ(counted.there, 12u);
  EXPECT_EQ(counted.back, 8u);
}

TEST_F(UnixSockets, AShutStreamWakesItsReader) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  RawStream one(pair[0], {}), other(pair[1], {});
  auto reading = std::async(std::launch::async, [&] { return one.read(seconds(20)); });
  std::this_thread::sleep_for(milliseconds(20));
  one.shut();
  EXPECT_EQ(reading.get().value(), std::optional<std::string>(""));
  EXPECT_FALSE(one.write("x"));
  EXPECT_FALSE(other.write("x"));
}

// --- the client

struct Hostile {
  const char* name;
  std::string says;
  const char* expected;  // in the error, or the body where it begins with '='
};

TEST_F(UnixSockets, ServersThatDoNotKeepToTheRules) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const Hostile cases[] = {
      {"nothing", "", "ends before it is whole"},
      {"half a head", "HTTP/1.1 200 O", "ends before it is whole"},
      {"rubbish", "SSH-2.0-OpenSSH_9.2\r\n\r\n", "expected HTTP/1.1"},
      {"zeros", std::string(70'000, '\0'), "expected HTTP/1.1"},
      {"cut body", ok + "Content-Length: 10\r\n\r\n12345", "ends before it is whole"},
      {"cut chunks", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", "ends before it is whole"},
      {"cut in a chunk", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\n123", "ends before it is whole"},
      {"no chunk", ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "expected HTTP/1.1"},
      {"a chunk of 2^64", ok + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n", "expected HTTP/1.1"},
      {"a chunk too large", ok + "Transfer-Encoding: chunked\r\n\r\nfffffffffffff\r\n", "at most 1000 bytes"},
      {"a chunk that is longer", ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n12345\r\n0\r\n\r\n", "expected HTTP/1.1"},
      {"endless trailer", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + std::string(200'000, 'x'),
       "at most 65536"},
      {"a length of 2^60", ok + "Content-Length: 1152921504606846976\r\n\r\n", "at most 1000 bytes"},
      {"a length of -1", ok + "Content-Length: -1\r\n\r\n", "expected HTTP/1.1"},
      {"two lengths", ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n12", "expected HTTP/1.1"},
      {"too much without a length", ok + "\r\n" + std::string(2000, 'x'), "at most 1000 bytes"},
      {"one field too long", ok + "X: " + std::string(100'000, 'x'), "at most 65536"},
      {"too many fields",
       ok +
           [] {
             std::string fields;
             for (int i = 0; i < 9000; ++i) fields += "X-Y: 123456789\r\n";
             return fields;
           }(),
       "at most 65536"},
      {"endless announcements",
       [] {
         std::string all;
         for (int i = 0; i < 1000; ++i) all += "HTTP/1.1 100 Continue\r\n\r\n";
         return all;
       }(),
       "only announcements"},
      {"a change of protocol", "HTTP/1.1 101 Switching\r\n\r\n", "no change of the protocol"},
      {"announced", "HTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 2\r\n\r\nhi", "=hi"},
      {"chunks", ok + "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n", "=hi!"},
      {"until the end", ok + "\r\nhi", "=hi"},
      {"more than one", ok + "Content-Length: 2\r\n\r\nhi" + ok + "\r\n", "=hi"},
      {"none", "HTTP/1.1 204 No Content\r\n\r\n", "="},
      {"an error", "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", "=no"},
  };
  for (const Hostile& one : cases) {
    for (const size_t at_once : {size_t{1 << 20}, size_t{3}}) {
      if (at_once == 3 && one.says.size() > 30'000) continue;
      RawServer server(at("h"), [&](int connection) {
        RawServer::hear(connection);
        for (size_t i = 0; i < one.says.size(); i += at_once)
          RawServer::say(connection, std::string_view(one.says).substr(i, at_once));
      });
      const auto got = UnixClient(at("h")).request({}, seconds_from_now(10), {.body_bytes = 1000});
      if (*one.expected == '=') {
        ASSERT_TRUE(got) << one.name << ": " << got.error().message;
        EXPECT_EQ("=" + got->body, one.expected) << one.name;
      } else {
        ASSERT_FALSE(got) << one.name;
        EXPECT_NE(got.error().message.find(one.expected), std::string::npos) << one.name << ": " << got.error().message;
        EXPECT_EQ(got.error().message.find(at("h").string()), 0u) << one.name;
      }
    }
  }
}

TEST_F(UnixSockets, NothingWaitsPastItsDeadline) {
  std::promise<void> over;
  const auto until = over.get_future().share();
  RawServer silent(at("silent"), [until](int connection) {
    RawServer::hear(connection);
    until.wait();
  });
  RawServer slow(at("slow"), [until](int connection) {
    RawServer::hear(connection);
    RawServer::say(connection, "HTTP/1.1 200 OK\r\n\r\n");
    while (until.wait_for(milliseconds(5)) != std::future_status::ready) RawServer::say(connection, "x");
  });
  RawServer deaf(at("deaf"), [until](int) { until.wait(); });
  const auto begun = std::chrono::steady_clock::now();
  for (const char* name : {"silent", "slow"}) {
    const auto got = UnixClient(at(name)).request({}, seconds_from_now(0.2));
    ASSERT_FALSE(got) << name;
    EXPECT_EQ(got.error().code, ErrorCode::kBusy);
    EXPECT_NE(got.error().message.find("no answer within"), std::string::npos);
  }
  const auto got =
      UnixClient(at("deaf")).request({.method = "POST", .body = std::string(4 << 20, 'x')}, seconds_from_now(0.2));
  EXPECT_FALSE(got);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, seconds(30));
  over.set_value();
}

TEST_F(UnixSockets, BodiesAreStreamedBothWays) {
  std::string heard;
  std::mutex mutex;
  RawServer server(at("s"), [&](int connection) {
    std::string all;
    char bytes[65536];
    while (all.find("0\r\n\r\n") == std::string::npos && all.find("the end") == std::string::npos) {
      const ssize_t got = ::recv(connection, bytes, sizeof(bytes), 0);
      if (got <= 0) break;
      all.append(bytes, static_cast<size_t>(got));
      // An engine tells its progress while it reads.
      RawServer::say(connection, "");
    }
    {
      const std::lock_guard lock(mutex);
      heard = all;
    }
    RawServer::say(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 300; ++i) RawServer::say(connection, "400\r\n" + std::string(1024, 'y') + "\r\n");
    RawServer::say(connection, "0\r\n\r\n");
  });
  for (const bool known : {true, false}) {
    const std::vector<std::string> pieces = {std::string(100'000, 'a'), "the end"};
    size_t next = 0;
    uint64_t progress = 0;
    UnixRequest request{.method = "POST", .target = "/load"};
    request.body_pieces = [&]() -> Result<std::string> {
      return next < pieces.size() ? pieces[next++] : std::string();
    };
    if (known) request.body_bytes = 100'007;
    request.progress = [&](uint64_t sent) { progress = sent; };
    size_t got = 0;
    const auto response = UnixClient(at("s")).stream(request,
                                                     [&](std::string_view bytes) {
                                                       got += bytes.size();
                                                       return Status();
                                                     },
                                                     seconds_from_now(10), {.body_bytes = 100});
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_EQ(got, 300u * 1024);
    EXPECT_EQ(progress, 100'007u);
    const std::lock_guard lock(mutex);
    EXPECT_NE(heard.find(known ? "Content-Length: 100007\r\n" : "Transfer-Encoding: chunked\r\n"), std::string::npos);
    EXPECT_NE(heard.find("the end"), std::string::npos);
  }
  // An error of who takes it ends it, and so does one of who gives it.
  UnixRequest request{.method = "POST", .body = "the end"};
  const auto full = UnixClient(at("s")).stream(
      request, [](std::string_view) -> Status { return bad_input("the disk is full"); }, seconds_from_now(10));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().message, "the disk is full");
  request.body_pieces = []() -> Result<std::string> { return bad_input("cannot be read"); };
  EXPECT_EQ(UnixClient(at("s")).request(request, seconds_from_now(10)).error().message, "cannot be read");
  request.body_pieces = []() -> Result<std::string> { return std::string("xx"); };
  request.body_bytes = 3;
  const auto longer = UnixClient(at("s")).request(request, seconds_from_now(10));
  ASSERT_FALSE(longer);
  EXPECT_NE(longer.error().message.find("expected 3 bytes to send, found 4"), std::string::npos);
}

TEST_F(UnixSockets, AnAnswerBeforeTheEndOfTheRequestCounts) {
  RawServer server(at("s"), [](int connection) {
    char bytes[1024];
    (void)::recv(connection, bytes, sizeof(bytes), 0);
    RawServer::say(connection, "HTTP/1.1 413 Too large\r\nContent-Length: 6\r\n\r\nenough");
    std::this_thread::sleep_for(milliseconds(300));
  });
  UnixRequest request{.method = "POST"};
  request.body_pieces = []() -> Result<std::string> { return std::string(1 << 20, 'x'); };
  const auto got = UnixClient(at("s")).request(request, seconds_from_now(10));
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->status, 413);
  EXPECT_EQ(got->body, "enough");
}

TEST_F(UnixSockets, ATargetCannotBreakOut) {
  for (const char* target : {"/a b", "/a\r\nX: y", "", "/\x7f"})
    EXPECT_FALSE(UnixClient(at("none")).request({.target = target}, seconds_from_now(1)));
  const auto none = UnixClient(at("none")).request({}, seconds_from_now(1));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().message, at("none").string() + ": cannot connect to it (No such file or directory)");
}

TEST_F(UnixSockets, WhatIsBehindTheHeadOfAHijackIsKept) {
  for (const char* head : {"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
                           "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"}) {
    std::string request;
    RawServer server(at("s"), [&](int connection) {
      request = RawServer::hear(connection);
      RawServer::say(connection, std::string(head) + "prompt$ ");
      char bytes[16];
      const ssize_t got = ::recv(connection, bytes, sizeof(bytes), 0);
      RawServer::say(connection, std::string(bytes, static_cast<size_t>(std::max<ssize_t>(got, 0))));
    });
    auto hijacked =
        UnixClient(at("s")).hijack({.method = "POST", .headers = {{"Upgrade", "tcp"}}}, seconds_from_now(5));
    ASSERT_TRUE(hijacked) << hijacked.error().message;
    ASSERT_TRUE(hijacked->stream);
    EXPECT_EQ(read_all(*hijacked->stream, 8), "prompt$ ");
    ASSERT_TRUE(hijacked->stream->write("ls"));
    EXPECT_EQ(read_all(*hijacked->stream, 2), "ls");
    // Podman types a body of it into the terminal.
    EXPECT_EQ(request.find("Content-Length"), std::string::npos) << request;
    EXPECT_EQ(request.substr(request.size() - 4), "\r\n\r\n");
  }
  RawServer server(at("s"), [](int connection) {
    RawServer::hear(connection);
    RawServer::say(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  });
  EXPECT_FALSE(UnixClient(at("s")).hijack({.method = "POST"}, seconds_from_now(5)));
}

}  // namespace
}  // namespace onsight::net
