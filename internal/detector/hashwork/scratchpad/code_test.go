package scratchpad

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// The bytes are those of GNU as.
func TestInstructionsAreFound(t *testing.T) {
	for _, c := range []struct {
		arch  Arch
		bytes string
		text  string
		want  features
	}{
		{AMD64, "25f0ff1f00", "and eax,0x1ffff0", features{window: 1 << 21}},
		{AMD64, "4825f0ff1f00", "and rax,0x1ffff0", features{window: 1 << 21}},
		{AMD64, "81e7f0ff3f00", "and edi,0x3ffff0", features{window: 1 << 22}},
		{AMD64, "4181e3f0ff0100", "and r11d,0x1fff0", features{window: 1 << 17}},
		{AMD64, "4981e7f0ff0700", "and r15,0x7fff0", features{window: 1 << 19}},
		{AMD64, "25f0ff030025f0ff1f00", "the first of two", features{window: 1 << 18}},
		{AMD64, "25f8ff1f00", "and eax,0x1ffff8", features{}},
		{AMD64, "25f0ff0000", "and eax,0xfff0", features{}},
		{AMD64, "25f0ff7f00", "and eax,0x7ffff0", features{}},
		{AMD64, "25f0ffffff", "and eax,0xfffffff0", features{}},
		{AMD64, "25f0ef1f00", "and eax,0x1feff0", features{}},
		{AMD64, "a9f0ff1f00", "test eax,0x1ffff0", features{}},
		{AMD64, "81c9f0ff1f00", "or ecx,0x1ffff0", features{}},
		{AMD64, "8127f0ff1f00", "and dword ptr [rdi],0x1ffff0", features{}},
		{AMD64, "660f38dcca", "aesenc xmm1,xmm2", features{aes: 1, aesLines: 1}},
		{AMD64, "66440f38ddca", "aesenclast xmm9,xmm2", features{aes: 1, aesLines: 1}},
		{AMD64, "660f38de4f08", "aesdec xmm1,[rdi+8]", features{aes: 1, aesLines: 1}},
		{AMD64, "66410f38dfcc", "aesdeclast xmm1,xmm12", features{aes: 1, aesLines: 1}},
		{AMD64, "c4e269dccb", "vaesenc xmm1,xmm2,xmm3", features{aes: 1, aesLines: 1}},
		{AMD64, "c44219dccd", "vaesenc xmm9,xmm12,xmm13", features{aes: 1, aesLines: 1}},
		{AMD64, "c4e26ddecb", "vaesdec ymm1,ymm2,ymm3", features{aes: 1, aesLines: 1}},
		{AMD64, "c4e268dccb", "the opcode of vaesenc without the prefix 66", features{}},
		{AMD64, "c5f4f4c2", "the opcode of vpmuludq without the prefix 66", features{}},
		{AMD64, "660f38dbca", "aesimc xmm1,xmm2", features{}},
		{AMD64, "660f3adfca01", "aeskeygenassist xmm1,xmm2,1", features{}},
		{AMD64, "48f7e6", "mul rsi", features{wide: true}},
		{AMD64, "49f7e1", "mul r9", features{wide: true}},
		{AMD64, "48f76708", "mul qword ptr [rdi+8]", features{wide: true}},
		{AMD64, "49f7ea", "imul r10", features{wide: true}},
		{AMD64, "c4e2f3f6c6", "mulx rax,rcx,rsi", features{wide: true}},
		{AMD64, "c462b3f607", "mulx r8,r9,[rdi]", features{wide: true}},
		{AMD64, "f7e6", "mul esi", features{}},
		{AMD64, "c4e273f6c6", "mulx eax,ecx,esi", features{}},
		{AMD64, "48f7f6", "div rsi", features{}},
		{AMD64, "48f7d8", "neg rax", features{}},
		{AMD64, "480fafc2", "imul rax,rdx", features{}},
		{AMD64, "660ff4ca", "pmuludq xmm1,xmm2", features{multiply: true}},
		{AMD64, "66450ff4cc", "pmuludq xmm9,xmm12", features{multiply: true}},
		{AMD64, "c5f5f4c2", "vpmuludq ymm0,ymm1,ymm2", features{multiply: true}},
		{AMD64, "c44135f4c2", "vpmuludq ymm8,ymm9,ymm10", features{multiply: true}},
		{AMD64, "62f1f548f4c2", "vpmuludq zmm0,zmm1,zmm2", features{multiply: true}},
		{AMD64, "62e1e540f417", "vpmuludq zmm18,zmm19,[rdi]", features{multiply: true}},
		{AMD64, "c4e27528c2", "vpmuldq ymm0,ymm1,ymm2", features{}},
		{AMD64, "480fafc248c1c91849c1c910", "imul rax,rdx; ror rcx,24; ror r9,16", features{argon2: true}},
		{AMD64, "48c1c2284d0fafcf49c1c230", "rol rdx,40; imul r9,r15; rol r10,48", features{argon2: true}},
		{AMD64, "c4e3fbf0c3184c0faf0ec443fbf0cf10", "rorx rax,rbx,24; imul r9,[rsi]; rorx r9,r15,16", features{argon2: true}},
		{AMD64, "48c1c91849c1c910", "blake2b, without imul", features{}},
		{AMD64, "480fafc248c1c91848c1c918", "imul rax,rdx; ror rcx,24; ror rcx,24", features{}},
		{AMD64, "480fafc248c1c91048c1c920", "imul rax,rdx; ror rcx,16; ror rcx,32", features{}},
		{AMD64, "480fafc248c1c918c1c910", "imul rax,rdx; ror rcx,24; ror ecx,16", features{}},
		{AMD64, "0fafc248c1c91849c1c910", "imul eax,edx; ror rcx,24; ror r9,16", features{}},
		{AMD64, "486bc21848c1c91849c1c910", "imul rax,rdx,24; ror rcx,24; ror r9,16", features{}},
		{AMD64, "480fafc248c1d91849c1c910", "imul rax,rdx; rcr rcx,24; ror r9,16", features{}},
		{AMD64, "480fafc2c4e3fbf00e1849c1c910", "imul rax,rdx; rorx rcx,[rsi],24; ror r9,16", features{}},
		{ARM64, "41407c92", "and x1,x2,#0x1ffff0", features{window: 1 << 21}},
		{ARM64, "41441c12", "and w1,w2,#0x3ffff0", features{window: 1 << 22}},
		{ARM64, "00307c92", "and x0,x0,#0x1fff0", features{window: 1 << 17}},
		{ARM64, "00407cf2", "ands x0,x0,#0x1ffff0", features{}},
		{ARM64, "41447d92", "and x1,x2,#0x1ffff8", features{}},
		{ARM64, "412c7c92", "and x1,x2,#0xfff0", features{}},
		{ARM64, "41487c92", "and x1,x2,#0x7ffff0", features{}},
		{ARM64, "41407cb2", "orr x1,x2,#0x1ffff0", features{}},
		{ARM64, "2048284e0068284e", "aese; aesmc", features{aes: 1, aesLines: 1}},
		{ARM64, "207cc29b", "umulh x0,x1,x2", features{wide: true}},
		{ARM64, "207c029b", "mul x0,x1,x2", features{}},
		{ARM64, "2080a22e", "umlal v0.2d,v1.2s,v2.2s", features{multiply: true}},
		{ARM64, "20c0a22e", "umull v0.2d,v1.2s,v2.2s", features{multiply: true}},
		{ARM64, "2080a26e", "umlal2 v0.2d,v1.4s,v2.4s", features{multiply: true}},
		{ARM64, "20c0a26e", "umull2 v0.2d,v1.4s,v2.4s", features{multiply: true}},
		{ARM64, "20c0622e", "umull v0.4s,v1.4h,v2.4h", features{}},
		{ARM64, "20c0a20e", "smull v0.2d,v1.2s,v2.2s", features{}},
		{ARM64, "20a0a22e", "umlsl v0.2d,v1.2s,v2.2s", features{}},
		{ARM64, "207ca29b4160c2934140c293", "umull x0,w1,w2; ror x1,x2,#24; ror x1,x2,#16", features{argon2: true}},
		{ARM64, "4140c293200ca29b4160c293", "ror x1,x2,#16; umaddl x0,w1,w2,x3; ror x1,x2,#24", features{argon2: true}},
		{ARM64, "4160c2934140c293", "blake2b, without a multiplication", features{}},
		{ARM64, "207ca29b4160c2934160c293", "umull x0,w1,w2; ror x1,x2,#24, twice", features{}},
		{ARM64, "207ca29b4160c29341408213", "umull x0,w1,w2; ror x1,x2,#24; ror w1,w2,#16", features{}},
		{ARM64, "207ca29b4160c2934140c393", "umull x0,w1,w2; ror x1,x2,#24; extr x1,x2,x3,#16", features{}},
		{ARM64, "208ca29b4160c2934140c293", "umsubl x0,w1,w2,x3; ror x1,x2,#24; ror x1,x2,#16", features{}},
		{ARM64, "207c229b4160c2934140c293", "smull x0,w1,w2; ror x1,x2,#24; ror x1,x2,#16", features{}},
		{ARM64, "0041407c92", "not at a multiple of four", features{}},
	} {
		code, err := hex.DecodeString(c.bytes)
		if err != nil {
			t.Fatal(err)
		}
		if got := newFeatures(c.arch, code); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.text, got, c.want)
		}
		for n := range code { // an instruction that the end cuts off, but for its operands
			newFeatures(c.arch, code[:n])
		}
	}
}

