//! Versions of gems and requirements on them, with the syntax and order of RubyGems (`Gem::Version`,
//! `Gem::Requirement`).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Text that is not a version or a requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version requirement; write, for example, \"~> 2.2\" or \">= 2.2.4\"")]
pub struct RequirementError(String);

impl RequirementError {
    fn new(text: &str) -> Self {
        Self(text.chars().take(40).collect())
    }
}

/// A part of a version. A word marks a prerelease, so words sort before numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum VersionSegment {
    Word(String),
    Number(u128),
}

const ZERO: VersionSegment = VersionSegment::Number(0);

/// Version of a gem, for example `2.2.22` or `1.0.0.pre.1`.
#[derive(Debug, Clone)]
pub struct GemVersion {
    text: String,
    segments: Vec<VersionSegment>,
}

impl GemVersion {
    /// Returns whether the version precedes the one that its numbers name.
    pub fn is_prerelease(&self) -> bool {
        self.numbers().len() < self.segments.len()
    }

    /// Returns the numbers before the first word.
    fn numbers(&self) -> Vec<u128> {
        let number = |segment: &VersionSegment| match segment {
            VersionSegment::Number(number) => Some(*number),
            VersionSegment::Word(_) => None,
        };
        self.segments.iter().map_while(number).collect()
    }

    /// Returns the segments without trailing zeros of the numbers, so that `1.0.a` equals `1.a`.
    fn canonical(&self) -> Vec<VersionSegment> {
        let numbers = self.numbers();
        let significant = numbers.iter().rposition(|number| *number != 0);
        let kept = significant.map_or(0, |last| last + 1);
        let words = self.segments.iter().skip(numbers.len());
        let kept = self.segments.iter().take(kept);
        kept.chain(words).cloned().collect()
    }

    /// Returns whether the version satisfies `~> floor`: at least `floor`, and equal in all of its numbers but the
    /// last.
    fn is_about(&self, floor: &Self) -> bool {
        let fixed = floor.numbers();
        let fixed = &fixed[..fixed.len().saturating_sub(1).max(1).min(fixed.len())];
        let own = self.numbers();
        let own = |index: usize| own.get(index).copied().unwrap_or(0);
        self >= floor && fixed.iter().enumerate().all(|(i, n)| own(i) == *n)
    }
}

impl FromStr for GemVersion {
    type Err = RequirementError;

    fn from_str(text: &str) -> Result<Self, RequirementError> {
        let bad = || RequirementError::new(text);
        let trimmed = text.trim();
        let first = trimmed.split(['.', '-']).next().unwrap_or(trimmed);
        if first.is_empty() || !first.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        // RubyGems replaces the dash of `1.0-rc1` like this.
        let dotted = trimmed.replace('-', ".pre.");
        let mut segments = Vec::new();
        for part in dotted.split('.') {
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(bad());
            }
            // `rc1` consists of a word and a number.
            let runs = part
                .as_bytes()
                .chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
            for run in runs {
                let run = String::from_utf8_lossy(run);
                segments.push(if run.starts_with(|c: char| c.is_ascii_digit()) {
                    VersionSegment::Number(run.parse().map_err(|_| bad())?)
                } else {
                    VersionSegment::Word(run.into_owned())
                });
            }
        }
        Ok(Self {
            text: trimmed.to_owned(),
            segments,
        })
    }
}

impl Ord for GemVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        let (own, other) = (self.canonical(), other.canonical());
        let at = |list: &[VersionSegment], index| list.get(index).unwrap_or(&ZERO).clone();
        (0..own.len().max(other.len()))
            .map(|index| at(&own, index).cmp(&at(&other, index)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for GemVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for GemVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for GemVersion {}

impl fmt::Display for GemVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VersionOperator {
    Equal,
    Unequal,
    Greater,
    Less,
    AtLeast,
    AtMost,
    About,
}

/// Signs of the operators, longer ones first because `>=` begins with `>`.
const OPERATORS: [(&str, VersionOperator); 7] = [
    ("!=", VersionOperator::Unequal),
    (">=", VersionOperator::AtLeast),
    ("<=", VersionOperator::AtMost),
    ("~>", VersionOperator::About),
    ("=", VersionOperator::Equal),
    (">", VersionOperator::Greater),
    ("<", VersionOperator::Less),
];

/// A requirement on a version. A version satisfies it if all clauses hold; without clauses every version does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirement {
    clauses: Vec<(VersionOperator, GemVersion)>,
}

impl Requirement {
    /// Parses clauses in the syntax of a Gemfile: each string is a clause such as `~> 2.2`, or several with commas.
    ///
    /// # Errors
    ///
    /// [`RequirementError`].
    pub fn parse<S: AsRef<str>>(
        clauses: impl IntoIterator<Item = S>,
    ) -> Result<Self, RequirementError> {
        let mut requirement = Self::default();
        for text in clauses {
            for clause in text.as_ref().split(',') {
                requirement.clauses.push(parse_clause(clause)?);
            }
        }
        Ok(requirement)
    }

    /// Returns whether `version` satisfies the requirement.
    pub fn is_satisfied_by(&self, version: &GemVersion) -> bool {
        self.clauses
            .iter()
            .all(|(operator, wanted)| match operator {
                VersionOperator::Equal => version == wanted,
                VersionOperator::Unequal => version != wanted,
                VersionOperator::Greater => version > wanted,
                VersionOperator::Less => version < wanted,
                VersionOperator::AtLeast => version >= wanted,
                VersionOperator::AtMost => version <= wanted,
                VersionOperator::About => version.is_about(wanted),
            })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (operator, version)) in self.clauses.iter().enumerate() {
            let sign = OPERATORS.iter().find(|(_, known)| known == operator);
            let sign = sign.map_or("=", |(sign, _)| sign);
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{sign} {version}")?;
        }
        Ok(())
    }
}

