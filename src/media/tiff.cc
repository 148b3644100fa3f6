#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "media/decoders.h"
#include "media/orientation.h"
#include "media/tiff_pages.h"
#include "media/tiff_pixels.h"

namespace onsight::media {
namespace {

struct Stream {
  const TiffBytes& file;
  std::string_view bytes;  // of a file in memory, which libtiff takes as they are
  uint64_t position = 0;
  std::string message;
};

tmsize_t stream_read(thandle_t handle, void* out, tmsize_t count) {
  Stream& stream = *static_cast<Stream*>(handle);
  if (count <= 0) return 0;
  size_t step = stream.file.read(stream.position, out, static_cast<size_t>(count));
  stream.position += step;
  return static_cast<tmsize_t>(step);
}
tmsize_t stream_write(thandle_t, void*, tmsize_t) { return 0; }
toff_t stream_seek(thandle_t handle, toff_t offset, int whence) {
  Stream& stream = *static_cast<Stream*>(handle);
  uint64_t base = whence == SEEK_CUR ? stream.position : whence == SEEK_END ? stream.file.size : 0;
  return stream.position = base + offset;
}
int stream_close(thandle_t) { return 0; }
toff_t stream_size(thandle_t handle) { return static_cast<Stream*>(handle)->file.size; }
int stream_map(thandle_t handle, void** base, toff_t* size) {
  Stream& stream = *static_cast<Stream*>(handle);
  *base = const_cast<char*>(stream.bytes.data());  // libtiff opened for reading never writes to it
  *size = stream.bytes.size();
  return 1;
}
void stream_unmap(thandle_t, void*, toff_t) {}

int on_error(TIFF*, void* user, const char*, const char* format, va_list arguments) {
  char text[200];
  std::vsnprintf(text, sizeof(text), format, arguments);
  std::string& message = static_cast<Stream*>(user)->message;
  if (message.empty()) message = text;  // the first error is the cause
  return 1;
}
int on_warning(TIFF*, void*, const char*, const char*, va_list) { return 1; }

struct CloseTiff {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};
using Tiff = std::unique_ptr<TIFF, CloseTiff>;

// `mode` as TIFFOpen() takes it.
Tiff open(const Source& source, Stream& stream, const char* mode) {
  std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(TIFFOpenOptionsAlloc(), TIFFOpenOptionsFree);
  if (!options) return nullptr;
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), on_error, &stream);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), on_warning, nullptr);
  // A strip or tile never needs more than its picture's samples; tags never more than the file.
  int64_t most = source.max_pixels * 8 + static_cast<int64_t>(stream.file.size) + (1 << 20);
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), static_cast<tmsize_t>(most));
  return Tiff(TIFFClientOpenExt("tiff", mode, &stream, stream_read, stream_write, stream_seek, stream_close,
                                stream_size, stream_map, stream_unmap, options.get()));
}

uint16_t field(TIFF* tiff, uint32_t tag, uint16_t otherwise) {
  uint16_t value = 0;
  return TIFFGetFieldDefaulted(tiff, tag, &value) ? value : otherwise;
}

TiffLayout read_layout(TIFF* tiff) {
  TiffLayout layout;
  layout.photometric = field(tiff, TIFFTAG_PHOTOMETRIC, 0);
  layout.bits = field(tiff, TIFFTAG_BITSPERSAMPLE, 1);
  layout.samples = field(tiff, TIFFTAG_SAMPLESPERPIXEL, 1);
  layout.sample_format = field(tiff, TIFFTAG_SAMPLEFORMAT, 1);
  uint16_t* kinds = nullptr;
  if (TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &layout.extra_samples, &kinds) && layout.extra_samples > 0) {
    layout.premultiplied = kinds && kinds[0] == EXTRASAMPLE_ASSOCALPHA;
  }
  return layout;
}

