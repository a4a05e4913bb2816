//! Languages beside Ruby: a pack is built from its source, installed, and used by apps.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use corundum_test_support::node::{ProcessOutput, TestNode, corundum, pack_cache};
use corundum_test_support::wait::poll;

const SMALL: &str = "return function() return 200, {}, 'x' end\n";

/// Runs the binary on a cache.
fn run(cache: &Path, arguments: &[&str]) -> ProcessOutput {
    let mut command = Command::new(corundum());
    ProcessOutput::of(command.args(arguments).env("CORUNDUM_CACHE", cache))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Asserts that an output has all parts.
fn assert_parts(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

/// A node with a cache of its own, in which the Lua pack is installed and no pack of Ruby.
struct LuaNode {
    node: TestNode,
    cache: tempfile::TempDir,
}

/// Returns the file of the Lua pack. It is built once for each process of tests, in the cache that all tests share, whose
/// compiler it uses.
fn lua_pack() -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let source = root().join("sdk/lua");
        let built = run(&pack_cache(), &["pack", "build", source.to_str().unwrap()]);
        built.assert_success();
        assert_parts(&built.text, &["Lua 5.4.7 is built"]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lua.pack");
        let file = file.to_str().unwrap();
        run(&pack_cache(), &["pack", "export", "lua-5.4", file]).assert_success();
        folder
    });
    folder.path().join("lua.pack")
}

impl LuaNode {
    fn start() -> Self {
        let cache = tempfile::tempdir().unwrap();
        let pack = lua_pack();
        let import = ["pack", "import", pack.to_str().unwrap(), "--untested"];
        run(cache.path(), &import).assert_success();
        let node = TestNode::start_with_cache(cache.path().to_owned(), &["--build-ruby", "false"]);
        Self { node, cache }
    }
}

#[test]
fn lua_app_is_pushed_and_serves_with_its_config_vars() {
    let LuaNode { node, .. } = &LuaNode::start();
    let app = node.create("moon");
    app.copy_sample("lua");
    let push = app.push("main");
    push.assert_success();
    let lines = [
        "-----> Lua app detected",
        "-----> Using Lua version: lua-5.4.7",
        "No Procfile, using the default: web: lua app.lua",
        "-----> Booting... done (",
        "Released v1",
    ];
    assert_parts(&push.text, &lines);
    let (status, body) = node.get("moon", "/");
    assert_eq!(status, 200);
    assert!(body.starts_with("Hello from Lua 5.4, dyno web."), "{body}");
    assert_eq!(node.get("moon", "/greeting").1, "no greeting\n");
    node.cli(&["config:set", "GREETING=good evening", "-a", "moon"])
        .assert_success();
    assert_eq!(node.get("moon", "/greeting").1, "good evening\n");
    assert_eq!(node.get("moon", "/count?5").1, "1\n2\n3\n4\n5\n");
    assert_eq!(node.get("moon", "/nowhere").0, 404);
    let response = node.raw("moon", "POST /size", "", &"x".repeat(300_000));
    assert!(response.ends_with("300000 bytes\n"), "{response}");
    let cookies = response.to_lowercase().matches("\r\nset-cookie: ").count();
    assert_eq!(cookies, 2, "{response}");

    // Dynos of one image have different random numbers.
    let dice = || {
        node.cli(&["ps:restart", "-a", "moon"]).assert_success();
        node.get("moon", "/dice").1
    };
    assert_ne!(dice(), dice());

    assert_eq!(node.get("moon", "/error").0, 500);
    let log = node.wait_for_log("moon", "an error on purpose");
    assert_parts(&log, &["stack traceback", "app.lua:"]);
    // The dyno survives an error.
    assert_eq!(node.get("moon", "/").0, 200);

    assert_parts(&node.cli(&["apps:info", "-a", "moon"]).text, &["lua 5.4"]);
    node.cli(&["rollback", "-a", "moon"]).assert_success();
    assert_eq!(node.get("moon", "/greeting").1, "no greeting\n");
}

#[test]
fn commands_of_a_lua_app_have_its_files_arguments_and_config_vars() {
    let LuaNode { node, .. } = &LuaNode::start();
    let app = node.create("moon");
    app.write("app.lua", SMALL);
    let script =
        "local name = ...\nprint('hello ' .. name .. ' ' .. os.getenv('WHO'))\nos.exit(3)\n";
    app.write("greet.lua", script);
    node.cli(&["config:set", "WHO=you", "-a", "moon"])
        .assert_success();
    app.push("main").assert_success();
    let run = |arguments: &[&str]| node.cli(&[&["run", "--app", "moon"], arguments].concat());
    for (command, status, text) in [
        (&["lua", "-e", "print(6 * 7)"][..], 0, "42"),
        (&["lua", "greet.lua", "sun"], 3, "hello sun you"),
        (&["greet.lua", "stars"], 3, "hello stars you"),
        (&["lua", "-e", "error('no')"], 1, "stack traceback"),
        (&["bash"], 127, "command not found"),
    ] {
        let output = run(command);
        assert_eq!(output.status, status, "{command:?}: {}", output.text);
        assert_parts(&output.text, &[text]);
    }
}

