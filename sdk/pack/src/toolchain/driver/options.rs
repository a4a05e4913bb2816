//! Lists of the compiler's options: those that pass, and those that mean nothing for a dyno.
//!
//! An option that is in no list is refused. Dropping an option never passes anything to the compiler; the lists name only
//! options whose absence changes no result, since a dropped option that changes the meaning of code would break it silently.

/// Treatment of an option that is one word and names no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// The compiler gets it.
    Pass,
    /// It means nothing here.
    Drop,
}

/// Options that pass.
const PASS: &[&str] = &[
    "-w",
    "-ansi",
    "-pedantic",
    "-pedantic-errors",
    "-P",
    "-C",
    "-CC",
    "-dM",
    "-dD",
    "-dN",
    "-trigraphs",
    "-undef",
    "-fasm",
    "-fno-asm",
    "-fblocks",
    "-fbuiltin",
    "-fno-builtin",
    "-fchar8_t",
    "-fno-char8_t",
    "-fno-common",
    "-fcx-limited-range",
    "-fno-cx-limited-range",
    "-fdata-sections",
    "-fno-data-sections",
    "-fdelete-null-pointer-checks",
    "-fno-delete-null-pointer-checks",
    "-fdollars-in-identifiers",
    "-fno-dollars-in-identifiers",
    "-fexceptions",
    "-fno-exceptions",
    "-ffast-math",
    "-fno-fast-math",
    "-ffinite-math-only",
    "-fno-finite-math-only",
    "-ffreestanding",
    "-ffunction-sections",
    "-fno-function-sections",
    "-fgnu89-inline",
    "-fhosted",
    "-finline",
    "-fno-inline",
    "-finline-functions",
    "-fno-inline-functions",
    "-fjump-tables",
    "-fno-jump-tables",
    "-flax-vector-conversions",
    "-fno-lax-vector-conversions",
    "-fmath-errno",
    "-fno-math-errno",
    "-fmerge-all-constants",
    "-fno-merge-all-constants",
    "-fms-extensions",
    "-fno-ms-extensions",
    "-fno-operator-names",
    "-foperator-names",
    "-fno-optimize-sibling-calls",
    "-foptimize-sibling-calls",
    "-fomit-frame-pointer",
    "-fno-omit-frame-pointer",
    "-freciprocal-math",
    "-fno-reciprocal-math",
    "-frounding-math",
    "-fno-rounding-math",
    "-frtti",
    "-fno-rtti",
    "-fshort-wchar",
    "-fno-short-wchar",
    "-fsigned-char",
    "-fno-signed-char",
    "-funsigned-char",
    "-fno-unsigned-char",
    "-fsigned-zeros",
    "-fno-signed-zeros",
    "-fsized-deallocation",
    "-fno-sized-deallocation",
    "-fslp-vectorize",
    "-fno-slp-vectorize",
    "-fstrict-aliasing",
    "-fno-strict-aliasing",
    "-fstrict-enums",
    "-fno-strict-enums",
    "-fstrict-flex-arrays=0",
    "-fstrict-flex-arrays=1",
    "-fstrict-flex-arrays=2",
    "-fstrict-flex-arrays=3",
    "-fstrict-overflow",
    "-fno-strict-overflow",
    "-fsyntax-only",
    "-fthreadsafe-statics",
    "-fno-threadsafe-statics",
    "-ftrapping-math",
    "-fno-trapping-math",
    "-ftrapv",
    "-ftree-vectorize",
    "-fno-tree-vectorize",
    "-funroll-loops",
    "-fno-unroll-loops",
    "-funsafe-math-optimizations",
    "-fno-unsafe-math-optimizations",
    "-fvectorize",
    "-fno-vectorize",
    "-fvisibility-inlines-hidden",
    "-fno-visibility-inlines-hidden",
    "-fwrapv",
    "-fno-wrapv",
    "-fwrapv-pointer",
    "-fno-zero-initialized-in-bss",
];

/// Starts of options whose value, a word of letters and digits, follows.
const PASS_WITH_WORD: &[&str] = &[
    "-std=",
    "-fconstexpr-depth=",
    "-fconstexpr-steps=",
    "-fdiagnostics-color",
    "-fexcess-precision=",
    "-fexec-charset=",
    "-ffp-contract=",
    "-ffp-model=",
    "-finput-charset=",
    "-fmax-errors=",
    "-ferror-limit=",
    "-fmessage-length=",
    "-fno-builtin-",
    "-fno-diagnostics-",
    "-fcolor-diagnostics",
    "-fno-color-diagnostics",
    "-fshow-",
    "-fno-show-",
    "-ftabstop=",
    "-ftemplate-backtrace-limit=",
    "-ftemplate-depth=",
    "-ftemplate-depth-",
    "-ftrivial-auto-var-init=",
    "-fvisibility=",
];

