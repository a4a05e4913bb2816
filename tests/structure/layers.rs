//! Layers: crates that a crate must not link, checked against `cargo tree`.

use std::collections::BTreeSet;
use std::process::Command;

/// Packages that compile or run WebAssembly.
const ENGINE: &[&str] = &["wasmtime", "corundum-host"];
/// Packages that serve HTTP.
const HTTP_SERVER: &[&str] = &["hyper", "corundum-router"];
/// Packages of the node, which are above all libraries.
const NODE: &[&str] = &[
    "corundum-store",
    "corundum-control",
    "corundum-cli",
    "corundum",
];

/// The packages that each crate must not link, directly or through another.
const RULES: [(&str, &[&[&str]]); 11] = [
    (
        "corundum-abi",
        &[
            &["wat", "wasm-encoder", "wasmparser", "tar", "tokio"],
            &["corundum-pack", "corundum-api"],
            ENGINE,
            HTTP_SERVER,
            NODE,
        ],
    ),
    (
        "corundum-pack",
        &[&["tokio", "corundum-api"], ENGINE, HTTP_SERVER, NODE],
    ),
    (
        "corundum-exchange",
        &[
            &["http", "corundum-abi", "corundum-pack", "corundum-api"],
            ENGINE,
            HTTP_SERVER,
            NODE,
        ],
    ),
    (
        "corundum-host",
        &[
            &["http", "ureq", "corundum-compiler", "corundum-api"],
            HTTP_SERVER,
            NODE,
        ],
    ),
    ("corundum-compiler", &[ENGINE, HTTP_SERVER, NODE]),
    ("corundum-build", &[ENGINE, HTTP_SERVER, NODE]),
    (
        "corundum-router",
        &[
            &["wat", "wasm-encoder", "tar"],
            &["corundum-pack", "corundum-compiler", "corundum-api"],
            ENGINE,
            NODE,
        ],
    ),
    (
        "corundum-api",
        &[
            &["tokio", "rusqlite", "clap", "corundum-compiler"],
            ENGINE,
            HTTP_SERVER,
            NODE,
        ],
    ),
    (
        "corundum-store",
        &[
            &["clap", "corundum-control", "corundum-cli"],
            ENGINE,
            HTTP_SERVER,
        ],
    ),
    ("corundum-control", &[&["clap", "corundum-cli", "corundum"]]),
    (
        "corundum-cli",
        &[
            &[
                "rusqlite",
                "corundum-compiler",
                "corundum-store",
                "corundum-control",
            ],
            ENGINE,
            HTTP_SERVER,
        ],
    ),
];

/// Crates that only tests may depend on.
const TEST_CRATES: [&str; 2] = ["corundum-test-support", "corundum-router-test-support"];

#[test]
fn crates_link_only_layers_below_them() {
    let packages = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let mut violations = Vec::new();
    for (package, banned) in RULES {
        if !packages.contains(&format!("\"name\":\"{package}\"")) {
            println!("{package} is not a package of the workspace");
            continue;
        }
        let dependencies = dependencies(package);
        let banned = banned.iter().copied().flatten().chain(&TEST_CRATES);
        for name in banned.filter(|name| dependencies.contains(**name)) {
            violations.push(format!("{package} must not link {name}"));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// Returns everything that `package` links, without the package itself.
fn dependencies(package: &str) -> BTreeSet<String> {
    let tree = cargo(&[
        "tree",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--edges",
        "normal",
        "--package",
        package,
    ]);
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let mut names: BTreeSet<String> = names.map(str::to_owned).collect();
    assert!(names.remove(package), "{package} is missing in {names:?}");
    assert!(!names.is_empty(), "{package} has no dependencies");
    names
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(crate::tree::root())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
