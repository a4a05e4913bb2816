# The library of C++ with exceptions of WebAssembly, from the sources that the toolchain contains. std::thread cannot start a
# thread; mutexes and the like work.
lib=$TOOLCHAIN/ziglang/lib
include=$PREFIX/usr/include/c++/v1
mkdir -p "$include"
cp -R "$lib"/libcxx/include/. "$include/"
cp "$lib"/libcxxabi/include/*.h "$lib"/libunwind/include/*.h "$include/"
# The toolchain's own driver passes these definitions as options.
grep -rl 'zig patch: instead of including __config_site' "$include" |
  xargs sed -i 's|^/\* zig patch: instead of including __config_site.*|#include <__config_site>|'
cat >"$include/__config_site" <<'END'
#ifndef _LIBCPP___CONFIG_SITE
#define _LIBCPP___CONFIG_SITE
#define _LIBCPP_ABI_VERSION 1
#define _LIBCPP_ABI_NAMESPACE __1
#define _LIBCPP_ABI_FORCE_ITANIUM 0
#define _LIBCPP_ABI_FORCE_MICROSOFT 0
#define _LIBCPP_HAS_THREADS 1
#define _LIBCPP_HAS_THREAD_API_PTHREAD 1
#define _LIBCPP_HAS_THREAD_API_EXTERNAL 0
#define _LIBCPP_HAS_THREAD_API_WIN32 0
#define _LIBCPP_HAS_THREAD_API_C11 0
#define _LIBCPP_HAS_MONOTONIC_CLOCK 1
#define _LIBCPP_HAS_TERMINAL 1
#define _LIBCPP_HAS_MUSL_LIBC 1
#define _LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS 0
#define _LIBCPP_HAS_FILESYSTEM 1
#define _LIBCPP_HAS_RANDOM_DEVICE 1
#define _LIBCPP_HAS_LOCALIZATION 1
#define _LIBCPP_HAS_UNICODE 1
#define _LIBCPP_HAS_WIDE_CHARACTERS 1
#define _LIBCPP_HAS_TIME_ZONE_DATABASE 0
#define _LIBCPP_DISABLE_VISIBILITY_ANNOTATIONS
#define _LIBCXXABI_DISABLE_VISIBILITY_ANNOTATIONS
#define _LIBCPP_HAS_LIBRARY_ALIGNED_ALLOCATION 1
#define _LIBCPP_INSTRUMENTED_WITH_ASAN 0
#define _LIBCPP_PSTL_BACKEND_SERIAL
#define _LIBCPP_HARDENING_MODE_DEFAULT _LIBCPP_HARDENING_MODE_NONE
#define _LIBCPP_ASSERTION_SEMANTIC_DEFAULT _LIBCPP_ASSERTION_SEMANTIC_IGNORE
#define _LIBCPP_LIBC_PICOLIBC 0
#define _LIBCPP_LIBC_NEWLIB 0
#endif
END
flags=(-fwasm-exceptions -fvisibility-global-new-delete=force-hidden -DNDEBUG -fno-strict-aliasing -nostdinc++ -I"$include" -D_LIBCPP_BUILDING_LIBRARY -D_LIBCXXABI_BUILDING_LIBRARY -D_LIBCXXABI_DISABLE_VISIBILITY_ANNOTATIONS
  -DLIBCXX_BUILDING_LIBCXXABI -D_GNU_SOURCE -funwind-tables)
cd "$lib/libunwind"
archive unwind "${flags[@]}" -Iinclude -Isrc -D_LIBUNWIND_HIDE_SYMBOLS -D_LIBUNWIND_HAS_NO_THREADS -D_LIBUNWIND_IS_NATIVE_ONLY -- src/Unwind-wasm.c
cd "$lib/libcxxabi"
shopt -s extglob
archive c++abi "${flags[@]}" -std=c++23 -Iinclude -I../libunwind/include -I../libcxx/src -- src/!(cxa_noexception|cxa_thread_atexit).cpp
cp -R "$lib/libcxx" "$WORK/source"
cd "$WORK/source"
# WASI lacks copy_file_range, although its C library is musl.
sed -i 's/ || _LIBCPP_HAS_MUSL_LIBC//' src/filesystem/operations.cpp
archive c++ "${flags[@]}" -std=c++23 -Isrc -I"$lib/libcxxabi/include" -Ilibc -- src/*.cpp src/filesystem/*.cpp src/ryu/*.cpp
licence "$lib"/libcxx/LICENSE.TXT
