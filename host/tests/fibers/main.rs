//! Hostile guests with fibers: whatever a guest does, the host neither panics nor keeps memory, stacks or mappings.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod guest;

use std::time::Duration;

use corundum_host::dyno::CallError;
use guest::{Act, Guest, Operation, Outcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fibers_run_and_switch_back() {
    let guest = Guest::open(4).await;
    let mut dyno = guest.dyno().await;
    let script = [
        Operation::Create,
        Operation::Create,
        Operation::Switch(1, Act::Nothing),
        Operation::Switch(2, Act::ThrowAndCatch),
        Operation::Switch(1, Act::Wait),
        Operation::Unwind(1),
        Operation::Switch(1, Act::Nothing),
    ];
    assert_eq!(dyno.run(&script).await, Outcome::Returned(2));
    // Fibers stay suspended between calls.
    let script = [Operation::Switch(2, Act::Nothing), Operation::Unwind(1)];
    assert_eq!(dyno.run(&script).await, Outcome::Returned(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dyno_creates_at_most_256_stacks_and_returns_them() {
    let guest = Guest::open(4).await;
    for _ in 0..3 {
        let mut dyno = guest.dyno().await;
        assert_eq!(
            dyno.run(&[Operation::Create; 300]).await,
            Outcome::Returned(256)
        );
        let mut neighbour = guest.dyno().await;
        assert_eq!(
            neighbour.run(&[Operation::Create; 2]).await,
            Outcome::Returned(2)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stacks_are_limited_by_the_memory_of_the_node() {
    let guest = Guest::open_with(4, |config| config.reserve = 8 << 20).await;
    let mut greedy = guest.dyno().await;
    let Outcome::Returned(taken) = greedy.run(&[Operation::Create; 300]).await else {
        panic!("the guest failed");
    };
    assert!((12..130).contains(&taken), "{taken}");
    let mut modest = guest.dyno().await;
    let script = [Operation::Create; 2];
    assert_eq!(modest.run(&script).await, Outcome::Returned(2));
}

/// A fiber that recurses takes memory that it never asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_stacks_end_a_dyno_for_which_the_node_has_no_memory() {
    let guest = Guest::open_with(4, |config| config.reserve = 32 << 20).await;
    let mut script = vec![];
    for fiber in 1..=40 {
        script.extend([Operation::Create, Operation::Switch(fiber, Act::DeepSwitch)]);
    }
    script.push(Operation::Act(Act::LoopForever, 0));
    let mut greedy = guest.dyno().await;
    let outcome = greedy.run(&script).await;
    let Outcome::Failed(CallError::Trap(text)) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(text.contains("no memory to spare"), "{text}");
}

/// Every act, on the first stack, on a fiber, and on the first stack while a fiber is suspended in a later call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_act_ends_with_an_error_of_the_guest() {
    let guest = Guest::open(8).await;
    for act in Act::ALL {
        let scripts: [&[Operation]; 3] = [
            &[
                Operation::Create,
                Operation::Switch(1, Act::Nothing),
                Operation::Act(act, 1),
            ],
            &[Operation::Create, Operation::Switch(1, act)],
            &[
                Operation::Create,
                Operation::Create,
                Operation::Switch(2, Act::DeepSwitch),
                Operation::Switch(1, act),
            ],
        ];
        for script in scripts {
            let mut dyno = guest.dyno().await;
            let outcome = dyno.run(script).await;
            let expected = act.expected();
            assert!(expected(&outcome), "{act:?} in {script:?}: {outcome:?}");
            if let Outcome::Returned(_) = outcome {
                let again = dyno.run(&[Operation::Switch(1, Act::Nothing)]).await;
                assert!(matches!(again, Outcome::Returned(_) | Outcome::Failed(_)));
            }
        }
    }
    let mut dyno = guest.dyno().await;
    assert_eq!(dyno.run(&[]).await, Outcome::Returned(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uncaught_exception_of_a_fiber_is_a_trap() {
    let guest = Guest::open(2).await;
    let mut dyno = guest.dyno().await;
    let script = [Operation::Create, Operation::Switch(1, Act::ThrowUncaught)];
    let Outcome::Failed(CallError::Trap(text)) = dyno.run(&script).await else {
        panic!("no trap");
    };
    assert!(!text.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exceptions_without_end_meet_the_memory_limit() {
    let guest = Guest::open_with(2, |config| config.memory_limit = 16 << 20).await;
    for script in [
        &[Operation::Act(Act::ThrowForever, 0)][..],
        &[
            Operation::Create,
            Operation::Create,
            Operation::Switch(1, Act::DeepSwitch),
            Operation::Switch(2, Act::ThrowForever),
        ],
    ] {
        let mut dyno = guest.dyno().await;
        let outcome = dyno.run_within(script, Duration::from_secs(60)).await;
        let Outcome::Failed(CallError::Trap(text)) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(text.contains("exceptions"), "{text}");
    }
}

#[tokio::test]
async fn pack_with_stack_switching_is_rejected() {
    for part in [
        "(type $f (func)) (type $c (cont $f)) (elem declare func $g) (func $g)
         (func (drop (cont.new $c (ref.func $g))))",
        "(tag $t) (func (suspend $t))",
    ] {
        let text = format!(r#"(module (memory (export "memory") 1) {part})"#);
        let error = Guest::error_of_pack(&text).await;
        assert!(error.contains("stack switching"), "{error}");
    }
    let host_function = r#"(module (import "corundum" "reserve_stack" (func (result i32)))
        (memory (export "memory") 1) (func (export "dyno_handle") (result i32) (i32.const 0)))"#;
    let error = Guest::error_of_pack(host_function).await;
    assert!(error.contains("imports from `corundum`"), "{error}");
}

/// Runs random scripts in many dynos, most of which are dropped in the middle.
async fn attack(duration: Duration) {
    const TASKS: u64 = 32;
    // Memory that the engine keeps for the next dyno would hide a leak.
    let guest = Guest::open_with(40, |config| config.memory_keep_resident = 64 << 10).await;
    let mut before = None;
    // The first round fills caches of the engine and of the allocator.
    for (round, duration) in [duration.min(Duration::from_secs(20)), duration]
        .into_iter()
        .enumerate()
    {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let guest = guest.clone();
                let seed = round as u64 * TASKS + task;
                tokio::spawn(async move { guest.attack(seed, duration).await })
            })
            .collect();
        let mut scripts = 0;
        for task in tasks {
            scripts += task.await.unwrap();
        }
        let after = (guest::mappings(), guest::resident_bytes());
        println!(
            "{scripts} scripts: {} mappings, {} MiB",
            after.0,
            after.1 >> 20
        );
        if let Some((mappings, resident)) = before.replace(after) {
            assert!(
                after.0 <= mappings + 400,
                "{mappings} mappings became {}",
                after.0
            );
            assert!(
                after.1 <= resident + (128 << 20),
                "{resident} bytes became {}",
                after.1
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_scripts_leave_memory_and_mappings_as_they_were() {
    attack(Duration::from_secs(3)).await;
}

/// `CORUNDUM_HOSTILE_SECONDS` sets the duration [default: 300].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; script/attack runs it"]
async fn random_scripts_for_a_long_time_leave_memory_and_mappings_as_they_were() {
    let seconds = std::env::var("CORUNDUM_HOSTILE_SECONDS");
    let seconds = seconds.map_or(300, |text| text.parse().unwrap());
    attack(Duration::from_secs(seconds)).await;
}
