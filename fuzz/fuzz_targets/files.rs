//! The small files of a tree are parsed or refused: `Procfile`, `app.json`, `.slugignore`, and those that choose a Ruby.

#![no_main]

use corundum_compiler::app_json::AppJson;
use corundum_compiler::ruby_version::{VersionFiles, choose_series};
use corundum_compiler::gems::GemServerUrl;
use corundum_compiler::procfile;
use corundum_compiler::slugignore::Slugignore;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str)| {
    let (kind, text) = input;
    match kind % 6 {
        0 => {
            if let Ok(commands) = procfile::parse(text) {
                assert!(commands.values().all(|command| !command.is_empty()));
            }
        }
        1 => {
            if let Ok(app) = AppJson::parse(text) {
                let _ = (app.web_quantity(), app.unavailable_size());
                app.env.values().for_each(|variable| drop(variable.default_value()));
            }
        }
        2 => {
            if let Ok(patterns) = Slugignore::parse(text) {
                for path in ["config.ru", "lib/a/b.rb", "public/index.html"] {
                    let _ = patterns.excludes(path);
                }
            }
        }
        3 => {
            // A server's URL is equal to its own text, or two checks of it could differ.
            if let Ok(url) = text.parse::<GemServerUrl>() {
                assert_eq!(url.as_str().parse(), Ok(url));
            }
        }
        4 => {
            let files = VersionFiles { gemfile: Some(text.to_owned()), ..VersionFiles::default() };
            let _ = choose_series(&files);
        }
        _ => {
            let files =
                VersionFiles { ruby_version: Some(text.to_owned()), ..VersionFiles::default() };
            let _ = choose_series(&files);
        }
    }
});
