# For texts of bytes, UTF-8 included. A dyno cannot write machine code, so that there is no compiler of expressions.
source_tree
cp src/config.h.generic src/config.h
cp src/pcre2.h.generic src/pcre2.h
cp src/pcre2_chartables.c.dist src/pcre2_chartables.c
sources=()
for part in auto_possess chartables chkdint compile compile_cgroup compile_class config context convert dfa_match error extuni find_bracket \
  jit_compile maketables match match_data match_next newline ord2utf pattern_info script_run serialize string_utils study substitute \
  substring tables ucd valid_utf xclass; do
  [ ! -f "src/pcre2_$part.c" ] || sources+=("src/pcre2_$part.c")
done
archive pcre2-8 -DHAVE_CONFIG_H -DPCRE2_CODE_UNIT_WIDTH=8 -DPCRE2_STATIC -DSUPPORT_PCRE2_8 -DSUPPORT_UNICODE -DHAVE_MEMMOVE -Isrc $POSIX \
  -- "${sources[@]}"
archive pcre2-posix -DHAVE_CONFIG_H -DPCRE2_CODE_UNIT_WIDTH=8 -DPCRE2_STATIC -Isrc $POSIX -- src/pcre2posix.c
cp src/pcre2.h src/pcre2posix.h "$PREFIX/usr/include/"
package libpcre2-8 'Regular expressions in the manner of Perl' -lpcre2-8 'Cflags: -I${includedir} -DPCRE2_STATIC'
package libpcre2-posix 'Regular expressions by the functions of POSIX' -lpcre2-posix 'Requires: libpcre2-8' 'Cflags: -I${includedir}'
licence LICENCE.md
