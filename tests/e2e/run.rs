//! One-off commands: pipes, terminals, lost and broken clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use corundum_test_support::node::{TestNode, corundum};
use corundum_test_support::wait::poll;

const APP: &str = "run ->(_) { [200, {}, ['ok']] }\n";

fn node() -> TestNode {
    let node = TestNode::start();
    node.deploy("myapp", APP);
    node
}

fn run(node: &TestNode, arguments: &[&str]) -> Command {
    let mut command = node.cli_from(corundum());
    command.args(["run", "--app", "myapp"]).args(arguments);
    command
}

/// Runs a command with `input` through pipes.
fn piped(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    // The command may end without reading its input.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[test]
fn streams_of_a_command_are_those_of_the_client() {
    let node = node();
    let code = "warn 'to stderr'; $stdout.write($stdin.read.reverse); exit 7";
    let input: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let output = piped(run(&node, &["ruby", "-e", code]), &input);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stderr, b"to stderr\n");
    assert!(output.stdout.iter().rev().eq(&input), "the bytes differ");
    // A command that reads nothing, or not all.
    let output = piped(
        run(&node, &["ruby", "-e", "puts gets.size"]),
        &b"x\n".repeat(500_000),
    );
    assert_eq!(output.stdout, b"2\n");
    let output = piped(
        run(
            &node,
            &[
                "-e",
                "A=1;B=2",
                "--exit-code",
                "ruby",
                "-e",
                "p ENV['A'], ENV['B']",
            ],
        ),
        b"",
    );
    assert_eq!(output.stdout, b"\"1\"\n\"2\"\n");
}

#[test]
fn reader_that_ends_gives_the_command_a_broken_pipe() {
    let node = node();
    let mut command = run(
        &node,
        &[
            "ruby",
            "-e",
            "begin; loop { puts 'line' }; rescue Errno::EPIPE; exit 3; end",
        ],
    );
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 5];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

fn signal(child: &Child, name: &str) {
    let kill = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
}

/// Waits until a command has printed a line.
fn wait_for_line(child: &mut Child) {
    let mut byte = [0];
    let stdout = child.stdout.as_mut().unwrap();
    while byte != *b"\n" {
        stdout.read_exact(&mut byte).unwrap();
    }
}

#[test]
fn signals_of_the_client_reach_the_command() {
    let node = node();
    for (name, code, status) in [
        ("-TERM", "puts 1; sleep", 143),
        (
            "-INT",
            "begin; puts 1; sleep; rescue Interrupt; exit 5; end",
            5,
        ),
        ("-HUP", "at_exit { exit! 6 }; puts 1; $stdin.read", 6),
        ("-USR1", "trap('USR1') { exit 8 }; puts 1; loop {}", 8),
    ] {
        let code = format!("$stdout.sync = true; {code}");
        let mut command = run(&node, &["ruby", "-e", &code]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        wait_for_line(&mut child);
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(status), "{name} {code}");
    }
}

