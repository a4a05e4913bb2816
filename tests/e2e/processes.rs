//! Processes beside web: workers, the release phase, postdeploy, scheduled and detached commands.

use std::process::Command;
use std::time::Duration;

use corundum_test_support::node::{Repository, TestNode};
use corundum_test_support::wait::poll;
use serde_json::Value;

const APP: &str = "run ->(_) { [200, {}, [ENV.fetch('GREETING', 'ok')]] }\n";

/// A worker that says when it starts, works and is asked to end.
const WORKER: &str = r##"
$stdout.sync = true
name = ENV.fetch("DYNO")
puts "#{name} starts #{ARGV.inspect} with #{ENV.fetch('GREETING', 'nothing')}"
Signal.trap("TERM") { $done = true }
queue = Queue.new
Thread.new { loop { queue << 1; sleep 0.05 } }
jobs = 0
until $done
  jobs += queue.pop
  puts "#{name} has worked" if jobs == 3
end
puts "#{name} ends"
"##;

fn dynos(node: &TestNode, app: &str) -> Vec<(String, String)> {
    let listed = node.cli(&["ps", "--json", "--app", app]);
    listed.assert_success();
    let dynos: Vec<Value> = serde_json::from_str(&listed.text).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let named = dynos
        .iter()
        .map(|dyno| (text(&dyno["name"]), text(&dyno["state"])));
    named
        .filter(|(name, _)| !name.starts_with("web."))
        .collect()
}

fn wait_for_dynos(node: &TestNode, app: &str, expected: &[(&str, &str)]) {
    poll(Duration::from_secs(60), || {
        let dynos = dynos(node, app);
        let dynos = dynos
            .iter()
            .map(|(name, state)| (name.as_str(), state.as_str()));
        dynos.eq(expected.iter().copied()).then_some(())
    })
    .unwrap_or_else(|| panic!("{:?} is not {expected:?}", dynos(node, app)));
}

fn app(node: &TestNode, name: &str, procfile: &str) -> Repository {
    let repository = node.create(name);
    repository.write("config.ru", APP);
    repository.write("worker.rb", WORKER);
    repository.write("Procfile", procfile);
    repository
}

#[test]
fn workers_run_beside_web_and_follow_formation_and_releases() {
    let node = TestNode::start();
    let repository = app(
        &node,
        "myapp",
        "web: rackup\nworker: A=1 ruby worker.rb -c ${CONCURRENCY:-5} \"$A\"\n",
    );
    repository.assert_pushed();
    assert_eq!(dynos(&node, "myapp"), []);
    let cli = |arguments: &[&str]| node.cli(&[arguments, &["--app", "myapp"]].concat());
    cli(&["config:set", "CONCURRENCY=7"]).assert_success();
    let scaled = cli(&["ps:scale", "worker=2:standard-2x"]);
    scaled.assert_success();
    assert!(
        scaled.text.contains("worker at 2:standard-2x"),
        "{}",
        scaled.text
    );
    wait_for_dynos(&node, "myapp", &[("worker.1", "up"), ("worker.2", "up")]);
    node.wait_for_log(
        "myapp",
        "worker.1 starts [\"-c\", \"7\", \"\"] with nothing",
    );
    node.wait_for_log("myapp", "worker.2 has worked");
    assert_eq!(node.get("myapp", "/"), (200, "ok".to_owned()));

    // A new release replaces them, after they have ended by their own handler.
    cli(&["config:set", "GREETING=hello"]).assert_success();
    let log = node.wait_for_log("myapp", "worker.1 starts [\"-c\", \"7\", \"\"] with hello");
    assert!(log.contains("worker.1 ends"), "{log}");
    assert!(
        log.contains("corundum[worker.1]: Process exited with status 0"),
        "{log}"
    );
    wait_for_dynos(&node, "myapp", &[("worker.1", "up"), ("worker.2", "up")]);

    // The formation outlives the node.
    let mut node = node;
    node.kill_and_restart();
    wait_for_dynos(&node, "myapp", &[("worker.1", "up"), ("worker.2", "up")]);
    let cli = |arguments: &[&str]| node.cli(&[arguments, &["--app", "myapp"]].concat());
    // Before that, it has no handler of the signal.
    node.wait_for_log("myapp", "worker.2 has worked");
    cli(&["ps:restart", "worker.2"]).assert_success();
    node.wait_for_log("myapp", "worker.2 ends");
    cli(&["ps:scale", "worker-1"]).assert_success();
    wait_for_dynos(&node, "myapp", &[("worker.1", "up")]);
    // A process type that the Procfile does not name any more ends.
    repository.write("Procfile", "web: rackup\n");
    repository.assert_pushed();
    wait_for_dynos(&node, "myapp", &[]);
    for (change, reason) in [
        ("worker=1", "Couldn't find that process type: worker"),
        ("web=1:huge", "is not a size of dynos here"),
        ("worker", "not a change"),
    ] {
        cli(&["ps:scale", change]).assert_failure(reason);
    }
}

