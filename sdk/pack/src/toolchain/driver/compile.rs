//! Command lines of the compiler.

use std::ffi::OsString;
use std::path::PathBuf;

use super::super::{COMPILE_FLAGS, CPLUSPLUS_FLAGS, include_directories, zig};
use super::arguments::Arguments;
use super::error::DriverError;
use super::link::{self, LinkItem, LinkerOption};
use super::options::{self, Treatment};
use super::{CommandPlan, DriverPaths, SourceLanguage, paths as map};

/// Lets the compiler read the attributes of Windows that Ruby 3.4 gives to exported functions on WASI, and ignore them.
pub(super) const DECLSPEC: &str = "-fdeclspec";

/// Last step of a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Preprocess,
    Assembly,
    Object,
    Link,
}

/// An operand of the command line, in the order in which the linker sees it.
enum Operand {
    Source(PathBuf, SourceLanguage),
    /// The source is the compiler's input stream.
    Stream(SourceLanguage),
    Link(LinkItem),
}

/// A command line, taken apart.
struct CompilerInvocation {
    stage: Stage,
    output: Option<PathBuf>,
    /// Options of the compiler, translated.
    options: Vec<OsString>,
    operands: Vec<Operand>,
    libraries: Vec<PathBuf>,
    /// True if the next word for the linker is the value of a dropped option.
    skips_linker_word: bool,
}

/// Questions about the compiler, each of which is a command line by itself.
const QUESTIONS: [&str; 4] = ["--version", "-v", "-dumpversion", "-dumpmachine"];

/// Translates a command line of `cc` or `c++`.
pub(super) fn plan(
    default: SourceLanguage,
    words: &[String],
    paths: &DriverPaths<'_>,
) -> Result<CommandPlan, DriverError> {
    if let [only] = words
        && QUESTIONS.contains(&only.as_str())
    {
        let mut command: Vec<OsString> = vec![zig(paths.toolchain).into(), "clang".into()];
        command.extend(COMPILE_FLAGS.iter().map(Into::into));
        command.push(DECLSPEC.into());
        command.push(only.into());
        return Ok(CommandPlan {
            commands: vec![command],
            temporary: Vec::new(),
        });
    }
    let invocation = parse(default, words, paths)?;
    if invocation.stage == Stage::Link {
        invocation.link(default, paths)
    } else {
        invocation.compile(paths)
    }
}

/// Returns the language that a source's name tells, or `None` if the file is none.
fn language(path: &str) -> Option<SourceLanguage> {
    match path.rsplit('/').next()?.rsplit_once('.')?.1 {
        "c" | "i" => Some(SourceLanguage::C),
        "S" => Some(SourceLanguage::Assembly),
        "cc" | "cp" | "cpp" | "cxx" | "c++" | "C" | "CPP" | "ii" => Some(SourceLanguage::CPlusPlus),
        _ => None,
    }
}

/// Returns whether a source is one of C++ by its name, so that its extension needs the sysroot's library of C++.
pub fn is_cplusplus(path: &str) -> bool {
    language(path) == Some(SourceLanguage::CPlusPlus)
}

fn parse(
    default: SourceLanguage,
    words: &[String],
    paths: &DriverPaths<'_>,
) -> Result<CompilerInvocation, DriverError> {
    let mut parsed = CompilerInvocation {
        stage: Stage::Link,
        output: None,
        options: Vec::new(),
        operands: Vec::new(),
        libraries: Vec::new(),
        skips_linker_word: false,
    };
    let mut forced = None;
    let mut arguments = Arguments::new(words);
    while let Some(word) = arguments.next() {
        let Some(_) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            parsed.operand(word, forced, default, paths)?;
            continue;
        };
        match word {
            "-c" => parsed.stage = Stage::Object,
            "-S" => parsed.stage = Stage::Assembly,
            "-E" => parsed.stage = Stage::Preprocess,
            "-M" | "-MM" => {
                parsed.stage = Stage::Preprocess;
                parsed.options.push(word.into());
            }
            "-shared" => {}
            // A file of dependencies would name the host's directories, and an extension is built once.
            "-MD" | "-MMD" | "-MP" | "-MG" => {}
            "-MT" | "-MQ" | "--param" | "-z" => drop(arguments.value(word, "")?),
            "-Xlinker" => parsed.linker_options([arguments.value(word, "")?].into_iter())?,
            _ if word.starts_with("-MF") => drop(arguments.value("-MF", &word[3..])?),
            _ if word.starts_with("-Wl,") => parsed.linker_options(word[4..].split(','))?,
            "-Wa,--noexecstack" => {}
            _ if word.starts_with("-Wp,-D_FORTIFY_SOURCE") => {}
            _ if word.starts_with("--param=") || word.starts_with("-D_FORTIFY_SOURCE") => {}
            _ if word.starts_with("-D") || word.starts_with("-U") => {
                let value = arguments.value(&word[..2], &word[2..])?;
                // One word: the compiler reads a word that starts with @ as the name of a file.
                parsed.options.push(format!("{}{value}", &word[..2]).into());
            }
            _ if word.starts_with("-I") => {
                let value = arguments.value("-I", &word[2..])?;
                parsed.directories("-I", value, paths)?;
            }
            _ if word.starts_with("-L") => {
                let value = arguments.value("-L", &word[2..])?;
                parsed.libraries.extend(map::directories(value, paths)?);
            }
            _ if word.starts_with("-l") => {
                let value = arguments.value("-l", &word[2..])?;
                let item = link::library(value)?;
                parsed.operands.extend(item.map(Operand::Link));
            }
            _ if word.starts_with("-o") => {
                let value = arguments.value("-o", &word[2..])?;
                parsed.output = Some(map::output(value, paths)?);
            }
            _ if word.starts_with("-x") => {
                forced = match arguments.value("-x", &word[2..])? {
                    "c" => Some(SourceLanguage::C),
                    "c++" => Some(SourceLanguage::CPlusPlus),
                    "none" => None,
                    other => {
                        return Err(DriverError::refused(other, "only C and C++ are supported"));
                    }
                };
            }
            _ => parsed.path_option(word, &mut arguments, paths)?,
        }
    }
    Ok(parsed)
}

