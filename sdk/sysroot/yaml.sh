# The archive lacks the script `configure`, so these are the definitions that it would generate.
source_tree
archive yaml -Iinclude -DYAML_VERSION_MAJOR=0 -DYAML_VERSION_MINOR=2 -DYAML_VERSION_PATCH=5 "-DYAML_VERSION_STRING=\"$VERSION\"" \
  $POSIX -- src/*.c
cp include/yaml.h "$PREFIX/usr/include/"
package yaml-0.1 'Library to parse and emit YAML' -lyaml 'Cflags: -I${includedir}'
licence License
