// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

// Package simboot measures into a TPM what a machine does that starts a UKI:
// firmware, systemd-boot, systemd-stub, the kernel's EFI stub and our init. It
// returns the logs that they would leave. Nothing is started. It gives tests
// and the demo a TPM in the state of a running room and is in no release.
package simboot

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/measure"
)

// PCRIdentity is the PCR of the system's identity.
const PCRIdentity = 15

// Firmware is a machine's firmware and what it starts.
type Firmware struct {
	Version string // of the firmware, for PCR 0

	// SecureBoot and the values of its variables are for PCR 7. DBEntry is the
	// entry of db (EFI_SIGNATURE_DATA) that vouches for the images; it is
	// measured with Secure Boot on.
	SecureBoot            bool
	PK, KEK, DB, DBX      []byte
	DBEntry               []byte
	StartupLocality       byte   // where TPM2_Startup came from: 0, or 3
	Loader, UKI           []byte // PE images
	BootOption, UKIOption string // their paths on the ESP, for PCRs 1 and 4
}

// Typical is a machine with Secure Boot on, under its owner's keys, that starts
// the given images.
func Typical(loader, uki []byte) Firmware {
	return Firmware{
		Version: "simulated firmware", SecureBoot: true,
		PK: []byte("platform key"), KEK: []byte("key exchange key"), DB: []byte("signatures"), DBEntry: []byte("signature"),
		Loader: loader, UKI: uki, BootOption: `\EFI\BOOT\BOOTAA64.EFI`, UKIOption: `\EFI\Linux\in-camera.efi`,
	}
}

// A Machine is one that has started as far as its kernel.
type Machine struct {
	t      transport.TPM
	log    *eventlog.Log
	phases []byte
}

// Boot starts a machine and goes through the phases. Log and phases are the two
// logs of package eventlog. See [Start].
func Boot(t transport.TPM, f Firmware, words ...string) (log, phases []byte, err error) {
	m, err := Start(t, f)
	if err != nil {
		return nil, nil, err
	}
	for _, word := range words {
		if err := m.Extend(eventlog.PCRPhases, word); err != nil {
			return nil, nil, err
		}
	}
	log, phases = m.Logs()
	return log, phases, nil
}

// Start measures what comes before init into a TPM that was just reset, in its
// SHA-256 bank alone. It refuses a TPM that has been measured into.
func Start(t transport.TPM, f Firmware) (*Machine, error) {
	m := &Machine{t: t, log: eventlog.New(), phases: eventlog.PhaseHeader()}
	if err := m.untouched(f.StartupLocality); err != nil {
		return nil, fmt.Errorf("simboot: %w", err)
	}
	for _, step := range []func(Firmware) error{m.firmware, m.images, m.kernel} {
		if err := step(f); err != nil {
			return nil, fmt.Errorf("simboot: %w", err)
		}
	}
	return m, nil
}

// Extend does what init and its units do: it extends a word into PCR 8 to 15
// and notes it in the phase log. Phases go to [eventlog.PCRPhases].
func (m *Machine) Extend(pcr int, word string) error {
	record, digest, err := eventlog.PhaseRecord(pcr, word)
	if err != nil {
		return err
	}
	if err := m.extend(pcr, digest); err != nil {
		return fmt.Errorf("simboot: %w", err)
	}
	m.phases = append(m.phases, record...)
	return nil
}

// Logs returns the firmware's log and the phase log as they stand.
func (m *Machine) Logs() (log, phases []byte) {
	return m.log.Encode(), append([]byte(nil), m.phases...)
}

// firmware measures itself, its settings and Secure Boot.
func (m *Machine) firmware(f Firmware) error {
	if f.StartupLocality != 0 {
		m.log.Add(0, eventlog.NoAction, [32]byte{}, append([]byte("StartupLocality\x00"), f.StartupLocality))
	}
	enabled := []byte{0}
	if f.SecureBoot {
		enabled[0] = 1
	}
	global, database := eventlog.GlobalVariable, eventlog.SecurityDatabase
	type event struct {
		pcr  int
		kind eventlog.Type
		data []byte
	}
	events := []event{
		{0, eventlog.CRTMVersion, eventlog.UTF16(f.Version)},
		{7, eventlog.VariableConfig, eventlog.Variable(global, "SecureBoot", enabled)},
		{7, eventlog.VariableConfig, eventlog.Variable(global, "PK", f.PK)},
		{7, eventlog.VariableConfig, eventlog.Variable(global, "KEK", f.KEK)},
		{7, eventlog.VariableConfig, eventlog.Variable(database, "db", f.DB)},
		{7, eventlog.VariableConfig, eventlog.Variable(database, "dbx", f.DBX)},
		{1, eventlog.VariableBoot, eventlog.Variable(global, "BootOrder", []byte{0, 0})},
		{measure.PCRBoot, eventlog.EFIAction, measure.CallingApplication},
	}
	for pcr := range 8 {
		events = append(events, event{pcr, eventlog.Separator, measure.SeparatorData})
	}
	if f.SecureBoot {
		events = append(events, event{7, eventlog.VariableAuthority, eventlog.Variable(database, "db", f.DBEntry)})
	}
	for _, e := range events {
		if err := m.measure(e.pcr, e.kind, e.data); err != nil {
			return err
		}
	}
	return nil
}

