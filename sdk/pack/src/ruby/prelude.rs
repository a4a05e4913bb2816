//! Ruby code of Corundum that every pack of Ruby includes.

/// Directory of the prelude in the guest's filesystem.
pub(super) const AT: &str = "usr/lib/corundum";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../ruby/lib/", $name)))),*]
    };
}

/// Names below [`AT`] and texts of the files.
pub(super) const FILES: &[(&str, &str)] = files![
    "dyno.rb",
    "dyno/process.rb",
    "dyno/output.rb",
    "dyno/catch.rb",
    "dyno/replacements.rb",
    "dyno/thread.rb",
    "dyno/timeout.rb",
    "dyno/no_sockets.rb",
    "dyno/connections.rb",
    "dyno/random.rb",
    "dyno/heap.rb",
    "dyno/bundle.rb",
    "dyno/bundler.rb",
    "dyno/installer.rb",
    "dyno/gemspec.rb",
    "dyno/builder.rb",
    "dyno/input.rb",
    "dyno/hijack.rb",
    "dyno/stream.rb",
    "dyno/chunks.rb",
    "dyno/response.rb",
    "dyno/server.rb",
    "dyno/standard_output.rb",
    "dyno/gemfile.rb",
    "dyno/executables.rb",
    "dyno/interpreter.rb",
    "dyno/command.rb",
    "dyno/assets.rb",
    "dyno/extension.rb",
    "dyno/extension/make.rb",
    "dyno/extension/processes.rb",
    "dyno/extension/programs.rb",
    "dyno/extension/tools.rb",
    "stand_ins/agoo/lib/agoo.rb",
    "stand_ins/bootsnap/lib/bootsnap.rb",
    "stand_ins/bootsnap/lib/bootsnap/setup.rb",
    "stand_ins/byebug/lib/byebug.rb",
    "stand_ins/debug/lib/debug.rb",
    "stand_ins/debug/lib/debug/prelude.rb",
    "stand_ins/falcon/lib/falcon.rb",
    "stand_ins/iodine/lib/iodine.rb",
    "stand_ins/listen/lib/listen.rb",
    "stand_ins/passenger/lib/phusion_passenger.rb",
    "stand_ins/puma/lib/puma.rb",
    "stand_ins/puma_worker_killer/lib/puma_worker_killer.rb",
    "stand_ins/spring/lib/spring.rb",
    "stand_ins/thin/lib/thin.rb",
    "stand_ins/unicorn/lib/unicorn.rb",
    "stand_ins/unused/README",
];

/// File of Ruby's library that defines Bundler.
const BUNDLER: &str = "/bundler.rb";

/// Line that makes Bundler load its adaptation to a dyno, whoever loads it.
const ADAPTATION: &str = "\nrequire \"/usr/lib/corundum/dyno/bundler\"\n";

/// Adapts a file of Ruby's library to dynos.
pub(super) fn adapt(path: &str, bytes: &mut Vec<u8>) {
    let folder = path.strip_suffix(BUNDLER);
    if folder.is_some_and(|folder| folder.starts_with("usr/") && folder.ends_with(".0")) {
        bytes.extend_from_slice(ADAPTATION.as_bytes());
    }
}
