# Builds the C library of sockets, and adds it to the compiler's wrapper for the steps that follow. The functions for
# addresses as text are musl's, which the compiler's package contains and wasi-libc leaves out or compiles for itself.
mkdir -p "$WORK/net"
cd "$WORK/net"
include=$RECIPE/net/include
for file in "$RECIPE"/net/*.c "$TOOLS"/ziglang/lib/libc/musl/src/network/inet_{pton,ntop,aton}.c; do
  wasm-cc -O2 -I"$include" '-Dweak_alias(old,new)=extern __typeof(old) new __attribute__((weak, alias(#old)))' -c "$file"
done
mkdir -p "$PREFIX/lib"
wasm-ar rcs "$PREFIX/lib/libnet.a" ./*.o
cat >"$TOOLS/bin/wasm-net-cc" <<END
#!/bin/sh
for argument in "\$@"; do
  case \$argument in -c | -E | -S | -M | -MM) exec wasm-cc -I"$include" "\$@" ;; esac
done
exec wasm-cc -I"$include" "\$@" -L"$PREFIX/lib" -lnet
END
chmod +x "$TOOLS/bin/wasm-net-cc"
