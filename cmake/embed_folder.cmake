# The files of a folder as parts of a room:  embed_folder(agents harness toml)  makes onsight::agents::harness::embedded_files(), which
# src/agents/harness/embedded.h declares, of src/agents/harness/*.toml. As a script, -DFOLDER=… -DENDING=… -DROOM=… -DPART=… -DOUT=…, it writes the source.
if(CMAKE_SCRIPT_MODE_FILE)
  file(GLOB files ${FOLDER}/*.${ENDING})
  set(arrays "")
  set(rows "")
  foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME_WE)
    string(MAKE_C_IDENTIFIER ${name} identifier)
    file(READ ${file} bytes HEX)
    string(REGEX REPLACE "(................................................................)" "\\1\n" bytes "${bytes}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
    string(APPEND arrays "constexpr unsigned char kBytes_${identifier}[] = {\n${bytes}};\n")
    string(APPEND rows "    {\"${name}\", {reinterpret_cast<const char*>(kBytes_${identifier}), sizeof kBytes_${identifier}}},\n")
  endforeach()
  file(WRITE ${OUT} "// Made of src/${ROOM}/${PART}/*.${ENDING} by cmake/embed_folder.cmake.
#include \"${ROOM}/${PART}/embedded.h\"

namespace onsight::${ROOM}::${PART} {
namespace {
${arrays}}  // namespace

std::span<const EmbeddedFile> embedded_files() {
  static const EmbeddedFile kFiles[] = {
${rows}  };
  return kFiles;
}

}  // namespace onsight::${ROOM}::${PART}
")
  return()
endif()

function(embed_folder room part ending)
  if(NOT TARGET onsight_${room})
    return()
  endif()
  set(folder ${PROJECT_SOURCE_DIR}/src/${room}/${part})
  set(source ${CMAKE_BINARY_DIR}/generated/${room}/${part}/embedded.cc)
  file(GLOB files CONFIGURE_DEPENDS ${folder}/*.${ending})
  add_custom_command(OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DFOLDER=${folder} -DENDING=${ending} -DROOM=${room} -DPART=${part} -DOUT=${source} -P ${PROJECT_SOURCE_DIR}/cmake/embed_folder.cmake
    DEPENDS ${files} ${PROJECT_SOURCE_DIR}/cmake/embed_folder.cmake VERBATIM)
  target_sources(onsight_${room} PRIVATE ${source})
  set_source_files_properties(${source} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()