// False if a palette picture has no readable palette.
bool read_palette(TIFF* tiff, TiffLayout& layout) {
  uint16_t* colors[3] = {};
  if (layout.bits > 8 || !TIFFGetField(tiff, TIFFTAG_COLORMAP, &colors[0], &colors[1], &colors[2])) return false;
  for (int i = 0; i < 1 << layout.bits; ++i) {
    for (int c = 0; c < 3; ++c) layout.colors[i][c] = static_cast<uint8_t>(colors[c][i] >> 8);
  }
  return true;
}

constexpr tmsize_t kMaxStripBytes = 32 << 20;

// Where to find rows of interleaved samples: block by block, or row by row where a strip is as large as a picture.
class TiffReader {
 public:
  TiffReader(const Source& source, TIFF* tiff, const TiffLayout& layout, TiffRowReader reader, Stream& stream)
      : source_(source), tiff_(tiff), layout_(layout), reader_(reader), stream_(stream) {}

  Result<Image> read(int64_t width, int64_t height) {
    bool separate =
        layout_.samples > 1 && field(tiff_, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) == PLANARCONFIG_SEPARATE;
    if (separate && layout_.bits != 8 && layout_.bits != 16) {
      return bad_input("{}: TIFF with separate planes of {} bits, expected 8 or 16", source_.name, layout_.bits);
    }
    if (TIFFIsTiled(tiff_)) return read_blocks(width, height, separate, true);
    if (separate || TIFFStripSize(tiff_) <= kMaxStripBytes) return read_blocks(width, height, separate, false);
    return read_scanlines(width, height);
  }

 private:
  tl::unexpected<Error> failed() { return corrupt(source_, "TIFF", stream_.message); }

  Result<Image> read_scanlines(int64_t width, int64_t height) {
    tmsize_t line_bytes = TIFFScanlineSize(tiff_);
    if (line_bytes < packed_row_bytes(width, layout_.samples)) return failed();
    std::vector<uint8_t> line(static_cast<size_t>(line_bytes)), rgb(static_cast<size_t>(width) * 3);
    Image image = growing_image(width, height);
    for (int64_t y = 0; y < height; ++y) {
      if (TIFFReadScanline(tiff_, line.data(), static_cast<uint32_t>(y), 0) != 1) return failed();
      reader_(layout_, line.data(), width, rgb.data());
      append_row(image, rgb.data());
    }
    return image;
  }

  Result<Image> read_blocks(int64_t width, int64_t height, bool separate, bool tiled) {
    uint32_t block_width = static_cast<uint32_t>(width), block_height = static_cast<uint32_t>(height);
    if (tiled) {
      TIFFGetField(tiff_, TIFFTAG_TILEWIDTH, &block_width);
      TIFFGetField(tiff_, TIFFTAG_TILELENGTH, &block_height);
    } else {
      TIFFGetFieldDefaulted(tiff_, TIFFTAG_ROWSPERSTRIP, &block_height);
      block_height = std::min(block_height, static_cast<uint32_t>(height));
    }
    int planes = separate ? layout_.samples : 1;
    tmsize_t row_bytes = tiled ? TIFFTileRowSize(tiff_) : TIFFScanlineSize(tiff_);
    tmsize_t block_bytes = tiled ? TIFFTileSize(tiff_) : TIFFStripSize(tiff_);
    int64_t most_bytes = source_.max_pixels * 8;
    if (block_width == 0 || block_height == 0 ||
        row_bytes < packed_row_bytes(block_width, separate ? 1 : layout_.samples) ||
        block_bytes / row_bytes < static_cast<tmsize_t>(block_height)) {
      return failed();
    }
    if (block_bytes > most_bytes / planes) {
      return bad_input("{}: TIFF tiles of {}x{} pixels, expected at most {}", source_.name, block_width, block_height,
                       source_.max_pixels);
    }
    std::vector<uint8_t> block(static_cast<size_t>(block_bytes) * planes), joined;
    std::vector<uint8_t> rgb(static_cast<size_t>(block_width) * 3);
    if (separate) joined.resize(static_cast<size_t>(block_width) * layout_.samples * (layout_.bits / 8));
    Image image = blank_image(width, height);
    for (int64_t top = 0; top < height; top += block_height) {
      for (int64_t left = 0; left < width; left += block_width) {
        for (int plane = 0; plane < planes; ++plane) {
          if (!read_block(tiled, left, top, plane, &block[static_cast<size_t>(block_bytes) * plane], block_bytes))
            return failed();
        }
        int64_t rows = std::min<int64_t>(block_height, height - top),
                columns = std::min<int64_t>(block_width, width - left);
        for (int64_t y = 0; y < rows; ++y) {
          const uint8_t* in = &block[static_cast<size_t>(row_bytes) * y];
          if (separate) {
            join_planes(in, block_bytes, planes, columns, joined.data());
            in = joined.data();
          }
          reader_(layout_, in, columns, rgb.data());
          std::memcpy(image.row(static_cast<int>(top + y)) + left * 3, rgb.data(), static_cast<size_t>(columns) * 3);
        }
      }
    }
    return image;
  }

