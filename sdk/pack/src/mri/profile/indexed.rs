//! The binary form of a profile, in which clang looks functions up: LLVM's indexed profile, version 4.
//!
//! The file consists of a header, a summary of all counts, and a hash table from a function's name to its counts. Later
//! versions of the format add what C does not use.

use std::collections::BTreeMap;

use super::{FunctionCounts, FunctionKey, MriProfile, name_hash};

const MAGIC: u64 = u64::from_le_bytes(*b"\xfflprofi\x81");
/// Version of the format, with the flag for counters of instrumented intermediate code.
const VERSION: u64 = 4 | 1 << 56;
/// Number of the hash function, MD5.
const MD5: u64 = 0;
/// Shares of all counts, in millionths, for which the summary has the least count of the blocks that make them up. These
/// are LLVM's own; its thresholds for hot and cold code are among them.
const CUTOFFS: [u64; 16] = [
    10_000, 100_000, 200_000, 300_000, 400_000, 500_000, 600_000, 700_000, 800_000, 900_000,
    950_000, 990_000, 999_000, 999_900, 999_990, 999_999,
];
/// Words before the summary's cutoffs: the header, and the summary's sizes and totals.
const TOTALS: u64 = 6;
/// Values of a site that the format can count.
const MAX_SITE_VALUES: usize = u8::MAX as usize;

/// Returns a profile in binary form.
pub(super) fn write(profile: &MriProfile) -> Vec<u8> {
    let mut file = IndexedFile::default();
    // The table's position, the last of these, is known at the end.
    for word in [MAGIC, VERSION, 0, MD5, 0] {
        file.word(word);
    }
    let at_table = file.0.len() - 8;
    summarize(&mut file, profile);
    let mut functions: BTreeMap<&str, Vec<(u64, &FunctionCounts)>> = BTreeMap::new();
    for (FunctionKey { name, hash }, counts) in &profile.functions {
        functions.entry(name).or_default().push((*hash, counts));
    }
    let buckets = (functions.len() * 4 / 3 + 1).next_power_of_two();
    let mut chains = vec![Vec::new(); buckets];
    for name in functions.keys() {
        let hash = name_hash(name.as_bytes());
        chains[hash as usize & (buckets - 1)].push((hash, *name));
    }
    let mut places = vec![0; buckets];
    for (place, chain) in places.iter_mut().zip(&chains) {
        if chain.is_empty() {
            continue;
        }
        *place = file.0.len() as u64;
        file.0.extend((chain.len() as u16).to_le_bytes());
        for (hash, name) in chain {
            let records = records(&functions[name]);
            for word in [*hash, name.len() as u64, records.len() as u64] {
                file.word(word);
            }
            file.0.extend(name.as_bytes());
            file.0.extend(records);
        }
    }
    file.align();
    let table = file.0.len() as u64;
    file.0[at_table..at_table + 8].copy_from_slice(&table.to_le_bytes());
    file.word(buckets as u64);
    file.word(functions.len() as u64);
    places.iter().for_each(|place| file.word(*place));
    file.0
}

/// Bytes of the file so far.
#[derive(Default)]
struct IndexedFile(Vec<u8>);

impl IndexedFile {
    fn word(&mut self, word: u64) {
        self.0.extend(word.to_le_bytes());
    }

    fn half_word(&mut self, word: u32) {
        self.0.extend(word.to_le_bytes());
    }

    fn align(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
    }
}

