# Without threads, and without HTTP and FTP, by which a document could fetch others.
source_tree
version_number=$(echo "$VERSION" | awk -F. '{ print $1 * 10000 + $2 * 100 + $3 }')
# Definitions that the script `configure` would generate.
for feature in TREE OUTPUT PUSH READER PATTERN WRITER SAX1 VALID HTML C14N CATALOG XPATH XPTR XINCLUDE ICONV ISO8859X DEBUG REGEXPS \
  SCHEMAS SCHEMATRON ZLIB; do
  on+=(-e "s/@WITH_$feature@/1/")
done
sed "${on[@]}" -e 's/@WITH_[A-Z_0-9]*@/0/' -e "s/@VERSION@/$VERSION/" -e "s/@LIBXML_VERSION_NUMBER@/$version_number/" \
  -e 's/@LIBXML_VERSION_EXTRA@//' -e 's/@MODULE_EXTENSION@/.so/' include/libxml/xmlversion.h.in >include/libxml/xmlversion.h
{
  for header in ARPA_INET CTYPE ERRNO FCNTL FLOAT INTTYPES LIMITS MALLOC MATH NETDB NETINET_IN POLL SIGNAL STDARG STDINT STDLIB \
    STRINGS STRING SYS_SELECT SYS_SOCKET SYS_STAT SYS_TIME SYS_TYPES TIME UNISTD ZLIB; do
    echo "#define HAVE_${header}_H 1"
  done
  for function in FPRINTF GETTIMEOFDAY ISASCII LOCALTIME PRINTF PUTENV RAND RAND_R SNPRINTF SPRINTF SRAND SSCANF STAT STRFTIME TIME \
    VFPRINTF VSNPRINTF VSPRINTF VA_COPY; do
    echo "#define HAVE_$function 1"
  done
  echo '#define ICONV_CONST'
  echo '#define STDC_HEADERS 1'
  echo '#define XML_SOCKLEN_T socklen_t'
  echo "#define VERSION \"$VERSION\""
} >config.h
archive xml2 -DHAVE_CONFIG_H -I. -Iinclude -I"$ROOT/usr/include" $POSIX -- SAX.c entities.c encoding.c error.c parserInternals.c parser.c tree.c \
  hash.c list.c xmlIO.c xmlmemory.c uri.c valid.c xlink.c HTMLparser.c HTMLtree.c debugXML.c xpath.c xpointer.c xinclude.c catalog.c \
  globals.c threads.c c14n.c xmlstring.c buf.c xmlregexp.c xmlschemas.c xmlschemastypes.c xmlunicode.c xmlreader.c relaxng.c dict.c \
  SAX2.c xmlwriter.c legacy.c chvalid.c pattern.c xmlsave.c xmlmodule.c schematron.c
mkdir -p "$PREFIX/usr/include/libxml2/libxml"
cp include/libxml/*.h "$PREFIX/usr/include/libxml2/libxml/"
package libxml-2.0 'libXML library version 2' -lxml2 'Libs.private: -lz -lm' 'Requires.private: zlib' 'Cflags: -I${includedir}/libxml2'
licence Copyright
