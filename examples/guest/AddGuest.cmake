# vdb_add_guest(NAME SOURCE...): NAME.bin in the current binary folder, a flat image at 1 MiB of these
# sources and the runtime beside this file. Compiled by commands of its own: no flag of the host's build
# (sanitizers, PIC, SSE) may find its way into a guest.
set(VDB_GUEST_DIR ${CMAKE_CURRENT_LIST_DIR})
set(VDB_GUEST_FLAGS -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -Wconversion
  -ffreestanding -mgeneral-regs-only -mcmodel=small -fno-pic -fno-stack-protector
  -fno-asynchronous-unwind-tables -fcf-protection=none -fno-strict-aliasing)
if(VDB_WERROR)
  list(APPEND VDB_GUEST_FLAGS -Werror)
endif()
set(VDB_GUEST_LINK -nostdlib -static -Wl,-T,${VDB_GUEST_DIR}/guest.ld -Wl,--build-id=none)

function(vdb_add_guest name)
  list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ REGEX "^[^/]")
  list(GET ARGN 0 first)
  cmake_path(GET first PARENT_PATH beside)
  file(GLOB headers CONFIGURE_DEPENDS ${VDB_GUEST_DIR}/*.h ${CMAKE_CURRENT_SOURCE_DIR}/*.h ${beside}/*.h)
  set(sources ${VDB_GUEST_DIR}/start.S ${VDB_GUEST_DIR}/memory.c ${ARGN})
  add_custom_command(
    OUTPUT ${name}.elf ${name}.bin
    COMMAND ${CMAKE_C_COMPILER} ${VDB_GUEST_FLAGS} -I${PROJECT_SOURCE_DIR}/include -I${VDB_GUEST_DIR}
      ${VDB_GUEST_LINK} -o ${name}.elf ${sources}
    COMMAND ${CMAKE_OBJCOPY} -O binary ${name}.elf ${name}.bin
    DEPENDS ${sources} ${headers} ${VDB_GUEST_DIR}/guest.ld ${PROJECT_SOURCE_DIR}/include/vdb/abi.h
      ${PROJECT_SOURCE_DIR}/include/vdb/guest.h
    COMMENT "Building guest ${name}"
    VERBATIM)
endfunction()

# vdb_add_pvh_guest(NAME SOURCE...): NAME.elf in the current binary folder, for `tinyvmm run --kernel`
# and every other VMM that starts ELF files by PVH; and the target NAME.
function(vdb_add_pvh_guest name)
  vdb_add_guest(${name} ${VDB_GUEST_DIR}/pvh.S ${ARGN})
  add_custom_target(${name} ALL DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/${name}.elf)
endfunction()

# vdb_embed_guest(TARGET NAME): the image NAME.bin becomes part of the program TARGET, between the
# symbols NAME and NAME_end.
function(vdb_embed_guest target name)
  set(file ${CMAKE_CURRENT_BINARY_DIR}/${name}.bin)
  configure_file(${VDB_GUEST_DIR}/embed.S.in ${name}.S @ONLY)
  set_source_files_properties(${CMAKE_CURRENT_BINARY_DIR}/${name}.S PROPERTIES OBJECT_DEPENDS ${file})
  target_sources(${target} PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/${name}.S)
endfunction()
