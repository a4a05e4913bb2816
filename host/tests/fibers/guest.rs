//! The guest of these tests, and scripts for it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use corundum_host::dyno::{CallError, Dyno};
use corundum_host::engine::{Allocation, Engine, EngineConfig};
use corundum_host::log::DiscardLog;
use corundum_host::os::{Filesystem, GuestProcess, TmpLimits};
use corundum_host::outbound::OutboundRules;
use corundum_host::pack::Pack;
use corundum_pack::PackDir;
use corundum_test_support::module_pack;
use futures_util::StreamExt;
use tokio::sync::mpsc;

const GUEST: &str = include_str!("guest.wat");
/// Longest script that is waited for; a script that waits or loops is dropped then.
const PATIENCE: Duration = Duration::from_millis(300);

/// One step of a script; fibers are numbers from 1.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Create,
    /// An act on the first stack, which may refer to a fiber.
    Act(Act, u8),
    /// Switches to a fiber, which performs the act.
    Switch(u8, Act),
    Unwind(u8),
}

impl Operation {
    fn bytes(self) -> [u8; 3] {
        match self {
            Self::Create => [0, 0, 0],
            Self::Act(act, fiber) => [1, fiber, act as u8],
            Self::Switch(fiber, act) => [2, fiber, act as u8],
            Self::Unwind(fiber) => [3, fiber, 0],
        }
    }
}

/// An act of the guest; the numbers are those of `$do` in guest.wat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Nothing = 0,
    Trap = 1,
    OverflowStack = 2,
    ThrowUncaught = 3,
    Exit = 4,
    WaitLong = 5,
    Wait = 6,
    ThrowAndCatch = 7,
    LoadOutOfBounds = 8,
    SwitchToMissing = 9,
    SwitchOutOfTable = 10,
    SwitchToNegative = 11,
    UnwindFirstStack = 12,
    UnwindTarget = 13,
    DivideByZero = 14,
    LoopForever = 15,
    SwitchToTarget = 16,
    SwitchAndCatchAll = 17,
    ThrowForever = 18,
    DeepSwitch = 19,
}

impl Act {
    pub(crate) const ALL: [Self; 20] = [
        Self::Nothing,
        Self::Trap,
        Self::OverflowStack,
        Self::ThrowUncaught,
        Self::Exit,
        Self::WaitLong,
        Self::Wait,
        Self::ThrowAndCatch,
        Self::LoadOutOfBounds,
        Self::SwitchToMissing,
        Self::SwitchOutOfTable,
        Self::SwitchToNegative,
        Self::UnwindFirstStack,
        Self::UnwindTarget,
        Self::DivideByZero,
        Self::LoopForever,
        Self::SwitchToTarget,
        Self::SwitchAndCatchAll,
        Self::ThrowForever,
        Self::DeepSwitch,
    ];

    /// Returns the check of the outcomes that are right for the act, wherever it is performed.
    pub(crate) fn expected(self) -> fn(&Outcome) -> bool {
        match self {
            Self::Trap
            | Self::OverflowStack
            | Self::ThrowUncaught
            | Self::LoadOutOfBounds
            | Self::SwitchToMissing
            | Self::SwitchOutOfTable
            | Self::SwitchToNegative
            | Self::UnwindFirstStack
            | Self::DivideByZero => {
                |outcome| matches!(outcome, Outcome::Failed(CallError::Trap(_)))
            }
            Self::Exit => |outcome| *outcome == Outcome::Returned(3),
            Self::WaitLong | Self::LoopForever => |outcome| *outcome == Outcome::Dropped,
            // The heap of exceptions may be full before the script is dropped.
            Self::ThrowForever => |outcome| {
                matches!(
                    outcome,
                    Outcome::Dropped | Outcome::Failed(CallError::Trap(_))
                )
            },
            Self::Nothing | Self::Wait | Self::ThrowAndCatch => {
                |outcome| matches!(outcome, Outcome::Returned(_))
            }
            // These refer to a fiber that may be the running one.
            Self::UnwindTarget
            | Self::SwitchToTarget
            | Self::SwitchAndCatchAll
            | Self::DeepSwitch => |outcome| {
                matches!(
                    outcome,
                    Outcome::Returned(_) | Outcome::Failed(CallError::Trap(_))
                )
            },
        }
    }
}

/// The end of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The guest returned or exited with a status.
    Returned(i32),
    Failed(CallError),
    /// The script took longer than [`PATIENCE`], and its dyno was stopped in the middle.
    Dropped,
}

/// An engine and the guest's pack.
#[derive(Clone)]
pub(crate) struct Guest {
    engine: Engine,
    pack: Arc<Pack>,
}

