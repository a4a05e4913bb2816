//! Compression of static files, once for each push instead of for each request.
//!
//! The build adds each text in `public/` to the slug in every content coding that makes it smaller.
//!
//! The compressed bytes depend on the file alone, so that the slug stays a function of the tree. The pusher waits for
//! the compression, so large files get less effort.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use corundum_abi::media;
use corundum_pack::archive::FileMode;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::tree::{Tree, TreeEntry, TreeError};

/// Folder of the static files.
pub const PUBLIC: &str = "public";

/// Folder of the compressed files in a slug: below it come the coding's name and the file's path within [`PUBLIC`].
pub const ENCODED: &str = ".corundum/static";

/// Content codings by their names in HTTP.
pub const CODINGS: [&str; 3] = ["br", "zstd", "gzip"];

/// Bytes of the smallest compressed file. A smaller one fits into one packet with its headers anyway.
const MIN_FILE_BYTES: u64 = 512;
/// Bytes of the largest compressed file. The build would hold a larger one in memory three times over.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Bytes of all compressed files, taken in the order of their paths: about 15 s of one processor at the worst.
const MAX_TOTAL_BYTES: u64 = 32 << 20;
/// Bytes of a file that gets the highest effort. Brotli's last level makes files 5 % smaller and takes ten times as
/// long.
const MAX_EFFORT_BYTES: usize = 128 << 10;

/// Options for the files in [`PUBLIC`]: the key `static` of `app.json`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StaticFileOptions {
    /// Files to serve, and their paths.
    #[serde(default)]
    pub serve: StaticFileMode,
    /// Seconds that a client may use a file without revalidation, if the file's name contains no digest.
    #[serde(default)]
    pub max_age: u32,
}

/// Files that the router serves without a dyno, and their paths.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StaticFileMode {
    /// All files, under their own paths.
    #[default]
    Files,
    /// All files, also `a/index.html` under `a/` and `a`, and `b.html` under `b`.
    Pages,
    /// No file: the app gets all requests.
    None,
}

/// Result of compressing a tree's static files.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct CompressionSummary {
    /// Number of compressed files.
    pub files: usize,
    /// Number of all files in [`PUBLIC`].
    pub total: usize,
    /// Bytes of the compressed files before.
    pub before: u64,
    /// Bytes of the smallest form of each.
    pub after: u64,
}

/// Adds compressed forms of the tree's static files to the tree.
///
/// # Errors
///
/// [`TreeError`]: the tree becomes too large, or its files cannot be read.
pub fn compress(tree: &mut Tree) -> Result<CompressionSummary, TreeError> {
    let (files, total) = read_files(tree)?;
    let mut summary = CompressionSummary {
        total,
        ..CompressionSummary::default()
    };
    for (file, forms) in files.iter().zip(compress_files(&files)) {
        let forms: Vec<_> = CODINGS
            .into_iter()
            .zip(forms?)
            .filter(|(_, form)| is_worthwhile(file, form))
            .collect();
        let Some(smallest) = forms.iter().map(|(_, form)| form.len()).min() else {
            continue;
        };
        summary.files += 1;
        summary.before += file.content.len() as u64;
        summary.after += smallest as u64;
        for (coding, form) in forms {
            let path = format!("{ENCODED}/{coding}/{}", file.path);
            tree.add(&path, &form, FileMode::Plain)?;
        }
    }
    Ok(summary)
}

/// A candidate for compression, with its path within [`PUBLIC`].
struct PublicFile {
    path: String,
    content: Vec<u8>,
}

/// Reads the candidates for compression, and counts all files in [`PUBLIC`].
fn read_files(tree: &Tree) -> Result<(Vec<PublicFile>, usize), TreeError> {
    let (mut files, mut total, mut bytes) = (Vec::new(), 0, 0);
    for (path, entry) in tree.entries() {
        let below = path
            .strip_prefix(PUBLIC)
            .and_then(|rest| rest.strip_prefix('/'));
        let (Some(below), TreeEntry::File { length, .. }) = (below, entry) else {
            continue;
        };
        total += 1;
        let fits =
            (MIN_FILE_BYTES..=MAX_FILE_BYTES).contains(length) && bytes + length <= MAX_TOTAL_BYTES;
        if !fits || !media::is_compressible(media::of_path(path)) {
            continue;
        }
        bytes += length;
        let mut content = Vec::new();
        if let Some(mut reader) = tree.open(path)? {
            reader.read_to_end(&mut content)?;
        }
        files.push(PublicFile {
            path: below.to_owned(),
            content,
        });
    }
    Ok((files, total))
}

type CompressedForms = io::Result<[Vec<u8>; CODINGS.len()]>;

/// Compresses the files on all processors.
fn compress_files(files: &[PublicFile]) -> Vec<CompressedForms> {
    let done: Mutex<Vec<Option<CompressedForms>>> =
        Mutex::new(files.iter().map(|_| None).collect());
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(index) else {
                return;
            };
            let forms = compress_content(&file.content);
            done.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(forms);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 1..threads.min(files.len()) {
            scope.spawn(work);
        }
        work();
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let missing = || Err(io::Error::other("a file was not compressed"));
    done.into_iter()
        .map(|forms| forms.unwrap_or_else(missing))
        .collect()
}

/// Compresses a file with each of [`CODINGS`].
fn compress_content(content: &[u8]) -> CompressedForms {
    let small = content.len() <= MAX_EFFORT_BYTES;
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: if small { 11 } else { 9 },
        lgwin: 22,
        size_hint: content.len(),
        ..Default::default()
    };
    let mut brotli = Vec::new();
    brotli::BrotliCompress(&mut &content[..], &mut brotli, &parameters)?;
    let zstd = zstd::bulk::compress(content, if small { 19 } else { 15 })?;
    // The encoder writes no name and no time into the header, so the bytes depend on the content alone.
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(content)?;
    Ok([brotli, zstd, gzip.finish()?])
}

/// Returns whether a form saves at least a tenth. Smaller savings are not worth the time that clients take to decode.
fn is_worthwhile(file: &PublicFile, form: &[u8]) -> bool {
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
    fn text_is_compressed_with_every_coding() {
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
    fn incompressible_and_tiny_files_are_skipped() {
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
    fn files_beyond_the_limits_are_skipped() {
        let large = css(700_000);
        assert!(large.len() as u64 > MAX_TOTAL_BYTES / 2 && large.len() as u64 > MAX_FILE_BYTES);
        let mut tree = tree(&[("public/a.css", &large)]);
        assert_eq!(compress(&mut tree).unwrap().files, 0);
    }

    #[test]
    fn compression_is_deterministic() {
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
