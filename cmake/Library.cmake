# libvdb.so and libvdb.a, from objects compiled once. Architecture differs by file.
file(GLOB VDB_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/lib/*/*.c)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  file(GLOB VDB_ARCH_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/lib/arch/x86_64/*.c)
endif()

set(VDB_PRIVATE_LIBRARIES PkgConfig::URING Threads::Threads)
set(VDB_PC_SECCOMP "") # for vdb.pc
if(SECCOMP_FOUND)
  list(FILTER VDB_SOURCES EXCLUDE REGEX "/sandbox/filter_absent\\.c$")
  list(APPEND VDB_PRIVATE_LIBRARIES PkgConfig::SECCOMP)
  set(VDB_PC_SECCOMP ", libseccomp >= 2.5")
else()
  list(FILTER VDB_SOURCES EXCLUDE REGEX "/sandbox/filter\\.c$")
endif()

add_library(vdb_objects OBJECT ${VDB_SOURCES} ${VDB_ARCH_SOURCES})
set_target_properties(vdb_objects PROPERTIES
  POSITION_INDEPENDENT_CODE ON
  C_VISIBILITY_PRESET hidden)
target_include_directories(vdb_objects PRIVATE
  ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/lib)
target_link_libraries(vdb_objects PRIVATE vdb_flags ${VDB_PRIVATE_LIBRARIES})

set(VDB_MAP ${PROJECT_SOURCE_DIR}/lib/vdb.map)
add_library(vdb SHARED $<TARGET_OBJECTS:vdb_objects>)
set_target_properties(vdb PROPERTIES
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}
  LINK_DEPENDS ${VDB_MAP})
target_link_options(vdb PRIVATE -Wl,--version-script=${VDB_MAP})
target_link_libraries(vdb PRIVATE $<BUILD_INTERFACE:vdb_flags> ${VDB_PRIVATE_LIBRARIES})
# clang leaves the sanitizers' run time to the program, so there the library cannot be complete.
if(VDB_STRICT_LINK AND NOT (VDB_SANITIZE AND CMAKE_C_COMPILER_ID MATCHES "Clang"))
  target_link_options(vdb PRIVATE -Wl,--no-undefined)
endif()

add_library(vdb_static STATIC $<TARGET_OBJECTS:vdb_objects>)
set_target_properties(vdb_static PROPERTIES OUTPUT_NAME vdb)
target_link_libraries(vdb_static PUBLIC ${VDB_PRIVATE_LIBRARIES})

# The names are the same inside the tree as for those who find_package(vdb).
foreach(lib vdb vdb_static)
  target_include_directories(${lib} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
  set_target_properties(${lib} PROPERTIES LINKER_LANGUAGE C)
  add_library(vdb::${lib} ALIAS ${lib})
endforeach()