impl CompilerInvocation {
    /// Adds a word that is no option.
    fn operand(
        &mut self,
        word: &str,
        forced: Option<SourceLanguage>,
        default: SourceLanguage,
        paths: &DriverPaths<'_>,
    ) -> Result<(), DriverError> {
        // `c++` compiles files of C as C++, as GCC does.
        let own = language(word).map(|own| match (own, default) {
            (SourceLanguage::C, SourceLanguage::CPlusPlus) => default,
            _ => own,
        });
        let operand = match (word, forced.or(own)) {
            ("-", Some(language)) => Operand::Stream(language),
            ("-", None) => Operand::Stream(default),
            (_, Some(language)) => Operand::Source(map::input(word, paths)?, language),
            (_, None) => match word.rsplit_once('.') {
                Some((_, "o" | "obj" | "a")) => {
                    Operand::Link(LinkItem::File(map::input(word, paths)?))
                }
                _ => return Err(DriverError::File(word.to_owned())),
            },
        };
        self.operands.push(operand);
        Ok(())
    }

    /// Adds a directory of headers.
    fn directories(
        &mut self,
        option: &str,
        value: &str,
        paths: &DriverPaths<'_>,
    ) -> Result<(), DriverError> {
        for directory in map::directories(value, paths)? {
            self.options.extend([option.into(), directory.into()]);
        }
        Ok(())
    }

    /// Adds an option with a path, or one that is a word.
    fn path_option(
        &mut self,
        word: &str,
        arguments: &mut Arguments<'_>,
        paths: &DriverPaths<'_>,
    ) -> Result<(), DriverError> {
        match word {
            "-isystem" | "-iquote" | "-idirafter" => {
                let value = arguments.value(word, "")?;
                self.directories(word, value, paths)
            }
            "-include" | "-imacros" => {
                let value = arguments.value(word, "")?;
                let path = map::included(value, paths)?;
                self.options.extend([word.into(), path.into()]);
                Ok(())
            }
            _ => match options::treatment(word) {
                Some(Treatment::Pass) => {
                    self.options.push(word.into());
                    Ok(())
                }
                Some(Treatment::Drop) => Ok(()),
                None => Err(DriverError::refused(word, options::reason(word))),
            },
        }
    }

