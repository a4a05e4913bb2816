//! Separation of a module's code from its memory, globals and active data.
//!
//! The remaining module is pure code, which is compiled once and shared by all apps; the removed parts make up an image
//! ([`crate::image`]). The pass copies sections unchanged with two exceptions. The memory and the globals become
//! imports of module `image` at the same indices. Active data segments become empty passive ones, so that no index
//! shifts; the pass drops the segments after the last one that an instruction refers to, because each segment costs
//! every instance twelve bytes and the time to write them (MRI has 17,000).

use wasm_encoder::{
    DataCountSection, DataSection, Encode, EntityType, GlobalType, MemoryType, Module, RawSection,
    ValType,
};
use wasmparser::{DataKind, ExternalKind, Operator, Parser, Payload, TypeRef};

use crate::image::{GlobalValue, ImageGlobal};
use crate::section::split_count;

/// Name of the module from which code imports its memory and globals.
pub const IMAGE: &str = "image";

/// Failure to split a module. The author of the pack is at fault.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The module is not valid WebAssembly.
    #[error("invalid module: {0}")]
    Parse(#[from] wasmparser::BinaryReaderError),
    /// The module uses a feature that a split module cannot have.
    #[error("cannot split a module with {0}")]
    Unsupported(&'static str),
}

/// A module separated into code and image.
#[derive(Debug)]
pub struct Split {
    /// A module with the code, which imports its memory and globals.
    pub code: Vec<u8>,
    /// The memory, if the module defined one.
    pub memory: Option<SplitMemory>,
    /// The globals with their initial values.
    pub globals: Vec<ImageGlobal>,
}

/// Memory that was moved out of a module.
#[derive(Debug)]
pub struct SplitMemory {
    /// Initial size in pages of 64 KiB.
    pub minimum: u64,
    /// Maximum size in pages.
    pub maximum: Option<u64>,
    /// Initial content: offsets and bytes.
    pub segments: Vec<(usize, Vec<u8>)>,
}

/// Splits `wasm`; the names of its globals start with `name`.
///
/// Globals whose indices are in `constant` become imports that never change, by which tables can be placed.
///
/// # Errors
///
/// Returns [`SplitError`] if the module is invalid or uses an unsupported feature.
pub fn split(name: &str, wasm: &[u8], constant: &[u32]) -> Result<Split, SplitError> {
    let found = survey(name, wasm)?;
    let mut code = Module::new();
    let mut imports_written = false;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else {
            continue;
        };
        let bytes = &wasm[range.start..range.end];
        // The import section follows the type section; the pass inserts one if the module has none.
        if !imports_written && id > 2 {
            imports(&mut code, &[], 0, &found, constant);
            imports_written = true;
        }
        match payload {
            Payload::ImportSection(_) => {
                let (count, entries) = split_count(bytes)?;
                imports(&mut code, entries, count, &found, constant);
                imports_written = true;
            }
            Payload::MemorySection(_) | Payload::GlobalSection(_) | Payload::CustomSection(_) => {}
            Payload::DataCountSection { .. } | Payload::DataSection(_) if found.referenced == 0 => {
            }
            Payload::DataCountSection { .. } => {
                let count = found.referenced;
                code.section(&DataCountSection { count });
            }
            Payload::DataSection(_) => {
                let mut data = DataSection::new();
                for segment in found.passive.iter().take(found.referenced as usize) {
                    data.passive(segment.iter().copied());
                }
                code.section(&data);
            }
            _ => {
                code.section(&RawSection { id, data: bytes });
            }
        }
    }
    Ok(Split {
        code: code.finish(),
        memory: found.memory,
        globals: found.globals,
    })
}

/// Findings of a first pass over a module.
#[derive(Default)]
struct Survey {
    memory: Option<SplitMemory>,
    globals: Vec<ImageGlobal>,
    /// Data segments of the code module: passive segments unchanged, active ones empty.
    passive: Vec<Vec<u8>>,
    /// Number of segments up to the last one that an instruction refers to.
    referenced: u32,
}

