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
    "dyno/socket.rb",
    "dyno/random.rb",
    "dyno/heap.rb",
    "dyno/bundle.rb",
    "dyno/builder.rb",
    "dyno/input.rb",
    "dyno/stream.rb",
    "dyno/chunks.rb",
    "dyno/response.rb",
    "dyno/server.rb",
    "dyno/gemfile.rb",
    "dyno/command.rb",
];
