;; Computes in the manner of CryptoNight on a scratchpad of 2 MiB, in steps of 16 bytes. Tables
;; after it stand for AES in software. It is no CryptoNight.
(module
  (memory (export "memory") 33)
  (global $a (mut i64) (i64.const 0x243f6a8885a308d3))
  (global $b (mut i64) (i64.const 0x13198a2e03707344))

  (func $mix (param $x i64) (result i64)
    (i64.xor
      (i64.rotl (local.get $x) (i64.const 29))
      (i64.xor
        (i64.load offset=0x200000 (i32.shl (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 255)) (i32.const 3)))
        (i64.load offset=0x200800 (i32.shl (i32.and (i32.wrap_i64 (i64.shr_u (local.get $x) (i64.const 40))) (i32.const 255)) (i32.const 3))))))

  (func (export "compute") (param $steps i32)
    (local $a i64) (local $b i64) (local $c i64) (local $at i32)
    (local.set $a (global.get $a))
    (local.set $b (global.get $b))
    (loop $next
      (local.set $at (i32.and (i32.wrap_i64 (local.get $a)) (i32.const 0x1ffff0)))
      (local.set $c (call $mix (i64.xor (local.get $a) (i64.load (local.get $at)))))
      (i64.store (local.get $at) (i64.xor (local.get $b) (local.get $c)))
      (i64.store offset=8 (local.get $at) (i64.add (i64.load offset=8 (local.get $at)) (local.get $a)))
      (local.set $at (i32.and (i32.wrap_i64 (local.get $c)) (i32.const 0x1ffff0)))
      (local.set $b (i64.load (local.get $at)))
      (local.set $a (i64.add (local.get $a) (i64.mul (local.get $c) (i64.or (local.get $b) (i64.const 1)))))
      (i64.store (local.get $at) (local.get $a))
      (i64.store offset=8 (local.get $at) (call $mix (local.get $a)))
      (local.set $a (i64.xor (local.get $a) (local.get $b)))
      (local.set $b (local.get $c))
      (local.set $steps (i32.sub (local.get $steps) (i32.const 1)))
      (br_if $next (local.get $steps)))
    (global.set $a (local.get $a))
    (global.set $b (local.get $b))))
