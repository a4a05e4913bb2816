//! The folder that `corundum pack new` writes: a `pack.toml` and a module in C that answers every request.

use std::fs;
use std::io;
use std::path::Path;

use super::names::{self, BadPackName};

/// Names and texts of the files. `NAME` and `TITLE` are replaced.
const FILES: [(&str, &str); 4] = [
    ("pack.toml", include_str!("../../../template/pack.toml")),
    ("build.sh", include_str!("../../../template/build.sh")),
    ("dyno.c", include_str!("../../../template/dyno.c")),
    (
        "sample/app.NAME",
        include_str!("../../../template/sample/app.NAME"),
    ),
];

/// Failure to write the folder.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The name is not one of a language.
    #[error(transparent)]
    Name(#[from] BadPackName),
    /// The folder exists, or cannot be written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Writes the source of a new pack for the language `name` into `directory`, which must not exist.
///
/// # Errors
///
/// [`TemplateError`].
pub fn write(name: &str, directory: &Path) -> Result<(), TemplateError> {
    names::check_language(name)?;
    if name == crate::ruby::LANGUAGE {
        return Err(BadPackName::Language(name.to_owned()).into());
    }
    let at = |error: io::Error| {
        io::Error::new(error.kind(), format!("{}: {error}", directory.display()))
    };
    fs::create_dir(directory).map_err(at)?;
    fs::create_dir(directory.join("sample")).map_err(at)?;
    let mut title = name.to_owned();
    title[..1].make_ascii_uppercase();
    let filled = |text: &str| text.replace("NAME", name).replace("TITLE", &title);
    for (path, text) in FILES {
        fs::write(directory.join(filled(path)), filled(text)).map_err(at)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::recipe::PackRecipe;
    use super::*;

    #[test]
    fn new_folder_has_a_valid_description() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("toy");
        write("toy", &folder).unwrap();
        let recipe = PackRecipe::read(&folder).unwrap();
        assert_eq!(recipe.profile.title, "Toy");
        assert_eq!(recipe.profile.detect.files, ["app.toy"]);
        assert!(recipe.profile.sample.contains_key("app.toy"));
        assert!(write("toy", &folder).is_err());
        for name in ["ruby", "../x", ""] {
            assert!(write(name, &directory.path().join("x")).is_err(), "{name}");
        }
    }
}
