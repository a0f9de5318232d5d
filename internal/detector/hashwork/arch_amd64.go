package hashwork

import "github.com/cryptnono/cryptnono/internal/detector/hashwork/scratchpad"

const arch = scratchpad.AMD64
