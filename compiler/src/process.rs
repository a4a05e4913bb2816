//! What a process of an app is started with: its environment and its arguments.

use std::sync::Arc;

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
