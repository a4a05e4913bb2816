//! Tests of the preparation of extensions, with a pack of a few functions.

use wasm_encoder::{CustomSection, Encode, Module, RawSection};
use wasmparser::{Parser, Payload, TypeRef, Validator, WasmFeatures};

use super::*;

/// A pack that exports functions, two variables, a tag and its table.
fn symbols() -> PackSymbols {
    let wasm = wat::parse_str(
        r#"(module
            (memory (export "memory") 1)
            (table (export "__indirect_function_table") 3 3 funcref)
            (tag (export "__c_longjmp") (param i32))
            (global $__stack_pointer (mut i32) (i32.const 65536))
            (global (export "cObject") i32 (i32.const 4096))
            (global (export "eArgError") i32 (i32.const -8))
            (elem (i32.const 1) $listed $free)
            (func $listed (export "listed") (param i32) (result i32) (local.get 0))
            (func $free (export "free") (param i32))
            (func (export "allocate") (param i32) (result i32) (global.get 0))
            (func (export "quiet") (param f64) (result i64) (i64.const 0))
            (func (export "stack_low")))"#,
    );
    take_symbols(&wasm.unwrap(), |function| function == 2, 1024, "code.g0")
        .unwrap()
        .1
}

/// Sizes as the section dylink.0 has them: of memory, its alignment, of the table, its alignment.
const SIZES: [u32; 4] = [64, 4, 2, 0];

/// Puts a section dylink.0 with `sizes` in front of a module. `weak` names imports that may be missing.
fn shared(text: &str, sizes: [u32; 4], weak: &[&str]) -> Vec<u8> {
    let wasm = wat::parse_str(text).unwrap();
    let mut section = Vec::new();
    let mut numbers = Vec::new();
    sizes.iter().for_each(|number| number.encode(&mut numbers));
    section.push(1);
    numbers.as_slice().encode(&mut section);
    let mut imports = Vec::new();
    (weak.len() as u32).encode(&mut imports);
    for name in weak {
        "env".encode(&mut imports);
        name.encode(&mut imports);
        // WASM_SYMBOL_BINDING_WEAK
        1_u32.encode(&mut imports);
    }
    section.push(4);
    imports.as_slice().encode(&mut section);
    let mut module = Module::new();
    module.section(&CustomSection {
        name: "dylink.0".into(),
        data: section.into(),
    });
    for payload in Parser::new(0).parse_all(&wasm) {
        if let Some((id, range)) = payload.unwrap().as_section() {
            let data = &wasm[range.start..range.end];
            module.section(&RawSection { id, data });
        }
    }
    module.finish()
}

const HEAD: &str = r#"(module
    (import "env" "memory" (memory 1))
    (import "env" "__indirect_function_table" (table 2 funcref))
    (import "env" "__stack_pointer" (global $sp (mut i32)))
    (import "env" "__memory_base" (global $memory i32))
    (import "env" "__table_base" (global $table i32))
"#;

fn prepared(rest: &str) -> Result<PreparedExtension, ExtensionError> {
    prepare(
        &shared(&format!("{HEAD}{rest})"), SIZES, &["maybe"]),
        &symbols(),
    )
}

fn refusal(rest: &str) -> String {
    prepared(rest).unwrap_err().to_string()
}

fn imports(wasm: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ImportSection(reader) = payload.unwrap() {
            for import in reader.into_imports() {
                let import = import.unwrap();
                let kind = match import.ty {
                    TypeRef::Global(kind) if kind.mutable => " mutable",
                    _ => "",
                };
                found.push(format!("{}.{}{kind}", import.module, import.name));
            }
        }
    }
    found
}

/// Returns the functions that the module defines, as texts of their operators.
fn bodies(wasm: &[u8]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CodeSectionEntry(body) = payload.unwrap() {
            let operators = body.get_operators_reader().unwrap().into_iter();
            found.push(
                operators
                    .map(|operator| format!("{:?}", operator.unwrap()))
                    .collect(),
            );
        }
    }
    found
}

