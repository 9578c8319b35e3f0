# SPDX-License-Identifier: MIT
# What `make install` puts where. The pkg-config file and the CMake package find their own prefix,
# so an installed tree can be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/laneway)
file(RELATIVE_PATH LW_PC_UP /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" LW_PC_UP ${LW_PC_UP})
configure_file(cmake/laneway.pc.in laneway.pc @ONLY)
configure_package_config_file(cmake/laneway-config.cmake.in laneway-config.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(laneway-config-version.cmake COMPATIBILITY SameMinorVersion)

install(TARGETS ${LW_LIBRARIES} EXPORT laneway-targets)
install(EXPORT laneway-targets NAMESPACE laneway:: DESTINATION ${package_dir})
install(DIRECTORY include/laneway TYPE INCLUDE FILES_MATCHING PATTERN "*.h")
install(FILES ${PROJECT_BINARY_DIR}/laneway.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_BINARY_DIR}/laneway-config.cmake
              ${PROJECT_BINARY_DIR}/laneway-config-version.cmake DESTINATION ${package_dir})
install(FILES docs/man/laneway.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 OPTIONAL)
if(TARGET laneway_tool)
    install(TARGETS laneway_tool)
endif()