  bool read_block(bool tiled, int64_t left, int64_t top, int plane, uint8_t* out, tmsize_t bytes) {
    uint32_t x = static_cast<uint32_t>(left), y = static_cast<uint32_t>(top);
    uint16_t sample = static_cast<uint16_t>(plane);
    if (tiled) return TIFFReadTile(tiff_, out, x, y, 0, sample) >= 0;
    return TIFFReadEncodedStrip(tiff_, TIFFComputeStrip(tiff_, y, sample), out, bytes) >= 0;
  }

  void join_planes(const uint8_t* in, tmsize_t plane_bytes, int planes, int64_t columns, uint8_t* out) const {
    int sample_bytes = layout_.bits / 8;
    for (int64_t x = 0; x < columns; ++x) {
      for (int plane = 0; plane < planes; ++plane, out += sample_bytes) {
        std::memcpy(out, in + plane * plane_bytes + x * sample_bytes, sample_bytes);
      }
    }
  }

  int64_t packed_row_bytes(int64_t width, int samples) const { return (width * samples * layout_.bits + 7) / 8; }

  const Source& source_;
  TIFF* tiff_;
  const TiffLayout& layout_;
  TiffRowReader reader_;
  Stream& stream_;
};

// Subsampled YCbCr and old JPEG: libtiff's own conversion, in bands of rows.
Result<Image> read_converted(const Source& source, TIFF* tiff, int64_t width, int64_t height, Stream& stream) {
  char message[1024] = "";
  TIFFRGBAImage converter;
  if (!TIFFRGBAImageOK(tiff, message) || !TIFFRGBAImageBegin(&converter, tiff, 1, message)) {
    return corrupt(source, "TIFF", message);
  }
  std::unique_ptr<TIFFRGBAImage, void (*)(TIFFRGBAImage*)> ends(&converter, TIFFRGBAImageEnd);
  converter.orientation = converter.req_orientation = ORIENTATION_TOPLEFT;
  uint32_t band = 0;
  if (!TIFFGetFieldDefaulted(tiff, TIFFIsTiled(tiff) ? TIFFTAG_TILELENGTH : TIFFTAG_ROWSPERSTRIP, &band) || band == 0) {
    band = static_cast<uint32_t>(height);
  }
  band = std::min(band, static_cast<uint32_t>(height));
  std::vector<uint32_t> raster(static_cast<size_t>(width) * band);
  Image image = blank_image(width, height);
  for (int64_t top = 0; top < height; top += band) {
    uint32_t rows = static_cast<uint32_t>(std::min<int64_t>(band, height - top));
    converter.row_offset = static_cast<int>(top);
    if (!TIFFRGBAImageGet(&converter, raster.data(), static_cast<uint32_t>(width), rows)) {
      return corrupt(source, "TIFF", stream.message);
    }
    uint8_t* out = image.row(static_cast<int>(top));
    for (size_t i = 0; i < static_cast<size_t>(width) * rows; ++i) {
      *out++ = static_cast<uint8_t>(TIFFGetR(raster[i]));
      *out++ = static_cast<uint8_t>(TIFFGetG(raster[i]));
      *out++ = static_cast<uint8_t>(TIFFGetB(raster[i]));
    }
  }
  return image;
}

