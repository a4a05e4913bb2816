//! Our own Ruby, which every pack carries.

/// Where the guest finds it.
pub(super) const AT: &str = "usr/lib/corundum";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../ruby/lib/", $name)))),*]
    };
}

/// Its files by their names below [`AT`].
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
    "dyno/response.rb",
    "dyno/server.rb",
    "dyno/gemfile.rb",
    "dyno/command.rb",
];
