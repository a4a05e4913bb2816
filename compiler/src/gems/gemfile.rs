//! Result of evaluating a Gemfile, and its comparison with the lockfile.

use serde::Deserialize;

use super::error::GemError;
use super::native;
use crate::lockfile::Lockfile;
use crate::requirement::Requirement;

/// Groups that a running app does not need, as on Heroku.
const EXCLUDED_GROUPS: [&str; 2] = ["development", "test"];

/// Gems that a Gemfile names, as the guest reports them after evaluating it.
#[derive(Debug, Default, Deserialize)]
pub struct GemfileReport {
    /// Gems of the Gemfile.
    pub gems: Vec<GemfileGem>,
    /// Exception that ended the evaluation.
    pub error: Option<String>,
}

/// One gem of a Gemfile.
#[derive(Debug, Default, Deserialize)]
pub struct GemfileGem {
    /// Name of the gem.
    pub name: String,
    /// Requirements on its version.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// Groups of the gem.
    pub groups: Vec<String>,
    /// Platforms of the gem; an empty list means all.
    pub platforms: Vec<String>,
    /// Files that `Bundler.require` loads; none means the gem's name.
    #[serde(rename = "require")]
    pub autorequire: Option<Vec<String>>,
}

impl GemfileReport {
    /// Returns the gems that a running app needs.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &GemfileGem> {
        self.gems
            .iter()
            .filter(|gem| gem.is_wanted() && !native::is_server(&gem.name))
    }

    /// Checks that the lockfile was made from this Gemfile.
    pub(super) fn check(&self, lockfile: &Lockfile) -> Result<(), GemError> {
        for gem in &self.gems {
            if !lockfile.dependencies.contains(&gem.name) {
                return Err(GemError::NotLocked(gem.name.clone()));
            }
            gem.check(lockfile)?;
        }
        Ok(())
    }
}

impl GemfileGem {
    /// Returns whether a running app needs the gem.
    fn is_wanted(&self) -> bool {
        let group = self
            .groups
            .iter()
            .any(|group| !EXCLUDED_GROUPS.contains(&group.as_str()));
        let platform =
            self.platforms.is_empty() || self.platforms.iter().any(|p| p == "ruby" || p == "mri");
        group && platform
    }

    fn check(&self, lockfile: &Lockfile) -> Result<(), GemError> {
        let bad = |reason: String| GemError::Requirement {
            name: self.name.clone(),
            reason,
        };
        let asked = Requirement::parse(&self.requirements).map_err(|e| bad(e.to_string()))?;
        let Some(locked) = lockfile.gems.get(&self.name) else {
            // Bundler does not resolve gems for other platforms.
            return if self.is_wanted() {
                Err(GemError::Unresolved(self.name.clone()))
            } else {
                Ok(())
            };
        };
        let version = locked.version.parse().map_err(|_| {
            bad(format!(
                "{:?} in Gemfile.lock is not a version",
                locked.version
            ))
        })?;
        if asked.is_satisfied_by(&version) {
            return Ok(());
        }
        Err(GemError::Versions {
            name: self.name.clone(),
            asked: asked.to_string(),
            locked: locked.version.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKFILE: &str = "GEM
  remote: https://rubygems.org/
  specs:
    rack (2.2.22)
    rails (8.0.0.rc2)

DEPENDENCIES
  lost
  rack
  rails
  tzinfo-data
";

    fn check(name: &str, requirements: &[&str]) -> Result<(), GemError> {
        let gem = GemfileGem {
            name: name.to_owned(),
            requirements: requirements.iter().map(|r| (*r).to_owned()).collect(),
            groups: vec!["default".to_owned()],
            ..GemfileGem::default()
        };
        let report = GemfileReport {
            gems: vec![gem],
            error: None,
        };
        report.check(&Lockfile::parse(LOCKFILE).unwrap())
    }

    #[test]
    fn locked_version_must_satisfy_the_gemfile() {
        for good in [&[][..], &["~> 2.2"], &[">= 2.2.4", "< 3"]] {
            check("rack", good).unwrap();
        }
        check("rails", &["~> 8.0.0.rc1"]).unwrap();
        let error = check("rack", &["~> 3.0"]).unwrap_err().to_string();
        assert!(
            error.contains("Gemfile.lock disagrees with the Gemfile")
                && error.contains("rack ~> 3.0")
                && error.contains("2.2.22"),
            "{error}"
        );
        assert!(check("rails", &[">= 8.0"]).is_err());
    }

    #[test]
    fn unlocked_gem_and_invalid_requirement_are_rejected() {
        assert!(matches!(check("sinatra", &[]), Err(GemError::NotLocked(_))));
        assert!(matches!(check("lost", &[]), Err(GemError::Unresolved(_))));
        assert!(matches!(
            check("rack", &["newest"]),
            Err(GemError::Requirement { .. })
        ));
    }

    #[test]
    fn gem_for_another_platform_may_be_unlocked() {
        let gem = GemfileGem {
            name: "tzinfo-data".to_owned(),
            groups: vec!["default".to_owned()],
            platforms: vec!["windows".to_owned()],
            ..GemfileGem::default()
        };
        let report = GemfileReport {
            gems: vec![gem],
            error: None,
        };
        report.check(&Lockfile::parse(LOCKFILE).unwrap()).unwrap();
    }
}
