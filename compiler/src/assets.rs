//! What is in `public/`, compressed once here instead of at each request: each text in every coding that makes it smaller,
//! beside the app's files in the slug.
//!
//! The bytes depend on the file alone, so that the slug stays a function of the tree. How hard a file is worked on depends
//! on its size: a push waits for this.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use corundum_abi::media;
use corundum_pack::archive::FileMode;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::tree::{Tree, TreeEntry, TreeError};

/// The folder whose files are served as they are.
pub const PUBLIC: &str = "public";

/// Where a slug has the encoded forms: below it the coding's name, and below that the path within [`PUBLIC`].
pub const ENCODED: &str = ".corundum/static";

/// The codings, by their names in HTTP.
pub const CODINGS: [&str; 3] = ["br", "zstd", "gzip"];

/// Smaller files fit into one packet with their headers, compressed or not.
const SMALLEST: u64 = 512;
/// Larger ones are not held in memory three times over.
const LARGEST: u64 = 16 << 20;
/// Bytes of all files together that are compressed, in order of their paths: about 15 s of a processor at the worst.
const TOTAL: u64 = 32 << 20;
/// Files up to here get the best that there is: brotli's last step makes them 5 % smaller, and takes ten times as long.
const SMALL: usize = 128 << 10;

/// How an app has the files in [`PUBLIC`] served: `static` of its `app.json`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StaticFileOptions {
    /// Which files, and under which paths.
    #[serde(default)]
    pub serve: StaticFileMode,
    /// Seconds that a client may keep a file without asking again, if its name holds no digest.
    #[serde(default)]
    pub max_age: u32,
}

/// Which files are served without a dyno, and under which paths.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StaticFileMode {
    /// All, under their own paths.
    #[default]
    Files,
    /// Also `a/index.html` at `a/` and `a`, and `b.html` at `b`.
    Pages,
    /// None: all requests are the app's.
    None,
}

/// What was compressed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CompressionSummary {
    /// Files that got smaller.
    pub files: usize,
    /// All files of [`PUBLIC`].
    pub total: usize,
    /// Bytes of those that got smaller.
    pub before: u64,
    /// Bytes of their smallest forms.
    pub after: u64,
}

/// Adds the encoded forms of a tree's public files to it.
///
/// # Errors
///
/// The tree gets too large, or its files cannot be read.
pub fn compress(tree: &mut Tree) -> Result<CompressionSummary, TreeError> {
    let (files, of) = read(tree)?;
    let mut encoded = CompressionSummary {
        total: of,
        ..CompressionSummary::default()
    };
    for (file, forms) in files.iter().zip(all_forms(&files)) {
        let forms: Vec<_> = CODINGS
            .into_iter()
            .zip(forms?)
            .filter(|(_, form)| is_worth(file, form))
            .collect();
        let Some(smallest) = forms.iter().map(|(_, form)| form.len()).min() else {
            continue;
        };
        encoded.files += 1;
        encoded.before += file.content.len() as u64;
        encoded.after += smallest as u64;
        for (coding, form) in forms {
            let path = format!("{ENCODED}/{coding}/{}", file.path);
            tree.add(&path, &form, FileMode::Plain)?;
        }
    }
    Ok(encoded)
}

/// A file that may be worth compressing, by its path within [`PUBLIC`].
struct File {
    path: String,
    content: Vec<u8>,
}

/// The files that may be worth it, and how many there are in all.
fn read(tree: &Tree) -> Result<(Vec<File>, usize), TreeError> {
    let (mut files, mut of, mut total) = (Vec::new(), 0, 0);
    for (path, entry) in tree.entries() {
        let below = path
            .strip_prefix(PUBLIC)
            .and_then(|rest| rest.strip_prefix('/'));
        let (Some(below), TreeEntry::File { length, .. }) = (below, entry) else {
            continue;
        };
        of += 1;
        let fits = (SMALLEST..=LARGEST).contains(length) && total + length <= TOTAL;
        if !fits || !media::is_compressible(media::of_path(path)) {
            continue;
        }
        total += length;
        let mut content = Vec::new();
        if let Some(mut reader) = tree.open(path)? {
            reader.read_to_end(&mut content)?;
        }
        files.push(File {
            path: below.to_owned(),
            content,
        });
    }
    Ok((files, of))
}

type Forms = std::io::Result<[Vec<u8>; CODINGS.len()]>;

