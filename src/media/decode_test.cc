#include <gtest/gtest.h>
#include <libheif/heif.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>
// jpeglib.h needs what <cstdio> declares.
#include <jpeglib.h>

#include "base/file.h"
#include "media/decoders.h"
#include "media/image.h"

namespace onsight::media {
namespace {

struct Picture {
  std::string name, bytes;
  int width = 0, height = 0;
  uint64_t hash = 0;
  std::string golden_png;  // instead of the hash: a difference of one is allowed
};

// The pictures of tests/data/media with what PIL makes of them.
const std::vector<Picture>& pictures() {
  static const std::vector<Picture> all = [] {
    std::string blob = read_file(ONSIGHT_SOURCE_DIR "/tests/data/media/pictures.bin").value();
    std::ifstream lines(ONSIGHT_SOURCE_DIR "/tests/data/media/pictures.txt");
    std::vector<Picture> found;
    Picture picture;
    size_t offset, size;
    std::string kind;
    while (lines >> picture.name >> offset >> size >> picture.width >> picture.height >> kind) {
      picture.bytes = blob.substr(offset, size);
      picture.golden_png.clear();
      if (kind == "png" && lines >> offset >> size) {
        picture.golden_png = blob.substr(offset, size);
      } else if (std::string hash; lines >> hash) {
        picture.hash = std::stoull(hash, nullptr, 16);
      }
      // libheif may have been built without a decoder for what HEIC holds.
      if (picture.name.ends_with(".heic") && !heif_have_decoder_for_format(heif_compression_HEVC)) continue;
      if (picture.name.ends_with(".avif") && !heif_have_decoder_for_format(heif_compression_AV1)) continue;
      found.push_back(picture);
    }
    return found;
  }();
  return all;
}

const Picture& picture(std::string_view name) {
  for (const Picture& one : pictures()) {
    if (one.name == name) return one;
  }
  ADD_FAILURE() << "no picture " << name;
  static const Picture none;
  return none;
}

uint64_t hash_of(const std::vector<uint8_t>& bytes) {
  uint64_t hash = 0xCBF29CE484222325;
  for (uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001B3;
  return hash;
}

std::string error_of(std::string_view bytes, const DecodeLimits& limits = {}) {
  Result<Image> image = decode_image(bytes, "photo", limits);
  return image ? "no error" : image.error().message;
}

void expect_image_or_one_sentence(std::string_view bytes, const std::string& what) {
  Result<Image> image = decode_image(bytes, "photo", DecodeLimits{.max_pixels = 1 << 20});
  if (image) {
    EXPECT_EQ(image->rgb.size(), size_t{3} * image->width * image->height) << what;
    EXPECT_GT(image->rgb.size(), 0U) << what;
  } else {
    const std::string& message = image.error().message;
    EXPECT_TRUE(message.starts_with("photo: ")) << what << ": " << message;
    EXPECT_NE(message.find("expected"), std::string::npos) << what << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << what << ": " << message;
  }
}

TEST(Decode, EqualsPil) {
  EXPECT_GE(pictures().size(), 200U);
  for (const Picture& golden : pictures()) {
    Result<Image> image = decode_image(golden.bytes, golden.name);
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->width, golden.width) << golden.name;
    EXPECT_EQ(image->height, golden.height) << golden.name;
    if (golden.golden_png.empty()) {
      EXPECT_EQ(hash_of(image->rgb), golden.hash) << golden.name;
      continue;
    }
    Image expected = decode_image(golden.golden_png, "golden").value();
    ASSERT_EQ(image->rgb.size(), expected.rgb.size()) << golden.name;
    int worst = 0;
    for (size_t i = 0; i < expected.rgb.size(); ++i) worst = std::max(worst, std::abs(image->rgb[i] - expected.rgb[i]));
    EXPECT_LE(worst, 1) << golden.name;
  }
}

TEST(Decode, TheNameDoesNotMatter) {
  Result<Image> image = decode_image(picture("rgb_444.jpg").bytes, "picture.png");
  ASSERT_TRUE(image);
  EXPECT_EQ(image->width, 21);
}

TEST(Decode, CutFilesGiveAPictureOrOneSentence) {
  for (const Picture& whole : pictures()) {
    size_t size = whole.bytes.size(), step = std::max<size_t>(1, size / 50);
    for (size_t cut = 0; cut < size; cut += cut < 64 ? 1 : step) {
      // A copy of just these bytes, so that a sanitizer sees any read past them.
      std::string bytes(whole.bytes.data(), cut);
      bytes.shrink_to_fit();
      expect_image_or_one_sentence(bytes, whole.name + " cut at " + std::to_string(cut));
    }
  }
}

TEST(Decode, HalfAFileIsRefused) {
  for (const Picture& whole : pictures()) {
    if (whole.name == "pages.tif") continue;  // its first page is in the first half
    // libtiff takes indices of 8 bits for grey when the palette is cut off.
    if (whole.name == "palette_8_ii.tif" || whole.name == "palette_alpha.tif") continue;
    std::string message = error_of(std::string_view(whole.bytes).substr(0, whole.bytes.size() / 2));
    EXPECT_NE(message.find("expected"), std::string::npos) << whole.name << ": " << message;
  }
}

TEST(Decode, DamagedFilesGiveAPictureOrOneSentence) {
  uint32_t x = 1;
  auto random = [&x] { return (x = x * 1664525 + 1013904223) >> 8; };
  for (const Picture& whole : pictures()) {
    for (int round = 0; round < 24; ++round) {
      std::string bytes = whole.bytes;
      for (uint32_t i = 0; i <= random() % 4; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
      expect_image_or_one_sentence(bytes, whole.name + " damaged " + std::to_string(round));
    }
  }
}

TEST(Decode, ClaimsAreCheckedBeforeMemoryIsTaken) {
  for (const Picture& whole : pictures()) {
    std::string message = error_of(whole.bytes, DecodeLimits{.max_pixels = 10});
    EXPECT_NE(message.find(" pixels, expected at most 10"), std::string::npos) << whole.name << ": " << message;
  }
}

std::string be32(uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
  return out;
}

TEST(Decode, BombIsNamedWithItsSize) {
  std::string header = "IHDR" + be32(60000) + be32(60000) + std::string("\x08\x02\0\0\0", 5);
  uint32_t crc = ~0U;
  for (char c : header) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320U : 0);
  }
  std::string bomb = "\x89PNG\r\n\x1a\n" + be32(13) + header + be32(~crc) + be32(0) + "IDAT" + be32(0x35AF061E);
  EXPECT_EQ(decode_image(bomb, "photo.png").error().message,
            "photo.png: 60000x60000 pixels, expected at most 179000000");
}

TEST(Decode, WhatIsNoPictureIsNamed) {
  EXPECT_EQ(error_of(""), "photo: no bytes, expected a picture");
  constexpr const char* kUnknown =
      "photo: unknown picture format, expected JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF";
  EXPECT_EQ(error_of("hello"), kUnknown);
  EXPECT_EQ(error_of(std::string(5000, '\0')), kUnknown);
  EXPECT_EQ(error_of("%PDF-1.7 and so on, long enough to look at"), kUnknown);
  EXPECT_EQ(error_of(std::string("\0\0\0\x18"
                                 "ftypqt  \0\0\0\0qt  mp42",
                                 24)),
            kUnknown)
      << "a film";
  for (const Picture& picture : pictures())
    EXPECT_TRUE(check_format(std::string_view(picture.bytes).substr(0, 4096), picture.name)) << picture.name;
}

TEST(Decode, WhatALibrarySaysInTwoLinesIsOne) {
  const Source photo{{}, "photo", 0};
  EXPECT_EQ(corrupt(photo, "TIFF", "Improper factors 1,4\nApparently should be 1,1.\n").value().message,
            "photo: truncated or corrupt TIFF (Improper factors 1,4 Apparently should be 1,1), expected a whole file");
}

TEST(Decode, TrailingBytesAreLeftAlone) {
  for (const char* name :
       {"rgb_8.png", "rgb_444.jpg", "lossless.webp", "global.gif", "rgb_24.bmp", "rgb_8_raw_ii.tif"}) {
    EXPECT_TRUE(decode_image(picture(name).bytes + "and then some", name)) << name;
  }
}

TEST(Decode, PngCutBehindItsPixelsIsWhole) {
  const std::string& bytes = picture("rgb_8.png").bytes;
  EXPECT_TRUE(decode_image(std::string_view(bytes).substr(0, bytes.size() - 12), "photo.png"))
      << "without its end chunk";
}

// A sanitizer has memory of its own, for which no bound is promised. GCC and Clang say differently that there is one.
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !__has_feature(address_sanitizer) && \
    !__has_feature(thread_sanitizer) && defined(__linux__)
struct JpegKind {
  const char* name;
  bool progressive = false;
  int sampling = 2;  // 2: 4:2:0, 1: 4:4:4
};
void PrintTo(const JpegKind& kind, std::ostream* out) { *out << kind.name; }

// An 80-megapixel JPEG that lies on its side.
std::string large_jpeg(const JpegKind& kind) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = 10328;
  info.image_height = 7746;
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor = kind.sampling;
  if (kind.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  std::string exif("Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0", 32);
  jpeg_write_marker(&info, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(exif.data()),
                    static_cast<unsigned>(exif.size()));
  std::vector<uint8_t> row(size_t{3} * info.image_width);
  for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<uint8_t>(i / 64 * 17);
  JSAMPROW rows[] = {row.data()};
  while (info.next_scanline < info.image_height) jpeg_write_scanlines(&info, rows, 1);
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string out(reinterpret_cast<const char*>(bytes), size);
  std::free(bytes);
  return out;
}

long peak_memory_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::atol(line.c_str() + 6) / 1000;
  }
  return 0;
}

