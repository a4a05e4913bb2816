use wasmparser::{Operator, Parser, Payload, Validator, WasmFeatures};

use super::{SpillError, SpillSummary, expose};

/// A module with a stack pointer, a collector, and functions that call it.
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

fn exposed(functions: &str) -> (Vec<u8>, SpillSummary) {
    let (wasm, summary) = expose(&module(functions), &["collect"]).unwrap();
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(&wasm)
        .unwrap();
    (wasm, summary)
}

/// The operators of the last function.
fn last(wasm: &[u8]) -> Vec<String> {
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
    exposed(functions).1.stores
}

#[test]
fn a_parameter_that_is_needed_after_a_collection_lies_in_memory_during_it() {
    let (wasm, _) = exposed("(func (param i32) (result i32) (call $collect) (local.get 0))");
    let code = last(&wasm);
    let stored = code.iter().position(|operator| operator == "store 0");
    let called = code.iter().position(|operator| operator == "call 0");
    assert!(stored.unwrap() < called.unwrap(), "{code:?}");
    // The frame is taken, and given back.
    assert_eq!(code.iter().filter(|op| *op == "GlobalSet").count(), 2);
}

#[test]
fn what_is_not_needed_any_more_or_cannot_be_a_pointer_is_not_stored() {
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
fn what_waits_on_the_operand_stack_is_stored() {
    let waits = "(func (result i32) (i32.add (call $make) (call $make)))";
    assert_eq!(stores(waits), 1);
    let around = "(func (param i32) (result i32)
        (call $make) (if (local.get 0) (then (call $collect))) (i32.const 1) (i32.add))";
    // What waits, and the parameter, which is needed after the first call.
    assert_eq!(stores(around), 2);
    let wide = "(func (result i64) (i64.load (i32.const 8)) (call $collect))";
    assert!(last(&exposed(wide).0).contains(&"store64".to_owned()));
}

#[test]
fn a_call_that_collects_but_does_not_return_needs_nothing() {
    let fails = "(func (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (call $fails) (unreachable))) (local.get 0))";
    assert_eq!(stores(fails), 0);
    // Unless what it throws is caught here.
    let caught = "(func (param i32) (result i32)
        (block $h (result i32) (try_table (catch $t $h) (call $fails) (unreachable)) (unreachable))
        (local.get 0) (i32.add))";
    assert_eq!(stores(caught), 1);
}

#[test]
fn calls_through_a_table_reach_what_has_their_type() {
    let collects = "(func (param i32) (result i32) (call_indirect (i32.const 0)) (local.get 0))";
    assert_eq!(stores(collects), 1);
    let harmless = "(func (param i32) (result i32)
        (drop (call_indirect (param i32) (result i32) (i32.const 1) (i32.const 1))) (local.get 0))";
    assert_eq!(stores(harmless), 0);
}

#[test]
fn a_value_is_stored_where_that_is_cheaper() {
    // Made once, needed by each of many calls.
    let once = "(func (param i32) (result i32)
        (loop (call $collect) (call $collect) (br_if 0 (i32.load (i32.const 0)))) (local.get 0))";
    assert_eq!(stores(once), 1);
    let code = last(&exposed(once).0);
    let stored = code.iter().position(|operator| operator == "store 0");
    let looped = code.iter().position(|operator| operator == "Loop");
    assert!(stored < looped, "{code:?}");
    // Made often, needed on a path that fails.
    let often = "(func (param i32) (result i32)
        (loop
            (local.set 0 (i32.load (local.get 0)))
            (if (i32.eqz (local.get 0)) (then (call $collect) (call $fails) (unreachable)))
            (br_if 0 (i32.load (local.get 0))))
        (local.get 0))";
    assert_eq!(stores(often), 0);
}

#[test]
fn every_way_out_of_a_function_gives_its_frame_back() {
    let (wasm, summary) = exposed(
        "(func (param i32) (result i32)
            (if (i32.eqz (local.get 0)) (then (call $collect) (return (local.get 0))))
            (drop (br_if 0 (local.get 0) (i32.eq (local.get 0) (i32.const 4))))
            (call $collect) (local.get 0))",
    );
    assert_eq!(summary.framed, 1);
    let code = last(&wasm);
    // Taken once; given back before the return, and at the end, which the branch reaches too.
    assert_eq!(
        code.iter().filter(|op| *op == "GlobalSet").count(),
        3,
        "{code:?}"
    );
    assert!(code.iter().any(|op| op == "TracedBlock"), "{code:?}");
}

#[test]
fn a_module_that_the_pass_cannot_understand_is_refused() {
    let unnamed = wat::parse_str("(module (func))").unwrap();
    assert!(
        matches!(expose(&unnamed, &[]), Err(SpillError::Unnamed(name)) if name == "__stack_pointer")
    );
    let no_collector = expose(&module(""), &["garbage_collect"]);
    assert!(matches!(no_collector, Err(SpillError::Unnamed(name)) if name == "garbage_collect"));
    assert!(matches!(expose(b"no wasm", &[]), Err(SpillError::Parse(_))));
}
