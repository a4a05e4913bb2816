;; Native stacks for the fibers of a guest.
;;
;; This is the only module that may contain instructions of the stack switching proposal; the host rejects a guest that
;; has any. The guest knows continuations by their slots, 1 to 256. Slot 0 is the stack on which the host called the guest.
;;
;; A continuation runs one fiber after another: a fiber that ends suspends its continuation, which the next fiber
;; resumes. `create` is therefore the only place that makes a continuation, and it bounds their number.
;;
;; Slot 0 is the parent of all continuations. A fiber that switches to another one suspends to slot 0, whose loop resumes
;; the target, so continuations never nest.
(module
  (type $body (func))
  (type $continuation (cont $body))
  (type $entry (func (param i32)))
  (import "corundum" "clock" (memory 1 1 shared))
  (import "corundum" "tick" (func $tick (result i32)))
  ;; Reserves one more native stack; returns 0 if the dyno or the node may have no more.
  (import "corundum" "reserve_stack" (func $reserve_stack (result i32)))
  ;; Tells the host where the stack is on which this is called.
  (import "corundum" "stack_started" (func $stack_started))
  ;; The guest's function that runs a fiber, given its slot. The host sets it before any guest code runs.
  (global $entry (export "entry") (mut (ref null $entry)) (ref.null $entry))
  ;; Suspended continuations by slot; null for the running one and for slots that do not exist yet.
  (table $suspended 9 257 (ref null $continuation))
  (global $created (mut i32) (i32.const 0))
  (global $current (mut i32) (i32.const 0))
  ;; 1 while the next continuation to resume must unwind; `$return_to` is the slot to switch to afterwards.
  (global $unwinding (mut i32) (i32.const 0))
  (global $return_to (mut i32) (i32.const 0))
  ;; The clock of time slices when it was last compared.
  (global $seen (mut i32) (i32.const 0))
  ;; Suspends to slot 0 with the slot to resume next.
  (tag $switch_to (param i32))
  ;; Unwinds the frames of a fiber.
  (tag $unwind)
  (elem declare func $run)

  ;; The body of every continuation: runs fibers until the dyno ends.
  (func $run
    (call $stack_started)
    (loop $next_fiber
      (block $unwound
        (if (global.get $unwinding)
          (then
            (global.set $unwinding (i32.const 0))
            (br $unwound)))
        (try_table (catch $unwind $unwound)
          (call_ref $entry (global.get $current) (global.get $entry))))
      (suspend $switch_to (global.get $return_to))
      (br $next_fiber)))

  ;; Creates a continuation and returns its slot, or 0 if there can be no more.
  (func (export "create") (result i32)
    (if (i32.ge_u (global.get $created) (i32.const 256))
      (then (return (i32.const 0))))
    (if (i32.eq (i32.add (global.get $created) (i32.const 1)) (table.size $suspended))
      (then (if (i32.eq (table.grow $suspended (ref.null $continuation) (i32.const 8)) (i32.const -1))
        (then (return (i32.const 0))))))
    (if (i32.eqz (call $reserve_stack))
      (then (return (i32.const 0))))
    (global.set $created (i32.add (global.get $created) (i32.const 1)))
    (table.set $suspended (global.get $created) (cont.new $continuation (ref.func $run)))
    (global.get $created))

  ;; Suspends the current stack and resumes `to`. Returns when another stack switches back.
  (func $switch (export "switch") (param $to i32)
    (local $continuation (ref null $continuation))
    (if (global.get $current)
      (then
        (suspend $switch_to (local.get $to))
        (if (global.get $unwinding)
          (then
            (global.set $unwinding (i32.const 0))
            (throw $unwind)))
        (return)))
    (loop $resume
      ;; Fibers that only switch to each other run no loop of their own, so this one compares the clock.
      (if (i32.ne (i32.atomic.load (i32.const 0)) (global.get $seen))
        (then (global.set $seen (call $tick))))
      (if (i32.eqz (local.get $to))
        (then (return)))
      (local.set $continuation (table.get $suspended (local.get $to)))
      (table.set $suspended (local.get $to) (ref.null $continuation))
      (global.set $current (local.get $to))
      (block $switched (result i32 (ref $continuation))
        (resume $continuation (on $switch_to $switched) (local.get $continuation))
        ;; `$run` never returns.
        (unreachable))
      (local.set $continuation)
      (local.set $to)
      (table.set $suspended (global.get $current) (local.get $continuation))
      (global.set $current (i32.const 0))
      (br $resume)))

  ;; Unwinds the fiber that is suspended in `slot`, and returns.
  (func (export "unwind") (param $slot i32)
    (if (i32.or
          (i32.eqz (local.get $slot))
          (i32.eq (local.get $slot) (global.get $current)))
      (then (unreachable)))
    (global.set $return_to (global.get $current))
    (global.set $unwinding (i32.const 1))
    (call $switch (local.get $slot)))
)
