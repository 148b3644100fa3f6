#include "agents/bridge/bridge.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <thread>

#include "agents/bridge/frames.h"
#include "net/raw_server.h"

namespace onsight::agents::bridge {
namespace {

using std::chrono::milliseconds;

std::string read_all(int fd) {
  std::string out;
  char bytes[4096];
  for (ssize_t got; (got = ::recv(fd, bytes, sizeof bytes, 0)) > 0;) out.append(bytes, static_cast<size_t>(got));
  return out;
}

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

std::string some_bytes(size_t count, unsigned seed) {
  std::string out(count, '\0');
  for (char& c : out) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return out;
}

// Both ends of a bridge, on threads, with a stream between them.
class BridgeTest : public testing::Test {
 protected:
  BridgeTest() {
    ::signal(SIGPIPE, SIG_IGN);  // as both programs do
    std::string name = (std::filesystem::temp_directory_path() / "onsight-bridge-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~BridgeTest() override {
    end();
    std::filesystem::remove_all(folder_);
  }

  std::string inner() const { return folder_ / "inner.sock"; }
  std::string outer() const { return folder_ / "outer.sock"; }

  void begin(milliseconds patience = std::chrono::seconds(20)) {
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream_), 0);
    inside_ =
        std::thread([this] { inside_status_ = run_bridge({.in = stream_[0], .out = stream_[0], .listen = inner()}); });
    outside_ = std::thread([this, patience] {
      outside_status_ = run_bridge({.in = stream_[1], .out = stream_[1], .dial = outer(), .patience = patience});
    });
  }
  void end() {
    if (!inside_.joinable()) return;
    ::shutdown(stream_[0], SHUT_RDWR);
    inside_.join();
    outside_.join();
    for (const int fd : stream_) ::close(fd);
  }
  int connected() const {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    inner().copy(address.sun_path, sizeof address.sun_path - 1);
    for (int i = 0; i < 2000; ++i) {
      const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
      ::close(fd);
      std::this_thread::sleep_for(milliseconds(5));
    }
    ADD_FAILURE() << "nobody listens at " << inner();
    return -1;
  }

