//! The output of a boot that failed, as the pusher reads it: without the middle of long parts, and with its cause.
//!
//! A terminal shows the end of a push, and an exception prints its message before its backtrace. So the message is
//! repeated at the end.

/// Frames of a backtrace that are kept at its beginning, where the app's own code is, and at its end.
const FIRST_FRAMES: usize = 12;
const LAST_FRAMES: usize = 4;

/// Lines of the whole output that are kept at its beginning and at its end.
const FIRST_LINES: usize = 40;
const LAST_LINES: usize = 80;

/// Characters of a logged message that are kept.
const MESSAGE_LENGTH: usize = 300;

/// Lines of a message that are repeated.
const MESSAGE_LINES: usize = 5;

/// Removes the middle of long backtraces, then that of a long output.
pub(crate) fn shortened(output: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut frames: Vec<&str> = Vec::new();
    for line in output.lines() {
        if is_frame(line) {
            frames.push(line);
            continue;
        }
        lines.extend(without_middle(&frames, FIRST_FRAMES, LAST_FRAMES));
        frames.clear();
        lines.push(line.to_owned());
    }
    lines.extend(without_middle(&frames, FIRST_FRAMES, LAST_FRAMES));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    without_middle(&lines, FIRST_LINES, LAST_LINES).join("\n")
}

/// Returns the message of the exception that ended the boot, and that of its innermost cause, if the output has them.
pub(crate) fn cause(output: &str) -> Option<String> {
    let lines: Vec<&str> = output.lines().collect();
    // An exception is printed with its backtrace, then with its causes: one report has no other lines between.
    let messages: Vec<(usize, String)> = (0..lines.len())
        .filter_map(|at| Some((at, message_at(&lines, at)?)))
        .collect();
    let (last_at, last) = messages.last()?;
    let mut first = (*last_at, last);
    for (at, message) in messages.iter().rev().skip(1) {
        let between = &lines[at + message.lines().count()..first.0];
        if between.is_empty() || !between.iter().all(|line| is_frame(line)) {
            break;
        }
        first = (*at, message);
    }
    Some(match first.1 == last {
        true => last.clone(),
        false => format!("{}\ncaused by {last}", first.1),
    })
}

/// Returns the messages in the output that a logger of Ruby's standard library has marked as errors.
pub(crate) fn logged_errors(output: &str) -> impl Iterator<Item = String> {
    output.lines().filter_map(|line| {
        let (severity, message) = line.split_once(" -- : ")?;
        let is_error = severity.ends_with("FATAL") || severity.ends_with("ERROR");
        // Rails tags each line with the request's number.
        let message = match message.split_once("] ") {
            Some((tag, rest)) if tag.starts_with('[') => rest,
            _ => message,
        };
        let message = message.trim();
        let is_message =
            !message.is_empty() && !message.starts_with('[') && !message.contains(":in `");
        (is_error && is_message).then(|| message.chars().take(MESSAGE_LENGTH).collect())
    })
}

fn without_middle(lines: &[&str], first: usize, last: usize) -> Vec<String> {
    let owned = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    // A line that says that one line is left out would save nothing.
    if lines.len() <= first + last + 1 {
        return owned(lines);
    }
    let left_out = lines.len() - first - last;
    let mut kept = owned(&lines[..first]);
    kept.push(format!("... ({left_out} lines left out)"));
    kept.extend(owned(&lines[lines.len() - last..]));
    kept
}

/// Returns whether a line is one of a backtrace, as MRI prints it.
fn is_frame(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("from ") && line.contains(':')
        || (line.starts_with("... ") && line.ends_with(" levels..."))
}

