//! The account of a dyno: everything that the host holds for it, in one place.
//!
//! A [`Charge`] stands for one thing that the host holds (a file's bytes, an open directory, the growth of the guest's
//! memory) and returns its bytes when it is dropped. The account draws from the node's reserve in steps, so that most
//! charges touch no counter that other dynos use. If a charge cannot be drawn, the guest gets the error of the call that
//! needed it: `ENOSPC`, `ENOMEM` or `EMFILE`.
//!
//! A new kind of thing that the host holds for dynos is a new [`Holding`].

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_exchange::Reservation;

use crate::net::AppNetwork;
use crate::os::TmpLimits;
use crate::reserve::{AppShare, DrawLimit};

/// Bytes that the admission of a dyno covers: the pages that a small app writes to, some files and descriptors.
const COVERED: usize = 768 << 10;
/// Bytes that the account draws at once.
const STEP: usize = 256 << 10;

/// Memory up to which a dyno draws from the whole reserve. A copied page cannot be refused, only its dyno ended, and hardly
/// any code survives a refused growth. What other dynos of the app hold should not end one that takes so little.
const SMALL_MEMORY: usize = 4 << 20;

/// A kind of thing that the host holds for a dyno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holding {
    /// Growth of the guest's memory beyond its image.
    Growth,
    /// Pages of the image that the dyno has a copy of.
    Pages,
    /// Native stacks of its fibers.
    Stacks,
    /// Contents of files in `/tmp`.
    Files,
    /// Names, directories and links in `/tmp`.
    Nodes,
    /// Open files and directories.
    Handles,
    /// Names that the dyno has resolved, with their addresses.
    Names,
    /// Sockets of the kernel, and what waits in pipes and between sockets of the dyno.
    Sockets,
    /// Instances of native extensions.
    Extensions,
    /// Streams of a one-off command.
    Streams,
}

/// Kinds of holdings that a guest takes without a call that could fail, or that hardly any code survives the refusal of.
const MEMORY: [Holding; 3] = [Holding::Growth, Holding::Pages, Holding::Stacks];

/// Kinds of holdings.
const HOLDINGS: usize = Holding::Streams as usize + 1;

/// The node has no more memory for the dyno: its reserve is used up, or the dyno's app has its share of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node has no memory to spare for the dyno")]
pub(crate) struct OutOfReserve;

/// Everything that the host holds for one dyno.
pub struct Account {
    share: Arc<AppShare>,
    tmp: TmpLimits,
    state: Mutex<AccountState>,
}

#[derive(Default)]
struct AccountState {
    held: [usize; HOLDINGS],
    drawn: Option<Reservation>,
}

impl Account {
    /// Creates the account of a dyno of the app with `share`.
    pub(crate) fn new(share: Arc<AppShare>, tmp: TmpLimits) -> Arc<Self> {
        Arc::new(Self {
            share,
            tmp,
            state: Mutex::default(),
        })
    }

    /// Returns the limits of the dyno's `/tmp`.
    pub(crate) fn tmp_limits(&self) -> TmpLimits {
        self.tmp
    }

    /// Returns the limits of the sockets and lookups of the dyno's app.
    pub(crate) fn network(&self) -> &Arc<AppNetwork> {
        self.share.network()
    }

    /// Returns the bytes that the host holds for the dyno, beside the pages of its image that it has no copy of.
    pub(crate) fn held(&self) -> usize {
        self.state().total()
    }

    /// Creates a charge of 0 bytes.
    pub(crate) fn charge(self: &Arc<Self>, holding: Holding) -> Charge {
        Charge {
            account: self.clone(),
            holding,
            bytes: 0,
        }
    }

    fn state(&self) -> MutexGuard<'_, AccountState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, holding: Holding, bytes: usize) -> Result<(), OutOfReserve> {
        let mut state = self.state();
        let total = state.total().checked_add(bytes).ok_or(OutOfReserve)?;
        let more = state.needed(total).saturating_sub(state.drawn());
        let memory: usize = MEMORY.iter().map(|kind| state.held[*kind as usize]).sum();
        let limit = match holding {
            _ if MEMORY.contains(&holding) && memory.saturating_add(bytes) <= SMALL_MEMORY => {
                DrawLimit::Reserve
            }
            _ => DrawLimit::Share,
        };
        if more > 0 && !self.share.draw(&mut state.drawn, more, limit) {
            return Err(OutOfReserve);
        }
        state.held[holding as usize] += bytes;
        Ok(())
    }

    fn remove(&self, holding: Holding, bytes: usize) {
        let mut state = self.state();
        state.held[holding as usize] -= bytes;
        // A step stays, so that a file that is written and deleted in turn does not draw each time.
        let needed = state.needed(state.total());
        let surplus = state.drawn().saturating_sub(needed);
        if surplus > STEP {
            self.share.give_back(&mut state.drawn, surplus);
        }
    }
}

impl AccountState {
    fn total(&self) -> usize {
        self.held.iter().sum()
    }

    fn drawn(&self) -> usize {
        self.drawn.as_ref().map_or(0, Reservation::units)
    }

