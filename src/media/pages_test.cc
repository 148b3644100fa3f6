#include "media/pages.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

namespace onsight::media {
namespace {

// A TIFF of grey pages, each 3 pixels high, written by hand.
struct PageOfTest {
  uint32_t width = 1;
  uint8_t grey = 0;
  int orientation = 1;
  int64_t kind = -1;      // NewSubfileType; -1: none
  int64_t old_kind = -1;  // SubfileType
};
class TiffWriter {
 public:
  explicit TiffWriter(bool little = true, bool big = false) : little_(little), big_(big) {
    out_ = little ? "II" : "MM";
    number(big ? 43 : 42, 2);
    if (big) number(8, 2), number(0, 2);
    link_ = out_.size();
    number(0, offset_bytes());
  }

  void add(const PageOfTest& page) {
    const uint64_t pixels = out_.size();
    out_.append(size_t{page.width} * 3, static_cast<char>(page.grey));
    if (out_.size() % 2) out_ += '\0';
    point_last_to(out_.size());
    directories.push_back(out_.size());
    number(8 + (page.kind >= 0) + (page.old_kind >= 0), big_ ? 8 : 2);
    if (page.kind >= 0) entry(254, 4, static_cast<uint64_t>(page.kind));
    if (page.old_kind >= 0) entry(255, 3, static_cast<uint64_t>(page.old_kind));
    entry(256, 4, page.width);
    entry(257, 4, 3);
    entry(258, 3, 8);
    entry(259, 3, 1);
    entry(262, 3, 1);
    entry(273, 4, pixels);
    entry(274, 3, static_cast<uint64_t>(page.orientation));
    entry(279, 4, uint64_t{page.width} * 3);
    link_ = out_.size();
    number(0, offset_bytes());
  }
  void point_last_to(uint64_t offset) {
    std::string end = std::exchange(out_, out_.substr(0, link_)).substr(link_ + offset_bytes());
    number(offset, offset_bytes());
    out_ += end;
  }
  const std::string& bytes() const { return out_; }

  std::vector<uint64_t> directories;

 private:
  int offset_bytes() const { return big_ ? 8 : 4; }
  void number(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out_ += static_cast<char>(value >> 8 * (little_ ? i : bytes - 1 - i));
  }
  void entry(int tag, int type, uint64_t value) {
    number(static_cast<uint64_t>(tag), 2), number(static_cast<uint64_t>(type), 2), number(1, offset_bytes());
    number(value, type == 3 ? 2 : 4);
    out_.append(static_cast<size_t>(offset_bytes() - (type == 3 ? 2 : 4)), '\0');
  }