/// Returns the message of an exception that begins at a line: `PLACE: MESSAGE (CLASS)`, and further lines of the message
/// up to the backtrace.
fn message_at(lines: &[&str], at: usize) -> Option<String> {
    let line = lines[at];
    let (text, class) = line.strip_suffix(')')?.rsplit_once(" (")?;
    let is_class = class.starts_with(|c: char| c.is_ascii_uppercase())
        && class
            .chars()
            .all(|c| c.is_alphanumeric() || c == ':' || c == '_');
    let is_placed = text.contains(": ") && !line.starts_with(char::is_whitespace);
    if !is_class || !is_placed || is_frame(line) {
        return None;
    }
    let further = lines[at + 1..]
        .iter()
        .take_while(|line| !is_frame(line) && !line.is_empty())
        .take(MESSAGE_LINES - 1);
    // Without a backtrace behind it, the next line is not of the message.
    let is_traced = lines[at + 1..]
        .iter()
        .take(MESSAGE_LINES)
        .any(|line| is_frame(line));
    let mut message = vec![line];
    if is_traced {
        message.extend(further);
    }
    Some(message.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logged_errors_are_found_without_their_marks() {
        let log = "\
I, [2026-01-02T03:04:05.6 #3]  INFO -- : [5f-1] Completed 500 Internal Server Error in 3ms
F, [2026-01-02T03:04:05.6 #3] FATAL -- : [5f-1]   
F, [2026-01-02T03:04:05.6 #3] FATAL -- : [5f-1] ActiveRecord::StatementInvalid (no such table: posts):
F, [2026-01-02T03:04:05.6 #3] FATAL -- : [5f-1] app/models/post.rb:3:in `all'
E, [2026-01-02T03:04:05.6 #3] ERROR -- : plain
-- : nothing
";
        let found: Vec<String> = logged_errors(log).collect();
        assert_eq!(
            found,
            [
                "ActiveRecord::StatementInvalid (no such table: posts):",
                "plain"
            ]
        );
    }

    fn backtrace(frames: usize) -> String {
        (0..frames)
            .map(|frame| format!("\tfrom /app/lib/a.rb:{frame}:in `call'\n"))
            .collect()
    }

    #[test]
    fn long_backtrace_loses_its_middle() {
        let output = format!(
            "hello\n/app/a.rb:1:in `x': no (RuntimeError)\n{}bye\n",
            backtrace(100)
        );
        let text = shortened(&output);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3 + FIRST_FRAMES + 1 + LAST_FRAMES);
        assert_eq!(lines[2 + FIRST_FRAMES], "... (84 lines left out)");
        assert_eq!((lines[0], lines[lines.len() - 1]), ("hello", "bye"));
        let short = format!("a\n{}b", backtrace(FIRST_FRAMES + LAST_FRAMES + 1));
        assert_eq!(shortened(&short), short);
    }

    #[test]
    fn long_output_loses_its_middle() {
        let output: Vec<String> = (0..1000).map(|line| format!("line {line}")).collect();
        let text = shortened(&output.join("\n"));
        assert_eq!(text.lines().count(), FIRST_LINES + 1 + LAST_LINES);
        assert!(text.starts_with("line 0\n") && text.ends_with("\nline 999"));
        assert!(text.contains("\n... (880 lines left out)\n"));
        assert_eq!(shortened(""), "");
    }

    #[test]
    fn cause_is_the_message_of_the_exception() {
        let error = "/app/config.ru:1:in `<main>': broken on purpose (RuntimeError)";
        let output = format!("starting\n{error}\n{}", backtrace(30));
        assert_eq!(cause(&output).as_deref(), Some(error));
        assert_eq!(cause(&format!("{error}\n")).as_deref(), Some(error));
        let new = "/app/config.ru:1:in 'Object#x': no such thing (My::Error_2)";
        assert_eq!(cause(new).as_deref(), Some(new));
        for other in [
            "",
            "hello",
            "Done: all is well (really)",
            "  at: x (Error)",
            "(Error)",
        ] {
            assert_eq!(cause(other), None, "{other}");
        }
    }

    #[test]
    fn innermost_cause_is_named_too() {
        let (outer, inner) = (
            "/app/a.rb:1:in `x': outer (AppError)",
            "/app/b.rb:2:in `y': inner (KeyError)",
        );
        let output = format!(
            "/app/old.rb:1:in `z': handled before (IOError)\n{}log line\n{outer}\n{}{inner}\n{}",
            backtrace(3),
            backtrace(5),
            backtrace(2)
        );
        assert_eq!(
            cause(&output).unwrap(),
            format!("{outer}\ncaused by {inner}")
        );
    }

    #[test]
    fn message_of_several_lines_is_kept_within_bounds() {
        let output = format!(
            "/app/a.rb:1:in `x': first (AppError)\nsecond\nthird\n{}",
            backtrace(2)
        );
        let text = cause(&output).unwrap();
        assert!(text.ends_with("(AppError)\nsecond\nthird"), "{text}");
        // Hints behind the backtrace are not of the message.
        let hint = format!(
            "/app/a.rb:1:in `x': first (LoadError)\n{}add the gem\n",
            backtrace(2)
        );
        assert!(cause(&hint).unwrap().ends_with("(LoadError)"));
        let long = format!(
            "/app/a.rb:1:in `x': 1 (AppError)\n{}{}",
            "more\n".repeat(100),
            backtrace(2)
        );
        assert_eq!(cause(&long).unwrap().lines().count(), 1);
    }
}
