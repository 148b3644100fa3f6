// What a runtime must do, whichever engine is behind it: for tests, with real engines and with what they said once.
#pragma once

#include <gtest/gtest.h>

#include <fstream>

#include "agents/runtime/runtime.h"

namespace onsight::agents::runtime {

inline ContainerSpec scenario_spec(const std::string& name, const std::string& image, std::vector<std::string> command,
                                   bool terminal) {
  ContainerSpec spec;
  spec.name = name;
  spec.image = image;
  spec.command = std::move(command);
  spec.environment = {{"PATH", "/usr/bin"}, {"TERM", "dumb"}, {"PS1", "> "}};
  spec.working_folder = "/";
  spec.uid = spec.gid = 12345;
  spec.terminal = terminal;
  spec.labels = {{std::string(kProjectLabel), "scenario"}, {std::string(kAgentLabel), name}};
  spec.limits.memory_bytes = 64 << 20;
  spec.limits.pids = 64;
  spec.limits.cpus = 1;
  spec.limits.tmp_bytes = 8 << 20;
  return spec;
}

// Until `text` has come, or the end has; all that came.
inline std::string read_until(Attachment& attachment, std::string_view text) {
  std::string all;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (all.find(text) == std::string::npos && std::chrono::steady_clock::now() < until) {
    const auto piece = attachment.read(std::chrono::milliseconds(200));
    if (!piece || (*piece && (*piece)->empty())) break;
    if (*piece) all += **piece;
  }
  return all;
}

inline void expect_gone(Runtime& runtime, const std::string& name) {
  const auto left = runtime.list({{std::string(kAgentLabel), name}});
  ASSERT_TRUE(left) << left.error().message;
  EXPECT_TRUE(left->empty()) << name;
}

inline void scenario_images(Runtime& runtime, const std::string& image, const Path& folder) {
  const auto id = runtime.image_id(image);
  ASSERT_TRUE(id) << id.error().message;
  EXPECT_TRUE(id->has_value());
  EXPECT_EQ(runtime.image_id("localhost/onsight-none:1").value(), std::nullopt);
  const auto none = runtime.image_labels("localhost/onsight-none:1");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().reason, "no_image");

  // A tar of one empty file.
  std::string tar(10240, '\0');
  tar.replace(0, 5, "empty");
  tar.replace(100, 8, std::string("0000644\0", 8)).replace(108, 8, std::string("0000000\0", 8));
  tar.replace(116, 8, std::string("0000000\0", 8)).replace(124, 12, std::string("00000000000\0", 12));
  tar.replace(136, 12, std::string("00000000000\0", 12)).replace(148, 8, "        ");
  tar[156] = '0';
  tar.replace(257, 8, std::string("ustar\00000", 8));
  unsigned sum = 0;
  for (int i = 0; i < 512; ++i) sum += static_cast<unsigned char>(tar[static_cast<size_t>(i)]);
  tar.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  std::ofstream(folder / "image.tar", std::ios::binary) << tar;
  const std::string tag = "onsight-scenario/tiny:1.2-ab";
  uint64_t sent = 0;
  const Status imported =
      runtime.import_image(folder / "image.tar", tag, {{"onsight.guest", "1.0"}, {"onsight.x", "a=b:c/d"}},
                           {"LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin"}, [&](uint64_t bytes) { sent = bytes; });
  ASSERT_TRUE(imported) << imported.error().message;
  EXPECT_EQ(sent, tar.size());
  const auto labels = runtime.image_labels(tag);
  ASSERT_TRUE(labels) << labels.error().message;
  EXPECT_EQ(labels->count("onsight.guest") ? labels->at("onsight.guest") : "none", "1.0");
  EXPECT_EQ(labels->count("onsight.x") ? labels->at("onsight.x") : "none", "a=b:c/d");
  EXPECT_TRUE(runtime.remove_image(tag));
  EXPECT_TRUE(runtime.remove_image(tag));
  EXPECT_EQ(runtime.image_id(tag).value(), std::nullopt);
  std::ofstream(folder / "image.tar", std::ios::binary)
      << "this is no tar, however long it may be" << std::string(2000, 'x');
  EXPECT_FALSE(runtime.import_image(folder / "image.tar", tag, {}, {}, {}));
}

