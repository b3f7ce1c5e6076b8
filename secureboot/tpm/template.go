// SPDX-License-Identifier: Apache-2.0

package tpm

import "github.com/google/go-tpm/tpm2"

// Where the keys that every room has lie: the ranges of the TCG registry of
// reserved handles, the EKs where the EK credential profile puts them.
const (
	HandleSRK    tpm2.TPMHandle = 0x81000001
	HandleEKP256 tpm2.TPMHandle = 0x8101000A // template L-2
	HandleEKP384 tpm2.TPMHandle = 0x81010016 // template H-3
	HandleAK     tpm2.TPMHandle = 0x81010A01
)

// Where chip makers put the certificates of the EKs (TCG EK credential profile
// 2.5, 2.2.1.4 and 2.2.1.5).
const (
	IndexCertP256 tpm2.TPMHandle = 0x01C0000A
	IndexCertP384 tpm2.TPMHandle = 0x01C00016
)

// The templates. They are values to copy, never to change.
var (
	// SRKTemplate is the storage root key: the TCG's reference template.
	SRKTemplate = tpm2.ECCSRKTemplate

	// EKTemplateP256 is template L-2 of the EK credential profile: used in a
	// session with PolicySecret of the endorsement hierarchy.
	EKTemplateP256 = tpm2.ECCEKTemplate

	// EKTemplateP384 is template H-3 of the EK credential profile 2.5,
	// B.4.5: userWithAuth is set, so an empty password uses it.
	EKTemplateP384 = tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgECC,
		NameAlg: tpm2.TPMAlgSHA384,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM:            true,
			FixedParent:         true,
			SensitiveDataOrigin: true,
			UserWithAuth:        true,
			AdminWithPolicy:     true,
			Restricted:          true,
			Decrypt:             true,
		},
		// PolicyB for SHA-384: PolicySecret(endorsement), or what the index
		// 0x01C07F02 authorises. TestPolicyB computes it.
		AuthPolicy: tpm2.TPM2BDigest{Buffer: []byte{
			0xB2, 0x6E, 0x7D, 0x28, 0xD1, 0x1A, 0x50, 0xBC, 0x53, 0xD8, 0x82, 0xBC,
			0xF5, 0xFD, 0x3A, 0x1A, 0x07, 0x41, 0x48, 0xBB, 0x35, 0xD3, 0xB4, 0xE4,
			0xCB, 0x1C, 0x0A, 0xD9, 0xBD, 0xE4, 0x19, 0xCA, 0xCB, 0x47, 0xBA, 0x09,
			0x69, 0x96, 0x46, 0x15, 0x0F, 0x9F, 0xC0, 0x00, 0xF3, 0xF8, 0x0E, 0x12,
		}},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: tpm2.TPMTSymDefObject{
				Algorithm: tpm2.TPMAlgAES,
				KeyBits:   tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(256)),
				Mode:      tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
			},
			CurveID: tpm2.TPMECCNistP384,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{}),
	}

	// AKTemplate is the attestation key: it signs nothing but what the TPM
	// itself states. It is a primary of the endorsement hierarchy: the quotes
	// of an owner's key hide resetCount and restartCount (TPM 2.0 Part 1,
	// 36.7), and a primary comes back after TPM2_Clear.
	AKTemplate = tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgECC,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM:            true,
			FixedParent:         true,
			SensitiveDataOrigin: true,
			UserWithAuth:        true,
			NoDA:                true,
			Restricted:          true,
			SignEncrypt:         true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Scheme: tpm2.TPMTECCScheme{
				Scheme:  tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
			CurveID: tpm2.TPMECCNistP256,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{}),
	}
)
