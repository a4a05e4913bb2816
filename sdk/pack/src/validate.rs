//! The features of WebAssembly that a guest may use.

use std::collections::BTreeMap;

use wasmparser::{
    BinaryReaderError, ExternalKind, FuncType, Parser, Payload, TypeRef, Validator, WasmFeatures,
};

/// Checks that `wasm` is a valid module without the features that only the host's own modules may use: stack switching,
/// whose stacks the host must count, and memories of 64 bits, for which compiled code checks every access.
///
/// # Errors
///
/// Returns the place and the reason of the first violation.
pub fn validate_guest(wasm: &[u8]) -> Result<(), BinaryReaderError> {
    let features =
        WasmFeatures::default().difference(WasmFeatures::STACK_SWITCHING | WasmFeatures::MEMORY64);
    Validator::new_with_features(features)
        .validate_all(wasm)
        .map(|_| ())
}

/// The parts of a module that the dyno ABI is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestSignature {
    /// Types of the exported functions, such as `[] -> [i32]`, by their names.
    pub exports: BTreeMap<String, String>,
    /// Entries of all tables at the start.
    pub table_entries: u64,
}

/// Reads the signature of a module.
///
/// # Errors
///
/// The module is not valid WebAssembly.
pub fn guest_signature(wasm: &[u8]) -> Result<GuestSignature, BinaryReaderError> {
    let mut signature = GuestSignature::default();
    let (mut types, mut functions) = (Vec::<FuncType>::new(), Vec::<u32>::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::TypeSection(reader) => {
                for kind in reader.into_iter_err_on_gc_types() {
                    types.push(kind?);
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    if let TypeRef::Func(kind) = import?.ty {
                        functions.push(kind);
                    }
                }
            }
            Payload::FunctionSection(reader) => {
                for kind in reader {
                    functions.push(kind?);
                }
            }
            Payload::TableSection(reader) => {
                for table in reader {
                    signature.table_entries += table?.ty.initial;
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader {
                    let export = export?;
                    let kind = functions.get(export.index as usize);
                    let kind = kind.and_then(|kind| types.get(*kind as usize));
                    if let (ExternalKind::Func, Some(kind)) = (export.kind, kind) {
                        let name = export.name.to_owned();
                        signature.exports.insert(name, described(kind));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(signature)
}

fn described(kind: &FuncType) -> String {
    let list = |types: &[wasmparser::ValType]| {
        let names: Vec<String> = types.iter().map(ToString::to_string).collect();
        names.join(" ")
    };
    format!("[{}] -> [{}]", list(kind.params()), list(kind.results()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validate(text: &str) -> Result<(), String> {
        let wasm = wat::parse_str(text).unwrap();
        validate_guest(&wasm).map_err(|error| error.to_string())
    }

    #[test]
    fn signature_has_the_types_of_exports_behind_imports() {
        let wasm = wat::parse_str(
            r#"(module (import "a" "b" (func (param i64))) (table 7 funcref) (memory 1)
              (func (export "dyno_boot") (result i32) (i32.const 0))
              (func (export "dyno_idle") (param i32 f64) (result i64) (i64.const 0)))"#,
        );
        let signature = guest_signature(&wasm.unwrap()).unwrap();
        assert_eq!(signature.table_entries, 7);
        assert_eq!(signature.exports["dyno_boot"], "[] -> [i32]");
        assert_eq!(signature.exports["dyno_idle"], "[i32 f64] -> [i64]");
        assert!(guest_signature(b"no wasm").is_err());
    }

    #[test]
    fn modules_with_exceptions_and_shared_memory_are_valid() {
        validate(
            r#"(module (memory 1 1 shared) (tag $t)
              (func (block $caught (try_table (catch $t $caught) (throw $t)))))"#,
        )
        .unwrap();
    }

    #[test]
    fn stack_switching_is_rejected_in_every_form() {
        for module in [
            "(module (type $f (func)) (type $c (cont $f)))",
            "(module (type $f (func)) (type $c (cont $f)) (table 1 (ref null $c)))",
            "(module (type $f (func)) (type $c (cont $f)) (elem declare func $g) (func $g)
              (func (drop (cont.new $c (ref.func $g)))))",
            "(module (tag $t) (func (suspend $t)))",
            "(module (global (mut (ref null cont)) (ref.null cont)))",
        ] {
            let error = validate(module).unwrap_err();
            assert!(error.contains("stack switching"), "{module}: {error}");
        }
        assert!(validate("(module (memory i64 1))").is_err());
    }
}