inline void scenario_terminal(Runtime& runtime, const std::string& image) {
  const std::string name = "onsight-scenario-a";
  const auto no_image = runtime.create(scenario_spec(name, "localhost/onsight-none:1", {"sh"}, true));
  ASSERT_FALSE(no_image);
  EXPECT_EQ(no_image.error().reason, "no_image") << no_image.error().message;
  const auto created = runtime.create(scenario_spec(name, image, {"sh"}, true));
  ASSERT_TRUE(created) << created.error().message;
  const std::string id = *created;
  const auto taken = runtime.create(scenario_spec(name, image, {"sh"}, true));
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().reason, "name_taken") << taken.error().message;
  auto info = runtime.inspect(id);
  ASSERT_TRUE(info && *info) << (info ? "gone" : info.error().message);
  EXPECT_EQ((*info)->state, State::kCreated);
  EXPECT_EQ((*info)->name, name);
  EXPECT_EQ((*info)->labels[std::string(kProjectLabel)], "scenario");

  auto attached = runtime.attach(id, /*replay=*/false);
  ASSERT_TRUE(attached) << attached.error().message;
  Attachment& terminal = **attached;
  ASSERT_TRUE(runtime.start(id));
  EXPECT_TRUE(runtime.start(id));
  EXPECT_NE(read_until(terminal, "> ").find("> "), std::string::npos);
  ASSERT_TRUE(terminal.write("echo one-$((40+2))\n"));
  EXPECT_NE(read_until(terminal, "one-42\r\n> ").find("one-42"), std::string::npos);
  const Status resized = runtime.resize(id, 30, 101);
  EXPECT_TRUE(resized) << resized.error().message;
  ASSERT_TRUE(terminal.write("stty size\n"));
  EXPECT_NE(read_until(terminal, "30 101\r\n> ").find("30 101"), std::string::npos);
  // Docker's own keys for letting go are only keys.
  ASSERT_TRUE(terminal.write("\x10\x11\x15"));
  ASSERT_TRUE(terminal.write("echo still-$((1+1))\n"));
  EXPECT_NE(read_until(terminal, "still-2\r\n> ").find("still-2"), std::string::npos);
  auto again = runtime.attach(id, /*replay=*/true);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_NE(read_until(**again, "still-2").find("one-42"), std::string::npos);

  auto result = runtime.exec(id, {"sh", "-c", "echo out; echo err >&2; exit 7"}, std::chrono::seconds(20), 1000);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->exit_code, 7);
  EXPECT_EQ(result->out, "out\n");
  EXPECT_EQ(result->err, "err\n");
  result = runtime.exec(id, {"grep", "-E", "^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):", "/proc/self/status"},
                        std::chrono::seconds(20), 1000);
  ASSERT_TRUE(result) << result.error().message;
  for (const char* expected : {"Uid:\t12345\t12345\t12345\t12345", "CapEff:\t0000000000000000",
                               "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"})
    EXPECT_NE(result->out.find(expected), std::string::npos) << result->out;
  const auto much = runtime.exec(id, {"seq", "1000"}, std::chrono::seconds(20), 1000);
  ASSERT_FALSE(much);
  EXPECT_NE(much.error().message.find("at most 1000 bytes"), std::string::npos) << much.error().message;
  const auto late = runtime.exec(id, {"sleep", "3"}, std::chrono::milliseconds(500), 1000);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kBusy);
  const auto unknown = runtime.exec(id, {"/no/such/program"}, std::chrono::seconds(20), 10'000);
  EXPECT_TRUE(!unknown || unknown->exit_code != 0);
  auto typed = runtime.exec_terminal(id, {"sh"}, 24, 99);
  ASSERT_TRUE(typed) << typed.error().message;
  read_until(*typed->second, "> ");
  ASSERT_TRUE(typed->second->write("stty size; exit 3\n"));
  EXPECT_NE(read_until(*typed->second, "nothing").find("24 99"), std::string::npos);
  EXPECT_EQ(runtime.exec_exit_code(typed->first).value(), 3);

  const auto listed = runtime.list({{std::string(kProjectLabel), "scenario"}, {std::string(kAgentLabel), name}});
  ASSERT_TRUE(listed) << listed.error().message;
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_EQ(listed->front().id, id);
  EXPECT_EQ(listed->front().name, name);
  EXPECT_EQ(listed->front().state, State::kRunning);
  EXPECT_TRUE(runtime.list({{std::string(kAgentLabel), "other"}})->empty());
  const auto waited = runtime.wait(id, std::chrono::milliseconds(300));
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().reason, "late");

  const Status stopped = runtime.stop(id, std::chrono::seconds(1));  // an interactive shell takes no TERM
  EXPECT_TRUE(stopped) << stopped.error().message;
  EXPECT_EQ(runtime.wait(id, std::chrono::seconds(20)).value_or(-1), 137);
  EXPECT_TRUE(runtime.stop(id, std::chrono::seconds(1)));
  info = runtime.inspect(id);
  ASSERT_TRUE(info && *info);
  EXPECT_EQ((*info)->state, State::kExited);
  EXPECT_EQ((*info)->exit_code, 137);
  const auto ended = runtime.list({{std::string(kAgentLabel), name}});
  ASSERT_TRUE(ended && ended->size() == 1);
  EXPECT_EQ(ended->front().exit_code, 137);
  const std::string rest = read_until(terminal, "nothing that comes");
  EXPECT_EQ(terminal.read(std::chrono::seconds(5)).value_or("error"), std::optional<std::string>(""));
  const Status removed = runtime.remove(id);
  EXPECT_TRUE(removed) << removed.error().message;
  EXPECT_TRUE(runtime.remove(id));
  EXPECT_TRUE(runtime.stop(id, std::chrono::seconds(1)));
  EXPECT_EQ(runtime.inspect(id).value().has_value(), false);
  EXPECT_FALSE(runtime.start(id));
  EXPECT_FALSE(runtime.attach(id, false));
  expect_gone(runtime, name);
}

