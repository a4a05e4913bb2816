//! Native extensions: C code that a dyno loads, and that new dyno have from their image.

use std::path::Path;
use std::process::Command;

use corundum_host::engine::{Allocation, Engine, EngineConfig};
use corundum_pack::archive::{Archive, ArchiveNode, NodeId};
use corundum_pack::ruby::prepare;
use corundum_pack::toolchain::{self, driver};

use crate::harness::{Options, TestApp, cache, evaluating, request};

/// Compiles an extension with the compiler that builds use.
fn compiled(name: &str, source: &str) -> Vec<u8> {
    let toolchain = toolchain::install(&cache(), &mut |_| {}).unwrap();
    let work = tempfile::tempdir().unwrap();
    let (guest, ruby) = (work.path().join("guest"), work.path().join("usr"));
    std::fs::create_dir_all(guest.join("tmp")).unwrap();
    let pack = prepare(Options::default().edition, &cache(), |_| {}).unwrap();
    let root = Archive::new(std::fs::read(pack.path().join("root.tar")).unwrap()).unwrap();
    copy(
        &root,
        root.lookup("usr/include").unwrap(),
        &ruby.join("include"),
    );
    std::fs::write(guest.join("tmp").join(format!("{name}.c")), source).unwrap();
    let series = &pack.manifest().series;
    let paths = driver::DriverPaths {
        toolchain: toolchain.directory(),
        sysroot: None,
        ruby: &ruby,
        work: &guest,
        current: "/tmp",
        provided: None,
    };
    let headers = format!("/usr/include/ruby-{series}.0");
    let lines = [
        format!("cc -I{headers} -I{headers}/wasm32-wasi -O2 -c {name}.c -o {name}.o"),
        format!("cc -shared -o {name}.so {name}.o"),
    ];
    for line in lines {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for command in driver::plan(&words, &paths).unwrap().commands {
            let (program, arguments) = command.split_first().unwrap();
            let output = Command::new(program)
                .args(arguments)
                .current_dir(guest.join("tmp"))
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    std::fs::read(guest.join("tmp").join(format!("{name}.so"))).unwrap()
}

fn copy(archive: &Archive, node: NodeId, to: &Path) {
    match archive.node(node) {
        ArchiveNode::Directory { entries } => {
            std::fs::create_dir_all(to).unwrap();
            for (name, node) in entries {
                copy(archive, *node, &to.join(&**name));
            }
        }
        _ => std::fs::write(to, archive.content(node)).unwrap(),
    }
}

fn with_counter() -> Options {
    let wasm = compiled("counter", include_str!("extensions/counter.c"));
    Options {
        binaries: vec![("lib/counter.so".to_owned(), wasm)],
        ..Options::default()
    }
}

async fn check(app: &TestApp, code: &str, expected: &str) {
    let answer = app.send(request("POST", "/", code)).await.unwrap();
    assert_eq!(answer, (200, expected.to_owned()), "{code}");
}

#[tokio::test]
async fn extension_of_an_image_works_in_new_dynos() {
    let app =
        "require '/app/lib/counter.so'; Counter.word(1); KEPT = Counter::Point.new(1, 2, 'kept')\n";
    let app = TestApp::boot_with(&evaluating(app), with_counter()).await;
    for (code, expected) in [
        // The variable has the value of the boot, and pointers in the data are right.
        ("Counter.count", "1"),
        ("[Counter.word(2), Counter.count]", "[\"two\", 2]"),
        ("KEPT.sum", "[3.0, \"kept\"]"),
        ("Counter::Point.new(1.5, 2, :tag).sum", "[3.5, :tag]"),
        ("Counter.double([1, 'a'])", "[2, \"aa\"]"),
        ("Counter.try(->(text) { text.upcase })", "\"ARGUMENT\""),
        (
            "Counter.try(->(text) { raise text })",
            "\"rescued argument\"",
        ),
        ("Counter.sort([3, 1, 2])", "[1, 2, 3]"),
        (
            "Counter.collect(5) == 'first' + 5.times.map { |i| \"item #{i}\" * 2 }.join(',')",
            "true",
        ),
        (
            "begin; Counter.word(9); rescue ArgumentError => error; error.message; end",
            "\"no word for 9\"",
        ),
        (
            "begin; Counter.recurse; rescue SystemStackError => error; error.class; end",
            "SystemStackError",
        ),
        (
            "[1].each { Fiber.new { Counter.try(->(text) { Fiber.yield text }) }.resume }; Counter.word(3)",
            "\"three\"",
        ),
    ] {
        check(&app, code, expected).await;
    }
}

#[tokio::test]
async fn each_dyno_has_data_of_its_own() {
    let app = TestApp::boot_with(
        &evaluating("require '/app/lib/counter.so'\n"),
        with_counter(),
    )
    .await;
    let slow = "3.times { Counter.word(0) }; sleep 0.3; Counter.count";
    let (one, other) = tokio::join!(
        app.send(request("POST", "/", slow)),
        app.send(request("POST", "/", slow))
    );
    assert_eq!(
        (one.unwrap().1, other.unwrap().1),
        ("3".to_owned(), "3".to_owned())
    );
}

#[tokio::test]
async fn extension_is_loaded_by_a_running_dyno() {
    let app = TestApp::boot_with(&evaluating(""), with_counter()).await;
    check(
        &app,
        "require '/app/lib/counter.so'; Counter.word(1)",
        "\"one\"",
    )
    .await;
    check(&app, "Counter.count", "1").await;
    let ran = app
        .run(&[
            "ruby",
            "-e",
            "require '/app/lib/counter'; puts Counter.sort([2, 1]).inspect",
        ])
        .await;
    assert_eq!(ran, (0, "[1, 2]\n".to_owned()));
}

#[tokio::test]
async fn extension_that_no_push_has_compiled_is_refused() {
    let engine = Engine::new(EngineConfig {
        allocation: Allocation::Pooled { dynos: 4 },
        ..EngineConfig::default()
    });
    let source = include_str!("extensions/counter.c").replace("no word for", "not a word:");
    let options = Options {
        engine: Some(engine.unwrap()),
        binaries: vec![("lib/counter.so".to_owned(), compiled("counter", &source))],
        ..Options::default()
    };
    let app = TestApp::boot_with(&evaluating(""), options).await;
    let code = "begin; require '/app/lib/counter.so'; rescue LoadError => error; error.message[0, 46]; end";
    check(
        &app,
        code,
        "\"it was not compiled when the app was pushed: p\"",
    )
    .await;
}

#[tokio::test]
async fn endless_loop_in_an_extension_yields() {
    let app = TestApp::boot_with(
        &evaluating("require '/app/lib/counter.so'\n"),
        with_counter(),
    )
    .await;
    let endless = request("POST", "/", "Counter.loop");
    let answered = tokio::select! {
        ended = app.send(endless) => panic!("{ended:?}"),
        answered = async {
            let mut answers = 0;
            for _ in 0..5 {
                answers += usize::from(app.send(request("POST", "/", "1")).await.is_ok());
            }
            answers
        } => answered,
    };
    assert_eq!(answered, 5);
}

#[tokio::test]
async fn crash_in_an_extension_ends_its_dyno_alone() {
    let app = TestApp::boot_with(
        &evaluating("require '/app/lib/counter.so'\n"),
        with_counter(),
    )
    .await;
    assert!(
        app.send(request("POST", "/", "Counter.crash"))
            .await
            .is_err()
    );
    check(&app, "Counter.word(1)", "\"one\"").await;
}

#[tokio::test]
async fn files_that_are_no_extensions_raise_load_errors() {
    let binaries = [
        ("elf.so", b"\x7fELF\x02\x01\x01".to_vec()),
        ("empty.so", Vec::new()),
        ("program.so", wat::parse_str("(module (memory 1))").unwrap()),
    ];
    let options = Options {
        binaries: binaries
            .map(|(name, bytes)| (name.to_owned(), bytes))
            .to_vec(),
        ..Options::default()
    };
    let app = TestApp::boot_with(&evaluating(""), options).await;
    for (name, reason) in [
        ("elf", "invalid module"),
        ("empty", "invalid module"),
        ("program", "it has a memory of its own"),
        ("missing", "cannot load such file"),
    ] {
        let code = format!(
            "begin; require '/app/{name}.so'; rescue LoadError => error; error.message; end"
        );
        let (_, answer) = app.send(request("POST", "/", &code)).await.unwrap();
        assert!(answer.contains(reason), "{name}: {answer}");
    }
}
