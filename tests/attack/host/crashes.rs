//! Clients who know a URL that crashes dynos.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use corundum_test_support::node::{StopOnDrop, TestNode};

const APP: &str = "
    run ->(env) {
      case env['PATH_INFO']
      when '/crash' then exit!(1)
      when '/memory' then x = []; loop { x << 'y' * 20_000_000 }
      else [200, {}, ['ok']]
      end
    }
";

/// Has 12 clients request what `attack` returns for their number and the number of their request, while a visitor
/// requests another page. Returns the attackers' requests.
fn visitor_is_served(attack: impl Fn(u32, u32) -> String + Sync) -> u32 {
    let node = TestNode::start();
    node.deploy("crashing", APP);
    let (stop, sent) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for client in 0..12 {
            let (node, stop, sent, attack) = (&node, &stop, &sent, &attack);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    node.get("crashing", &attack(client, number));
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(4) {
            assert_eq!(node.get("crashing", "/"), (200, "ok".to_owned()));
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    sent.into_inner()
}

#[test]
fn one_crashing_url_leaves_the_app_to_its_visitors() {
    visitor_is_served(|_, _| "/crash".to_owned());
}

#[test]
fn crashing_urls_without_end_leave_the_app_to_its_visitors() {
    // Each request has a route of its own, so no circuit opens.
    let sent = visitor_is_served(|client, number| format!("/crash?{client}-{number}"));
    assert!(sent > 12, "{sent}");
}

#[test]
fn requests_that_take_all_memory_leave_the_app_to_its_visitors() {
    visitor_is_served(|_, _| "/memory".to_owned());
}
