// SPDX-License-Identifier: Apache-2.0

package update

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/google/go-tpm/tpm2/transport"
	"golang.org/x/sys/unix"

	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
)

// A Folder is an [ESP], mounted: the folder of UKIs.
type Folder struct{ root *os.Root }

// OpenFolder opens a folder, which must exist. The caller closes it.
func OpenFolder(path string) (*Folder, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("update: esp: %w", err)
	}
	return &Folder{root}, nil
}

// Close releases the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Names implements [ESP].
func (f *Folder) Names() ([]string, error) {
	d, err := f.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(maxNames + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

// ReadFile implements [ESP].
func (f *Folder) ReadFile(name string, limit int64) ([]byte, error) {
	file, err := f.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := forget(file); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: more than %d bytes", name, limit)
	}
	return b, err
}

// WriteFile implements [ESP].
func (f *Folder) WriteFile(name string, b []byte) error {
	file, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// ReadStart implements [ESP].
func (f *Folder) ReadStart(name string) ([]byte, error) {
	file, err := f.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, sector))
}

// WriteStart implements [ESP].
func (f *Folder) WriteStart(name string, b []byte) error {
	file, err := f.root.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(b[:min(sector, len(b))], 0)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// Remove implements [ESP].
func (f *Folder) Remove(name string) error { return f.root.Remove(name) }

// Sync implements [ESP].
func (f *Folder) Sync() error {
	d, err := f.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// forget drops clean pages from the cache, so that the medium is read.
func forget(f *os.File) error {
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("fadvise: %w", err)
	}
	return nil
}

// A Partition is a [Device] of the operating system.
type Partition struct{ *os.File }

// OpenPartition opens a block device, or a file that stands for one. The caller
// closes it.
func OpenPartition(path string) (*Partition, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_EXCL, 0)
	if err != nil {
		return nil, fmt.Errorf("update: slot: %w", err)
	}
	return &Partition{f}, nil
}

// Size implements [Device].
func (p *Partition) Size() (int64, error) { return p.Seek(0, io.SeekEnd) }

// Sync implements [Device].
func (p *Partition) Sync() error {
	if err := p.File.Sync(); err != nil {
		return err
	}
	return forget(p.File)
}

// A RecordFolder keeps the record in two files of a folder.
type RecordFolder struct{ root *os.Root }

// OpenRecord opens a folder, which must exist. The caller closes it.
func OpenRecord(path string) (*RecordFolder, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("update: record: %w", err)
	}
	return &RecordFolder{root}, nil
}

// Close releases the folder.
func (r *RecordFolder) Close() error { return r.root.Close() }

func copyName(i int) string { return "update." + strconv.Itoa(i) }

// ReadCopy implements [Copies].
func (r *RecordFolder) ReadCopy(i int) ([]byte, error) {
	f, err := r.root.Open(copyName(i))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRecord+1)) // one more is refused where it is parsed
}

// WriteCopy implements [Copies].
func (r *RecordFolder) WriteCopy(i int, b []byte) error {
	f := Folder{r.root}
	if err := f.WriteFile(copyName(i), b); err != nil {
		return err
	}
	return f.Sync()
}

// A TPMFloor is a [Floor] in a TPM.
type TPMFloor struct {
	TPM      transport.TPM
	SRK      tpm.Key // pinned
	Root     seal.RootKey
	Policies *seal.Policies // of the running release
	Rollback uint64         // of the running release
}

// Read implements [Floor].
func (f TPMFloor) Read(ctx context.Context) (uint64, error) {
	return seal.Read(ctx, f.TPM, f.Root, seal.Floor)
}

// Raise implements [Floor]. The TPM judges: only what the root signed, never
// above what runs, and nothing twice.
func (f TPMFloor) Raise(ctx context.Context) error {
	_, err := seal.Advance(ctx, f.TPM, f.SRK, f.Root, f.Policies, seal.Floor, f.Rollback)
	return err
}