class LargeJpeg : public testing::TestWithParam<JpegKind> {};
TEST_P(LargeJpeg, TakesLessThan600Megabytes) {
  std::string bytes = large_jpeg(GetParam());
  Result<Image> image = decode_image(bytes, "large.jpg");
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->width, 7746);
  EXPECT_EQ(image->height, 10328);
  EXPECT_EQ(resize(*image, 1536, 2048, Resample::kLanczos).height, 2048);
  EXPECT_LT(peak_memory_mb(), 600);
}
INSTANTIATE_TEST_SUITE_P(Decode, LargeJpeg,
                         testing::Values(JpegKind{"Baseline"}, JpegKind{"Progressive", true},
                                         JpegKind{"ProgressiveFullColour", true, 1}),
                         [](const auto& test) { return test.param.name; });

// What stands before the pixels of a JPEG with one byte of sampling factors for each component, and one bit of them for
// each block: a whole picture of one grey, of which no coefficient but the first is ever told.
std::string flat_jpeg(uint16_t width, uint16_t height, std::string_view factors, size_t mcus) {
  const auto number = [](size_t n) { return std::string{static_cast<char>(n >> 8), static_cast<char>(n)}; };
  const size_t parts = factors.size();
  std::string frame = "\x08" + number(height) + number(width) + static_cast<char>(parts),
              scan(1, static_cast<char>(parts));
  size_t blocks = 0;
  for (size_t i = 0; i < parts; ++i) {
    frame += {static_cast<char>(i + 1), factors[i], 0};
    scan += {static_cast<char>(i + 1), 0};
    blocks += static_cast<size_t>((factors[i] >> 4) * (factors[i] & 15));
  }
  std::string out = "\xff\xd8";
  const auto segment = [&](char marker, const std::string& body) {
    out += {'\xff', marker};
    out += number(body.size() + 2) + body;
  };
  segment('\xdb', std::string(1, 0) + std::string(64, 1));
  segment('\xc2', frame);
  segment('\xc4', std::string(1, 0) + '\x01' + std::string(16, 0));  // the code 0: no difference from the block before
  segment('\xda', scan + std::string(3, 0));
  return out + std::string((blocks * mcus + 7) / 8, 0) + "\xff\xd9";
}

