# The web page is a part of the program.
set(page ${PROJECT_SOURCE_DIR}/web/dist/index.html)
set(page_source ${CMAKE_BINARY_DIR}/generated/server/page_bytes.cc)
add_custom_command(OUTPUT ${page_source}
  COMMAND ${CMAKE_COMMAND} -DFILE=${page} -DOUT=${page_source} -P ${PROJECT_SOURCE_DIR}/cmake/embed_page.cmake
  DEPENDS ${page} ${PROJECT_SOURCE_DIR}/cmake/embed_page.cmake VERBATIM)
target_sources(onsight_server PRIVATE ${page_source})
set_source_files_properties(${page_source} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
