package procread

import (
	"encoding/binary"
	"fmt"
)

// Of a mapping, a request has start, end, device and inode, uint64. A path comes last.
const mappingSize = 4 * 8

func encodeMapping(b []byte, m Mapping) []byte {
	for _, n := range []uint64{m.Start, m.End, m.Device, m.Inode} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b
}

func decodeMapping(b []byte) (m Mapping, rest []byte, err error) {
	if len(b) < mappingSize {
		return Mapping{}, nil, fmt.Errorf("%w: a mapping of %d bytes", errProtocol, len(b))
	}
	for i, n := range []*uint64{&m.Start, &m.End, &m.Device, &m.Inode} {
		*n = binary.LittleEndian.Uint64(b[8*i:])
	}
	return m, b[mappingSize:], nil
}

// Ranges are encoded as their number, uint32, and start and end of each, uint64.
const rangeSize = 2 * 8

func encodeRanges(b []byte, ranges []Range) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(ranges)))
	for _, r := range ranges {
		b = binary.LittleEndian.AppendUint64(b, r.Start)
		b = binary.LittleEndian.AppendUint64(b, r.End)
	}
	return b
}

// decodeRanges decodes the ranges at the beginning of b, and returns the rest of b.
func decodeRanges(b []byte) (ranges []Range, rest []byte, err error) {
	if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4)/rangeSize {
		return nil, nil, fmt.Errorf("%w: %d bytes of ranges", errProtocol, len(b))
	}
	n := binary.LittleEndian.Uint32(b)
	b = b[4:]
	for range n {
		ranges = append(ranges, Range{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])})
		b = b[rangeSize:]
	}
	if err := checkRanges(ranges, maxPartRanges, maxPart); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errProtocol, err)
	}
	return ranges, b, nil
}
