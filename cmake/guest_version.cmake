# ONSIGHT_GUEST_VERSION: what guest/ is, "0.1.0-1f2e3d4c": the version of the project and a digest of the sources.
file(GLOB guest_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/guest/* ${PROJECT_SOURCE_DIR}/src/agents/bridge/*)
list(FILTER guest_sources EXCLUDE REGEX "_test\\.cc$")
set(ONSIGHT_GUEST_VERSION "")
foreach(source IN LISTS guest_sources)
  file(SHA256 ${source} digest)
  string(APPEND ONSIGHT_GUEST_VERSION ${digest})
endforeach()
set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${guest_sources})
string(SHA256 ONSIGHT_GUEST_VERSION "${ONSIGHT_GUEST_VERSION}")
string(SUBSTRING ${ONSIGHT_GUEST_VERSION} 0 8 ONSIGHT_GUEST_VERSION)
set(ONSIGHT_GUEST_VERSION ${PROJECT_VERSION}-${ONSIGHT_GUEST_VERSION})

# The room of agents knows it too: it says which image is of this build.
set(guest_version_source ${CMAKE_BINARY_DIR}/generated/agents/image/guest_version.cc)
configure_file(${PROJECT_SOURCE_DIR}/src/agents/image/guest_version.cc.in ${guest_version_source} @ONLY)
target_sources(onsight_agents PRIVATE ${guest_version_source})
set_source_files_properties(${guest_version_source} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
