# What the library needs (liburing), and what only tests and examples use where it is there.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing>=2.3)

if(VDB_TESTS)
  pkg_check_modules(CHECK REQUIRED IMPORTED_TARGET check)
  pkg_check_modules(SECCOMP IMPORTED_TARGET libseccomp)
  pkg_check_modules(JSON_C IMPORTED_TARGET json-c)
endif()
