package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"sync"

	"github.com/cespare/xxhash"
	"github.com/klauspost/compress/gzip"
)

const (
	headerBytes         = 9
	floatsPerFrame      = 33 * 4
	bytesPerFrame       = floatsPerFrame*4 + 4
	frameCountMax       = 600
	fpsMax              = 120
	timestampEndMs      = 3 * 60 * 60 * 1000
	decompressedMaxSize = 1 << 20
	hashSaltBytes       = 8
)

// decoder is reused from request to request: a gzip reader and room for a payload, after eight bytes of salt.
type decoder struct {
	source bytes.Reader
	gunzip *gzip.Reader
	buffer []byte
}

var decoders = sync.Pool{New: func() any {
	return &decoder{gunzip: new(gzip.Reader), buffer: make([]byte, hashSaltBytes+decompressedMaxSize+1)}
}}

// checkBatch reads and checks one body; the hash of its payload, or a status and the code of a refusal.
func checkBatch(body []byte) (payloadHash, int, string) {
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	payload, status, code := d.decompress(body)
	if code != "" {
		return payloadHash{}, status, code
	}
	if status, code := checkPayload(payload); code != "" {
		return payloadHash{}, status, code
	}
	return d.hash(len(payload)), 0, ""
}

func (d *decoder) decompress(body []byte) ([]byte, int, string) {
	if len(body) < 2 || body[0] != 0x1f || body[1] != 0x8b {
		return nil, 400, "not_gzip"
	}
	d.source.Reset(body) // an io.ByteReader, so gunzip takes not one byte beyond its member
	if err := d.gunzip.Reset(&d.source); err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, 400, "gzip_truncated"
	} else if err != nil {
		return nil, 400, "gzip_corrupt"
	}
	d.gunzip.Multistream(false)
	room := d.buffer[hashSaltBytes:]
	size := 0
	for {
		n, err := d.gunzip.Read(room[size:])
		size += n
		if size > decompressedMaxSize {
			return nil, 422, "decompressed_too_large"
		}
		if err == io.EOF {
			break
		}
		if err == io.ErrUnexpectedEOF {
			return nil, 400, "gzip_truncated"
		}
		if err != nil {
			return nil, 400, "gzip_corrupt"
		}
	}
	if d.source.Len() > 0 {
		return nil, 400, "gzip_trailing_bytes"
	}
	return room[:size], 0, ""
}

// hash is 128 bits out of two XXH64, the second over the payload behind a salt: Debian packages no XXH3 for Go, and
// two passes of cespare's assembly cost about 2 us a batch.
func (d *decoder) hash(size int) (hash payloadHash) {
	binary.LittleEndian.PutUint64(d.buffer, 0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(hash[:8], xxhash.Sum64(d.buffer[hashSaltBytes:hashSaltBytes+size]))
	binary.BigEndian.PutUint64(hash[8:], xxhash.Sum64(d.buffer[:hashSaltBytes+size]))
	return hash
}

func checkPayload(payload []byte) (int, string) {
	if len(payload) < headerBytes {
		return 400, "length_wrong"
	}
	if payload[0] != 1 {
		return 400, "version_unknown"
	}
	frames := uint64(binary.LittleEndian.Uint32(payload[1:]))
	fps := binary.LittleEndian.Uint32(payload[5:])
	if uint64(len(payload)) != headerBytes+frames*bytesPerFrame {
		return 400, "length_wrong"
	}
	if frames < 1 || frames > frameCountMax {
		return 422, "frame_count_out_of_bounds"
	}
	if fps < 1 || fps > fpsMax {
		return 422, "fps_out_of_bounds"
	}
	split := headerBytes + int(frames)*floatsPerFrame*4
	return checkValues(payload[headerBytes:split], payload[split:])
}

func checkValues(landmarks, timestamps []byte) (int, string) {
	const exponent = 0x7f800000 // all ones: NaN or infinite
	outside := false
	for len(landmarks) >= 16 {
		point := landmarks[:16:16]
		first, second := binary.LittleEndian.Uint64(point), binary.LittleEndian.Uint64(point[8:])
		visibility := uint32(second >> 32)
		if uint32(first)&exponent == exponent || uint32(first>>32)&exponent == exponent ||
			uint32(second)&exponent == exponent || visibility&exponent == exponent {
			return 422, "coordinate_not_finite"
		}
		if value := math.Float32frombits(visibility); value < 0 || value > 1 {
			outside = true
		}
		landmarks = landmarks[16:]
	}
	if outside {
		return 422, "visibility_out_of_bounds"
	}
	last := uint32(0)
	for ; len(timestamps) >= 4; timestamps = timestamps[4:] {
		timestamp := binary.LittleEndian.Uint32(timestamps)
		if timestamp < last {
			return 422, "timestamp_decreasing"
		}
		last = timestamp
	}
	if last >= timestampEndMs {
		return 422, "timestamp_out_of_bounds"
	}
	return 0, ""
}
