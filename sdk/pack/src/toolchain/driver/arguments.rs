//! Iteration over the words of a command line.

use super::error::DriverError;

/// The words that are left.
pub(super) struct Arguments<'a>(std::slice::Iter<'a, String>);

impl<'a> Arguments<'a> {
    pub(super) fn new(words: &'a [String]) -> Self {
        Self(words.iter())
    }

    /// Returns the argument of an option: the rest of its word, or else the next word.
    pub(super) fn value(&mut self, option: &str, rest: &'a str) -> Result<&'a str, DriverError> {
        if !rest.is_empty() {
            return Ok(rest);
        }
        let next = self.0.next().filter(|word| !word.is_empty());
        let next = next.ok_or_else(|| DriverError::Argument(option.to_owned()))?;
        Ok(next)
    }
}

impl<'a> Iterator for Arguments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.next().map(String::as_str)
    }
}