#[test]
fn symbols_leave_the_module_without_addresses() {
    let symbols = symbols();
    assert_eq!(symbols.variables["cObject"], 4096);
    assert_eq!(symbols.variables["eArgError"], 8_u32.wrapping_neg());
    assert_eq!(symbols.functions["listed"].entry, Some(1));
    assert_eq!(symbols.functions["allocate"].entry, None);
    assert!(symbols.functions["allocate"].collects && !symbols.functions["quiet"].collects);
    assert_eq!(
        symbols.functions["quiet"].signature.to_string(),
        "(f64) -> (i64)"
    );
    assert_eq!((symbols.table_used, symbols.table_size), (3, 20_003));
    assert!(symbols.tags.contains("__c_longjmp"));
    let back: PackSymbols = serde_json::from_slice(&symbols.to_json()).unwrap();
    assert_eq!(back, symbols);
}

#[test]
fn module_of_a_pack_keeps_used_globals_and_gets_a_larger_table() {
    let text = r#"(module
        (table (export "__indirect_function_table") 1 1 funcref)
        (global $__stack_pointer (mut i32) (i32.const 65536))
        (global $own i32 (i32.const 5))
        (global (export "late") i32 (i32.const 7))
        (func (export "stack_low") (drop (global.get $own))))"#;
    let (wasm, symbols) = take_symbols(&wat::parse_str(text).unwrap(), |_| true, 0, "g").unwrap();
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(&wasm)
        .unwrap();
    assert_eq!(symbols.variables.keys().collect::<Vec<_>>(), ["late"]);
    let mut globals = 0;
    for payload in Parser::new(0).parse_all(&wasm) {
        match payload.unwrap() {
            Payload::GlobalSection(reader) => globals = reader.count(),
            Payload::TableSection(reader) => {
                let table = reader.into_iter().next().unwrap().unwrap();
                assert_eq!((table.ty.initial, table.ty.maximum), (20_001, Some(20_001)));
            }
            _ => {}
        }
    }
    assert_eq!(globals, 2);
    let no_table = wat::parse_str(r#"(module (func (export "stack_low")))"#).unwrap();
    assert!(take_symbols(&no_table, |_| true, 0, "g").is_err());
}

#[test]
fn addresses_of_the_pack_become_constants() {
    let extension = prepared(
        r#"(import "GOT.mem" "cObject" (global $object (mut i32)))
           (import "GOT.func" "free" (global $free (mut i32)))
           (func (export "Init_x") (drop (i32.add (global.get $object) (global.get $free))))"#,
    );
    let extension = extension.unwrap();
    let init = &bodies(&extension.code)[0];
    assert!(
        init.contains(&"I32Const { value: 4096 }".to_owned()),
        "{init:?}"
    );
    // The pack has the function in its table, and C compares such addresses.
    assert!(
        init.contains(&"I32Const { value: 2 }".to_owned()),
        "{init:?}"
    );
    assert_eq!(
        imports(&extension.code),
        [
            "pack.stack_low",
            "image.memory",
            "pack.__indirect_function_table",
            "image.extension.g0 mutable",
            "image.extension.g1",
            "image.extension.g2",
            "corundum.clock",
            "corundum.tick"
        ]
    );
}

