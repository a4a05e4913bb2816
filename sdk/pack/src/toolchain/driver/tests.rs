use super::*;

/// Plans a command line, whose words are separated by spaces.
fn planned(line: &str) -> Result<CommandPlan, DriverError> {
    planned_with(line, None)
}

fn planned_with(line: &str, provided: Option<&str>) -> Result<CommandPlan, DriverError> {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let paths = DriverPaths {
        toolchain: Path::new("/T"),
        sysroot: Some(Path::new("/S")),
        ruby: Path::new("/R"),
        work: Path::new("/W"),
        current: "/app/ext",
        provided: provided.map(Path::new),
    };
    plan(&words, &paths)
}

/// Returns the commands as text.
fn commands(line: &str) -> Vec<String> {
    let plan = planned(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let text = |command: Vec<OsString>| {
        let words = command.iter().map(|word| word.to_str().unwrap());
        words.collect::<Vec<_>>().join(" ")
    };
    plan.commands.into_iter().map(text).collect()
}

/// Returns the only command as text.
fn command(line: &str) -> String {
    let mut all = commands(line);
    assert_eq!(all.len(), 1, "{line}");
    all.remove(0)
}

/// Returns the words of a compilation between the flags of all code and the directories of the system.
fn options(line: &str) -> String {
    let text = command(line);
    let fixed = format!("{} {DECLSPEC}", COMPILE_FLAGS.join(" "));
    let (_, rest) = text.split_once(&fixed).unwrap();
    let (own, _) = rest.split_once("-ffile-prefix-map").unwrap();
    own.trim().to_owned()
}

use super::super::COMPILE_FLAGS;
use super::compile::DECLSPEC;

fn refusal(line: &str) -> String {
    match planned(line) {
        Ok(plan) => panic!("{line}: {plan:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn compilation_of_mkmf_becomes_one_command() {
    let text = command(
        "cc -I. -I/usr/include/ruby-3.3.0/wasm32-wasi -I/usr/include/ruby-3.3.0 -DHAVE_X=1 -fPIC -O3 -w -c foo.c",
    );
    assert!(
        text.starts_with("/T/ziglang/zig clang --target=wasm32-wasip1 "),
        "{text}"
    );
    for part in [
        " -I /W/app/ext ",
        " -I /R/include/ruby-3.3.0/wasm32-wasi -I /S/usr/include/ruby-3.3.0/wasm32-wasi ",
        " -DHAVE_X=1 -O3 -w ",
        " -ffile-prefix-map=/W= ",
        " -ffile-prefix-map=/R=/usr ",
        " -c -o /W/app/ext/foo.o ",
        " -isystem /R/include -isystem /S/usr/include -isystem /T/ziglang/lib/include ",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.ends_with(" -x c /W/app/ext/foo.c"), "{text}");
}

#[test]
fn cplusplus_has_exceptions_and_its_headers_first() {
    let text = command("c++ -std=c++17 -o ../obj/foo.o -c foo.cc");
    assert!(text.contains(" -fwasm-exceptions "), "{text}");
    assert!(text.contains(" -o /W/app/obj/foo.o -isystem /S/usr/include/c++/v1 "));
    assert!(text.ends_with(" -x c++ /W/app/ext/foo.cc"));
    assert!(command("cc -c foo.cpp").contains("-fwasm-exceptions"));
    assert!(command("g++ -c foo.c").ends_with("-x c++ /W/app/ext/foo.c"));
    assert!(!command("cc -c foo.c").contains("-fwasm-exceptions"));
    assert!(is_cplusplus("ext/x.cc") && is_cplusplus("x.cpp") && !is_cplusplus("cpp/x.c"));
    assert!(command("c++ -c foo.S").ends_with("-x assembler-with-cpp /W/app/ext/foo.S"));
}

#[test]
fn options_that_mean_nothing_are_dropped() {
    for option in [
        "-march=native",
        "-mtune=generic",
        "-msse4.2",
        "-mavx2",
        "-m64",
        "-pthread",
        "-rdynamic",
        "-pipe",
        "-g",
        "-g3",
        "-ggdb",
        "-gdwarf-4",
        "-fPIC",
        "-fstack-protector-strong",
        "-fstack-protector",
        "-fstack-clash-protection",
        "-fcf-protection",
        "-fopenmp",
        "-flto=auto",
        "-D_FORTIFY_SOURCE=2",
        "-Wp,-D_FORTIFY_SOURCE=2",
        "-Wa,--noexecstack",
        "-Wl,-z,relro",
        "-Wl,-rpath,/usr/lib",
        "-fno-plt",
        "-fsanitize=address",
        "--param=ssp-buffer-size=4",
        "-ftree-slp-vectorize",
        "-fdebug-prefix-map=/build=.",
        "-MD",
        "-MMD",
        "-MP",
        "-static-libgcc",
    ] {
        assert_eq!(options(&format!("cc {option} -c foo.c")), "", "{option}");
    }
    for options_with_value in [
        "--param x=4",
        "-MF foo.d",
        "-MT foo.o",
        "-Xlinker --as-needed",
        "-z now",
    ] {
        assert_eq!(options(&format!("cc {options_with_value} -c foo.c")), "");
    }
}

#[test]
fn options_about_code_pass() {
    for option in [
        "-O",
        "-O0",
        "-O3",
        "-Os",
        "-Ofast",
        "-Wall",
        "-Wno-error=format",
        "-Werror",
        "-Wformat=2",
        "-w",
        "-std=gnu11",
        "-std=c++20",
        "-fvisibility=hidden",
        "-fno-strict-aliasing",
        "-fwrapv",
        "-funroll-loops",
        "-ffast-math",
        "-fno-exceptions",
        "-fno-rtti",
        "-ffp-contract=off",
        "-ftemplate-depth=2000",
        "-ansi",
        "-pedantic",
    ] {
        assert_eq!(options(&format!("cc {option} -c foo.c")), option);
    }
    assert_eq!(options("cc -DA -D B=1 -UC -c foo.c"), "-DA -DB=1 -UC");
}

#[test]
fn options_that_load_code_or_files_are_refused_by_name() {
    for option in [
        "-fplugin=/tmp/x.so",
        "-fplugin-arg-x-y=1",
        "-fpass-plugin=x.so",
        "-fpass-plugin=/app/x.so",
        "-Xclang",
        "-mllvm",
        "-B/tmp",
        "-B",
        "-wrapper",
        "-specs=/tmp/x",
        "--specs=x",
        "-fuse-ld=/tmp/ld",
        "--ld-path=/tmp/ld",
        "--sysroot=/",
        "-isysroot",
        "-target",
        "--target=x86_64-linux",
        "-resource-dir=/tmp",
        "-nostdinc",
        "-nostdlib",
        "--config=/tmp/x",
        "--config",
        "-Xpreprocessor",
        "-Xassembler",
        "-Xarch_host",
        "-Wa,-a=/tmp/x",
        "-Wp,-MD,/tmp/x",
        "-Wl,-plugin=/tmp/x",
        "-Wl,--plugin,x",
        "-Wl,@x",
        "-Wl,-Map=/etc/x",
        "-Wl,--mllvm=-x",
        "-Wl,-mllvm",
        "-Wl,--wrap=open",
        "-Wl,--export-all",
        "-Wl,--import-memory",
        "-Wl,-o/etc/x",
        "-fprofile-use=/etc/x",
        "-fprofile-generate=/tmp",
        "-fmodules",
        "-fmodule-map-file=x",
        "-fmodules-cache-path=/tmp",
        "-save-temps",
        "-fdump-tree-all",
        "-ftime-trace=/etc/x",
        "-fcrash-diagnostics-dir=/etc",
        "-fdebug-compilation-dir=/",
        "-fsanitize-ignorelist=/etc/x",
        "-fdiagnostics-format=x",
        "-serialize-diagnostics",
        "--serialize-diagnostics",
        "-working-directory=/",
        "-ivfsoverlay",
        "-include-pch",
        "-imultilib",
        "-iwithprefix",
        "-iprefix",
        "-F/tmp",
        "-iframework",
        "-emit-llvm",
        "-cc1",
        "-cc1as",
        "-###",
        "-print-prog-name=ld",
        "-mexec-model=command",
        "-matomics",
        "-mtail-call",
        "-fsplit-stack",
        "-fpack-struct",
        "-fshort-enums",
        "-T",
        "-Tx.ld",
        "-u",
        "-e",
        "-r",
        "-MJx",
        "-dependency-file",
        "-fopenmp-x=/",
        "--analyze",
        "-fembed-offload-object=/etc/x",
        "-fthinlto-index=/etc/x",
        "-fbasic-block-sections=list=/etc/x",
        "-fxray-instrument",
        "--undefined-option",
        "-frandomize-layout-seed-file=/etc/x",
        "-fcoverage-mapping",
        "--coverage",
        "-ffile-compilation-dir=/",
        "-Ofoo",
        "-fvisibility=/etc/x",
        "-std=/etc/x",
        "-Wsomething=/etc/passwd",
        "-dumpdir",
        "-foffload=x",
        "-fbuild-session-file=/etc/x",
    ] {
        let line = format!("cc {option} -c foo.c");
        match option {
            // Dropped: the compiler does not see them.
            "-fopenmp-x=/" => assert_eq!(options(&line), ""),
            _ => {
                let text = refusal(&line);
                assert!(
                    text.contains(option.split([',', '@']).next().unwrap()),
                    "{option}: {text}"
                );
            }
        }
    }
    for line in [
        "cc @/etc/passwd -c foo.c",
        "ar rcs x.a @list",
        "cc -c @x foo.c",
        "c++ -c -x assembler foo.s",
        "cc -c foo.s",
    ] {
        refusal(line);
    }
}

#[test]
fn paths_outside_of_the_builds_directories_are_refused() {
    for line in [
        "cc -I/etc -c foo.c",
        "cc -I /etc -c foo.c",
        "cc -I../../../etc -c foo.c",
        "cc -isystem /opt/x -c foo.c",
        "cc -include /etc/passwd -c foo.c",
        "cc -imacros /etc/passwd -c foo.c",
        "cc -iquote / -c foo.c",
        "cc -idirafter /root -c foo.c",
        "cc -c /etc/passwd.c",
        "cc -c ../../../x.c",
        "cc -c ../../x.c",
        "cc -o /etc/x -c foo.c",
        "cc -o/usr/lib/x.o -c foo.c",
        "cc -o ../../../../x -c foo.c",
        "cc -o /apps/x -c foo.c",
        "cc -o /app/../etc/x -c foo.c",
        "cc -L/etc -o x.so a.o",
        "cc -shared -o x.so /lib/x.o",
        "cc -shared -o x.so ../../../x.a",
        "ar rcs /usr/lib/x.a a.o",
        "ar rcs x.a /etc/a.o",
        "ranlib /usr/lib/x.a",
        "cc -I/T -c foo.c",
        "cc -I/W/app -c foo.c",
        "cc -I/usrx -c foo.c",
        "cc -o /dev/sda -c foo.c",
        "cc -o x/ -c foo.c",
        "cc -c fo\no.c",
    ] {
        let error = planned(line).unwrap_err();
        assert!(
            matches!(error, DriverError::Path(_) | DriverError::Output(_)),
            "{line}: {error:?}"
        );
    }
    assert!(refusal("cc -I/etc -c foo.c").starts_with("/etc: not below /usr, /app or /tmp"));
}

#[test]
fn paths_of_the_guest_are_mapped() {
    assert_eq!(
        options("cc -include ../x.h -imacros ./y.h -c a.c"),
        "-include /W/app/x.h -imacros /W/app/ext/y.h"
    );
    assert_eq!(
        options(
            "cc -I/usr/include -I.. -I/tmp/x -isystem /app/vendor -include extconf.h -include /usr/include/ruby-3.3.0/ruby.h -iquote /usr -c a.c"
        ),
        "-I /R/include -I /S/usr/include -I /W/app -I /W/tmp/x -isystem /W/app/vendor -include extconf.h \
         -include /R/include/ruby-3.3.0/ruby.h -iquote /R/ -iquote /S/usr/"
    );
    assert_eq!(
        options("cc -include /usr/include/zlib.h -c a.c"),
        "-include /S/usr/include/zlib.h"
    );
}

#[test]
fn side_module_is_linked_with_libraries_of_the_sysroot() {
    assert_eq!(
        command(
            "cc -shared -o ../lib/nokogiri.so a.o b.o -L. -L/usr/lib -Wl,-rpath,/usr/lib -Wl,--as-needed -lxml2 -lm -lc -lruby-static"
        ),
        "/T/ziglang/zig wasm-ld --experimental-pic -shared -Bstatic -Bsymbolic --no-entry --no-export-dynamic --gc-sections --strip-debug \
         --export-if-defined=Init_nokogiri --export-if-defined=__wasm_call_ctors --export-if-defined=main \
         --export-if-defined=__main_void --export-if-defined=__main_argc_argv --unresolved-symbols=import-dynamic \
         -o /W/app/lib/nokogiri.so -L /W/app/ext -L /R/lib -L /S/usr/lib -L /S/usr/lib /W/app/ext/a.o /W/app/ext/b.o -lxml2 -lz \
         /T/lib/libcompiler_rt.a"
    );
}

#[test]
fn symbols_that_the_pack_lacks_are_errors_when_its_symbols_are_known() {
    let plan = planned_with("cc -o conftest conftest.o", Some("/P")).unwrap();
    let has = |word: &str| plan.commands[0].iter().any(|other| other == word);
    assert!(has("--unresolved-symbols=report-all") && has("--allow-undefined-file=/P"));
    assert!(!has("--unresolved-symbols=import-dynamic"));
}

#[test]
fn conftest_is_compiled_and_linked() {
    let line = "cc -o conftest -I/usr/include -O3 conftest.c -L. -Wl,-z,now -lz -lpthread";
    let all = commands(line);
    assert_eq!(all.len(), 2);
    assert!(
        all[0].contains(" -c -o /W/app/ext/conftest.0.o ")
            && all[0].ends_with("/W/app/ext/conftest.c"),
        "{}",
        all[0]
    );
    assert!(
        all[1].contains(" --export-if-defined=main ")
            && all[1].contains(" /W/app/ext/conftest.0.o -lz "),
        "{}",
        all[1]
    );
    assert!(!all[1].contains("pthread"));
    assert_eq!(
        planned(line).unwrap().temporary,
        [PathBuf::from("/W/app/ext/conftest.0.o")]
    );
}

#[test]
fn cplusplus_is_linked_with_its_library() {
    let end = "-lc++ -lc++abi -lunwind /T/lib/libcompiler_rt.a";
    for line in [
        "c++ -shared -o x.so a.o -lstdc++",
        "cc -o conftest conftest.cc",
    ] {
        assert!(commands(line).last().unwrap().ends_with(end), "{line}");
    }
    assert!(command("cc -shared -o x.so a.o -lstdc++").contains("-lc++ "));
    assert!(!command("cc -shared -o x.so a.o").contains("-lc++"));
}

#[test]
fn linker_options_that_mean_nothing_are_dropped() {
    let plain = command("cc -shared -o x.so a.o");
    for options in [
        "-Wl,-rpath -Wl,/usr/lib",
        "-Wl,-soname,x.so",
        "-Wl,-Bsymbolic-functions",
        "-Wl,--hash-style=gnu",
        "-Wl,--build-id",
        "-Wl,--no-undefined",
        "-Wl,--version-script=x.map",
        "-Wl,-O1",
        "-Wl,--compress-debug-sections=zlib",
        "-Wl,-z -Wl,now",
        "-Wl,--start-group -Wl,--end-group",
        "-rdynamic",
        "-Wl,-export-dynamic",
        "-s",
    ] {
        assert_eq!(
            command(&format!("cc -shared -o x.so a.o {options}")),
            plain,
            "{options}"
        );
    }
    let whole = command("cc -shared -o x.so a.o -Wl,--whole-archive libx.a -Wl,--no-whole-archive");
    assert!(whole.contains(" --whole-archive /W/app/ext/libx.a --no-whole-archive "));
}

#[test]
fn names_of_libraries_are_plain() {
    for name in ["../x", ":libx.a", "/etc/x", "a b", "x;y"] {
        let words = ["cc", "-shared", "-o", "x.so", "a.o", &format!("-l{name}")].map(str::to_owned);
        let paths = DriverPaths {
            toolchain: Path::new("/T"),
            sysroot: None,
            ruby: Path::new("/R"),
            work: Path::new("/W"),
            current: "/app",
            provided: None,
        };
        assert!(plan(&words, &paths).is_err(), "{name}");
    }
}

#[test]
fn archives_are_written_with_plain_letters() {
    assert_eq!(
        command("ar rcs libfoo.a a.o /tmp/b.o"),
        "/T/ziglang/zig ar rcs /W/app/ext/libfoo.a /W/app/ext/a.o /W/tmp/b.o"
    );
    assert_eq!(
        command("ar -rc /app/x.a a.o"),
        "/T/ziglang/zig ar rc /W/app/x.a /W/app/ext/a.o"
    );
    assert_eq!(
        command("ranlib -D libfoo.a"),
        "/T/ziglang/zig ranlib /W/app/ext/libfoo.a"
    );
    for line in [
        "ar x libfoo.a",
        "ar -M",
        "ar rcsT x.a a.o",
        "ar --plugin x rcs x.a",
        "ar rcs x.a --plugin=x",
        "ar",
        "ar rcs",
        "ranlib",
        "ranlib --help",
    ] {
        refusal(line);
    }
}

#[test]
fn strip_does_nothing_and_other_programs_are_refused() {
    assert_eq!(planned("strip -S foo.so").unwrap(), CommandPlan::default());
    assert_eq!(
        refusal("ld -r x.o"),
        "ld: not a program of the toolchain: use cc, c++, ar, ranlib or strip"
    );
    assert!(planned("/usr/bin/gcc -c foo.c").is_ok());
    assert!(matches!(
        plan(
            &[],
            &DriverPaths {
                toolchain: Path::new(""),
                sysroot: None,
                ruby: Path::new(""),
                work: Path::new(""),
                current: "",
                provided: None
            }
        ),
        Err(DriverError::Empty)
    ));
}

#[test]
fn preprocessing_and_questions_write_to_the_output_stream() {
    let text = command("cc -E -DX=1 conftest.c");
    assert!(text.contains(" -E ") && !text.contains(" -o "), "{text}");
    assert!(command("cc -E -o conftest.i conftest.c").contains(" -o /W/app/ext/conftest.i "));
    let list = command("cc -MM foo.c");
    assert!(list.contains(" -MM ") && !list.contains(" -c "), "{list}");
    assert!(command("cc -E -x c -").ends_with(" -x c -"));
    assert!(command("cc --version").ends_with(" --version"));
    assert!(command("cc -dumpmachine").ends_with(" -dumpmachine"));
    assert!(command("cc -dM -E -").ends_with(" -x c -"));
}

#[test]
fn incomplete_command_lines_are_errors() {
    for line in [
        "cc",
        "cc -c",
        "cc -o",
        "cc -c -o",
        "cc -I",
        "cc -shared -o x.so",
        "cc -shared -o x.so -lz",
        "cc -c foo.x",
        "cc foo",
        "cc -x",
        "cc -c -include",
    ] {
        planned(line).unwrap_err();
    }
    assert_eq!(planned("cc -c -o x.o a.c b.c"), Err(DriverError::Outputs));
    assert_eq!(commands("cc -c a.c b.c").len(), 2);
}

#[test]
fn hosts_paths_in_messages_become_the_guests() {
    let paths = DriverPaths {
        toolchain: Path::new("/cache/T"),
        sysroot: Some(Path::new("/cache/S")),
        ruby: Path::new("/cache/R/usr"),
        work: Path::new("/cache"),
        current: "/app",
        provided: None,
    };
    assert_eq!(
        guest_text(
            "/cache/app/x.c:1: in /cache/S/usr/include/z.h, /cache/R/usr/include/ruby.h, /cache/T/ziglang/lib/x.h",
            &paths
        ),
        "/app/x.c:1: in /usr/include/z.h, /usr/include/ruby.h, /usr/lib/toolchain/ziglang/lib/x.h"
    );
}

proptest::proptest! {
    #[test]
    fn no_command_line_makes_the_driver_panic_or_reach_elsewhere(
        words in proptest::collection::vec("(-[a-zA-Z]{1,3})?[-/.@a-z=,ü]{0,8}", 0..8),
    ) {
        let line = format!("cc {}", words.join(" "));
        if let Ok(plan) = planned(&line) {
            for word in plan.commands.iter().flatten() {
                let word = word.to_str().unwrap();
                let absolute = word.starts_with('/') && word != "/dev/null";
                let inside = ["/T/", "/S/", "/R", "/W/app", "/W/tmp"].iter().any(|root| word.starts_with(root));
                proptest::prop_assert!(!absolute || inside, "{line}: {word}");
                let leads_up = absolute && word.split('/').any(|part| part == "..");
                proptest::prop_assert!(!leads_up, "{line}: {word}");
                proptest::prop_assert!(!word.starts_with('@'), "{line}: {word}");
            }
        }
    }
}
