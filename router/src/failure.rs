//! Every way in which a request ends without an app's answer, with its code, words and status.

use http::StatusCode;

/// A request without an app's answer. The codes and descriptions are Heroku's, so that its users' habits and log
/// parsers carry over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// H10: the app's dynos do not start.
    AppCrashed,
    /// H11: too many requests wait.
    BacklogTooDeep,
    /// H12: the dyno took too long, and was ended.
    RequestTimeout,
    /// H13: the dyno ended before it had answered.
    ClosedWithoutResponse,
    /// H14: the app's web processes are scaled to none.
    NoWebProcesses,
    /// H17: what the dyno answered is no response; the text says what.
    PoorlyFormatted(String),
    /// H20: no dyno became free in time.
    BootTimeout,
    /// H26: the request cannot be served as it is; a status of its own and the text say why.
    Request(StatusCode, &'static str),
    /// H27: the client went away before it was answered.
    ClientInterrupted,
    /// H81: the app has no release yet.
    BlankApp,
    /// H99: the platform's own fault.
    Platform,
    /// No app has this host name. It has no code, since no app's log would show it.
    NoSuchApp,
}

impl Failure {
    /// Its code, `H12`; empty for a host without an app.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AppCrashed => "H10",
            Self::BacklogTooDeep => "H11",
            Self::RequestTimeout => "H12",
            Self::ClosedWithoutResponse => "H13",
            Self::NoWebProcesses => "H14",
            Self::PoorlyFormatted(_) => "H17",
            Self::BootTimeout => "H20",
            Self::Request(..) => "H26",
            Self::ClientInterrupted => "H27",
            Self::BlankApp => "H81",
            Self::Platform => "H99",
            Self::NoSuchApp => "",
        }
    }

    /// Its description in logs.
    pub fn description(&self) -> &'static str {
        match self {
            Self::AppCrashed => "App crashed",
            Self::BacklogTooDeep => "Backlog too deep",
            Self::RequestTimeout => "Request timeout",
            Self::ClosedWithoutResponse => "Connection closed without response",
            Self::NoWebProcesses => "No web processes running",
            Self::PoorlyFormatted(_) => "Poorly formatted HTTP response",
            Self::BootTimeout => "App boot timeout",
            Self::Request(..) => "Request Error",
            Self::ClientInterrupted => "Client Request Interrupted",
            Self::BlankApp => "Blank app",
            Self::Platform => "Platform error",
            Self::NoSuchApp => "No such app",
        }
    }

    /// How the log grades it: `error`, `warning` or `info`.
    pub fn level(&self) -> &'static str {
        match self {
            Self::ClientInterrupted => "warning",
            Self::BlankApp => "info",
            _ => "error",
        }
    }

    /// The status that the client gets.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Request(status, _) => *status,
            // 499 is no registered status; nobody is there to read it.
            Self::ClientInterrupted => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Self::NoSuchApp => StatusCode::NOT_FOUND,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What it means, for the page that a visitor sees and the app's owner reads.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::AppCrashed => {
                "The app does not start. Its owner finds the reason with: corundum logs"
            }
            Self::BacklogTooDeep => {
                "Too many requests are waiting for this app. Try again in a moment."
            }
            Self::RequestTimeout => "The app took too long to answer.",
            Self::ClosedWithoutResponse => {
                "The app ended before it had answered. Its owner finds the reason with: corundum logs"
            }
            Self::NoWebProcesses => {
                "The app is scaled to no web dynos. Its owner starts some with: corundum ps:scale web=1"
            }
            Self::PoorlyFormatted(_) => {
                "The app's answer was not understood. Its owner finds it with: corundum logs"
            }
            Self::BootTimeout => "No dyno of the app became free in time. Try again in a moment.",
            Self::Request(_, why) => why,
            Self::ClientInterrupted => "The client went away.",
            Self::BlankApp => {
                "Nothing has been pushed to this app yet. Its owner does so with: git push corundum main"
            }
            Self::Platform => {
                "The platform made a mistake. Its operator finds it in the node's own log."
            }
            Self::NoSuchApp => "No app has this name here.",
        }
    }
}
