//! Random names for apps that are created without one.

use corundum_abi::names::AppName;

/// Returns a name of two words and a number, in the style of Heroku.
pub(crate) fn random() -> AppName {
    const FIRST: [&str; 12] = [
        "amber", "brisk", "calm", "deep", "early", "fair", "golden", "hidden", "keen", "lucid",
        "quiet", "swift",
    ];
    const SECOND: [&str; 12] = [
        "brook", "cliff", "dawn", "field", "garnet", "harbor", "island", "lattice", "meadow",
        "ridge", "spinel", "valley",
    ];
    loop {
        let bytes = uuid::Uuid::new_v4().into_bytes();
        let (first, second) = (
            FIRST[bytes[0] as usize % 12],
            SECOND[bytes[1] as usize % 12],
        );
        let number = 10_000 + u32::from_le_bytes([bytes[2], bytes[3], bytes[4], 0]) % 90_000;
        if let Ok(name) = format!("{first}-{second}-{number}").parse() {
            return name;
        }
    }
}
