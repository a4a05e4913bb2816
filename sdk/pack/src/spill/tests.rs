//! Tests of the spill pass on small modules.

use wasmparser::{Operator, Parser, Payload, Validator, WasmFeatures};

use super::{IndirectCalls, SpillError, SpillSummary, spill_pointers};

/// Builds a module with a stack pointer, a collector, and functions that call it.
fn module(functions: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (memory 1)
            (global $__stack_pointer (mut i32) (i32.const 65536))
            (tag $t (param i32))
            (table 2 funcref)
            (elem (i32.const 0) $collect $harmless)
            (func $collect (export "collect"))
            (func $harmless (param i32) (result i32) (local.get 0))
            (func $fails (call $collect) (unreachable))
            (func $make (result i32) (call $collect) (i32.load (i32.const 8)))
            {functions})"#
    );
    wat::parse_str(text).unwrap()
}

fn rewritten(functions: &str) -> (Vec<u8>, SpillSummary) {
    let spilled = spill_pointers(&module(functions), &["collect"], IndirectCalls::Within).unwrap();
    let (wasm, summary) = (spilled.wasm, spilled.summary);
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(&wasm)
        .unwrap();
    (wasm, summary)
}

/// Returns the operators of the last function.
fn last_function(wasm: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CodeSectionEntry(body) = payload.unwrap() {
            let operators = body.get_operators_reader().unwrap();
            found = operators
                .into_iter()
                .map(|operator| match operator.unwrap() {
                    Operator::I32Store { memarg } => format!("store {}", memarg.offset),
                    Operator::I64Store { .. } => "store64".to_owned(),
                    Operator::Call { function_index } => format!("call {function_index}"),
                    other => format!("{other:?}")
                        .split([' ', '{'])
                        .next()
                        .unwrap()
                        .to_owned(),
                })
                .collect();
        }
    }
    found
}

fn stores(functions: &str) -> usize {
    rewritten(functions).1.stores
}

#[test]
fn parameter_needed_after_a_collection_is_stored_before_it() {
    let (wasm, _) = rewritten("(func (param i32) (result i32) (call $collect) (local.get 0))");
    let code = last_function(&wasm);
    let stored = code.iter().position(|operator| operator == "store 0");
    let called = code.iter().position(|operator| operator == "call 0");
    assert!(stored.unwrap() < called.unwrap(), "{code:?}");
    // The function allocates its frame, and releases it.
    assert_eq!(code.iter().filter(|op| *op == "GlobalSet").count(), 2);
}

#[test]
fn dead_values_and_non_pointers_are_not_stored() {
    assert_eq!(
        stores("(func (param i32) (drop (local.get 0)) (call $collect))"),
        0
    );
    let number = "(func (param i32) (result i32) (local i32)
        (local.set 1 (i32.eqz (local.get 0))) (call $collect) (local.get 1))";
    assert_eq!(stores(number), 0);
    let constant = "(func (result i32) (i32.const 1024) (call $collect))";
    assert_eq!(stores(constant), 0);
    let loaded = "(func (param i32) (result i32) (local i32)
        (local.set 1 (i32.load (local.get 0))) (call $collect) (local.get 1))";
    assert_eq!(stores(loaded), 1);
}

#[test]
fn operands_below_a_call_are_stored() {
    let waits = "(func (result i32) (i32.add (call $make) (call $make)))";
    assert_eq!(stores(waits), 1);
    let around = "(func (param i32) (result i32)
        (call $make) (if (local.get 0) (then (call $collect))) (i32.const 1) (i32.add))";
    // The operand below the call, and the parameter, which is needed after the first call.
    assert_eq!(stores(around), 2);
    let wide = "(func (result i64) (i64.load (i32.const 8)) (call $collect))";
    assert!(last_function(&rewritten(wide).0).contains(&"store64".to_owned()));
}

#[test]
fn call_that_collects_but_never_returns_needs_no_stores() {
    let fails = "(func (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (call $fails) (unreachable))) (local.get 0))";
    assert_eq!(stores(fails), 0);
    // The function catches the exception, so the call needs a store.
    let caught = "(func (param i32) (result i32)
        (block $h (result i32) (try_table (catch $t $h) (call $fails) (unreachable)) (unreachable))
        (local.get 0) (i32.add))";
    assert_eq!(stores(caught), 1);
}

#[test]
fn indirect_calls_reach_all_functions_of_their_type() {
    let collects = "(func (param i32) (result i32) (call_indirect (i32.const 0)) (local.get 0))";
    assert_eq!(stores(collects), 1);
    let harmless = "(func (param i32) (result i32)
        (drop (call_indirect (param i32) (result i32) (i32.const 1) (i32.const 1))) (local.get 0))";
    assert_eq!(stores(harmless), 0);
}

#[test]
fn value_is_stored_at_the_cheaper_position() {
    // Computed once, needed by each of many calls.
    let once = "(func (param i32) (result i32)
        (loop (call $collect) (call $collect) (br_if 0 (i32.load (i32.const 0)))) (local.get 0))";
    assert_eq!(stores(once), 1);
    let code = last_function(&rewritten(once).0);
    let stored = code.iter().position(|operator| operator == "store 0");
    let looped = code.iter().position(|operator| operator == "Loop");
    assert!(stored < looped, "{code:?}");
    // Computed often, needed only on a path that fails.
    let often = "(func (param i32) (result i32)
        (loop
            (local.set 0 (i32.load (local.get 0)))
            (if (i32.eqz (local.get 0)) (then (call $collect) (call $fails) (unreachable)))
            (br_if 0 (i32.load (local.get 0))))
        (local.get 0))";
    assert_eq!(stores(often), 0);
}

#[test]
fn every_exit_of_a_function_releases_its_frame() {
    let (wasm, summary) = rewritten(
        "(func (param i32) (result i32)
            (if (i32.eqz (local.get 0)) (then (call $collect) (return (local.get 0))))
            (drop (br_if 0 (local.get 0) (i32.eq (local.get 0) (i32.const 4))))
            (call $collect) (local.get 0))",
    );
    assert_eq!(summary.framed, 1);
    let code = last_function(&wasm);
    // Allocated once; released before the return, and at the end, which the branch reaches too.
    assert_eq!(
        code.iter().filter(|op| *op == "GlobalSet").count(),
        3,
        "{code:?}"
    );
    assert!(code.iter().any(|op| op == "Block"), "{code:?}");
}

#[test]
fn module_without_the_needed_names_is_rejected() {
    let unnamed = wat::parse_str("(module (func))").unwrap();
    assert!(
        matches!(spill_pointers(&unnamed, &[], IndirectCalls::Within), Err(SpillError::Unnamed(name)) if name == "__stack_pointer")
    );
    let no_collector = spill_pointers(&module(""), &["garbage_collect"], IndirectCalls::Within);
    assert!(matches!(no_collector, Err(SpillError::Unnamed(name)) if name == "garbage_collect"));
    assert!(matches!(
        spill_pointers(b"no wasm", &[], IndirectCalls::Within),
        Err(SpillError::Parse(_))
    ));
}
