# cmake -DFILE=page.html -DROOM=server -DOUT=page_bytes.cc -P embed_page.cmake: a file as an array of bytes, the page of a room.
if(ROOM STREQUAL agents)
  set(header agents/page/page_bytes.h)
  set(namespace onsight::agents::page)
else()
  set(header server/page.h)
  set(namespace onsight::server)
endif()
file(READ ${FILE} bytes HEX)
string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
get_filename_component(name ${FILE} NAME)
file(WRITE ${OUT} "// Made of web/dist/${name} by cmake/embed_page.cmake.
#include \"${header}\"

namespace ${namespace} {
namespace {
constexpr unsigned char kBytes[] = {
${bytes}};
}  // namespace

std::string_view page_bytes() { return {reinterpret_cast<const char*>(kBytes), sizeof kBytes}; }

}  // namespace ${namespace}
")
