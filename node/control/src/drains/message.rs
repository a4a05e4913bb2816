//! Log lines as syslog messages: RFC 5424 as logplex writes it, without structured data, in octet-counted frames (RFC 6587
//! section 3.4.1).

/// Facility and severity of lines of apps (local7.info), of the platform (local3.info), and of reports of lost lines
/// (local5.warning).
const OF_APP: u8 = 190;
const OF_PLATFORM: u8 = 158;
const OF_OVERFLOW: u8 = 172;

/// A syslog message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyslogMessage {
    priority: u8,
    time: String,
    app: String,
    process: String,
    text: String,
}

impl SyslogMessage {
    /// Parses a line of the log: `TIME app[web.1]: text`.
    pub(super) fn of_line(line: &str) -> Self {
        let (time, rest) = line.split_once(' ').unwrap_or(("-", line));
        let (source, text) = rest.split_once(": ").unwrap_or(("app[]", rest));
        let (app, process) = source.split_once('[').unwrap_or((source, "-"));
        let process = process.trim_end_matches(']');
        Self {
            priority: if app == "app" { OF_APP } else { OF_PLATFORM },
            time: time.to_owned(),
            app: field(app),
            process: field(process),
            // A line break would end the message for receivers that read by lines.
            text: text.replace(['\n', '\r'], " "),
        }
    }

    /// Returns the report that messages were dropped, in logplex's words.
    pub(super) fn overflow(count: u64, since: jiff::Timestamp) -> Self {
        let form = "%Y-%m-%dT%H:%M:%S%.6f+00:00";
        let (now, since) = (jiff::Timestamp::now().strftime(form), since.strftime(form));
        Self {
            priority: OF_OVERFLOW,
            time: now.to_string(),
            app: "corundum".to_owned(),
            process: "logplex".to_owned(),
            text: format!(
                "Error L10 (output buffer overflow): {count} messages dropped since {since}."
            ),
        }
    }

    /// Returns the message in its frame, as sent by `host`.
    pub(super) fn framed(&self, host: &str) -> String {
        let Self {
            priority,
            time,
            app,
            process,
            text,
        } = self;
        let message = format!("<{priority}>1 {time} {host} {app} {process} - {text}\n");
        format!("{} {message}", message.len())
    }
}

/// Returns a field of the header, which has no spaces and is never empty.
fn field(text: &str) -> String {
    let text: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(48)
        .collect();
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_framed_as_by_logplex() {
        let line = "2026-11-25T14:00:00.123456+00:00 app[web.1]: caf\u{e9}: \"two\"";
        let framed = SyslogMessage::of_line(line).framed("d.1");
        assert_eq!(
            framed,
            "69 <190>1 2026-11-25T14:00:00.123456+00:00 d.1 app web.1 - caf\u{e9}: \"two\"\n"
        );
        let (length, message) = framed.split_once(' ').unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), message.len());
        let router =
            SyslogMessage::of_line("2026-11-25T14:00:00.1+00:00 corundum[router]: at=info a\nb");
        assert!(
            router
                .framed("h")
                .ends_with("<158>1 2026-11-25T14:00:00.1+00:00 h corundum router - at=info a b\n")
        );
    }
}
