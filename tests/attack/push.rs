//! Pushes of a kilobyte that ask for gigabytes, and pushes that ask git to run programs.
//!
//! Git's processes have limits, no home and no search path; the node lists a tree within bounds before it reads any of it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use corundum_test_support::node::{ProcessOutput, Repository, StopOnDrop, TestNode};
use flate2::Compression;
use flate2::write::ZlibEncoder;

const LIVE: &str = "run ->(e) { [200, {}, ['live']] }\n";

/// Most memory of a process of git or of a build of a small app, in KiB: git's limit and its program.
const MOST_MEMORY: u64 = 600 << 10;

/// Pushes, and returns the result with the peak memory in KiB of the largest process that the node started for it.
fn watched(node: &TestNode, push: impl FnOnce() -> ProcessOutput) -> (ProcessOutput, u64) {
    let (peak, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(node.processes_memory(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let push = push();
        (push, peak.load(Ordering::Relaxed))
    })
}

/// Asserts that a push is rejected with `words` within the memory of a normal one, and leaves nothing.
fn assert_rejected(node: &TestNode, words: &str, push: impl FnOnce() -> ProcessOutput) {
    let before = node.push_results("myapp");
    let (push, peak) = watched(node, push);
    assert!(!push.success, "{}", push.text);
    assert!(push.text.contains(words), "{words:?}:\n{}", push.text);
    assert!(peak < MOST_MEMORY, "{peak} KiB");
    assert_eq!(node.push_results("myapp"), before);
    node.assert_pushes_cleaned_up("myapp");
    assert_eq!(node.get("myapp", "/"), (200, "live".to_owned()));
}

fn blob(app: &Repository, content: &[u8]) -> String {
    app.git_text(&["hash-object", "-w", "--stdin"], content)
}

/// Makes a tree object of lines as `git ls-tree` prints them.
fn tree(app: &Repository, lines: &[String]) -> String {
    app.git_text(&["mktree"], lines.join("\n").as_bytes())
}

/// Makes a tree whose `levels` levels each have ten names for the level below.
fn nested(app: &Repository, leaf: &str, levels: usize) -> String {
    (0..levels).fold(leaf.to_owned(), |below, level| {
        let kind = app.git_text(&["cat-file", "-t", &below], b"");
        let mode = if kind == "tree" { "040000" } else { "100644" };
        let name = |at| format!("{mode} {kind} {below}\tx{level}{at}");
        tree(app, &(0..10).map(name).collect::<Vec<_>>())
    })
}

/// Makes the tree of an app with the tree `bomb` in it.
fn app_with(app: &Repository, bomb: &str) -> String {
    let ru = blob(app, LIVE.as_bytes());
    let lines = [
        format!("040000 tree {bomb}\tbomb"),
        format!("100644 blob {ru}\tconfig.ru"),
    ];
    tree(app, &lines)
}

#[test]
fn push_of_a_tree_bomb_is_rejected() {
    let node = TestNode::start();
    let app = node.deploy("myapp", LIVE);
    let file = blob(&app, b"x");
    let files = app_with(&app, &nested(&app, &file, 9));
    assert_rejected(&node, "more than 100000 files", || app.push_tree(&files));
    // Folders without a file.
    let empty = tree(&app, &[]);
    let folders = app_with(&app, &nested(&app, &empty, 9));
    assert_rejected(&node, "more than 100000 folders", || {
        app.push_tree(&folders)
    });
    // One file, a thousand folders deep.
    let deep = (0..1000).fold(file, |below, _| {
        let kind = app.git_text(&["cat-file", "-t", &below], b"");
        let mode = if kind == "tree" { "040000" } else { "100644" };
        tree(&app, &[format!("{mode} {kind} {below}\td")])
    });
    let deep = app_with(&app, &deep);
    assert_rejected(&node, "longer than 1024 bytes", || app.push_tree(&deep));
    // Few files of much content: 300 names for one blob of 4 MiB.
    let zeros = blob(&app, &vec![0; 4 << 20]);
    let name = |at| format!("100644 blob {zeros}\tzeros{at:03}");
    let large = tree(&app, &(0..300).map(name).collect::<Vec<_>>());
    let large = app_with(&app, &large);
    assert_rejected(&node, "larger than 1024.0M", || app.push_tree(&large));
}

#[test]
fn attributes_of_a_pushed_tree_have_no_effect() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write(
        "config.ru",
        "run ->(e) { [200, {}, [Dir['*'].sort.join(' '), ' ', File.size('subst').to_s]] }\n",
    );
    app.write(
        ".gitattributes",
        "subst export-subst\nkept export-ignore\n* text eol=crlf ident\n",
    );
    app.write("kept", "$Id$\n");
    let subst = "$Format:%B%G?$".repeat(20_000);
    app.write("subst", &subst);
    app.run_git(&["add", "--all"]).assert_success();
    let tree = app.git_text(&["write-tree"], b"");
    // The signature is what makes git run gpg.
    let commit = format!(
        "tree {tree}\nauthor t <t@e.c> 1 +0000\ncommitter t <t@e.c> 1 +0000\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n iHUEABYKAB0WIQ==\n =abcd\n -----END PGP SIGNATURE-----\n\n{}\n",
        "x".repeat(50_000)
    );
    let commit = app.git_text(
        &["hash-object", "-t", "commit", "-w", "--stdin"],
        commit.as_bytes(),
    );
    let (push, peak) = watched(&node, || app.push_object(&commit, "main"));
    push.assert_success();
    assert!(peak < MOST_MEMORY, "{peak} KiB");
    let expected = format!("config.ru kept subst {}", subst.len());
    assert_eq!(node.get("myapp", "/"), (200, expected));
}

