# What the library needs (liburing), what it takes where it is there (libseccomp, for filters of system calls),
# and what only tests and examples use.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing>=2.3)
option(VDB_SECCOMP "Filters of system calls, by libseccomp" ON)
if(VDB_SECCOMP)
  pkg_check_modules(SECCOMP IMPORTED_TARGET libseccomp>=2.5)
endif()
if(NOT SECCOMP_FOUND)
  message(STATUS "Without libseccomp (libseccomp-dev): sandboxes filter no system calls")
endif()

if(VDB_TESTS)
  pkg_check_modules(CHECK REQUIRED IMPORTED_TARGET check)
  pkg_check_modules(JSON_C IMPORTED_TARGET json-c)
endif()
