// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// streamHeader contains the id of the HTTP/2 stream of a request.
const streamHeader = "x-faultproxy-stream"

const (
	frameHeaderLen = 9
	maxFrame       = 16384 // the default of HTTP/2
	maxHeaderBlock = 1 << 20
)

// h2conn is a connection between TLS and the HTTP/2 server. The server does not pass the id
// of a stream to its handler and does not let the handler choose the frames that end the
// stream. So h2conn adds the id to the headers of each request, and inserts its own frames
// between those of the server.
type h2conn struct {
	*tls.Conn
	conn *conn

	// Used by the reading goroutine of the server.
	in      *bufio.Reader
	ready   bytes.Buffer // data for the server
	preface bool         // the preface has been read
	dec     *hpack.Decoder
	enc     *hpack.Encoder
	block   bytes.Buffer // output of enc

	wmu    sync.Mutex
	header []byte // incomplete header of the frame being written
	left   int    // missing bytes of the frame being written
	begun  bool   // SETTINGS, which must be the first frame, has been written
	queue  []byte // own frames to be sent after the current frame

	mu       sync.Mutex
	admitted uint32 // the newest stream that was sent to the server
	goneAway bool   // streams above admitted are no longer processed
}

func newH2Conn(t *tls.Conn, c *conn) *h2conn {
	h := &h2conn{Conn: t, conn: c, in: bufio.NewReader(t), dec: hpack.NewDecoder(4096, nil)}
	h.enc = hpack.NewEncoder(&h.block)
	return h
}

func (h *h2conn) Read(p []byte) (int, error) {
	for h.ready.Len() == 0 {
		if err := h.readFrame(); err != nil {
			return 0, err
		}
	}
	return h.ready.Read(p)
}

func (h *h2conn) readFrame() error {
	if !h.preface {
		h.preface = true
		_, err := io.CopyN(&h.ready, h.in, int64(len(http2.ClientPreface)))
		return err
	}
	header := make([]byte, frameHeaderLen)
	if _, err := io.ReadFull(h.in, header); err != nil {
		return err
	}
	payload := make([]byte, length(header))
	if _, err := io.ReadFull(h.in, payload); err != nil {
		return err
	}
	if http2.FrameType(header[3]) == http2.FrameHeaders {
		return h.readHeaders(header, payload)
	}
	h.ready.Write(header)
	h.ready.Write(payload)
	return nil
}

var errHeaders = errors.New("faultproxy: malformed HEADERS")

// readHeaders decodes a block of headers and encodes it again with the id of the stream.
func (h *h2conn) readHeaders(header, payload []byte) error {
	flags := http2.Flags(header[4])
	stream := binary.BigEndian.Uint32(header[5:])
	if flags.Has(http2.FlagHeadersPadded) {
		if len(payload) < 1 || len(payload) < 1+int(payload[0]) {
			return errHeaders
		}
		payload = payload[1 : len(payload)-int(payload[0])]
	}
	if flags.Has(http2.FlagHeadersPriority) {
		if len(payload) < 5 {
			return errHeaders
		}
		payload = payload[5:]
	}
	for !flags.Has(http2.FlagHeadersEndHeaders) {
		next := make([]byte, frameHeaderLen)
		if _, err := io.ReadFull(h.in, next); err != nil {
			return err
		}
		if http2.FrameType(next[3]) != http2.FrameContinuation || len(payload)+length(next) > maxHeaderBlock {
			return errHeaders
		}
		more := make([]byte, length(next))
		if _, err := io.ReadFull(h.in, more); err != nil {
			return err
		}
		payload = append(payload, more...)
		flags |= http2.Flags(next[4]) & http2.FlagContinuationEndHeaders
	}
	fields, err := h.dec.DecodeFull(payload)
	if err != nil {
		return err
	}
	h.block.Reset()
	for _, f := range fields {
		if f.Name != streamHeader {
			_ = h.enc.WriteField(f) // a write to a bytes.Buffer does not fail
		}
	}
	if len(fields) > 0 && fields[0].IsPseudo() { // trailers have none
		_ = h.enc.WriteField(hpack.HeaderField{Name: streamHeader, Value: strconv.FormatUint(uint64(stream), 10)})
	}
	framer := http2.NewFramer(&h.ready, nil)
	first := h.block.Next(maxFrame)
	err = framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: first,
		EndStream: flags.Has(http2.FlagHeadersEndStream), EndHeaders: h.block.Len() == 0,
	})
	for err == nil && h.block.Len() > 0 {
		next := h.block.Next(maxFrame)
		err = framer.WriteContinuation(stream, h.block.Len() == 0, next)
	}
	return err
}

func length(header []byte) int {
	return int(header[0])<<16 | int(header[1])<<8 | int(header[2])
}

// Write writes the server's data, and the queued frames after the last frame that ends in
// it.
func (h *h2conn) Write(p []byte) (int, error) {
	h.wmu.Lock()
	defer h.wmu.Unlock()
	end := h.follow(p)
	if len(h.queue) == 0 || end < 0 {
		return h.Conn.Write(p)
	}
	if n, err := h.Conn.Write(p[:end]); err != nil {
		return n, err
	}
	if _, err := h.Conn.Write(h.queue); err != nil {
		return end, err
	}
	h.queue = nil
	n, err := h.Conn.Write(p[end:])
	return end + n, err
}

// follow tracks the frames and returns the end of the last complete frame in p, or -1.
func (h *h2conn) follow(p []byte) (end int) {
	end = -1
	for at := 0; at < len(p); {
		if h.left == 0 {
			n := min(frameHeaderLen-len(h.header), len(p)-at)
			h.header = append(h.header, p[at:at+n]...)
			at += n
			if len(h.header) < frameHeaderLen {
				break
			}
			h.left, h.header = length(h.header), h.header[:0]
		}
		n := min(h.left, len(p)-at)
		h.left -= n
		at += n
		if h.left == 0 {
			end, h.begun = at, true
		}
	}
	return end
}

// inject sends frames of the proxy, at once or after the frame that the server is writing.
func (h *h2conn) inject(write func(*http2.Framer) error) {
	var b bytes.Buffer
	if write(http2.NewFramer(&b, nil)) != nil {
		return
	}
	h.wmu.Lock()
	defer h.wmu.Unlock()
	if h.begun && h.left == 0 && len(h.header) == 0 {
		_, _ = h.Conn.Write(b.Bytes()) // an error also occurs in the next read
		return
	}
	h.queue = append(h.queue, b.Bytes()...)
}

// resetStream resets the stream for the client. The handler of the server must also end,
// without an answer.
func (h *h2conn) resetStream(stream uint32, code http2.ErrCode) {
	h.inject(func(f *http2.Framer) error { return f.WriteRSTStream(stream, code) })
}

// admit reports whether the stream may be sent to the server. It may not if a GOAWAY has
// reported it as unprocessed.
func (h *h2conn) admit(stream uint32) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.goneAway && stream > h.admitted {
		return false
	}
	h.admitted = max(h.admitted, stream)
	return true
}

// goAway sends a GOAWAY that reports all streams above the newest admitted one as
// unprocessed. A stream that is older but was not admitted is refused separately.
func (h *h2conn) goAway(stream uint32, committed bool, code http2.ErrCode) {
	h.mu.Lock()
	h.goneAway = true
	last := h.admitted
	h.mu.Unlock()
	h.inject(func(f *http2.Framer) error { return f.WriteGoAway(last, code, nil) })
	if !committed && stream < last {
		h.resetStream(stream, http2.ErrCodeRefusedStream)
	}
}
