//! Selection of log lines by their source.

use corundum_abi::names::{DynoName, NameError, ProcessType};

/// The origin of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogOrigin {
    /// The app's dynos.
    App,
    /// The node: the router, the API and messages about dynos.
    Platform,
}

/// A choice of log lines. A line passes if every given part selects it; without parts, all lines pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogFilter {
    /// Lines of one origin.
    pub(crate) origin: Option<LogOrigin>,
    /// Lines of one dyno and lines about it.
    pub(crate) dyno: Option<DynoName>,
    /// Lines of and about all dynos of a type.
    pub(crate) process_type: Option<ProcessType>,
}

impl LogFilter {
    /// Adds a dyno or a process type: a text with a dot is a dyno, since process types have no dots.
    ///
    /// # Errors
    ///
    /// The text is not a valid name.
    pub(crate) fn select(&mut self, dyno_or_type: &str) -> Result<(), NameError> {
        if dyno_or_type.contains('.') {
            self.dyno = Some(dyno_or_type.parse()?);
        } else {
            self.process_type = Some(dyno_or_type.parse()?);
        }
        Ok(())
    }

    /// Returns whether lines of `source`, such as `app[web.1]` or `corundum[router]`, pass.
    pub(crate) fn accepts(&self, source: &str) -> bool {
        let (program, process) = source.split_once('[').unwrap_or((source, ""));
        let process = process.strip_suffix(']').unwrap_or(process);
        let (process_type, number) = process.split_once('.').unwrap_or((process, ""));
        let origin = match program {
            "app" => LogOrigin::App,
            _ => LogOrigin::Platform,
        };
        self.origin.is_none_or(|wanted| wanted == origin)
            && (self.process_type.as_ref()).is_none_or(|wanted| wanted.as_str() == process_type)
            && (self.dyno.as_ref()).is_none_or(|wanted| {
                wanted.process.as_str() == process_type && number.parse() == Ok(wanted.number)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [&str; 6] = [
        "app[web.1]",
        "app[web.12]",
        "app[run.1]",
        "corundum[web.1]",
        "corundum[router]",
        "corundum[api]",
    ];

    fn accepted(filter: &LogFilter) -> Vec<&'static str> {
        let accepted = SOURCES.iter().filter(|source| filter.accepts(source));
        accepted.copied().collect()
    }

    fn selected(dyno_or_type: &str) -> LogFilter {
        let mut filter = LogFilter::default();
        filter.select(dyno_or_type).unwrap();
        filter
    }

    #[test]
    fn lines_are_selected_by_dyno_type_and_origin() {
        assert_eq!(accepted(&LogFilter::default()), SOURCES);
        let dyno = selected("web.1");
        assert_eq!(accepted(&dyno), ["app[web.1]", "corundum[web.1]"]);
        let web = ["app[web.1]", "app[web.12]", "corundum[web.1]"];
        assert_eq!(accepted(&selected("web")), web);
        assert_eq!(accepted(&selected("router")), ["corundum[router]"]);
        let of = |origin| LogFilter {
            origin: Some(origin),
            ..LogFilter::default()
        };
        assert_eq!(accepted(&of(LogOrigin::App)), SOURCES[..3]);
        assert_eq!(accepted(&of(LogOrigin::Platform)), SOURCES[3..]);
        let both = LogFilter {
            origin: Some(LogOrigin::Platform),
            ..dyno
        };
        assert_eq!(accepted(&both), ["corundum[web.1]"]);
    }

    #[test]
    fn invalid_dyno_or_type_is_rejected() {
        for text in ["", "web.", "web.one", ".1", "a b"] {
            assert!(LogFilter::default().select(text).is_err(), "{text}");
        }
    }
}
