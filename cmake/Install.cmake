# What others get: headers, both libraries, vdb.pc, and a CMake package with vdb::vdb and vdb::vdb_static.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(VDB_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/vdb)

install(DIRECTORY include/vdb DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(TARGETS vdb EXPORT vdb_shared_targets)
install(TARGETS vdb_static EXPORT vdb_static_targets)

# Written when installing, since `cmake --install --prefix` may name another prefix than the build knew.
install(CODE "
  set(VDB_PC_SECCOMP [[${VDB_PC_SECCOMP}]])
  set(PROJECT_VERSION [[${PROJECT_VERSION}]])
  set(PROJECT_DESCRIPTION [[${PROJECT_DESCRIPTION}]])
  set(CMAKE_INSTALL_LIBDIR [[${CMAKE_INSTALL_LIBDIR}]])
  set(CMAKE_INSTALL_INCLUDEDIR [[${CMAKE_INSTALL_INCLUDEDIR}]])
  configure_file([[${PROJECT_SOURCE_DIR}/vdb.pc.in]] [[${PROJECT_BINARY_DIR}/vdb.pc]] @ONLY)")
install(FILES ${PROJECT_BINARY_DIR}/vdb.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# Two export files: who links the shared library does not need liburing's development files.
install(EXPORT vdb_shared_targets FILE vdbShared.cmake NAMESPACE vdb:: DESTINATION ${VDB_CMAKE_DIR})
install(EXPORT vdb_static_targets FILE vdbStatic.cmake NAMESPACE vdb:: DESTINATION ${VDB_CMAKE_DIR})
configure_package_config_file(cmake/vdbConfig.cmake.in vdbConfig.cmake
  INSTALL_DESTINATION ${VDB_CMAKE_DIR})
write_basic_package_version_file(vdbConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/vdbConfig.cmake ${PROJECT_BINARY_DIR}/vdbConfigVersion.cmake
  DESTINATION ${VDB_CMAKE_DIR})

if(EXISTS ${PROJECT_SOURCE_DIR}/docs/man)
  install(DIRECTORY docs/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 FILES_MATCHING PATTERN "*.3")
endif()
