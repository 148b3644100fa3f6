# The web pages are parts of the program: embed_page(server index) makes web/dist/index.html the page of src/server/.
function(embed_page room name)
  set(page ${PROJECT_SOURCE_DIR}/web/dist/${name}.html)
  set(source ${CMAKE_BINARY_DIR}/generated/${room}/page_bytes.cc)
  add_custom_command(OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DFILE=${page} -DROOM=${room} -DOUT=${source} -P ${PROJECT_SOURCE_DIR}/cmake/embed_page.cmake
    DEPENDS ${page} ${PROJECT_SOURCE_DIR}/cmake/embed_page.cmake VERBATIM)
  target_sources(onsight_${room} PRIVATE ${source})
  set_source_files_properties(${source} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()
embed_page(server index)
embed_page(agents agents)