Result<Image> read_stored(const Source& source, TIFF* tiff, int64_t width, int64_t height, Stream& stream) {
  TiffLayout layout = read_layout(tiff);
  uint16_t compression = field(tiff, TIFFTAG_COMPRESSION, COMPRESSION_NONE);
  bool contiguous = field(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) == PLANARCONFIG_CONTIG;
  if (!TIFFIsCODECConfigured(compression)) {
    return bad_input("{}: TIFF compression {}, expected one that libtiff was built with", source.name, compression);
  }
  if (layout.photometric == PHOTOMETRIC_PALETTE && !read_palette(tiff, layout))
    return corrupt(source, "TIFF", stream.message);
  if (compression == COMPRESSION_OJPEG) return read_converted(source, tiff, width, height, stream);
  if (layout.photometric == PHOTOMETRIC_YCBCR && layout.samples > 1) {
    uint16_t across = 2, down = 2;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_YCBCRSUBSAMPLING, &across, &down);
    if (compression == COMPRESSION_JPEG && contiguous) {
      TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
      layout.photometric = PHOTOMETRIC_RGB;
    } else if (compression != COMPRESSION_NONE || across != 1 || down != 1) {
      return read_converted(source, tiff, width, height, stream);
    }
  }
  std::optional<TiffRowReader> reader = find_row_reader(layout);
  if (!reader) {
    return bad_input(
        "{}: TIFF of photometric kind {} with {} samples of {} bits, expected grey, palette, RGB, CMYK or YCbCr",
        source.name, layout.photometric, layout.samples, layout.bits);
  }
  return TiffReader(source, tiff, layout, *reader, stream).read(width, height);
}

// The picture of the directory that was read last.
Result<Image> read_current(const Source& source, TIFF* tiff, Stream& stream) {
  uint32_t width = 0, height = 0;
  TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
  TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
  TRY_STATUS(check_size(source, width, height));
  return read_stored(source, tiff, width, height, stream);
}

int orientation_field(TIFF* tiff) { return std::clamp<int>(field(tiff, TIFFTAG_ORIENTATION, 1), 1, 8); }

}  // namespace

Result<Image> decode_tiff(const Source& source) {
  const TiffBytes file = tiff_in_memory(source.bytes);
  Stream stream{file, source.bytes, 0, {}};
  Tiff tiff = open(source, stream, "rC");
  if (!tiff) return corrupt(source, "TIFF", stream.message);
  TRY(Image image, read_current(source, tiff.get(), stream));
  std::optional<std::string_view> xmp;
  uint32_t xmp_size = 0;
  void* xmp_bytes = nullptr;
  if (TIFFGetField(tiff.get(), TIFFTAG_XMLPACKET, &xmp_size, &xmp_bytes) && xmp_bytes) {
    xmp = std::string_view(static_cast<const char*>(xmp_bytes), xmp_size);
  }
  bool big = source.bytes[2] == 43 || source.bytes[3] == 43;  // 64-bit offsets, which find_orientation() does not read
  int orientation = big ? orientation_field(tiff.get()) : find_orientation(source.bytes, xmp);
  return make_upright(std::move(image), orientation);
}

Result<Image> decode_tiff_page(const TiffBytes& file, uint64_t directory, const Source& source) {
  Stream stream{file, {}, 0, {}};
  // h: the first page may be a broken one; m: what is not in memory is read.
  Tiff tiff = open(source, stream, "rChm");
  if (!tiff || !TIFFSetSubDirectory(tiff.get(), directory)) return corrupt(source, "TIFF", stream.message);
  stream.message.clear();  // libtiff has looked at all pages, and what it said may be of another
  TRY(Image image, read_current(source, tiff.get(), stream));
  return make_upright(std::move(image), orientation_field(tiff.get()));
}

}  // namespace onsight::media