fn survey(name: &str, wasm: &[u8]) -> Result<Survey, SplitError> {
    let mut found = Survey::default();
    let mut segments = Vec::new();
    let mut imported_memory = false;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    match import?.ty {
                        TypeRef::Memory(_) => imported_memory = true,
                        // Imported globals would precede the new imports and shift their indices.
                        TypeRef::Global(_) => {
                            return Err(SplitError::Unsupported("imported globals"));
                        }
                        _ => {}
                    }
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader {
                    let memory = memory?;
                    if memory.memory64 || memory.shared {
                        return Err(SplitError::Unsupported("a 64-bit or shared memory"));
                    }
                    if imported_memory || found.memory.is_some() {
                        return Err(SplitError::Unsupported("several memories"));
                    }
                    let (minimum, maximum) = (memory.initial, memory.maximum);
                    found.memory = Some(SplitMemory {
                        minimum,
                        maximum,
                        segments: Vec::new(),
                    });
                }
            }
            Payload::GlobalSection(reader) => {
                for (index, global) in reader.into_iter().enumerate() {
                    let global = global?;
                    let value = constant(&global.init_expr)?;
                    found.globals.push(ImageGlobal {
                        name: format!("{name}.g{index}"),
                        value,
                    });
                }
            }
            Payload::DataSection(reader) => {
                for segment in reader {
                    let segment = segment?;
                    match segment.kind {
                        DataKind::Passive => found.passive.push(segment.data.to_vec()),
                        DataKind::Active { offset_expr, .. } => {
                            let GlobalValue::I32(offset) = constant(&offset_expr)? else {
                                return Err(SplitError::Unsupported(
                                    "a data offset that is not an i32",
                                ));
                            };
                            segments.push((offset as u32 as usize, segment.data.to_vec()));
                            found.passive.push(Vec::new());
                        }
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader()? {
                    if let Operator::MemoryInit { data_index, .. }
                    | Operator::DataDrop { data_index } = operator?
                    {
                        found.referenced = found.referenced.max(data_index.saturating_add(1));
                    }
                }
            }
            _ => {}
        }
    }
    match &mut found.memory {
        Some(memory) => memory.segments = segments,
        None if segments.is_empty() => {}
        None => {
            return Err(SplitError::Unsupported(
                "data for a memory it does not define",
            ));
        }
    }
    Ok(found)
}

fn constant(expression: &wasmparser::ConstExpr<'_>) -> Result<GlobalValue, SplitError> {
    let mut operators = expression.get_operators_reader();
    let value = match operators.read()? {
        Operator::I32Const { value } => GlobalValue::I32(value),
        Operator::I64Const { value } => GlobalValue::I64(value),
        Operator::F32Const { value } => GlobalValue::F32(value.bits()),
        Operator::F64Const { value } => GlobalValue::F64(value.bits()),
        _ => {
            return Err(SplitError::Unsupported(
                "an initial value that is not a constant",
            ));
        }
    };
    match operators.read()? {
        Operator::End => Ok(value),
        _ => Err(SplitError::Unsupported(
            "an initial value that is not a constant",
        )),
    }
}

/// Writes the import section: the existing imports (`bytes` without their count), then the memory and the globals.
fn imports(code: &mut Module, bytes: &[u8], count: u32, found: &Survey, constant: &[u32]) {
    let added = u32::from(found.memory.is_some()) + found.globals.len() as u32;
    if count + added == 0 {
        return;
    }
    let mut section = Vec::new();
    (count + added).encode(&mut section);
    section.extend_from_slice(bytes);
    let mut import = |name: &str, kind: EntityType| {
        IMAGE.encode(&mut section);
        name.encode(&mut section);
        kind.encode(&mut section);
    };
    if let Some(memory) = &found.memory {
        let (minimum, maximum) = (memory.minimum, memory.maximum);
        let memory = MemoryType {
            minimum,
            maximum,
            memory64: false,
            shared: false,
            page_size_log2: None,
        };
        import(crate::image::MEMORY, EntityType::Memory(memory));
    }
    for (index, global) in (0..).zip(&found.globals) {
        let val_type = match global.value {
            GlobalValue::I32(_) => ValType::I32,
            GlobalValue::I64(_) => ValType::I64,
            GlobalValue::F32(_) => ValType::F32,
            GlobalValue::F64(_) => ValType::F64,
        };
        let kind = GlobalType {
            val_type,
            mutable: !constant.contains(&index),
            shared: false,
        };
        import(&global.name, EntityType::Global(kind));
    }
    code.section(&RawSection {
        id: 2,
        data: &section,
    });
}

