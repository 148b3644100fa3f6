# cmake -DFILE=page.html -DOUT=page_bytes.cc -P embed_page.cmake: a file as an array of bytes.
file(READ ${FILE} bytes HEX)
string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUT} "// Made of web/dist/index.html by cmake/embed_page.cmake.
#include \"server/page.h\"

namespace onsight::server {
namespace {
constexpr unsigned char kBytes[] = {
${bytes}};
}  // namespace

std::string_view page_bytes() { return {reinterpret_cast<const char*>(kBytes), sizeof kBytes}; }

}  // namespace onsight::server
")