    /// Adds options of the linker.
    fn linker_options<'a>(
        &mut self,
        words: impl Iterator<Item = &'a str>,
    ) -> Result<(), DriverError> {
        for word in words {
            // The value may come with the next option: -Wl,-rpath -Wl,/usr/lib.
            if std::mem::take(&mut self.skips_linker_word) {
                continue;
            }
            match link::option(word)? {
                LinkerOption::Pass(item) => self.operands.push(Operand::Link(item)),
                LinkerOption::Drop => {}
                LinkerOption::DropWithValue => self.skips_linker_word = true,
            }
        }
        Ok(())
    }

    /// Returns the start of the compiler's command line, and its end with the system's directories.
    fn command(
        &self,
        language: SourceLanguage,
        paths: &DriverPaths<'_>,
    ) -> (Vec<OsString>, Vec<OsString>) {
        let mut start: Vec<OsString> = vec![zig(paths.toolchain).into(), "clang".into()];
        start.extend(COMPILE_FLAGS.iter().map(Into::into));
        start.push(DECLSPEC.into());
        if language == SourceLanguage::CPlusPlus {
            start.extend(CPLUSPLUS_FLAGS.iter().map(Into::into));
        }
        start.extend(self.options.iter().cloned());
        for (host, guest) in map::prefixes(paths) {
            start.push(format!("-ffile-prefix-map={host}={guest}").into());
        }
        // A crash leaves no files behind, and an option that the last step does not need is no reason for a warning.
        start.extend(["-fno-crash-diagnostics", "-Qunused-arguments"].map(Into::into));
        let mut system = Vec::new();
        let sysroot = paths.sysroot.map(|root| root.join("usr/include"));
        // The headers of C++ include those of C by the same names.
        if let (SourceLanguage::CPlusPlus, Some(sysroot)) = (language, &sysroot) {
            system.push(sysroot.join("c++/v1"));
        }
        // Ruby's directory has headers of sockets, which are more complete than those of the C library.
        system.push(paths.ruby.join("include"));
        system.extend(sysroot);
        system.extend(include_directories(paths.toolchain));
        let words = |directory: PathBuf| ["-isystem".into(), directory.into_os_string()];
        (start, system.into_iter().flat_map(words).collect())
    }

    /// Plans one command for each source.
    fn compile(&self, paths: &DriverPaths<'_>) -> Result<CommandPlan, DriverError> {
        let sources = self.operands.iter().filter_map(|operand| match operand {
            Operand::Source(path, language) => Some((Some(path), *language)),
            Operand::Stream(language) => Some((None, *language)),
            Operand::Link(_) => None,
        });
        let sources: Vec<_> = sources.collect();
        if sources.is_empty() {
            return Err(DriverError::NoInput);
        }
        if self.output.is_some() && sources.len() > 1 {
            return Err(DriverError::Outputs);
        }
        let mut plan = CommandPlan::default();
        for (source, language) in sources {
            let (mut command, system) = self.command(language, paths);
            let (stage, extension) = match self.stage {
                Stage::Preprocess => ("-E", None),
                Stage::Assembly => ("-S", Some("s")),
                Stage::Object | Stage::Link => ("-c", Some("o")),
            };
            // `-M` implies it.
            let lists = self
                .options
                .iter()
                .any(|option| option == "-M" || option == "-MM");
            if !lists {
                command.push(stage.into());
            }
            let named = match (&self.output, source, extension) {
                (Some(output), ..) => Some(output.clone()),
                (None, Some(source), Some(extension)) => {
                    let name = source.file_name().unwrap_or_default();
                    let current = map::output(".", paths)?;
                    Some(current.join(name).with_extension(extension))
                }
                _ => None,
            };
            if let Some(named) = named {
                command.extend(["-o".into(), named.into()]);
            }
            command.extend(system);
            command.extend(input(source, language));
            plan.commands.push(command);
        }
        Ok(plan)
    }

    /// Plans the compilation of sources, if there are any, and the link of a side module.
    fn link(
        self,
        default: SourceLanguage,
        paths: &DriverPaths<'_>,
    ) -> Result<CommandPlan, DriverError> {
        if self
            .operands
            .iter()
            .all(|operand| matches!(operand, Operand::Link(item) if !item.is_file()))
        {
            return Err(DriverError::NoInput);
        }
        let output = match &self.output {
            Some(output) => output.clone(),
            None => map::output("a.out", paths)?,
        };
        let mut plan = CommandPlan::default();
        let mut items = Vec::new();
        let mut with_cplusplus = default == SourceLanguage::CPlusPlus;
        for (index, operand) in self.operands.iter().enumerate() {
            let (source, language) = match operand {
                Operand::Source(path, language) => (Some(path), *language),
                Operand::Stream(language) => (None, *language),
                Operand::Link(item) => {
                    items.push(item.clone());
                    continue;
                }
            };
            with_cplusplus |= language == SourceLanguage::CPlusPlus;
            let mut object = output.clone().into_os_string();
            object.push(format!(".{index}.o"));
            let object = PathBuf::from(object);
            let (mut command, system) = self.command(language, paths);
            command.extend(["-c".into(), "-o".into(), object.clone().into()]);
            command.extend(system);
            command.extend(input(source, language));
            plan.commands.push(command);
            plan.temporary.push(object.clone());
            items.push(LinkItem::File(object));
        }
        let command = link::command(&output, &self.libraries, &items, with_cplusplus, paths);
        plan.commands.push(command);
        Ok(plan)
    }
}

/// Returns the words that name a source and its language.
fn input(source: Option<&PathBuf>, language: SourceLanguage) -> [OsString; 3] {
    let name = match language {
        SourceLanguage::C => "c",
        SourceLanguage::CPlusPlus => "c++",
        SourceLanguage::Assembly => "assembler-with-cpp",
    };
    let path = source.map_or_else(|| "-".into(), |path| path.clone().into_os_string());
    ["-x".into(), name.into(), path]
}
