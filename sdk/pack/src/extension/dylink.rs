//! The section `dylink.0`: the demands of a shared library on its loader.

use std::collections::HashSet;

use wasmparser::{Dylink0SectionReader, Dylink0Subsection, SymbolFlags};

use super::error::ExtensionError;

/// Most bytes of an extension's data. The largest tables of characters and of parsers take some MB.
const MAX_MEMORY: u32 = 64 << 20;
/// Largest alignment of an extension's memory, as a power of two: a page.
const MAX_ALIGNMENT: u32 = 12;
/// Most entries of the table of functions that an extension may take. A pack's table has 20,000 to spare.
pub(super) const MAX_TABLE: u32 = 16_000;

/// Demands of a shared library on its loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoadingNeeds<'a> {
    pub(super) memory_size: u32,
    /// Alignment in bytes.
    pub(super) memory_alignment: u32,
    pub(super) table_size: u32,
    /// Imports that may be missing, by name.
    pub(super) weak: HashSet<&'a str>,
}

/// Reads the section and checks its numbers.
///
/// # Errors
///
/// Returns an [`ExtensionError`] if the section is damaged, lacks the numbers, has them twice, or if they are too large.
pub(super) fn read(section: Dylink0SectionReader<'_>) -> Result<LoadingNeeds<'_>, ExtensionError> {
    let mut sizes = None;
    let mut weak = HashSet::new();
    for subsection in section {
        match subsection? {
            Dylink0Subsection::MemInfo(info) => {
                if info.memory_size > MAX_MEMORY {
                    return Err(ExtensionError::TooLarge(
                        "bytes of data",
                        MAX_MEMORY as usize,
                    ));
                }
                if info.memory_alignment > MAX_ALIGNMENT || info.table_alignment > 0 {
                    return Err(ExtensionError::TooLarge(
                        "bytes of alignment",
                        1 << MAX_ALIGNMENT,
                    ));
                }
                if info.table_size > MAX_TABLE {
                    return Err(ExtensionError::TooLarge(
                        "functions in its table",
                        MAX_TABLE as usize,
                    ));
                }
                if sizes.replace(info).is_some() {
                    return Err(ExtensionError::Inconsistent("two sizes of its memory"));
                }
            }
            Dylink0Subsection::ImportInfo(imports) => {
                let imports = imports.into_iter();
                let imports =
                    imports.filter(|import| import.flags.contains(SymbolFlags::BINDING_WEAK));
                weak.extend(imports.map(|import| import.field));
            }
            // The others are hints for loaders that search for libraries, or repeat what the exports say.
            _ => {}
        }
    }
    let sizes = sizes.ok_or(ExtensionError::NotShared(
        "it does not say how much memory it needs",
    ))?;
    Ok(LoadingNeeds {
        memory_size: sizes.memory_size,
        memory_alignment: 1 << sizes.memory_alignment,
        table_size: sizes.table_size,
        weak,
    })
}
