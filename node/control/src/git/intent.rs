//! Pushes that are about to become releases, noted on disk so that branch and release agree after a crash.
//!
//! The store's record of a release is the decision. The note is written before and removed after the branch has moved; with
//! a note that is left, the branch follows the store.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use corundum_abi::names::{AppName, ReleaseVersion};
use corundum_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

use super::command::{self, GitError};
use super::updates::{RefUpdate, is_none};
use crate::data_dir::DataDir;

/// The time that a process of git has to give up its lock of a branch.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// A note that cannot be written, or a branch that cannot follow its release. The node is at fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntentError {
    /// The data directory cannot be read or written.
    #[error("the note of a push: {0}")]
    Io(#[from] io::Error),
    /// The note cannot be encoded.
    #[error("the note of a push: {0}")]
    Json(#[from] serde_json::Error),
    /// Git cannot move the branch.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A push that is about to become a release.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PushIntent {
    pub(crate) update: RefUpdate,
    /// The version of the app's release before; 0 if there is none.
    pub(crate) after: u64,
}

impl PushIntent {
    /// Notes the push of an app.
    ///
    /// # Errors
    ///
    /// [`IntentError`].
    pub(crate) fn write(&self, data: &DataDir, app: &AppName) -> Result<(), IntentError> {
        let folder = folder(data);
        fs::create_dir_all(&folder)?;
        let mut new = tempfile::NamedTempFile::new_in(&folder)?;
        serde_json::to_writer(&mut new, self)?;
        new.flush()?;
        new.as_file().sync_all()?;
        new.persist(path(data, app))
            .map_err(|error| IntentError::Io(error.error))?;
        Ok(File::open(&folder)?.sync_all()?)
    }

    /// Removes the note of an app.
    pub(crate) fn remove(data: &DataDir, app: &AppName) {
        let _ = fs::remove_file(path(data, app));
    }

    /// Returns whether an app has a note.
    pub(crate) fn exists(data: &DataDir, app: &AppName) -> bool {
        path(data, app).exists()
    }

    fn read(data: &DataDir, app: &AppName) -> Result<Option<Self>, IntentError> {
        match fs::read(path(data, app)) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(intent) => Ok(Some(intent)),
                Err(error) => {
                    // The branch may be behind its release then, which the next push corrects.
                    tracing::error!(%app, %error, "the note of an interrupted push is damaged");
                    Self::remove(data, app);
                    Ok(None)
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns the apps that have a note.
pub(crate) fn noted_apps(data: &DataDir) -> Vec<AppName> {
    let entries = fs::read_dir(folder(data)).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".json")?.parse().ok()
        })
        .collect()
}

/// Makes an app's branch follow its release, if a push was interrupted between the two. The caller holds the app's lock.
///
/// # Errors
///
/// [`IntentError`]; the note then stays.
pub(crate) async fn reconcile(
    data: &DataDir,
    store: &dyn Store,
    app: &AppName,
) -> Result<(), IntentError> {
    let Some(PushIntent { update, after }) = PushIntent::read(data, app)? else {
        return Ok(());
    };
    // Nothing else makes a release of an app whose push is noted, so the next version is that push's.
    let released = match store.release(app, ReleaseVersion(after + 1)) {
        Ok(release) => release.is_some_and(|release| release.commit == update.new),
        Err(StoreError::UnreadableRelease { .. }) => true,
        Err(error) => return Err(error.into()),
    };
    let repository = data.repository(app);
    clear_lock(&repository, &update.reference).await?;
    let target = if released { &update.new } else { &update.old };
    let mut git = command::command();
    git.current_dir(&repository)
        .args(["update-ref", "--no-deref"]);
    if is_none(target) {
        git.args(["-d", &update.reference]);
    } else {
        git.args([&update.reference, target]);
    }
    command::run("update-ref", git).await?;
    PushIntent::remove(data, app);
    tracing::info!(%app, branch = update.reference, commit = target, "an interrupted push was settled");
    Ok(())
}

/// Removes the lock of a branch that a killed git has left. The caller holds the app's lock.
///
/// # Errors
///
/// The lock cannot be removed.
pub(crate) async fn clear_lock(repository: &Path, reference: &str) -> Result<(), IntentError> {
    let lock = repository.join(format!("{reference}.lock"));
    // A git that lost its node gives the lock up by itself.
    let waited = async {
        while lock.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(LOCK_WAIT, waited).await.is_err()
        && let Err(error) = fs::remove_file(&lock)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error.into());
    }
    Ok(())
}

