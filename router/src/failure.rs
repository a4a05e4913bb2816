//! Failures: every way in which a request ends without an app's answer, with its code, words and status.

use std::time::Duration;

use http::StatusCode;

/// A request that ends without an app's answer.
///
/// Codes and descriptions are Heroku's, so that users' habits and log parsers keep working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// H10: the app's dynos do not start.
    AppCrashed,
    /// H10: the app's dynos only crashed, and none starts for this long.
    AppCrashing(Duration),
    /// H11: too many requests are waiting.
    BacklogTooDeep,
    /// H12: the dyno took too long and was stopped.
    RequestTimeout,
    /// H13: the dyno ended before it had answered.
    ClosedWithoutResponse,
    /// H14: the app's web processes are scaled to zero.
    NoWebProcesses,
    /// H15: the dyno paused for too long in its response and was stopped.
    IdleConnection,
    /// H17: the dyno's response is malformed; the text says how.
    PoorlyFormatted(String),
    /// H18: the dyno ended in the middle of its response.
    ServerInterrupted,
    /// H20: no dyno became free in time.
    BootTimeout,
    /// H22: the app has too many concurrent requests.
    ConnectionLimit,
    /// H25: a well-formed response exceeds a limit of the router; the text is the log's description.
    Restriction(&'static str),
    /// H26: the request cannot be served; it has its own status and reason.
    Request(StatusCode, &'static str),
    /// H27: the client disconnected before the response was complete.
    ClientInterrupted,
    /// H28: the client paused for too long in sending its request or in reading the response.
    ClientIdle,
    /// H31: the connection's certificate is not for the host that the request names (RFC 9110 section 15.5.20).
    Misdirected,
    /// H80: the app is in maintenance mode.
    Maintenance,
    /// H81: the app has no release yet.
    BlankApp,
    /// No app has this host name. The failure has no code, since it appears in no app's log.
    NoSuchApp,
}

impl Failure {
    /// Failure of a response whose head exceeds the router's limits.
    pub const HEAD_TOO_LARGE: Self = Self::Restriction("HTTP restriction: response head too large");

    /// Returns the code, e.g. `H12`; empty for a host without an app.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AppCrashed | Self::AppCrashing(_) => "H10",
            Self::BacklogTooDeep => "H11",
            Self::RequestTimeout => "H12",
            Self::ClosedWithoutResponse => "H13",
            Self::NoWebProcesses => "H14",
            Self::IdleConnection => "H15",
            Self::PoorlyFormatted(_) => "H17",
            Self::ServerInterrupted => "H18",
            Self::BootTimeout => "H20",
            Self::ConnectionLimit => "H22",
            Self::Restriction(_) => "H25",
            Self::Request(..) => "H26",
            Self::ClientInterrupted => "H27",
            Self::ClientIdle => "H28",
            Self::Misdirected => "H31",
            Self::Maintenance => "H80",
            Self::BlankApp => "H81",
            Self::NoSuchApp => "",
        }
    }

    /// Returns the description in logs.
    pub fn description(&self) -> &'static str {
        match self {
            Self::AppCrashed | Self::AppCrashing(_) => "App crashed",
            Self::BacklogTooDeep => "Backlog too deep",
            Self::RequestTimeout => "Request timeout",
            Self::ClosedWithoutResponse => "Connection closed without response",
            Self::NoWebProcesses => "No web processes running",
            Self::IdleConnection => "Idle connection",
            Self::PoorlyFormatted(_) => "Poorly formatted HTTP response",
            Self::ServerInterrupted => "Server Request Interrupted",
            Self::BootTimeout => "App boot timeout",
            Self::ConnectionLimit => "Connection limit reached",
            Self::Restriction(what) => what,
            Self::Request(..) => "Request Error",
            Self::ClientInterrupted => "Client Request Interrupted",
            Self::ClientIdle => "Client Connection Idle",
            Self::Misdirected => "Misdirected Request",
            Self::Maintenance => "Maintenance mode",
            Self::BlankApp => "Blank app",
            Self::NoSuchApp => "No such app",
        }
    }

    /// Returns the severity in logs: `error`, `warning` or `info`.
    pub fn level(&self) -> &'static str {
        match self {
            Self::ClientInterrupted | Self::ClientIdle => "warning",
            Self::BlankApp | Self::Maintenance => "info",
            _ => "error",
        }
    }

    /// Returns the status in logs. Clients get the same, except for 499: see [`Failure::shown_status`].
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Request(status, _) => *status,
            Self::ClientInterrupted | Self::ClientIdle => {
                StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
            }
            Self::Restriction(_) => StatusCode::BAD_GATEWAY,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::NoSuchApp => StatusCode::NOT_FOUND,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the status that the client gets. 499 appears in logs alone, since clients do not know it.
    pub fn shown_status(&self) -> StatusCode {
        match self {
            Self::ClientInterrupted | Self::ClientIdle => StatusCode::REQUEST_TIMEOUT,
            _ => self.status(),
        }
    }

    /// Returns the time after which a retry may succeed, if it is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::AppCrashing(pause) => Some(*pause),
            _ => None,
        }
    }

    /// Returns the explanation on the error page, which visitors see and the app's owner reads.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::AppCrashed | Self::AppCrashing(_) => {
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
            Self::IdleConnection => "The app stopped in the middle of its answer.",
            Self::ServerInterrupted => {
                "The app ended in the middle of its answer. Its owner finds the reason with: corundum logs"
            }
            Self::PoorlyFormatted(_) => {
                "The app's answer was not understood. Its owner finds it with: corundum logs"
            }
            Self::BootTimeout => "No dyno of the app became free in time. Try again in a moment.",
            Self::ConnectionLimit => {
                "Too many requests to this app are under way. Try again in a moment."
            }
            Self::Restriction(_) => {
                "The app's answer has more or longer headers than can be passed on. Its owner finds it with: corundum logs"
            }
            Self::Request(_, why) => why,
            Self::ClientInterrupted => "The client went away.",
            Self::ClientIdle => "The rest of the request did not arrive in time.",
            Self::Misdirected => {
                "The connection's certificate is not for the host that this request names. Open a new connection for it."
            }
            Self::Maintenance => "This app is being worked on, and will be back before long.",
            Self::BlankApp => {
                "Nothing has been pushed to this app yet. Its owner does so with: git push corundum main"
            }
            Self::NoSuchApp => "No app has this name here.",
        }
    }
}
