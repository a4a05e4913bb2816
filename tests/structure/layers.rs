//! The dependency rules of ARCHITECTURE.md, held against what cargo says.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Everything that `package` is built with, itself left out.
fn dependencies(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--edges",
            "normal",
            "--package",
            package,
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn no_crate_links_what_it_must_not() {
    let rules = BTreeMap::from([
        (
            "corundum-abi",
            vec![
                "wasmtime",
                "wat",
                "wasm-encoder",
                "wasmparser",
                "tar",
                "hyper",
                "tokio",
                "corundum-pack",
            ],
        ),
        (
            "corundum-pack",
            vec!["wasmtime", "hyper", "tokio", "corundum-host"],
        ),
        (
            "corundum-exchange",
            vec![
                "wasmtime",
                "hyper",
                "http",
                "corundum-abi",
                "corundum-pack",
                "corundum-host",
                "corundum-router",
            ],
        ),
        (
            "corundum-host",
            vec![
                "hyper",
                "http",
                "ureq",
                "corundum-router",
                "corundum-compiler",
            ],
        ),
        (
            "corundum-router",
            vec![
                "wasmtime",
                "wat",
                "wasm-encoder",
                "tar",
                "corundum-pack",
                "corundum-host",
                "corundum-compiler",
            ],
        ),
        (
            "corundum-compiler",
            vec!["wasmtime", "hyper", "corundum-host", "corundum-router"],
        ),
        (
            "corundum-build",
            vec!["wasmtime", "hyper", "corundum-host", "corundum-router"],
        ),
    ]);
    for (package, banned) in rules {
        let dependencies = dependencies(package);
        assert!(dependencies.len() > 5, "{package} has dependencies");
        for name in banned {
            assert!(
                !dependencies.contains(name),
                "{package} must not link {name}"
            );
        }
    }
}