/// Writes the head of a packed object (gitformat-pack(5)).
fn object_head(kind: u8, mut size: u64) -> Vec<u8> {
    let mut bytes = vec![kind << 4 | (size & 15) as u8];
    size >>= 4;
    while size > 0 {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push((size & 0x7f) as u8);
        size >>= 7;
    }
    bytes
}

fn number(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = (0..text.len()).step_by(2);
    digits
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("sha1sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    from_hex(&String::from_utf8(output.stdout).unwrap()[..40])
}

#[test]
fn push_of_a_delta_bomb_is_rejected() {
    let node = TestNode::start();
    let app = node.deploy("myapp", LIVE);
    let old = app.git_text(&["rev-parse", "HEAD"], b"");
    let base = vec![0; 16 << 20];
    let base_name = blob(&app, &base);
    let ru_name = blob(&app, LIVE.as_bytes());
    let lines = [
        format!("100644 blob {base_name}\tbase"),
        format!("100644 blob {ru_name}\tconfig.ru"),
    ];
    let tree_name = tree(&app, &lines);
    let tree_content = app.git_output(&["cat-file", "tree", &tree_name], b"");
    let commit = app.git_text(&["commit-tree", &tree_name, "-p", &old, "-m", "x"], b"");
    let commit_content = app.git_output(&["cat-file", "commit", &commit], b"");
    // The newline that the helper takes from the end.
    let commit_content = [commit_content, b"\n".to_vec()].concat();
    // 3 GiB of copies of a part of the base, in a delta of 1,400 bytes.
    let part = 0xff_f000u64;
    let copies = (3 << 30) / part;
    let copy = [0x80 | 0x20 | 0x40, 0xf0, 0xff];
    let delta = [
        number(base.len() as u64),
        number(copies * part),
        copy.repeat(copies as usize),
    ]
    .concat();
    let whole =
        |kind, content: &[u8]| [object_head(kind, content.len() as u64), zlib(content)].concat();
    let objects = [
        whole(1, &commit_content),
        whole(2, &tree_content),
        whole(3, &base),
        [
            object_head(7, delta.len() as u64),
            from_hex(&base_name),
            zlib(&delta),
        ]
        .concat(),
    ];
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend((objects.len() as u32).to_be_bytes());
    pack.extend(objects.concat());
    pack.extend(sha1(&pack));
    assert!(pack.len() < 50_000, "{}", pack.len());
    let update = format!("{old} {commit} refs/heads/main\0report-status");
    let body = format!("{:04x}{update}0000", update.len() + 4).into_bytes();
    let body = [body, pack].concat();
    let headers = "Content-Type: application/x-git-receive-pack-request\r\n";
    assert_rejected(&node, "ng refs/heads/main", || {
        let line = "POST /myapp.git/git-receive-pack";
        let (status, text) = node.api(line, &node.token(), headers, &body);
        assert_eq!(status, 200, "{text}");
        ProcessOutput {
            success: text.contains("ok refs/heads/main"),
            status: 0,
            text,
        }
    });
}

#[test]
fn signed_push_runs_no_program_of_the_machine() {
    let node = TestNode::start();
    let app = node.deploy("myapp", LIVE);
    let old = app.git_text(&["rev-parse", "HEAD"], b"");
    let commit = app.git_text(
        &[
            "commit-tree",
            &format!("{old}^{{tree}}"),
            "-p",
            &old,
            "-m",
            "x",
        ],
        b"",
    );
    let pack = app.git_output(
        &["pack-objects", "--stdout", "-q"],
        format!("{commit}\n").as_bytes(),
    );
    let packet = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let mut body = packet("push-cert\0report-status");
    for line in [
        "certificate version 0.1\n",
        "pusher t <t@e.c> 1 +0000\n",
        "\n",
        &format!("{old} {commit} refs/heads/main\n"),
        "-----BEGIN PGP SIGNATURE-----\n",
        "\n",
        "iHUEABYKAB0WIQ==\n",
        "-----END PGP SIGNATURE-----\n",
        "push-cert-end\n",
    ] {
        body += &packet(line);
    }
    let body = [body.into_bytes(), b"0000".to_vec(), pack, b"\n".to_vec()].concat();
    let headers = "Content-Type: application/x-git-receive-pack-request\r\n";
    let line = "POST /myapp.git/git-receive-pack";
    let before = node.push_results("myapp");
    let (_, text) = node.api(line, &node.token(), headers, &body);
    assert!(!text.contains("ok refs/heads/main"), "{text}");
    assert_eq!(node.push_results("myapp"), before);
    let home = node.data().parent().unwrap().join("home");
    assert!(!home.join(".gnupg").exists());
}

#[test]
fn requests_outside_of_the_smart_protocol_are_not_found() {
    let node = TestNode::start();
    node.deploy("myapp", LIVE);
    let token = node.token();
    for path in [
        "HEAD",
        "config",
        "info/refs",
        "objects/info/packs",
        "objects/00/00000000000000000000000000000000000000",
        "info/refs?service=git-upload-archive",
        "git-upload-archive",
        "../myapp.git/HEAD",
        "hooks/pre-receive",
        "",
        "x\ny",
    ] {
        let path = path.replace('\n', "%0a");
        let (status, text) = node.api(&format!("GET /myapp.git/{path}"), &token, "", b"");
        assert_eq!(status, 404, "{path}: {text}");
    }
    let kind = "Content-Type: text/plain\r\n";
    let (status, text) = node.api("POST /myapp.git/git-receive-pack", &token, kind, b"");
    assert_eq!(status, 415, "{text}");
    let (status, _) = node.api("POST /unknown.git/git-receive-pack", &token, kind, b"");
    assert_eq!(status, 404);
}
