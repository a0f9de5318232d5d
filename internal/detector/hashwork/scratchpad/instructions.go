package scratchpad

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// features are what a piece of code has. They are found without decoding the instructions,
// so the bytes may be part of others by chance. That is rare enough for the evidence, which
// is from many samples.
type features struct {
	window   uint32 // bytes: 16 more than the first mask of a scratchpad, 0 if there is none
	aes      int    // AES rounds
	aesLines uint8  // the lines of the code in which they end, a bit for each
	wide     bool   // a multiplication of 64 bits by 64 bits with the upper half of the product
	multiply bool   // multiplications of 32 bits by 32 bits in a vector, with products of 64 bits
	argon2   bool   // such a multiplication in a general register, and the rotations by 16 and by 24 bits
}

// A scratchpad has 2^smallest to 2^largest bytes: 128 KiB in cn-pico to 4 MiB in cn-heavy.
const smallest, largest = 17, 22

// fewAES reports whether the code has as many AES rounds as a loop of CryptoNight. Encryption
// has ten or more in a row.
func (f features) fewAES() bool { return f.aes >= 1 && f.aes <= 3 }

func (f *features) addAES(at int) {
	f.aes++
	f.aesLines |= 1 << (at / LineBytes)
}

// loop reports whether the code has what a loop of CryptoNight has but for the mask.
func (f features) loop() bool { return f.wide && f.fewAES() }

func newFeatures(a Arch, code []byte) features {
	code = code[:min(len(code), CodeBytes)]
	if a == ARM64 {
		return arm64Features(code)
	}
	return amd64Features(code)
}

// amd64Features finds the instructions by bytes (Intel, Software Developer's Manual, volume 2).
func amd64Features(code []byte) (f features) {
	f.argon2 = amd64Argon2(code)
	for i, b := range code {
		before := code[:i] // the prefixes
		switch {
		case b == 0x25 || b >= 0xe0 && b <= 0xe7 && ends(before, 0x81): // and eax, imm32; and r, imm32
			if f.window == 0 && i+5 <= len(code) {
				f.window = windowOf(binary.LittleEndian.Uint32(code[i+1:]))
			}
		case b >= 0xdc && b <= 0xdf: // aesenc, aesenclast, aesdec, aesdeclast
			if sse(before, 0x0f, 0x38) || vex(before, 2) {
				f.addAES(i)
			}
		case b == 0xf4: // pmuludq
			f.multiply = f.multiply || sse(before, 0x0f) || vex(before, 1) || evex(before, 1)
		case b == 0xf6: // mulx
			f.wide = f.wide || mulx(before)
		}
		f.wide = f.wide || wideMultiply(before, b)
	}
	return f
}

// amd64Argon2 reports whether code has a multiplication and the rotations of argon2.
func amd64Argon2(code []byte) bool {
	product, rotated := false, rotations(0)
	for i, b := range code {
		product = product || b == 0xaf && product64(code[:i])
		rotated |= rotation(code[:i], b)
	}
	return product && rotated == by16|by24
}

// rotations are those to the right that argon2 has after its multiplications, but those by 32 and
// 63 bits, which are common (RFC 9106, 3.6).
type rotations uint8

const (
	by16 rotations = 1 << iota
	by24
)

func rotationBy(bits uint32) rotations {
	switch bits {
	case 16:
		return by16
	case 24:
		return by24
	}
	return 0
}

// rotation returns the rotation of a 64-bit register if code and by end with one: ror, rol, or
// rorx between registers.
func rotation(code []byte, by byte) rotations {
	n := len(code)
	if n >= 5 && code[n-5] == 0xc4 && code[n-4]&0x1f == 3 && code[n-3] == 0xfb && code[n-2] == 0xf0 && code[n-1] >= 0xc0 {
		return rotationBy(uint32(by))
	}
	if n < 3 || code[n-3]&0xf8 != 0x48 || code[n-2] != 0xc1 {
		return 0
	}
	switch code[n-1] & 0xf8 {
	case 0xc0: // rol
		return rotationBy(64 - uint32(by))
	case 0xc8: // ror
		return rotationBy(uint32(by))
	}
	return 0
}

