#include "base/sha256.h"

#include <gtest/gtest.h>

namespace onsight {
namespace {

std::string hex(std::string_view text) { return to_hex(Sha256::of(std::as_bytes(std::span(text)))); }

// The examples of FIPS 180-4.
TEST(Sha256, Standard) {
  EXPECT_EQ(hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PartsMakeTheWhole) {
  const std::string text(300, 'x');
  const auto bytes = std::as_bytes(std::span(text));
  for (size_t n : {0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 299})
    for (size_t cut = 0; cut <= n; cut += 7) {
      Sha256 sum;
      sum.add(bytes.first(cut));
      sum.add(bytes.first(n).subspan(cut));
      EXPECT_EQ(sum.finish(), Sha256::of(bytes.first(n))) << n << " at " << cut;
    }
}

TEST(Sha256, FieldsDoNotRunTogether) {
  EXPECT_NE(Sha256().field("ab").field("c").finish(), Sha256().field("a").field("bc").finish());
}

}  // namespace
}  // namespace onsight