/// Writes totals, and for each cutoff the least count above it and the number of blocks.
fn summarize(file: &mut IndexedFile, profile: &MriProfile) {
    let mut frequencies: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut blocks, mut total) = (0_u64, 0_u64);
    let (mut most, mut most_entries, mut most_inside) = (0, 0, 0);
    for counts in profile.functions.values() {
        for (index, count) in counts.counters.iter().enumerate() {
            blocks += 1;
            total = total.saturating_add(*count);
            *frequencies.entry(*count).or_insert(0) += 1;
            most = most.max(*count);
            let most = if index == 0 {
                &mut most_entries
            } else {
                &mut most_inside
            };
            *most = (*most).max(*count);
        }
    }
    let functions = profile.functions.len() as u64;
    file.word(TOTALS);
    file.word(CUTOFFS.len() as u64);
    for word in [functions, blocks, most_entries, most, most_inside, total] {
        file.word(word);
    }
    let mut descending = frequencies.iter().rev();
    let (mut sum, mut seen, mut least) = (0_u128, 0, 0);
    for cutoff in CUTOFFS {
        let wanted = u128::from(total) * u128::from(cutoff) / 1_000_000;
        while sum < wanted {
            let Some((count, number)) = descending.next() else {
                break;
            };
            sum += u128::from(*count) * u128::from(*number);
            seen += number;
            least = *count;
        }
        for word in [cutoff, least, seen] {
            file.word(word);
        }
    }
}

/// Values of each site with their counts.
type Sites = Vec<Vec<(u64, u64)>>;

/// Returns the records of the functions with one name.
fn records(functions: &[(u64, &FunctionCounts)]) -> Vec<u8> {
    let mut records = IndexedFile::default();
    for (hash, counts) in functions {
        records.word(*hash);
        records.word(counts.counters.len() as u64);
        counts
            .counters
            .iter()
            .for_each(|count| records.word(*count));
        let targets: Sites = counts
            .targets
            .iter()
            .map(|site| {
                let site = site.iter();
                site.map(|(name, count)| (name_hash(name.as_bytes()), *count))
                    .collect()
            })
            .collect();
        let sizes: Sites = counts
            .sizes
            .iter()
            .map(|site| site.iter().map(|(size, count)| (*size, *count)).collect())
            .collect();
        let kinds: Vec<(u32, Sites)> = [(0, targets), (1, sizes)]
            .into_iter()
            .filter(|(_, sites)| !sites.is_empty())
            .collect();
        let mut values = IndexedFile::default();
        for (kind, sites) in &kinds {
            values.half_word(*kind);
            values.half_word(sites.len() as u32);
            let kept = |site: &Vec<(u64, u64)>| site.len().min(MAX_SITE_VALUES);
            values.0.extend(sites.iter().map(|site| kept(site) as u8));
            values.align();
            for site in sites {
                for (value, count) in &site[..kept(site)] {
                    values.word(*value);
                    values.word(*count);
                }
            }
        }
        records.half_word(values.0.len() as u32 + 8);
        records.half_word(kinds.len() as u32);
        records.0.extend(values.0);
    }
    records.0
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    fn word(file: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn function_is_found_by_its_hash() {
        let file = write(&sample());
        let table = word(&file, 32) as usize;
        let (buckets, entries) = (word(&file, table), word(&file, table + 8));
        assert_eq!((buckets, entries), (4, 2));
        let bucket = name_hash(b"plain") & (buckets - 1);
        let mut at = word(&file, table + 16 + 8 * bucket as usize) as usize + 2;
        // The chain may begin with the other function.
        if word(&file, at) != name_hash(b"plain") {
            at += 24 + (word(&file, at + 8) + word(&file, at + 16)) as usize;
        }
        assert_eq!(word(&file, at + 8), 5);
        assert_eq!(&file[at + 24..at + 29], b"plain");
        let record = at + 29;
        let words: Vec<u64> = (0..6).map(|i| word(&file, record + 8 * i)).collect();
        assert_eq!(words, [0x1234_5678_9abc_def0, 3, 7, 0, 3, 8]);
    }

    #[test]
    fn summary_has_the_counts_that_make_up_each_share() {
        let file = write(&sample());
        let words: Vec<u64> = (0..8).map(|i| word(&file, 40 + 8 * i)).collect();
        let most = 1_000_000_000_000;
        assert_eq!(words, [6, 16, 2, 4, most, most, 3, most + 10]);
        let last: Vec<u64> = (0..3).map(|i| word(&file, 104 + 24 * 15 + 8 * i)).collect();
        assert_eq!(last, [999_999, most, 1]);
    }
}