#[test]
fn push_of_an_app_of_no_installed_language_names_what_was_looked_for() {
    let LuaNode { node, .. } = &LuaNode::start();
    let app = node.create("moon");
    app.write("README", "nothing to run");
    let push = app.push("main");
    push.assert_failure("no app detected");
    let parts = [
        "Ruby: Gemfile or config.ru",
        "Lua: app.lua",
        "failed to compile app",
    ];
    assert_parts(&push.text, &parts);
    app.write("app.lua", SMALL);
    app.write(".lua-version", "5.1.5\n");
    app.push("main")
        .assert_failure("no pack of Lua 5.1.5 is installed; the node has Lua 5.4");
    app.write(".lua-version", "5.4.2\n");
    app.write("app.json", "{\"language\": \"cobol\"}");
    app.push("main")
        .assert_failure("no pack of the language \"cobol\" is installed");
    app.write("app.json", "{\"language\": \"lua\"}");
    app.push("main").assert_success();
    assert_eq!(node.get("moon", "/").1, "x");
}

#[test]
fn lua_app_that_does_not_load_is_rejected_with_its_message() {
    let LuaNode { node, .. } = &LuaNode::start();
    let app = node.create("moon");
    for (text, reason) in [
        ("error('broken on purpose')\n", "broken on purpose"),
        ("return 1 +\n", "unexpected symbol near <eof>"),
        ("return {}\n", "app.lua returns no function, but a table"),
        ("os.exit(1)\n", "exit"),
    ] {
        app.write("app.lua", text);
        let push = app.push("main");
        push.assert_failure(reason);
        assert_parts(&push.text, &["Push rejected, failed to boot Lua app."]);
    }
}

#[test]
fn new_version_of_a_pack_moves_its_apps_while_they_serve() {
    let LuaNode { node, cache } = &LuaNode::start();
    let app = node.create("moon");
    app.write(
        "app.lua",
        "return function() return 200, {}, tostring(NEWER) end\n",
    );
    app.push("main").assert_success();
    assert_eq!(node.get("moon", "/").1, "nil");
    // A copy of the source whose interpreter defines a global variable.
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("lua");
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(root().join("sdk/lua")).arg(&source);
    assert!(copy.status().unwrap().success());
    let text = std::fs::read_to_string(source.join("dyno.c")).unwrap();
    let libraries = "luaL_openlibs(L);";
    assert!(text.contains(libraries));
    let added = "luaL_openlibs(L); lua_pushliteral(L, \"yes\"); lua_setglobal(L, \"NEWER\");";
    std::fs::write(source.join("dyno.c"), text.replace(libraries, added)).unwrap();
    let own = tempfile::tempdir().unwrap();
    let shared = pack_cache();
    for entry in std::fs::read_dir(&shared).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let is_used = ["toolchain-", "downloads"]
            .iter()
            .any(|kind| name.to_string_lossy().starts_with(kind));
        if is_used {
            std::os::unix::fs::symlink(entry.path(), own.path().join(name)).unwrap();
        }
    }
    run(own.path(), &["pack", "build", source.to_str().unwrap()]).assert_success();
    let file = work.path().join("lua.pack");
    let file = file.to_str().unwrap();
    run(own.path(), &["pack", "export", "lua", file]).assert_success();
    run(cache.path(), &["pack", "import", file, "--untested"]).assert_success();
    let moved = poll(Duration::from_secs(60), || {
        let (status, body) = node.get("moon", "/");
        assert_eq!(status, 200, "{body}");
        (body == "yes").then_some(())
    });
    assert!(moved.is_some(), "{}", node.cli(&["packs"]).text);
    let releases = node.cli(&["releases", "--app", "moon"]).text;
    assert!(
        releases.contains("v1") && !releases.contains("v2"),
        "{releases}"
    );
}

