//! The program `pkg-config`, over the descriptions in the sysroot.
//!
//! The form of the files is that of pkg-config(1): variables, then fields.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Variables may refer to each other to this depth.
const MAX_DEPTH: usize = 10;
/// Most packages that one query reads.
const MAX_PACKAGES: usize = 50;

/// Answers a command line. Returns the exit status and the output.
pub(super) fn run(arguments: &[String], sysroot: &Path) -> (i32, String) {
    let (options, names): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|word| word.starts_with('-'));
    let has = |name: &str| options.iter().any(|option| *option == name);
    if has("--version") {
        return (0, "0.29.2\n".to_owned());
    }
    // A constraint on the version follows the name, as `>= 1.2` in words of its own or in one.
    let names: Vec<&str> = names
        .iter()
        .flat_map(|name| name.split_whitespace())
        .filter(|word| word.starts_with(|letter: char| letter.is_ascii_alphabetic()))
        .collect();
    let mut packages = Vec::new();
    for name in &names {
        match Package::read(name, sysroot) {
            Some(package) => packages.push(package),
            None => return (1, format!("Package '{name}' was not found\n")),
        }
    }
    if has("--modversion") {
        let versions = packages
            .iter()
            .map(|package| format!("{}\n", package.field("Version")));
        return (0, versions.collect());
    }
    if let Some(variable) = options
        .iter()
        .find_map(|option| option.strip_prefix("--variable="))
    {
        let values = packages
            .iter()
            .map(|package| format!("{}\n", package.variable(variable, 0)));
        return (0, values.collect());
    }
    let all = with_required(packages, sysroot);
    let flags = |field: &str| {
        let texts = all.iter().map(|package| package.field(field));
        texts
            .flat_map(|text| {
                text.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    };
    let mut words: Vec<String> = Vec::new();
    let mut add = |found: Vec<String>, keep: &dyn Fn(&str) -> bool| {
        for word in found {
            if keep(&word) && !words.contains(&word) {
                words.push(word);
            }
        }
    };
    if has("--cflags") {
        add(flags("Cflags"), &|_| true);
    }
    if has("--cflags-only-I") {
        add(flags("Cflags"), &|word| word.starts_with("-I"));
    }
    if has("--cflags-only-other") {
        add(flags("Cflags"), &|word| !word.starts_with("-I"));
    }
    for (option, keep) in [
        ("--libs", (|_| true) as fn(&str) -> bool),
        ("--libs-only-l", |word| word.starts_with("-l")),
        ("--libs-only-L", |word| word.starts_with("-L")),
        ("--libs-only-other", |word| {
            !word.starts_with("-l") && !word.starts_with("-L")
        }),
    ] {
        if has(option) {
            add([flags("Libs"), flags("Libs.private")].concat(), &keep);
        }
    }
    (0, format!("{}\n", words.join(" ")))
}

/// Adds the packages that `packages` require. All libraries are static, so that private ones are needed too.
fn with_required(packages: Vec<Package>, sysroot: &Path) -> Vec<Package> {
    let mut all = packages;
    let mut next = 0;
    while next < all.len() && all.len() < MAX_PACKAGES {
        let required = [
            all[next].field("Requires"),
            all[next].field("Requires.private"),
        ]
        .join(" ");
        for word in required.split([' ', ',']) {
            if word.starts_with(|letter: char| letter.is_ascii_alphabetic())
                && !all.iter().any(|package| package.name == word)
            {
                all.extend(Package::read(word, sysroot));
            }
        }
        next += 1;
    }
    all
}

/// The description of a library.
struct Package {
    name: String,
    variables: HashMap<String, String>,
    fields: HashMap<String, String>,
}

impl Package {
    fn read(name: &str, sysroot: &Path) -> Option<Self> {
        let is_plain = |letter: char| {
            letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '+')
        };
        if !name.chars().all(is_plain) || name.starts_with('.') {
            return None;
        }
        let text = ["lib", "share"].iter().find_map(|folder| {
            let path = sysroot
                .join("usr")
                .join(folder)
                .join("pkgconfig")
                .join(format!("{name}.pc"));
            fs::read_to_string(path).ok()
        })?;
        let (mut variables, mut fields) = (HashMap::new(), HashMap::new());
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let Some(at) = line.find(['=', ':']) else {
                continue;
            };
            let (key, value) = (
                line[..at].trim().to_owned(),
                line[at + 1..].trim().to_owned(),
            );
            match line.as_bytes()[at] {
                b'=' => variables.insert(key, value),
                _ => fields.insert(key, value),
            };
        }
        Some(Self {
            name: name.to_owned(),
            variables,
            fields,
        })
    }

    fn field(&self, name: &str) -> String {
        self.fields
            .get(name)
            .map(|text| self.expand(text, 0))
            .unwrap_or_default()
    }

    fn variable(&self, name: &str, depth: usize) -> String {
        self.variables
            .get(name)
            .map(|text| self.expand(text, depth))
            .unwrap_or_default()
    }

    fn expand(&self, text: &str, depth: usize) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            out.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                break;
            };
            if depth < MAX_DEPTH {
                out.push_str(&self.variable(&rest[at + 2..at + end], depth + 1));
            }
            rest = &rest[at + end + 1..];
        }
        out + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(words: &str) -> (i32, String) {
        let sysroot = tempfile::tempdir().unwrap();
        let folder = sysroot.path().join("usr/lib/pkgconfig");
        fs::create_dir_all(&folder).unwrap();
        let write =
            |name: &str, text: &str| fs::write(folder.join(format!("{name}.pc")), text).unwrap();
        write(
            "xml",
            "prefix=/usr\nincludedir=${prefix}/include\nlibdir=${prefix}/lib\nVersion: 2.9\nRequires: z >= 1.2\nCflags: -I${includedir}/xml -DX\nLibs: -L${libdir} -lxml\nLibs.private: -lm\n",
        );
        write("z", "Version: 1.3\nLibs: -L/usr/lib -lz\n");
        write("loop", "a=${b}\nb=${a}\nLibs: ${a}\nRequires: loop\n");
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        run(&words, sysroot.path())
    }

    #[test]
    fn flags_of_required_packages_follow() {
        assert_eq!(query("--exists xml"), (0, "\n".to_owned()));
        assert_eq!(
            query("--cflags xml"),
            (0, "-I/usr/include/xml -DX\n".to_owned())
        );
        assert_eq!(query("--cflags-only-I xml").1, "-I/usr/include/xml\n");
        assert_eq!(query("--libs xml").1, "-L/usr/lib -lxml -lz -lm\n");
        assert_eq!(query("--libs-only-l xml").1, "-lxml -lz -lm\n");
        assert_eq!(query("--modversion xml").1, "2.9\n");
        assert_eq!(query("--variable=includedir xml").1, "/usr/include\n");
        assert_eq!(query("--exists xml >= 2.0").0, 0);
    }

    #[test]
    fn unknown_and_hostile_names_fail() {
        assert_eq!(query("--libs nothing").0, 1);
        assert_eq!(
            query("--libs ../xml").0,
            0,
            "a word that is no name is no package"
        );
        assert_eq!(query("--libs a/../xml").0, 1);
        assert_eq!(query("--libs loop").0, 0);
    }
}
