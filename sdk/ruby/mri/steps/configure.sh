mkdir -p "$WORK/build"
cd "$WORK/build"
# The other extensions need processes, a terminal or a dynamic linker.
extensions=bigdecimal,cgi/escape,coverage,date,digest,digest/bubblebabble,digest/md5,digest/rmd160,digest/sha1,digest/sha2
extensions=$extensions,erb/escape,etc,fcntl,io/console,io/nonblock,io/wait,json,json/generator,json/parser,monitor,nkf
extensions=$extensions,objspace,openssl,pathname,psych,rbconfig/sizeof,ripper,stringio,socket,strscan,zlib$(cat "$WORK/extensions")
# This Clang's __builtin_choose_expr does not support the macro Data_Wrap_Struct, which older gems use.
# wasi-libc lacks crypt, and MRI's own is better than the one of the gem bcrypt, which has the same answer for most salts.
# getaddrinfo waits as Ruby does (see net/names.c), so MRI calls it directly, and without threads of the system.
# The collector keeps more slots free than by default, so that it runs a third as often; a new dyno has few pages, each of which it would
# sweep every 4,000 objects. The goals are compiled in, because MRI reads the variables RUBY_GC_* before an app's environment exists.
goals="-DGC_HEAP_FREE_SLOTS=16384 -DGC_HEAP_FREE_SLOTS_MIN_RATIO=0.40 -DGC_HEAP_FREE_SLOTS_GOAL_RATIO=0.60 -DGC_HEAP_FREE_SLOTS_MAX_RATIO=0.80"
# The compiler has headers of Linux whose functions a dyno lacks.
# `true` replaces Binaryen, whose Asyncify pass this build does not need.
WASI_SDK_PATH=none WASMOPT=true \
  CC=wasm-net-cc LD=wasm-net-cc AR=wasm-ar RANLIB=wasm-ranlib \
  optflags=-O3 debugflags=-g0 warnflags=-w CPPFLAGS="-DRB_WASM_EXCEPTIONS -DGETADDRINFO_IMPL=0 -DFAST_FALLBACK_INIT_INETSOCK_IMPL=0 $goals" XCFLAGS=-DRB_WASM_EXCEPTIONS \
  LDFLAGS="-Wl,-z,stack-size=$STACK_SIZE -L$PREFIX/lib" LIBS=-lposix \
  ac_cv_func__setjmp=no ac_cv_func_sigsetjmp=no ac_cv_func___builtin_setjmp=no ac_cv_func__setjmpex=no \
  ac_cv_header_sys_epoll_h=no ac_cv_header_sys_eventfd_h=no ac_cv_header_sys_prctl_h=no ac_cv_header_sys_sendfile_h=no \
  ac_cv_func_crypt=no ac_cv_func_crypt_r=no ac_cv_lib_crypt_crypt=no ac_cv_func_flock=yes rb_cv_builtin___builtin_choose_expr_constant_p=no \
  ../source/configure --host=wasm32-unknown-wasi --prefix=/usr --with-baseruby="$(command -v ruby)" \
  --with-static-linked-ext --with-ext="$extensions" --with-setjmp-type=setjmp --with-opt-dir="$PREFIX" \
  --disable-close-fds-by-recvmsg-with-peek \
  --disable-install-doc --disable-dtrace --disable-yjit --disable-rjit
# Not before: the checks for functions must not see declarations of them.
cat "$RECIPE/posix/posix.h" >>"$(echo .ext/include/*/ruby/config.h)"
