//! Gems that make no sense in a dyno. The pack has a stand-in for each, which apps can load.

/// Names of the gems; `sdk/ruby/lib/stand_ins` has a directory for each.
const STAND_INS: [&str; 13] = [
    "agoo",
    "bootsnap",
    "byebug",
    "debug",
    "falcon",
    "iodine",
    "listen",
    "passenger",
    "puma",
    "puma_worker_killer",
    "spring",
    "thin",
    "unicorn",
];

/// Returns whether the pack has a stand-in for the gem.
pub(super) fn has_stand_in(name: &str) -> bool {
    STAND_INS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_has_a_directory_for_each_stand_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/ruby/lib/stand_ins");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "unused")
            .collect();
        names.sort();
        assert_eq!(names, STAND_INS);
    }
}
