# embed.cmake: puts files into the program.
#
# Every file that lies directly in engine/builtin/{nano,haiku,verse}/ is embedded under the name "FOLDER/FILE": dropping a file there is all it
# takes. What tells how a file was made (*.md, *.py, *.sh, *.awk, run*.json, journal*.jsonl, subfolders) stays outside the program. A folder
# that does not exist is simply empty.
#
# The bytes come in through the assembler's .incbin, inside top-level asm of one generated C file: it needs no further tool, works with gcc and
# clang on ELF and Mach-O, and megabytes cost nothing to compile.

set(embed_source ${CMAKE_CURRENT_LIST_DIR})
file(GLOB embed_paths CONFIGURE_DEPENDS RELATIVE ${embed_source} LIST_DIRECTORIES false
    ${embed_source}/nano/* ${embed_source}/haiku/* ${embed_source}/verse/*)
list(FILTER embed_paths EXCLUDE REGEX "\\.(md|py|sh|awk|pyc|tmp)$|/\\.|~$|/run[^/]*\\.json$|/journal[^/]*\\.jsonl$")
list(SORT embed_paths COMPARE STRING) # bytewise: builtin_find searches by halves

set(EMBED_BYTES "")
set(EMBED_ROWS "")
set(embed_inputs "")
set(embed_number 0)
foreach(path IN LISTS embed_paths)
    file(SIZE ${embed_source}/${path} embed_size)
    string(APPEND EMBED_BYTES "BYTES(builtin_bytes_${embed_number}, \"${embed_source}/${path}\", \"${embed_size}\")\n")
    string(APPEND EMBED_ROWS "    {\"${path}\", builtin_bytes_${embed_number}, ${embed_size}u},\n")
    list(APPEND embed_inputs ${embed_source}/${path})
    math(EXPR embed_number "${embed_number} + 1")
endforeach()
set(EMBED_COUNT ${embed_number})
# Sizes stand in the generated file: a changed input configures again, then compiles again.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${embed_inputs}")
configure_file(${embed_source}/files.c.in ${CMAKE_BINARY_DIR}/builtin_files.c @ONLY)
set_source_files_properties(${CMAKE_BINARY_DIR}/builtin_files.c PROPERTIES OBJECT_DEPENDS "${embed_inputs}")
target_sources(gm_builtin PRIVATE ${CMAKE_BINARY_DIR}/builtin_files.c)
