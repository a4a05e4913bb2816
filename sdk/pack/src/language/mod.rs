//! Languages as data: what a node must know of a language to detect, build and run its apps.
//!
//! A pack brings its [`LanguageProfile`] in its manifest, so that the node needs no code of a language. A directory with a
//! `pack.toml` ([`recipe`]) is a pack's source; [`build`] makes a pack of it, and [`installed`] keeps the packs that a
//! machine has. [`PackKey`] names one pack, of Ruby or of another language, and [`LanguageSeries`] is what an app asks for.

pub mod build;
mod files;
pub mod installed;
mod key;
mod names;
mod profile;
pub mod recipe;
mod series;
pub(crate) mod source;
pub mod template;

pub use key::{KnownLanguage, PackKey, candidates, current, known};
pub use names::{BadPackName, check_language, check_series};
pub use profile::{
    CompileStep, DetectionRules, LanguageProfile, PackKind, RunDefaults, SharedVariable,
    VersionFile,
};
pub use series::LanguageSeries;
pub use source::PinnedSource;
