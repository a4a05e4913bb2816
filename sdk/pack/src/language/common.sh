# Programs for the build scripts of packs. A script compiles the files of $SOURCES and $RECIPE, and writes modules to $OUT and
# files of the pack's root to $OUT/root. $ROOT/usr has the libraries that pack.toml names.

mkdir -p "$WORK/bin" "$WORK/tmp" "$OUT"
# LLVM lowers setjmp to WebAssembly's exceptions. The sanitizer is off, because interpreters have undefined behaviour.
for language in cc c++; do
  cat >"$WORK/bin/wasm-$language" <<END
#!/bin/sh
exec "$ZIG" $language -target wasm32-wasi -mcpu=generic+exception_handling -fno-sanitize=undefined \\
  -mllvm -wasm-enable-sjlj -mllvm -wasm-use-legacy-eh=false -Wno-date-time \\
  -ffile-prefix-map="$WORK"=/usr/src/$LANGUAGE -ffile-prefix-map="$RECIPE"=/usr/src/$LANGUAGE "\$@"
END
done
for tool in ar ranlib; do
  printf '#!/bin/sh\nexec "%s" %s "$@"\n' "$ZIG" "$tool" >"$WORK/bin/wasm-$tool"
done
chmod +x "$WORK"/bin/*
cd "$WORK"
