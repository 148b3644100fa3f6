# Every folder src/models/NAME with a NAME.h is an architecture: it exports onsight::models::NAME::kModelDef. Written only when it changes.
file(GLOB headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/src/models/*/*.h)
set(includes "")
set(entries "")
foreach(header IN LISTS headers)
  get_filename_component(name ${header} NAME_WE)
  if(header STREQUAL "models/${name}/${name}.h")
    string(APPEND includes "#include \"${header}\"\n")
    string(APPEND entries "    &${name}::kModelDef,\n")
  endif()
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/models/registry.inc CONTENT
"${includes}
namespace onsight::models {
constexpr const ModelDef* kModels[] = {
${entries}};
}  // namespace onsight::models
")
target_include_directories(onsight_models PRIVATE ${CMAKE_BINARY_DIR}/generated)
