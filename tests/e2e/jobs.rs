//! Queues of jobs and schedulers that Heroku's users know: Sidekiq with its web page, Delayed Job, rufus-scheduler.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use corundum_test_support::app_gems::node_with_services;
use corundum_test_support::node::TestNode;
use corundum_test_support::process::skip;
use corundum_test_support::wait::poll;

/// Waits until the app's page at `path` contains `text`.
fn wait_for_page(node: &TestNode, app: &str, path: &str, text: &str) -> String {
    let page = || Some(node.get(app, path).1).filter(|page| page.contains(text));
    poll(Duration::from_secs(60), page)
        .unwrap_or_else(|| panic!("{text:?} is missing in:\n{}", node.get(app, path).1))
}

#[test]
fn sidekiq_works_through_jobs_in_a_worker_and_shows_its_page() {
    let Some(node) = node_with_services() else {
        return;
    };
    let jobs = node.create("jobs");
    jobs.copy_sample("jobs");
    let pushed = jobs.assert_pushed();
    for line in ["(redis:mini) as REDIS_URL", "Installing sidekiq 7.3.2"] {
        assert!(pushed.text.contains(line), "{line}:\n{}", pushed.text);
    }
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let queue = |limit: &str| node.raw("jobs", "POST /jobs", form, &format!("limit={limit}"));
    let queued = queue("100000");
    assert!(queued.starts_with("HTTP/1.1 303 "), "{queued}");
    assert!(queue("x").starts_with("HTTP/1.1 422 "));
    let page = wait_for_page(&node, "jobs", "/results", "9592");
    assert_eq!(
        page,
        r#"[{"limit":100000,"primes":9592,"dyno":"worker.1"}]"#
    );

    // Sidekiq's page asks for the password, and knows the worker.
    let (status, _) = node.get("jobs", "/sidekiq/");
    assert_eq!(status, 401);
    let password = jobs.cli(&node, &["config:get", "SIDEKIQ_PASSWORD"]).text;
    let user = STANDARD.encode(format!("admin:{}", password.trim()));
    let header = format!("Authorization: Basic {user}\r\n");
    let busy = node.raw("jobs", "GET /sidekiq/busy", &header, "");
    assert!(
        busy.starts_with("HTTP/1.1 200 ") && busy.contains("worker.1"),
        "{busy}"
    );
    let style = node.raw(
        "jobs",
        "GET /sidekiq/stylesheets/application.css",
        &header,
        "",
    );
    assert!(style.contains("content-type: text/css"), "{style}");

    // No job is lost when the workers are replaced in the middle of the work.
    for limit in 0..40 {
        queue(&(900_000 + limit).to_string());
    }
    jobs.cli(&node, &["ps:scale", "worker=2"]).assert_success();
    jobs.cli(&node, &["ps:restart", "worker"]).assert_success();
    let stats = || {
        let page = node.raw("jobs", "GET /sidekiq/stats", &header, "");
        page.contains("\"processed\":41,").then_some(())
    };
    assert!(
        poll(Duration::from_secs(120), stats).is_some(),
        "{}\n{}",
        node.raw("jobs", "GET /sidekiq/stats", &header, ""),
        jobs.cli(&node, &["logs", "-n", "100"]).text
    );
}

#[test]
fn rufus_scheduler_runs_its_jobs_in_a_process() {
    let specifications = "/usr/share/rubygems-integration/all/specifications";
    if !Path::new(specifications)
        .join("rufus-scheduler-3.8.2.gemspec")
        .is_file()
    {
        return skip("ruby-rufus-scheduler is missing: script/test installs it");
    }
    let node = TestNode::start();
    let app = node.create("clock");
    for (path, text) in [
        ("config.ru", "run ->(_) { [200, {}, []] }\n"),
        (
            "Procfile",
            "web: rackup\nclock: bundle exec ruby clock.rb\n",
        ),
        (
            "Gemfile",
            "source \"https://rubygems.org\"\ngem \"rufus-scheduler\"\n",
        ),
        (
            "Gemfile.lock",
            "GEM
  remote: https://rubygems.org/
  specs:
    concurrent-ruby (1.1.6)
    et-orbi (1.2.2)
      tzinfo
    fugit (1.5.2)
      et-orbi (~> 1.1, >= 1.1.8)
      raabro (~> 1.4)
    raabro (1.4.0)
    rufus-scheduler (3.8.2)
      fugit (~> 1.1, >= 1.1.6)
    tzinfo (2.0.5)
      concurrent-ruby (~> 1.0)

DEPENDENCIES
  rufus-scheduler
",
        ),
        (
            "clock.rb",
            "require 'bundler/setup'
require 'rufus-scheduler'

$stdout.sync = true
scheduler = Rufus::Scheduler.new
ticks = 0
scheduler.every('1s', overlap: false) { puts \"tick #{ticks += 1}\" }
scheduler.cron('* * * * * * Europe/Vienna') { puts 'cron' }
scheduler.in('2s') { raise 'broken on purpose' }
Signal.trap('TERM') { Thread.new { scheduler.shutdown(:wait); puts 'shut down'; exit } }
scheduler.join
sleep 5
",
        ),
    ] {
        app.write(path, text);
    }
    app.assert_pushed();
    app.cli(&node, &["ps:scale", "clock=1"]).assert_success();
    let log = node.wait_for_log("clock", "app[clock.1]: tick 4");
    assert!(log.contains("app[clock.1]: cron"), "{log}");
    // A job that raises leaves the others.
    assert!(log.contains("broken on purpose"), "{log}");
    app.cli(&node, &["ps:stop", "clock.1"]).assert_success();
    node.wait_for_log("clock", "app[clock.1]: shut down");
}