TEST(LargeJpeg, CoefficientsBeyondTheBudgetAreRefused) {
  constexpr std::string_view kInk = "\x11\x11\x11\x11";
  Result<Image> ink = decode_image(flat_jpeg(10328, 7746, kInk, 1291 * 969), "ink.jpg");
  ASSERT_FALSE(ink);
  EXPECT_EQ(
      ink.error().message,
      "ink.jpg: 10328x7746 pixels in several scans of 4 channels, which take 640 MB to decode, expected at most 540");
  EXPECT_EQ(ink.error().code, ErrorCode::kBadInput);
  EXPECT_FALSE(decode_image(flat_jpeg(13378, 13378, "\x11\x11\x11", 0), "colour.jpg"));
  EXPECT_LT(peak_memory_mb(), 200);

  EXPECT_TRUE(decode_image(flat_jpeg(2000, 1000, kInk, 250 * 125), "ink.jpg"));
  // The most pixels that a picture may have, in 4:2:0, are within it: of this one only the end is missing.
  Result<Image> most = decode_image(flat_jpeg(13376, 13376, "\x22\x11\x11", 0), "colour.jpg");
  EXPECT_TRUE(most || most.error().message.find("truncated") != std::string::npos) << most.error().message;
}
#endif

}  // namespace
}  // namespace onsight::media
