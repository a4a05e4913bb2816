//! The updates of one push, and the rules for the branches and tags that it may change.

use serde::{Deserialize, Serialize};

/// The branches that deploy.
pub(crate) const DEPLOYED: [&str; 2] = ["refs/heads/main", "refs/heads/master"];

/// An update of a branch or a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefUpdate {
    /// The object to which the reference points, according to the pusher; zeros if the reference is new.
    pub(crate) old: String,
    /// The object to which the reference is to point; zeros if the reference is to be deleted.
    pub(crate) new: String,
    pub(crate) reference: String,
}

/// A push whose updates are refused. The pusher chooses others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpdateError {
    /// A line of git is not an update.
    #[error("git sent no update")]
    Line,
    /// The push changes both branches that deploy.
    #[error("main and master both deploy: push one of them, for example: git push corundum main")]
    TwoBranches,
    /// The push changes only branches that do not deploy.
    #[error(
        "only main and master deploy, not {0}.\n !     To deploy it: git push corundum {branch}:main",
        branch = branch_of(.0)
    )]
    OtherBranch(String),
    /// The push deletes a branch that deploys.
    #[error("The deployed branch cannot be deleted. To delete the app: corundum apps:destroy")]
    Deleted,
    /// The reference is neither a branch nor a tag.
    #[error("{0} is neither a branch nor a tag; push only those")]
    Namespace(String),
    /// The branch would be in the way of one that deploys.
    #[error("{0}: git has no room for main or master beside it; rename the branch")]
    Below(String),
}

impl RefUpdate {
    /// Reads a line of git: the old object, the new one and the reference.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Line`].
    pub(crate) fn parse(line: &str) -> Result<Self, UpdateError> {
        let fields: Vec<&str> = line.trim_end_matches('\n').splitn(3, ' ').collect();
        let [old, new, reference] = fields[..] else {
            return Err(UpdateError::Line);
        };
        if ![old, new].into_iter().all(is_object) || reference.is_empty() {
            return Err(UpdateError::Line);
        }
        Ok(Self {
            old: old.to_owned(),
            new: new.to_owned(),
            reference: reference.to_owned(),
        })
    }

    /// Returns whether the update deletes the reference.
    fn is_deletion(&self) -> bool {
        is_none(&self.new)
    }
}

/// Returns whether `object` names no object: all of its digits are zero.
pub(crate) fn is_none(object: &str) -> bool {
    object.bytes().all(|byte| byte == b'0')
}

/// Returns whether `text` is an object's name.
pub(crate) fn is_object(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the name of a branch without `refs/heads/`.
pub(crate) fn branch_of(reference: &str) -> &str {
    reference.trim_start_matches("refs/heads/")
}

/// Returns the update that deploys. `None` means that the push only stores tags, or deletes what does not deploy.
///
/// # Errors
///
/// [`UpdateError`]; git must then refuse the whole push.
pub(crate) fn deploying(updates: &[RefUpdate]) -> Result<Option<&RefUpdate>, UpdateError> {
    let mut deploying = None;
    let mut other = None;
    for update in updates {
        let reference = &update.reference;
        if DEPLOYED.contains(&reference.as_str()) {
            if update.is_deletion() {
                return Err(UpdateError::Deleted);
            }
            if deploying.replace(update).is_some() {
                return Err(UpdateError::TwoBranches);
            }
            continue;
        }
        let below = |branch: &str| reference.starts_with(&format!("{branch}/"));
        if DEPLOYED.iter().any(|branch| below(branch)) {
            return Err(UpdateError::Below(reference.clone()));
        }
        if reference.starts_with("refs/heads/") {
            other = other.or((!update.is_deletion()).then_some(reference));
        } else if !reference.starts_with("refs/tags/") {
            return Err(UpdateError::Namespace(reference.clone()));
        }
    }
    match (deploying, other) {
        (None, Some(other)) => Err(UpdateError::OtherBranch(other.clone())),
        (deploying, _) => Ok(deploying),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(reference: &str, new: &str) -> RefUpdate {
        RefUpdate {
            old: "0".repeat(40),
            new: new.repeat(40),
            reference: reference.to_owned(),
        }
    }

    fn pushed(references: &[&str]) -> Result<Option<String>, UpdateError> {
        let updates: Vec<_> = references.iter().map(|name| update(name, "a")).collect();
        deploying(&updates).map(|found| found.map(|update| update.reference.clone()))
    }

    #[test]
    fn branch_deploys_beside_tags_and_other_branches() {
        for references in [
            &["refs/heads/main"][..],
            &["refs/tags/v1", "refs/heads/main", "refs/tags/v2"],
            &["refs/heads/a", "refs/heads/main", "refs/heads/z"],
        ] {
            assert_eq!(
                pushed(references),
                Ok(Some("refs/heads/main".to_owned())),
                "{references:?}"
            );
        }
        assert_eq!(pushed(&["refs/tags/v1"]), Ok(None));
    }

    #[test]
    fn updates_that_could_not_be_kept_with_a_release_are_refused() {
        let both = ["refs/heads/main", "refs/heads/master"];
        assert_eq!(pushed(&both), Err(UpdateError::TwoBranches));
        for below in ["refs/heads/main/x", "refs/heads/master/a/b"] {
            let error = pushed(&["refs/heads/main", below]);
            assert_eq!(error, Err(UpdateError::Below(below.to_owned())));
        }
        for hidden in ["refs/replace/x", "refs/notes/a", "HEAD"] {
            let error = pushed(&["refs/heads/main", hidden]);
            assert_eq!(error, Err(UpdateError::Namespace(hidden.to_owned())));
        }
        let error = deploying(&[update("refs/heads/main", "0")]).unwrap_err();
        assert_eq!(error, UpdateError::Deleted);
    }

    #[test]
    fn other_branch_alone_is_refused_and_may_be_deleted() {
        let error = pushed(&["refs/heads/topic"]).unwrap_err();
        assert!(
            error.to_string().contains("git push corundum topic:main"),
            "{error}"
        );
        assert_eq!(deploying(&[update("refs/heads/topic", "0")]), Ok(None));
    }

    #[test]
    fn line_of_git_is_parsed() {
        let (old, new) = ("0".repeat(40), "b".repeat(40));
        let parsed = RefUpdate::parse(&format!("{old} {new} refs/heads/a b\n")).unwrap();
        assert_eq!(parsed.reference, "refs/heads/a b");
        for bad in ["", "a b", "x y z", &format!("{old} {new} ")] {
            assert_eq!(RefUpdate::parse(bad), Err(UpdateError::Line), "{bad:?}");
        }
    }
}