func TestInstructionsAreFoundAmongOthers(t *testing.T) {
	for seed := range uint64(testutil.Thorough(2000)) {
		r := rand.New(rand.NewPCG(seed, 1))
		a := Arch(r.IntN(2))
		want := features{aes: r.IntN(12), wide: r.IntN(2) == 0, multiply: r.IntN(2) == 0}
		if k := r.IntN(10); k >= 4 {
			want.window = 1 << (smallest + k - 4)
		}
		got := newFeatures(a, codeWith(a, want.window, want.aes, want.wide, want.multiply))
		if (got.aesLines != 0) != (want.aes > 0) || got.aesLines&1 == 1 {
			t.Fatalf("AES rounds in the lines %b", got.aesLines)
		}
		if got.aesLines = 0; got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	}
}

func TestCodeBeyondCodeBytesIsNotRead(t *testing.T) {
	code := append(bytes.Repeat([]byte{0x90}, CodeBytes), 0x25, 0xf0, 0xff, 0x1f, 0)
	if got := newFeatures(AMD64, code); got != (features{}) {
		t.Errorf("%+v", got)
	}
}

// naiveMask decodes the operand of an and as the manual's DecodeBitMasks does, bit by bit.
func naiveMask(word uint32) uint64 {
	n, immr, imms := word>>22&1, word>>16&63, word>>10&63
	length := bits.Len32(n<<6|^imms&63) - 1
	if length < 1 || word>>31 == 0 && n == 1 {
		return 0
	}
	element := uint32(1) << length
	ones, rotated := imms%element+1, immr%element
	if ones == element {
		return 0 // reserved
	}
	mask := uint64(0)
	for bit := range uint32(32) << (word >> 31) {
		if (bit+rotated)%element < ones {
			mask |= 1 << bit
		}
	}
	return mask
}