/// Returns module, name and type of each function that `wasm` imports.
///
/// # Errors
///
/// Returns [`SplitError::Parse`] for an invalid module.
pub fn imported_functions(
    wasm: &[u8],
) -> Result<Vec<(String, String, wasmparser::FuncType)>, SplitError> {
    let mut types = Vec::new();
    let mut functions = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::TypeSection(reader) => {
                for group in reader.into_iter_err_on_gc_types() {
                    types.push(group?);
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    let import = import?;
                    if let TypeRef::Func(index) = import.ty
                        && let Some(kind) = types.get(index as usize)
                    {
                        let names = (import.module.to_owned(), import.name.to_owned());
                        functions.push((names.0, names.1, kind.clone()));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(functions)
}

/// Tells whether `wasm` exports a function called `name`.
///
/// # Errors
///
/// Returns [`SplitError::Parse`] for an invalid module.
pub fn exports_function(wasm: &[u8], name: &str) -> Result<bool, SplitError> {
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(reader) = payload? {
            for export in reader {
                let export = export?;
                if export.kind == ExternalKind::Func && export.name == name {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_globals_and_data_move_out_without_shifting_indices() {
        let wasm = wat::parse_str(
            r#"(module
                (import "host" "f" (func))
                (memory (export "memory") 2 10)
                (global $a (mut i32) (i32.const 7))
                (global $b i64 (i64.const -1))
                (data (i32.const 16) "hello")
                (data $p "passive")
                (func (export "go") (result i32)
                    (memory.init $p (i32.const 0) (i32.const 0) (i32.const 7))
                    (i32.add (global.get $a) (i32.wrap_i64 (global.get $b)))))"#,
        );
        let split = split("code", &wasm.unwrap(), &[]).unwrap();
        wasmparser::Validator::new()
            .validate_all(&split.code)
            .unwrap();
        let memory = split.memory.unwrap();
        assert_eq!((memory.minimum, memory.maximum), (2, Some(10)));
        assert_eq!(memory.segments, [(16, b"hello".to_vec())]);
        let names: Vec<_> = split
            .globals
            .iter()
            .map(|global| global.name.as_str())
            .collect();
        assert_eq!(names, ["code.g0", "code.g1"]);
        assert_eq!(split.globals[1].value, GlobalValue::I64(-1));
        let text = imported_functions(&split.code).unwrap();
        assert_eq!((text[0].0.as_str(), text[0].1.as_str()), ("host", "f"));
    }

    #[test]
    fn unreferenced_data_segments_are_dropped() {
        let wasm = wat::parse_str(
            r#"(module
                (memory 1)
                (data $a "first")
                (data (i32.const 0) "active")
                (data $b "last")
                (func (export "go")
                    (memory.init $a (i32.const 0) (i32.const 0) (i32.const 5))
                    (data.drop $a)))"#,
        );
        let split = split("m", &wasm.unwrap(), &[]).unwrap();
        wasmparser::Validator::new()
            .validate_all(&split.code)
            .unwrap();
        let segments = |wasm: &[u8]| {
            let mut payloads = Parser::new(0).parse_all(wasm);
            payloads.find_map(|payload| match payload.unwrap() {
                Payload::DataSection(reader) => Some(reader.count()),
                _ => None,
            })
        };
        assert_eq!(segments(&split.code), Some(1));
        let wasm = wat::parse_str(r#"(module (memory 1) (data (i32.const 0) "x") (func))"#);
        let split = super::split("m", &wasm.unwrap(), &[]).unwrap();
        assert_eq!(segments(&split.code), None);
        assert_eq!(split.memory.unwrap().segments.len(), 1);
    }

    #[test]
    fn module_without_imports_gets_an_import_section() {
        let wasm = wat::parse_str(r#"(module (memory 1) (func (export "go")))"#).unwrap();
        let split = split("m", &wasm, &[]).unwrap();
        wasmparser::Validator::new()
            .validate_all(&split.code)
            .unwrap();
        assert!(split.memory.is_some());
    }

    #[test]
    fn unsupported_feature_is_named_in_the_error() {
        for (wasm, reason) in [
            (r#"(module (memory i64 1))"#, "64-bit"),
            (
                r#"(module (import "a" "b" (global i32)))"#,
                "imported globals",
            ),
            (
                r#"(module (import "a" "m" (memory 1)) (data (i32.const 0) "x"))"#,
                "does not define",
            ),
        ] {
            let error = split("m", &wat::parse_str(wasm).unwrap(), &[]).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert!(matches!(
            split("m", b"no wasm", &[]),
            Err(SplitError::Parse(_))
        ));
    }
}