#[test]
fn worker_that_crashes_is_started_again_after_longer_and_longer_pauses() {
    let node = TestNode::start();
    let repository = app(
        &node,
        "myapp",
        "crash: ruby -e 'puts \"crashing\"; exit 3'\npipe: cat a | cat\ngrow: ruby grow.rb\n",
    );
    repository.write("grow.rb", "a = []; loop { a << 'x' * 10_000_000 }\n");
    let pushed = repository.assert_pushed();
    let note =
        "The process type pipe cannot be scaled: \"cat a | cat\": a dyno has no shell for pipes";
    assert!(pushed.text.contains(note), "{}", pushed.text);
    let scale = |change: &str| node.cli(&["ps:scale", change, "--app", "myapp"]);
    scale("pipe=1").assert_failure("a dyno has no shell for pipes between commands");
    scale("crash=1").assert_success();
    let log = node.wait_for_log("myapp", "corundum[crash.1]: Starting again in 4 s");
    for line in [
        "app[crash.1]: crashing",
        "corundum[crash.1]: Process exited with status 3",
        "State changed from starting to crashed",
        "corundum[crash.1]: Starting again in 1 s",
    ] {
        assert!(log.contains(line), "{line} is missing in {log}");
    }
    wait_for_dynos(&node, "myapp", &[("crash.1", "crashed")]);
    assert_eq!(node.get("myapp", "/").0, 200);
    scale("crash=0").assert_success();
    wait_for_dynos(&node, "myapp", &[]);
    scale("grow=1").assert_success();
    let log = node.wait_for_log("myapp", "corundum[grow.1]: Starting again in 1 s");
    assert!(
        log.contains("corundum[grow.1]: Error R14 (Memory quota exceeded)"),
        "{log}"
    );
}

#[test]
fn worker_that_ignores_sigterm_is_killed() {
    let node = TestNode::start();
    let repository = app(
        &node,
        "myapp",
        "stubborn: ruby -e 'trap(\"TERM\") { puts \"no\" }; puts \"up\"; loop { sleep 1 }'\n",
    );
    repository.assert_pushed();
    node.cli(&["ps:scale", "stubborn=1", "--app", "myapp"])
        .assert_success();
    node.wait_for_log("myapp", "State changed from starting to up");
    node.cli(&["ps:scale", "stubborn=0", "--app", "myapp"])
        .assert_success();
    wait_for_dynos(&node, "myapp", &[]);
    let log = node.wait_for_log(
        "myapp",
        "corundum[stubborn.1]: Process exited with status 137",
    );
    for line in [
        "Stopping all processes with SIGTERM",
        "Error R12 (Exit timeout)",
        "SIGKILL",
    ] {
        assert!(log.contains(line), "{line} is missing in {log}");
    }
}