/// Starts as many endless commands as an app may have. Returns `None` if the app has others still.
fn fill(node: &TestNode) -> Option<Vec<Child>> {
    let spawn = |_| {
        let mut command = run(
            node,
            &["ruby", "-e", "$stdout.sync = true; puts 1; loop {}"],
        );
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut children: Vec<Child> = (0..4).map(spawn).collect();
    let runs = |child: &mut Child| {
        let mut line = [0; 2];
        child.stdout.as_mut().unwrap().read_exact(&mut line).is_ok()
    };
    if children.iter_mut().all(runs) {
        return Some(children);
    }
    lose(children);
    None
}

/// Kills the clients of commands.
fn lose(children: Vec<Child>) {
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn lost_client_ends_its_dyno() {
    let node = node();
    // Another round runs only if the dynos of the one before have ended.
    for _ in 0..2 {
        let children = poll(Duration::from_secs(60), || fill(&node)).unwrap();
        let full = node.cli(&["run", "--app", "myapp", "ruby", "-e", "puts 1"]);
        assert!(full.text.contains("too many dynos"), "{}", full.text);
        lose(children);
    }
}

/// Runs a command in a pseudo terminal of `script`, types `keys` whenever a text appears, and returns the screen and the
/// status.
fn in_terminal(node: &TestNode, command: &str, keys: &[(&str, &str)]) -> (String, i32) {
    let program = corundum();
    let line = format!(
        "stty rows 30 cols 100; {} run --app myapp --env HOME=/tmp {command}; status=$?; stty -a | grep -o ' icanon'; exit $status",
        program.display()
    );
    let mut child = node
        .cli_from("script")
        .args(["-qfec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut keys = keys.iter();
    let mut next = keys.next();
    let (mut screen, mut seen) = (Vec::new(), 0);
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stdout.read(&mut buffer) {
        let piece = &buffer[..read];
        if piece.windows(4).any(|bytes| bytes == b"\x1b[6n") {
            // A terminal tells where its cursor is.
            stdin.write_all(b"\x1b[1;1R").unwrap();
        }
        screen.extend_from_slice(piece);
        while let Some((text, typed)) = next {
            let fresh = String::from_utf8_lossy(&screen[seen..]).into_owned();
            if !fresh.contains(text) {
                break;
            }
            seen = screen.len();
            stdin.write_all(typed.as_bytes()).unwrap();
            next = keys.next();
        }
    }
    let screen = String::from_utf8_lossy(&screen).into_owned();
    assert!(next.is_none(), "{next:?} did not appear:\n{screen}");
    (screen, child.wait().unwrap().code().unwrap())
}

#[test]
fn command_on_a_terminal_has_one() {
    let node = node();
    let code = r#"require "io/console"; p $stdin.tty?, IO.console.winsize, ENV["TERM"]; print "name? "; p gets; print "key? "; p $stdin.getch; p IO.console.getpass("password? "); begin; puts "asleep"; sleep; rescue Interrupt; exit 9; end"#;
    let (screen, status) = in_terminal(
        &node,
        &format!("ruby -e '{code}'"),
        &[
            ("name? ", "bo\x7fob\r"),
            ("key? ", "\x1b"),
            ("password? ", "secret\r"),
            ("asleep", "\x03"),
        ],
    );
    assert_eq!(status, 9, "{screen}");
    for text in [
        "true\r\n",
        "[30, 100]\r\n",
        "\"xterm\"\r\n",
        "\"bob\\n\"\r\n",
        "\"\\e\"\r\n",
        "\"secret\"\r\n",
    ] {
        assert!(screen.contains(text), "{text:?} is missing in {screen:?}");
    }
    assert!(!screen.contains("? secret"), "{screen:?}");
    assert!(
        screen.ends_with(" icanon\r\n"),
        "the terminal is not restored: {screen:?}"
    );
}

#[test]
fn irb_edits_lines_and_survives_an_interrupt() {
    let node = node();
    let (screen, status) = in_terminal(
        &node,
        "irb -f",
        &[
            ("001", "6 * 8\x7f7\r"),
            ("002", "[1, 2]\x1b[D, 3\r"),
            ("003", "puts 'lost'"),
            ("lost", "\x03"),
            ("003", "\x1b[A\r"),
            ("004", "exit 4\r"),
        ],
    );
    // irb takes the number for the result of its loop, and ends with 0.
    assert_eq!(status, 0, "{screen}");
    let plain: String = strip_escapes(&screen);
    assert!(plain.contains("=> 42"), "{plain:?}");
    assert_eq!(plain.matches("=> [1, 2, 3]").count(), 2, "{plain:?}");
    assert!(!plain.contains("\nlost"), "{plain:?}");
}

/// Returns the text without the sequences that control a terminal.
fn strip_escapes(screen: &str) -> String {
    let mut text = String::new();
    let mut rest = screen.chars();
    while let Some(character) = rest.next() {
        if character == '\u{1b}' {
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            text.push(character);
        }
    }
    text
}

/// Opens the stream of a run and sends `frames`.
fn open(node: &TestNode, token: &str, frames: &[u8]) -> TcpStream {
    let head = format!(
        "GET /v1/apps/myapp/run HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: upgrade\r\nUpgrade: corundum-run/1\r\n\r\n"
    );
    let mut stream = TcpStream::connect(("127.0.0.1", node.api_port())).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(frames).unwrap();
    stream
}

fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[kind], &length[..], bytes].concat()
}

fn start(code: &str) -> Vec<u8> {
    let command = format!("{{\"command\": [\"ruby\", \"-e\", \"{code}\"]}}");
    frame(6, command.as_bytes())
}

#[test]
fn broken_clients_end_their_run_alone() {
    let node = node();
    let token = node.token();
    let too_much = [
        start("sleep"),
        frame(1, &[b'x'; 60_000]),
        frame(1, &[b'x'; 60_000]),
    ]
    .concat();
    let after_end = [start("sleep"), frame(2, b""), frame(1, b"x")].concat();
    for (frames, what) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "another protocol"),
        (frame(9, b""), "an unknown frame"),
        (frame(1, b"x"), "input before the start"),
        (frame(6, b"{"), "no JSON"),
        (frame(6, b"{\"command\": []}"), "no command"),
        (
            frame(6, b"{\"command\": [\"a\\u0000b\"]}"),
            "a NUL in the command",
        ),
        (
            frame(6, b"{\"command\": [\"a\"], \"env\": [[\"A=B\", \"\"]]}"),
            "a bad variable",
        ),
        (
            [&[6], &u32::MAX.to_be_bytes()[..]].concat(),
            "an endless start",
        ),
        ([start("sleep"), start("sleep")].concat(), "a second start"),
        (too_much, "more input than granted"),
        (after_end, "input after its end"),
    ] {
        let mut stream = open(&node, &token, &frames);
        let mut answer = Vec::new();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 101"), "{what}: {text}");
    }
    let refused = TcpStream::connect(("127.0.0.1", node.api_port()));
    let mut refused = refused.unwrap();
    refused.write_all(b"GET /v1/apps/myapp/run HTTP/1.1\r\nHost: localhost\r\nConnection: close, upgrade\r\nUpgrade: corundum-run/1\r\n\r\n").unwrap();
    let mut answer = String::new();
    refused.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let run = node.cli(&["run", "--app", "myapp", "ruby", "-e", "puts 6 * 7"]);
    assert_eq!(run.text, "42\n");
}

#[test]
fn client_that_does_not_read_holds_up_its_command() {
    let node = node();
    let token = node.token();
    let before = node.memory();
    let code = "$stdout.sync = true; s = 'x' * 65536; 5000.times { print s }; exit 3";
    let mut stream = open(&node, &token, &start(code));
    thread::sleep(Duration::from_secs(3));
    let grown = node.memory().saturating_sub(before);
    assert!(grown < 200 << 10, "the node holds {grown} kB");
    // Then it reads everything, up to the status.
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert!(all.len() > 5000 * 65_536, "{}", all.len());
    assert!(
        all.ends_with(&[2, 0, 0, 0, 3]),
        "{:?}",
        &all[all.len() - 5..]
    );
}
