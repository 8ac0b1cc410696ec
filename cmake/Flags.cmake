# vdb_flags: how all code of this tree is compiled; the installed targets do not carry it.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)

add_library(vdb_flags INTERFACE)
target_compile_definitions(vdb_flags INTERFACE _GNU_SOURCE)
target_compile_options(vdb_flags INTERFACE
  $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Wshadow -Wconversion>
  # KVM's structs end in arrays: a header and its entries on the stack are one struct.
  $<$<COMPILE_LANG_AND_ID:C,Clang>:-Wno-gnu-variable-sized-type-not-at-end>
  $<$<AND:$<COMPILE_LANGUAGE:C>,$<BOOL:${VDB_WERROR}>>:-Werror>)

if(VDB_TEST_HOOKS)
  target_compile_definitions(vdb_flags INTERFACE VDB__TEST_HOOKS)
endif()
if(VDB_SANITIZE)
  target_compile_options(vdb_flags INTERFACE
    -fsanitize=${VDB_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(vdb_flags INTERFACE -fsanitize=${VDB_SANITIZE})
endif()
if(VDB_FUZZ)
  target_compile_options(vdb_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