#[test]
fn release_phase_runs_before_the_release_and_keeps_the_old_one_if_it_fails() {
    let node = TestNode::start();
    let repository = app(
        &node,
        "myapp",
        "release: ruby -e 'puts \"migrating #{ENV[\"DYNO\"]}\"' && ruby -e 'exit ENV[\"FAIL\"].to_i'\n",
    );
    let pushed = repository.assert_pushed();
    for line in [
        "-----> Running release command...",
        "       migrating release.1",
    ] {
        assert!(
            pushed.text.contains(line),
            "{line} is missing in {}",
            pushed.text
        );
    }
    // A change of the config vars is a release.
    let set = node.cli(&["config:set", "FAIL=7", "GREETING=new", "--app", "myapp"]);
    set.assert_failure("exited with status 7");
    assert_eq!(node.get("myapp", "/"), (200, "ok".to_owned()));
    let config = node.cli(&["config", "--app", "myapp"]);
    assert!(!config.text.contains("GREETING"), "{}", config.text);
    repository.write("config.ru", "run ->(_) { [200, {}, ['second']] }\n");
    repository.write("Procfile", "release: ruby -e 'warn \"no table\"; exit 2'\n");
    repository.commit();
    let rejected = repository.push("main");
    rejected.assert_failure("release command failed");
    assert!(
        rejected.text.contains("       no table"),
        "{}",
        rejected.text
    );
    assert_eq!(node.get("myapp", "/"), (200, "ok".to_owned()));
    node.wait_for_log("myapp", "app[release.2]: no table");
    // The command that needs a shell is rejected when it is pushed.
    repository.write("Procfile", "release: rake a > log\n");
    repository.commit();
    let rejected = repository.push("main");
    rejected.assert_failure("a dyno has no shell for redirections");
    repository.write(
        "Procfile",
        "release: ruby -e 'exit 1' || ruby -e 'puts \"saved\"'\n",
    );
    repository.assert_pushed();
    assert_eq!(node.get("myapp", "/"), (200, "second".to_owned()));
}

#[test]
fn postdeploy_runs_once_and_app_json_scales_the_first_release() {
    let node = TestNode::start();
    let repository = app(
        &node,
        "myapp",
        "worker: ruby worker.rb\nother: ruby worker.rb\n",
    );
    repository.write(
        "app.json",
        r##"{"scripts": {"postdeploy": "ruby -e 'puts \"seeding\"; exit 1'"},
            "formation": {"worker": {"quantity": 1, "size": "eco"}, "other": {"quantity": 0, "size": "huge"}}}"##,
    );
    let pushed = repository.assert_pushed();
    for line in [
        "-----> Running postdeploy command...",
        "       seeding",
        "The postdeploy script failed: ruby -e 'puts \"seeding\"; exit 1' exited with status 1",
        "app.json, other: \"huge\" is not a size",
        "Released v1",
    ] {
        assert!(
            pushed.text.contains(line),
            "{line} is missing in {}",
            pushed.text
        );
    }
    wait_for_dynos(&node, "myapp", &[("worker.1", "up")]);
    repository.write("more", "x");
    let pushed = repository.assert_pushed();
    assert!(!pushed.text.contains("postdeploy"), "{}", pushed.text);
}

#[test]
fn detached_commands_log_their_output_and_end_on_demand() {
    let node = TestNode::start();
    app(&node, "myapp", "web: rackup\n").assert_pushed();
    let run = |command: &[&str]| node.cli(&[&["run:detached", "--app", "myapp"], command].concat());
    let started = run(&[
        "--env",
        "A=1",
        "echo=$A ruby -e 'puts ENV[\"echo\"] + \"!\"'; ruby -e 'exit 4'",
    ]);
    started.assert_success();
    assert!(started.text.contains("done, run.1"), "{}", started.text);
    let log = node.wait_for_log("myapp", "corundum[run.1]: Process exited with status 4");
    assert!(log.contains("app[run.1]: 1!"), "{log}");
    run(&["ruby", "worker.rb", "a b"]).assert_success();
    node.wait_for_log("myapp", "run.2 starts [\"a b\"]");
    assert_eq!(
        dynos(&node, "myapp"),
        [("run.2".to_owned(), "up".to_owned())]
    );
    node.cli(&["ps:stop", "run.2", "--app", "myapp"])
        .assert_success();
    node.wait_for_log("myapp", "run.2 ends");
    wait_for_dynos(&node, "myapp", &[]);
    node.cli(&["ps:stop", "run.2", "--app", "myapp"])
        .assert_failure("Couldn't find that dyno: run.2");
    run(&["ruby x &"]).assert_failure("a dyno has no shell for commands in the background");
}