inline void scenario_runs(Runtime& runtime, const std::string& image) {
  std::string out;
  const auto keep = [&](std::string_view bytes) {
    out += bytes;
    return Status();
  };
  auto ran = runtime.run(
      scenario_spec("onsight-scenario-r", image, {"sh", "-c", "printf hello; printf oops >&2; exit 3"}, false), keep,
      std::chrono::seconds(30));
  ASSERT_TRUE(ran) << ran.error().message;
  EXPECT_EQ(out, "hello");
  EXPECT_EQ(ran->err, "oops");
  EXPECT_EQ(ran->exit_code, 3);
  expect_gone(runtime, "onsight-scenario-r");

  // What is in the image but not a program, and what is not there, fails at start; nothing is left.
  const auto created = runtime.create(scenario_spec("onsight-scenario-n", image, {"/no/such/program"}, true));
  if (created) {
    const Status started = runtime.start(*created);
    ASSERT_FALSE(started);
    EXPECT_NE(started.error().message.find("/no/such/program"), std::string::npos) << started.error().message;
  }
  expect_gone(runtime, "onsight-scenario-n");
  const auto late =
      runtime.run(scenario_spec("onsight-scenario-l", image, {"sleep", "60"}, false), keep, std::chrono::seconds(2));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().reason, "late") << late.error().message;
  expect_gone(runtime, "onsight-scenario-l");
  const auto full = runtime.run(
      scenario_spec("onsight-scenario-f", image, {"sh", "-c", "echo x; sleep 60"}, false),
      [](std::string_view) -> Status { return bad_input("the disk is full"); }, std::chrono::seconds(30));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().message, "the disk is full");
  expect_gone(runtime, "onsight-scenario-f");
}

inline void scenario(Runtime& runtime, const std::string& image, const Path& folder) {
  scenario_images(runtime, image, folder);
  scenario_terminal(runtime, image);
  scenario_runs(runtime, image);
}

}  // namespace onsight::agents::runtime
