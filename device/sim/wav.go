// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"incamera/media/frame"
)

// Bounds of what is read from a WAV file.
const (
	maxWAV      = 128 << 20 // bytes of a file
	maxWAVTime  = 600       // seconds
	maxWAVRate  = 192000    // hertz
	minWAVRate  = 8000
	maxChannels = 8
	maxChunks   = 64
)

// errWAV is in every error about the contents of a WAV file.
var errWAV = errors.New("not a WAV file of 16-bit or float sound")

// ReadWAV reads the file name as 48 kHz mono: RIFF WAVE, PCM of 16 bits or
// float of 32, one to eight channels, which are averaged, at 8 to 192 kHz. A
// file whose writer was killed is read as far as it goes.
func ReadWAV(name string) ([]float32, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("sim: open sound: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxWAV+1))
	if err != nil {
		return nil, fmt.Errorf("sim: read sound: %w", err)
	}
	if len(data) > maxWAV {
		return nil, fmt.Errorf("sim: %s is longer than %d MiB: cut it", name, maxWAV>>20)
	}
	pcm, err := parseWAV(data)
	if err != nil {
		return nil, fmt.Errorf("sim: %s: %w; convert it with: ffmpeg -i IN -ac 1 -ar 48000 -c:a pcm_s16le OUT.wav", name, err)
	}
	return pcm, nil
}

// A wavFormat is the fmt chunk.
type wavFormat struct {
	tag, channels, sampleBits int
	rate                      int
}

const (
	tagPCM        = 1
	tagFloat      = 3
	tagExtensible = 0xfffe
)

func parseWAV(b []byte) ([]float32, error) {
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return nil, errWAV
	}
	var format *wavFormat
	b = b[12:]
	for range maxChunks {
		if len(b) < 8 {
			break
		}
		name, size := string(b[:4]), int(binary.LittleEndian.Uint32(b[4:]))
		body := b[8:]
		if name == "data" {
			if format == nil {
				return nil, fmt.Errorf("%w: sound before its format", errWAV)
			}
			body = body[:min(size, len(body))]
			if len(body) > maxWAVTime*format.rate*format.channels*format.sampleBits/8 {
				return nil, fmt.Errorf("%w: longer than ten minutes", errWAV)
			}
			return format.decode(body), nil
		}
		if size > len(body) {
			break
		}
		if name == "fmt " {
			f, err := parseFormat(body[:size])
			if err != nil {
				return nil, err
			}
			format = f
		}
		b = body[min(size+size%2, len(body)):]
	}
	return nil, fmt.Errorf("%w: no sound in it", errWAV)
}

func parseFormat(b []byte) (*wavFormat, error) {
	if len(b) < 16 {
		return nil, fmt.Errorf("%w: short format", errWAV)
	}
	f := &wavFormat{
		tag: int(binary.LittleEndian.Uint16(b)), channels: int(binary.LittleEndian.Uint16(b[2:])),
		rate: int(binary.LittleEndian.Uint32(b[4:])), sampleBits: int(binary.LittleEndian.Uint16(b[14:])),
	}
	if f.tag == tagExtensible && len(b) >= 26 {
		f.tag = int(binary.LittleEndian.Uint16(b[24:]))
	}
	switch {
	case f.tag == tagPCM && f.sampleBits == 16, f.tag == tagFloat && f.sampleBits == 32:
	default:
		return nil, fmt.Errorf("%w: encoding %d with %d bits", errWAV, f.tag, f.sampleBits)
	}
	if f.channels < 1 || f.channels > maxChannels || f.rate < minWAVRate || f.rate > maxWAVRate {
		return nil, fmt.Errorf("%w: %d channels at %d Hz", errWAV, f.channels, f.rate)
	}
	return f, nil
}

// decode averages the channels and brings the sound to 48 kHz.
func (f *wavFormat) decode(b []byte) []float32 {
	width := f.sampleBits / 8
	mono := make([]float32, len(b)/(width*f.channels))
	for i := range mono {
		var sum float32
		for c := range f.channels {
			at := b[(i*f.channels+c)*width:]
			if f.tag == tagFloat {
				sum += bounded(math.Float32frombits(binary.LittleEndian.Uint32(at)))
			} else {
				sum += float32(int16(binary.LittleEndian.Uint16(at))) / 32768
			}
		}
		mono[i] = sum / float32(f.channels)
	}
	return resample(mono, f.rate)
}

// bounded makes a sample from -1 to 1, and silence of what is no number.
func bounded(v float32) float32 {
	if v != v {
		return 0
	}
	return min(max(v, -1), 1)
}

