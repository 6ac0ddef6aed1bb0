# Flags per instruction set: the end of a file's name says which one it is compiled for. Such a file holds code that runs only after
# compute_init has seen the processor; everything else is compiled for the base line of the architecture. On another
# architecture, or with a compiler that lacks a flag, the file compiles to nothing (it guards itself by the macros of the set).
include(CheckCCompilerFlag)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
    check_c_compiler_flag(-mavx512bf16 GM_HAS_AVX512BF16_FLAG)
    check_c_compiler_flag(-mamx-bf16 GM_HAS_AMX_FLAG)
    function(kernel_flags ending)
        file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/engine/kernel/matmul_${ending}.c
            ${CMAKE_SOURCE_DIR}/engine/kernel/matmul_${ending}_*.c
            ${CMAKE_SOURCE_DIR}/engine/kernel/ops_${ending}.c ${CMAKE_SOURCE_DIR}/engine/kernel/attention_${ending}.c
            ${CMAKE_SOURCE_DIR}/engine/kernel/choose_${ending}.c)
        if(sources)
            set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "${ARGN}")
        endif()
    endfunction()
    set(avx512_flags -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512)
    kernel_flags(avx2 -mavx2 -mfma -mf16c)
    kernel_flags(avx512 ${avx512_flags})
    foreach(flag GM_HAS_AVX512BF16_FLAG GM_HAS_AMX_FLAG) # peak.c names its sets function by function
        if(${flag})
            set_property(SOURCE ${CMAKE_SOURCE_DIR}/engine/kernel/peak.c APPEND PROPERTY COMPILE_DEFINITIONS ${flag})
        endif()
    endforeach()
    if(GM_HAS_AVX512BF16_FLAG)
        kernel_flags(avx512bf16 ${avx512_flags} -mavx512bf16)
    endif()
    if(GM_HAS_AMX_FLAG)
        kernel_flags(amx ${avx512_flags} -mamx-tile -mamx-bf16)
    endif()
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$") # NEON is everywhere; bf16 instructions are not
    set(neonbf16_flags -march=armv8.2-a+bf16)
    check_c_compiler_flag(${neonbf16_flags} GM_HAS_NEONBF16_FLAG)
    if(GM_HAS_NEONBF16_FLAG)
        set_source_files_properties(${CMAKE_SOURCE_DIR}/engine/kernel/matmul_neonbf16.c PROPERTIES COMPILE_OPTIONS "${neonbf16_flags}")
        set_property(SOURCE ${CMAKE_SOURCE_DIR}/engine/kernel/peak.c APPEND PROPERTY COMPILE_DEFINITIONS GM_HAS_NEONBF16_FLAG)
    endif()
endif()
file(GLOB plain_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/engine/kernel/matmul_portable.c)
if(plain_sources)
    set_source_files_properties(${plain_sources} PROPERTIES COMPILE_OPTIONS "-O3")
endif()
