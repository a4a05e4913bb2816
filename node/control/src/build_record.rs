//! The record of a running build: its output, and its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_abi::names::{AppName, ReleaseVersion, SlugDigest};
use corundum_store::{BuildResult, Store, StoreError};
use uuid::Uuid;

/// Most bytes of a build's output that the store keeps; further lines are only shown to the pusher.
const MAX_OUTPUT: usize = 256 << 10;

/// A build that runs. When it is dropped without a release, as by a pusher who goes away, its record says that it failed.
pub(crate) struct RunningBuild {
    store: Arc<dyn Store>,
    id: Uuid,
    result: Mutex<BuildResult>,
}

impl RunningBuild {
    /// Adds the record of a build that begins now.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub(crate) fn begin(
        store: &Arc<dyn Store>,
        app: &AppName,
        commit: &str,
    ) -> Result<Self, StoreError> {
        let record = store.add_build(app, commit)?;
        Ok(Self {
            store: store.clone(),
            id: record.id,
            result: Mutex::new(BuildResult {
                slug: None,
                release: None,
                output: String::new(),
            }),
        })
    }

    /// Adds a line of output.
    pub(crate) fn add_line(&self, line: &str) {
        let mut result = self.result();
        if result.output.len() + line.len() < MAX_OUTPUT {
            result.output.push_str(line);
            result.output.push('\n');
        }
    }

    /// Notes the release that the build became.
    pub(crate) fn succeed(&self, slug: SlugDigest, release: ReleaseVersion) {
        let mut result = self.result();
        result.slug = Some(slug);
        result.release = Some(release);
    }

    fn result(&self) -> MutexGuard<'_, BuildResult> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RunningBuild {
    fn drop(&mut self) {
        let result = self.result().clone();
        if let Err(error) = self.store.finish_build(self.id, &result) {
            tracing::warn!(%error, "could not record the end of a build");
        }
    }
}

#[cfg(test)]
mod tests {
    use corundum_store::{BuildState, SqliteStore};

    use super::*;

    #[test]
    fn build_that_is_dropped_has_failed_and_keeps_its_output() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(&directory.path().join("db")).unwrap());
        let app: AppName = "one-app".parse().unwrap();
        store.create_app(&app, 1).unwrap();
        let build = RunningBuild::begin(&store, &app, "c0ffee").unwrap();
        build.add_line("-----> Ruby app detected");
        build.add_line(&"x".repeat(MAX_OUTPUT));
        drop(build);
        let record = store.builds(&app).unwrap().remove(0);
        assert_eq!(record.state, BuildState::Failed);
        let output = store.build_output(&app, record.id).unwrap();
        assert_eq!(output.as_deref(), Some("-----> Ruby app detected\n"));

        let build = RunningBuild::begin(&store, &app, "c0ffee").unwrap();
        build.succeed("a".repeat(64).parse().unwrap(), ReleaseVersion(1));
        drop(build);
        let record = store.builds(&app).unwrap().remove(0);
        assert_eq!(record.state, BuildState::Succeeded);
        assert_eq!(record.release, Some(ReleaseVersion(1)));
    }
}
