//! Ruby, as a node knows a language.

use std::sync::LazyLock;

use crate::language::LanguageProfile;

/// The language's name.
pub const LANGUAGE: &str = "ruby";

/// Returns what a node must know of Ruby.
pub fn profile() -> &'static LanguageProfile {
    static PROFILE: LazyLock<LanguageProfile> = LazyLock::new(|| {
        // The file is a part of this program, and a test reads it.
        toml::from_str(include_str!("language.toml")).unwrap_or_default()
    });
    &PROFILE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_of_ruby_is_valid() {
        let profile = profile();
        assert_eq!(profile.title, "Ruby");
        assert!(profile.sample.contains_key("config.ru"));
    }

    #[test]
    fn environments_of_rack_and_rails_agree_unless_both_are_set() {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let names = ["RACK_ENV", "RAILS_ENV"];
        let environ = profile().environ([]);
        assert!(
            names
                .iter()
                .all(|name| environ.contains(&own(name, "production")))
        );
        for name in names {
            let environ = profile().environ([own(name, "staging")]);
            assert!(
                names
                    .iter()
                    .all(|name| environ.contains(&own(name, "staging")))
            );
        }
        let environ = profile().environ([
            own("RACK_ENV", "a"),
            own("RAILS_ENV", "b"),
            own("HOME", "/tmp"),
        ]);
        for pair in [
            own("RACK_ENV", "a"),
            own("RAILS_ENV", "b"),
            own("HOME", "/tmp"),
        ] {
            assert!(environ.contains(&pair), "{pair:?}");
        }
    }
}
