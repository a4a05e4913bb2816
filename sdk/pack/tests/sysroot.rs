//! Builds libraries with the real toolchain, links side modules with them, and checks the modules.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use corundum_pack::mri::BuildProgress;
use corundum_pack::sysroot::{self, LIBRARIES, Sysroot};
use corundum_pack::toolchain::driver::{self, DriverPaths};
use corundum_pack::toolchain::{self, Toolchain};
use wasmparser::{Parser, Payload, TypeRef};

/// Returns the cache of this machine, which keeps the compiler and the libraries between runs.
fn cache() -> PathBuf {
    let base = env::var_os("CORUNDUM_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache/corundum")));
    base.unwrap_or_else(|| env::temp_dir().join("corundum"))
}

fn prepare(libraries: &[&str]) -> (Toolchain, Sysroot) {
    let mut show = |progress: BuildProgress| {
        println!("{}/{} {}", progress.done, progress.total, progress.activity);
    };
    let sysroot = sysroot::prepare(&cache(), libraries, &mut show);
    let sysroot = sysroot.unwrap_or_else(|error| panic!("{error}"));
    let toolchain = toolchain::install(&cache(), &mut |activity| println!("{activity}"));
    (toolchain.unwrap_or_else(|error| panic!("{error}")), sysroot)
}

/// An empty work directory of a guest.
struct BuildGuest {
    root: tempfile::TempDir,
    toolchain: Toolchain,
    sysroot: Sysroot,
}

impl BuildGuest {
    fn new(libraries: &[&str]) -> Self {
        let (toolchain, sysroot) = prepare(libraries);
        let home = cache().display().to_string();
        for entry in fs::read_dir(sysroot.directory().join("usr/lib")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let bytes = fs::read(&path).unwrap();
                let mut places = bytes.windows(home.len());
                let found = places.any(|place| place == home.as_bytes());
                assert!(!found, "{} names the cache", path.display());
            }
        }
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("app")).unwrap();
        fs::create_dir_all(root.path().join("ruby/include")).unwrap();
        Self {
            root,
            toolchain,
            sysroot,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("app").join(name)
    }

    /// Runs a command line, whose words are separated by spaces. Returns its messages if it fails.
    fn run(&self, line: &str, provided: Option<&Path>) -> Result<(), String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let ruby = self.root.path().join("ruby");
        let paths = DriverPaths {
            toolchain: self.toolchain.directory(),
            sysroot: Some(self.sysroot.directory()),
            ruby: &ruby,
            work: self.root.path(),
            current: "/app",
            provided,
        };
        let plan = driver::plan(&words, &paths).map_err(|error| error.to_string())?;
        for command in plan.commands {
            let output = Command::new(&command[0])
                .args(&command[1..])
                .env_clear()
                .current_dir(self.path(""))
                .output()
                .unwrap();
            if !output.status.success() {
                let text = String::from_utf8_lossy(&output.stderr);
                return Err(driver::guest_text(&text, &paths));
            }
        }
        Ok(())
    }

    /// Compiles and links a source, and returns the module.
    fn module(&self, name: &str, source: &str, options: &str) -> SideModule {
        fs::write(self.path(name), source).unwrap();
        let program = if name.ends_with(".c") { "cc" } else { "c++" };
        self.run(&format!("{program} -O2 -w -c -o x.o {name}"), None)
            .unwrap_or_else(|text| panic!("{text}"));
        self.run(&format!("{program} -shared -o x.so x.o {options}"), None)
            .unwrap_or_else(|text| panic!("{text}"));
        SideModule::read(&fs::read(self.path("x.so")).unwrap())
    }
}

/// Names that a side module imports and exports.
#[derive(Debug, Default)]
struct SideModule {
    functions: BTreeSet<String>,
    /// Memory, table, globals, tags and data.
    others: BTreeSet<String>,
    exports: BTreeSet<String>,
}

