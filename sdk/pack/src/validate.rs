//! The features of WebAssembly that a guest may use.

use wasmparser::{BinaryReaderError, Validator, WasmFeatures};

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

#[cfg(test)]
mod tests {
    use super::*;

    fn validate(text: &str) -> Result<(), String> {
        let wasm = wat::parse_str(text).unwrap();
        validate_guest(&wasm).map_err(|error| error.to_string())
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