#[test]
fn scheduled_command_that_was_missed_runs_once_after_the_start() {
    let mut node = TestNode::start();
    let repository = app(&node, "myapp", "web: rackup\n");
    repository.write(
        "app.json",
        r##"{"cron": [{"schedule": "@yearly", "command": "ruby -e 'puts \"yearly #{ENV[\"DYNO\"]}\"'"},
                     {"schedule": "@yearly", "command": "ruby -e 'puts \"skipped\"'", "missed": "skip"}]}"##,
    );
    repository.assert_pushed();
    let listed = node.cli(&["cron", "--app", "myapp"]);
    listed.assert_success();
    assert!(listed.text.contains("-01-01T00:00:00Z"), "{}", listed.text);
    node.kill();
    let store = node.data().join("corundum.sqlite");
    let code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('update schedule_runs set planned = 86400 * 366 * 40'); c.commit()";
    let changed = Command::new("python3")
        .args(["-c", code])
        .arg(&store)
        .status();
    assert!(changed.unwrap().success());
    node.restart();
    node.wait_for_log("myapp", "app[scheduler.1]: yearly scheduler.1");
    let log = node.wait_for_log(
        "myapp",
        "corundum[scheduler.1]: Process exited with status 0",
    );
    assert!(log.contains("does not run so late"), "{log}");
    let listed = node.cli(&["cron", "--json", "--app", "myapp"]);
    let commands: Vec<Value> = serde_json::from_str(&listed.text).unwrap();
    assert!(
        commands
            .iter()
            .all(|command| command["next_at"].as_str().is_some()),
        "{commands:?}"
    );
    // A node that was not down long has missed nothing.
    node.kill_and_restart();
    std::thread::sleep(Duration::from_secs(2));
    let log = node.cli(&["logs", "--app", "myapp"]);
    assert!(!log.text.contains("yearly"), "{}", log.text);
}

#[test]
fn workers_follow_the_depth_of_their_queue() {
    let node = TestNode::start();
    let repository = app(&node, "myapp", "web: rackup\nworker: ruby worker.rb\n");
    repository.write(
        "depth.rb",
        "puts 'counting'\nputs Integer(ENV.fetch('DEPTH'))\n",
    );
    repository.assert_pushed();
    let autoscale = |arguments: &[&str]| {
        node.cli(&[&["ps:autoscale", "worker", "--app", "myapp"], arguments].concat())
    };
    let bounds = ["--min", "1", "--max", "3", "--jobs-per-dyno", "10"];
    autoscale(&bounds).assert_failure("--command is needed for worker");
    autoscale(&[]).assert_failure("worker is not scaled by a queue");
    let with = |command| [&bounds[..], &["--command", command]].concat();
    autoscale(&with("a | b")).assert_failure("a dyno has no shell for pipes");
    let wrong = ["--min", "4", "--max", "3", "--command", "ruby depth.rb"];
    autoscale(&wrong).assert_failure("--min is not above --max");
    autoscale(&with("ruby depth.rb")).assert_success();
    let shown = autoscale(&[]);
    assert!(
        shown
            .text
            .contains("1 to 3 dynos, one for each 10 jobs of `ruby depth.rb`"),
        "{}",
        shown.text
    );
    // Without the variable, the command fails, and nothing changes.
    let log = node.wait_for_log("myapp", "corundum[autoscale]: worker stays as it is");
    assert!(
        log.contains("has to print the number of waiting jobs"),
        "{log}"
    );
    node.cli(&["config:set", "DEPTH=11", "--app", "myapp"])
        .assert_success();
    // Setting a rule runs the command at once.
    autoscale(&with("ruby depth.rb")).assert_success();
    node.wait_for_log("myapp", "Scaled worker from 0 to 2: 11 jobs wait");
    wait_for_dynos(&node, "myapp", &[("worker.1", "up"), ("worker.2", "up")]);
    autoscale(&["--off"]).assert_success();
    autoscale(&["--off"]).assert_failure("worker is not scaled by a queue");
}