fn folder(data: &DataDir) -> PathBuf {
    data.path().join("pushes")
}

fn path(data: &DataDir, app: &AppName) -> PathBuf {
    folder(data).join(format!("{app}.json"))
}

#[cfg(test)]
mod tests {
    use corundum_store::{ConfigVars, ImageName, ReleaseRecord, SqliteStore};

    use super::super::repository;
    use super::*;

    struct App {
        _directory: tempfile::TempDir,
        data: DataDir,
        store: Box<dyn Store>,
        name: AppName,
    }

    impl App {
        async fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let data = DataDir::open(directory.path()).unwrap();
            let store = SqliteStore::open(&data.store_file()).unwrap();
            let store: Box<dyn Store> = Box::new(store);
            let name: AppName = "one-app".parse().unwrap();
            store.create_app(&name, 1).unwrap();
            repository::init(&data, &name).await.unwrap();
            Self {
                _directory: directory,
                data,
                store,
                name,
            }
        }

        async fn git(&self, arguments: &[&str]) -> String {
            let mut git = command::command();
            for name in ["GIT_AUTHOR", "GIT_COMMITTER"] {
                git.env(format!("{name}_NAME"), "Test")
                    .env(format!("{name}_EMAIL"), "test@localhost");
            }
            git.args(arguments)
                .current_dir(self.data.repository(&self.name));
            command::run("test", git).await.unwrap()
        }

        async fn commit(&self, message: &str) -> String {
            let tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
            self.git(&["hash-object", "-t", "tree", "-w", "/dev/null"])
                .await;
            self.git(&["commit-tree", tree, "-m", message]).await
        }

        async fn branch(&self) -> String {
            self.git(&["for-each-ref", "--format=%(objectname)"]).await
        }

        fn release(&self, commit: &str) {
            let about = serde_json::json!({"abi": 1, "ruby": "3.3", "processes": {}});
            let record = ReleaseRecord {
                id: Default::default(),
                version: ReleaseVersion(0),
                description: "Deploy".to_owned(),
                created_at: corundum_store::now(),
                commit: commit.to_owned(),
                slug: "a".repeat(64).parse().unwrap(),
                image: ImageName::random(),
                about: serde_json::from_value(about).unwrap(),
            };
            self.store
                .add_release(&self.name, record, &ConfigVars::new())
                .unwrap();
        }

        fn note(&self, old: &str, new: &str, after: u64) {
            let update = RefUpdate {
                old: old.to_owned(),
                new: new.to_owned(),
                reference: "refs/heads/main".to_owned(),
            };
            let intent = PushIntent { update, after };
            intent.write(&self.data, &self.name).unwrap();
        }

        async fn reconcile(&self) {
            reconcile(&self.data, &*self.store, &self.name)
                .await
                .unwrap();
            assert!(noted_apps(&self.data).is_empty());
        }
    }

    #[tokio::test]
    async fn branch_follows_the_release_of_an_interrupted_push() {
        let app = App::new().await;
        let (one, two) = (app.commit("1").await, app.commit("2").await);
        let none = "0".repeat(40);
        // Killed before the decision.
        app.note(&none, &one, 0);
        assert_eq!(noted_apps(&app.data), std::slice::from_ref(&app.name));
        app.reconcile().await;
        assert_eq!(app.branch().await, "");
        // Killed after the decision, with the lock that git held.
        app.release(&one);
        app.note(&none, &one, 0);
        let repository = app.data.repository(&app.name);
        fs::create_dir_all(repository.join("refs/heads")).unwrap();
        fs::write(repository.join("refs/heads/main.lock"), "").unwrap();
        app.reconcile().await;
        assert_eq!(app.branch().await, one);
        // The same commit was released once before: that release does not count.
        app.release(&two);
        app.note(&two, &one, 2);
        app.reconcile().await;
        assert_eq!(app.branch().await, two);
    }

    #[tokio::test]
    async fn damaged_note_is_dropped() {
        let app = App::new().await;
        fs::create_dir_all(folder(&app.data)).unwrap();
        fs::write(path(&app.data, &app.name), "{").unwrap();
        app.reconcile().await;
    }
}
