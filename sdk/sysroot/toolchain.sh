# Unpacks the compiler, and compiles the functions that compiled code calls by itself, such as __multi3.
mkdir -p "$RESULT/lib"
python3 -m zipfile -e "$WHEEL" "$RESULT"
chmod +x "$RESULT/ziglang/zig"
rm -rf "$RESULT"/ziglang-*.dist-info "$RESULT"/ziglang/{README.md,lib/docs,lib/build-web}
cd "$RESULT/lib"
"$RESULT/ziglang/zig" build-lib -fPIC -target wasm32-wasi -mcpu generic+exception_handling -O ReleaseFast \
  -fstrip --name compiler_rt "$RESULT/ziglang/lib/compiler_rt.zig"
# Files must be on disk before the directory gets its name.
sync -f "$RESULT"