fn parse_clause(text: &str) -> Result<(VersionOperator, GemVersion), RequirementError> {
    let clause = text.trim();
    let found = OPERATORS
        .iter()
        .find_map(|(sign, operator)| Some((*operator, clause.strip_prefix(sign)?)));
    let (operator, version) = found.unwrap_or((VersionOperator::Equal, clause));
    let version = version.parse().map_err(|_| RequirementError::new(text))?;
    Ok((operator, version))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> GemVersion {
        text.parse().unwrap()
    }

    fn holds(requirement: &str, of: &str) -> bool {
        Requirement::parse([requirement])
            .unwrap()
            .is_satisfied_by(&version(of))
    }

    #[test]
    fn versions_have_rubygems_order() {
        let ordered = [
            "0.9",
            "1.0.0.alpha",
            "1.0.0.alpha.2",
            "1.0.0.beta1",
            "1.0.0.pre.1",
            "1.0.0.pre.2",
            "1.0.0.pre.10",
            "1.0.0.rc1",
            "1.0.0",
            "1.0.1",
            "1.2.b1",
            "1.2",
            "1.10",
            "20240101123456",
        ];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        for (one, same) in [("1", "1.0.0"), ("1.0.a", "1.a"), ("1.0-rc1", "1.0.pre.rc1")] {
            assert_eq!(version(one), version(same));
        }
    }

    #[test]
    fn every_operator_is_applied() {
        for (requirement, of) in [
            ("1.0", "1.0.0"),
            ("= 1.0", "1"),
            ("!= 1.0", "1.0.1"),
            ("> 1.0", "1.1"),
            ("< 1.0", "1.0.0.pre.1"),
            (">= 1.0", "1.0"),
            ("<=1.0", "1.0"),
            (">= 2.2, < 4", "3.9.9"),
        ] {
            assert!(holds(requirement, of), "{requirement} of {of}");
        }
        for (requirement, of) in [
            ("1.0", "1.0.1"),
            ("!= 1.0", "1"),
            ("> 1.0", "1.0"),
            (">= 1.0", "1.0.rc1"),
            (">= 2.2, < 4", "4.0"),
        ] {
            assert!(!holds(requirement, of), "{requirement} of {of}");
        }
    }

    #[test]
    fn pessimistic_operator_fixes_all_numbers_but_the_last() {
        for (requirement, of) in [
            ("~> 2.2", "2.9"),
            ("~> 2.2.4", "2.2.22"),
            ("~> 2", "2.9"),
            ("~> 1.0.0.pre.1", "1.0.5"),
            ("~> 1.0.a", "1.0.b"),
            ("~> 3.0", "3"),
        ] {
            assert!(holds(requirement, of), "{requirement} of {of}");
        }
        for (requirement, of) in [
            ("~> 2.2", "3.0"),
            ("~> 2.2", "3.0.pre"),
            ("~> 2.2.4", "2.3"),
            ("~> 2", "3"),
            ("~> 2.2", "2.1"),
            ("~> 1.0.0.pre.2", "1.0.0.pre.1"),
        ] {
            assert!(!holds(requirement, of), "{requirement} of {of}");
        }
    }

    #[test]
    fn invalid_requirement_is_rejected() {
        for bad in ["", ">=", "~> x", "1..2", "=> 1", "1.0_a", "9e", "1 2"] {
            assert!(Requirement::parse([bad]).is_err(), "{bad:?}");
        }
        assert!(Requirement::default().is_satisfied_by(&version("0")));
    }

    #[test]
    fn requirement_is_displayed_in_its_syntax() {
        let requirement = Requirement::parse(["~> 2.2", ">=2.2.4,!= 2.3"]).unwrap();
        assert_eq!(requirement.to_string(), "~> 2.2, >= 2.2.4, != 2.3");
    }

    proptest! {
        #[test]
        fn parsed_requirement_round_trips_through_text(text in "[0-9a-z.<>=~! ,-]{0,20}") {
            if let Ok(requirement) = Requirement::parse([&text]) {
                let again = Requirement::parse([requirement.to_string()]).unwrap();
                prop_assert_eq!(again, requirement);
            }
        }

        #[test]
        fn order_is_total(a in "[0-9]{1,2}(\\.[0-9a-c]{1,2}){0,3}", b in "[0-9]{1,2}(\\.[0-9a-c]{1,2}){0,3}",
                              c in "[0-9]{1,2}(\\.[0-9a-c]{1,2}){0,3}") {
            let mut three = [version(&a), version(&b), version(&c)];
            three.sort();
            prop_assert!(three[0] <= three[1] && three[1] <= three[2] && three[0] <= three[2]);
            prop_assert_eq!(version(&a).cmp(&version(&b)), version(&b).cmp(&version(&a)).reverse());
        }
    }
}
