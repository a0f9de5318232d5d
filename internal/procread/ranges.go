package procread

import (
	"encoding/binary"
	"fmt"
	"iter"
)

const (
	// MaxRanges is the maximum number of ranges for one call of MappedFile or Memory, and
	// MaxBytes that of bytes in them.
	MaxRanges = 4096
	MaxBytes  = 256 << 20

	// The same for one request, so that reads of other owners get their turn in between.
	maxPartRanges = 256
	maxPart       = 4 << 20
)

// A Range is a part of a file or of memory: the bytes from Start to before End.
type Range struct{ Start, End uint64 }

// checkRanges returns an error if ranges exceed the limits.
func checkRanges(ranges []Range, maxRanges int, maxBytes uint64) error {
	if len(ranges) > maxRanges {
		return fmt.Errorf("%d ranges, at most %d are allowed", len(ranges), maxRanges)
	}
	total := uint64(0)
	for _, r := range ranges {
		// The first check excludes an overflow.
		if r.End < r.Start || r.End-r.Start > maxBytes || total+r.End-r.Start > maxBytes {
			return fmt.Errorf("a range from %#x to %#x after %d bytes, at most %d are allowed", r.Start, r.End, total, maxBytes)
		}
		total += r.End - r.Start
	}
	return nil
}

// parts splits ranges for requests. A part is valid until the next one.
func parts(ranges []Range) iter.Seq[[]Range] {
	return func(yield func([]Range) bool) {
		var part []Range
		size := uint64(0)
		for _, r := range ranges {
			for r.Start < r.End {
				n := min(r.End-r.Start, maxPart-size)
				part = append(part, Range{r.Start, r.Start + n})
				r.Start += n
				if size += n; size < maxPart && len(part) < maxPartRanges {
					continue
				}
				if !yield(part) {
					return
				}
				part, size = part[:0], 0
			}
		}
		if len(part) > 0 {
			yield(part)
		}
	}
}

// A pieces passes the pieces of ranges in answers to visit.
type pieces struct {
	left  uint64 // bytes that may follow
	visit func(offset uint64, data []byte) error
}

func newPieces(ranges []Range, visit func(offset uint64, data []byte) error) *pieces {
	p := &pieces{visit: visit}
	for _, r := range ranges {
		p.left += r.End - r.Start
	}
	return p
}

func (p *pieces) add(frame []byte) error {
	if len(frame) == 0 {
		return nil
	}
	if len(frame) < pieceHead || uint64(len(frame)-pieceHead) > p.left {
		return fmt.Errorf("%w: a piece of %d bytes, %d are left", errProtocol, len(frame), p.left)
	}
	p.left -= uint64(len(frame) - pieceHead)
	return p.visit(binary.LittleEndian.Uint64(frame), frame[pieceHead:])
}

const (
	// pieceHead is the length of the head of a piece: its offset, uint64.
	pieceHead = 8
	// maxPiece is the maximum length of its data: whole pages, which are read faster.
	maxPiece = maxFrame - 4096
)

// piece returns the buffer for the next bytes of a range. sendPiece sends its first n
// bytes.
func (s *server) piece(r Range) []byte {
	return s.chunk[pieceHead:][:min(r.End-r.Start, maxPiece)]
}

func (s *server) sendPiece(offset uint64, n int) error {
	binary.LittleEndian.PutUint64(s.chunk, offset)
	return s.out.write(frameData, s.chunk[:pieceHead+n])
}