impl Guest {
    pub(crate) async fn open(dynos: u32) -> Self {
        Self::open_with(dynos, |_| {}).await
    }

    pub(crate) async fn open_with(dynos: u32, change: impl FnOnce(&mut EngineConfig)) -> Self {
        let mut config = EngineConfig {
            allocation: Allocation::Pooled { dynos },
            ..EngineConfig::default()
        };
        change(&mut config);
        let engine = Engine::new(config).unwrap();
        let directory = tempfile::tempdir().unwrap();
        module_pack::write(directory.path(), GUEST);
        let directory = PackDir::open(directory.path()).unwrap();
        let pack = Pack::open(&engine, &directory, Arc::new(DiscardLog), |_| {});
        let pack = Arc::new(pack.await.unwrap());
        Self { engine, pack }
    }

    /// Returns the error of opening a pack whose module has `text`.
    pub(crate) async fn error_of_pack(text: &str) -> String {
        let engine = Engine::new(EngineConfig::on_demand()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        module_pack::write(directory.path(), text);
        let directory = PackDir::open(directory.path()).unwrap();
        let opened = Pack::open(&engine, &directory, Arc::new(DiscardLog), |_| {}).await;
        opened.map(|_| ()).unwrap_err().to_string()
    }

    pub(crate) async fn dyno(&self) -> ScriptedDyno {
        let process = GuestProcess::new(Arc::from([]), Arc::from([]), SystemTime::UNIX_EPOCH);
        let root = self.pack.root().clone();
        let filesystem = Filesystem::new(
            root,
            None,
            None,
            process,
            self.engine.account(TmpLimits::default()),
        );
        let dyno = Dyno::instantiate(
            &self.engine,
            &self.pack,
            self.pack.base(),
            Arc::new(filesystem),
            OutboundRules::closed(),
            Arc::new(DiscardLog),
        );
        ScriptedDyno {
            dyno: dyno.await.unwrap(),
        }
    }

    /// Runs random scripts in dynos, some of which are stopped in the middle. Returns the number of scripts.
    pub(crate) async fn attack(&self, seed: u64, duration: Duration) -> usize {
        let mut random = Random(seed * 2 + 1);
        let started = Instant::now();
        let mut scripts = 0;
        while started.elapsed() < duration {
            let mut dyno = self.dyno().await;
            for _ in 0..random.below(4) + 1 {
                let script: Vec<_> = (0..random.below(40)).map(|_| random.operation()).collect();
                let patience = Duration::from_micros(50 + random.below(5_000));
                scripts += 1;
                match dyno.run_within(&script, patience).await {
                    Outcome::Dropped => break,
                    Outcome::Failed(_) if random.below(3) > 0 => break,
                    _ => {}
                }
            }
        }
        scripts
    }
}

/// A dyno that runs scripts.
pub(crate) struct ScriptedDyno {
    dyno: Dyno,
}

impl ScriptedDyno {
    pub(crate) async fn run(&mut self, script: &[Operation]) -> Outcome {
        self.run_within(script, PATIENCE).await
    }

    pub(crate) async fn run_within(&mut self, script: &[Operation], patience: Duration) -> Outcome {
        let script: Vec<u8> = script.iter().flat_map(|step| step.bytes()).collect();
        let input = futures_util::stream::iter([Ok(Bytes::from(script))]).boxed();
        let (output, _) = mpsc::channel(1);
        match tokio::time::timeout(patience, self.dyno.run(input, output)).await {
            Ok(Ok(status)) => Outcome::Returned(status),
            Ok(Err(error)) => Outcome::Failed(error),
            Err(_) => Outcome::Dropped,
        }
    }
}

/// A generator of pseudo-random numbers (xorshift), the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn operation(&mut self) -> Operation {
        // Few fibers, so that scripts mostly name existing ones.
        let fiber = self.below(5) as u8;
        // Most acts let the script continue.
        let act = match self.below(12) {
            0 => Act::ALL[self.below(20) as usize],
            1..=3 => Act::SwitchToTarget,
            4..=5 => Act::ThrowAndCatch,
            6 => Act::DeepSwitch,
            7 => Act::Wait,
            _ => Act::Nothing,
        };
        match self.below(8) {
            0..=1 => Operation::Create,
            2 => Operation::Act(act, fiber),
            3 => Operation::Unwind(fiber),
            _ => Operation::Switch(fiber, act),
        }
    }
}

/// Returns the number of this process's memory mappings.
pub(crate) fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .count()
}

/// Returns the bytes of this process's resident memory.
pub(crate) fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
