# vdb_add_tests(LABEL): every test_*.c of the current folder is one program and one test, LABEL/name.
#
# A test says in its first lines what it needs:
#   /* ENGINES */               run it twice, with VDB_TEST_ENGINE=uring and =epoll
#   /* WRAP: ioctl calloc */    link it with -Wl,--wrap= for each (the test defines __wrap_ioctl);
#                               may be said on several lines
#   /* GUEST: echo */           embed the image of kvm/guest/echo.c, as echo_guest and echo_guest_end
#   /* LABELS: tsan slow */     more ctest labels; `tsan` puts it into the TSan run
#   /* TIMEOUT: 300 */          seconds, instead of 120
set(VDB_TEST_HEAD_LINES 15)

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

function(vdb_add_test source label)
  get_filename_component(program ${source} NAME_WE)
  string(REGEX REPLACE "^test_" "" name ${program})
  set(program ${label}_${name})
  add_executable(${program} ${source})
  target_link_libraries(${program} PRIVATE vdb_test_support)

  vdb_test_says(${source} WRAP wraps)
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
  if(engines)
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
