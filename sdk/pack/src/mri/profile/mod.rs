//! The profile that guides the compilation of MRI: how often each branch of each function ran in the training programs.
//!
//! `script/ruby-profile` records it: a build with counters ([`dump`]) runs the programs in dynos, and the sum of their
//! counts is committed as compressed text of LLVM ([`text`]). A build converts it into the form that clang reads
//! ([`indexed`]), as `llvm-profdata merge` would do.
//!
//! The counts depend on the compiler and on MRI's source, whose names the text records; a test fails if they are no longer
//! those of the recipe. Each function's counts also have a hash of its control flow, so that clang ignores those of a
//! function that a patch has changed since. The build reports how many it ignored.

mod dump;
mod indexed;
mod text;

use std::collections::BTreeMap;
use std::io;

/// Total that the counts of a training program of weight one are scaled to, so that long programs count no more than short
/// ones.
const PROGRAM_TOTAL: f64 = 1e10;
/// Values that the profile keeps of each site.
const MAX_VALUES: usize = 12;
/// Level of zstd's compression. Committed once and read in milliseconds.
const LEVEL: i32 = 22;
/// Maximum size of a profile's text in bytes, several times that of MRI.
const MAX_TEXT: u64 = 64 << 20;

/// Failure to read a profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A dump of counters is incomplete or inconsistent.
    #[error("dump of a profile: {0}")]
    Dump(&'static str),
    /// A line of the text is not what its place requires.
    #[error("profile: line {0} is invalid; run script/ruby-profile to record the profile again")]
    Text(usize),
    /// The text cannot be decompressed.
    #[error("profile: {0}")]
    Io(#[from] io::Error),
}

/// A function's name, with the hash of its control flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FunctionKey {
    name: String,
    hash: u64,
}

/// Counts of a function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FunctionCounts {
    counters: Vec<u64>,
    /// Targets of each indirect call, by name.
    targets: Vec<BTreeMap<String, u64>>,
    /// Sizes of each operation on memory.
    sizes: Vec<BTreeMap<u64, u64>>,
}

/// Counts of all functions that ran.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MriProfile {
    /// Compiler and source that the counts belong to.
    origin: String,
    functions: BTreeMap<FunctionKey, FunctionCounts>,
}

impl MriProfile {
    /// Returns a profile without counts for programs of `origin`.
    pub fn new(origin: String) -> Self {
        Self {
            origin,
            functions: BTreeMap::new(),
        }
    }

    /// Adds the counters that a training program returned.
    ///
    /// Functions that did not run are left out: clang then optimizes them as without a profile, while a count of zero
    /// would make it optimize them for size.
    ///
    /// # Errors
    ///
    /// Returns [`ProfileError::Dump`] if the dump is incomplete.
    pub fn add(&mut self, dump: &[u8], weight: f64) -> Result<(), ProfileError> {
        let counted = dump::read(dump)?;
        let total: u128 = counted
            .iter()
            .flat_map(|(_, counts)| &counts.counters)
            .map(|count| u128::from(*count))
            .sum();
        let scale = weight * PROGRAM_TOTAL / total.max(1) as f64;
        let scaled = |count: u64| match count {
            0 => 0,
            count => ((count as f64 * scale) as u64).max(1),
        };
        for (key, counts) in counted {
            if counts.counters.iter().all(|count| *count == 0) {
                continue;
            }
            let sum = self.functions.entry(key).or_default();
            add_counters(&mut sum.counters, &counts.counters, scaled);
            add_values(&mut sum.targets, counts.targets, scaled);
            add_values(&mut sum.sizes, counts.sizes, scaled);
        }
        Ok(())
    }

    /// Returns the source and the compiler that the counts belong to.
    #[cfg(test)]
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the number of functions with counts.
    pub fn functions(&self) -> usize {
        self.functions.len()
    }

    /// Returns the compressed text, in which each site keeps its most frequent values.
    ///
    /// # Errors
    ///
    /// Returns [`ProfileError::Io`] if the compressor fails.
    pub fn compressed(&mut self) -> Result<Vec<u8>, ProfileError> {
        for counts in self.functions.values_mut() {
            counts.targets.iter_mut().for_each(keep_frequent);
            counts.sizes.iter_mut().for_each(keep_frequent);
        }
        Ok(zstd::bulk::compress(text::write(self).as_bytes(), LEVEL)?)
    }

