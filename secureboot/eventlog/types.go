// SPDX-License-Identifier: Apache-2.0

package eventlog

import "fmt"

// Type says what kind of thing an event measured (PFP, Section 10.4.1).
type Type uint32

// The types that this project writes or looks at.
const (
	NoAction          Type = 0x00000003
	Separator         Type = 0x00000004
	Action            Type = 0x00000005
	EventTag          Type = 0x00000006 // the kernel's EFI stub: initrd, load options
	CRTMVersion       Type = 0x00000008
	IPL               Type = 0x0000000d // systemd's stub and boot loader: sections, command line
	VariableConfig    Type = 0x80000001
	VariableBoot      Type = 0x80000002
	BootApplication   Type = 0x80000003
	EFIAction         Type = 0x80000007
	FirmwareBlob      Type = 0x80000008
	VariableAuthority Type = 0x800000e0
)

var typeNames = map[Type]string{
	0x00000000:        "EV_PREBOOT_CERT",
	0x00000001:        "EV_POST_CODE",
	NoAction:          "EV_NO_ACTION",
	Separator:         "EV_SEPARATOR",
	Action:            "EV_ACTION",
	EventTag:          "EV_EVENT_TAG",
	0x00000007:        "EV_S_CRTM_CONTENTS",
	CRTMVersion:       "EV_S_CRTM_VERSION",
	0x00000009:        "EV_CPU_MICROCODE",
	0x0000000a:        "EV_PLATFORM_CONFIG_FLAGS",
	0x0000000b:        "EV_TABLE_OF_DEVICES",
	0x0000000c:        "EV_COMPACT_HASH",
	IPL:               "EV_IPL",
	0x0000000e:        "EV_IPL_PARTITION_DATA",
	0x0000000f:        "EV_NONHOST_CODE",
	0x00000010:        "EV_NONHOST_CONFIG",
	0x00000011:        "EV_NONHOST_INFO",
	0x00000012:        "EV_OMIT_BOOT_DEVICE_EVENTS",
	VariableConfig:    "EV_EFI_VARIABLE_DRIVER_CONFIG",
	VariableBoot:      "EV_EFI_VARIABLE_BOOT",
	BootApplication:   "EV_EFI_BOOT_SERVICES_APPLICATION",
	0x80000004:        "EV_EFI_BOOT_SERVICES_DRIVER",
	0x80000005:        "EV_EFI_RUNTIME_SERVICES_DRIVER",
	0x80000006:        "EV_EFI_GPT_EVENT",
	EFIAction:         "EV_EFI_ACTION",
	FirmwareBlob:      "EV_EFI_PLATFORM_FIRMWARE_BLOB",
	0x80000009:        "EV_EFI_HANDOFF_TABLES",
	0x8000000a:        "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
	0x8000000b:        "EV_EFI_HANDOFF_TABLES2",
	0x8000000c:        "EV_EFI_VARIABLE_BOOT2",
	0x80000010:        "EV_EFI_HCRTM_EVENT",
	VariableAuthority: "EV_EFI_VARIABLE_AUTHORITY",
}

// String returns the name that the profile gives the type.
func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("type %#08x", uint32(t))
}
