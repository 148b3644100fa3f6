#include "agents/vault/vault.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sodium.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

namespace onsight::agents::vault {
namespace {

constexpr KdfCost kQuick = {1, 8};
constexpr std::string_view kPass = "correct horse", kValue = "sk-ant-api03-the-real-one", kTo = "api.example.org:443";
const std::vector<std::string> kHosts = {"api.example.org"};

class VaultTest : public testing::Test {
 protected:
  VaultTest() {
    std::string name = std::filesystem::temp_directory_path() / "onsight-vault-XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~VaultTest() override { std::filesystem::remove_all(folder_); }

  static KeySource with(std::string_view passphrase) {
    return {.passphrase = [text = std::string(passphrase)](bool) -> Result<Secret> {
      return Secret(std::string_view(text));
    }};
  }
  Path file() const { return folder_ / "onsight/vault"; }
  Path folder_;
};

struct FakeKeyring : Keyring {
  Status store(const std::string& vault, const Secret& text) override {
    key = vault;
    held = text.view();
    return {};
  }
  Result<std::optional<Secret>> find(const std::string& vault) override {
    if (vault != key) return std::optional<Secret>();
    return std::optional<Secret>(Secret(std::string_view(held)));
  }
  std::string key, held;
};

TEST_F(VaultTest, KeepsKeys) {
  auto vault = Vault::create(file(), Lock::kPassphrase, with(kPass), kQuick);
  ASSERT_TRUE(vault) << vault.error().message;
  EXPECT_TRUE(vault->list()->empty());
  ASSERT_TRUE(vault->set("openai", Secret("one"), kHosts));
  ASSERT_TRUE(vault->set("anthropic", Secret(kValue), kHosts));
  ASSERT_TRUE(vault->set("openai", Secret("two"), {}));
  auto again = Vault::open(file(), with(kPass));
  ASSERT_TRUE(again) << again.error().message;
  const auto rows = again->list();
  ASSERT_TRUE(rows && rows->size() == 2);
  EXPECT_EQ((*rows)[0].name, "anthropic");
  EXPECT_EQ((*rows)[1].name, "openai");
  EXPECT_EQ((*rows)[1].hosts, kHosts);
  EXPECT_EQ(again->get("anthropic", kTo)->view(), kValue);
  EXPECT_EQ(again->get("openai", kTo)->view(), "two");
  // A vault that is open sees what another wrote.
  ASSERT_TRUE(again->remove("openai"));
  EXPECT_FALSE(vault->get("openai", kTo));
  EXPECT_FALSE(vault->remove("openai"));
  EXPECT_FALSE(vault->get("nobody", kTo));

  struct stat about {};
  ASSERT_EQ(::stat(file().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 07777, 0600u);
  ASSERT_EQ(::stat(file().parent_path().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 07777, 0700u);
  const std::string bytes = read_file(file()).value();
  EXPECT_EQ(bytes.find("anthropic"), std::string::npos);
  EXPECT_EQ(bytes.find(kValue), std::string::npos);
}

TEST_F(VaultTest, RefusesWithOneSentence) {
  EXPECT_NE(Vault::open(file(), with(kPass)).error().message.find("there are no keys yet"), std::string::npos);
  auto vault = Vault::create(file(), Lock::kPassphrase, with(kPass), kQuick);
  ASSERT_TRUE(vault);
  ASSERT_TRUE(vault->set("anthropic", Secret(kValue), kHosts));
  EXPECT_NE(Vault::create(file(), Lock::kPassphrase, with(kPass), kQuick).error().message.find("already"),
            std::string::npos);
  EXPECT_NE(Vault::open(file(), with("wrong")).error().message.find("passphrase is wrong"), std::string::npos);
  EXPECT_FALSE(Vault::open(file(), with("")));
  EXPECT_FALSE(Vault::open(file(), {}));
  for (const char* bad : {"", "a b", "../x", "a/b", "\n", "ä"})
    EXPECT_FALSE(vault->set(bad, Secret("x"), kHosts)) << bad;
  EXPECT_FALSE(vault->set(std::string(65, 'a'), Secret("x"), kHosts));
  EXPECT_FALSE(vault->set("a", Secret(), kHosts));
  EXPECT_FALSE(vault->set("a", Secret("two\nlines"), kHosts));
  EXPECT_FALSE(vault->set("a", Secret(std::string(65 << 10, 'a')), kHosts));
  // Whoever mixes the arguments up does not see a key in the error.
  const std::string secret = std::string(kValue) + "/+=";
  EXPECT_EQ(vault->set(secret, Secret("anthropic"), kHosts).error().message.find(secret), std::string::npos);
  ::chmod(file().c_str(), 0640);
  EXPECT_NE(Vault::open(file(), with(kPass)).error().message.find("alone can read"), std::string::npos);
}

TEST_F(VaultTest, KeysGoToTheirHostsAlone) {
  auto vault = Vault::create(file(), Lock::kPassphrase, with(kPass), kQuick);
  ASSERT_TRUE(vault);
  ASSERT_TRUE(vault->set("anthropic", Secret(kValue), {"api.example.org", "127.0.0.1:8080", "[::1]"}));
  for (const char* to : {"api.example.org:443", "127.0.0.1:8080", "[::1]:443"})
    EXPECT_TRUE(vault->get("anthropic", to)) << to;
  for (const char* to :
       {"evil.example:443", "api.example.org:80", "api.example.org:8443", "api.example.org", "example.org:443",
        "api.example.org.evil.example:443", "127.0.0.1:443", "127.0.0.1:80", "", ":443"}) {
    const auto got = vault->get("anthropic", to);
    ASSERT_FALSE(got) << to;
    EXPECT_EQ(got.error().reason, "key_host");
    EXPECT_EQ(got.error().message.find(kValue), std::string::npos);
  }
  EXPECT_NE(
      vault->get("anthropic", "evil.example:443").error().message.find("is bound to api.example.org, 127.0.0.1:8080"),
      std::string::npos);
  ASSERT_TRUE(vault->bind("anthropic", {"evil.example"}));
  EXPECT_TRUE(vault->get("anthropic", "evil.example:443"));
  EXPECT_FALSE(vault->get("anthropic", kTo));
  EXPECT_FALSE(vault->bind("nobody", kHosts));
  for (const char* bad : {"", "https://a.example", "a.example/x", "A.example", "a.example:", "a.example:x",
                          "a.example:0", "a b", "*", "::1", "[::1", "a@b", ":80"}) {
    EXPECT_FALSE(vault->bind("anthropic", {bad})) << bad;
    EXPECT_FALSE(vault->set("anthropic", Secret(kValue), {bad})) << bad;
  }
  EXPECT_FALSE(vault->bind("anthropic", std::vector<std::string>(33, "a.example")));
}

// A file of before keys were bound: all that is in it is there, and goes nowhere until it is bound.
TEST_F(VaultTest, AFileOfVersion1) {
  constexpr std::string_view kOld =
      "4f4e535641554c5401010000010000000800000016fe6428a804802dfde7d4243e0964827b9093861eef40fe61146b1ceaf0"
      "a497ca8690824ef3704f3a0d14da4e535079cd0deb5112e214d84b000000b9e3e8ed5d6bc0b3f0acff22f5bfa2096cb467ce"
      "4b1108947781a3b44b8a30365bb3416c600bfd91ee9ea78f3743f8a1ee770fd0cb550a36b362142155c85a6af09da340ce84"
      "5fa1b099b5";
  std::string bytes(kOld.size() / 2, '\0');
  ASSERT_EQ(sodium_hex2bin(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), kOld.data(), kOld.size(),
                           nullptr, nullptr, nullptr),
            0);
  std::filesystem::create_directories(file().parent_path());
  ASSERT_TRUE(write_file_atomically(file(), bytes));
  ::chmod(file().c_str(), 0600);
  auto vault = Vault::open(file(), with(kPass));
  ASSERT_TRUE(vault) << vault.error().message;
  const auto rows = vault->list();
  ASSERT_TRUE(rows && rows->size() == 2);
  EXPECT_TRUE((*rows)[0].hosts.empty());
  const auto unbound = vault->get("anthropic", kTo);
  ASSERT_FALSE(unbound);
  EXPECT_EQ(unbound.error().reason, "key_host");
  EXPECT_NE(unbound.error().message.find("onsight agents key bind anthropic"), std::string::npos);
  ASSERT_TRUE(vault->bind("anthropic", kHosts));
  EXPECT_EQ(vault->get("anthropic", kTo)->view(), kValue);
  EXPECT_EQ(Vault::open(file(), with(kPass))->get("anthropic", kTo)->view(), kValue);
  EXPECT_FALSE(vault->get("openai", kTo));
}

TEST_F(VaultTest, AlteredAtAnyPlaceItIsRefused) {
  FakeKeyring keyring;
  auto vault = Vault::create(file(), Lock::kKeyring, {.keyring = &keyring});
  ASSERT_TRUE(vault) << vault.error().message;
  ASSERT_TRUE(vault->set("anthropic", Secret(kValue), kHosts));
  const std::string good = read_file(file()).value();
  ASSERT_TRUE(Vault::open(file(), {.keyring = &keyring}));
  const auto refused = [&](std::string_view bytes, const std::string& what) {
    EXPECT_TRUE(write_file_atomically(file(), bytes));
    const auto opened = Vault::open(file(), {.keyring = &keyring});
    ASSERT_FALSE(opened) << what;
    const std::string& message = opened.error().message;
    EXPECT_EQ(message.find(kValue), std::string::npos);
    EXPECT_NE(message.back(), '.') << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  };
  for (size_t at = 0; at < good.size(); ++at)
    for (const int bit : {0, 3, 7}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      // Turned to one that asks for a passphrase there is none.
      refused(bad, fmt::format("byte {} bit {}", at, bit));
    }
  for (size_t length = 0; length < good.size(); ++length)
    refused(std::string_view(good).substr(0, length), fmt::format("{} bytes", length));
  refused(good + "x", "a byte more");
  refused(std::string(3 << 20, 'x'), "large");
  ASSERT_TRUE(write_file_atomically(file(), good));
  EXPECT_TRUE(Vault::open(file(), {.keyring = &keyring}));
}

TEST_F(VaultTest, AlteredWithAPassphrase) {
  auto vault = Vault::create(file(), Lock::kPassphrase, with(kPass), kQuick);
  ASSERT_TRUE(vault);
  ASSERT_TRUE(vault->set("anthropic", Secret(kValue), kHosts));
  const std::string good = read_file(file()).value();
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    ASSERT_TRUE(write_file_atomically(file(), bad));
    EXPECT_FALSE(Vault::open(file(), with(kPass))) << at;
  }
  // Limits that would take all memory are not tried.
  for (const size_t at : {15u, 19u}) {
    std::string bad = good;
    bad[at] = '\x7f';
    ASSERT_TRUE(write_file_atomically(file(), bad));
    EXPECT_NE(Vault::open(file(), with(kPass)).error().message.find("header"), std::string::npos);
  }
}

TEST_F(VaultTest, TheKeyringHoldsARandomKey) {
  FakeKeyring keyring;
  auto vault = Vault::create(file(), Lock::kKeyring, {.keyring = &keyring});
  ASSERT_TRUE(vault);
  ASSERT_TRUE(vault->set("gemini", Secret("AIza"), kHosts));
  EXPECT_EQ(keyring.held.size(), 64u);
  EXPECT_EQ(Vault::open(file(), {.keyring = &keyring})->get("gemini", kTo)->view(), "AIza");
  const std::string held = std::exchange(keyring.held, std::string(64, '0'));
  EXPECT_FALSE(Vault::open(file(), {.keyring = &keyring}));
  keyring.held = "rubbish";
  EXPECT_FALSE(Vault::open(file(), {.keyring = &keyring}));
  keyring.key = "elsewhere";
  EXPECT_NE(Vault::open(file(), {.keyring = &keyring}).error().message.find("no key"), std::string::npos);
  const auto none = open_keyring("libonsight-no-such-library.so.0");
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("keyring cannot be used"), std::string::npos);
}

TEST_F(VaultTest, WritersWaitForEachOther) {
  auto vault = Vault::create(file(), Lock::kPassphrase, with(kPass), kQuick);
  ASSERT_TRUE(vault);
  std::atomic<int> bad{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      auto own = Vault::open(file(), with(kPass));
      for (int i = 0; i < 10; ++i)
        if (!own || !own->set(fmt::format("key-{}-{}", t, i), Secret("v"), {})) ++bad;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(bad, 0);
  EXPECT_EQ(vault->list()->size(), 40u);
}

// Whoever is killed while a key is written leaves the old file or the new one.
TEST_F(VaultTest, KilledWhileWritingItIsWhole) {
  FakeKeyring keyring;
  ASSERT_TRUE(Vault::create(file(), Lock::kKeyring, {.keyring = &keyring}));
  for (int round = 0; round < 20; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto vault = Vault::open(file(), {.keyring = &keyring});
      for (int i = 0; vault && i < 1000000; ++i)
        (void)vault->set("a", Secret(std::string(static_cast<size_t>(1 + i % 5000), 'x')), kHosts);
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(1000 * (round + 1)));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ASSERT_TRUE(Vault::open(file(), {.keyring = &keyring})) << round;
  }
}

TEST_F(VaultTest, PassphrasesFromFiles) {
  const auto from = [&](std::string_view text, mode_t mode) -> Result<Secret> {
    const Path path = folder_ / "pass";
    ::unlink(path.c_str());
    EXPECT_TRUE(write_file_atomically(path, text));
    ::chmod(path.c_str(), mode);
    ::setenv("ONSIGHT_VAULT_PASSPHRASE_FILE", path.c_str(), 1);
    auto out = passphrase_from_user(false);
    ::unsetenv("ONSIGHT_VAULT_PASSPHRASE_FILE");
    return out;
  };
  EXPECT_EQ(from("secret\n", 0600)->view(), "secret");
  EXPECT_EQ(from("two words \r\n", 0400)->view(), "two words ");
  EXPECT_FALSE(from("\n", 0600));
  EXPECT_FALSE(from(std::string(5000, 'x'), 0600));
  const auto open_to_all = from("secret", 0644);
  ASSERT_FALSE(open_to_all);
  EXPECT_EQ(open_to_all.error().message.find("secret"), std::string::npos);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(::write(ends[1], "through a pipe\n", 15), 15);
  ::close(ends[1]);
  EXPECT_EQ(passphrase_from_descriptor(ends[0], "descriptor")->view(), "through a pipe");
  ::close(ends[0]);
}

TEST(Secret, IsWiped) {
  Secret secret("abc");
  EXPECT_TRUE(secret.equals("abc"));
  EXPECT_FALSE(secret.equals("abd"));
  EXPECT_FALSE(secret.equals("ab"));
  Secret moved = std::move(secret);
  EXPECT_EQ(moved.view(), "abc");
  moved.shrink(2);
  EXPECT_EQ(moved.view(), "ab");
  EXPECT_TRUE(Secret().empty());
  std::string text = "abc";
  wipe(text);
  EXPECT_TRUE(text.empty());
}

}  // namespace
}  // namespace onsight::agents::vault
