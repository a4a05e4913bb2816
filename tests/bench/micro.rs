//! Speed of Ruby: the same small programs in native MRI and in a dyno.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use corundum_compiler::process::environ;
use corundum_host::boot::{self, AppProcess, BootLimits};
use corundum_host::engine::{Engine, EngineConfig};
use corundum_host::log::DiscardLog;
use corundum_host::outbound::OutboundRules;
use corundum_host::pack::Pack;
use corundum_pack::PackDir;
use corundum_pack::archive::{Archive, ArchiveWriter, FileMode};
use corundum_pack::ruby;

use crate::table::{Better, Row};

const PROGRAM: &str = include_str!("ruby/micro.rb");

/// Microseconds by the name of a program.
type ProgramTimes = BTreeMap<String, f64>;

/// Runs the programs in turns, and compares the best times of each.
pub(crate) fn rows(pack: &Path, rounds: usize) -> Vec<Row> {
    let (mut native, mut dyno) = (ProgramTimes::new(), ProgramTimes::new());
    for _ in 0..rounds {
        keep_best(&mut native, &in_native());
        keep_best(&mut dyno, &in_a_dyno(pack));
    }
    let mut groups: [Vec<f64>; 3] = Default::default();
    for (name, native) in &native {
        let times = dyno[name] / native;
        eprintln!(
            "  {name}: {native:.2} µs native, {:.2} µs in a dyno: {times:.2} ×",
            dyno[name]
        );
        let group = match name.split(':').next() {
            Some("throwing") => 1,
            Some("processor") => 2,
            _ => 0,
        };
        groups[group].push(times);
    }
    let mean = |times: &[f64]| {
        (times.iter().map(|times| times.ln()).sum::<f64>() / times.len() as f64).exp()
    };
    let worst = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    let row = |what, corundum, at_least| Row {
        what,
        unit: "× native",
        corundum,
        peer: None,
        at_least: Some(at_least),
        better: Better::Less,
    };
    vec![
        row("Ruby's speed, geometric mean", mean(&groups[0]), 2.0),
        row("Ruby's speed, worst", worst(&groups[0]), 3.0),
        row("Ruby's speed, worst that throws", worst(&groups[1]), 12.0),
        row("processor benches, worst", worst(&groups[2]), 2.2),
    ]
}

fn keep_best(best: &mut ProgramTimes, output: &str) {
    for line in output.lines() {
        let (name, time) = line.split_once('\t').unwrap();
        let time: f64 = time.parse().unwrap();
        let known = best.entry(name.to_owned()).or_insert(time);
        *known = known.min(time);
    }
}

fn in_native() -> String {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/bench/ruby/micro.rb");
    let output = Command::new("ruby")
        .args(["-W0", program])
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn in_a_dyno(pack: &Path) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let engine = Engine::new(EngineConfig::on_demand()).unwrap();
    let directory = PackDir::open(pack).unwrap();
    let open = Pack::open(&engine, &directory, Arc::new(DiscardLog), |_| {});
    let pack = runtime.block_on(open).unwrap();
    let mut writer = ArchiveWriter::new(Vec::new());
    let length = PROGRAM.len() as u64;
    writer
        .add_file("micro.rb", PROGRAM.as_bytes(), length, FileMode::Plain)
        .unwrap();
    let slug = Archive::new(writer.finish().unwrap().output).unwrap();
    let app = AppProcess {
        slug: Some(Arc::new(slug)),
        arguments: Arc::from(["ruby".to_owned(), "micro.rb".to_owned()]),
        environ: environ(ruby::profile(), []),
        outbound: OutboundRules::closed(),
    };
    let limits = BootLimits::default();
    let run = boot::run_command(&engine, &pack, &app, None, &limits, Arc::new(DiscardLog));
    let (status, output) = runtime.block_on(run).unwrap();
    assert_eq!(status, 0);
    String::from_utf8(output).unwrap()
}