impl SideModule {
    fn read(bytes: &[u8]) -> Self {
        let mut module = Self::default();
        let mut starts_with_dylink = None;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.unwrap() {
                Payload::CustomSection(section) => {
                    starts_with_dylink.get_or_insert(section.name() == "dylink.0");
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.unwrap();
                        let name = format!("{}.{}", import.module, import.name);
                        let is_function =
                            matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                        if is_function {
                            module.functions.insert(name);
                        } else {
                            module.others.insert(name);
                        }
                    }
                }
                Payload::ExportSection(section) => {
                    let names = section.into_iter();
                    module
                        .exports
                        .extend(names.map(|export| export.unwrap().name.to_owned()));
                }
                _ => {}
            }
        }
        assert_eq!(starts_with_dylink, Some(true));
        module
    }

    /// Checks that the module imports no function of the archives, whose names have these starts.
    fn assert_contains(&self, starts: &[&str]) {
        for name in &self.functions {
            let own = name.strip_prefix("env.");
            let own = own.unwrap_or_else(|| panic!("{name}: not of env"));
            assert!(!starts.iter().any(|start| own.starts_with(start)), "{name}");
        }
        let data = |name: &&String| !name.starts_with("GOT.");
        let others: Vec<&str> = self
            .others
            .iter()
            .filter(data)
            .map(String::as_str)
            .collect();
        for other in others {
            let known = [
                "env.memory",
                "env.__indirect_function_table",
                "env.__stack_pointer",
                "env.__memory_base",
                "env.__table_base",
                "env.__cpp_exception",
            ];
            assert!(known.contains(&other), "{other}");
        }
        assert!(self.exports.contains("Init_x"), "{:?}", self.exports);
        assert!(self.exports.contains("__wasm_call_ctors"));
        assert!(!self.exports.contains("inflate"));
    }
}

const ZLIB: &str = "#include <zlib.h>
    int Init_x(z_stream *stream) { return inflateInit(stream) + inflate(stream, Z_FINISH); }";

#[test]
fn module_is_linked_with_zlib() {
    let guest = BuildGuest::new(&["zlib"]);
    let module = guest.module("x.c", ZLIB, "-L/usr/lib -Wl,-rpath,/usr/lib -lz -lm -lc");
    module.assert_contains(&["inflate", "crc32", "adler32", "zc"]);
    assert!(module.functions.contains("env.malloc"), "{module:?}");
}

#[test]
fn functions_and_libraries_that_do_not_exist_fail_the_link() {
    let guest = BuildGuest::new(&["zlib"]);
    fs::write(
        guest.path("conftest.c"),
        "int absent(void); int main(void) { return absent(); }",
    )
    .unwrap();
    let provided = guest.path("provided");
    fs::write(&provided, "present\n").unwrap();
    let text = guest
        .run("cc -o conftest conftest.c -lz", Some(&provided))
        .unwrap_err();
    assert!(
        text.contains("/app/conftest.0.o: undefined symbol: absent"),
        "{text}"
    );
    assert!(
        !text.contains(guest.root.path().to_str().unwrap()),
        "{text}"
    );
    fs::write(&provided, "absent\n").unwrap();
    guest
        .run("cc -o conftest conftest.c -lz", Some(&provided))
        .unwrap();
    let text = guest
        .run("cc -o conftest conftest.c -lxml2", Some(&provided))
        .unwrap_err();
    assert!(text.contains("unable to find library -lxml2"), "{text}");
}

#[test]
fn compiler_writes_nothing_into_the_toolchain() {
    let guest = BuildGuest::new(&["zlib"]);
    let times = |directory: &Path| -> Vec<_> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let mut times: Vec<_> = entries
            .map(|entry| {
                (
                    entry.file_name(),
                    entry.metadata().unwrap().modified().unwrap(),
                )
            })
            .collect();
        times.sort();
        times
    };
    let root = guest.toolchain.directory().to_owned();
    let all = || {
        [
            times(&root),
            times(&root.join("ziglang")),
            times(&root.join("ziglang/lib")),
            times(&root.join("lib")),
        ]
    };
    let before = all();
    guest.module("x.c", ZLIB, "-lz");
    assert_eq!(all(), before);
}