func TestMasksOfARM64AreThoseOfTheManual(t *testing.T) {
	found := 0
	for operand := range uint32(1 << 14) { // all: sf, N, immr, imms
		word := 0x12000041 | operand>>13<<31 | operand&0x1fff<<10
		mask := naiveMask(word)
		want := uint32(0)
		if mask < 1<<32 {
			want = windowOf(uint32(mask))
		}
		if got := arm64Window(word); got != want {
			t.Errorf("%08x with mask %x: window %d, want %d", word, mask, got, want)
		}
		if want > 0 {
			found++
		}
	}
	// With 64 bits, and twice with 32, of whose rotation one bit is ignored.
	if want := 3 * (largest - smallest + 1); found != want {
		t.Errorf("%d masks, want %d", found, want)
	}
}

// codeWith returns CodeBytes of code. From its line on it has a mask for a window, some AES
// rounds, at most 12, a wide multiplication and one of vectors.
func codeWith(a Arch, window uint32, aes int, wide, multiply bool) []byte {
	code := bytes.Repeat([]byte{0x90}, CodeBefore)
	if a == ARM64 {
		code = bytes.Repeat([]byte{0x1f, 0x20, 0x03, 0xd5}, CodeBefore/4)
		if window > 0 { // and x1, x2, #window-16
			ones := uint32(bits.TrailingZeros32(window)) - 4
			code = binary.LittleEndian.AppendUint32(code, 0x92400041|60<<16|(ones-1)<<10)
		}
		for range aes { // aese v0.16b, v1.16b; aesmc v0.16b, v0.16b
			code = append(code, 0x20, 0x48, 0x28, 0x4e, 0x00, 0x68, 0x28, 0x4e)
		}
		if wide { // umulh x0, x1, x2
			code = append(code, 0x20, 0x7c, 0xc2, 0x9b)
		}
		if multiply { // umull v0.2d, v1.2s, v2.2s
			code = append(code, 0x20, 0xc0, 0xa2, 0x2e)
		}
		return append(code, bytes.Repeat(code[:4], (CodeBytes-len(code))/4)...)
	}
	if window > 0 { // and edx, window-16
		code = binary.LittleEndian.AppendUint32(append(code, 0x81, 0xe2), window-16)
	}
	for range aes { // aesenc xmm1, xmm2
		code = append(code, 0x66, 0x0f, 0x38, 0xdc, 0xca)
	}
	if wide { // mul rsi
		code = append(code, 0x48, 0xf7, 0xe6)
	}
	if multiply { // vpmuludq ymm0, ymm1, ymm2
		code = append(code, 0xc5, 0xf5, 0xf4, 0xc2)
	}
	return append(code, bytes.Repeat([]byte{0x90}, CodeBytes-len(code))...)
}
