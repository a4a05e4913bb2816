# Builds the C library of sockets, with which wasm-net-cc links. The functions for addresses as text are musl's, which the
# compiler's package contains and wasi-libc leaves out or compiles for itself.
mkdir -p "$WORK/net"
cd "$WORK/net"
for file in "$RECIPE"/net/*.c "$TOOLS"/ziglang/lib/libc/musl/src/network/inet_{pton,ntop,aton}.c; do
  wasm-cc -O2 -I"$RECIPE/net/include" '-Dweak_alias(old,new)=extern __typeof(old) new __attribute__((weak, alias(#old)))' -c "$file"
done
mkdir -p "$PREFIX/lib"
wasm-ar rcs "$PREFIX/lib/libnet.a" ./*.o