#[test]
fn module_is_linked_with_libxslt_and_what_it_needs() {
    let guest = BuildGuest::new(&["libxslt"]);
    let source = "#include <libxslt/xslt.h>
        #include <libexslt/exslt.h>
        int Init_x(void) { xsltInit(); exsltRegisterAll(); return xmlReadFile(\"/app/x\", 0, 0) != 0; }";
    fs::create_dir_all(guest.path("")).unwrap();
    fs::write(guest.path("x.c"), source).unwrap();
    guest
        .run("cc -O2 -w -I/usr/include/libxml2 -c -o x.o x.c", None)
        .unwrap_or_else(|text| panic!("{text}"));
    guest
        .run("cc -shared -o x.so x.o -lxslt -lexslt", None)
        .unwrap();
    let module = SideModule::read(&fs::read(guest.path("x.so")).unwrap());
    module.assert_contains(&["xml", "xslt", "exslt", "inflate", "html"]);
}

#[test]
#[ignore = "takes minutes; builds sqlite3"]
fn module_is_linked_with_sqlite() {
    let source = "#include <sqlite3.h>
        int Init_x(sqlite3 **db) { return sqlite3_open(\"/tmp/x\", db) + sqlite3_exec(*db, \"select 1\", 0, 0, 0); }";
    let module = BuildGuest::new(&["sqlite3"]).module("x.c", source, "-lsqlite3");
    module.assert_contains(&["sqlite3", "fts5"]);
    assert!(!module.functions.contains("env.dlopen"));
}

#[test]
#[ignore = "takes minutes; builds OpenSSL and libpq"]
fn module_is_linked_with_libpq_and_what_it_needs() {
    let source = "#include <libpq-fe.h>
        void *Init_x(void) { return PQexec(PQconnectdb(\"\"), \"select 1\"); }";
    let module = BuildGuest::new(&["libpq"]).module("x.c", source, "-lpq");
    module.assert_contains(&["PQ", "pg_", "SSL_", "EVP_", "X509_", "BIO_", "scram_"]);
}

#[test]
#[ignore = "takes minutes; builds OpenSSL and libmariadb"]
fn module_is_linked_with_libmariadb_and_what_it_needs() {
    let source = "#include <mariadb/mysql.h>
        int Init_x(MYSQL *db) { return mysql_real_connect(db, 0, 0, 0, 0, 0, 0, 0) ? mysql_query(db, \"select 1\") : 0; }";
    let module = BuildGuest::new(&["libmariadb"]).module("x.c", source, "-lmysqlclient");
    module.assert_contains(&["mysql_", "ma_", "SSL_", "EVP_", "inflate", "dl"]);
}

#[test]
#[ignore = "takes minutes; builds libyaml and PCRE2"]
fn modules_are_linked_with_small_libraries() {
    let guest = BuildGuest::new(&["yaml", "pcre2"]);
    let source = "#include <yaml.h>
        int Init_x(yaml_parser_t *parser) { return yaml_parser_initialize(parser); }";
    guest
        .module("x.c", source, "-lyaml")
        .assert_contains(&["yaml_"]);
    let source = "#define PCRE2_CODE_UNIT_WIDTH 8
        #include <pcre2.h>
        void *Init_x(void) { int error; size_t at; return pcre2_compile((PCRE2_SPTR)\"a+\", 2, 0, &error, &at, 0); }";
    guest
        .module("x.c", source, "-lpcre2-8")
        .assert_contains(&["pcre2_"]);
}

#[test]
#[ignore = "takes minutes; builds the library of C++"]
fn cplusplus_has_static_objects_containers_and_exceptions() {
    let source = r#"
        #include <map>
        #include <mutex>
        #include <stdexcept>
        #include <string>
        #include <vector>
        struct Numbers { std::map<std::string, int> names; Numbers() { names["one"] = 1; } };
        static Numbers table;
        static std::mutex mutex;
        extern "C" int Init_x(void) {
            std::lock_guard<std::mutex> lock(mutex);
            std::vector<int> values{1, 2, 3};
            try { return values.at(table.names["one"] + 5); }
            catch (const std::out_of_range &error) { return (int)std::string(error.what()).size(); }
        }"#;
    let module = BuildGuest::new(&["cxx"]).module("x.cc", source, "-lstdc++");
    // No function of C++ is left to the host.
    module.assert_contains(&[
        "_Z",
        "__cxa_throw",
        "__cxa_begin",
        "__cxa_alloc",
        "_Unwind",
        "__gxx",
    ]);
    assert!(module.others.contains("env.__cpp_exception"), "{module:?}");
    assert!(module.functions.contains("env.__cxa_atexit"), "{module:?}");
}

#[test]
fn documentation_lists_all_libraries() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/native-extensions.md")).unwrap();
    for library in LIBRARIES {
        let row = page.lines().find(|line| {
            line.starts_with(&format!(
                "| {} | {} | {}",
                library.name, library.version, library.licence
            ))
        });
        let row = row.unwrap_or_else(|| panic!("no row for {}", library.name));
        for name in library.packages {
            assert!(row.contains(&format!("`{name}`")), "{row}");
        }
    }
}
