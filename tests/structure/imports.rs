//! Import circles: files of a crate that reach each other through imports.
//!
//! A module may use the modules around it: a child that takes a name from its parent makes no arrow, since the two are
//! one unit. The arrow from the parent to the child counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::modules::ModuleTree;
use crate::tree;

/// Files in the largest circle that a crate may have, by the start of its path. Other crates: [`LARGEST`].
const LIMITS: [(&str, usize); 1] = [("host", 4)];
const LARGEST: usize = 3;

/// Names that one file takes from another.
type Arrows = BTreeMap<(String, String), BTreeSet<String>>;

/// Steps through re-exports before a path is given up.
const STEPS: usize = 8;

#[test]
fn import_circles_are_small() {
    let root = tree::root();
    let mut failures = Vec::new();
    for package in packages(&root) {
        let arrows = arrows(&root, &package);
        let circles = circles(&arrows);
        let largest = circles.first().map_or(1, Vec::len);
        let name = package.display().to_string();
        println!("{name}: largest import circle {largest} files");
        let limit = LIMITS
            .iter()
            .find(|(start, _)| *start == name)
            .map_or(LARGEST, |(_, limit)| *limit);
        for circle in &circles {
            let text = describe(circle, &arrows);
            println!("  {text}");
            if circle.len() > limit {
                failures.push(format!("{name}, limit {limit}: {text}"));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "import circles:\n{}",
        failures.join("\n")
    );
}

#[test]
fn modules_are_not_included_by_path() {
    let files = tree::files(&[".rs"]);
    let has_path = |text: &str| {
        text.lines()
            .any(|line| line.trim_start().starts_with("#[path"))
    };
    let included = files.iter().filter(|file| has_path(&file.text));
    let included: Vec<&str> = included.map(|file| file.path.as_str()).collect();
    assert!(
        included.is_empty(),
        "share a module through a crate in place of #[path]: {included:?}"
    );
}

/// Returns the directories of all packages with a `src` directory.
fn packages(root: &Path) -> Vec<PathBuf> {
    let manifests = tree::files(&["Cargo.toml"]);
    let directories = manifests.iter().map(|manifest| {
        let path = Path::new(&manifest.path);
        path.parent().unwrap().to_owned()
    });
    directories
        .filter(|directory| root.join(directory).join("src").is_dir())
        .collect()
}

/// Returns the arrows between the files of a package.
fn arrows(root: &Path, package: &Path) -> Arrows {
    let mut arrows = Arrows::new();
    for crate_root in ["src/lib.rs", "src/main.rs"] {
        let file = package.join(crate_root);
        if root.join(&file).exists() {
            ModuleTree::read(root, &file).add_arrows(&mut arrows);
        }
    }
    arrows
}

/// Item that a path leads to.
struct PathTarget {
    module: usize,
    /// Name of the item, if the path leads to one and not to a module.
    item: Option<String>,
}

impl ModuleTree {
    fn add_arrows(&self, arrows: &mut Arrows) {
        for (index, module) in self.modules.iter().enumerate() {
            let imports = module.imports.values().chain(&module.paths);
            for path in imports {
                let Some(target) = self.resolve(index, path, STEPS) else {
                    continue;
                };
                // The import of a module takes nothing yet: the paths that use it do.
                if let Some(item) = target.item {
                    self.add_arrow(arrows, index, target.module, item);
                }
            }
            for path in &module.globs {
                if let Some(target) = self.resolve(index, path, STEPS) {
                    self.add_arrow(arrows, index, target.module, "*".to_owned());
                }
            }
        }
    }

    fn add_arrow(&self, arrows: &mut Arrows, from: usize, to: usize, name: String) {
        if self.is_around(to, from) {
            return;
        }
        let (from, to) = (&self.modules[from].file, &self.modules[to].file);
        if from != to {
            let names = arrows.entry((from.clone(), to.clone())).or_default();
            names.insert(name);
        }
    }

    /// Returns whether `outer` is an ancestor of `inner`.
    fn is_around(&self, outer: usize, inner: usize) -> bool {
        let ancestors = std::iter::successors(self.modules[inner].parent, |module| {
            self.modules[*module].parent
        });
        ancestors.into_iter().any(|ancestor| ancestor == outer)
    }

    /// Follows a path from a module, through the imports of modules that re-export.
    fn resolve(&self, from: usize, path: &[String], steps: usize) -> Option<PathTarget> {
        let first = path.first()?.as_str();
        let mut rest = &path[1..];
        let mut module = match first {
            "crate" => 0,
            "self" => from,
            "super" => self.modules[from].parent?,
            name => match self.modules[from].children.get(name) {
                Some(child) => *child,
                None => {
                    let import = self.modules[from].imports.get(name)?;
                    // An import of an extern crate, or of itself, does not lead into this crate.
                    if steps == 0 || import.first().is_some_and(|first| first == name) {
                        return None;
                    }
                    let target = self.resolve(from, import, steps - 1)?;
                    if target.item.is_some() {
                        return Some(target);
                    }
                    target.module
                }
            },
        };
        while let Some((segment, behind)) = rest.split_first() {
            if segment == "super" {
                module = self.modules[module].parent?;
            } else if segment == "self" {
                // It stands for the module before it.
            } else if let Some(child) = self.modules[module].children.get(segment) {
                module = *child;
            } else {
                return self.item(module, segment, behind, steps);
            }
            rest = behind;
        }
        Some(PathTarget { module, item: None })
    }

    /// Finds the module that defines `name`, which `module` defines or re-exports.
    fn item(
        &self,
        module: usize,
        name: &str,
        behind: &[String],
        steps: usize,
    ) -> Option<PathTarget> {
        let here = Some(PathTarget {
            module,
            item: Some(name.to_owned()),
        });
        if steps == 0 || self.modules[module].items.contains(name) {
            return here;
        }
        if let Some(import) = self.modules[module].imports.get(name) {
            let whole: Vec<String> = import.iter().chain(behind).cloned().collect();
            return self.resolve(module, &whole, steps - 1).or(here);
        }
        for glob in &self.modules[module].globs {
            let target = self.resolve(module, glob, steps - 1);
            let Some(target) = target.filter(|target| target.module != module) else {
                continue;
            };
            if self.modules[target.module].items.contains(name) {
                return Some(PathTarget {
                    item: Some(name.to_owned()),
                    ..target
                });
            }
        }
        here
    }
}

/// Returns the strongly connected sets of more than one file, the largest first.
fn circles(arrows: &Arrows) -> Vec<Vec<String>> {
    let mut reached: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, _) in arrows.keys() {
        if reached.contains_key(from.as_str()) {
            continue;
        }
        let mut seen = BTreeSet::new();
        let mut open = vec![from.as_str()];
        while let Some(file) = open.pop() {
            for (source, target) in arrows.keys() {
                if source == file && seen.insert(target.as_str()) {
                    open.push(target);
                }
            }
        }
        reached.insert(from, seen);
    }
    let reaches = |from: &str, to: &str| reached.get(from).is_some_and(|seen| seen.contains(to));
    let mut circles: BTreeSet<Vec<String>> = BTreeSet::new();
    for file in reached.keys() {
        let members = reached
            .keys()
            .filter(|other| reaches(file, other) && reaches(other, file));
        let circle: Vec<String> = members.map(|member| (*member).to_owned()).collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    let mut circles: Vec<_> = circles.into_iter().collect();
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    circles
}

/// Lists the files of a circle, and the arrows between them.
fn describe(circle: &[String], arrows: &Arrows) -> String {
    let mut text = format!("{} files: {}", circle.len(), circle.join(", "));
    for ((from, to), names) in arrows {
        if circle.contains(from) && circle.contains(to) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            text.push_str(&format!("\n    {from} -> {to}: {}", names.join(", ")));
        }
    }
    text
}
