// Many pictures and documents, a page at a time.
//
//   const PageList list = find_pages({"scans", "report.pdf"}, /*documents=*/true);
//   TRY(const Picture picture, load_page(list.pages[0]));
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/request_options.h"

namespace onsight::cli {

struct Page {
  std::string file;
  int number = 0;        // from 1 on; 0: the file is one picture
  int64_t bytes = 0;     // of the file
  int64_t modified = 0;  // nanoseconds since 1970
  std::string name() const { return number ? fmt::format("{}, page {}", file, number) : file; }
};

// What may be wrong with some files, and leaves the others as they are.
struct PageList {
  std::vector<Page> pages;
  std::vector<std::string> errors;  // one sentence each
  std::vector<std::string> notes;   // the same of what is left out, and wrong with nothing
};

// Files as they come, "-" for a picture on standard input, of folders those that look like pictures or PDFs, by name,
// with all folders below; each once, under the name by which it came first. Where `documents` is set, PDFs and TIFFs of
// several pictures are pages; else PDFs are left out, and of such a TIFF the first is the picture.
PageList find_pages(const std::vector<std::string>& paths, bool documents);

// The same for every way to write the name of a file: "a.png", "./a.png", "/here/a.png". Links are not followed.
std::string absolute_name(const std::string& file);

// Decoded; a page of a PDF is drawn by pdftoppm.
Result<Picture> load_page(const Page& page);

}  // namespace onsight::cli
