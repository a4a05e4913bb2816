//! Apps that make the host hold memory for them, on a node in a small control group.

use std::time::{Duration, Instant};

use corundum_test_support::memory_group::MemoryGroup;
use corundum_test_support::node::TestNode;
use corundum_test_support::process::skip;
use corundum_test_support::wait::poll;

/// MiB that idle dynos may keep for a minute: twelve that hold little more than the directories of the test.
const KEPT: u64 = 200;

/// Runs the code in a request's body.
const HOG: &str = "
    run ->(env) {
      body = env['rack.input'].read
      answer = begin
        eval(body, TOPLEVEL_BINDING).to_s
      rescue SystemCallError, NoMemoryError => error
        \"#{error.class}\"
      end
      [200, {}, [answer]]
    }
";

/// Fills `/tmp` and grows, as far as the node allows.
const FILES_AND_GROWTH: &str = "
    got = 0
    begin
      File.open('/tmp/f', 'wb') { |file| part = 'x' * (1 << 20); 63.times { file.write(part); got += 1 } }
      $kept = 'y' * (26 << 20)
      got += 26
    rescue SystemCallError, NoMemoryError
    end
    sleep 1.5
    got
";

/// Opens a deep directory as often as the node allows.
const DEEP_HANDLES: &str = "
    base = '/tmp'
    begin
      9.times do |link|
        path = base
        1000.times { path += '/a'; Dir.mkdir(path) }
        File.symlink(path, \"/tmp/link#{link}\")
        base = \"/tmp/link#{link}\"
      end
    rescue SystemCallError
    end
    $open = []
    begin
      2000.times { $open << Dir.open(base) }
    rescue SystemCallError
    end
    sleep 1.5
    $open.size
";

/// Writes to each page of a large string that was made at boot and belongs to the image.
const PAGES: &str = "
    0.step($shared.bytesize - 1, 4096) { |at| $shared.setbyte(at, 65) }
    sleep 1.5
    $shared.bytesize
";

/// Has `clients` clients at once run `code` in dynos of a hostile app on a node with 4 GiB of memory, while a neighbour
/// has to serve. Returns the most memory that the node took in MiB, and what it holds after the hostile dynos are idle.
fn attack(boot: &str, code: &str, clients: usize) -> Option<(u64, u64)> {
    let Some(group) = MemoryGroup::create(4 << 30) else {
        skip("no control group can be made: run the tests as root");
        return None;
    };
    let node = TestNode::start_in_memory_group(&group);
    node.deploy("hog", &format!("{boot}\n{HOG}"));
    node.deploy("neighbour", "run ->(e) { [200, {}, ['x' * 2_000_000]] }\n");
    let scaled = node.cli(&["ps:scale", &format!("web={clients}"), "--app", "hog"]);
    scaled.assert_success();
    let reserve = |name: &str| {
        let page = node.admin("/metrics").1;
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .unwrap();
        value.parse::<f64>().unwrap() as u64 >> 20
    };
    let mut most = 0;
    std::thread::scope(|scope| {
        let hostile: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..2 {
                        node.raw("hog", "POST /", "", code);
                    }
                })
            })
            .collect();
        let began = Instant::now();
        while hostile.iter().any(|thread| !thread.is_finished()) {
            assert_eq!(node.get("neighbour", "/").0, 200, "the neighbour is served");
            most = most.max(node.memory() >> 10);
            assert!(began.elapsed() < Duration::from_secs(120));
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let total = reserve("corundum_memory_reserve_bytes");
    assert_eq!(total, 2048, "half of the control group's limit");
    // Dynos that hold much are ended when they have been idle for some seconds.
    let given_back = poll(Duration::from_secs(20), || {
        (reserve("corundum_memory_reserve_used_bytes") < KEPT).then_some(())
    });
    let held = reserve("corundum_memory_reserve_used_bytes");
    assert!(given_back.is_some(), "{held} MiB are held for idle dynos");
    assert_eq!(node.get("neighbour", "/").0, 200);
    println!("at most {most} MiB of 4096, and {held} MiB of the reserve after the attack");
    Some((most, held))
}

#[test]
fn files_and_growth_stay_within_the_reserve() {
    attack("", FILES_AND_GROWTH, 28);
}

#[test]
#[ignore = "takes minutes; script/attack runs it"]
fn open_directories_stay_within_the_reserve() {
    attack("", DEEP_HANDLES, 12);
}

#[test]
fn copied_pages_of_a_large_image_stay_within_the_reserve() {
    attack("$shared = 'x' * (100 << 20)", PAGES, 20);
}
