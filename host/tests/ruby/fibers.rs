//! Fibers of real Ruby in real dynos.

use crate::answer;
use crate::harness::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn fibers_exchange_values_and_exceptions() {
    let body = answer(
        "seen = []
         fiber = Fiber.new { |a| b = Fiber.yield(a + 1); seen << b; begin; Fiber.yield(:raise); rescue => e; seen << e.message; end; :done }
         seen << fiber.resume(1) << fiber.resume(:two) << (fiber.raise('inside')) << fiber.alive?
         seen << (fiber.resume rescue $!.message)
         failing = Fiber.new { raise ArgumentError, 'out' }
         seen << (failing.resume rescue [$!.class, $!.message])
         first = second = nil
         first = Fiber.new { second.transfer; :first }
         second = Fiber.new { seen << :second; first.transfer }
         seen << first.transfer
         ensured = Fiber.new { begin; Fiber.yield; ensure; seen << :ensured; end }
         ensured.resume; ensured.resume
         seen << catch(:out) { Fiber.new { throw :out, 1 rescue $!.class }.resume }",
    )
    .await;
    assert_eq!(
        body,
        r#"[2, :two, :raise, "inside", :done, false, "attempt to resume a terminated fiber", [ArgumentError, "out"], :second, :first, :ensured, UncaughtThrowError]"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn external_enumerators_iterate() {
    let body = answer(
        "seen = []
         words = %w[a b].each
         seen << words.next << words.peek << words.next << (words.next rescue $!.class)
         words.rewind; seen << words.next
         seen << [1, 2, 3].each.with_index(1).next << (1..).lazy.map { _1 * 2 }.first(2)
         chars, numbers = 'xyz'.each_char, 1.step
         seen << loop { break chars.next + numbers.next.to_s }
         enumerator = Enumerator.new { |y| r = y.yield(1); y << r }
         enumerator.next; enumerator.feed(:fed); seen << enumerator.next
         seen << [3, 4].each_entry.zip([5, 6].each)
         fib = Enumerator.produce([0, 1]) { |a, b| [b, a + b] }
         seen << 20.times.map { fib.next[0] }.last",
    )
    .await;
    assert_eq!(
        body,
        r#"["a", "b", "b", StopIteration, "a", [1, 1], [2, 4], "x1", :fed, [[3, 5], [4, 6]], 4181]"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fiber_storage_and_locals_belong_to_their_fiber() {
    let body = answer(
        "Thread.current[:local] = 1; Fiber[:stored] = 2
         inner = Fiber.new { [Thread.current[:local], Fiber[:stored], Thread.current.object_id].tap { Fiber[:stored] = 3 } }.resume
         [inner[0], inner[1], inner[2] == Thread.current.object_id, Fiber[:stored], Thread.current[:local]]",
    )
    .await;
    assert_eq!(body, "[nil, 2, true, 2, 1]");
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoned_fibers_return_their_stacks() {
    let body = answer(
        "count = 0
         3_000.times { |i| f = Fiber.new { [i].each { Fiber.yield }; 1 }; f.resume; count += 1; f.resume if i % 3 == 0 }
         1_000.times { [1, 2].each.next; count += 1 }
         count",
    )
    .await;
    assert_eq!(body, "4000");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_fibers_raise_a_fiber_error() {
    let body = answer(
        "fibers = []
         error = begin; 1_000.times { fibers << Fiber.new { Fiber.yield }.tap(&:resume) }; rescue FiberError => e; e.message; end
         size = fibers.size
         fibers.each(&:resume)
         [size, error[0, 27], Fiber.new { :again }.resume]",
    )
    .await;
    assert_eq!(body, r#"[256, "can't create another fiber:", :again]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn recursion_in_a_fiber_raises_system_stack_error() {
    let body = answer(
        "def deep(n) = n + deep(n + 1)
         def mapped(n) = [n].map { |m| mapped(m + 1) }
         a = []; 20_000.times { a = [a] }
         [-> { deep(0) }, -> { mapped(0) }, -> { a.inspect.size }].map { |call|
           Fiber.new { begin; call.call; rescue SystemStackError; :deep; end }.resume
         } << Fiber.new { 1_000.downto(0).inject { |s, n| s + n } }.resume",
    )
    .await;
    assert_eq!(body, "[:deep, :deep, :deep, 500500]");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_finds_objects_that_only_suspended_fibers_hold() {
    let body = answer(
        "fibers = 20.times.map { |i|
           Fiber.new { text = 'value ' * 3 + i.to_s; list = [text.dup, { text => i }]; Fiber.yield; [text, list] }.tap(&:resume)
         }
         GC.stress = true
         30.times { 'x' * 100; [1].map { |n| n.to_s } }
         GC.stress = false
         GC.start
         fibers.map(&:resume).each_with_index.all? { |(text, list), i|
           expected = 'value ' * 3 + i.to_s
           text == expected && list == [expected, { expected => i }]
         }",
    )
    .await;
    assert_eq!(body, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn fibers_of_the_boot_are_terminated_and_say_so() {
    let app = TestApp::boot(
        "F = Fiber.new { Fiber.yield 1; 2 }; F.resume
         E = [1, 2].each; E.next
         UNBORN = Fiber.new { :born }
         run ->(env) {
           seen = [F.alive?, (F.resume rescue $!.message), (E.next rescue $!.message), E.tap(&:rewind).next, UNBORN.resume]
           [200, {}, [seen.inspect]]
         }",
    )
    .await;
    let (_, text) = app.get("/").await.unwrap();
    assert_eq!(
        text,
        r#"[false, "this fiber was suspended when the app's memory was saved: create it in a request instead of at boot", "this enumerator was in use when the app's memory was saved: call rewind before next", 1, :born]"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fiber_that_computes_is_interrupted_by_a_timeout() {
    let body = answer(
        "require 'timeout'
         ping = pong = nil
         ping = Fiber.new { loop { pong.transfer } }
         pong = Fiber.new { loop { ping.transfer } }
         [Fiber.new { Timeout.timeout(0.1) { loop { } } rescue $!.class }.resume, (Timeout.timeout(0.1) { ping.transfer } rescue $!.class)]",
    )
    .await;
    assert!(body.starts_with("[Timeout::Error"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fibers_survive_from_request_to_request() {
    let app = TestApp::boot(
        "COUNTER = []
         run ->(env) { COUNTER << Fiber.new { loop { Fiber.yield(Fiber[:n] = Fiber[:n].to_i + 1) } } if COUNTER.empty?
           [200, {}, [COUNTER[0].resume.to_s]] }",
    )
    .await;
    for expected in ["1", "2", "3"] {
        assert_eq!(app.get("/").await.unwrap().1, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fiber_scheduler_runs_waiting_fibers_at_the_same_time() {
    let body = answer(
        "scheduler = Class.new {
           def initialize = (@waiting = {}; @ready = [])
           def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
           def fiber(&block) = Fiber.new(blocking: false, &block).tap(&:resume)
           def kernel_sleep(seconds = nil) = block(:sleep, seconds)
           def block(_blocker, timeout = nil) = (@waiting[Fiber.current] = timeout ? now + timeout : Float::INFINITY; Fiber.yield; true)
           def unblock(_blocker, fiber) = (@waiting[fiber] = 0 if @waiting.key?(fiber))
           def io_wait(io, events, timeout) = events
           def fiber_interrupt(fiber, exception) = nil
           def close
             until @waiting.empty?
               fiber, at = @waiting.min_by { |_, at| at }
               wait = at - now
               Fiber.blocking { sleep(wait) } if wait > 0
               @waiting.delete(fiber)
               fiber.resume
             end
           end
         }.new
         seen = []
         started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
         Thread.new {
           Fiber.set_scheduler(scheduler)
           queue = Queue.new
           Fiber.schedule { sleep 0.2; seen << :second; queue << :pushed }
           Fiber.schedule { sleep 0.1; seen << :first; sleep 0.3; seen << :last }
           Fiber.schedule { seen << queue.pop }
           seen << :scheduled
         }.join
         seen << (Process.clock_gettime(Process::CLOCK_MONOTONIC) - started < 20)",
    )
    .await;
    assert_eq!(body, "[:scheduled, :first, :second, :pushed, :last, true]");
}
