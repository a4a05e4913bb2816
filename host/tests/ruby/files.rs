//! Files of a dyno as Ruby sees them: `/app` and `/tmp`, what the boot writes, attributes, locks and names.

use corundum_host::boot::WarmUp;
use corundum_host::grid::Isolation;

use crate::harness::{Options, TestApp};

/// Runs Ruby code in a dyno of its own and returns the lines that it prints.
async fn run(code: &str) -> Vec<String> {
    let app = TestApp::boot("run ->(e) { [200, {}, []] }").await;
    let (status, output) = app.run(&["ruby", "-e", code]).await;
    assert_eq!(status, 0, "{output} {:?}", app.log_lines());
    output.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn app_is_writable_and_changes_end_with_the_dyno() {
    let source = r#"
        require "fileutils"
        File.write("at_boot", "boot")
        run ->(e) {
          seen = [File.read("at_boot"), Dir.children("/app").sort, File.read("config.ru").lines.size > 5]
          FileUtils.mkdir_p("tmp/cache")
          File.write("tmp/cache/x", "x")
          File.write("at_boot", "request", mode: "a")
          File.rename("config.ru", "tmp/renamed.ru")
          File.write("config.ru", "new")
          seen << File.read("at_boot") << File.read("config.ru") << File.read("tmp/renamed.ru").lines.size
          File.delete("at_boot", "config.ru")
          seen << Dir.glob("**/*").sort
          FileUtils.rm_rf("tmp")
          seen << Dir.children("/app")
          [200, {}, [seen.inspect]]
        }"#;
    let options = Options {
        isolation: Isolation::Request,
        ..Options::default()
    };
    let app = TestApp::boot_with(source, options).await;
    let expected = format!(
        r#"["boot", ["at_boot", "config.ru"], true, "bootrequest", "new", {}, ["tmp", "tmp/cache", "tmp/cache/x", "tmp/renamed.ru"], []]"#,
        source.lines().count()
    );
    for _ in 0..3 {
        assert_eq!(app.get("/").await.unwrap(), (200, expected.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_the_boot_has_left_open_stays_open() {
    let source = r#"
        require "logger"
        LOG = Logger.new("/app/app.log")
        LOG.info("boot")
        HALF = File.open("config.ru")
        HALF.seek(5)
        FileUtils.rm("/app/gone") if (GONE = File.open("/app/gone", "w+")) && require("fileutils")
        GONE.write("unlinked")
        GONE.flush
        run ->(e) {
          LOG.info("request")
          GONE.rewind
          [200, {}, [[File.read("/app/app.log").scan(/boot|request/), HALF.pos, GONE.read, File.exist?("/app/gone")].inspect]]
        }"#;
    let options = Options {
        isolation: Isolation::Request,
        warm_up: WarmUp::None,
        ..Options::default()
    };
    let app = TestApp::boot_with(source, options).await;
    for _ in 0..2 {
        let body = app.get("/").await.unwrap().1;
        assert_eq!(body, r#"[["boot", "request"], 5, "unlinked", false]"#);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn boot_that_writes_more_than_an_image_keeps_is_refused() {
    let source = r#"
        File.write("/tmp/large", "x" * (33 << 20))
        run ->(e) { [200, {}, []] }"#;
    let error = TestApp::boot_error(source).await.unwrap();
    assert!(error.contains("an image keeps 32 MB"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_beyond_the_quota_are_refused_and_freed_space_can_be_used() {
    let code = r##"
        kept = File.write("/app/a", "x" * (40 << 20))
        error = (File.write("/tmp/b", "x" * (40 << 20)) rescue $!.class)
        File.delete("/app/a", "/tmp/b")
        puts [kept >> 20, error, File.write("/tmp/b", "x" * (40 << 20)) >> 20].inspect
        opened = File.open("/tmp/b")
        File.delete("/tmp/b")
        puts (File.write("/tmp/c", "x" * (40 << 20)) rescue $!.class), opened.size >> 20
        opened.close
        puts File.write("/tmp/c", "x" * (40 << 20)) >> 20"##;
    let lines = run(code).await;
    assert_eq!(
        lines,
        ["[40, Errno::ENOSPC, 40]", "Errno::ENOSPC", "40", "40"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_bytes_and_have_the_limits_of_linux() {
    let code = r##"
        Dir.mkdir("/tmp/d")
        names = ["ü", "日本", "\xff\xfe".b, "new\nline", " ", "back\\slash"]
        names.each { |name| File.write(File.join("/tmp/d".b, name.b), name) }
        puts names.map(&:b).sort == Dir.children("/tmp/d").map(&:b).sort
        puts Dir.glob("/tmp/d/*").size, File.exist?("/tmp/d/ü"), Dir.children("/tmp/d").include?("日本".dup.force_encoding(Encoding::UTF_8))
        puts File.write("/tmp/#{"n" * 255}", "x"), (File.write("/tmp/#{"n" * 256}", "x") rescue $!.class)
        puts (File.read("/tmp/" + "d/../" * 800 + "d/ü") rescue $!.class), (File.read("/" * 4096) rescue $!.class)
        Dir.chdir("/tmp/d/../../app/./")
        puts Dir.pwd"##;
    let lines = run(code).await;
    assert_eq!(
        lines,
        [
            "true",
            "6",
            "true",
            "true",
            "1",
            "Errno::ENAMETOOLONG",
            "ü",
            "Errno::ENAMETOOLONG",
            "/app"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_locks_and_descriptors_work_as_on_linux() {
    let code = r##"
        File.write("/tmp/f", "text")
        mode = ->(path) { "%o" % File.stat(path).mode }
        puts [mode["/tmp/f"], mode["/app/config.ru"], mode["/app"], mode["/tmp"], mode["/dev/null"]].inspect
        puts File.chmod(0600, "/tmp/f"), mode["/tmp/f"], File.executable?("/tmp/f"), File.writable?("/tmp/f")
        File.chmod(0, "/tmp/f")
        puts (File.read("/tmp/f") rescue $!.class), File.readable?("/tmp/f")
        File.open("/app/config.ru") { |file| file.chmod(0755) }
        puts File.executable?("/app/config.ru"), File.world_readable?("/app/config.ru").to_s(8)
        before = File.umask(077)
        File.write("/tmp/g", "")
        Dir.mkdir("/tmp/h")
        puts before.to_s(8), mode["/tmp/g"], mode["/tmp/h"]
        puts File.open("/tmp/k", File::CREAT | File::WRONLY, 0640) { |file| "%o" % file.stat.mode }
        puts File.utime(Time.at(1), Time.at(2.5), "/tmp/g"), File.atime("/tmp/g").to_f, File.mtime("/tmp/g").to_f
        puts (File.chown(nil, nil, "/tmp/g") rescue $!.class), (File.chown(0, 0, "/tmp/g") rescue $!.class)
        puts File.chown(Process.uid, Process.gid, "/tmp/g"), File.owned?("/tmp/g"), Process.uid
        one, two = File.open("/tmp/g", "w"), File.open("/tmp/g")
        puts one.flock(File::LOCK_EX), two.flock(File::LOCK_SH | File::LOCK_NB), one.flock(File::LOCK_SH)
        puts two.flock(File::LOCK_SH | File::LOCK_NB), one.flock(File::LOCK_EX | File::LOCK_NB)
        two.close
        puts one.flock(File::LOCK_EX | File::LOCK_NB)
        copy = one.dup
        one.write("one")
        one.flush
        copy.write("two")
        copy.close
        one.close
        puts File.read("/tmp/g")
        File.link("/tmp/g", "/tmp/l")
        File.symlink("g", "/tmp/s")
        puts File.stat("/tmp/l").nlink, File.readlink("/tmp/s"), File.realpath("/tmp/s"), File.identical?("/tmp/g", "/tmp/l")
        puts File.stat("/tmp/g").ino == File.stat("/tmp/l").ino, File.lstat("/tmp/s").symlink?
        file = File.open("/tmp/t", "w+")
        saved = file.fileno
        other = File.open("/tmp/other", "w")
        file.reopen(other)
        file.write("moved")
        file.flush
        puts file.fileno == saved, File.read("/tmp/other"), File.size("/tmp/t")"##;
    let lines = run(code).await;
    let expected = [
        r#"["100644", "100644", "40755", "41777", "20666"]"#,
        "1",
        "100600",
        "false",
        "true",
        "Errno::EACCES",
        "false",
        "true",
        "755",
        "22",
        "100600",
        "40700",
        "100600",
        "1",
        "1.0",
        "2.5",
        "1",
        "Errno::EPERM",
        "1",
        "true",
        "1000",
        "0",
        "false",
        "0",
        "0",
        "false",
        "0",
        "onetwo",
        "2",
        "g",
        "/tmp/g",
        "true",
        "true",
        "true",
        "true",
        "moved",
        "0",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_that_lock_and_change_modes_work() {
    let code = r##"
        require "pstore"
        require "logger"
        require "tempfile"
        require "tmpdir"
        require "fileutils"
        store = PStore.new("/app/store")
        store.transaction { |data| data[:a] = 1 }
        puts store.transaction(true) { |data| data[:a] }
        logger = Logger.new("/tmp/log/x.log", 2, 100) rescue FileUtils.mkdir_p("/tmp/log")
        logger = Logger.new("/tmp/log/x.log", 2, 100)
        10.times { logger.info("x" * 50) }
        puts Dir.children("/tmp/log").sort.inspect
        puts Tempfile.create("x") { |file| file.write("y"); file.close; File.read(file.path) + ("%o" % File.stat(file.path).mode) }
        puts Dir.mktmpdir { |path| FileUtils.touch("#{path}/a"); FileUtils.cp_r(path, "/app/copy", preserve: true); File.exist?("/app/copy/a") }
        FileUtils.chmod_R(0700, "/app/copy")
        FileUtils.mv("/app/copy", "/tmp/moved")
        FileUtils.install("/app/config.ru", "/tmp/moved/c", mode: 0750)
        puts "%o" % File.stat("/tmp/moved/c").mode, File.exist?("/app/copy")
        FileUtils.rm_rf("/tmp/moved")
        puts File.exist?("/tmp/moved")"##;
    let lines = run(code).await;
    assert_eq!(
        lines,
        [
            "1",
            r#"["x.log", "x.log.0"]"#,
            "y100600",
            "true",
            "100750",
            "false",
            "false"
        ]
    );
}
