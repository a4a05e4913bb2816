//! The difference between the outbound lists of two releases, as the pusher reads it.

use std::collections::BTreeSet;

use corundum_abi::outbound::{OutboundDefault, OutboundTarget};

/// Lines of one list that the pusher reads.
const MAX_LINES: usize = 50;

/// The list of a release, if its `app.json` has one.
pub(crate) type OutboundList = Option<Vec<OutboundTarget>>;

/// Returns lines about a new release whose list is `new`. `old` is the list of the release before it; the outer `None` is
/// for a first release. There are no lines if the list is the same, or if the first release has none.
pub(crate) fn list_changes(
    old: Option<&OutboundList>,
    new: &OutboundList,
    default: OutboundDefault,
) -> Vec<String> {
    let before = old.cloned().flatten();
    match (before, new) {
        (None, None) => Vec::new(),
        (Some(_), None) => vec![match default {
            OutboundDefault::Public => {
                "Outbound connections: app.json lists none any more; the app reaches all public addresses"
            }
            OutboundDefault::Listed | OutboundDefault::Granted => {
                "Outbound connections: app.json lists none any more; the app reaches only what is granted to it"
            }
        }
        .to_owned()],
        (None, Some(list)) => {
            let heading = match list.len() {
                0 => "Outbound connections: app.json allows none",
                _ => "Outbound connections: app.json limits them to",
            };
            with_lines(heading, list.iter().map(|target| format!("  {target}")))
        }
        (Some(before), Some(list)) => {
            let (before, list) = (set(&before), set(list));
            if before == list {
                return Vec::new();
            }
            let added = list.difference(&before).map(|target| format!("+ {target}"));
            let removed = before.difference(&list).map(|target| format!("- {target}"));
            with_lines("Outbound connections: the list has changed", added.chain(removed))
        }
    }
}

fn set(list: &[OutboundTarget]) -> BTreeSet<&OutboundTarget> {
    list.iter().collect()
}

fn with_lines(heading: &str, mut lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut text = vec![heading.to_owned()];
    text.extend(lines.by_ref().take(MAX_LINES));
    match lines.count() {
        0 => {}
        more => text.push(format!("  and {more} more")),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> OutboundList {
        Some(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn changes(old: Option<&OutboundList>, new: &OutboundList) -> Vec<String> {
        list_changes(old, new, OutboundDefault::Public)
    }

    #[test]
    fn changed_entries_are_shown_and_equal_lists_are_not() {
        let old = list(&["https://a.example", "https://b.example"]);
        let new = list(&["tcp://a.example:443", "https://c.example"]);
        assert_eq!(
            changes(Some(&old), &new),
            [
                "Outbound connections: the list has changed",
                "+ https://c.example",
                "- https://b.example"
            ]
        );
        let same = list(&["https://b.example:443", "https://A.example"]);
        assert_eq!(changes(Some(&old), &same), Vec::<String>::new());
        assert_eq!(changes(None, &None), Vec::<String>::new());
        assert_eq!(changes(Some(&None), &None), Vec::<String>::new());
    }

    #[test]
    fn first_and_removed_lists_are_announced() {
        let new = list(&["https://a.example"]);
        for old in [None, Some(&None)] {
            assert_eq!(
                changes(old, &new),
                [
                    "Outbound connections: app.json limits them to",
                    "  https://a.example"
                ]
            );
        }
        assert_eq!(
            changes(None, &list(&[])),
            ["Outbound connections: app.json allows none"]
        );
        let gone = changes(Some(&new), &None);
        assert!(gone[0].ends_with("all public addresses"), "{gone:?}");
        let gone = list_changes(Some(&new), &None, OutboundDefault::Listed);
        assert!(gone[0].ends_with("granted to it"), "{gone:?}");
    }

    #[test]
    fn long_difference_is_cut() {
        let many: Vec<String> = (0..80).map(|n| format!("https://h{n}.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let lines = changes(None, &list(&many));
        assert_eq!(lines.len(), MAX_LINES + 2);
        assert_eq!(lines.last().unwrap(), "  and 30 more");
    }
}
