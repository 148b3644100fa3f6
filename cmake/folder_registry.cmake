# A room's registry: every folder src/ROOM/NAME with a NAME.h, which declares onsight::ROOM::NAME::ENTRY, is a row of it.
#   folder_registry(models FILE registry.inc TYPE ModelDef ENTRY kModelDef LIST kModels)
# The file lies in build/generated/ROOM/; written only when it changes.
function(folder_registry room)
  if(NOT TARGET onsight_${room})
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 1 row "" "FILE;TYPE;ENTRY;LIST" "")
  file(GLOB headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/src/${room}/*/*.h)
  set(includes "")
  set(entries "")
  foreach(header IN LISTS headers)
    get_filename_component(name ${header} NAME_WE)
    if(header STREQUAL "${room}/${name}/${name}.h")
      string(APPEND includes "#include \"${header}\"\n")
      string(APPEND entries "    &${name}::${row_ENTRY},\n")
    endif()
  endforeach()
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/${room}/${row_FILE} CONTENT
"${includes}
namespace onsight::${room} {
constexpr const ${row_TYPE}* ${row_LIST}[] = {
${entries}};
}  // namespace onsight::${room}
")
  target_include_directories(onsight_${room} PRIVATE ${CMAKE_BINARY_DIR}/generated)
endfunction()

# Architectures, and the APIs that the server speaks.
folder_registry(models FILE registry.inc TYPE ModelDef ENTRY kModelDef LIST kModels)
folder_registry(server FILE dialects.inc TYPE Dialect ENTRY kDialect LIST kDialects)
