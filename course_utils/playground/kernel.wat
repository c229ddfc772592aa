;; The one product that the engine computes, with SIMD: C += A Bᵀ, all row after row in one memory.
;;
;; add_product(c, a, b, rows, inner, columns): C [rows, columns], A [rows, inner], B [columns, inner]. c, a
;; and b are addresses in bytes; inner is a multiple of 4, columns of 2. Two rows of B meet four rows of A at
;; a time, so that every number that is fetched is used several times; the rows left over come one by one.
;;
;; To assemble it anew:
;;   npx --yes --package=wabt@1.0.37 wat2wasm kernel.wat -o kernel.wasm
(module
  (import "engine" "memory" (memory 1))

  (func $sum (param $v v128) (result f32)
    (f32.add
      (f32.add (f32x4.extract_lane 0 (local.get $v)) (f32x4.extract_lane 1 (local.get $v)))
      (f32.add (f32x4.extract_lane 2 (local.get $v)) (f32x4.extract_lane 3 (local.get $v)))))

  (func $add_at (param $at i32) (param $v v128)
    (f32.store (local.get $at) (f32.add (f32.load (local.get $at)) (call $sum (local.get $v)))))

  (func (export "add_product")
    (param $c i32) (param $a i32) (param $b i32) (param $rows i32) (param $inner i32) (param $columns i32)
    (local $bytes i32)  ;; of a row of A or B
    (local $step i32)   ;; bytes of a row of C
    (local $column i32) (local $row i32) (local $at i32) (local $end i32)
    (local $x i32) (local $y i32) (local $out i32)
    (local $b0 v128) (local $b1 v128) (local $ak v128)
    (local $s00 v128) (local $s01 v128) (local $s10 v128) (local $s11 v128)
    (local $s20 v128) (local $s21 v128) (local $s30 v128) (local $s31 v128)
    (local.set $bytes (i32.shl (local.get $inner) (i32.const 2)))
    (local.set $step (i32.shl (local.get $columns) (i32.const 2)))
    (block $done
      (loop $next_columns
        (br_if $done (i32.ge_u (local.get $column) (local.get $columns)))
        (local.set $row (i32.const 0))
        (local.set $at (local.get $a))
        (local.set $out (i32.add (local.get $c) (i32.shl (local.get $column) (i32.const 2))))

        (block $no_four
          (loop $next_four
            (br_if $no_four (i32.gt_u (i32.add (local.get $row) (i32.const 4)) (local.get $rows)))
            (local.set $s00 (v128.const i32x4 0 0 0 0)) (local.set $s01 (v128.const i32x4 0 0 0 0))
            (local.set $s10 (v128.const i32x4 0 0 0 0)) (local.set $s11 (v128.const i32x4 0 0 0 0))
            (local.set $s20 (v128.const i32x4 0 0 0 0)) (local.set $s21 (v128.const i32x4 0 0 0 0))
            (local.set $s30 (v128.const i32x4 0 0 0 0)) (local.set $s31 (v128.const i32x4 0 0 0 0))
            (local.set $x (local.get $at))
            (local.set $y (local.get $b))
            (local.set $end (i32.add (local.get $b) (local.get $bytes)))
            (loop $next_k
              (local.set $b0 (v128.load (local.get $y)))
              (local.set $b1 (v128.load (i32.add (local.get $y) (local.get $bytes))))
              (local.set $ak (v128.load (local.get $x)))
              (local.set $s00 (f32x4.add (local.get $s00) (f32x4.mul (local.get $ak) (local.get $b0))))
              (local.set $s01 (f32x4.add (local.get $s01) (f32x4.mul (local.get $ak) (local.get $b1))))
              (local.set $ak (v128.load (i32.add (local.get $x) (local.get $bytes))))
              (local.set $s10 (f32x4.add (local.get $s10) (f32x4.mul (local.get $ak) (local.get $b0))))
              (local.set $s11 (f32x4.add (local.get $s11) (f32x4.mul (local.get $ak) (local.get $b1))))
              (local.set $ak (v128.load (i32.add (local.get $x) (i32.shl (local.get $bytes) (i32.const 1)))))
              (local.set $s20 (f32x4.add (local.get $s20) (f32x4.mul (local.get $ak) (local.get $b0))))
              (local.set $s21 (f32x4.add (local.get $s21) (f32x4.mul (local.get $ak) (local.get $b1))))
              (local.set $ak (v128.load (i32.add (local.get $x) (i32.mul (local.get $bytes) (i32.const 3)))))
              (local.set $s30 (f32x4.add (local.get $s30) (f32x4.mul (local.get $ak) (local.get $b0))))
              (local.set $s31 (f32x4.add (local.get $s31) (f32x4.mul (local.get $ak) (local.get $b1))))
              (local.set $x (i32.add (local.get $x) (i32.const 16)))
              (local.set $y (i32.add (local.get $y) (i32.const 16)))
              (br_if $next_k (i32.lt_u (local.get $y) (local.get $end))))
            (call $add_at (local.get $out) (local.get $s00))
            (call $add_at (i32.add (local.get $out) (i32.const 4)) (local.get $s01))
            (local.set $out (i32.add (local.get $out) (local.get $step)))
            (call $add_at (local.get $out) (local.get $s10))
            (call $add_at (i32.add (local.get $out) (i32.const 4)) (local.get $s11))
            (local.set $out (i32.add (local.get $out) (local.get $step)))
            (call $add_at (local.get $out) (local.get $s20))
            (call $add_at (i32.add (local.get $out) (i32.const 4)) (local.get $s21))
            (local.set $out (i32.add (local.get $out) (local.get $step)))
            (call $add_at (local.get $out) (local.get $s30))
            (call $add_at (i32.add (local.get $out) (i32.const 4)) (local.get $s31))
            (local.set $out (i32.add (local.get $out) (local.get $step)))
            (local.set $row (i32.add (local.get $row) (i32.const 4)))
            (local.set $at (i32.add (local.get $at) (i32.shl (local.get $bytes) (i32.const 2))))
            (br $next_four)))

        (block $no_one
          (loop $next_one
            (br_if $no_one (i32.ge_u (local.get $row) (local.get $rows)))
            (local.set $s00 (v128.const i32x4 0 0 0 0)) (local.set $s01 (v128.const i32x4 0 0 0 0))
            (local.set $x (local.get $at))
            (local.set $y (local.get $b))
            (local.set $end (i32.add (local.get $b) (local.get $bytes)))
            (loop $next_k
              (local.set $ak (v128.load (local.get $x)))
              (local.set $s00 (f32x4.add (local.get $s00)
                (f32x4.mul (local.get $ak) (v128.load (local.get $y)))))
              (local.set $s01 (f32x4.add (local.get $s01)
                (f32x4.mul (local.get $ak) (v128.load (i32.add (local.get $y) (local.get $bytes))))))
              (local.set $x (i32.add (local.get $x) (i32.const 16)))
              (local.set $y (i32.add (local.get $y) (i32.const 16)))
              (br_if $next_k (i32.lt_u (local.get $y) (local.get $end))))
            (call $add_at (local.get $out) (local.get $s00))
            (call $add_at (i32.add (local.get $out) (i32.const 4)) (local.get $s01))
            (local.set $out (i32.add (local.get $out) (local.get $step)))
            (local.set $row (i32.add (local.get $row) (i32.const 1)))
            (local.set $at (local.get $x))
            (br $next_one)))

        (local.set $column (i32.add (local.get $column) (i32.const 2)))
        (local.set $b (i32.add (local.get $b) (i32.shl (local.get $bytes) (i32.const 1))))
        (br $next_columns)))))
