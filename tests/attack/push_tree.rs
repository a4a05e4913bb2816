//! The files that a dyno sees in `/app` are those of a checkout of the pushed commit.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use corundum_test_support::node::{ProcessOutput, Repository, TestNode};

/// Prints each file and link below `/app`: its path and its content, both in hexadecimal.
const LIST: &str = r##"
list = lambda do |folder|
  Dir.children(folder).flat_map do |name|
    path = folder == "." ? name : "#{folder}/#{name}"
    next [] if path == ".corundum"
    hex = path.b.unpack1("H*")
    if File.symlink?(path) then ["#{hex} link #{File.readlink(path).b.unpack1("H*")}"]
    elsif File.directory?(path) then list.(path)
    else ["#{hex} file #{File.binread(path).unpack1("H*")}"]
    end
  end
end
run ->(env) { [200, {"content-type" => "text/plain"}, [list.(".").map { |line| line + "\n" }.join]] }
"##;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the files of a directory in the form of [`LIST`], by path.
fn files_below(root: &Path, folder: &Path, files: &mut BTreeMap<Vec<u8>, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .strip_prefix(root)
            .unwrap()
            .as_os_str()
            .as_bytes()
            .to_vec();
        let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_symlink() {
            let target = std::fs::read_link(&path).unwrap();
            let line = format!("link {}", hex(target.as_os_str().as_bytes()));
            files.insert(name, line);
        } else if kind.is_dir() {
            if name != b".git" {
                files_below(root, &path, files);
            }
        } else {
            let line = format!("file {}", hex(&std::fs::read(&path).unwrap()));
            files.insert(name, line);
        }
    }
}

/// Checks the head of a repository out beside it and returns the files.
fn checkout(app: &Repository) -> BTreeMap<Vec<u8>, String> {
    let directory = app.path().with_extension("checkout");
    let _ = std::fs::remove_dir_all(&directory);
    // Attributes, which may change line ends on checkout, are left aside.
    let empty_tree = app.git_text(&["hash-object", "-t", "tree", "-w", "/dev/null"], b"");
    app.run_git(&[
        &format!("--attr-source={empty_tree}"),
        "worktree",
        "add",
        "--detach",
        "--force",
        directory.to_str().unwrap(),
    ])
    .assert_success();
    let mut files = BTreeMap::new();
    files_below(&directory, &directory, &mut files);
    files.remove(&b".git"[..]);
    app.run_git(&["worktree", "remove", "--force", directory.to_str().unwrap()])
        .assert_success();
    files
}

/// Returns the files that a dyno of `myapp` sees.
fn dyno(node: &TestNode) -> BTreeMap<Vec<u8>, String> {
    let (status, text) = node.get("myapp", "/");
    assert_eq!(status, 200, "{text}");
    text.lines()
        .map(|line| {
            let (path, rest) = line.split_once(' ').unwrap();
            let bytes = (0..path.len()).step_by(2);
            let bytes = bytes.map(|at| u8::from_str_radix(&path[at..at + 2], 16).unwrap());
            (bytes.collect(), rest.to_owned())
        })
        .collect()
}

fn push(app: &Repository) -> ProcessOutput {
    app.write("config.ru", LIST);
    app.assert_pushed()
}

#[test]
fn dyno_sees_what_a_checkout_has() {
    let node = TestNode::start();
    let app = node.create("myapp");
    for name in [
        "plain.txt",
        "docs/back\\slash.txt",
        "docs/two\nlines.txt",
        "docs/README",
        "docs/Readme",
        "DOCS/readme",
        "quotes \"'` $x;.txt",
        " leading and trailing ",
        "tab\tand\u{1}control",
        "ünïcödé/日本語.txt",
        "nfd/e\u{301}.txt",
        "nfc/\u{e9}.txt",
        "-dash",
        "con.txt",
        "a:b*?<>|",
        "..dots..",
        ".hidden/.file",
        ".gitignore",
        ".gitkeep",
        "crlf.txt",
        "export/ignored.txt",
        "%2e%2e",
    ] {
        app.write(name, &format!("{name}\r\n$Format:%H$ $Id$\n"));
    }
    app.write("deep/".repeat(200).as_str().trim_end_matches('/'), "deep");
    app.write(&format!("{}/{}", "l".repeat(200), "m".repeat(250)), "long");
    app.write("empty", "");
    app.write_bytes("binary", &(0..=255).collect::<Vec<u8>>());
    app.write_bytes("bom.txt", b"\xef\xbb\xbfmark\n");
    app.write(
        ".gitattributes",
        "*.txt text eol=crlf export-subst ident\nexport export-ignore\nbinary filter=lfs\n",
    );
    for (name, target) in [
        ("to-file", "plain.txt"),
        ("to-folder", "docs/"),
        ("twice", ".//docs/./README"),
        ("up/and/down", "../../plain.txt"),
        ("dangling", "nothing"),
        ("self", "self"),
        ("to-tmp", "/tmp/cache"),
        ("out", "../../etc/passwd"),
        ("docs/long", &"../docs/".repeat(60)),
    ] {
        let folder = app.path().join(name);
        std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
        app.link(name, target);
    }
    let push = push(&app);
    for note in [
        "The link \"out\" leads out of the app",
        "The link \"to-tmp\" leads out of the app",
        "Files under Git LFS are pointers",
    ] {
        assert!(push.text.contains(note), "{note}:\n{}", push.text);
    }
    assert_eq!(
        push.text.matches("leads out of the app").count(),
        2,
        "{}",
        push.text
    );
    let (seen, expected) = (dyno(&node), checkout(&app));
    let names = |files: &BTreeMap<Vec<u8>, String>| -> Vec<String> {
        files
            .keys()
            .map(|name| name.escape_ascii().to_string())
            .collect()
    };
    assert_eq!(names(&seen), names(&expected));
    for (name, content) in &expected {
        assert_eq!(seen.get(name), Some(content), "{}", name.escape_ascii());
    }
}

