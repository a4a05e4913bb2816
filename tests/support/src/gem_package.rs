//! Builder of `.gem` files.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Builds a `.gem` file of `files`. `metadata` is YAML that is added to the minimal gem specification.
pub fn gem(name: &str, version: &str, files: &[(&str, &str)], metadata: &str) -> Vec<u8> {
    let text = format!(
        "--- !ruby/object:Gem::Specification\nname: {name}\nversion: !ruby/object:Gem::Version\n  version: '{version}'\nplatform: ruby\nrequire_paths:\n- lib\n{metadata}"
    );
    gem_with_specification(&text, files)
}

/// Builds a `.gem` file of `files` with the whole text of its gem specification.
pub fn gem_with_specification(specification: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (*path, text.as_bytes()))
        .collect();
    let (metadata, data) = (gzip(specification.as_bytes()), gzip(&tar(&files)));
    tar(&[("metadata.gz", &metadata), ("data.tar.gz", &data)])
}

/// Builds a tar archive.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Compresses with gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
