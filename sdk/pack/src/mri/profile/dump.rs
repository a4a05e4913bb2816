//! Counters as `sdk/ruby/mri/profile/runtime.c` returns them: words of 64 bits, then LLVM's section of names.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use super::{FunctionCounts, FunctionKey, ProfileError, name_hash};

/// Maximum size of a chunk of names in bytes, several times that of MRI.
const MAX_NAMES: u64 = 64 << 20;
/// Separator of names in a chunk.
const SEPARATOR: u8 = 1;

/// A function of the dump, before its names are known.
struct RawFunction {
    name: u64,
    hash: u64,
    /// Index in the table of functions, or zero for functions whose address nobody takes.
    address: u64,
    counters: Vec<u64>,
    targets: Vec<Vec<(u64, u64)>>,
    sizes: Vec<Vec<(u64, u64)>>,
}

/// Reads a dump. Functions and targets without a name are left out.
pub(super) fn read(dump: &[u8]) -> Result<Vec<(FunctionKey, FunctionCounts)>, ProfileError> {
    let mut words = Words(dump);
    let mut functions = Vec::new();
    for _ in 0..words.next()? {
        functions.push(RawFunction {
            name: words.next()?,
            hash: words.next()?,
            address: words.next()?,
            counters: words.list(Words::next)?,
            targets: words.list(|words| words.list(Words::pair))?,
            sizes: words.list(|words| words.list(Words::pair))?,
        });
    }
    let length = words.next()? as usize;
    let section = words.0.get(..length);
    let names = names(section.ok_or(ProfileError::Dump("names are missing"))?)?;
    let called: HashMap<u64, &String> = functions
        .iter()
        .filter(|function| function.address != 0)
        .filter_map(|function| Some((function.address, names.get(&function.name)?)))
        .collect();
    let named = functions.iter().filter_map(|function| {
        let key = FunctionKey {
            name: names.get(&function.name)?.clone(),
            hash: function.hash,
        };
        let target = |(address, count): &(u64, u64)| {
            let name = called.get(address)?;
            Some(((*name).clone(), *count))
        };
        let targets = function.targets.iter();
        let sizes = function.sizes.iter();
        let counts = FunctionCounts {
            counters: function.counters.clone(),
            targets: targets
                .map(|site| site.iter().filter_map(target).collect())
                .collect(),
            sizes: sizes.map(|site| site.iter().copied().collect()).collect(),
        };
        Some((key, counts))
    });
    Ok(named.collect())
}

/// Reads the section of names: chunks, most of them compressed by zlib. Returns the names by their hashes.
fn names(mut section: &[u8]) -> Result<BTreeMap<u64, String>, ProfileError> {
    let mut found = BTreeMap::new();
    while let Some(first) = section.first() {
        // The linker fills gaps between chunks with zeros.
        if *first == 0 {
            section = &section[1..];
            continue;
        }
        let plain = leb128(&mut section)?;
        let packed = leb128(&mut section)?;
        let length = if packed == 0 { plain } else { packed } as usize;
        let chunk = section.get(..length);
        let chunk = chunk.ok_or(ProfileError::Dump("a chunk of names is incomplete"))?;
        section = &section[length..];
        let mut bytes = Vec::new();
        if packed == 0 {
            bytes.extend_from_slice(chunk);
        } else {
            let reader = flate2::read::ZlibDecoder::new(chunk);
            reader.take(MAX_NAMES).read_to_end(&mut bytes)?;
        }
        for name in bytes.split(|byte| *byte == SEPARATOR) {
            let text = String::from_utf8_lossy(name).into_owned();
            found.insert(name_hash(name), text);
        }
    }
    Ok(found)
}

fn leb128(bytes: &mut &[u8]) -> Result<u64, ProfileError> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes
            .split_first()
            .ok_or(ProfileError::Dump("a number is incomplete"))?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ProfileError::Dump("a number is too large"))
}

/// Words that have not been read.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn next(&mut self) -> Result<u64, ProfileError> {
        let (word, rest) = self
            .0
            .split_first_chunk()
            .ok_or(ProfileError::Dump("counters are missing"))?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*word))
    }

    fn pair(&mut self) -> Result<(u64, u64), ProfileError> {
        Ok((self.next()?, self.next()?))
    }

    /// Reads a number, then as many items.
    fn list<T>(
        &mut self,
        item: impl Fn(&mut Self) -> Result<T, ProfileError>,
    ) -> Result<Vec<T>, ProfileError> {
        let count = self.next()?;
        (0..count).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// Returns a dump of two functions, of which the first calls the second and copies eight bytes.
    fn sample() -> Vec<u8> {
        let mut words = vec![2];
        words.extend([name_hash(b"caller"), 11, 0, 2, 100, 50]);
        // Sites of calls: one, with a known and an unknown target. Sites of sizes: one.
        words.extend([1, 2, 40, 30, 41, 20, 1, 1, 8, 50]);
        words.extend([name_hash(b"called"), 12, 40, 1, 30, 0, 0]);
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"caller\x01called").unwrap();
        let packed = packed.finish().unwrap();
        let mut names = vec![0, 13, packed.len() as u8];
        names.extend(packed);
        words.push(names.len() as u64);
        let mut dump: Vec<u8> = words
            .iter()
            .flat_map(|word: &u64| word.to_le_bytes())
            .collect();
        dump.extend(names);
        dump
    }

    #[test]
    fn dump_becomes_named_counts() {
        let found = read(&sample()).unwrap();
        let [(caller, counts), (called, _)] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!((caller.name.as_str(), caller.hash), ("caller", 11));
        assert_eq!((called.name.as_str(), called.hash), ("called", 12));
        assert_eq!(counts.counters, [100, 50]);
        assert_eq!(
            counts.targets,
            [BTreeMap::from([("called".to_owned(), 30)])]
        );
        assert_eq!(counts.sizes, [BTreeMap::from([(8, 50)])]);
    }

    #[test]
    fn incomplete_dump_is_rejected() {
        let dump = sample();
        for length in 0..dump.len() {
            assert!(read(&dump[..length]).is_err(), "{length}");
        }
    }
}
