// SPDX-License-Identifier: Apache-2.0

package camera

// The part of linux/videodev2.h that capturing needs, laid out as the kernel
// does on 64-bit machines. The layouts of amd64 and arm64 are the same; a test
// compares sizes and offsets. The numbers of requests contain the sizes.

type capability struct {
	Driver       [16]byte
	Card         [32]byte
	BusInfo      [32]byte
	Version      uint32
	Capabilities uint32
	DeviceCaps   uint32
	_            [3]uint32
}

type formatDesc struct {
	Index, Type, Flags uint32
	Description        [32]byte
	PixelFormat        uint32
	_                  [4]uint32
}

// A frameSizeEnum of the discrete type has one size, of the others a range.
type frameSizeEnum struct {
	Index, PixelFormat, Type uint32
	// Discrete: width, height. Else: least, most, step of the width, then of
	// the height.
	Values [6]uint32
	_      [2]uint32
}

type frameIntervalEnum struct {
	Index, PixelFormat, Width, Height, Type uint32
	Values                                  [6]uint32 // discrete: seconds as numerator and denominator
	_                                       [2]uint32
}

type format struct {
	Type uint32
	_    uint32
	Pix  pixFormat
	_    [152]byte // the union with other kinds of formats has 200 bytes
}

type pixFormat struct {
	Width, Height, PixelFormat, Field  uint32
	BytesPerLine, SizeImage            uint32
	ColorSpace, Priv, Flags            uint32
	YCbCrEnc, Quantization, TransferFn uint32
}

type streamParm struct {
	Type        uint32
	Capability  uint32
	CaptureMode uint32
	Interval    [2]uint32 // seconds a picture: numerator, denominator
	_           [184]byte
}

type requestBuffers struct {
	Count, Type, Memory, Capabilities uint32
	Flags                             uint8
	_                                 [3]uint8
}

type buffer struct {
	Index, Type, BytesUsed, Flags, Field uint32
	_                                    uint32
	Seconds, Microseconds                int64
	_                                    [16]byte // time code
	Sequence, Memory                     uint32
	Offset                               uint32 // for mmap
	_                                    uint32
	Length                               uint32
	_                                    [3]uint32
}

// Numbers of requests: direction, size of the argument, 'V', number.
const (
	reqQueryCap      = 0x80685600
	reqEnumFormat    = 0xc0405602
	reqSetFormat     = 0xc0d05605
	reqRequestBufs   = 0xc0145608
	reqQueryBuf      = 0xc0585609
	reqQueueBuf      = 0xc058560f
	reqDequeueBuf    = 0xc0585611
	reqStreamOn      = 0x40045612
	reqStreamOff     = 0x40045613
	reqSetParm       = 0xc0cc5616
	reqEnumSizes     = 0xc02c564a
	reqEnumIntervals = 0xc034564b
)

const (
	typeVideoCapture = 1
	memoryMMAP       = 1
	fieldNone        = 1

	capVideoCapture = 1 << 0
	capStreaming    = 1 << 26
	capDeviceCaps   = 1 << 31

	discrete = 1 // of sizes and intervals

	flagError         = 0x40
	flagTimestampMask = 0xe000
	flagMonotonic     = 0x2000

	fullRangeQuantization = 1
)

// The formats that are understood, best first: without loss and least work,
// then compressed. All but MJPG is half or two thirds the bandwidth of a USB 2
// bus at 720p30, so cameras offer MJPG for the larger sizes.
const (
	fourccYU12 = 'Y' | 'U'<<8 | '1'<<16 | '2'<<24
	fourccNV12 = 'N' | 'V'<<8 | '1'<<16 | '2'<<24
	fourccYUYV = 'Y' | 'U'<<8 | 'Y'<<16 | 'V'<<24
	fourccMJPG = 'M' | 'J'<<8 | 'P'<<16 | 'G'<<24
	fourccJPEG = 'J' | 'P'<<8 | 'E'<<16 | 'G'<<24
)

// name spells a format as people know it.
func fourccName(f uint32) string {
	b := []byte{byte(f), byte(f >> 8), byte(f >> 16), byte(f >> 24)}
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}
