//! Files of a dyno as Ruby sees them: `/app` and `/tmp`, and what the boot writes.

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