/// Options that mean nothing for a dyno: dynamic linking, debuggers, other processors, GCC's choice of optimisations.
///
/// WebAssembly has no common symbols: code that needs `-fcommon` fails to link, and the compiler would crash.
const DROP: &[&str] = &[
    "-fcommon",
    "-p",
    "-pg",
    "-pipe",
    "-pthread",
    "-pthreads",
    "-rdynamic",
    "-s",
    "-static",
    "-static-libgcc",
    "-static-libstdc++",
    "-stdlib=libc++",
    "-stdlib=libstdc++",
    "-v",
    "-Q",
    "-Qunused-arguments",
    "-m32",
    "-m64",
    "-mfma",
    "-mno-fma",
    "-maes",
    "-mcx16",
    "-mpclmul",
    "-mpopcnt",
    "-mlzcnt",
    "-mrdrnd",
    "-msha",
    "-mstackrealign",
    "-mno-omit-leaf-frame-pointer",
    "-momit-leaf-frame-pointer",
    "-fPIC",
    "-fpic",
    "-fPIE",
    "-fpie",
    "-fno-PIC",
    "-fno-pic",
    "-fno-PIE",
    "-fno-pie",
    "-fpermissive",
    "-fno-plt",
    "-fplt",
    "-fident",
    "-fno-ident",
    "-fsemantic-interposition",
    "-fno-semantic-interposition",
    "-fasynchronous-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-funwind-tables",
    "-fno-unwind-tables",
    "-fno-stack-protector",
    "-fno-stack-clash-protection",
    "-fno-strict-volatile-bitfields",
    "-fexpensive-optimizations",
    "-fforce-addr",
    "-fguess-branch-probability",
    "-fno-guess-branch-probability",
    "-fkeep-inline-functions",
    "-fmodulo-sched",
    "-fno-lto",
    "-fpeel-loops",
    "-fpredictive-commoning",
    "-fprefetch-loop-arrays",
    "-frename-registers",
    "-freorder-blocks",
    "-freorder-functions",
    "-funroll-all-loops",
    "-funswitch-loops",
    "-fuse-linker-plugin",
    "-fno-use-linker-plugin",
    "-fvar-tracking",
    "-fno-var-tracking",
    "-fvar-tracking-assignments",
    "-fno-var-tracking-assignments",
    "-fweb",
];

/// Starts of options that mean nothing for a dyno.
const DROP_START: &[&str] = &[
    "-g",
    "-march=",
    "-mtune=",
    "-mcpu=",
    "-mfpu=",
    "-mfpmath=",
    "-mfloat-abi=",
    "-mcmodel=",
    "-mbranch-protection=",
    "-mpreferred-stack-boundary=",
    "-mmacosx-version-min=",
    "-msse",
    "-mno-sse",
    "-mssse",
    "-mavx",
    "-mno-avx",
    "-mbmi",
    "-fcf-protection",
    "-fno-cf-protection",
    "-fdebug-prefix-map=",
    "-ffile-prefix-map=",
    "-fmacro-prefix-map=",
    "-fopenmp",
    "-fno-openmp",
    "-fsanitize=",
    "-fno-sanitize=",
    "-fstack-protector-",
    "-fzero-call-used-regs=",
    "-flto",
    "-falign-",
    "-fno-align-",
    "-fgcse",
    "-fno-gcse",
    "-fgraphite",
    "-finline-limit=",
    "-fipa-",
    "-fno-ipa-",
    "-fira-",
    "-floop-",
    "-fsched",
    "-fno-sched",
    "-ftree-",
    "-fno-tree-",
];

/// Returns the treatment of a word that starts with `-`, or `None` for one that is not supported.
pub(super) fn treatment(option: &str) -> Option<Treatment> {
    let plain = |text: &str| {
        let allowed = |symbol: char| symbol.is_ascii_alphanumeric() || "+-_=.".contains(symbol);
        text.chars().all(allowed)
    };
    if PASS.contains(&option) {
        return Some(Treatment::Pass);
    }
    if DROP.contains(&option)
        || option == "-fstack-protector"
        || option == "-fstack-clash-protection"
    {
        return Some(Treatment::Drop);
    }
    let optimisation = option.strip_prefix("-O");
    let warning = option.strip_prefix("-W");
    let passes = optimisation
        .is_some_and(|level| ["", "0", "1", "2", "3", "4", "fast", "g", "s", "z"].contains(&level))
        || warning.is_some_and(plain)
        || PASS_WITH_WORD
            .iter()
            .any(|start| option.strip_prefix(start).is_some_and(plain));
    if passes {
        return Some(Treatment::Pass);
    }
    let dropped = DROP_START.iter().any(|start| option.starts_with(start));
    dropped.then_some(Treatment::Drop)
}

/// Reasons for refusing options that authors of extensions know, by their start.
const REFUSALS: &[(&str, &str)] = &[
    ("-fplugin", "plugins of the compiler are not loaded"),
    ("-fpass-plugin", "plugins of the compiler are not loaded"),
    (
        "-Xclang",
        "options of the compiler's inner program are not passed on",
    ),
    ("-Xarch_", "other processors are not supported"),
    ("-mllvm", "options of LLVM are not passed on"),
    ("-B", "the programs of the toolchain cannot be replaced"),
    (
        "-wrapper",
        "the programs of the toolchain cannot be replaced",
    ),
    ("-specs", "the programs of the toolchain cannot be replaced"),
    (
        "--specs",
        "the programs of the toolchain cannot be replaced",
    ),
    (
        "-fuse-ld",
        "the programs of the toolchain cannot be replaced",
    ),
    (
        "--ld-path",
        "the programs of the toolchain cannot be replaced",
    ),
    ("--config", "files of options are not read"),
    ("--sysroot", "the directories of the system are fixed"),
    ("-isysroot", "the directories of the system are fixed"),
    ("-resource-dir", "the directories of the system are fixed"),
    ("-nostdinc", "the directories of the system are fixed"),
    ("-nostdlib", "the directories of the system are fixed"),
    ("-target", "dynos run WebAssembly only"),
    ("--target", "dynos run WebAssembly only"),
    ("-arch", "dynos run WebAssembly only"),
    ("-fprofile", "profiles are not supported"),
    ("-fmodule", "modules are not supported"),
    (
        "-save-temps",
        "the compiler keeps no other files than its result",
    ),
    (
        "--save-temps",
        "the compiler keeps no other files than its result",
    ),
];

/// Returns the reason for refusing an option.
pub(super) fn reason(option: &str) -> &'static str {
    let known = REFUSALS.iter().find(|(start, _)| option.starts_with(start));
    known.map_or(
        "the option is not supported for native extensions",
        |(_, reason)| reason,
    )
}
