//! A `.gem` file of the tree is installed, or refused with a reason. The target packs metadata and data itself, since random
//! bytes seldom are gzip.

#![no_main]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::LazyLock;

use corundum_compiler::gems::{
    self, GemCache, GemCredentials, GemFetcher, GemSources, GemfileGem, GemfileReport,
    RepositoryFetcher,
};
use corundum_compiler::tree::Tree;
use corundum_fuzz::with_checksums;
use corundum_pack::archive::FileMode;
use corundum_pack::{Manifest, Member};
use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;

const LOCKFILE: &str = "GEM\n  remote: http://127.0.0.1:9/\n  specs:\n    a (1.0)\n\nDEPENDENCIES\n  a\n";

/// Metadata that the installer accepts; the input follows it.
const HEAD: &str = "name: a\nversion: !ruby/object:Gem::Version\n  version: '1.0'\n";

static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| Manifest {
    abi: corundum_abi::VERSION,
    language: "ruby".to_owned(),
    version: "3.3.8".to_owned(),
    series: "3.3".to_owned(),
    origin: "source".to_owned(),
    digest: String::new(),
    modules: Vec::new(),
    image: Member::of("image", "image", b""),
    root: Member::of("root", "root", b""),
    gems: BTreeMap::new(),
    extensions: Vec::new(),
    symbols: None,
    profile: None,
    probe: None,
});

fuzz_target!(|input: (u8, &str, &[u8])| {
    let (kind, metadata, data) = input;
    let gem = match kind % 4 {
        0 => with_checksums(data),
        1 => packed(metadata, &with_checksums(data)),
        2 => packed(&format!("{HEAD}{metadata}"), &with_checksums(data)),
        _ => packed(&format!("{HEAD}{metadata}"), &tar(&[("lib/a.rb", data)])),
    };
    let mut tree = Tree::read(tar(&[]).as_slice(), 1 << 20).unwrap();
    tree.add("Gemfile.lock", LOCKFILE.as_bytes(), FileMode::Plain).unwrap();
    if tree.add("vendor/cache/a-1.0.gem", &gem, FileMode::Plain).is_err() {
        return;
    }
    let report = GemfileReport {
        gems: vec![GemfileGem {
            name: "a".to_owned(),
            wanted: true,
            ..GemfileGem::default()
        }],
        error: None,
    };
    let nowhere = Path::new("/nonexistent");
    let fetcher = GemFetcher::new([], GemCache::new(nowhere, nowhere));
    let repositories = RepositoryFetcher::new([], GemCredentials::from_config(&[]), nowhere);
    let sources = GemSources { directories: &[], fetcher: &fetcher, repositories: &repositories };
    match gems::install(&mut tree, &report, &MANIFEST, &sources, |_| {}) {
        Ok(_) => {
            for (path, _) in tree.entries() {
                assert!(!path.split('/').any(|part| matches!(part, "" | "." | "..")), "{path:?}");
            }
        }
        Err(error) => drop(error.to_string()),
    }
});

fn packed(metadata: &str, data: &[u8]) -> Vec<u8> {
    tar(&[("metadata.gz", &gzip(metadata.as_bytes())), ("data.tar.gz", &gzip(data))])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, path, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}