#[test]
fn own_addresses_follow_the_bases() {
    let extension = prepared(
        r#"(import "env" "allocate" (func $allocate (param i32) (result i32)))
           (import "GOT.func" "allocate" (global $entry (mut i32)))
           (import "GOT.mem" "words" (global $words (mut i32)))
           (global (export "words") i32 (i32.const 24))
           (global $link (mut i32) (i32.add (global.get $memory) (i32.const 8)))
           (elem (global.get $table) func $one)
           (data (i32.add (global.get $memory) (i32.const 4)) "abcd")
           (func $one (result i32) (call $allocate (global.get $words)))
           (func (export "Init_x") (drop (global.get $entry)))"#,
    );
    let extension = extension.unwrap();
    let layout = &extension.layout;
    // Two entries of its own, of which one is empty, then those of `allocate`, of `Init_x` and of the initializer.
    assert_eq!((layout.table_size, layout.initialize), (5, 4));
    assert_eq!(
        layout.entry_points,
        BTreeMap::from([("Init_x".to_owned(), 3)])
    );
    assert!(layout.globals.is_empty());
    assert_eq!((layout.memory_size, layout.memory_alignment), (64, 16));
    let found = bodies(&extension.code);
    assert!(
        found[0]
            .windows(2)
            .any(|pair| pair[0].contains("GlobalGet { global_index: 1 }")
                && pair[1].contains("value: 24"))
    );
    assert!(
        found[1]
            .windows(2)
            .any(|pair| pair[0].contains("GlobalGet { global_index: 2 }")
                && pair[1].contains("value: 2"))
    );
}

#[test]
fn globals_that_only_the_linker_sets_become_offsets() {
    let module = |relocate: &str| {
        prepared(
            &format!(
                r#"(global $data (mut i32) (i32.const 12))
                   (global $code (mut i32) (i32.const 1))
                   (global $count (mut i64) (i64.const 7))
                   (global $fixed i32 (i32.const 3))
                   (elem (global.get $table) func $one)
                   (start $start)
                   (func $start (call $relocate) (call $clear))
                   (func $clear)
                   (func $relocate
                       (global.set $data (i32.add (global.get $memory) (i32.const 12)))
                       {relocate})
                   (func $one (result i32)
                       (global.set $count (i64.const 8))
                       (i32.add (i32.load (global.get $data)) (i32.add (global.get $code) (global.get $fixed))))
                   (func (export "Init_x"))"#
            ),
        )
        .unwrap()
    };
    let set = "(global.set $code (i32.add (global.get $table) (i32.const 1)))";
    let extension = module(set);
    assert_eq!(extension.layout.globals, [InitialGlobal::I64(7)]);
    let found = bodies(&extension.code);
    let uses = |body: &[String], base: u32, offset: i32| {
        body.windows(3).any(|steps| {
            steps[0] == format!("GlobalGet {{ global_index: {base} }}")
                && steps[1] == format!("I32Const {{ value: {offset} }}")
                && steps[2] == "I32Add"
        })
    };
    let one = found
        .iter()
        .find(|body| uses(body, MEMORY_BASE, 12))
        .unwrap();
    assert!(uses(one, TABLE_BASE, 1), "{one:?}");
    assert!(one.iter().any(|step| step == "I32Const { value: 3 }"));
    let sets = |body: &Vec<String>| {
        body.iter()
            .any(|step| step == "GlobalSet { global_index: 1 }")
    };
    assert!(!found.iter().any(sets));
    // Other code that sets one of them, and values that are no offsets.
    for relocate in [
        format!("{set} {set}"),
        format!("{set} (global.set $code (i32.const 5))"),
        "(global.set $code (call $one))".to_owned(),
    ] {
        assert_eq!(module(&relocate).layout.globals.len(), 3, "{relocate}");
    }
}

#[test]
fn initial_data_has_offsets_from_the_base() {
    let wasm = shared(
        &format!(
            "{HEAD}(data (global.get $memory) \"ab\") (data (i32.add (global.get $memory) (i32.const 60)) \"wxyz\"))"
        ),
        SIZES,
        &[],
    );
    assert_eq!(
        initial_data(&wasm).unwrap(),
        [(0, b"ab".to_vec()), (60, b"wxyz".to_vec())]
    );
}

#[test]
fn initializer_runs_start_relocations_and_constructors() {
    let extension = prepared(
        r#"(func $start (drop (i32.const 1)))
           (func (export "__wasm_apply_data_relocs") (drop (i32.const 2)))
           (func (export "__wasm_call_ctors") (drop (i32.const 3)))
           (start $start)"#,
    );
    let found = bodies(&extension.unwrap().code);
    let calls: Vec<_> = found[3]
        .iter()
        .filter(|operator| operator.starts_with("Call"))
        .collect();
    assert_eq!(calls.len(), 3, "{found:?}");
}

