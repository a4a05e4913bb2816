//! Gems with native extensions, which a push compiles.

use corundum_test_support::gem_package::gem;
use corundum_test_support::node::{Repository, TestNode};

/// A script that asks mkmf what gems ask it, and shows its answers to the C code.
const EXTCONF: &str = r#"require "mkmf"
abort "no zlib" unless have_library("z", "deflate", "zlib.h")
have_func("strlcpy", "string.h")
have_func("fork", "unistd.h")
have_header("sys/inotify.h")
$defs << "-DPROGRAM_RAN=#{try_run("int main(void) { return 0; }") ? 1 : 0}"
$defs << "-DPROGRAM_FAILED=#{try_run("int main(void) { return 3; }") ? 0 : 1}"
$defs << "-DPACKED=#{check_sizeof("long")}"
create_header
create_makefile("shout/shout")
"#;

const SHOUT_C: &str = r#"#include "extconf.h"
#include <ctype.h>
#include <ruby.h>
#include <zlib.h>

static VALUE shout(VALUE self, VALUE text)
{
    VALUE loud = rb_str_dup(StringValue(text));
    rb_str_modify(loud);
    for (long i = 0; i < RSTRING_LEN(loud); i++) RSTRING_PTR(loud)[i] = toupper(RSTRING_PTR(loud)[i]);
    return loud;
}

static VALUE answers(VALUE self)
{
    int known = 0, absent = 0;
#ifdef HAVE_STRLCPY
    known = 1;
#endif
#if defined(HAVE_FORK) || defined(HAVE_SYS_INOTIFY_H)
    absent = 1;
#endif
    return rb_sprintf("%d %d %d %d %d %lu", known, absent, PROGRAM_RAN, PROGRAM_FAILED, PACKED, crc32(0, (const Bytef *)"a", 1));
}

void Init_shout(void)
{
    VALUE module = rb_define_module("Shout");
    rb_define_module_function(module, "shout", shout, 1);
    rb_define_module_function(module, "answers", answers, 0);
}
"#;

/// An extension in C++: a static constructor, containers, exceptions that are caught, and one that becomes Ruby's.
const SHOUT_CPP: &str = r#"#include <algorithm>
#include <map>
#include <ruby.h>
#include <stdexcept>
#include <string>
#include <vector>

struct Table {
    std::map<std::string, int> lengths;
    Table() { lengths["hello"] = 5; }
};
static Table table;

static VALUE shout(VALUE self, VALUE text)
{
    std::string loud(RSTRING_PTR(StringValue(text)), RSTRING_LEN(text));
    std::transform(loud.begin(), loud.end(), loud.begin(), ::toupper);
    return rb_str_new(loud.data(), loud.size());
}

static VALUE answers(VALUE self)
{
    std::vector<int> numbers = { 3, 1, 2 };
    std::sort(numbers.begin(), numbers.end());
    std::string caught = "nothing";
    try {
        numbers.at(7);
    }
    catch (const std::out_of_range &) {
        caught = "out of range";
    }
    return rb_sprintf("%d %d %s", table.lengths["hello"], numbers[2], caught.c_str());
}

static VALUE fail(VALUE self)
{
    std::string message;
    try {
        throw std::runtime_error("from C++");
    }
    catch (const std::exception &error) {
        message = error.what();
    }
    rb_raise(rb_eArgError, "%s", message.c_str());
}

extern "C" void Init_shout(void)
{
    VALUE module = rb_define_module("Shout");
    rb_define_module_function(module, "shout", RUBY_METHOD_FUNC(shout), 1);
    rb_define_module_function(module, "answers", RUBY_METHOD_FUNC(answers), 0);
    rb_define_module_function(module, "fail", RUBY_METHOD_FUNC(fail), 0);
}
"#;

/// Writes an app with a gem whose extension consists of `script` and `source`.
fn write(app: &Repository, script: &str, source: &str) {
    write_source(app, script, "ext/shout/shout.c", source);
}

fn write_source(app: &Repository, script: &str, path: &str, source: &str) {
    let files = [
        ("ext/shout/extconf.rb", script),
        (path, source),
        ("lib/shout.rb", "require 'shout/shout'\n"),
    ];
    write_files(app, &files);
}

