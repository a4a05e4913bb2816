;; Implements the dyno ABI with the exports of an npm build of MRI.
;;
;; The build is the core module of a component. Strings are passed as (pointer, length) in memory from cabi_realloc; they
;; end in a NUL, which the length includes. Tuples are returned as a pointer to a static area, which the next call
;; overwrites. Handles are plain VALUEs, because the stubs (sdk/pack/src/ruby/npm.rs) map each handle to itself.
(module
  (import "image" "memory" (memory 1))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "code" "_initialize" (func $initialize))
  (import "code" "cabi_realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
  (import "code" "ruby-init: func(args: list<string>) -> ()" (func $ruby_init (param i32 i32)))
  (import "code" "ruby-init-loadpath: func() -> ()" (func $loadpath))
  (import "code" "rb-eval-string-protect: func(str: string) -> tuple<handle<rb-abi-value>, s32>"
    (func $eval (param i32 i32) (result i32)))
  (import "code" "rb-funcallv-protect: func(recv: handle<rb-abi-value>, mid: u32, args: list<handle<rb-abi-value>>) -> tuple<handle<rb-abi-value>, s32>"
    (func $funcall (param i32 i32 i32 i32) (result i32)))
  (import "code" "rb-intern: func(name: string) -> u32" (func $intern (param i32 i32) (result i32)))
  (import "code" "rb-errinfo: func() -> handle<rb-abi-value>" (func $errinfo (result i32)))
  (import "code" "rstring-ptr: func(value: handle<rb-abi-value>) -> string"
    (func $rstring (param i32) (result i32)))

  ;; State in the image: the Dyno module and the names of its methods.
  (global $dyno (mut i32) (i32.const 0))
  (global $boot (mut i32) (i32.const 0))
  (global $restore (mut i32) (i32.const 0))
  (global $handle (mut i32) (i32.const 0))
  (global $run (mut i32) (i32.const 0))

  (data $arguments "ruby.wasm\00-EUTF-8\00-W1\00-e_=0\00")
  (data $source "require '/usr/lib/corundum/dyno'; Dyno\00")
  (data $name_boot "boot\00")
  (data $name_restore "restore\00")
  (data $name_handle "handle\00")
  (data $name_run "run\00")
  (data $name_message "full_message\00")

  ;; The builds contain a file system of their own, which knows no descriptors but the standard streams and its files.
  (func (export "dyno_standard_streams"))

  ;; Writes `length` bytes at `text` to descriptor 2, and a newline.
  (func $log (param $text i32) (param $length i32)
    (local $vector i32)
    (local.set $vector (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 16)))
    (i32.store (local.get $vector) (local.get $text))
    (i32.store offset=4 (local.get $vector) (local.get $length))
    (drop (call $fd_write (i32.const 2) (local.get $vector) (i32.const 1)
      (i32.add (local.get $vector) (i32.const 8))))
    (i32.store8 offset=12 (local.get $vector) (i32.const 10))
    (i32.store (local.get $vector) (i32.add (local.get $vector) (i32.const 12)))
    (i32.store offset=4 (local.get $vector) (i32.const 1))
    (drop (call $fd_write (i32.const 2) (local.get $vector) (i32.const 1)
      (i32.add (local.get $vector) (i32.const 8)))))

  ;; Writes the pending exception's message to the log.
  (func $log_exception
    (local $text i32) (local $name i32) (local $exception i32)
    (local.set $exception (call $errinfo))
    (local.set $name (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 13)))
    (memory.init $name_message (local.get $name) (i32.const 0) (i32.const 13))
    (local.set $text (call $funcall (local.get $exception)
      (call $intern (local.get $name) (i32.const 13)) (i32.const 0) (i32.const 0)))
    (if (i32.eqz (i32.load offset=4 (local.get $text)))
      (then
        (local.set $text (call $rstring (i32.load (local.get $text))))
        (call $log (i32.load (local.get $text)) (i32.load offset=4 (local.get $text))))))

  (func (export "_initialize")
    (local $text i32) (local $list i32) (local $result i32)
    (call $initialize)
    (local.set $text (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 28)))
    (memory.init $arguments (local.get $text) (i32.const 0) (i32.const 28))
    (local.set $list (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 32)))
    (i32.store (local.get $list) (local.get $text))
    (i32.store offset=4 (local.get $list) (i32.const 10))
    (i32.store offset=8 (local.get $list) (i32.add (local.get $text) (i32.const 10)))
    (i32.store offset=12 (local.get $list) (i32.const 8))
    (i32.store offset=16 (local.get $list) (i32.add (local.get $text) (i32.const 18)))
    (i32.store offset=20 (local.get $list) (i32.const 4))
    (i32.store offset=24 (local.get $list) (i32.add (local.get $text) (i32.const 22)))
    (i32.store offset=28 (local.get $list) (i32.const 6))
    (call $ruby_init (local.get $list) (i32.const 4))
    (call $loadpath)
    (local.set $text (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 39)))
    (memory.init $source (local.get $text) (i32.const 0) (i32.const 39))
    (local.set $result (call $eval (local.get $text) (i32.const 39)))
    (global.set $dyno (i32.load (local.get $result)))
    (if (i32.load offset=4 (local.get $result))
      (then (call $log_exception) (unreachable)))
    (local.set $text (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32)))
    (memory.init $name_boot (local.get $text) (i32.const 0) (i32.const 5))
    (global.set $boot (call $intern (local.get $text) (i32.const 5)))
    (memory.init $name_restore (local.get $text) (i32.const 0) (i32.const 8))
    (global.set $restore (call $intern (local.get $text) (i32.const 8)))
    (memory.init $name_handle (local.get $text) (i32.const 0) (i32.const 7))
    (global.set $handle (call $intern (local.get $text) (i32.const 7)))
    (memory.init $name_run (local.get $text) (i32.const 0) (i32.const 4))
    (global.set $run (call $intern (local.get $text) (i32.const 4))))

  ;; Calls a method of Dyno without arguments. The result is a small Integer n, whose VALUE is 2n + 1.
  (func $call (param $method i32) (result i32)
    (local $result i32)
    (local.set $result
      (call $funcall (global.get $dyno) (local.get $method) (i32.const 0) (i32.const 0)))
    (if (i32.load offset=4 (local.get $result))
      (then (call $log_exception) (return (i32.const 70))))
    (i32.shr_s (i32.load (local.get $result)) (i32.const 1)))

  ;; Fills malloc's free blocks, from large to small, so that the allocations of requests lie together at the heap's end.
  ;; A request that allocated in free blocks all over the heap would make each of their pages private to the dyno. The
  ;; address of a block that is larger than any free one marks the heap's end. cabi_realloc cannot free a block, but it
  ;; can shrink one.
  (func $fill_free_blocks
    (local $end i32) (local $block i32) (local $size i32) (local $left i32)
    (local.set $end (call $realloc (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 1048576)))
    (drop (call $realloc (local.get $end) (i32.const 1048576) (i32.const 16) (i32.const 8)))
    (local.set $size (i32.const 262144))
    (local.set $left (i32.const 1000000))
    (loop $sizes
      (loop $blocks
        (local.set $block
          (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (local.get $size)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $blocks (i32.and
          (i32.lt_u (local.get $block) (local.get $end))
          (i32.gt_s (local.get $left) (i32.const 0)))))
      (drop (call $realloc (local.get $block) (local.get $size) (i32.const 8) (i32.const 8)))
      (local.set $size (i32.shr_u (i32.mul (local.get $size) (i32.const 3)) (i32.const 2)))
      (br_if $sizes (i32.gt_u (local.get $size) (i32.const 8)))))

  (func (export "dyno_boot") (result i32)
    (local $status i32)
    (local.set $status (call $call (global.get $boot)))
    (if (i32.eqz (local.get $status)) (then (call $fill_free_blocks)))
    (local.get $status))
  (func (export "dyno_restore") (result i32) (call $call (global.get $restore)))
  (func (export "dyno_handle") (result i32) (call $call (global.get $handle)))
  (func (export "dyno_run") (result i32) (call $call (global.get $run))))
