//! Snapshots of volumes: copies as of one moment, which an app can return to.
//!
//! A snapshot is the directory `volume-snapshots/APP/sNNN`. It gets its name when it is complete and on the disk. A restore makes a
//! copy of it first and then exchanges the two directories in one step of the filesystem; the data before becomes a snapshot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use corundum_abi::names::AppName;
use corundum_host::volume::snapshot::copy_unused;
use jiff::Timestamp;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{VolumeError, Volumes, make};
use crate::storage::trash::disk_bytes;

/// Snapshots of an app.
const MAX_SNAPSHOTS: usize = 10;

/// Bytes that a snapshot leaves free on the disk.
const FREE: u64 = 512 << 20;

/// The name of a copy that is not complete.
const UNFINISHED: &str = ".unfinished";

/// A snapshot of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeSnapshot {
    /// The name, as `s001`.
    pub(crate) name: String,
    /// The time at which it was made.
    pub(crate) created_at: Timestamp,
    /// Bytes on the disk.
    pub(crate) bytes: u64,
}

/// Marks an app whose snapshots change.
struct SnapshotWork<'a> {
    volumes: &'a Volumes,
    app: &'a AppName,
}

impl Drop for SnapshotWork<'_> {
    fn drop(&mut self) {
        self.volumes.snapshot_work().remove(self.app);
    }
}

impl Volumes {
    /// Returns an app's snapshots, oldest first. Blocks.
    ///
    /// # Errors
    ///
    /// [`VolumeError::Io`].
    pub(crate) fn snapshots(&self, app: &AppName) -> Result<Vec<VolumeSnapshot>, VolumeError> {
        self.read_snapshots(app).map_err(|cause| failed(app, cause))
    }

    fn read_snapshots(&self, app: &AppName) -> io::Result<Vec<VolumeSnapshot>> {
        let entries = match fs::read_dir(self.data.volume_snapshots(app)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut snapshots = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if number(&name).is_some() {
                let made = entry.metadata()?.modified()?;
                snapshots.push(VolumeSnapshot {
                    name,
                    created_at: made.try_into().unwrap_or_default(),
                    bytes: disk_bytes(&entry.path())?,
                });
            }
        }
        snapshots.sort_by_key(|one| number(&one.name));
        Ok(snapshots)
    }

    /// Makes a snapshot of an app's volume. Writes of its dynos wait while files that changed meanwhile are copied again. Blocks.
    ///
    /// # Errors
    ///
    /// [`VolumeError`].
    pub(crate) fn capture(&self, app: &AppName) -> Result<VolumeSnapshot, VolumeError> {
        let _work = self.begin_snapshot_work(app)?;
        let volume = self.open(app)?.get();
        let volume = volume.ok_or_else(|| VolumeError::None(app.clone()))?;
        let number = self.next_number(app)?;
        self.check_free(app, volume.usage().bytes)?;
        let io = |cause| failed(app, cause);
        let new = self.unfinished(app).map_err(io)?;
        volume.snapshot(&new).map_err(io)?;
        let path = self.data.volume_snapshots(app).join(name(number));
        let finished = touch(&new).and_then(|()| fs::rename(&new, &path));
        finished.and_then(|()| sync_parent(&path)).map_err(io)?;
        self.find_snapshot(app, &name(number))
    }

    /// Returns an app's volume to a snapshot, and returns the snapshot of the data before. The caller replaces the app's dynos,
    /// which have the data before until they end. Blocks.
    ///
    /// # Errors
    ///
    /// [`VolumeError`]; the volume stays as it was then.
    pub(crate) fn restore(
        &self,
        app: &AppName,
        snapshot: &str,
    ) -> Result<VolumeSnapshot, VolumeError> {
        let _work = self.begin_snapshot_work(app)?;
        let slot = self.open(app)?;
        if slot.get().is_none() {
            return Err(VolumeError::None(app.clone()));
        }
        let found = self.find_snapshot(app, snapshot)?;
        let number = self.next_number(app)?;
        self.check_free(app, found.bytes)?;
        let io = |cause| failed(app, cause);
        let folder = self.data.volume_snapshots(app);
        let new = self.unfinished(app).map_err(io)?;
        copy_unused(&folder.join(&found.name), &new).map_err(io)?;
        let own = self.data.volume(app);
        // From here on a kill leaves the old data or the new one, whole.
        let exchanged = renameat_with(CWD, &new, CWD, &own, RenameFlags::EXCHANGE);
        exchanged.map_err(|errno| io(errno.into()))?;
        let reopened = self.reopen(app, &slot);
        let kept = folder.join(name(number));
        let finished = touch(&new).and_then(|()| fs::rename(&new, &kept));
        let synced = finished.and_then(|()| sync_parent(&own).and_then(|()| sync_parent(&kept)));
        reopened?;
        synced.map_err(io)?;
        self.find_snapshot(app, &name(number))
    }