#[test]
fn weak_import_that_is_missing_traps_only_when_called() {
    let extension = prepared(
        r#"(import "env" "maybe" (func $maybe))
           (import "GOT.func" "maybe" (global $address (mut i32)))
           (func (export "Init_x") (if (global.get $address) (then (call $maybe))))"#,
    );
    let found = bodies(&extension.unwrap().code);
    assert!(found[0].contains(&"I32Const { value: 0 }".to_owned()));
    assert!(found[1].contains(&"Unreachable".to_owned()));
}

#[test]
fn calls_that_may_collect_keep_pointers_in_memory() {
    let stores = |function: &str| {
        let extension = prepared(&format!(
            r#"(import "env" "allocate" (func $allocate (param i32) (result i32)))
               (import "env" "quiet" (func $quiet (param f64) (result i64)))
               (func $work (export "work") (param i32) (result i32) {function} (i32.load (local.get 0)))"#
        ));
        let found = bodies(&extension.unwrap().code);
        found[0]
            .iter()
            .filter(|operator| operator.starts_with("I32Store"))
            .count()
    };
    assert_eq!(stores("(drop (call $quiet (f64.const 0)))"), 0);
    assert_eq!(stores("(drop (call $allocate (i32.const 1)))"), 1);
    // A call through the table may reach any function of any module.
    assert_eq!(stores("(call_indirect (i32.const 1))"), 1);
}

#[test]
fn cpp_exceptions_have_a_tag_of_the_extension() {
    let extension = prepared(
        r#"(import "env" "__cpp_exception" (tag $cpp (param i32)))
           (import "env" "__c_longjmp" (tag $longjmp (param i32)))
           (func (export "Init_x") (throw $cpp (i32.const 1)))
           (func (throw $longjmp (i32.const 1)))"#,
    );
    let extension = extension.unwrap();
    let imports = imports(&extension.code);
    assert!(
        imports.contains(&"pack.__c_longjmp".to_owned()),
        "{imports:?}"
    );
    assert!(
        !imports.iter().any(|name| name.contains("cpp")),
        "{imports:?}"
    );
    let found = bodies(&extension.code);
    assert!(
        found[0].contains(&"Throw { tag_index: 1 }".to_owned()),
        "{found:?}"
    );
    assert!(
        found[1].contains(&"Throw { tag_index: 0 }".to_owned()),
        "{found:?}"
    );
}

