//! Commands in one-off dynos, compared with Debian's Ruby: streams, options, exit statuses, programs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{CollectedRun, Options, TestApp};

const FILES: &[(&str, &str)] = &[
    (
        "main.rb",
        "puts 'main' if __FILE__ == $0\np [$0, __FILE__, $PROGRAM_NAME == __FILE__, File.basename(__dir__), caller]\nputs DATA.read\nrequire_relative 'lib/helper'\n__END__\ndata\n",
    ),
    ("lib/helper.rb", "puts \"helper #{__FILE__ == $0}\"\n"),
    (
        "data.rb",
        "text = <<X\n__END__\nX\np text, DATA.gets, DATA.read, DATA.pos\n__END__\none\ntwo\n",
    ),
    ("shebang", "#!/usr/bin/env ruby -s\np [$verbose, ARGV]\n"),
    ("mail", "From: a mail\n\n#!ruby -l\np 1\n__END__\nBye\n"),
    ("syntax.rb", "puts 1 +\n"),
    ("inplace", "one\ntwo\n"),
    (
        "bin/task",
        "#!/usr/bin/env ruby\nputs \"task #{ARGV.inspect} #{$0}\"\nexit 4\n",
    ),
    ("bin/shell", "#!/bin/sh\necho no\n"),
    (
        "Rakefile",
        "task(:default) { puts 'default' }\ndesc 'Fails'\ntask(:fails) { raise 'no' }\ntask(:reads) { puts $stdin.read.upcase }\n",
    ),
    (
        "test/sum_test.rb",
        "require 'minitest/autorun'\nclass SumTest < Minitest::Test\n  def test_right = assert_equal(4, 2 + 2)\n  def test_wrong = assert_equal(5, 2 + 2)\nend\n",
    ),
    (
        "Procfile",
        "web: rackup\nworker: ruby bin/task worker 'two words'\npiped: ruby bin/task | cat\n",
    ),
];

async fn app() -> TestApp {
    let options = Options {
        files: FILES,
        ..Options::default()
    };
    TestApp::boot_with("run ->(_) { [200, {}, ['x']] }", options).await
}

