//! Refusals of command lines.

/// Reason for refusing a command line of an extension's build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// The command line has no words.
    #[error("empty command")]
    Empty,
    /// The toolchain has no such program.
    #[error("{0}: not a program of the toolchain: use cc, c++, ar, ranlib or strip")]
    Program(String),
    /// An option is not supported.
    #[error("{option}: {reason}: remove the option from extconf.rb")]
    Option {
        /// The option.
        option: String,
        /// Reason, as a sentence without its end.
        reason: &'static str,
    },
    /// An option lacks its argument.
    #[error("{0}: argument missing")]
    Argument(String),
    /// A path is outside of the directories that an extension may use.
    #[error("{0}: not below /usr, /app or /tmp, which are the directories that a build can use")]
    Path(String),
    /// A file to write is outside of the directories that an extension may write.
    #[error("{0}: cannot be written: write below /app or /tmp")]
    Output(String),
    /// The kind of a file is unknown.
    #[error(
        "{0}: unknown kind of file: give sources (.c, .cc, .cpp, .cxx, .S), objects (.o) or archives (.a)"
    )]
    File(String),
    /// The command line names no file.
    #[error("no input files")]
    NoInput,
    /// `-o` cannot name the results of several sources.
    #[error("-o: cannot name the results of several sources")]
    Outputs,
}

impl DriverError {
    pub(super) fn refused(option: &str, reason: &'static str) -> Self {
        Self::Option {
            option: option.to_owned(),
            reason,
        }
    }
}
