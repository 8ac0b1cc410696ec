# vdb_add_tests(LABEL): every test_*.c of the current folder is one program and one test, LABEL/name.
#
# A test says in its first lines what it needs:
#   /* ENGINES */               run it twice, with VDB_TEST_ENGINE=uring and =epoll
#   /* WRAP: ioctl calloc */    link it with -Wl,--wrap= for each (the test defines __wrap_ioctl);
#                               may be said on several lines
#   /* FAULTS */                link it with the layer of faults, see tests/support/fault.h
#   /* GUEST: echo */           embed the image of kvm/guest/echo.c, as echo_guest and echo_guest_end
#   /* LABELS: tsan slow */     more ctest labels; `tsan` puts it into the TSan run
#   /* TIMEOUT: 300 */          seconds, instead of 120
#
# A START_TEST(g27_avail_jump) or (f5_a_failed_fsync) plays a case of a hostile guest or a failing host
# (docs/security.md): besides its program's it gets a line of its own, hostile/g27_avail_jump or
# faults/f5_a_failed_fsync, wherever it stands. Programs in hostile/ and faults/ hold nothing else and are
# run by their cases alone.
set(VDB_TEST_HEAD_LINES 15)
set(VDB_FAULT_WRAPS preadv2 pwritev2 fdatasync fallocate epoll_wait write
  io_uring_submit io_uring_submit_and_wait io_uring_submit_and_get_events
  io_uring_queue_init_params io_uring_register_buffers_update_tag)

# The words after `/* KEY:` in the head of a source; "" if it is not there. `/* KEY */` gives ON.
function(vdb_test_says source key out)
  file(STRINGS ${source} lines LIMIT_COUNT ${VDB_TEST_HEAD_LINES})
  set(words "")
  foreach(line IN LISTS lines)
    if(line MATCHES "^/\\* ${key}: *([^*]*[^* ]) *\\*/")
      string(REGEX REPLACE "[ ,]+" ";" more "${CMAKE_MATCH_1}")
      list(APPEND words ${more})
    elseif(line MATCHES "^/\\* ${key} \\*/")
      set(words ON)
    endif()
  endforeach()
  set(${out} "${words}" PARENT_SCOPE)
endfunction()

function(vdb_register name program labels timeout)
  add_test(NAME ${name} COMMAND ${program})
  set_tests_properties(${name} PROPERTIES
    LABELS "${labels}" TIMEOUT ${timeout} SKIP_RETURN_CODE 77)
  if(ARGN)
    set_tests_properties(${name} PROPERTIES ENVIRONMENT "${ARGN}")
  endif()
  # tests/lab runs these once more, on the lab's KVM.
  if(name MATCHES "^kvm/")
    set(slow -)
    if("slow" IN_LIST labels)
      set(slow slow)
    endif()
    set_property(GLOBAL APPEND PROPERTY VDB_KVM_TESTS
      "${name} ${slow} $<TARGET_FILE:${program}> ${ARGN}")
  endif()
endfunction()

# vdb_register_cases(PROGRAM SOURCE ENGINES LABELS TIMEOUT): a line for each case.
function(vdb_register_cases program source engines labels timeout)
  file(STRINGS ${source} starts REGEX "^START_TEST\\([gf][0-9]+_")
  foreach(start IN LISTS starts)
    string(REGEX REPLACE "^START_TEST\\((.*)\\).*" "\\1" case ${start})
    set(kind hostile)
    if(case MATCHES "^f")
      set(kind faults)
    endif()
    set(more "${kind};${labels}")
    list(REMOVE_ITEM more unit)
    if(NOT label MATCHES "^(hostile|faults)$")
      list(REMOVE_ITEM more tsan) # its program is there already
    endif()
    if(engines)
      foreach(engine uring epoll)
        vdb_register(${kind}/${case}/${engine} ${program} "${more}" ${timeout}
          VDB_TEST_ENGINE=${engine} VDB_TEST_CASE=${case})
      endforeach()
    else()
      vdb_register(${kind}/${case} ${program} "${more}" ${timeout} VDB_TEST_CASE=${case})
    endif()
  endforeach()
endfunction()

# Cases with real guests skip, and say so, where there is no /dev/kvm: there the lab runs their program, all of it,
# with the slow ones of tests/kvm.
function(vdb_list_for_lab program source name engines)
  file(STRINGS ${source} needs REGEX "kvm_fixture_need\\(|kvm_tests_run\\(")
  if(NOT needs)
    return()
  endif()
  if(engines)
    foreach(engine uring epoll)
      set_property(GLOBAL APPEND PROPERTY VDB_KVM_TESTS
        "${name}/${engine} slow $<TARGET_FILE:${program}> VDB_TEST_ENGINE=${engine}")
    endforeach()
  else()
    set_property(GLOBAL APPEND PROPERTY VDB_KVM_TESTS "${name} slow $<TARGET_FILE:${program}>")
  endif()
endfunction()

function(vdb_add_test source label)
  get_filename_component(program ${source} NAME_WE)
  string(REGEX REPLACE "^test_" "" name ${program})
  set(program ${label}_${name})
  add_executable(${program} ${source})
  target_link_libraries(${program} PRIVATE vdb_test_support)

  vdb_test_says(${source} WRAP wraps)
  vdb_test_says(${source} FAULTS faults)
  if(faults)
    list(APPEND wraps ${VDB_FAULT_WRAPS})
  endif()
  list(APPEND wraps _tcase_add_test srunner_ntests_failed) # see support/cases.c
  foreach(symbol IN LISTS wraps)
    target_link_options(${program} PRIVATE -Wl,--wrap=${symbol})
  endforeach()

  vdb_test_says(${source} GUEST guests)
  foreach(guest IN LISTS guests)
    vdb_embed_guest(${program} ${guest}_guest)
  endforeach()

  vdb_test_says(${source} LABELS more)
  vdb_test_says(${source} TIMEOUT timeout)
  if(NOT timeout)
    set(timeout 120)
  endif()
  vdb_test_says(${source} ENGINES engines)
  vdb_register_cases(${program} ${source} "${engines}" "${more}" ${timeout})
  if(label MATCHES "^(hostile|faults)$")
    # Its cases are all there is of it.
    vdb_list_for_lab(${program} ${source} ${label}/${name} "${engines}")
  elseif(engines)
    foreach(engine uring epoll)
      vdb_register(${label}/${name}/${engine} ${program} "${label};${more}" ${timeout}
        VDB_TEST_ENGINE=${engine})
    endforeach()
  else()
    vdb_register(${label}/${name} ${program} "${label};${more}" ${timeout})
  endif()
  # The head is read when CMake runs.
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
endfunction()

function(vdb_add_tests label)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${label}/test_*.c)
  foreach(source IN LISTS sources)
    vdb_add_test(${source} ${label})
  endforeach()
endfunction()