/// Writes the files of [`FILES`] for Debian's Ruby.
fn write_files(directory: &Path) {
    for (name, text) in FILES {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Runs Debian's Ruby.
fn native(directory: &Path, arguments: &[&str], input: &str) -> CollectedRun {
    let mut child = Command::new("ruby")
        .args(arguments)
        .current_dir(directory)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its input may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    CollectedRun {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Compares a table of command lines and their inputs with Debian's Ruby.
async fn compare(cases: &[(&[&str], &str)]) {
    let app = app().await;
    let directory = tempfile::Builder::new().prefix("app").tempdir().unwrap();
    let directory = directory.path().join("app");
    write_files(&directory);
    let mut different = Vec::new();
    for (arguments, input) in cases {
        let expected = native(&directory, arguments, input);
        let command = [&["ruby"], *arguments].concat();
        let run = app.run_with(&command, input.as_bytes()).await;
        let same = run.status == expected.status
            && run.stdout == expected.stdout
            && run.stderr == expected.stderr;
        if !same {
            different.push(format!(
                "{arguments:?}\n  native {expected:?}\n  dyno   {run:?}"
            ));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_ruby_work_as_natively() {
    compare(&[
        (&["main.rb"], ""),
        (&["./main.rb"], ""),
        (&["data.rb"], ""),
        (&["-e", "p [$0, __FILE__, ARGV, caller]", "a", "-b"], ""),
        (&["-e", "puts 1", "-e", "puts 2"], ""),
        (&["-", "a b"], "p [$0, __FILE__, ARGV]\n"),
        (&[], "puts 'from standard input'\n"),
        (&["-ne", "puts $_.upcase if /o/"], "one\ntwo\nthree\n"),
        (&["-pe", "$_.tr!('o', '0')"], "one\ntwo\n"),
        (&["-lane", "print $F.reverse.join(' ')"], "a b\nc d\n"),
        (&["-F:", "-ane", "print $F[1]"], "a:b\nc:d\n"),
        (&["-lne", "BEGIN { n = 0 }; n += 1; END { p n }"], "a\nb\n"),
        (&["-0777", "-ne", "p $_"], "a\nb\n"),
        (&["-c", "main.rb"], ""),
        (&["-w", "-e", "x = 1; p $VERBOSE"], ""),
        (&["-W0", "-e", "warn 'a'; p $VERBOSE"], ""),
        (&["-W:no-deprecated", "-e", "p Warning[:deprecated]"], ""),
        (
            &[
                "-W:deprecated",
                "-e",
                "p Warning[:deprecated], Warning[:experimental]",
            ],
            "",
        ),
        (
            &[
                "-Ilib",
                "-rhelper",
                "-e",
                "p $LOAD_PATH.first.end_with?('app/lib')",
            ],
            "",
        ),
        (
            &[
                "-rjson",
                "-rset",
                "-e",
                "p JSON.parse('[1]'), Set.new([1]).size",
            ],
            "",
        ),
        (&["-C", "lib", "-e", "p Dir.pwd.end_with?('app/lib')"], ""),
        (&["-C", "lib", "helper.rb"], ""),
        (
            &[
                "-Eascii-8bit:utf-8",
                "-e",
                "p Encoding.default_external, Encoding.default_internal",
            ],
            "",
        ),
        (&["-U", "-e", "p Encoding.default_internal"], ""),
        (&["-Ku", "-e", "p __ENCODING__"], ""),
        (
            &["-s", "-e", "p [$x, $y_z, ARGV]", "--", "-x", "-y-z=1", "a"],
            "",
        ),
        (&["shebang", "-verbose", "a"], ""),
        (&["-x", "mail"], ""),
        (&["-i.bak", "-pe", "$_.upcase!", "/tmp/none"], ""),
        (
            &["--enable=frozen-string-literal", "-e", "p 'a'.frozen?"],
            "",
        ),
        (&["--disable=gems", "-e", "p 1"], ""),
        (&["-ropenssl", "-e", "p 1"], ""),
        (&["-q"], ""),
        (&["--what"], ""),
        (&["-E"], ""),
        (&["-e"], ""),
        (&["none.rb"], ""),
        (
            &[
                "-e",
                "puts 'ä€'; p 'ä€', 'ä€'.encoding, ARGV[0], ARGV[0].encoding",
                "ü",
            ],
            "",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_end_as_natively() {
    compare(&[
        (&["-e", "exit 3"], ""),
        (&["-e", "exit false"], ""),
        (&["-e", "exit! 5"], ""),
        (&["-e", "abort 'no'"], ""),
        (&["-e", "abort"], ""),
        (&["-e", "raise SystemExit"], ""),
        (&["-e", "raise 'no'"], ""),
        (&["-e", "def a = raise(IOError)\ndef b = a\nb"], ""),
        (&["-e", "begin; raise 'a'; rescue; raise 'b'; end"], ""),
        (&["-e", "class E < StandardError; end; raise E"], ""),
        (&["-e", "return; puts 1"], ""),
        (&["-e", "at_exit { puts 'bye'; exit 3 }; puts 'hi'"], ""),
        (&["-e", "at_exit { puts 1; at_exit { puts 2 } }; at_exit { puts 3 }; END { puts 4 }"], ""),
        (&["-e", "at_exit { p $!; warn 'in at_exit' }; exit 2"], ""),
        (&["-e", "at_exit { p $!.message }; raise 'a'"], ""),
        (&["-e", "at_exit { exit! 9 }; exit 1"], ""),
        (&["-e", "ObjectSpace.define_finalizer('x'.dup, proc { puts 'final' })"], ""),
        (&["-e", "$stdout.print 'no newline'"], ""),
        (&["-e", "$stderr.puts 'e'; $stdout.puts 'o'; STDERR.puts 'e'; STDOUT.puts 'o'; warn 'w'"], ""),
        (&["-e", "trap('EXIT') { puts 'trapped' }; exit 1"], ""),
        (&["-e", "trap('TERM') { puts 'term'; exit 7 }; Process.kill(:TERM, $$); sleep 1"], ""),
        (&["-e", "begin; Process.kill(:INT, Process.pid); sleep 1; rescue Interrupt => e; p e.class; end"], ""),
        (&["-e", "$stdout.sync = true; puts 1; $stdout.close; puts 2"], ""),
        (&["-e", "def deep(n) = deep(n + 1)\nbegin; deep(0); rescue SystemStackError => e; puts e.message; end"], ""),
    ])
    .await;
    let app = app().await;
    for (signal, status) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("USR1", 138)] {
        let code = format!("at_exit {{ puts 'bye' }}; Process.kill(:{signal}, $$); sleep");
        let run = app.run_with(&["ruby", "-e", &code], b"").await;
        assert_eq!(
            (run.status, run.stdout.as_str()),
            (status, "bye\n"),
            "{run:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heap_that_cannot_be_compacted_is_warmed_up() {
    let app = app().await;
    // Sidekiq and puma warm their processes up. Debian's Ruby has no such method to compare with.
    let code = "kept = Array.new(50_000) { |number| number.to_s }
        p Process.warmup, kept.sum(&:size)
        begin; GC.compact; rescue NotImplementedError => error; p error.class; end";
    let run = app.run_with(&["ruby", "-e", code], b"").await;
    assert_eq!(run.stdout, "true\n238890\nNotImplementedError\n", "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_is_read_as_natively() {
    let long = "0123456789\n".repeat(30_000);
    compare(&[
        (&["-e", "p $stdin.read"], "hi\n"),
        (&["-e", "p gets, gets, gets"], "a\nb"),
        (&["-e", "p ARGF.each_line.to_a"], "a\nb\n"),
        (&["-e", "p STDIN.each_byte.to_a, $stdin.eof?"], "\0\u{1}\u{7f}"),
        (&["-e", "p $stdin.readpartial(100); p((begin; $stdin.readpartial(1); rescue EOFError => e; e.class; end))"], "abc"),
        (&["-e", "p IO.select([$stdin], nil, nil, 5) == [[$stdin], [], []], $stdin.gets"], "a\n"),
        (&["-e", "sleep 0.01 until (r = $stdin.read_nonblock(2, exception: false)) != :wait_readable; p r"], "abc"),
        (&["-e", "p $stdin.tty?, $stdout.tty?, STDERR.isatty, $stdin.fileno, $stdout.fileno"], ""),
        (&["-e", "n = 0; while (l = gets); n += l.size; end; p n"], &long),
        (&["-e", "print $stdin.read.reverse"], &long),
        (&["-e", "p $<.lineno, $stdin.getc, $stdin.ungetc('z'), $stdin.read"], "abc"),
        (&["-e", "$stdin.binmode; p $stdin.read.encoding, $stdin.read"], "ä"),
        (&["-e", "puts 1"], &long),
        (&["-rjson", "-e", "p JSON.load($stdin)"], "[1, {\"a\": null}]"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_streams_are_duplicated_and_replaced_as_natively() {
    let tests = "require 'minitest/autorun'; class T < Minitest::Test; def test_it; \
        assert_equal [\"out\\n\", \"err\\n\"], capture_subprocess_io { $stdout.puts 'out'; $stderr.puts 'err' }; end; end";
    let cases = [
        "saved = $stdout.dup; $stdout.reopen('/tmp/run-out', 'w'); puts 'file'; $stdout.flush; $stdout.reopen(saved); puts File.read('/tmp/run-out')",
        "saved = $stderr.dup; $stderr.reopen('/tmp/run-err', 'w'); warn 'file'; $stderr.reopen(saved); warn 'client'; puts File.read('/tmp/run-err')",
        "$stderr.reopen($stdout); warn 'together'; puts 1",
        "$stdout.reopen($stderr); puts 'errors'",
        "r, w = IO.pipe; saved = $stdout.dup; $stdout.reopen(w); puts 'pipe'; $stdout.reopen(saved); w.close; p r.read",
        "copy = STDOUT.dup; copy.puts 1; copy.close; puts 2",
        "copy = IO.for_fd(STDOUT.fcntl(0, 20), 'w'); p copy.fileno; copy.puts 'twenty'; copy.flush",
        "$stdin.reopen('/tmp/run-in', 'w+'); $stdin.write('again'); $stdin.rewind; p $stdin.read",
        "copy = $stdin.dup; p copy.read; p $stdin.read",
        "copy = $stdin.clone; p copy.gets, $stdin.gets",
        "IO.new(1, 'w', autoclose: false).then { |io| io.puts 'new'; io.flush }; puts 'old'",
        "$stdout = StringIO.new; puts 'kept'; STDOUT.puts $stdout.string",
        "p [STDIN, STDOUT, STDERR].map(&:fileno), $stdout.inspect, $stdin.inspect, $stderr.inspect, $stdout.sync",
        tests,
    ];
    let cases: Vec<_> = cases.iter().map(|code| ["-e", *code]).collect();
    let cases: Vec<_> = cases
        .iter()
        .map(|case| (case.as_slice(), "one\ntwo\nthree\n"))
        .collect();
    // Minitest prints a random seed and times.
    let (minitest, others) = cases.split_last().unwrap();
    compare(others).await;
    let app = app().await;
    let run = app
        .run_with(&["ruby", minitest.0[0], minitest.0[1]], b"")
        .await;
    assert!(
        run.stdout.contains("1 runs, 1 assertions, 0 failures"),
        "{run:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pipes_between_threads_work_as_natively() {
    compare(&[
        (&["-e", "r, w = IO.pipe; t = Thread.new { r.read }; w.write('x' * 300_000); w.close; p t.value.size"], ""),
        (&["-e", "r, w = IO.pipe; copy = w.dup; w.close; copy.write 'z'; copy.close; p r.read"], ""),
        (&["-e", "File.write('/tmp/run-big', 'm' * 1_000_000); r, w = IO.pipe; t = Thread.new { r.read }; p IO.copy_stream('/tmp/run-big', w); w.close; p t.value.size"], ""),
        (&["-e", "r, w = IO.pipe; t = Thread.new { w.write('k' * 1_000_000); w.close }; p IO.copy_stream(r, '/tmp/run-copy'); t.join; p File.size('/tmp/run-copy')"], ""),
        (&["-e", "a, b = IO.pipe; c, d = IO.pipe; t = Thread.new { IO.copy_stream(a, d); d.close }; u = Thread.new { c.read }; b.write('q' * 200_000); b.close; p u.value.size"], ""),
        (&["-e", "r, w = IO.pipe; t = Thread.new { r.read(1) rescue $!.class }; sleep 0.01 until t.stop?; p t.status; r.close; p t.value"], ""),
        (&["-e", "r, w = IO.pipe; t = Thread.new { IO.copy_stream(r, '/tmp/run-copy') }; sleep 0.01 until t.stop?; t.kill; p t.join(5).equal?(t), t.alive?"], ""),
        (&["-e", "r, w = IO.pipe; t = Thread.new { r.read }; t.report_on_exception = false; sleep 0.01 until t.stop?; t.raise(ArgumentError, 'no'); p((t.value rescue $!))"], ""),
        (&["-e", "r, w = IO.pipe; Thread.new { r.read }; Thread.pass; puts 'ends'"], ""),
        (&["-rsocket", "-e", "s = TCPServer.new('127.0.0.1', 0); c = TCPSocket.new('127.0.0.1', s.addr[1]); a = s.accept; d = c.dup; c.close; d.write 'q'; d.close; p a.read"], ""),
        (&["-rsocket", "-e", "a, b = UNIXSocket.pair; c = a.dup; a.close; c.write 'u'; c.close; p b.read"], ""),
        (&["-e", "r, w = IO.pipe; p w.write_nonblock('x' * 100_000) < 100_000; p w.write_nonblock('y', exception: false)"], ""),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn globs_find_what_they_find_natively() {
    let prepare = "require 'tmpdir'; Dir.chdir(Dir.mktmpdir); Dir.mkdir('a'); Dir.mkdir('a/b'); File.write('a/f', ''); File.write('a/b/.h', ''); \
        File.symlink('a', 'l'); File.symlink('a/f', 'lf'); File.symlink('gone', 'broken')";
    let globs = [
        "'*'",
        "'*/'",
        "'**/'",
        "'**/*'",
        "'**/*/'",
        "'a/**/'",
        "'l/*'",
        "'l/**/*'",
        "'**/f'",
        "'{a,l}/'",
        "'*/b'",
        "'l/'",
        "'lf/'",
        "'broken'",
        "'broken/'",
        "'*/', base: 'a'",
        "'**/', base: 'l'",
        "'a/b/', sort: false",
        "'**/*', File::FNM_DOTMATCH",
        "%w[a/ l/ lf]",
    ];
    let code = format!(
        "{prepare}; {}",
        globs.map(|glob| format!("p Dir.glob({glob})")).join(";")
    );
    compare(&[(&["-e", &code], "")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_found_as_in_a_shell() {
    let app = app().await;
    for (command, status, stdout, stderr) in [
        (&["bin/task", "a b"][..], 4, "task [\"a b\"] bin/task\n", ""),
        (&["task"], 4, "task [] /app/bin/task\n", ""),
        (
            &["worker"],
            4,
            "task [\"worker\", \"two words\"] bin/task\n",
            "",
        ),
        (&["ruby -e 'puts 6 * 7'"], 0, "42\n", ""),
        (
            &[
                "A=1",
                "B=two words",
                "ruby",
                "-e",
                "p ENV.values_at('A', 'B')",
            ],
            0,
            "[\"1\", \"two words\"]\n",
            "",
        ),
        (
            &["env", "A=1", "ruby", "-e", "p ENV['A']"],
            0,
            "\"1\"\n",
            "",
        ),
        (&["rake"], 0, "default\n", ""),
        (
            &["bundle", "exec", "rake", "-T"],
            0,
            "rake fails  # Fails\n",
            "",
        ),
        (&["rake", "fails"], 1, "", "rake aborted!\nno\n"),
        (
            &["rake", "-N", "-C", "lib", "-T"],
            1,
            "",
            "rake aborted!\nNo Rakefile found",
        ),
        (
            &["piped"],
            2,
            "",
            "| is not available: a dyno has no shell.",
        ),
        (&["rake > file"], 2, "", "> is not available"),
        (
            &["sh", "-c", "ls"],
            127,
            "",
            "sh: command not found: a dyno has no shell",
        ),
        (&["ls"], 127, "", "ls: command not found"),
        (&["../etc/passwd"], 126, "", "../etc/passwd: cannot run it"),
        (&["bin/shell"], 126, "", "bin/shell: cannot run it"),
        (&["bin/none"], 127, "", "bin/none: command not found"),
        (
            &["web"],
            1,
            "",
            "rackup: the app's web dynos serve requests already",
        ),
        (&["irb", "--version"], 0, "irb 1.", ""),
        (
            &["ruby", "-c", "syntax.rb"],
            1,
            "",
            "unexpected end-of-input",
        ),
        (&["ruby", "-d", "-e", "p $DEBUG"], 0, "true\n", ""),
        (
            &["ruby", "-rnone", "-e", "p 1"],
            1,
            "",
            "cannot load such file -- none (LoadError)",
        ),
        (
            &["ruby", "-e", "throw :x"],
            1,
            "",
            "uncaught throw :x (UncaughtThrowError)",
        ),
        (&["ruby", "--help"], 0, "Usage: ruby [", ""),
        (&["ruby", "--version"], 0, "ruby 3.", ""),
    ] {
        let run = app.run_with(command, b"").await;
        assert_eq!(run.status, status, "{command:?}: {run:?}");
        assert!(run.stdout.starts_with(stdout), "{command:?}: {run:?}");
        assert!(
            run.stderr.starts_with(stderr) || run.stderr.contains(stderr),
            "{command:?}: {run:?}"
        );
        assert_eq!(
            run.stdout.is_empty(),
            stdout.is_empty(),
            "{command:?}: {run:?}"
        );
    }
    let reads = app.run_with(&["rake", "reads"], b"hi\n").await;
    assert_eq!((reads.status, reads.stdout.as_str()), (0, "HI\n"));
    let list = app.run_with(&["gem", "list", "^rake$"], b"").await;
    assert!(
        list.status == 0 && list.stdout.starts_with("rake ("),
        "{list:?}"
    );
    let irb = app.run_with(&["irb", "-f"], b"6 * 7\nraise 'no'\n").await;
    assert!(
        irb.stdout.contains("42\n") && irb.stdout.contains("no (RuntimeError)"),
        "{irb:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn command_is_a_process_of_its_own() {
    let app = app().await;
    let code = "p ENV['NEW'], ENV['SECRET'], ENV['DYNO'].split('.').first, defined?(Rack), $LOADED_FEATURES.grep(/config.ru/)";
    let environ = [("NEW", "1"), ("SECRET", "other")];
    let run = app.run_command(&["ruby", "-e", code], &environ, b"").await;
    assert_eq!(
        run.stdout, "\"1\"\n\"other\"\n\"run\"\nnil\n[]\n",
        "{run:?}"
    );
    let tests = app
        .run_with(&["ruby", "-Itest", "test/sum_test.rb"], b"")
        .await;
    assert_eq!(tests.status, 1, "{tests:?}");
    assert!(
        tests.stdout.contains("2 runs, 2 assertions, 1 failures"),
        "{tests:?}"
    );
    let random = ["ruby", "-e", "p rand, 'a'.hash, Random.new_seed"];
    let first = app.run_with(&random, b"").await;
    assert_ne!(first.stdout, app.run_with(&random, b"").await.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_limit_ends_a_command_with_a_reason() {
    let app = app().await;
    let code = "a = []; begin; loop { a << 'x' * (16 << 20) }; rescue NoMemoryError; a = nil; warn 'full'; exit 8; end";
    let run = app.run_with(&["ruby", "-e", code], b"").await;
    assert_eq!((run.status, run.stderr.as_str()), (8, "full\n"));
}
