package main

import (
	"encoding/binary"
	"errors"
	"os"
)

// swapBytes is the size of a guest's swap. The file is sparse.
const swapBytes = 128 << 20

// writeSwap writes an empty swap device: in its first page the header that mkswap writes
// (union swap_header in include/linux/swap.h), of the form "SWAPSPACE2".
func writeSwap(file string) error {
	const page, info, magic = 4096, 1024, "SWAPSPACE2"
	header := make([]byte, page)
	binary.LittleEndian.PutUint32(header[info:], 1)                  // version
	binary.LittleEndian.PutUint32(header[info+4:], swapBytes/page-1) // last page
	copy(header[page-len(magic):], magic)
	return errors.Join(os.WriteFile(file, header, 0o600), os.Truncate(file, swapBytes))
}