#[test]
fn usage_counts_requests_processor_time_and_memory_and_survives_a_restart() {
    let mut node = TestNode::start();
    let repository = app(&node, "myapp", "web: rackup\nworker: ruby worker.rb\n");
    repository.assert_pushed();
    node.cli(&["ps:scale", "worker=1", "--app", "myapp"])
        .assert_success();
    for _ in 0..3 {
        assert_eq!(node.get("myapp", "/").0, 200);
    }
    node.wait_for_log("myapp", "worker.1 has worked");
    node.signal("TERM");
    assert!(node.wait().success());
    node.restart();
    assert_eq!(node.get("myapp", "/").0, 200);
    let usage = || {
        let listed = node.cli(&["usage", "--json", "--app", "myapp"]);
        listed.assert_success();
        let days: Vec<Value> = serde_json::from_str(&listed.text).unwrap();
        (days.len(), days.last().cloned().unwrap_or_default())
    };
    let (days, today) = usage();
    assert!(days == 1 || days == 2, "{days}");
    assert_eq!(today["requests"], 3, "{today}");
    assert_eq!(today["bytes"], 6, "{today}");
    let seconds = today["cpu_seconds"].as_f64().unwrap();
    assert!(seconds > 0.0 && seconds < 60.0, "{today}");
    let table = node.cli(&["usage"]);
    table.assert_success();
    assert!(
        table.text.contains("Requests") && table.text.contains("myapp"),
        "{}",
        table.text
    );
    node.cli(&["usage", "--start", "2999-01-01"])
        .assert_success();
    node.cli(&["usage", "--start", "tomorrow"])
        .assert_failure("write it as start=2026-01-31");
    node.cli(&["usage", "--app", "nobody"])
        .assert_failure("nobody");
    let metrics = node.admin("/metrics").1;
    assert!(
        metrics.contains("corundum_command_memory_bytes{app=\"myapp\"}"),
        "{metrics}"
    );
}

#[test]
fn web_dynos_have_the_memory_of_their_size() {
    let mut node = TestNode::start();
    let repository = node.create("myapp");
    repository.write(
        "config.ru",
        "run(lambda do |env|
  [200, {}, [('x' * (Integer(env['QUERY_STRING']) << 20)).bytesize.to_s]]
rescue NoMemoryError => error
  [500, {}, [error.message]]
end)
",
    );
    repository.assert_pushed();
    let get = |node: &TestNode, megabytes: u32| node.get("myapp", &format!("/?{megabytes}"));
    assert_eq!(get(&node, 1), (200, (1 << 20).to_string()));
    let refused = (500, "failed to allocate memory".to_owned());
    assert_eq!(get(&node, 600), refused);
    let resized = node.cli(&["ps:type", "web=standard-2x", "--app", "myapp"]);
    resized.assert_success();
    assert!(resized.text.contains("standard-2x"), "{}", resized.text);
    assert_eq!(get(&node, 600), (200, (600 << 20).to_string()));
    node.kill_and_restart();
    assert_eq!(get(&node, 600), (200, (600 << 20).to_string()));
    node.cli(&["ps:scale", "web=2:standard-1x", "--app", "myapp"])
        .assert_success();
    assert_eq!(get(&node, 600), refused);
}