    /// Copies an app's volume, or the files of one that is turned off, to the empty directory `to` as of one moment. Blocks.
    ///
    /// # Errors
    ///
    /// [`VolumeError`].
    pub(crate) fn copy_to(&self, app: &AppName, to: &Path) -> Result<(), VolumeError> {
        let copied = match self.open(app)?.get() {
            Some(volume) => volume.snapshot(to),
            None => copy_unused(&self.data.volume(app), to),
        };
        copied.map_err(|cause| failed(app, cause))
    }

    /// Deletes a snapshot. Blocks.
    ///
    /// # Errors
    ///
    /// [`VolumeError`].
    pub(crate) fn delete_snapshot(
        &self,
        app: &AppName,
        snapshot: &str,
    ) -> Result<VolumeSnapshot, VolumeError> {
        let _work = self.begin_snapshot_work(app)?;
        let found = self.find_snapshot(app, snapshot)?;
        let path = self.data.volume_snapshots(app).join(&found.name);
        fs::remove_dir_all(path).map_err(|cause| failed(app, cause))?;
        Ok(found)
    }

    fn find_snapshot(&self, app: &AppName, name: &str) -> Result<VolumeSnapshot, VolumeError> {
        let mut snapshots = self.snapshots(app)?.into_iter();
        let found = snapshots.find(|snapshot| snapshot.name == name);
        found.ok_or_else(|| VolumeError::NoSnapshot(name.chars().take(80).collect()))
    }

    /// Returns the number of the next snapshot.
    fn next_number(&self, app: &AppName) -> Result<u32, VolumeError> {
        let snapshots = self.snapshots(app)?;
        if snapshots.len() >= MAX_SNAPSHOTS {
            return Err(VolumeError::Many(MAX_SNAPSHOTS));
        }
        let last = snapshots.last().and_then(|last| number(&last.name));
        Ok(last.unwrap_or(0) + 1)
    }

    fn check_free(&self, app: &AppName, bytes: u64) -> Result<(), VolumeError> {
        let disk = rustix::fs::statvfs(self.data.path());
        let disk = disk.map_err(|errno| failed(app, errno.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let wanted = bytes.saturating_add(FREE);
        match wanted > free {
            true => Err(VolumeError::Full {
                free: free >> 20,
                wanted: wanted >> 20,
            }),
            false => Ok(()),
        }
    }

    /// Makes the empty directory of a copy. What a killed process has left there goes.
    fn unfinished(&self, app: &AppName) -> io::Result<PathBuf> {
        let path = self.data.volume_snapshots(app).join(UNFINISHED);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        make(&path)?;
        Ok(path)
    }

    fn begin_snapshot_work<'a>(
        &'a self,
        app: &'a AppName,
    ) -> Result<SnapshotWork<'a>, VolumeError> {
        match self.snapshot_work().insert(app.clone()) {
            true => Ok(SnapshotWork { volumes: self, app }),
            false => Err(VolumeError::Busy(app.clone())),
        }
    }
}

fn failed(app: &AppName, cause: io::Error) -> VolumeError {
    VolumeError::Io {
        app: app.clone(),
        cause,
    }
}

fn name(number: u32) -> String {
    format!("s{number:03}")
}

/// Returns the number in a snapshot's name.
fn number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix('s')?;
    let plain = digits.len() >= 3 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// Gives a directory the time of now, which a listing shows.
fn touch(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.set_modified(std::time::SystemTime::now())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    fs::File::open(path.parent().unwrap_or(path))?.sync_all()
}
