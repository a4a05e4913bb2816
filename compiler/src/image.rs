//! A slug with its config vars as an image: the app is booted, which is also the proof that it runs.

use std::path::Path;
use std::sync::Arc;

use corundum_host::boot::{self, App, BootError, BootLimits, Booted};
use corundum_host::engine::Engine;
use corundum_host::log::LogSink;
use corundum_host::pack::Pack;
use corundum_sdk::archive::Archive;

/// The platform's defaults; config vars prevail over them.
const DEFAULTS: [(&str, &str); 3] = [
    ("LANG", "en_US.UTF-8"),
    ("PORT", "5000"),
    ("RACK_ENV", "production"),
];

/// The environment of an app with these config vars.
pub fn environ(config: impl IntoIterator<Item = (String, String)>) -> Arc<[(String, String)]> {
    let mut environ: std::collections::BTreeMap<String, String> = DEFAULTS
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    environ.extend(config);
    environ.into_iter().collect()
}

/// A process type's command as its arguments. Words are split at blanks; quotes keep blanks together.
pub fn arguments(command: &str) -> Arc<[String]> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words.into()
}

/// Boots `slug` and writes its image to `path`.
///
/// # Errors
///
/// [`BootError`]; the app's own words are in `log`.
pub async fn make(
    engine: &Engine,
    pack: &Pack,
    slug: Arc<Archive>,
    command: &str,
    environ: Arc<[(String, String)]>,
    log: Arc<dyn LogSink>,
    path: &Path,
) -> Result<Booted, BootError> {
    let app = App {
        slug: Some(slug),
        arguments: arguments(command),
        environ,
    };
    boot::boot(engine, pack, &app, &BootLimits::default(), log, path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_into_words() {
        assert_eq!(*arguments("rackup  -p $PORT"), ["rackup", "-p", "$PORT"]);
        assert_eq!(
            *arguments("ruby -e 'puts \"a b\"' ''"),
            ["ruby", "-e", "puts \"a b\"", ""]
        );
    }

    #[test]
    fn config_vars_prevail_over_defaults() {
        let environ = environ([("RACK_ENV".to_owned(), "staging".to_owned())]);
        assert!(environ.contains(&("RACK_ENV".to_owned(), "staging".to_owned())));
        assert!(environ.contains(&("LANG".to_owned(), "en_US.UTF-8".to_owned())));
    }
}
