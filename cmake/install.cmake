# What `make install`, the .deb and the tarball hold: the program, the one that runs in agents' containers, the library, the model that ships, the manual page and the shells' completions.
# The last two are printed by the program itself, on an emulator where it was built for another machine.
include(GNUInstallDirs)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "asks pictures and videos questions, on this machine and nowhere else")
install(TARGETS onsight RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS onsight-agent RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/onsight)
install(TARGETS libonsight EXPORT onsight LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES include/onsight.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
# How builds find the library: pkg-config and CMake, both relative to where it is.
file(RELATIVE_PATH prefix_from_pkgconfig /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(capi/onsight.pc.in ${CMAKE_BINARY_DIR}/onsight.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/onsight.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
include(CMakePackageConfigHelpers)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/onsight-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/onsight-config-version.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/onsight)
install(EXPORT onsight NAMESPACE onsight:: FILE onsight-config.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/onsight)
install(DIRECTORY models/onsight-nano DESTINATION ${CMAKE_INSTALL_DATADIR}/onsight/models)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(NOT CMAKE_CROSSCOMPILING OR CMAKE_CROSSCOMPILING_EMULATOR)
  set(manual ${CMAKE_BINARY_DIR}/manual)
  file(MAKE_DIRECTORY ${manual})
  add_custom_command(OUTPUT ${manual}/onsight.1 ${manual}/onsight.bash ${manual}/_onsight ${manual}/onsight.fish
    COMMAND onsight --man > ${manual}/onsight.1
    COMMAND onsight --completions bash > ${manual}/onsight.bash
    COMMAND onsight --completions zsh > ${manual}/_onsight
    COMMAND onsight --completions fish > ${manual}/onsight.fish
    DEPENDS onsight VERBATIM)
  add_custom_target(manual ALL DEPENDS ${manual}/onsight.1)
  install(FILES ${manual}/onsight.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${manual}/onsight.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME onsight)
  install(FILES ${manual}/_onsight DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
  install(FILES ${manual}/onsight.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()

set(CPACK_PACKAGE_VENDOR onsight)
set(CPACK_PACKAGE_CONTACT "the onsight maintainers")
set(CPACK_PACKAGE_FILE_NAME onsight-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_STRIP_FILES ON)
set(CPACK_GENERATOR DEB)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION graphics)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)  # and the trigger of ldconfig
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libavformat59, libswscale6")  # opened when the first video is
# for cameras, for PDFs, for agents: an engine of containers, and what makes their images
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "libavdevice59, poppler-utils, podman | docker.io, mmdebstrap, npm")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
include(CPack)