fn write_files(app: &Repository, files: &[(&str, &str)]) {
    let gem = gem(
        "shout",
        "1.0",
        files,
        "extensions:\n- ext/shout/extconf.rb\n",
    );
    app.write_bytes("vendor/cache/shout-1.0.gem", &gem);
    app.write("Gemfile", "source 'https://rubygems.org'\ngem 'shout'\n");
    app.write(
        "Gemfile.lock",
        "GEM\n  remote: https://rubygems.org/\n  specs:\n    shout (1.0)\n\nPLATFORMS\n  x86_64-linux\n\nDEPENDENCIES\n  shout\n",
    );
    app.write(
        "config.ru",
        "require 'shout'\nrun ->(env) { [200, {}, [Shout.shout('hello'), ' ', Shout.answers]] }\n",
    );
}

#[test]
fn extension_of_a_gem_is_compiled_once_and_serves() {
    let node = TestNode::start();
    let app = node.create("myapp");
    // A new text, so that no earlier run has left a result.
    let source = format!("/* {} */\n{SHOUT_C}", std::process::id());
    write(&app, EXTCONF, &source);
    let push = app.push("main");
    push.assert_success();
    assert!(
        push.text
            .contains("shout-1.0: Compiling its native extension"),
        "{}",
        push.text
    );
    let answer = (200, "HELLO 1 0 1 1 4 3904355907".to_owned());
    assert_eq!(node.get("myapp", "/"), answer);
    // Another app with the same gem finds the result.
    let other = node.create("other");
    write(&other, EXTCONF, &source);
    let push = other.push("main");
    push.assert_success();
    assert!(!push.text.contains("Compiling"), "{}", push.text);
    assert_eq!(node.get("other", "/"), answer);
    let ran = app.cli(
        &node,
        &[
            "run",
            "ruby",
            "-rbundler/setup",
            "-rshout",
            "-e",
            "puts Shout.shout('run')",
        ],
    );
    assert!(ran.text.contains("RUN"), "{}", ran.text);
}

/// A script that builds a library that the gem brings along with a Makefile of its own, as gems of databases do.
const LIBRARY_EXTCONF: &str = r##"require "mkmf"
Dir.chdir(File.join(__dir__, "vendor")) do
  system("make", "static", "LOUD=1", "CFLAGS=-fvisibility=hidden") or abort "the library does not build"
end
$libs = "#{__dir__}/vendor/libvoice.a #{$libs}"
$INCFLAGS << " -I#{__dir__}/vendor"
create_makefile("shout/shout")
"##;

const LIBRARY_MAKEFILE: &str =
    "CC:=$(shell sh -c 'type $${CC%% *} >/dev/null 2>/dev/null && echo $(CC) || echo gcc')
uname_S := $(shell sh -c 'uname -s 2>/dev/null || echo not')
define SETTINGS
\tnot a command
  port = 1
endef
OBJ=voice.o
ifeq ($(uname_S),Linux)
  FLAGS+=-DSYSTEM=1
endif
all: static
voice.o: voice.c voice.h
libvoice.a: $(OBJ)
\t$(AR) rcs $@ $(OBJ)
static: libvoice.a
.c.o:
\t$(CC) -std=c99 -fPIC $(CFLAGS) $(FLAGS) -c $<
";

const LIBRARY_C: &str = "#include \"voice.h\"
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
static volatile sig_atomic_t heard;
static void hear(int number) { heard = number; }
int voice(void)
{
    struct sigaction action = { 0 }, old;
    siginfo_t info = { 0 };
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, 0);
    action.sa_handler = hear;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGUSR1, &action, &old) || info.si_signo) return -1;
    raise(SIGUSR1);
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) || limit.rlim_cur == RLIM_INFINITY || !setrlimit(RLIMIT_STACK, &limit)) return -2;
    return heard == SIGUSR1 && !sigismember(&all, SIGUSR1) ? SYSTEM : 0;
}
";

