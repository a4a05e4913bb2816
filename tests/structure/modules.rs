//! The module tree of a crate, with what each module imports and which paths it names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::lexer::{Token, tokens};

/// A module of a crate.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// The file that holds it, from the root of the repository.
    pub(crate) file: String,
    pub(crate) parent: Option<usize>,
    /// Child modules by name.
    pub(crate) children: BTreeMap<String, usize>,
    /// Imported names with the paths that they stand for.
    pub(crate) imports: BTreeMap<String, Vec<String>>,
    /// Paths whose whole contents are imported.
    pub(crate) globs: Vec<Vec<String>>,
    /// Names of items that the module defines.
    pub(crate) items: BTreeSet<String>,
    /// Paths that the code of the module names.
    pub(crate) paths: BTreeSet<Vec<String>>,
}

/// The modules of a crate. The first one is its root.
#[derive(Debug, Default)]
pub(crate) struct ModuleTree {
    pub(crate) modules: Vec<Module>,
}

/// Keywords before the name of an item.
const ITEMS: [&str; 9] = [
    "fn",
    "struct",
    "enum",
    "union",
    "trait",
    "type",
    "const",
    "static",
    "macro_rules",
];

impl ModuleTree {
    /// Reads the crate whose root is in `file`, without its `#[cfg(test)]` items.
    pub(crate) fn read(root: &Path, file: &Path) -> Self {
        let mut tree = Self::default();
        tree.add_file(root, file, None, file.parent().unwrap());
        tree
    }

    fn add(&mut self, file: &Path, parent: Option<usize>) -> usize {
        self.modules.push(Module {
            file: file.to_string_lossy().into_owned(),
            parent,
            ..Module::default()
        });
        self.modules.len() - 1
    }

    /// Adds the module in `file`, whose child modules are in `children`.
    fn add_file(
        &mut self,
        root: &Path,
        file: &Path,
        parent: Option<usize>,
        children: &Path,
    ) -> usize {
        let text = std::fs::read_to_string(root.join(file));
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let module = self.add(file, parent);
        let tokens = without_tests(&tokens(&text));
        self.add_tokens(root, module, &tokens, children);
        module
    }

    fn add_tokens(&mut self, root: &Path, module: usize, tokens: &[Token], children: &Path) {
        let mut at = 0;
        while at < tokens.len() {
            let next = |offset: usize| tokens.get(at + offset);
            let name = next(1).and_then(Token::word).map(str::to_owned);
            match (tokens[at].word(), name) {
                (Some("mod"), Some(name)) if next(2).is_some_and(|token| token.is(";")) => {
                    let file = module_file(root, children, &name);
                    let child = self.add_file(root, &file, Some(module), &children.join(&name));
                    self.modules[module].children.insert(name, child);
                    at += 3;
                }
                (Some("mod"), Some(name)) if next(2).is_some_and(|token| token.is("{")) => {
                    let end = closing(tokens, at + 2);
                    let file = PathBuf::from(&self.modules[module].file);
                    let child = self.add(&file, Some(module));
                    self.modules[module].children.insert(name.clone(), child);
                    self.add_tokens(root, child, &tokens[at + 3..end], &children.join(&name));
                    at = end + 1;
                }
                (Some("use"), _) => {
                    let end = (at..tokens.len()).find(|at| tokens[*at].is(";"));
                    let end = end.unwrap_or(tokens.len());
                    self.modules[module].add_use(&tokens[at + 1..end], Vec::new());
                    at = end + 1;
                }
                (Some(word), Some(name)) if ITEMS.contains(&word) => {
                    self.modules[module].items.insert(name);
                    at += 2;
                }
                (Some(_), _) => {
                    let (path, length) = path(&tokens[at..]);
                    if path.len() > 1 {
                        self.modules[module].paths.insert(path);
                    }
                    at += length;
                }
                _ => at += 1,
            }
        }
    }
}

impl Module {
    /// Adds a use tree behind the path `prefix`.
    fn add_use(&mut self, tokens: &[Token], prefix: Vec<String>) {
        let mut path = prefix;
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                Token::Word(word) if word == "as" => {
                    if let Some(alias) = tokens.get(at + 1).and_then(Token::word) {
                        self.imports.insert(alias.to_owned(), path);
                    }
                    return;
                }
                Token::Word(word) => path.push(word.clone()),
                token if token.is("*") => {
                    self.globs.push(path);
                    return;
                }
                token if token.is("{") => {
                    let end = closing(tokens, at);
                    for branch in split(&tokens[at + 1..end]) {
                        self.add_use(branch, path.clone());
                    }
                    return;
                }
                _ => {}
            }
            at += 1;
        }
        // `self` at the end stands for the path before it.
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if let Some(name) = path.last().cloned() {
            self.imports.insert(name, path);
        }
    }
}

/// Splits the branches of a use tree at the commas outside of braces.
fn split(tokens: &[Token]) -> Vec<&[Token]> {
    let mut branches = Vec::new();
    let (mut start, mut depth) = (0, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            token if token.is("{") => depth += 1,
            token if token.is("}") => depth -= 1,
            token if token.is(",") && depth == 0 => {
                branches.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    branches.push(&tokens[start..]);
    branches.retain(|branch| !branch.is_empty());
    branches
}

/// Reads the path at the start of `tokens`. Returns its segments and the number of tokens.
fn path(tokens: &[Token]) -> (Vec<String>, usize) {
    let mut segments = Vec::new();
    let mut at = 0;
    while let Some(word) = tokens.get(at).and_then(Token::word) {
        segments.push(word.to_owned());
        at += 1;
        if !tokens.get(at).is_some_and(|token| token.is("::")) {
            break;
        }
        at += 1;
    }
    (segments, at.max(1))
}

/// Returns the index of the bracket that closes the one at `open`.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Symbol("{" | "(" | "[") => depth += 1,
            Token::Symbol("}" | ")" | "]") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}

/// Removes items with `#[cfg(test)]`: tests may import anything.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_attribute = tokens[at].is("#") && tokens.get(at + 1).is_some_and(|t| t.is("["));
        if !is_attribute {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let end = closing(tokens, at + 1);
        let attribute = &tokens[at..end.min(tokens.len())];
        let is_cfg = attribute.get(2).is_some_and(|token| token.is_word("cfg"));
        let negated = attribute.iter().any(|token| token.is_word("not"));
        let is_test = is_cfg && !negated && attribute.iter().any(|token| token.is_word("test"));
        at = end + 1;
        if is_test {
            at = item_end(tokens, at);
        }
    }
    kept
}

/// Returns the index behind the item that starts at `at`.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    while at < tokens.len() {
        match &tokens[at] {
            token if token.is(";") => return at + 1,
            token if token.is("{") => return closing(tokens, at) + 1,
            Token::Symbol("(" | "[") => at = closing(tokens, at) + 1,
            _ => at += 1,
        }
    }
    at
}

/// Returns the file of the child module `name`.
fn module_file(root: &Path, children: &Path, name: &str) -> PathBuf {
    let file = children.join(format!("{name}.rs"));
    if root.join(&file).exists() {
        file
    } else {
        children.join(name).join("mod.rs")
    }
}
