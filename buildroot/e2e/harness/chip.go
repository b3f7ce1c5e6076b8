// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// startup is TPM2_Startup (TPM 2.0, Part 2, Section 6.5.2).
const startup = 0x144

// Asked lists the codes of the commands that the box's TPM has got since the box
// was started for the last time.
func (r *Run) Asked() ([]uint32, error) {
	f, err := os.Open(r.chip)
	if err != nil {
		return nil, fmt.Errorf("harness: log of the TPM: %w", err)
	}
	defer f.Close()
	var codes []uint32
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if !strings.Contains(lines.Text(), "SWTPM_IO_Read") {
			continue
		}
		// Tag, size and code are the first of its bytes, in hexadecimal.
		if !lines.Scan() {
			break
		}
		head, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(lines.Text()), " ", ""))
		if err != nil || len(head) < 10 {
			return nil, fmt.Errorf("harness: log of the TPM: %q", lines.Text())
		}
		code := binary.BigEndian.Uint32(head[6:])
		if code == startup {
			codes = nil
		}
		codes = append(codes, code)
	}
	return codes, lines.Err()
}
