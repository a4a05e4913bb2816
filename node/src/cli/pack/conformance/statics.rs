//! Rules about a pack's files, which run no code.

use corundum_abi::exports;
use corundum_pack::PackDir;
use corundum_pack::validate::{GuestSignature, guest_signature};

use super::{ConformanceReport, ensure};

/// Entries of the largest table: each costs 60 ns at the start of a dyno.
const MAX_TABLE: u64 = 100_000;

/// Checks the rules.
pub(super) fn check(directory: &PackDir, report: &mut ConformanceReport) -> anyhow::Result<()> {
    let manifest = directory.manifest();
    let last = manifest.modules.last();
    let wasm = last.map(|member| directory.read(member)).transpose()?;
    let signature = guest_signature(&wasm.unwrap_or_default());
    report.add(
        "static: the last module exports the dyno ABI with its types",
        "export dyno_boot, dyno_restore, dyno_handle and dyno_run, each as a function without parameters that returns an i32",
        signature
            .as_ref()
            .map_err(ToString::to_string)
            .and_then(exports),
    );
    report.add(
        "static: tables are bounded",
        "link without --growable-table, and with less than 100,000 entries: each costs time at the start of a dyno",
        signature
            .as_ref()
            .map_err(ToString::to_string)
            .and_then(|signature| {
                let entries = signature.table_entries;
                ensure(entries <= MAX_TABLE, || format!("{entries} entries"))?;
                Ok(format!("{entries} entries"))
            }),
    );
    let profile = manifest.profile();
    report.add(
        "static: licences are named",
        "name the SPDX expressions of everything in the pack in pack.toml, as in licences = [\"MIT\"]",
        ensure(!profile.licences.is_empty(), || "no licence".to_owned())
            .map(|()| profile.licences.join(", ")),
    );
    report.add(
        "static: the pack has a sample app",
        "add a folder with the smallest app, and name it in pack.toml (sample = \"sample\"): without it, images take more disk",
        ensure(!profile.sample.is_empty(), || "no sample app".to_owned())
            .map(|()| String::new()),
    );
    Ok(())
}

fn exports(signature: &GuestSignature) -> Result<String, String> {
    for name in [
        exports::BOOT,
        exports::RESTORE,
        exports::HANDLE,
        exports::RUN,
    ] {
        let kind = signature.exports.get(name);
        let kind = kind.ok_or_else(|| format!("{name} is not exported"))?;
        ensure(kind == "[] -> [i32]", || {
            format!("{name} has the type {kind}")
        })?;
    }
    if let Some(kind) = signature.exports.get(exports::IDLE) {
        ensure(kind == "[] -> [i64]", || {
            format!("{} has the type {kind}, not [] -> [i64]", exports::IDLE)
        })?;
    }
    Ok(String::new())
}