    /// Reads what [`Self::compressed`] returned.
    ///
    /// # Errors
    ///
    /// Returns [`ProfileError`] if the bytes are not a compressed profile.
    pub(super) fn read(compressed: &[u8]) -> Result<Self, ProfileError> {
        let text = zstd::bulk::decompress(compressed, MAX_TEXT as usize)?;
        let text = String::from_utf8(text).map_err(|_| ProfileError::Text(0))?;
        text::read(&text)
    }

    /// Returns the profile in the form that clang's `-fprofile-use` reads.
    pub(super) fn indexed(&self) -> Vec<u8> {
        indexed::write(self)
    }
}

fn add_counters(sum: &mut Vec<u64>, counters: &[u64], scaled: impl Fn(u64) -> u64) {
    sum.resize(counters.len().max(sum.len()), 0);
    for (sum, count) in sum.iter_mut().zip(counters) {
        *sum = sum.saturating_add(scaled(*count));
    }
}

fn add_values<V: Ord>(
    sum: &mut Vec<BTreeMap<V, u64>>,
    sites: Vec<BTreeMap<V, u64>>,
    scaled: impl Fn(u64) -> u64,
) {
    if sum.len() < sites.len() {
        sum.resize_with(sites.len(), BTreeMap::new);
    }
    for (sum, site) in sum.iter_mut().zip(sites) {
        for (value, count) in site {
            let sum = sum.entry(value).or_insert(0);
            *sum = sum.saturating_add(scaled(count));
        }
    }
}

/// Keeps the most frequent values of a site.
fn keep_frequent<V: Ord + Clone>(site: &mut BTreeMap<V, u64>) {
    let mut counts: Vec<u64> = site.values().copied().collect();
    counts.sort_unstable_by(|one, other| other.cmp(one));
    if let Some(least) = counts.get(MAX_VALUES) {
        site.retain(|_, count| *count > *least);
    }
}

/// Returns the number by which LLVM identifies a function.
fn name_hash(name: &[u8]) -> u64 {
    use md5::Digest as _;
    let digest: [u8; 16] = md5::Md5::digest(name).into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a profile of two functions, one of which has values.
    pub(super) fn sample() -> MriProfile {
        let mut profile = MriProfile::new("a source, a compiler".to_owned());
        let plain = FunctionCounts {
            counters: vec![7, 0, 3],
            ..FunctionCounts::default()
        };
        let valued = FunctionCounts {
            counters: vec![1_000_000_000_000],
            targets: vec![
                BTreeMap::new(),
                BTreeMap::from([("../source/a.c;called".to_owned(), 5)]),
            ],
            sizes: vec![BTreeMap::from([(8, 3), (513, 1)])],
        };
        for (name, counts) in [("plain", plain), ("../source/a.c;valued", valued)] {
            let key = FunctionKey {
                name: name.to_owned(),
                hash: 0x1234_5678_9abc_def0,
            };
            profile.functions.insert(key, counts);
        }
        profile
    }

    #[test]
    fn compressed_profile_reads_back_equal() {
        let mut profile = sample();
        let compressed = profile.compressed().unwrap();
        assert_eq!(MriProfile::read(&compressed).unwrap(), profile);
        assert!(MriProfile::read(&compressed[..compressed.len() / 2]).is_err());
        assert!(MriProfile::read(b"").is_err());
    }

    #[test]
    fn site_keeps_its_most_frequent_values() {
        let mut site: BTreeMap<u64, u64> = (1..=20).map(|value| (value, value * 10)).collect();
        keep_frequent(&mut site);
        assert_eq!(site.len(), MAX_VALUES);
        assert_eq!(site.first_key_value(), Some((&9, &90)));
    }

    #[test]
    fn name_hash_is_the_start_of_md5() {
        // `printf main | md5sum` begins with fad58de7366495db.
        assert_eq!(name_hash(b"main"), 0xdb95_6436_e78d_d5fa);
    }
}
