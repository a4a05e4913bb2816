# Unpacks the compiler, and wraps it so that the tools of later steps can call it by a single name.
mkdir -p "$TOOLS/bin"
python3 -m zipfile -e "$SOURCES/$ZIG_WHEEL" "$TOOLS"
chmod +x "$TOOLS/ziglang/zig"
# LLVM lowers setjmp to WebAssembly's exceptions. The sanitizer is off, because MRI has undefined behaviour.
cat >"$TOOLS/bin/wasm-cc" <<END
#!/bin/sh
exec "$TOOLS/ziglang/zig" cc -target wasm32-wasi -mcpu=generic+exception_handling -fno-sanitize=undefined \\
  -mllvm -wasm-enable-sjlj -mllvm -wasm-use-legacy-eh=false "\$@"
END
for tool in ar ranlib; do
  printf '#!/bin/sh\nexec "%s/ziglang/zig" %s "$@"\n' "$TOOLS" "$tool" >"$TOOLS/bin/wasm-$tool"
done
# The same with the sockets that step net builds.
include=$RECIPE/net/include
cat >"$TOOLS/bin/wasm-net-cc" <<END
#!/bin/sh
for argument in "\$@"; do
  case \$argument in -c | -E | -S | -M | -MM) exec wasm-cc -I"$include" "\$@" ;; esac
done
exec wasm-cc -I"$include" "\$@" -L"$PREFIX/lib" -lnet
END
chmod +x "$TOOLS"/bin/*
# The first call of the compiler builds the C library.
echo 'int main(void) { return 0; }' >"$WORK/first.c"
"$TOOLS/bin/wasm-cc" -O2 -c "$WORK/first.c" -o "$WORK/first.o"