  std::filesystem::path folder_;
  int stream_[2] = {-1, -1};
  std::thread inside_, outside_;
  Status inside_status_, outside_status_;
};

// Says all that it heard, when it has heard all.
void echo(int connection) { write_all(connection, read_all(connection)); }

TEST_F(BridgeTest, WhatIsSaidComesBackWholeOnEveryConnection) {
  const net::RawServer server(outer(), echo);
  begin();
  std::vector<std::thread> clients;
  for (unsigned i = 0; i < 20; ++i) {
    clients.emplace_back([this, i] {
      const std::string said = some_bytes(i * 60'000, i);
      const int fd = connected();
      write_all(fd, said);
      ::shutdown(fd, SHUT_WR);
      EXPECT_EQ(read_all(fd), said) << i;
      ::close(fd);
    });
  }
  for (std::thread& client : clients) client.join();
  end();
  EXPECT_TRUE(inside_status_) << inside_status_.error().message;
  EXPECT_TRUE(outside_status_) << outside_status_.error().message;
}

TEST_F(BridgeTest, OneThatNobodyReadsHoldsUpNoOther) {
  const net::RawServer server(outer(), [](int connection) {
    char first = 0;
    if (::recv(connection, &first, 1, 0) != 1) return;
    write_all(connection, first == 'm' ? some_bytes(3'000'000, 1) : "short");
  });
  begin();
  const int slow = connected(), quick = connected();
  write_all(slow, "m");
  for (int i = 0; i < 50; ++i) {
    const int fd = i == 0 ? quick : connected();
    write_all(fd, "s");
    EXPECT_EQ(read_all(fd), "short");
    ::close(fd);
  }
  EXPECT_EQ(read_all(slow), some_bytes(3'000'000, 1));
  ::close(slow);
}

TEST_F(BridgeTest, ABrokerThatComesLaterIsReached) {
  begin();
  const int fd = connected();
  write_all(fd, "hello");
  ::shutdown(fd, SHUT_WR);
  std::this_thread::sleep_for(milliseconds(150));
  const net::RawServer server(outer(), echo);
  EXPECT_EQ(read_all(fd), "hello");
  ::close(fd);
}

TEST_F(BridgeTest, WithoutABrokerAConnectionIsClosed) {
  begin(milliseconds(100));
  const int fd = connected();
  EXPECT_EQ(read_all(fd), "");
  ::close(fd);
}

TEST_F(BridgeTest, AClientThatLeavesIsToldToTheBroker) {
  std::promise<std::string> heard;
  const net::RawServer server(outer(), [&](int connection) { heard.set_value(read_all(connection)); });
  begin();
  const int fd = connected();
  write_all(fd, "half a requ");
  ::close(fd);
  EXPECT_EQ(heard.get_future().get(), "half a requ");
}

TEST_F(BridgeTest, ANewBridgeTakesThePlaceOfOneThatWasLeftBehind) {
  const net::RawServer server(outer(), echo);
  begin();
  ::close(connected());
  end();
  EXPECT_TRUE(std::filesystem::exists(inner()));
  begin();
  std::string said;
  for (int i = 0; i < 500 && said.empty(); ++i) {  // the socket of the former may be found first
    const int fd = connected();
    write_all(fd, "x");
    ::shutdown(fd, SHUT_WR);
    said = read_all(fd);
    ::close(fd);
  }
  EXPECT_EQ(said, "x");
}

// --- what an end that means ill may send

class HostileEnd : public BridgeTest {
 protected:
  // How the broker's end takes this.
  std::string outcome(std::string_view bytes, bool listens = false) {
    int stream[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream), 0);
    std::thread hostile([&] {
      write_all(stream[1], bytes);
      ::shutdown(stream[1], SHUT_WR);
    });
    BridgeOptions options = {.in = stream[0], .out = stream[0]};
    (listens ? options.listen : options.dial) = listens ? inner() : outer();
    const Status status = run_bridge(options);
    ::close(stream[0]);
    hostile.join();
    ::close(stream[1]);
    return status ? "well" : status.error().message;
  }
  static std::string frame(Kind kind, uint32_t connection, std::string_view bytes = {}) {
    std::string out;
    append_frame(out, kind, connection, bytes);
    return out;
  }
};

TEST_F(HostileEnd, RubbishEndsTheBridge) {
  EXPECT_EQ(outcome(""), "well");
  EXPECT_EQ(outcome("GET / HTTP/1.1\r\n"), "the bridge: expected a frame, found bytes that are none");
  EXPECT_EQ(outcome(std::string_view("\x02\0\0", 3)), "the bridge: it broke off in the middle of a frame");
  EXPECT_EQ(outcome(std::string_view("\x02\0\xff\xff\0\0\0\1", 8)),
            "the bridge: a frame of kind 2: 65535 bytes are not what it has");
  EXPECT_EQ(outcome(std::string_view("\x01\0\0\1\0\0\0\1x", 9)),
            "the bridge: a frame of kind 1: 1 bytes are not what it has");
}

TEST_F(HostileEnd, WhatWasNotAskedForEndsTheBridge) {
  const std::string open = frame(Kind::kOpen, 1), data = frame(Kind::kData, 1, std::string(kMostFrameBytes, 'x'));
  EXPECT_EQ(outcome(frame(Kind::kData, 1, "x") + frame(Kind::kEnd, 9) + frame(Kind::kClose, 3)), "well");  // of none
  EXPECT_EQ(outcome(open + open), "the bridge: a connection came that nobody waits for");
  EXPECT_EQ(outcome(open, /*listens=*/true), "the bridge: a connection came that nobody waits for");
  EXPECT_EQ(outcome(open + data + data + data + data + data), "the bridge: 16384 bytes came that nobody asked for");
  EXPECT_EQ(outcome(open + frame(Kind::kEnd, 1) + frame(Kind::kData, 1, "x")),
            "the bridge: 1 bytes came that nobody asked for");
  std::string credit = open;
  append_credit(credit, 1, 1);
  EXPECT_EQ(outcome(credit), "the bridge: more credit came than was used");
}

TEST_F(HostileEnd, ManyConnectionsAreNotMoreThanItHolds) {
  std::string opens;
  for (uint32_t i = 1; i <= 1'200'000; ++i) opens += frame(Kind::kOpen, i);
  EXPECT_EQ(outcome(opens), "the bridge: the other end sends and does not read");
}

// --- frames

TEST(BridgeFrames, AreTheSameHoweverTheyAreCut) {
  std::string bytes;
  append_frame(bytes, Kind::kOpen, 7);
  append_frame(bytes, Kind::kData, 0xfedcba98, some_bytes(kMostFrameBytes, 3));
  append_frame(bytes, Kind::kData, 7, "x");
  append_credit(bytes, 7, 65536);
  append_frame(bytes, Kind::kEnd, 7);
  append_frame(bytes, Kind::kClose, 7);
  std::string expected;
  for (const size_t step : {bytes.size(), size_t{1}, size_t{7}, size_t{4096}}) {
    FrameReader reader;
    std::string seen;
    for (size_t at = 0; at < bytes.size(); at += step) {
      const Status status = reader.feed(std::string_view(bytes).substr(at, step), [&](const Frame& frame) {
        seen += fmt::format("{} {} {} {} ", static_cast<int>(frame.kind), frame.connection, frame.bytes.size(),
                            frame.credit);
        if (frame.kind == Kind::kData) seen += frame.bytes;
        return Status();
      });
      ASSERT_TRUE(status) << status.error().message;
    }
    EXPECT_TRUE(reader.between_frames());
    if (expected.empty()) expected = seen;
    EXPECT_EQ(seen, expected) << step;
  }
  EXPECT_EQ(expected.substr(0, 8), "1 7 0 0 ");
  EXPECT_NE(expected.find("3 7 4 65536 4 7 0 0 5 7 0 0 "), std::string::npos);
}

}  // namespace
}  // namespace onsight::agents::bridge
