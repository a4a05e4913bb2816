//! Threads of real Ruby in real dynos.

use crate::answer;
use crate::harness::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn threads_wait_for_each_other() {
    let body = answer(
        "seen = []
         queue = Queue.new
         doubled = Thread.new { queue.pop * 2 }
         queue << 21
         seen << doubled.value << doubled.alive? << doubled.status
         sized = SizedQueue.new(1)
         producer = Thread.new { 3.times { |i| sized << i }; sized.close; :produced }
         seen << 3.times.map { sized.pop } << sized.pop << producer.value
         mutex, condition, ready = Mutex.new, ConditionVariable.new, false
         waiter = Thread.new { mutex.synchronize { condition.wait(mutex, 15) until ready; :woken } }
         Thread.pass
         mutex.synchronize { ready = true; condition.signal }
         seen << waiter.value
         require 'monitor'
         lock = Monitor.new
         inner = lock.synchronize { lock.synchronize { Thread.new { lock.try_enter } }.value }
         seen << inner << mutex.try_lock << (Thread.new { mutex.lock }.join(0.05)) << mutex.owned?
         mutex.unlock
         seen << Thread.new { Thread.stop; :again }.tap { |t| Thread.pass until t.stop?; t.run }.value
         seen << Queue.new.pop(timeout: 0.01)",
    )
    .await;
    assert_eq!(
        body,
        "[42, false, false, [0, 1, 2], nil, :produced, :woken, false, true, nil, true, :again, nil]"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_writes_with_a_timeout_let_threads_run() {
    let body = answer(
        "reader, writer = IO.pipe
         reader.timeout = writer.timeout = 0.1
         other = Thread.new { 10.times { sleep 0.001 }; :ran }
         seen = [(reader.read(1) rescue $!.class), other.value]
         other = Thread.new { 10.times { sleep 0.001 }; :ran }
         seen << (writer.write('x' * (1 << 22)) rescue $!.class) << other.value
         late, source = IO.pipe
         late.timeout = 20
         Thread.new { sleep 0.01; source << 'late' }
         seen << late.readpartial(9)
         waiting = Thread.new { late.read(1) rescue $!.message }
         Thread.pass until waiting.stop?
         waiting.raise(IOError, 'ended')
         seen << waiting.value
         late.timeout = nil
         copied, target = IO.pipe
         copy = Thread.new { IO.copy_stream(late, target, 200_000) }
         Thread.new { 2.times { source << 'y' * 100_000 } }
         seen << copied.read(200_000).size << copy.value",
    )
    .await;
    assert_eq!(
        body,
        r#"[IO::TimeoutError, :ran, IO::TimeoutError, :ran, "late", "ended", 200000, 200000]"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sleeping_threads_sleep_at_the_same_time() {
    let body = answer(
        "now = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) }
         started = now.call
         slept = 40.times.map { |i| Thread.new { sleep(0.5); i } }.sum(&:value)
         started += 60 if now.call - started > 15
         [slept, now.call - started < 15, IO.select(nil, nil, nil, 0.01)]",
    )
    .await;
    assert_eq!(body, "[780, true, nil]");
}

#[tokio::test(flavor = "multi_thread")]
async fn computing_threads_take_turns() {
    let body = answer(
        "counts = Array.new(3, 0)
         threads = 3.times.map { |i| Thread.new { loop { counts[i] += 1 } } }
         sleep 0.3
         first = counts.dup
         deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 20
         sleep 0.05 until counts.zip(first).all? { |now, then_| now > then_ } || Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
         threads.each(&:kill).each(&:join)
         [first.all?(&:positive?), counts.zip(first).all? { |now, then_| now > then_ }, threads.map(&:alive?)]",
    )
    .await;
    assert_eq!(body, "[true, true, [false, false, false]]");
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_pass_between_threads() {
    let app = TestApp::boot(
        "run ->(env) {
           seen = []
           failing = Thread.new { Thread.current.report_on_exception = false; raise ArgumentError, 'inside' }
           seen << (failing.join rescue [$!.class, $!.message]) << failing.status
           Thread.new { raise 'reported' }.join rescue seen << $!.message
           raised = Thread.new { begin; sleep; rescue IOError => e; e.message; ensure; seen << :ensured; end }
           Thread.pass until raised.stop?
           raised.raise(IOError, 'from outside')
           seen << raised.value
           computing = Thread.new { begin; loop { }; rescue IOError; :stopped; end }
           Thread.pass
           computing.raise(IOError)
           seen << computing.value
           masked = Thread.new { Thread.handle_interrupt(IOError => :never) { Thread.pass until Thread.pending_interrupt?; :masked } rescue seen << $!.class; :after }
           Thread.pass
           masked.raise(IOError)
           seen << masked.value
           killed = Thread.new { begin; sleep; ensure; seen << :cleaned; end }
           Thread.pass until killed.stop?
           seen << killed.kill.join.alive?
           main = Thread.current
           Thread.new { Thread.current.report_on_exception = false; Thread.current.abort_on_exception = true; raise 'aborts' }
           begin; sleep 10; rescue => e; seen << e.message; end
           seen << (Mutex.new.lock.lock rescue $!.class) << (Thread.new rescue $!.class)
           [200, {}, [seen.inspect]]
         }",
    )
    .await;
    let (_, body) = app.get("/").await.unwrap();
    assert_eq!(
        body,
        r#"[[ArgumentError, "inside"], nil, "reported", :ensured, "from outside", :stopped, IOError, :after, :cleaned, false, "aborts", ThreadError, ThreadError]"#
    );
    let lines = app.log_lines().join("\n");
    assert!(lines.contains("terminated with exception (report_on_exception is true)"));
    assert!(!lines.contains("inside"), "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlocks_are_detected() {
    // MRI counts sleeping threads wrongly after it has found a deadlock, so each has an app of its own.
    for (source, expected) in [
        (
            "Queue.new.pop",
            r#"[fatal, "No live threads left. Deadlock?"]"#,
        ),
        (
            "a, b = Mutex.new, Mutex.new
             first = Thread.new { a.synchronize { Thread.pass; sleep 0.01; b.synchronize { } } }
             second = Thread.new { b.synchronize { Thread.pass; sleep 0.01; a.synchronize { } } }
             [first, second].each(&:join)",
            r#"[fatal, "No live threads left. Deadlock?"]"#,
        ),
        (
            "Thread.new { Thread.current.report_on_exception = false; Thread.main.join }.join",
            r#"[ThreadError, "Target thread must not be main thread"]"#,
        ),
    ] {
        let rescued = format!(
            "begin; {source}; rescue Exception => e; [e.class, e.message.lines.first.chomp]; end"
        );
        assert_eq!(answer(&rescued).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn locals_variables_and_groups_belong_to_their_thread() {
    let body = answer(
        "Thread.current[:local] = 1
         Thread.current.thread_variable_set(:variable, 2)
         group = ThreadGroup.new
         thread = Thread.new { Thread.stop; [Thread.current[:local], Thread.current.thread_variable_get(:variable), Fiber.new { Thread.current.thread_variable_get(:own) }.resume] }
         Thread.pass until thread.stop?
         thread.name = 'worker'; thread[:seen] = 3; thread.thread_variable_set(:own, 4); group.add(thread)
         thread.priority = 2
         [thread.name, thread[:seen], group.list == [thread], thread.priority, Thread.list.size, thread.status, thread.run.value, thread.inspect[/worker/], Thread.list.size, Thread.main == Thread.current]",
    )
    .await;
    assert_eq!(
        body,
        r#"["worker", 3, true, 2, 2, "sleep", [nil, nil, 4], "worker", 1, true]"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fibers_of_several_threads_do_not_mix() {
    let body = answer(
        "threads = 8.times.map { |i| Thread.new {
           numbers = (i * 100..).each
           taken = 50.times.map { Thread.pass if rand < 0.3; numbers.next }
           taken == (i * 100...i * 100 + 50).to_a
         } }
         foreign = Fiber.new { }
         crossing = Thread.new { Thread.current.report_on_exception = false; foreign.resume }
         [threads.map(&:value).uniq, (crossing.value rescue [$!.class, $!.message])]",
    )
    .await;
    assert_eq!(
        body,
        r#"[[true], [FiberError, "fiber called across threads"]]"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_threads_raise_a_thread_error() {
    let body = answer(
        "threads = []
         error = begin; 1_000.times { threads << Thread.new { sleep } }; rescue ThreadError => e; e.message; end
         count = threads.size
         threads.each(&:kill).each(&:join)
         [count, error, 600.times.map { |i| Thread.new { i }.value }.sum]",
    )
    .await;
    assert_eq!(
        body,
        r#"[256, "can't create Thread: Resource temporarily unavailable", 179700]"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn recursion_in_a_thread_raises_system_stack_error() {
    let body = answer(
        "def deep(n) = n + deep(n + 1)
         a = []; 20_000.times { a = [a] }
         def level(n) = n.zero? ? 0 : 1 + level(n - 1)
         [-> { deep(0) }, -> { a.inspect.size }, -> { a.flatten == a.dup }, -> { Marshal.dump(a) }, -> { a == a.map { _1 } }].map { |call|
           Thread.new { begin; call.call; :ok; rescue SystemStackError, ArgumentError; :deep; end }.value
         } << Thread.new { level(3_000) }.value",
    )
    .await;
    assert!(body.starts_with("[:deep, :deep, "), "{body}");
    assert!(body.ends_with(", 3000]"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_finds_objects_that_only_waiting_threads_hold() {
    let body = answer(
        "gate = Queue.new
         threads = 20.times.map { |i|
           Thread.new { text = 'value ' * 3 + i.to_s; list = [text.dup, { text => i }]; gate.pop; [text, list] }
         }
         Thread.pass until threads.all?(&:stop?)
         GC.stress = true
         30.times { 'x' * 100; Thread.pass; [1].map { |n| n.to_s } }
         GC.stress = false
         GC.start
         gate.close
         threads.map(&:value).each_with_index.all? { |(text, list), i|
           expected = 'value ' * 3 + i.to_s
           text == expected && list == [expected, { expected => i }]
         }",
    )
    .await;
    assert_eq!(body, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeout_of_the_standard_library_works() {
    let body = answer(
        "require 'timeout'
         waits = [-> { loop { } }, -> { sleep }, -> { Queue.new.pop }, -> { Thread.new { sleep }.join }, -> { Mutex.new.tap(&:lock).then { |m| Thread.new { m.lock }.join } }, -> { IO.select([], nil, nil, 60) }]
         seen = waits.map { |wait| Timeout.timeout(0.05) { wait.call } rescue $!.class }.uniq
         seen << Thread.new { Timeout.timeout(0.05) { loop { } } rescue $!.message }.value
         seen << Timeout.method(:timeout).source_location[0][%r{lib/ruby/.*/timeout.rb}].nil?",
    )
    .await;
    assert_eq!(body, r#"[Timeout::Error, "execution expired", false]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_of_the_boot_have_ended_in_a_dyno() {
    let app = TestApp::boot(
        "LOCK = Mutex.new
         QUEUE = Queue.new
         HELD = Thread.new { LOCK.lock; sleep }
         POPPING = Thread.new { QUEUE.pop }
         DONE = Thread.new { :value }
         DONE.join
         Thread.pass until HELD.stop? && POPPING.stop?
         require 'timeout'
         Timeout.timeout(5) { }
         run ->(env) {
           seen = [HELD.alive?, HELD.status, HELD.value, DONE.value, Thread.list.size, LOCK.locked?, QUEUE.num_waiting]
           QUEUE << 1
           seen << QUEUE.pop << Thread.new { QUEUE.pop }.tap { QUEUE << 2 }.value
           seen << (Timeout.timeout(0.05) { loop { } } rescue $!.class)
           [200, {}, [seen.inspect]]
         }",
    )
    .await;
    let (_, body) = app.get("/").await.unwrap();
    assert_eq!(
        body,
        "[false, false, nil, :value, 1, false, 0, 1, 2, Timeout::Error]"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn processor_time_grows_only_while_the_dyno_computes() {
    let body = answer(
        "cpu = -> { Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) }
         before = cpu.call
         sleep 1
         slept = cpu.call - before
         started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
         nil while cpu.call - before < 0.05 && Process.clock_gettime(Process::CLOCK_MONOTONIC) - started < 30
         [before >= 0, slept < 0.5, cpu.call - before >= 0.05, Process.times.utime > 0]",
    )
    .await;
    assert_eq!(body, "[true, true, true, true]");
}
