// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"os"
	"time"
)

const maxCertificate = 16 << 10 // bytes of the file

// LoadCertificate returns the self-signed certificate of the panel's TLS
// listener from the file, and makes it where there is none. It stays byte for
// byte the same for as long as the file does: browsers tie what people accepted
// to it. The names and addresses are those of the first start and tell people
// what they look at; what counts is the key, see [PinOf].
//
// A file that cannot be read is an error: with a new key every panel would meet
// a stranger.
func LoadCertificate(path string, names []string) (tls.Certificate, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err := makeCertificate(names)
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("pairing: certificate: %w", err)
		}
		if err := replace(path, text); err != nil {
			return tls.Certificate{}, err
		}
		return parseCertificate(text)
	}
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("pairing: certificate: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCertificate+1))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("pairing: certificate: %w", err)
	}
	return parseCertificate(text)
}

// parseCertificate reads one certificate of P-256 and its key in PEM.
func parseCertificate(text []byte) (tls.Certificate, error) {
	if len(text) > maxCertificate {
		return tls.Certificate{}, errors.New("pairing: certificate: the file is too long")
	}
	c, err := tls.X509KeyPair(text, text)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("pairing: certificate: %w", err)
	}
	if key, ok := c.PrivateKey.(*ecdsa.PrivateKey); !ok || key.Curve != elliptic.P256() || len(c.Certificate) != 1 {
		return tls.Certificate{}, errors.New("pairing: certificate: not one certificate with a key of P-256")
	}
	return c, nil
}

func makeCertificate(names []string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	// The dates say nothing: the room may be started with its clock at 1970, and
	// panels go by the key.
	template := x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "In Camera"},
		NotBefore:    time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},

		BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = errors.Join(
		pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.Encode(&out, &pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	)
	return out.Bytes(), err
}