// images measures boot loader, UKI and kernel as they are loaded, the command
// line as systemd-boot and the stub have it, and the UKI's sections.
func (m *Machine) images(f Firmware) error {
	sections, err := measure.Sections(f.UKI)
	if err != nil {
		return err
	}
	boot, err := measure.BootEvents(f.Loader, f.UKI)
	if err != nil {
		return err
	}
	images := boot[len(boot)-3:]
	cmdline := string(measure.Content(sections, ".cmdline"))
	commandLine := func() error {
		return m.add(measure.CommandLineEvent(cmdline), eventlog.IPL, eventlog.UTF16(cmdline))
	}
	if err := m.add(images[0], eventlog.BootApplication, eventlog.ImageLoad(len(f.Loader), f.BootOption)); err != nil {
		return err
	}
	if err := commandLine(); err != nil {
		return err
	}
	if err := m.add(images[1], eventlog.BootApplication, eventlog.ImageLoad(len(f.UKI), f.UKIOption)); err != nil {
		return err
	}
	for _, e := range measure.SectionEvents(sections) {
		// The stub describes name and content alike, by the name.
		name, _, _ := strings.Cut(e.Name, " ")
		if err := m.add(e, eventlog.IPL, []byte(name+"\x00")); err != nil {
			return err
		}
	}
	if !f.SecureBoot {
		if err := commandLine(); err != nil {
			return err
		}
	}
	kernel := measure.Content(sections, ".linux")
	return m.add(images[2], eventlog.BootApplication, eventlog.ImageLoad(len(kernel), ""))
}

// kernel does what the kernel's EFI stub does until it leaves boot services.
func (m *Machine) kernel(f Firmware) error {
	sections, err := measure.Sections(f.UKI)
	if err != nil {
		return err
	}
	// TCG_PCClientTaggedEvent: id, length, text (Linux, efi-stub-helper.c).
	const initrdTag, text = 0x8f3b22ec, "Linux initrd\x00"
	data := binary.LittleEndian.AppendUint32(nil, initrdTag)
	data = binary.LittleEndian.AppendUint32(data, uint32(len(text)))
	data = append(data, text...)
	initrd := measure.Event{PCR: 9, Digest: sha256.Sum256(measure.Content(sections, ".initrd"))}
	if err := m.add(initrd, eventlog.EventTag, data); err != nil {
		return err
	}
	for _, word := range []string{"Exit Boot Services Invocation", "Exit Boot Services Returned with Success"} {
		if err := m.measure(5, eventlog.EFIAction, []byte(word)); err != nil {
			return err
		}
	}
	return nil
}

func (m *Machine) measure(pcr int, kind eventlog.Type, data []byte) error {
	return m.add(measure.Event{PCR: pcr, Digest: sha256.Sum256(data)}, kind, data)
}

func (m *Machine) add(e measure.Event, kind eventlog.Type, data []byte) error {
	if err := m.extend(e.PCR, e.Digest); err != nil {
		return err
	}
	m.log.Add(e.PCR, kind, e.Digest, data)
	return nil
}

func (m *Machine) extend(pcr int, digest [32]byte) error {
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{
			{HashAlg: tpm2.TPMAlgSHA256, Digest: digest[:]},
		}},
	}.Execute(m.t)
	if err != nil {
		return fmt.Errorf("extend PCR %d: %w", pcr, err)
	}
	return nil
}

// untouched checks that PCRs 0 to 15 have their first values.
func (m *Machine) untouched(locality byte) error {
	for first := uint(0); first < 16; first += 8 { // what one command reads
		var pcrs []uint
		for i := range uint(8) {
			pcrs = append(pcrs, first+i)
		}
		r, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
			{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(pcrs...)},
		}}}.Execute(m.t)
		if err != nil {
			return fmt.Errorf("read PCRs: %w", err)
		}
		if len(r.PCRValues.Digests) != len(pcrs) {
			return errors.New("the TPM has no SHA-256 bank")
		}
		for i, d := range r.PCRValues.Digests {
			want := [32]byte{}
			if first+uint(i) == 0 {
				want[31] = locality
			}
			if [32]byte(d.Buffer) != want {
				return fmt.Errorf("PCR %d has been measured into: reset the TPM first", first+uint(i))
			}
		}
	}
	return nil
}