// product64 reports whether code ends with the prefix and the map of a 64-bit imul of two operands.
func product64(code []byte) bool {
	n := len(code)
	return n >= 2 && code[n-1] == 0x0f && code[n-2]&0xf8 == 0x48
}

// windowOf returns 16 more than a mask if that is the size of a scratchpad, or 0.
func windowOf(mask uint32) uint32 {
	w := mask + 16
	if bits.OnesCount32(w) != 1 || w < 1<<smallest || w > 1<<largest {
		return 0
	}
	return w
}

func ends(code []byte, b ...byte) bool { return bytes.HasSuffix(code, b) }

// sse reports whether code ends with the prefix 66, perhaps REX, and this map of opcodes.
func sse(code []byte, opcodes ...byte) bool {
	if !ends(code, opcodes...) {
		return false
	}
	code = code[:len(code)-len(opcodes)]
	n := len(code)
	return ends(code, 0x66) || n >= 2 && code[n-1]&0xf0 == 0x40 && code[n-2] == 0x66
}

// vex reports whether code ends with a VEX prefix for an opcode in a map with the prefix 66.
// Map 1 is 0F, which also has a prefix of two bytes, and map 2 is 0F 38.
func vex(code []byte, opcodes byte) bool {
	n := len(code)
	if n >= 3 && code[n-3] == 0xc4 && code[n-2]&0x1f == opcodes && code[n-1]&3 == 1 {
		return true
	}
	return opcodes == 1 && n >= 2 && code[n-2] == 0xc5 && code[n-1]&3 == 1
}

// evex is vex for the prefix of AVX-512.
func evex(code []byte, opcodes byte) bool {
	n := len(code)
	return n >= 4 && code[n-4] == 0x62 && code[n-3]&7 == opcodes && code[n-2]&7 == 5
}

// mulx reports whether code ends with the VEX prefix of a 64-bit mulx.
func mulx(code []byte) bool {
	n := len(code)
	return n >= 3 && code[n-3] == 0xc4 && code[n-2]&0x1f == 2 && code[n-1]&0x87 == 0x83
}

// wideMultiply reports whether code and modRM end with a 64-bit mul, or imul of one operand.
func wideMultiply(code []byte, modRM byte) bool {
	n := len(code)
	return n >= 2 && code[n-2]&0xf8 == 0x48 && code[n-1] == 0xf7 && modRM>>3&6 == 4
}

// arm64Features finds the instructions by words (Arm, Architecture Reference Manual, C6 and C7).
// Of AES rounds it counts aese, since a round is the pair aese and aesmc.
func arm64Features(code []byte) (f features) {
	product, rotated := false, rotations(0)
	for i := 0; i+4 <= len(code); i += 4 {
		word := binary.LittleEndian.Uint32(code[i:])
		switch {
		case f.window == 0 && word&0x7f800000 == 0x12000000: // and (immediate)
			f.window = arm64Window(word)
		case word&0xfffffc00 == 0x4e284800: // aese
			f.addAES(i)
		case word&0xffe0fc00 == 0x9bc07c00: // umulh
			f.wide = true
		case word&0xbfe0bc00 == 0x2ea08000: // umlal, umull, umlal2, umull2: v.2d, v.2s or v.4s
			f.multiply = true
		case word&0xffe08000 == 0x9ba00000: // umaddl, umull
			product = true
		case word&0xffe00000 == 0x93c00000 && word>>5&31 == word>>16&31: // ror (immediate)
			rotated |= rotationBy(word >> 10 & 63)
		}
	}
	f.argon2 = product && rotated == by16|by24
	return f
}

// arm64Window returns what windowOf does for the mask of an and. A mask of n ones is rotated
// to the right by immr, in elements of 64 bits if N is set, or of 32 bits.
func arm64Window(word uint32) uint32 {
	is64, n, immr, imms := word>>31, word>>22&1, word>>16&63, word>>10&63
	element, ones := uint32(32)<<is64, imms+1
	if is64 != n || immr%element != element-4 || ones < smallest-4 || ones > largest-4 {
		return 0
	}
	return 1 << (ones + 4)
}
