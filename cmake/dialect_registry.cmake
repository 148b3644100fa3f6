# Every folder src/server/NAME with a NAME.h is an API: it declares onsight::server::NAME::kDialect. Written only when it changes.
file(GLOB headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/src/server/*/*.h)
set(includes "")
set(entries "")
foreach(header IN LISTS headers)
  get_filename_component(name ${header} NAME_WE)
  if(header STREQUAL "server/${name}/${name}.h")
    string(APPEND includes "#include \"${header}\"\n")
    string(APPEND entries "    &${name}::kDialect,\n")
  endif()
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/server/dialects.inc CONTENT
"${includes}
namespace onsight::server {
constexpr const Dialect* kDialects[] = {
${entries}};
}  // namespace onsight::server
")
target_include_directories(onsight_server PRIVATE ${CMAKE_BINARY_DIR}/generated)

# The web page is a part of the program.
set(page ${PROJECT_SOURCE_DIR}/web/dist/index.html)
set(page_source ${CMAKE_BINARY_DIR}/generated/server/page_bytes.cc)
add_custom_command(OUTPUT ${page_source}
  COMMAND ${CMAKE_COMMAND} -DFILE=${page} -DOUT=${page_source} -P ${PROJECT_SOURCE_DIR}/cmake/embed_page.cmake
  DEPENDS ${page} ${PROJECT_SOURCE_DIR}/cmake/embed_page.cmake VERBATIM)
target_sources(onsight_server PRIVATE ${page_source})