#[test]
fn missing_functions_are_named_all() {
    let message = refusal(
        r#"(import "env" "fork" (func (result i32)))
           (import "env" "dlopen" (func (param i32 i32) (result i32)))
           (import "GOT.mem" "rb_cNothing" (global (mut i32)))
           (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#,
    );
    assert!(
        message.ends_with("dlopen, fork, rb_cNothing, wasi_snapshot_preview1.fd_write"),
        "{message}"
    );
}

#[test]
fn wrong_declaration_is_named_with_both_types() {
    let message = refusal(r#"(import "env" "quiet" (func (param i32) (result i32)))"#);
    assert!(
        message.contains("quiet as (i32) -> (i32), but its type is (f64) -> (i64)"),
        "{message}"
    );
}

#[test]
fn modules_that_are_no_extensions_are_refused() {
    let program = wat::parse_str("(module (memory 1) (func))").unwrap();
    let message = prepare(&program, &symbols()).unwrap_err().to_string();
    assert!(message.contains("memory of its own"), "{message}");
    let empty = wat::parse_str("(module)").unwrap();
    let message = prepare(&empty, &symbols()).unwrap_err().to_string();
    assert!(message.contains("no section dylink.0"), "{message}");
    assert!(matches!(
        prepare(b"ELF", &symbols()),
        Err(ExtensionError::Parse(_))
    ));
}

#[test]
fn lies_in_dylink_are_refused() {
    let refuse = |sizes| {
        prepare(&shared(&format!("{HEAD})"), sizes, &[]), &symbols())
            .unwrap_err()
            .to_string()
    };
    assert!(refuse([u32::MAX, 0, 0, 0]).contains("bytes of data"));
    assert!(refuse([64, 31, 0, 0]).contains("bytes of alignment"));
    assert!(refuse([64, 4, 1 << 20, 0]).contains("functions in its table"));
    assert!(refuse([64, 4, 0, 1]).contains("alignment"));
    let message = refusal("(elem (global.get $table) func $f $f $f) (func $f)");
    assert!(message.contains("more functions in its table"), "{message}");
    let message = refusal("(elem (i32.add (global.get $table) (i32.const -1)) func $f) (func $f)");
    assert!(message.contains("functions in its table"), "{message}");
    let message = refusal(r#"(data (i32.add (global.get $memory) (i32.const 62)) "abcd")"#);
    assert!(message.contains("data outside"), "{message}");
    let message = refusal(r#"(data (i32.add (global.get $memory) (i32.const -1)) "a")"#);
    assert!(message.contains("data outside"), "{message}");
}

#[test]
fn code_that_a_loader_cannot_undo_is_refused() {
    for (rest, reason) in [
        (r#"(data (i32.const 16) "a")"#, "fixed address"),
        ("(elem (i32.const 1) func $f) (func $f)", "fixed entries"),
        (
            r#"(data $d "a") (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))"#,
            "passive data",
        ),
        ("(elem $e func $f) (func $f)", "passive table"),
        (
            "(func (table.set (i32.const 0) (ref.null func)))",
            "changes the table",
        ),
        (
            "(func (drop (table.grow (ref.null func) (i32.const 1))))",
            "changes the table",
        ),
        (r#"(table 1 funcref)"#, "table of its own"),
        (
            r#"(import "corundum" "tick" (func (result i32)))"#,
            "corundum.tick",
        ),
        (
            r#"(import "image" "code.g0" (global (mut i32)))"#,
            "image.code.g0",
        ),
        (
            r#"(import "env" "__heap_base" (global i32))"#,
            "__heap_base",
        ),
    ] {
        let message = refusal(rest);
        assert!(message.contains(reason), "{rest}: {message}");
    }
}

#[test]
fn names_in_the_module_cannot_pass_for_the_packs() {
    // A function that is named as an import must not take its place in the analysis of pointers.
    let extension = prepared(
        r#"(import "env" "allocate" (func $a (param i32) (result i32)))
           (func $allocate (param i32) (result i32) (local.get 0))
           (func $stack_limit (result i32) (i32.const 7))
           (func (export "work") (param i32) (result i32) (drop (call $a (i32.const 1))) (i32.load (local.get 0)))"#,
    );
    let found = bodies(&extension.unwrap().code);
    assert!(
        found[2]
            .iter()
            .any(|operator| operator.starts_with("I32Store")),
        "{found:?}"
    );
}

#[test]
fn damaged_modules_never_panic() {
    let wasm = shared(
        &format!(
            r#"{HEAD}
            (import "env" "allocate" (func $allocate (param i32) (result i32)))
            (import "GOT.func" "allocate" (global $entry (mut i32)))
            (elem (global.get $table) func $one)
            (data (global.get $memory) "abcd")
            (func $one (export "Init_x") (drop (call $allocate (global.get $entry)))))"#
        ),
        SIZES,
        &["x"],
    );
    let symbols = symbols();
    prepare(&wasm, &symbols).unwrap();
    for at in 0..wasm.len() {
        for bit in [1, 0x40, 0xff] {
            let mut damaged = wasm.clone();
            damaged[at] ^= bit;
            let _ = prepare(&damaged, &symbols);
            let _ = initial_data(&damaged);
        }
        let _ = prepare(&wasm[..at], &symbols);
    }
}
