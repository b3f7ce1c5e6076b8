// SPDX-License-Identifier: Apache-2.0

package camera

import (
	"testing"
	"unsafe"
)

// TestLayouts compares with what a C compiler says of linux/videodev2.h on
// amd64 and on arm64, which agree. The test runs on either.
func TestLayouts(t *testing.T) {
	for _, tt := range []struct {
		name      string
		got, want uintptr
	}{
		{"v4l2_capability", unsafe.Sizeof(capability{}), 104},
		{"v4l2_capability.capabilities", unsafe.Offsetof(capability{}.Capabilities), 84},
		{"v4l2_capability.device_caps", unsafe.Offsetof(capability{}.DeviceCaps), 88},
		{"v4l2_fmtdesc", unsafe.Sizeof(formatDesc{}), 64},
		{"v4l2_fmtdesc.pixelformat", unsafe.Offsetof(formatDesc{}.PixelFormat), 44},
		{"v4l2_frmsizeenum", unsafe.Sizeof(frameSizeEnum{}), 44},
		{"v4l2_frmsizeenum.type", unsafe.Offsetof(frameSizeEnum{}.Type), 8},
		{"v4l2_frmivalenum", unsafe.Sizeof(frameIntervalEnum{}), 52},
		{"v4l2_frmivalenum.type", unsafe.Offsetof(frameIntervalEnum{}.Type), 16},
		{"v4l2_format", unsafe.Sizeof(format{}), 208},
		{"v4l2_format.fmt", unsafe.Offsetof(format{}.Pix), 8},
		{"v4l2_pix_format", unsafe.Sizeof(pixFormat{}), 48},
		{"v4l2_pix_format.bytesperline", unsafe.Offsetof(pixFormat{}.BytesPerLine), 16},
		{"v4l2_pix_format.sizeimage", unsafe.Offsetof(pixFormat{}.SizeImage), 20},
		{"v4l2_pix_format.quantization", unsafe.Offsetof(pixFormat{}.Quantization), 40},
		{"v4l2_streamparm", unsafe.Sizeof(streamParm{}), 204},
		{"v4l2_streamparm.parm.capture.timeperframe", unsafe.Offsetof(streamParm{}.Interval), 12},
		{"v4l2_requestbuffers", unsafe.Sizeof(requestBuffers{}), 20},
		{"v4l2_buffer", unsafe.Sizeof(buffer{}), 88},
		{"v4l2_buffer.timestamp", unsafe.Offsetof(buffer{}.Seconds), 24},
		{"v4l2_buffer.sequence", unsafe.Offsetof(buffer{}.Sequence), 56},
		{"v4l2_buffer.memory", unsafe.Offsetof(buffer{}.Memory), 60},
		{"v4l2_buffer.m", unsafe.Offsetof(buffer{}.Offset), 64},
		{"v4l2_buffer.length", unsafe.Offsetof(buffer{}.Length), 72},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %d; want %d", tt.name, tt.got, tt.want)
		}
	}
	// Bits 16 to 29 of a request are the size of its argument.
	for request, size := range map[uint32]uintptr{
		reqQueryCap: 104, reqEnumFormat: 64, reqSetFormat: 208, reqRequestBufs: 20, reqQueryBuf: 88, reqQueueBuf: 88,
		reqDequeueBuf: 88, reqStreamOn: 4, reqStreamOff: 4, reqSetParm: 204, reqEnumSizes: 44, reqEnumIntervals: 52,
	} {
		if got := uintptr(request >> 16 & 0x3fff); got != size {
			t.Errorf("request %#x has an argument of %d bytes; want %d", request, got, size)
		}
	}
}

func TestFourCC(t *testing.T) {
	if fourccYUYV != 0x56595559 || fourccMJPG != 0x47504a4d || fourccNV12 != 0x3231564e || fourccYU12 != 0x32315559 || fourccJPEG != 0x4745504a {
		t.Error("a format has the wrong code")
	}
	if got := fourccName(fourccMJPG); got != "MJPG" {
		t.Errorf("MJPG is spelled %q", got)
	}
	if got := fourccName(0x1b000041); got != "A???" {
		t.Errorf("a code that is no text is spelled %q", got)
	}
}
