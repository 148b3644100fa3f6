// Processes that are killed, disks that are full or lie: what was acknowledged is there, once, and nothing by half.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "agents/state/store.h"
#include "agents/state/test_support.h"

namespace onsight::agents::state {
namespace {

using trial::ChildProcess;
using trial::Fault;
using trial::g_disk;
using trial::TempFolder;

// Agents, messages on their way and notes: every projection moves. Says each number when it is on the disk.
void write_and_say(const Path& file, int pipe, int first, int last) {
  auto store = Store::open(file);
  if (!store) ::_exit(9);
  for (int i = first; i < last; ++i) {
    const Status status = (*store)->write([&](Transaction& t) -> Status {
      TRY(const auto there, t.agent("a"));
      if (!there) TRY_STATUS(t.add(trial::created("a")));
      TRY_STATUS(t.add({.actor = "human",
                        .agent = "a",
                        .kind = "message.queued",
                        .body = {{"id", std::to_string(i)},
                                 {"to", "a"},
                                 {"kind", "message"},
                                 {"text", std::string(static_cast<size_t>(i * 37 % 3000), 'x')},
                                 {"hops", 0}}}));
      TRY(const auto inbox, t.inbox("a", 0, true, 1));
      TRY_STATUS(t.add(
          {.actor = "a", .agent = "a", .kind = "message.delivered", .body = {{"numbers", {inbox.at(0).number}}}}));
      return t.add(
          {.actor = "a", .agent = "a", .kind = "message.consumed", .body = {{"numbers", {inbox.at(0).number}}}});
    });
    if (status) trial::say(pipe, fmt::format("{}\n", i));
  }
}

std::set<int> numbers_in(const std::string& text) {
  std::set<int> out;
  std::istringstream lines(text);
  for (int number = 0; lines >> number;) out.insert(number);
  return out;
}

// Every acknowledged one is there, none twice, none by half; at most `unsaid` more than was acknowledged.
void expect_whole(const Path& file, const std::set<int>& acknowledged, size_t unsaid) {
  auto store = Store::open(file);
  ASSERT_TRUE(store) << store.error().message;
  const Status verified = (*store)->verify();
  EXPECT_TRUE(verified) << verified.error().message;
  std::vector<MessageRow> messages;
  ASSERT_TRUE((*store)->read([&](Transaction& t) -> Status {
    TRY(messages, t.messages("", 0, 100'000));
    return {};
  }));
  std::multiset<int> found;
  for (const MessageRow& message : messages) {
    found.insert(std::stoi(message.id));
    EXPECT_GT(message.consumed_ms, 0);  // of one transaction with its queueing
  }
  for (const int number : acknowledged) EXPECT_EQ(found.count(number), 1u) << number;
  EXPECT_EQ(std::set<int>(found.begin(), found.end()).size(), found.size());
  EXPECT_LE(found.size(), acknowledged.size() + unsaid);
}

int64_t operations_of(int transactions) {
  const TempFolder folder;
  ChildProcess child([&](int pipe) {
    trial::use_faulty_disk();
    write_and_say(folder / "state.db", pipe, 0, transactions);
    trial::say(pipe, fmt::format("{}\n", 1'000'000 + g_disk.count));
  });
  const std::set<int> said = numbers_in(child.read_all());
  EXPECT_EQ(child.wait(), 0);
  return *said.rbegin() - 1'000'000;
}

TEST(Crash, AtEveryOperationOnTheDisk) {
  constexpr int kTransactions = 8;
  const int64_t operations = operations_of(kTransactions);
  ASSERT_GT(operations, 40);
  for (const Fault fault : {Fault::kKill, Fault::kTear}) {
    for (int64_t at = 1; at <= operations; at += trial::kStride) {
      SCOPED_TRACE(fmt::format("operation {} of {}, {}", at, operations, fault == Fault::kTear ? "torn" : "before"));
      const TempFolder folder;
      ChildProcess child([&](int pipe) {
        g_disk = {fault, at};
        trial::use_faulty_disk();
        write_and_say(folder / "state.db", pipe, 0, kTransactions);
      });
      const std::set<int> acknowledged = numbers_in(child.read_all());
      EXPECT_EQ(child.wait(), 128 + SIGKILL);
      expect_whole(folder / "state.db", acknowledged, 1);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Crash, AtRandomTimes) {
  const TempFolder folder;
  std::mt19937 random(7);
  std::set<int> acknowledged;
  constexpr int kRounds = 60;
  for (int round = 0; round < kRounds; ++round) {
    ChildProcess child([&](int pipe) {
      // Two writers, so that commits are shared.
      std::thread other(
          [&] { write_and_say(folder / "state.db", pipe, round * 10'000 + 5'000, round * 10'000 + 10'000); });
      write_and_say(folder / "state.db", pipe, round * 10'000, round * 10'000 + 5'000);
      other.join();
    });
    std::this_thread::sleep_for(std::chrono::microseconds(std::uniform_int_distribution<int>(0, 30'000)(random)));
    child.kill();
    acknowledged.merge(numbers_in(child.read_all()));
    child.wait();
    if (round % 10 == 9) expect_whole(folder / "state.db", acknowledged, static_cast<size_t>(2 * kRounds));
  }
  EXPECT_GT(acknowledged.size(), 20u);
}

TEST(Crash, TwoProcessesWriteAtOnce) {
  const TempFolder folder;
  const Path file = folder / "state.db";
  constexpr int kEach = 150;
  ChildProcess one([&](int pipe) { write_and_say(file, pipe, 0, kEach); });
  ChildProcess two([&](int pipe) { write_and_say(file, pipe, kEach, 2 * kEach); });
  std::set<int> acknowledged = numbers_in(one.read_all());
  acknowledged.merge(numbers_in(two.read_all()));
  EXPECT_EQ(one.wait(), 0);
  EXPECT_EQ(two.wait(), 0);
  EXPECT_EQ(acknowledged.size(), static_cast<size_t>(2 * kEach));
  expect_whole(file, acknowledged, 0);
}

TEST(Disk, FullAtEveryOperation) {
  const int64_t operations = operations_of(6);
  for (const Fault fault : {Fault::kFull, Fault::kError}) {
    for (int64_t at = 1; at <= operations; at += trial::kStride) {
      SCOPED_TRACE(fmt::format("operation {} of {}, {}", at, operations, fault == Fault::kFull ? "full" : "error"));
      const TempFolder folder;
      ChildProcess child([&](int pipe) {
        g_disk = {fault, at, 0, 3};
        trial::use_faulty_disk();
        // Room comes back: the same process goes on, or the next one.
        write_and_say(folder / "state.db", pipe, 0, 6);
      });
      const std::set<int> acknowledged = numbers_in(child.read_all());
      const int code = child.wait();
      EXPECT_TRUE(code == 0 || code == 9) << code;  // 9: it could not be opened
      expect_whole(folder / "state.db", acknowledged, 1);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Disk, FullIsSaidInASentence) {
  const TempFolder folder;
  const Path file = folder / "state.db";
  ChildProcess child([&](int pipe) {
    auto store = Store::open(file);
    if (!store) ::_exit(9);
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 300'000;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    Status status;
    int written = 0;
    while (status && written < 1000) {
      status = trial::add(
          **store, {.actor = "human", .kind = "note", .body = {{"text", std::string(5000, 'x')}, {"number", written}}});
      if (status) ++written;
    }
    trial::say(pipe, status ? "nothing went wrong\n" : status.error().message + "\n");
    limit.rlim_cur = before;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    if (!trial::add(**store, trial::note(-1))) ::_exit(8);
    int64_t events = 0;
    const Status read = (*store)->read([&](Transaction& t) -> Status {
      events = t.last_seq();
      return {};
    });
    if (!read || events != written + 1) ::_exit(7);
    if (!(*store)->verify()) ::_exit(6);
  });
  EXPECT_EQ(child.read_all(), file.string() + ": the disk is full (File too large); nothing was written\n");
  EXPECT_EQ(child.wait(), 0);
}

TEST(Disk, DamagedBytesAreFoundOrHarmless) {
  const TempFolder folder;
  const Path file = folder / "state.db", copy = folder / "copy.db";
  ChildProcess child([&](int pipe) { write_and_say(file, pipe, 0, 40); });
  child.read_all();
  ASSERT_EQ(child.wait(), 0);
  const auto events_of = [](Store& store) {
    std::string out;
    const Status status = store.read([&](Transaction& t) -> Status {
      TRY(const auto events, t.events({.limit = 100'000}));
      for (const Event& event : events)
        out += fmt::format("{} {} {} {} {}\n", event.seq, event.at_ms, event.actor, event.kind, event.body.dump());
      return {};
    });
    return status ? out : "";
  };
  std::string expected;
  {
    auto store = Store::open(file);  // closed again, the log is written back
    ASSERT_TRUE(store);
    expected = events_of(**store);
  }
  const std::string bytes = read_file(file).value();
  ASSERT_GT(bytes.size(), 60'000u);
  std::mt19937 random(11);
  int refused = 0, found = 0, harmless = 0;
  for (int round = 0; round < 250; ++round) {
    std::string harmed = bytes;
    const size_t at = round < 100 ? static_cast<size_t>(round)  // the header, all of it
                                  : std::uniform_int_distribution<size_t>(0, bytes.size() - 1)(random);
    harmed[at] = static_cast<char>(harmed[at] ^ (1 << (round % 8)));
    if (round % 25 == 24) harmed.resize(at);  // cut off
    SCOPED_TRACE(at);
    ASSERT_TRUE(write_file_atomically(copy, harmed));
    {
      auto store = Store::open(copy);
      if (!store) {
        ++refused;
        EXPECT_FALSE(store.error().message.empty());
        EXPECT_EQ(read_file(copy).value(), harmed);
      } else if (!(*store)->verify()) {
        ++found;
      } else if (round % 25 != 24 || at > 0) {
        ++harmless;
        EXPECT_EQ(events_of(**store), expected);
      }
    }
    for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(copy.string() + suffix);
  }
  EXPECT_GT(refused, 5);
  EXPECT_GT(found + refused, 100);
  RecordProperty("found", found);
  RecordProperty("harmless", harmless);
}

}  // namespace
}  // namespace onsight::agents::state
