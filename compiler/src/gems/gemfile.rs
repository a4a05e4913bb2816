//! What the Gemfile says, as the guest that evaluates it reports, and whether the lockfile agrees.

use serde::Deserialize;

use super::{GemError, native};
use crate::lockfile::Lockfile;
use crate::requirement::Requirement;

/// Groups that a running app does without, as Heroku has it.
const WITHOUT: [&str; 2] = ["development", "test"];

/// What the Gemfile says.
#[derive(Debug, Default, Deserialize)]
pub struct GemfileReport {
    /// Its gems.
    pub gems: Vec<GemfileGem>,
    /// Why it could not be evaluated.
    pub error: Option<String>,
}

/// A gem of the Gemfile.
#[derive(Debug, Default, Deserialize)]
pub struct GemfileGem {
    /// Its name.
    pub name: String,
    /// What it requires of the gem's version.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its platforms; none means all.
    pub platforms: Vec<String>,
    /// What `Bundler.require` requires; none means the gem's name.
    #[serde(rename = "require")]
    pub autorequire: Option<Vec<String>>,
}

impl GemfileReport {
    /// The gems that a running app needs.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &GemfileGem> {
        self.gems
            .iter()
            .filter(|gem| gem.is_wanted() && !native::is_server(&gem.name))
    }

    /// Refuses a lockfile that was not made from this Gemfile.
    pub(super) fn check(&self, lockfile: &Lockfile) -> Result<(), GemError> {
        for gem in &self.gems {
            if !lockfile.dependencies.contains(&gem.name) {
                return Err(GemError::Disagree(gem.name.clone()));
            }
            gem.check(lockfile)?;
        }
        Ok(())
    }
}

impl GemfileGem {
    /// Whether a running app needs it.
    fn is_wanted(&self) -> bool {
        let group = self
            .groups
            .iter()
            .any(|group| !WITHOUT.contains(&group.as_str()));
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
            // A gem for another platform need not be resolved.
            return if self.is_wanted() {
                Err(GemError::Unresolved(self.name.clone()))
            } else {
                Ok(())
            };
        };
        let version = locked.version.parse().map_err(|_| {
            bad(format!(
                "Gemfile.lock has {:?}, which is no version",
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
    fn a_locked_version_must_be_one_that_the_gemfile_asks_for() {
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
    fn what_is_not_locked_or_asks_for_no_version_is_told() {
        assert!(matches!(check("sinatra", &[]), Err(GemError::Disagree(_))));
        assert!(matches!(check("lost", &[]), Err(GemError::Unresolved(_))));
        assert!(matches!(
            check("rack", &["newest"]),
            Err(GemError::Requirement { .. })
        ));
    }

    #[test]
    fn a_gem_for_another_platform_need_not_be_locked() {
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
