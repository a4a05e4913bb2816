;; A guest that tries what the records on the exchange descriptor say, and answers there with an errno of WASI for each.
;; A record has 64 bytes: a kind and its operand. Kinds 1 and 2 connect a stream or a datagram socket to an address of 20
;; bytes; kind 3 looks a name up, whose length and bytes follow.
(module
  (import "net" "socket" (func $socket (param i32 i32 i32) (result i32)))
  (import "net" "connect" (func $connect (param i32 i32) (result i32)))
  (import "net" "resolve" (func $resolve (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; Buffers: the record at 0, addresses of a name at 512, the answer at 128.
  (data (i32.const 100) "\00\00\00\00\40\00\00\00")
  (data (i32.const 108) "\00\02\00\00\00\02\00\00")
  (data (i32.const 132) "\80\00\00\00\04\00\00\00")

  (func $try_to_connect (result i32)
    (local $errno i32)
    (local.set $errno (call $socket
      (i32.load16_u (i32.const 4)) (i32.load (i32.const 0)) (i32.const 124)))
    (if (local.get $errno) (then (return (local.get $errno))))
    (local.set $errno (call $connect (i32.load (i32.const 124)) (i32.const 4)))
    (drop (call $fd_close (i32.load (i32.const 124))))
    (local.get $errno))

  ;; Waits for a millisecond.
  (func $wait
    (memory.fill (i32.const 192) (i32.const 0) (i32.const 48))
    (i32.store (i32.const 208) (i32.const 1))
    (i64.store (i32.const 216) (i64.const 1000000))
    (drop (call $poll_oneoff (i32.const 192) (i32.const 256) (i32.const 1) (i32.const 300))))

  (func $try_to_look_up (result i32)
    (local $errno i32)
    (local.set $errno (call $resolve
      (i32.const 8) (i32.load (i32.const 4)) (i32.const 124)))
    (if (local.get $errno) (then (return (local.get $errno))))
    (loop $again
      (local.set $errno (call $fd_read
        (i32.load (i32.const 124)) (i32.const 108) (i32.const 1) (i32.const 120)))
      (if (i32.eq (local.get $errno) (i32.const 6))
        (then (call $wait) (br $again))))
    (drop (call $fd_close (i32.load (i32.const 124))))
    (local.get $errno))

  (func (export "dyno_handle") (result i32) (i32.const 0))

  (func (export "dyno_run") (result i32)
    (loop $next
      (drop (call $fd_read (i32.const 1000) (i32.const 100) (i32.const 1) (i32.const 120)))
      (if (i32.ne (i32.load (i32.const 120)) (i32.const 64))
        (then (return (i32.const 0))))
      (i32.store (i32.const 128)
        (if (result i32) (i32.eq (i32.load (i32.const 0)) (i32.const 3))
          (then (call $try_to_look_up))
          (else (call $try_to_connect))))
      (drop (call $fd_write (i32.const 1000) (i32.const 132) (i32.const 1) (i32.const 140)))
      (br $next))
    (i32.const 0)))
