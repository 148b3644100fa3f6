// Pages: the pictures that a scanner puts behind each other in one TIFF. One at a time is in memory.
//
//   TRY(const int pages, count_pages("letter.tif"));
//   TRY(Image second, decode_page("letter.tif", 2));
#pragma once

#include "base/file.h"
#include "media/image.h"

namespace onsight::media {

// Of a TIFF the pictures that are neither a smaller copy of another nor a mask, though the first always counts; of any
// other file, and of one that cannot be opened, 1. Reads no pixels. Where the list of pages does not end as it should,
// the page that is missing counts too, and decode_page() says what is wrong with it.
Result<int> count_pages(const Path& file);
Result<int> count_pages(std::string_view bytes, std::string_view name);

// Page `number`, from 1 on, of a TIFF, as decode_image() decodes a picture.
Result<Image> decode_page(const Path& file, int number, const DecodeLimits& limits = {});
Result<Image> decode_page(std::string_view bytes, std::string_view name, int number, const DecodeLimits& limits = {});

}  // namespace onsight::media