    /// Returns the bytes that must be drawn for holdings of `total` bytes.
    fn needed(&self, total: usize) -> usize {
        let beyond = total.saturating_sub(COVERED);
        beyond.checked_next_multiple_of(STEP).unwrap_or(beyond)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut state = self.state();
        let drawn = state.drawn();
        self.share.give_back(&mut state.drawn, drawn);
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let held = |holding: Holding| state.held[holding as usize];
        f.debug_struct("Account")
            .field("growth", &held(Holding::Growth))
            .field("pages", &held(Holding::Pages))
            .field("stacks", &held(Holding::Stacks))
            .field("files", &held(Holding::Files))
            .field("nodes", &held(Holding::Nodes))
            .field("handles", &held(Holding::Handles))
            .field("names", &held(Holding::Names))
            .field("sockets", &held(Holding::Sockets))
            .field("streams", &held(Holding::Streams))
            .finish()
    }
}

/// Bytes of one thing that the host holds for a dyno, until this is dropped.
pub(crate) struct Charge {
    account: Arc<Account>,
    holding: Holding,
    bytes: usize,
}

impl Charge {
    /// Returns the bytes of the charge.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes the charge to `bytes`. A smaller charge always succeeds.
    ///
    /// # Errors
    ///
    /// Returns [`OutOfReserve`] and changes nothing if the difference cannot be drawn.
    pub(crate) fn try_resize(&mut self, bytes: usize) -> Result<(), OutOfReserve> {
        match self.bytes.checked_sub(bytes) {
            Some(less) => self.account.remove(self.holding, less),
            None => self.account.add(self.holding, bytes - self.bytes)?,
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.remove(self.holding, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reserve::NodeReserve;

    fn account(reserve: &Arc<NodeReserve>) -> Arc<Account> {
        Account::new(AppShare::new(reserve.clone()), TmpLimits::default())
    }

    #[test]
    fn holdings_are_drawn_in_steps_beyond_what_admission_covers() {
        let reserve = NodeReserve::new(100 << 20);
        let account = account(&reserve);
        let mut growth = account.charge(Holding::Growth);
        growth.try_resize(COVERED).unwrap();
        assert_eq!(reserve.bytes().in_use(), 0);
        let mut files = account.charge(Holding::Files);
        files.try_resize(1).unwrap();
        assert_eq!(reserve.bytes().in_use(), STEP);
        files.try_resize(STEP).unwrap();
        assert_eq!(reserve.bytes().in_use(), STEP);
        files.try_resize(10 * STEP).unwrap();
        assert_eq!(reserve.bytes().in_use(), 10 * STEP);
        assert_eq!(account.held(), COVERED + 10 * STEP);
        drop(files);
        assert!(reserve.bytes().in_use() <= STEP);
        drop((growth, account));
        assert_eq!(reserve.bytes().in_use(), 0);
    }

    #[test]
    fn refused_charge_changes_nothing() {
        let reserve = NodeReserve::new(8 * STEP);
        let account = account(&reserve);
        let mut charge = account.charge(Holding::Handles);
        charge.try_resize(COVERED + 4 * STEP).unwrap();
        let before = (account.held(), reserve.bytes().in_use());
        assert_eq!(charge.try_resize(usize::MAX), Err(OutOfReserve));
        assert_eq!(charge.try_resize(COVERED + 9 * STEP), Err(OutOfReserve));
        assert_eq!((account.held(), reserve.bytes().in_use()), before);
        charge.try_resize(0).unwrap();
        assert_eq!(account.held(), 0);
    }

    #[test]
    fn little_memory_is_granted_to_an_app_that_has_its_share() {
        let reserve = NodeReserve::new(64 << 20);
        let share = AppShare::new(reserve);
        let greedy = Account::new(share.clone(), TmpLimits::default());
        let mut growth = greedy.charge(Holding::Growth);
        let granted = (1..64).filter(|mb| growth.try_resize(mb << 20).is_ok());
        assert!(granted.count() >= 41);
        let modest = Account::new(share, TmpLimits::default());
        let mut pages = modest.charge(Holding::Pages);
        pages.try_resize(3 << 20).unwrap();
        assert_eq!(pages.try_resize(8 << 20), Err(OutOfReserve));
        let mut files = modest.charge(Holding::Files);
        assert_eq!(files.try_resize(1 << 20), Err(OutOfReserve));
    }

    #[test]
    fn reserve_holds_for_all_dynos_and_is_whole_after_them() {
        let reserve = NodeReserve::new(64 << 20);
        let apps: Vec<_> = (0..4).map(|_| AppShare::new(reserve.clone())).collect();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (share, reserve) = (apps[thread % 4].clone(), &reserve);
                scope.spawn(move || {
                    for round in 0..200 {
                        let account = Account::new(share.clone(), TmpLimits::default());
                        let mut charges = Vec::new();
                        for size in 0..20 {
                            let mut charge = account.charge(Holding::Files);
                            let _ = charge.try_resize((size * round * 977) % (4 << 20));
                            charges.push(charge);
                        }
                        assert!(reserve.bytes().in_use() <= 64 << 20);
                    }
                });
            }
        });
        assert_eq!(reserve.bytes().in_use(), 0);
        assert!(apps.iter().all(|app| app.held() == 0));
    }
}
