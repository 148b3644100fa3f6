#include "cli/pages.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <set>

#include "base/subprocess.h"
#include "media/pages.h"

namespace onsight::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 14> kPictures = {".jpg",  ".jpeg", ".png",  ".webp", ".gif", ".bmp",  ".tif",
                                                        ".tiff", ".heic", ".heif", ".avif", ".jpe", ".jfif", ".dib"};
constexpr const char* kDotsPerInch = "150";  // a page of A4 is 1240 x 1754 pixels
constexpr uint64_t kMaxPageBytes = uint64_t{512} << 20;

std::string suffix_of(const Path& file) {
  std::string out = file.extension().string();
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

bool is_pdf(const Path& file) { return suffix_of(file) == ".pdf"; }

// A name that no program takes for an option.
std::string plain(const std::string& file) { return file.starts_with('-') ? "./" + file : file; }

Result<int> pages_of(const std::string& file) {
  const auto told = output_of({"pdfinfo", plain(file)}, 1 << 20, std::chrono::seconds(30));
  if (!told) {
    if (!has_program("pdfinfo") || !has_program("pdftoppm"))
      return bad_input("{}: expected pdfinfo and pdftoppm on this machine (Debian: poppler-utils)", file);
    return bad_input("{}: not a PDF that pdfinfo reads, expected a whole one without a password", file);
  }
  const size_t at = told->find("\nPages:");
  const int pages = at == std::string::npos ? 0 : std::atoi(told->c_str() + at + 7);
  if (pages < 1) return bad_input("{}: a PDF without pages", file);
  return pages;
}

class Finder {
 public:
  explicit Finder(bool documents) : documents_(documents) {}

  void add(const Path& path, bool named) {
    if (named && path == "-") return out.pages.push_back({.file = "-"});
    if (!seen_.insert(absolute_name(path.string())).second) return;
    std::error_code error;
    if (fs::is_directory(path, error)) return add_folder(path);
    struct stat facts {};
    if (::stat(path.c_str(), &facts) != 0) return fail("{}: {}", path.string(), std::strerror(errno));
    if (!S_ISREG(facts.st_mode)) return fail("{}: expected a file or a folder", path.string());
    Page page{.file = path.string(),
              .bytes = facts.st_size,
              .modified = facts.st_mtim.tv_sec * int64_t{1'000'000'000} + facts.st_mtim.tv_nsec};
    const bool pdf = is_pdf(path);
    if (!documents_) {
      if (!pdf) return out.pages.push_back(std::move(page));
      if (named) fail("{}: expected a picture, found a PDF (onsight read takes them)", path.string());
      return;
    }
    const Result<int> pages = pdf ? pages_of(page.file) : media::count_pages(path);
    if (!pages) return fail("{}", pages.error().message);
    if (!pdf && *pages == 1) return out.pages.push_back(std::move(page));
    for (page.number = 1; page.number <= *pages; ++page.number) out.pages.push_back(page);
  }

  PageList out;

 private:
  template <class... Args>
  void fail(fmt::format_string<Args...> format, Args&&... args) {
    out.errors.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  void add_folder(const Path& folder) {
    const size_t before = out.errors.size();
    std::vector<Path> files;
    walk(folder, files);
    if (files.empty() && out.errors.size() == before)
      out.notes.push_back(
          fmt::format("{}: no {} in it", folder.string(), documents_ ? "pictures or PDFs" : "pictures"));
    std::sort(files.begin(), files.end());
    for (const Path& file : files) add(file, false);
  }

  // Links to folders may lead in circles.
  void walk(const Path& folder, std::vector<Path>& files) {
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      std::error_code ignored;
      if (it->is_directory(ignored)) {
        if (it->is_symlink(ignored))
          out.notes.push_back(fmt::format("{}: left out, a link to a folder", it->path().string()));
        else
          walk(it->path(), files);
        continue;
      }
      const std::string suffix = suffix_of(it->path());
      const bool known =
          std::find(kPictures.begin(), kPictures.end(), suffix) != kPictures.end() || (documents_ && suffix == ".pdf");
      if (known && it->is_regular_file(ignored)) files.push_back(it->path());
    }
    if (error) fail("{}: {}", folder.string(), error.message());
  }

  bool documents_;
  std::set<std::string> seen_;
};

Result<media::Image> draw_page(const Page& page) {
  const std::string number = std::to_string(page.number);
  const auto png = output_of({"pdftoppm", "-png", "-r", kDotsPerInch, "-f", number, "-l", number, plain(page.file)},
                             kMaxPageBytes, std::chrono::seconds(120));
  if (!png) return bad_input("{}: cannot be drawn ({})", page.name(), png.error().message);
  return media::decode_image(*png, page.name());
}

}  // namespace

PageList find_pages(const std::vector<std::string>& paths, bool documents) {
  Finder finder(documents);
  for (const std::string& path : paths) finder.add(Path(path), true);
  return std::move(finder.out);
}

std::string absolute_name(const std::string& file) {
  std::error_code error;
  const Path path = fs::absolute(file, error);
  return (error ? Path(file) : path).lexically_normal().string();
}

Result<Picture> load_page(const Page& page) {
  if (page.number == 0) return load_picture(page.file);
  TRY(media::Image image, is_pdf(page.file) ? draw_page(page) : media::decode_page(page.file, page.number));
  Picture picture;
  picture.image = std::make_shared<const media::Image>(std::move(image));
  picture.path = page.file;
  return picture;
}

}  // namespace onsight::cli
