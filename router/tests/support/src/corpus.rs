//! A runner of test corpora.

use futures_util::StreamExt;

/// Runs all cases of a corpus, `at_once` of them concurrently.
///
/// # Panics
///
/// Panics with the names and the failures of all cases that fail.
pub async fn assert_all_hold<C>(
    cases: impl IntoIterator<Item = C>,
    at_once: usize,
    name: impl Fn(&C) -> String,
    run: impl AsyncFn(&C) -> Result<(), String>,
) {
    let (name, run) = (&name, &run);
    let failures: Vec<String> = futures_util::stream::iter(cases)
        .map(|case| async move {
            let failure = run(&case).await.err();
            failure.map(|failure| format!("{}: {failure}", name(&case)))
        })
        .buffer_unordered(at_once)
        .filter_map(|failure| async { failure })
        .collect()
        .await;
    assert!(
        failures.is_empty(),
        "{} cases failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