/// The forms of each file, made on all processors.
fn all_forms(files: &[File]) -> Vec<Forms> {
    let made: Mutex<Vec<Option<Forms>>> = Mutex::new(files.iter().map(|_| None).collect());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((at, file)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, files.get(at)?)))
        {
            let forms = forms(&file.content);
            made.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(forms);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 1..threads.min(files.len()) {
            scope.spawn(work);
        }
        work();
    });
    let made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
    let missing = || Err(std::io::Error::other("a file was not compressed"));
    made.into_iter()
        .map(|forms| forms.unwrap_or_else(missing))
        .collect()
}

/// A file in each of [`CODINGS`].
fn forms(content: &[u8]) -> Forms {
    let small = content.len() <= SMALL;
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: if small { 11 } else { 9 },
        lgwin: 22,
        size_hint: content.len(),
        ..Default::default()
    };
    let mut brotli = Vec::new();
    brotli::BrotliCompress(&mut &content[..], &mut brotli, &parameters)?;
    let zstd = zstd::bulk::compress(content, if small { 19 } else { 15 })?;
    // The encoder writes no name and no time into the header.
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(content)?;
    Ok([brotli, zstd, gzip.finish()?])
}

/// Whether a form saves a tenth at least: less is not worth what decoding takes.
fn is_worth(file: &File, form: &[u8]) -> bool {
    form.len() <= file.content.len() / 10 * 9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &[u8])]) -> Tree {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, *content).unwrap();
        }
        Tree::read(builder.into_inner().unwrap().as_slice(), 1 << 26).unwrap()
    }

    fn css(lines: u32) -> Vec<u8> {
        (0..lines)
            .flat_map(|line| format!(".c{line} {{ color: #{line:06x} }}\n").into_bytes())
            .collect()
    }

    fn noise(length: u32) -> Vec<u8> {
        use sha2::Digest;
        let blocks = (0..length / 32).flat_map(|n| sha2::Sha256::digest(n.to_le_bytes()));
        blocks.collect()
    }

    fn content(tree: &Tree, path: &str) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        tree.open(path).unwrap()?.read_to_end(&mut content).unwrap();
        Some(content)
    }

    #[test]
    fn a_text_gets_a_form_in_each_coding_that_decodes_to_it() {
        for lines in [100, 20_000] {
            let css = css(lines);
            let mut tree = tree(&[("public/a/app.css", &css), ("app.css", &css)]);
            let encoded = compress(&mut tree).unwrap();
            assert_eq!(
                (encoded.files, encoded.total, encoded.before),
                (1, 1, css.len() as u64)
            );
            assert!(encoded.after < encoded.before / 2);
            let form = |coding: &str| {
                content(&tree, &format!(".corundum/static/{coding}/a/app.css")).unwrap()
            };
            let mut decoded = Vec::new();
            brotli::BrotliDecompress(&mut form("br").as_slice(), &mut decoded).unwrap();
            assert!(decoded == css);
            assert!(zstd::stream::decode_all(form("zstd").as_slice()).unwrap() == css);
            let mut decoded = Vec::new();
            flate2::read::GzDecoder::new(form("gzip").as_slice())
                .read_to_end(&mut decoded)
                .unwrap();
            assert!(decoded == css);
            assert_eq!(tree.entries().count(), 5);
        }
    }

    #[test]
    fn what_would_not_get_smaller_is_left_as_it_is() {
        let (css, noise) = (css(100), noise(5000));
        let files = [
            ("public/a.png", css.as_slice()),
            ("public/noise.txt", &noise),
            ("public/tiny.css", &css[..500]),
            ("publicity/a.css", &css),
        ];
        let mut tree = tree(&files);
        assert_eq!(
            compress(&mut tree).unwrap(),
            CompressionSummary {
                total: 3,
                ..CompressionSummary::default()
            }
        );
        assert_eq!(tree.entries().count(), files.len());
    }

    #[test]
    fn files_beyond_the_total_are_left_as_they_are() {
        let large = css(700_000);
        assert!(large.len() as u64 > TOTAL / 2 && large.len() as u64 > LARGEST);
        let mut tree = tree(&[("public/a.css", &large)]);
        assert_eq!(compress(&mut tree).unwrap().files, 0);
    }

    #[test]
    fn the_same_file_gets_the_same_forms() {
        let css = css(3000);
        let forms = || {
            let mut tree = tree(&[
                ("public/a.css", &css),
                ("public/b.css", &css[9..]),
                ("public/c.css", &css[99..]),
            ]);
            compress(&mut tree).unwrap();
            let paths: Vec<String> = tree.entries().map(|(path, _)| path.to_owned()).collect();
            paths
                .into_iter()
                .map(|path| content(&tree, &path))
                .collect::<Vec<_>>()
        };
        assert!(forms() == forms());
    }
}