// resample brings sound to 48 kHz by a windowed sinc. Beyond the edges of the
// recording there is silence.
func resample(x []float32, rate int) []float32 {
	if rate == frame.SampleRate || len(x) == 0 {
		return x
	}
	// Each sample of the output lies between two of the input, in one of few
	// phases, for which the weights are computed once.
	up, down := frame.SampleRate, rate
	for a, b := up, down; ; a, b = b, a%b {
		if b == 0 {
			up, down = up/a, down/a
			break
		}
	}
	const zeros = 12 // crossings of the sinc at each side
	cut := min(1, float64(up)/float64(down)) * 0.95
	reach := int(zeros/cut) + 1
	weights := make([]float32, up*2*reach)
	for i := range weights {
		phase, k := i/(2*reach), i%(2*reach)-reach+1
		if d := (float64(k) - float64(phase)/float64(up)) * cut; math.Abs(d) < zeros {
			w := cut * (0.5 + 0.5*math.Cos(math.Pi*d/zeros))
			if d != 0 {
				w *= math.Sin(math.Pi*d) / (math.Pi * d)
			}
			weights[i] = float32(w)
		}
	}
	out := make([]float32, int64(len(x))*int64(up)/int64(down))
	for i := range out {
		at := int64(i) * int64(down)
		from := int(at/int64(up)) - reach + 1
		var sum float32
		for k, w := range weights[int(at%int64(up))*2*reach:][:2*reach] {
			if n := from + k; n >= 0 && n < len(x) {
				sum += w * x[n]
			}
		}
		out[i] = bounded(sum)
	}
	return out
}

// wavHeader is the header of a file of 48 kHz mono 16-bit sound.
func wavHeader(bytes uint32) []byte {
	h := make([]byte, 0, wavHeaderLen)
	h = append(h, "RIFF"...)
	h = binary.LittleEndian.AppendUint32(h, bytes+wavHeaderLen-8)
	h = append(h, "WAVEfmt "...)
	h = binary.LittleEndian.AppendUint32(h, 16)
	h = binary.LittleEndian.AppendUint16(h, tagPCM)
	h = binary.LittleEndian.AppendUint16(h, 1)
	h = binary.LittleEndian.AppendUint32(h, frame.SampleRate)
	h = binary.LittleEndian.AppendUint32(h, frame.SampleRate*2)
	h = binary.LittleEndian.AppendUint16(h, 2)
	h = binary.LittleEndian.AppendUint16(h, 16)
	h = append(h, "data"...)
	return binary.LittleEndian.AppendUint32(h, bytes)
}

const wavHeaderLen = 44

// A recorder writes a WAV file. Its header always describes no more than what
// is there, so the file is valid whenever its writer is killed: sound comes
// first, the header follows.
type recorder struct {
	file    *os.File
	written int64 // bytes of sound in the file
	buffer  []byte
	limit   int64
}

const (
	recordChunk = 20 * frame.PeriodSamples * 2 // bytes: written five times a second
	recordLimit = 10 * 60 * frame.SampleRate * 2
)

func newRecorder(name string) (*recorder, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("sim: record sound: %w", err)
	}
	if _, err := f.Write(wavHeader(0)); err != nil {
		return nil, errors.Join(fmt.Errorf("sim: record sound: %w", err), f.Close())
	}
	return &recorder{file: f, buffer: make([]byte, 0, recordChunk), limit: recordLimit}, nil
}

// add records a period; what comes after the limit is left out.
func (r *recorder) add(pcm *frame.PCM) error {
	if r.written+int64(len(r.buffer)) >= r.limit {
		return nil
	}
	for _, v := range &pcm.Samples {
		r.buffer = binary.LittleEndian.AppendUint16(r.buffer, uint16(int16(math.Round(float64(bounded(v))*32767))))
	}
	if len(r.buffer) < recordChunk {
		return nil
	}
	return r.flush()
}

func (r *recorder) flush() error {
	if len(r.buffer) == 0 {
		return nil
	}
	if _, err := r.file.WriteAt(r.buffer, wavHeaderLen+r.written); err != nil {
		return fmt.Errorf("sim: record sound: %w", err)
	}
	r.written += int64(len(r.buffer))
	r.buffer = r.buffer[:0]
	if _, err := r.file.WriteAt(wavHeader(uint32(r.written)), 0); err != nil {
		return fmt.Errorf("sim: record sound: %w", err)
	}
	return nil
}

func (r *recorder) close() error { return errors.Join(r.flush(), r.file.Close()) }