#[test]
fn pack_is_created_built_exported_imported_and_uninstalled() {
    // The compiler of the shared cache spares this test a minute.
    let (work, cache) = (tempfile::tempdir().unwrap(), pack_cache());
    let folder = work.path().join("toy");
    let folder = folder.to_str().unwrap();
    let new = ["pack", "new", "toy", "--directory", folder];
    run(&cache, &new).assert_success();
    run(&cache, &new).assert_failure("toy");
    let built = run(&cache, &["pack", "build", folder]);
    built.assert_success();
    let again = run(&cache, &["pack", "build", folder]);
    let digest = |output: &ProcessOutput| {
        let line = output.text.lines().find(|line| line.contains("is built"));
        line.unwrap().rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(digest(&built), digest(&again), "the build is reproducible");
    let packs = run(&cache, &["packs"]).text;
    assert_parts(&packs, &["corundum pack install toy-1"]);

    let file = work.path().join("toy.pack");
    let file = file.to_str().unwrap();
    let exported = run(&cache, &["pack", "export", "toy", file]);
    exported.assert_success();
    let sha256 = exported.text.split(' ').next().unwrap();
    let other = tempfile::tempdir().unwrap();
    let wrong = "0".repeat(64);
    run(other.path(), &["pack", "import", file, "--sha256", &wrong])
        .assert_failure("not the expected one");
    let url = "https://example.invalid/toy.pack";
    run(other.path(), &["pack", "import", url]).assert_failure("give --sha256");
    let import = ["pack", "import", file, "--sha256", sha256];
    run(other.path(), &import).assert_failure("the pack has no probe app");
    let packs = run(other.path(), &["packs"]).text;
    assert!(!packs.contains("untested"), "{packs}");
    run(other.path(), &[&import[..], &["--untested"]].concat()).assert_success();
    let packs = run(other.path(), &["packs", "--json"]).text;
    assert_parts(&packs, &["\"toy\"", "\"untested\""]);

    let node = TestNode::start_with_cache(other.path().to_owned(), &["--build-ruby", "false"]);
    let app = node.create("toys");
    app.write("app.toy", "");
    app.push("main").assert_success();
    assert_eq!(node.get("toys", "/there").1, "Hello from Toy: /there\n");
    run(other.path(), &["pack", "uninstall", "toy"]).assert_success();
    app.write("app.toy", "more");
    app.push("main").assert_failure("no app detected");
    assert_eq!(
        node.get("toys", "/there").0,
        200,
        "the running release stays"
    );
}

#[test]
fn pack_that_breaks_rules_is_not_installed_and_one_that_passes_is() {
    let cache = tempfile::tempdir().unwrap();
    let pack = lua_pack();
    let pack = pack.to_str().unwrap();
    let imported = run(cache.path(), &["pack", "import", pack]);
    imported.assert_success();
    assert!(!imported.text.contains("FAIL"), "{}", imported.text);
    let packs = run(cache.path(), &["packs"]).text;
    assert_parts(&packs, &["lua 5.4", "ready"]);

    // A folder without a script has its modules; this one's module answers everything with the same bytes.
    let folder = tempfile::tempdir().unwrap();
    let module = wat::parse_str(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00\16\00\00\00")
            (data (i32.const 16) "Status: 200\n\nnot ok\n\n\n")
            (func (export "dyno_boot") (result i32) (i32.const 0))
            (func (export "dyno_restore") (result i32) (i32.const 0))
            (func (export "dyno_handle") (result i32)
                (call $write (i32.const 1000) (i32.const 0) (i32.const 1) (i32.const 8))))"#,
    );
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    write("stone.wasm", &module.unwrap());
    write("probe/app.stone", b"");
    let text = "language = \"stone\"\nseries = \"1\"\nversion = \"1\"\ntitle = \"Stone\"\nabi = 2\n\
        licences = [\"MIT\"]\nprobe = \"probe\"\n[detect]\nfiles = [\"app.stone\"]\n\
        [run]\ncommand = \"stone\"\n[build]\nmodules = [\"stone.wasm\"]\n";
    write("pack.toml", text.as_bytes());
    let folder = folder.path().to_str().unwrap();
    run(cache.path(), &["pack", "build", folder]).assert_success();
    let refused = run(cache.path(), &["pack", "install", "stone"]);
    refused.assert_failure("the pack breaks rules, and was not installed");
    let parts = [
        "FAIL  static: the last module exports the dyno ABI with its types: dyno_run is not exported",
        "FAIL  copies: random numbers of dynos differ",
        "seed every generator in dyno_restore",
    ];
    assert_parts(&refused.text, &parts);
    run(cache.path(), &["pack", "install", "stone", "--untested"]).assert_success();
    assert_parts(
        &run(cache.path(), &["packs"]).text,
        &["installed, untested"],
    );
}
