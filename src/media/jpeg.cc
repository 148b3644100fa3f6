#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
// jpeglib.h needs what <cstdio> declares.
#include <jpeglib.h>
#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "media/decoders.h"
#include "media/orientation.h"

// libjpeg reports errors by a jump. Each function below that
// sets the jump's target holds nothing that needs a destructor.

namespace onsight::media {
namespace {

constexpr int kMaxScans = 500;       // a progressive file of a few bytes may claim any number of passes over its pixels
constexpr JDIMENSION kMaxRows = 16;  // rows asked for at once
// What the coefficients of a progressive picture may take: of the largest picture in 4:2:0, and of 90 megapixels in
// 4:4:4. libjpeg keeps all of them, and on Debian it is built without files to keep them in.
constexpr int64_t kMaxCoefficientBytes = 540'000'000;

struct JpegReader {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX] = "";
  // The coefficients of a progressive picture, which libjpeg keeps until the end and we give back as rows come out.
  struct Coefficients {
    jvirt_barray_ptr array = nullptr;
    JDIMENSION blocks_per_row = 0, rows = 0, released = 0;
  } coefficients[MAX_COMPONENTS];
  int arrays = 0;
  jvirt_barray_ptr (*request_array)(j_common_ptr, int, boolean, JDIMENSION, JDIMENSION, JDIMENSION) = nullptr;

  ~JpegReader() { jpeg_destroy_decompress(&info); }
};

JpegReader& reader_of(j_common_ptr info) { return *static_cast<JpegReader*>(info->client_data); }

void on_error(j_common_ptr info) {
  info->err->format_message(info, reader_of(info).message);
  std::longjmp(reader_of(info).jump, 1);
}
void on_message(j_common_ptr, int) {}
void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) {
    std::snprintf(reader_of(info).message, JMSG_LENGTH_MAX, "more than %d scans", kMaxScans);
    std::longjmp(reader_of(info).jump, 1);
  }
}

void source_nothing(j_decompress_ptr) {}
boolean source_fill(j_decompress_ptr) {
  return FALSE;
}  // all bytes are there from the start: none left means truncated
void source_skip(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  size_t step = std::min(static_cast<size_t>(count), info->src->bytes_in_buffer);
  info->src->next_input_byte += step;
  info->src->bytes_in_buffer -= step;
}

jvirt_barray_ptr remember_array(j_common_ptr info, int pool, boolean zeroed, JDIMENSION blocks, JDIMENSION rows,
                                JDIMENSION max_access) {
  JpegReader& reader = reader_of(info);
  jvirt_barray_ptr array = reader.request_array(info, pool, zeroed, blocks, rows, max_access);
  if (reader.arrays < MAX_COMPONENTS) reader.coefficients[reader.arrays++] = {array, blocks, rows, 0};
  return array;
}

// What libjpeg will keep: whole MCUs of every component.
int64_t coefficient_bytes(const jpeg_decompress_struct& info) {
  int64_t blocks = 0;
  for (int i = 0; i < info.num_components; ++i) {
    const jpeg_component_info& part = info.comp_info[i];
    const auto whole = [](int64_t n, int64_t step) { return (n + step - 1) / step * step; };
    blocks += whole(part.width_in_blocks, part.h_samp_factor) * whole(part.height_in_blocks, part.v_samp_factor);
  }
  return blocks * static_cast<int64_t>(sizeof(JBLOCK));
}

// Gives the memory of coefficients back to the system once their
// rows are out: 80 megapixels of 4:4:4 hold 480 MB of them.
void release_coefficients(JpegReader& reader) {
#ifdef __linux__
  static const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  constexpr JDIMENSION kMargin = 4;  // rows of MCUs that upsampling and block smoothing may still look back at
  if (reader.arrays != reader.info.num_components || reader.info.output_iMCU_row < kMargin) return;
  for (int i = 0; i < reader.arrays; ++i) {
    JpegReader::Coefficients& held = reader.coefficients[i];
    JDIMENSION done = (reader.info.output_iMCU_row - kMargin) * reader.info.comp_info[i].v_samp_factor;
    done = std::min(done, held.rows);
    size_t row_bytes = held.blocks_per_row * sizeof(JBLOCK);
    while (held.released < done) {
      // Rows lie one after the other within a large chunk; a run ends where the next row is elsewhere.
      auto address = [&](JDIMENSION row) {
        j_common_ptr common = reinterpret_cast<j_common_ptr>(&reader.info);
        return reinterpret_cast<uintptr_t>(reader.info.mem->access_virt_barray(common, held.array, row, 1, FALSE)[0]);
      };
      uintptr_t first = address(held.released), end = first;
      while (held.released < done && address(held.released) == end) {
        end += row_bytes;
        ++held.released;
      }
      uintptr_t from = (first + page - 1) / page * page, to = end / page * page;
      if (from < to) madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
    }
  }
#else
  (void)reader;
#endif
}

