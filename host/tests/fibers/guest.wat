;; A guest that does to its fibers what a script on the exchange descriptor orders. A script is a sequence of three bytes each: an
;; operation, a fiber and an act (see `Operation` and `Act` in main.rs).
(module
  (import "fiber" "create" (func $create (result i32)))
  (import "fiber" "switch" (func $switch (param i32)))
  (import "fiber" "unwind" (func $unwind (param i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (tag $error (param i32))
  (memory (export "memory") 2)
  ;; Act of the fiber that is switched to next.
  (global $act (mut i32) (i32.const 0))
  ;; Fiber that the act refers to.
  (global $target (mut i32) (i32.const 0))
  (global $created (mut i32) (i32.const 0))

  (func $throw_and_catch
    (block $caught (result i32)
      (try_table (catch $error $caught)
        (throw $error (i32.const 1)))
      (i32.const 0))
    (drop))

  ;; Catches everything that the operation throws, also the exception that unwinds a fiber.
  (func $switch_and_catch_all
    (block $caught
      (try_table (catch_all $caught)
        (call $switch (global.get $target)))))

  ;; Recurses `depth` times and then acts.
  (func $recurse (param $depth i32) (param $act i32) (result i32)
    (if (result i32) (i32.eqz (local.get $depth))
      (then (call $do (local.get $act)) (i32.const 0))
      (else (i32.add (i32.const 1)
        (call $recurse (i32.sub (local.get $depth) (i32.const 1)) (local.get $act))))))

  ;; Waits for `nanoseconds`.
  (func $wait (param $nanoseconds i64)
    (memory.fill (i32.const 64) (i32.const 0) (i32.const 48))
    ;; subscription: userdata 8, tag 1 (clock) + padding, clock id 4 + padding, timeout 8, precision 8, flags 2
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (local.get $nanoseconds))
    (drop (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 160))))

  (func $do (param $act i32)
    (block $19 (block $18 (block $17 (block $16 (block $15 (block $14 (block $13 (block $12 (block $11 (block $10
    (block $9 (block $8 (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
      (br_table $0 $1 $2 $3 $4 $5 $6 $7 $8 $9 $10 $11 $12 $13 $14 $15 $16 $17 $18 $19 $0 (local.get $act)))
    (return)) ;; 0: nothing
    (unreachable)) ;; 1
    (drop (call $recurse (i32.const 0x7fffffff) (i32.const 0))) (return)) ;; 2: overflow the stack
    (throw $error (i32.const 7))) ;; 3
    (call $proc_exit (i32.const 3)) (return)) ;; 4
    (call $wait (i64.const 1000000000000)) (return)) ;; 5: wait for a quarter of an hour
    (call $wait (i64.const 100000)) (return)) ;; 6
    (call $throw_and_catch) (return)) ;; 7
    (drop (i32.load (i32.const -4))) (return)) ;; 8
    (call $switch (i32.const 64)) (return)) ;; 9: a fiber that does not exist yet, mostly
    (call $switch (i32.const 65)) (return)) ;; 10: outside of the table
    (call $switch (i32.const -1)) (return)) ;; 11
    (call $unwind (i32.const 0)) (return)) ;; 12
    (call $unwind (global.get $target)) (return)) ;; 13
    (drop (i32.div_u (i32.const 1) (i32.const 0))) (return)) ;; 14
    (loop $forever (br $forever))) ;; 15
    (call $switch (global.get $target)) (return)) ;; 16: from fiber to fiber, or to itself
    (call $switch_and_catch_all) (return)) ;; 17
    (loop $forever (call $throw_and_catch) (br $forever))) ;; 18
    (drop (call $recurse (i32.const 20000) (i32.const 16))) ;; 19: switch with deep frames
  )

  (func (export "fiber_entry") (param $fiber i32)
    (loop $again
      (call $do (global.get $act))
      (call $switch (i32.const 0))
      (br $again)))

  (func (export "dyno_handle") (result i32) (i32.const 0))

  (func (export "dyno_run") (result i32)
    (local $end i32) (local $at i32)
    (local.set $end (i32.const 1024))
    (loop $read
      (i32.store (i32.const 0) (local.get $end))
      (i32.store (i32.const 4) (i32.sub (i32.const 65536) (local.get $end)))
      (if (call $fd_read (i32.const 1000) (i32.const 0) (i32.const 1) (i32.const 8)) (then (return (i32.const 9))))
      (local.set $end (i32.add (local.get $end) (i32.load (i32.const 8))))
      (br_if $read (i32.load (i32.const 8))))
    (local.set $at (i32.const 1024))
    (loop $next
      (if (i32.ge_u (local.get $at) (local.get $end))
        (then (return (global.get $created))))
      (call $perform
        (i32.load8_u (local.get $at))
        (i32.load8_u offset=1 (local.get $at))
        (i32.load8_u offset=2 (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 3)))
      (br $next))
    (unreachable))

  (func $perform (param $operation i32) (param $fiber i32) (param $act i32)
    (local $made i32)
    (global.set $target (local.get $fiber))
    (block $unwinds (block $switches (block $acts (block $creates
      (br_table $creates $acts $switches $unwinds (local.get $operation)))
    (local.set $made (call $create))
    (if (local.get $made) (then (global.set $created (local.get $made))))
    (return))
    (call $do (local.get $act))
    (return))
    (global.set $act (local.get $act))
    (call $switch (local.get $fiber))
    (return))
    (call $unwind (local.get $fiber)))
)
