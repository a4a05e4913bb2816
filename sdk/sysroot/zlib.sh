source_tree
sed -i 's/^#ifdef HAVE_UNISTD_H .*/#if 1/' zconf.h
archive z -O3 $POSIX -- *.c
cp zlib.h zconf.h "$PREFIX/usr/include/"
package zlib 'zlib compression library' -lz
licence LICENSE
