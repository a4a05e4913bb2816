//! Native extensions: C code that a dyno loads.

use crate::harness::{Options, TestApp, evaluating, request};

#[tokio::test]
async fn tiny() {
    let wasm = std::fs::read("/work/link/t/tiny.wasm").unwrap();
    let options = Options {
        binaries: vec![("lib/tiny.so".to_owned(), wasm)],
        ..Options::default()
    };
    let app = TestApp::boot_with(
        &evaluating("require '/app/lib/tiny.so'; Tiny.word(1)\n"),
        options,
    )
    .await;
    for code in [
        "Tiny.word(2)",
        "Tiny.count",
        "Tiny.count",
        "Tiny::Point.new(1,2,:a).sum",
        "Tiny.double([1,2])",
        "Tiny.try(->(x) { raise x })",
        "Tiny.garbage(20)",
        "Tiny.word(9)",
    ] {
        eprintln!("{code}: {:?}", app.send(request("POST", "/", code)).await);
    }
}
