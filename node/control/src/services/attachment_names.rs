//! Names of add-ons and of their attachments.

use std::collections::BTreeSet;

use super::ServiceNames;

/// Colours of further attachments, as on Heroku.
const COLOURS: [&str; 16] = [
    "AMBER", "AQUA", "BLUE", "BRONZE", "COPPER", "CRIMSON", "CYAN", "GOLD", "GREEN", "IVORY",
    "JADE", "MAUVE", "ORANGE", "PINK", "PURPLE", "RED",
];

/// Returns a random name for an add-on, as `postgresql-curly-12345`.
pub(crate) fn random(prefix: &str) -> String {
    const WORDS: [&str; 16] = [
        "angular",
        "clear",
        "concave",
        "cubed",
        "curly",
        "deep",
        "elliptical",
        "flat",
        "graceful",
        "infinite",
        "pointy",
        "rigid",
        "rugged",
        "shaped",
        "solid",
        "tall",
    ];
    let bytes = uuid::Uuid::new_v4().into_bytes();
    let word = WORDS[usize::from(bytes[0] % 16)];
    let number = 10_000 + u32::from_le_bytes([bytes[1], bytes[2], bytes[3], 0]) % 90_000;
    format!("{prefix}-{word}-{number}")
}

/// Returns whether `name` can begin the name of a config var.
pub(crate) fn is_valid(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.len() <= 64
        && name.chars().all(plain)
}

/// Chooses the name of an attachment whose config vars are free: the service's own, or one with a colour. `taken` has the
/// names of the app's attachments and config vars.
pub(crate) fn choose(names: &ServiceNames, taken: &BTreeSet<String>) -> Option<String> {
    let is_free = |name: &String| {
        !taken.contains(name)
            && names
                .variables
                .iter()
                .all(|end| !taken.contains(&format!("{name}_{end}")))
    };
    let coloured = COLOURS
        .iter()
        .map(|colour| format!("{}_{colour}", names.further));
    std::iter::once(names.attachment.to_owned())
        .chain(coloured)
        .find(is_free)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: ServiceNames = ServiceNames {
        name: "postgres",
        aliases: &[],
        addons: "postgresql",
        attachment: "DATABASE",
        further: "HEROKU_POSTGRESQL",
        variables: &["URL"],
        title: "PostgreSQL",
        gems: &[],
    };

    #[test]
    fn taken_name_or_config_var_leads_to_a_colour() {
        let taken = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let choose = |names: &[&str]| choose(&NAMES, &taken(names)).unwrap();
        assert_eq!(choose(&[]), "DATABASE");
        assert_eq!(choose(&["DATABASE"]), "HEROKU_POSTGRESQL_AMBER");
        assert_eq!(choose(&["DATABASE_URL"]), "HEROKU_POSTGRESQL_AMBER");
        assert_eq!(
            choose(&["DATABASE", "HEROKU_POSTGRESQL_AMBER_URL"]),
            "HEROKU_POSTGRESQL_AQUA"
        );
    }

    #[test]
    fn attachment_names_are_the_beginning_of_config_vars() {
        assert!(is_valid("DATABASE") && is_valid("FOLLOWER_2"));
        for name in ["", "1A", "a", "A-B", "A=B", "Ä"] {
            assert!(!is_valid(name), "{name}");
        }
    }
}
