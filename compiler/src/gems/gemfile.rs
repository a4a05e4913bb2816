//! Result of evaluating a Gemfile, and its comparison with the lockfile.

use serde::Deserialize;

use super::error::GemError;
use crate::lockfile::Lockfile;
use crate::requirement::Requirement;

/// Gems that a Gemfile names, as Bundler reports them after evaluating it in the sandbox.
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
    /// True if a running app needs the gem, by its groups, platforms and conditions.
    pub wanted: bool,
    /// File that names the gem, in the app's tree.
    pub file: Option<String>,
    /// Line of the file.
    pub line: Option<u32>,
}

impl GemfileReport {
    /// Returns the gems that a running app needs.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &GemfileGem> {
        self.gems.iter().filter(|gem| gem.wanted)
    }

    /// Describes why the app needs the gem `name`: `ffi ← sassc ← sassc-rails ← Gemfile line 12`.
    pub(super) fn dependency_path(&self, lockfile: &Lockfile, name: &str) -> String {
        let names = self.wanted().map(|gem| gem.name.as_str());
        let path = lockfile.dependency_path(names, name);
        let root = self
            .wanted()
            .find(|gem| Some(&gem.name.as_str()) == path.last());
        let place = root.map(GemfileGem::place).unwrap_or_default();
        let mut parts = path;
        parts.push(&place);
        parts.join(" ← ")
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
    fn place(&self) -> String {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => format!("{file} line {line}"),
            _ => "Gemfile".to_owned(),
        }
    }

    fn check(&self, lockfile: &Lockfile) -> Result<(), GemError> {
        let bad = |reason: String| GemError::Requirement {
            name: self.name.clone(),
            reason,
        };
        let asked = Requirement::parse(&self.requirements).map_err(|e| bad(e.to_string()))?;
        let Some(locked) = lockfile.gems.get(&self.name) else {
            // Bundler does not resolve gems for other platforms.
            return if self.wanted {
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
            wanted: true,
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
            ..GemfileGem::default()
        };
        let report = GemfileReport {
            gems: vec![gem],
            error: None,
        };
        report.check(&Lockfile::parse(LOCKFILE).unwrap()).unwrap();
    }
}