  bool little_, big_;
  std::string out_;
  size_t link_ = 0;  // where the offset of the next directory stands
};

std::string error_of_page(std::string_view bytes, int number) {
  const auto image = decode_page(bytes, "scan", number);
  return image ? "no error" : image.error().message;
}

TEST(Pages, EachIsDecodedByItsNumber) {
  for (const bool little : {true, false}) {
    for (const bool big : {false, true}) {
      TiffWriter tiff(little, big);
      for (uint32_t i = 1; i <= 5; ++i) tiff.add({.width = i, .grey = static_cast<uint8_t>(10 * i)});
      EXPECT_EQ(count_pages(tiff.bytes(), "scan").value(), 5);
      for (int i = 1; i <= 5; ++i) {
        const auto image = decode_page(tiff.bytes(), "scan", i);
        ASSERT_TRUE(image) << image.error().message;
        EXPECT_EQ(image->width, i);
        EXPECT_EQ(image->rgb, std::vector<uint8_t>(static_cast<size_t>(9 * i), static_cast<uint8_t>(10 * i)));
      }
      EXPECT_EQ(error_of_page(tiff.bytes(), 6), "scan, page 6: found 5 pages, expected a TIFF that has this one");
      EXPECT_EQ(decode_image(tiff.bytes(), "scan")->rgb, decode_page(tiff.bytes(), "scan", 1)->rgb);
    }
  }
}

TEST(Pages, EachHasAnOrientationOfItsOwn) {
  TiffWriter tiff;
  tiff.add({.width = 7, .orientation = 1});
  tiff.add({.width = 7, .orientation = 6});
  EXPECT_EQ(decode_page(tiff.bytes(), "scan", 1)->width, 7);
  EXPECT_EQ(decode_page(tiff.bytes(), "scan", 2)->width, 3);
}

TEST(Pages, WhatIsNoTiffHasOne) {
  for (const std::string_view bytes : {"", "I", "II*", "II*\0", "GIF89a and so on", "%PDF-1.7"})
    EXPECT_EQ(count_pages(bytes, "scan").value(), 1) << bytes;
  EXPECT_EQ(count_pages(Path("/nowhere/scan.tif")).value(), 1);
  EXPECT_EQ(error_of_page("GIF89a and so on", 1), "scan, page 1: found 0 pages, expected a TIFF that has this one");
  EXPECT_EQ(decode_page(Path("/nowhere/scan.tif"), 2).error().message,
            "/nowhere/scan.tif: cannot be opened (No such file or directory)");
}

TEST(Pages, SmallerCopiesAndMasksAreNone) {
  TiffWriter tiff;
  tiff.add({.width = 9, .kind = 2});
  tiff.add({.width = 1, .kind = 1});
  tiff.add({.width = 2, .kind = 4});
  tiff.add({.width = 3, .old_kind = 2});
  EXPECT_EQ(count_pages(tiff.bytes(), "scan").value(), 1);
  tiff.add({.width = 8, .old_kind = 3});
  tiff.add({.width = 7});
  EXPECT_EQ(count_pages(tiff.bytes(), "scan").value(), 3);
  EXPECT_EQ(decode_page(tiff.bytes(), "scan", 2)->width, 8);
  EXPECT_EQ(decode_page(tiff.bytes(), "scan", 3)->width, 7);
  TiffWriter copy_first;
  copy_first.add({.width = 4, .kind = 1});
  EXPECT_EQ(count_pages(copy_first.bytes(), "scan").value(), 1);
}

TEST(Pages, ALoopIsOneMissingPage) {
  TiffWriter tiff;
  for (uint32_t i = 1; i <= 3; ++i) tiff.add({.width = i});
  for (const uint64_t back : tiff.directories) {
    tiff.point_last_to(back);
    EXPECT_EQ(count_pages(tiff.bytes(), "scan").value(), 4);
    for (int i = 1; i <= 3; ++i) EXPECT_EQ(decode_page(tiff.bytes(), "scan", i)->width, i);
    EXPECT_EQ(error_of_page(tiff.bytes(), 4),
              "scan, page 4: the TIFF goes on with a page that was there before, expected another or its end");
  }
}

TEST(Pages, ABrokenOneLeavesTheOthers) {
  TiffWriter tiff;
  for (uint32_t i = 1; i <= 3; ++i) tiff.add({.width = i});
  for (int broken = 1; broken <= 3; ++broken) {
    std::string bytes = tiff.bytes();
    bytes[tiff.directories[static_cast<size_t>(broken) - 1] + 2] = 99;  // of the width's tag
    EXPECT_EQ(count_pages(bytes, "scan").value(), 3);
    for (int i = 1; i <= 3; ++i) {
      const std::string message = error_of_page(bytes, i);
      EXPECT_EQ(message.starts_with("scan, page") && message.find("expected") != std::string::npos, i == broken)
          << broken << ", " << i << ": " << message;
    }
  }
}

TEST(Pages, OneThatLiesOutsideTheFileIsMissing) {
  TiffWriter tiff;
  tiff.add({.width = 1});
  tiff.add({.width = 2});
  tiff.point_last_to(1 << 30);
  EXPECT_EQ(count_pages(tiff.bytes(), "scan").value(), 3);
  EXPECT_EQ(decode_page(tiff.bytes(), "scan", 2)->width, 2);
  const std::string message = error_of_page(tiff.bytes(), 3);
  EXPECT_TRUE(message.starts_with("scan, page 3: truncated or corrupt TIFF")) << message;
}

TEST(Pages, TooManyAreRefused) {
  TiffWriter tiff;
  tiff.add({});
  std::string bytes = tiff.bytes();
  // Directories without entries: 6 bytes each.
  const auto link = [&](uint32_t to) { std::memcpy(&bytes[bytes.size() - 4], &to, 4); };
  for (int i = 1; i < 65'536; ++i) {
    link(static_cast<uint32_t>(bytes.size()));
    bytes.append(6, '\0');
  }
  EXPECT_EQ(count_pages(bytes, "scan").value(), 65'536);
  link(static_cast<uint32_t>(bytes.size()));
  bytes.append(6, '\0');
  EXPECT_EQ(count_pages(bytes, "scan").error().message,
            "scan: a TIFF of more than 65536 directories, expected at most as many");
}

TEST(Pages, CutFilesGivePagesOrOneSentence) {
  for (const bool big : {false, true}) {
    TiffWriter tiff(true, big);
    for (uint32_t i = 1; i <= 3; ++i) tiff.add({.width = i});
    for (size_t cut = 0; cut < tiff.bytes().size(); ++cut) {
      std::string bytes = tiff.bytes().substr(0, cut);
      bytes.shrink_to_fit();
      const int pages = count_pages(bytes, "scan").value();
      EXPECT_LE(pages, 3);
      for (int i = 1; i <= pages; ++i) {
        const std::string message = error_of_page(bytes, i);
        EXPECT_EQ(message.find('\n'), std::string::npos);
        EXPECT_TRUE(message == "no error" || message.find("expected") != std::string::npos) << message;
      }
    }
  }
}

TEST(Pages, OfAFile) {
  const Path file = Path(::testing::TempDir()) / "pages_of_a_file.tif";
  TiffWriter tiff;
  for (uint32_t i = 1; i <= 3; ++i) tiff.add({.width = i});
  std::ofstream(file, std::ios::binary) << tiff.bytes();
  EXPECT_EQ(count_pages(file).value(), 3);
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(decode_page(file, i)->width, i);
  EXPECT_EQ(decode_page(file, 3, {.max_pixels = 8}).error().message,
            file.string() + ", page 3: 3x3 pixels, expected at most 8");
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace onsight::media