#[test]
fn names_that_a_dyno_cannot_hold_are_left_out_and_named() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write("kept.txt", "x");
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9.txt");
    std::fs::write(app.path().join(odd), "x").unwrap();
    let target = std::ffi::OsStr::from_bytes(b"caf\xe9.txt");
    std::os::unix::fs::symlink(target, app.path().join("link")).unwrap();
    let push = push(&app);
    assert!(push.text.contains("Left out caf\\xe9.txt"), "{}", push.text);
    assert!(push.text.contains("Left out link"), "{}", push.text);
    let names: Vec<Vec<u8>> = dyno(&node).into_keys().collect();
    assert_eq!(names, [b"config.ru".to_vec(), b"kept.txt".to_vec()]);
    // Many are counted.
    for at in 0..20u8 {
        let name = [b"x\xff".as_slice(), &[b'a' + at]].concat();
        std::fs::write(app.path().join(std::ffi::OsStr::from_bytes(&name)), "x").unwrap();
    }
    let push = app.assert_pushed();
    assert!(push.text.contains("and 17 more like this"), "{}", push.text);
}

#[test]
fn submodule_is_refused_unless_slugignore_names_it() {
    let node = TestNode::start();
    let app = node.create("myapp");
    let library = app.unrelated("library");
    library.write("name.rb", "NAME = 'lib'\n");
    library.commit();
    let path = library.path().to_str().unwrap().to_owned();
    let add = [
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "--quiet",
        &path,
        "vendor/lib",
    ];
    app.run_git(&add).assert_success();
    app.write("config.ru", LIST);
    let push = app.push("main");
    push.assert_failure("\"vendor/lib\" is a git submodule");
    assert!(!push.text.contains("gem"), "{}", push.text);
    app.write(".slugignore", "vendor/lib\n");
    app.assert_pushed();
    assert!(dyno(&node).keys().all(|name| !name.starts_with(b"vendor")));
}

#[test]
fn text_files_may_have_a_byte_order_mark() {
    let node = TestNode::start();
    let app = node.create("myapp");
    let marked = |path: &str, text: &str| app.write(path, &format!("\u{feff}{text}"));
    marked(".slugignore", "secret.txt\n");
    marked("Procfile", "web: rackup\n");
    marked(".ruby-version", "3.3.4\n");
    marked("app.json", "{\"env\": {\"A\": \"b\"}}\n");
    marked("Gemfile", "# no gems\n");
    marked("Gemfile.lock", "PLATFORMS\n  ruby\n\nDEPENDENCIES\n");
    app.write("secret.txt", "x");
    marked("config.ru", LIST.trim_start());
    app.assert_pushed();
    assert!(!dyno(&node).contains_key(&b"secret.txt"[..]));
    let config = node.cli(&["config", "--app", "myapp"]).text;
    assert!(config.contains('A') && config.contains('b'), "{config}");
}

#[test]
fn executable_script_runs_by_its_interpreter() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write(
        "bin/task",
        "#!/usr/bin/env ruby\nputs \"ran #{ARGV.inspect} #{$0}\"\n",
    );
    app.write("bin/plain", "#!/usr/bin/env ruby\nputs 1\n");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(app.path().join("bin/task"), mode).unwrap();
    app.link("task", "bin/task");
    push(&app);
    for command in ["bin/task", "./bin/task", "/app/bin/task", "./task"] {
        let run = node.cli(&["run", "--app", "myapp", "--", command, "a b"]);
        assert!(
            run.text.contains("ran [\"a b\"]"),
            "{command}: {}",
            run.text
        );
    }
    let run = node.cli(&["run", "--app", "myapp", "--", "bin/plain"]);
    assert!(
        !run.success && run.text.contains("--chmod=+x bin/plain"),
        "{}",
        run.text
    );
}
