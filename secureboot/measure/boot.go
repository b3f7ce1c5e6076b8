// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"crypto/sha256"
	"fmt"
)

// PCRBoot is the PCR of the applications that firmware starts.
const PCRBoot = 4

// What UEFI firmware says in PCR 4 before it starts the boot loader, and what
// ends the measurements of firmware in PCRs 0 to 7 (PFP, Sections 3.3.4 and
// 10.4.1).
var (
	CallingApplication = []byte("Calling EFI Application from Boot Option")
	SeparatorData      = []byte{0, 0, 0, 0}
)

// BootEvents returns what firmware extends into PCR 4 for a start of a UKI by a
// boot loader, in order: action, separator, the loader, the UKI, and the kernel
// in the UKI, which the stub has firmware load.
func BootEvents(loader, uki []byte) ([]Event, error) {
	sections, err := Sections(uki)
	if err != nil {
		return nil, err
	}
	events := []Event{
		{PCRBoot, sha256.Sum256(CallingApplication), string(CallingApplication)},
		{PCRBoot, sha256.Sum256(SeparatorData), "separator"},
	}
	for _, image := range []struct {
		name string
		pe   []byte
	}{{"boot loader", loader}, {"UKI", uki}, {"kernel", Content(sections, ".linux")}} {
		digest, err := Authenticode(image.pe)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", image.name, err)
		}
		events = append(events, Event{PCRBoot, digest, image.name})
	}
	return events, nil
}

// Content returns the data of the section called name, nil if there is none.
func Content(sections []Section, name string) []byte {
	for _, s := range sections {
		if s.Name == name {
			return s.Data
		}
	}
	return nil
}
