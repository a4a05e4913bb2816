//! Packs of one module, for tests whose guests are written in WebAssembly's text format.

use std::path::Path;

use corundum_pack::archive::ArchiveWriter;
use corundum_pack::image::write_image;
use corundum_pack::split::split;
use corundum_pack::{Manifest, Member};

/// Writes a pack whose module has `text`, and whose root is empty.
///
/// # Panics
///
/// Panics if the text is not a module that a pack can have.
pub fn write(directory: &Path, text: &str) {
    let split = split("code", &wat::parse_str(text).unwrap(), &[]).unwrap();
    let memory = split.memory.unwrap();
    let runs = memory
        .segments
        .iter()
        .map(|(at, bytes)| (*at, bytes.as_slice()));
    let image = write_image(memory.minimum, memory.maximum, &split.globals, runs);
    let root = ArchiveWriter::new(Vec::new()).finish().unwrap().output;
    let member = |name: &str, bytes: &[u8]| {
        std::fs::write(directory.join(name), bytes).unwrap();
        Member::of(name, name, bytes)
    };
    let manifest = Manifest {
        abi: corundum_abi::VERSION,
        language: "test".to_owned(),
        version: "1".to_owned(),
        series: "1".to_owned(),
        origin: "test".to_owned(),
        digest: "test".to_owned(),
        modules: vec![member("code", &split.code)],
        image: member("image", &image),
        root: member("root", &root),
        gems: Default::default(),
        extensions: Vec::new(),
        symbols: None,
        profile: None,
        probe: None,
    };
    std::fs::write(
        directory.join("pack.json"),
        serde_json::to_vec(&manifest).unwrap(),
    )
    .unwrap();
}