bool read_header(JpegReader& reader, const Source& source) {
  reader.info.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = on_error;
  reader.errors.emit_message = on_message;
  reader.info.client_data = &reader;
  if (setjmp(reader.jump)) return false;
  jpeg_create_decompress(&reader.info);
  reader.source.next_input_byte = source.data();
  reader.source.bytes_in_buffer = source.size();
  reader.source.init_source = source_nothing;
  reader.source.fill_input_buffer = source_fill;
  reader.source.skip_input_data = source_skip;
  reader.source.resync_to_restart = jpeg_resync_to_restart;
  reader.source.term_source = source_nothing;
  reader.info.src = &reader.source;
  jpeg_save_markers(&reader.info, JPEG_APP0 + 1, 0xFFFF);
  return jpeg_read_header(&reader.info, TRUE) == JPEG_HEADER_OK;
}

bool start(JpegReader& reader, jpeg_progress_mgr& progress) {
  if (setjmp(reader.jump)) return false;
  if (reader.info.num_components == 4) {
    reader.info.out_color_space = JCS_CMYK;
  } else {
    reader.info.out_color_space = reader.info.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  }
  progress.progress_monitor = on_progress;
  reader.info.progress = &progress;
  reader.request_array = reader.info.mem->request_virt_barray;
  if (jpeg_has_multiple_scans(&reader.info)) reader.info.mem->request_virt_barray = remember_array;
  return jpeg_start_decompress(&reader.info);
}

// Reads up to `count` rows; 0 if the file ends before the next one.
JDIMENSION read_rows(JpegReader& reader, JSAMPROW* rows, JDIMENSION count) {
  if (setjmp(reader.jump)) return 0;
  JDIMENSION got = 0;
  while (got < count && reader.info.output_scanline < reader.info.output_height) {
    JDIMENSION step = jpeg_read_scanlines(&reader.info, rows + got, count - got);
    if (step == 0) break;
    got += step;
  }
  release_coefficients(reader);
  return got;
}

// PIL joins the EXIF blocks of several APP1 markers, without
// the prefix of the later ones, and takes the last XMP block.
int jpeg_orientation(const JpegReader& reader) {
  constexpr std::string_view kExif("Exif\0\0", 6), kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
  std::string exif;
  std::optional<std::string_view> xmp;
  for (const jpeg_marker_struct* marker = reader.info.marker_list; marker; marker = marker->next) {
    std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.starts_with(kExif)) exif += exif.empty() ? data : data.substr(kExif.size());
    if (data.starts_with(kXmp)) xmp = data.substr(kXmp.size());
  }
  return find_orientation(exif.empty() ? std::nullopt : std::optional<std::string_view>(exif), xmp);
}

}  // namespace

Result<Image> decode_jpeg(const Source& source) {
  JpegReader reader;
  jpeg_progress_mgr progress{};
  if (!read_header(reader, source)) return corrupt(source, "JPEG", reader.message);
  int64_t width = reader.info.image_width, height = reader.info.image_height;
  TRY_STATUS(check_size(source, width, height));
  int channels = reader.info.num_components;
  if (channels != 1 && channels != 3 && channels != 4) {
    return bad_input("{}: JPEG of {} channels, expected 1, 3 or 4", source.name, channels);
  }
  int orientation = jpeg_orientation(reader);
  bool whole_first = jpeg_has_multiple_scans(&reader.info);
  if (int64_t needed = coefficient_bytes(reader.info); whole_first && needed > kMaxCoefficientBytes) {
    return bad_input(
        "{}: {}x{} pixels in several scans of {} channels, which take {} MB to decode, expected at most {}",
        source.name, width, height, channels, needed / 1'000'000, kMaxCoefficientBytes / 1'000'000);
  }
  if (!start(reader, progress)) return corrupt(source, "JPEG", reader.message);

  // A progressive picture's coefficients are as large as its pixels or larger: let the one shrink while the other
  // grows, and turn it after they are gone. Otherwise rows go straight to where they belong.
  UprightWriter writer(width, height, whole_first ? 1 : orientation);
  std::vector<uint8_t> buffer(static_cast<size_t>(width) * channels * kMaxRows), rgb(static_cast<size_t>(width) * 3);
  JSAMPROW rows[kMaxRows];
  for (JDIMENSION i = 0; i < kMaxRows; ++i) rows[i] = buffer.data() + static_cast<size_t>(width) * channels * i;
  for (int64_t y = 0; y < height;) {
    JDIMENSION got = read_rows(reader, rows, kMaxRows);
    if (got == 0) return corrupt(source, "JPEG", reader.message);
    for (JDIMENSION i = 0; i < got; ++i) {
      if (channels == 3) {
        writer.append(rows[i]);
        continue;
      }
      if (channels == 4) {
        for (int64_t k = 0; k < width * 4; ++k) rows[i][k] = static_cast<uint8_t>(~rows[i][k]);  // as Adobe stores ink
        cmyk_to_rgb(rows[i], rgb.data(), width);
      } else {
        pixels_to_rgb(rows[i], 1, rgb.data(), width);
      }
      writer.append(rgb.data());
    }
    y += got;
  }
  Image image = writer.finish();
  if (!whole_first) return image;
  jpeg_destroy_decompress(&reader.info);  // the coefficients, before a turn takes a second picture
  return make_upright(std::move(image), orientation);
}

}  // namespace onsight::media