#[test]
fn extension_is_compiled_for_the_other_series() {
    let node = TestNode::start();
    let app = node.create("myapp");
    let exported = SHOUT_C.replace("void Init_shout", "RUBY_FUNC_EXPORTED void Init_shout");
    write(&app, EXTCONF, &exported);
    app.write(".ruby-version", "3.4.5\n");
    app.write(
        "config.ru",
        "require 'shout'\nrun ->(env) { [200, {}, [Shout.shout('hello'), ' ', RUBY_VERSION]] }\n",
    );
    app.push("main").assert_success();
    assert_eq!(node.get("myapp", "/"), (200, "HELLO 3.4.5".to_owned()));
}

#[test]
fn gem_builds_its_own_library_and_handles_signals() {
    let node = TestNode::start();
    let app = node.create("myapp");
    let source = "#include <ruby.h>\n#include <voice.h>\nvoid Init_shout(void) { rb_define_global_const(\"VOICE\", INT2FIX(voice())); }\n";
    let files = [
        ("ext/shout/extconf.rb", LIBRARY_EXTCONF),
        ("ext/shout/shout.c", source),
        ("ext/shout/vendor/Makefile", LIBRARY_MAKEFILE),
        ("ext/shout/vendor/voice.c", LIBRARY_C),
        ("ext/shout/vendor/voice.h", "int voice(void);\n"),
        ("lib/shout.rb", "require 'shout/shout'\n"),
    ];
    write_files(&app, &files);
    app.deploy("require 'shout'\nrun ->(_) { [200, {}, [VOICE.to_s]] }\n");
    assert_eq!(node.get("myapp", "/"), (200, "1".to_owned()));
}

#[test]
#[ignore = "takes minutes; script/native-extensions runs it"]
fn extension_in_cpp_is_compiled_and_serves() {
    let node = TestNode::start();
    let app = node.create("myapp");
    let script = "require 'mkmf'\ncreate_makefile('shout/shout')\n";
    write_source(&app, script, "ext/shout/shout.cpp", SHOUT_CPP);
    app.write(
        "config.ru",
        "require 'shout'\nrun ->(env) { [200, {}, [Shout.shout('hello'), ' ', Shout.answers, ' ', (Shout.fail rescue $!.inspect)]] }\n",
    );
    app.push("main").assert_success();
    let answer = "HELLO 5 3 out of range #<ArgumentError: from C++>";
    assert_eq!(node.get("myapp", "/"), (200, answer.to_owned()));
}

#[test]
fn broken_extensions_reject_the_push_with_the_compiler_s_words() {
    let node = TestNode::start();
    for (name, script, source, reason) in [
        (
            "syntax",
            EXTCONF,
            "#include <ruby.h>\nint wrong(\n",
            "shout.c:2:11: error: expected parameter declarator",
        ),
        ("host-file", EXTCONF, "#include \"/etc/passwd\"\n", "error"),
        (
            "abort",
            "require 'mkmf'\nabort 'this gem needs a mainframe'\n",
            "",
            "this gem needs a mainframe",
        ),
        ("raise", "raise 'no luck'\n", "", "no luck (RuntimeError)"),
        (
            "missing",
            "require 'mkmf'\ncreate_makefile('shout/shout')\n",
            "#include <ruby.h>\nint fork(void);\nvoid Init_shout(void) { rb_p(INT2FIX(fork())); }\n",
            "undefined symbol: fork",
        ),
        (
            "option",
            "require 'mkmf'\n$CFLAGS << ' -fplugin=/tmp/x.so'\ncreate_makefile('shout/shout')\n",
            "#include <ruby.h>\nvoid Init_shout(void) {}\n",
            "-fplugin=/tmp/x.so",
        ),
    ] {
        let app = node.create(&format!("{name}-app"));
        write(&app, script, source);
        let push = app.push("main");
        push.assert_failure(reason);
        assert!(
            push.text
                .contains("the native extension of shout-1.0 does not compile"),
            "{}",
            push.text
        );
        assert!(
            !push.text.contains("root:"),
            "a file of the machine is in the output: {}",
            push.text
        );
        node.assert_pushes_cleaned_up(&format!("{name}-app"));
    }
}
