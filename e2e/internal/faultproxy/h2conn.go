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

// streamHeader tells the handler on which HTTP/2 stream its request came.
const streamHeader = "x-faultproxy-stream"

const (
	frameHeaderLen = 9
	maxFrame       = 16384 // what a server accepts unless it says otherwise
	maxHeaderBlock = 1 << 20
)

// h2conn sits between TLS and the HTTP/2 server, which neither tells a handler the
// id of its stream nor lets it choose the frames that end one. On the way in, it
// adds the id to each request's header. On the way out, it puts frames of its own
// between those of the server.
type h2conn struct {
	*tls.Conn
	conn *conn

	// Read by the server's one reading goroutine.
	in      *bufio.Reader
	ready   bytes.Buffer // what the server may read
	preface bool         // has been read
	dec     *hpack.Decoder
	enc     *hpack.Encoder
	block   bytes.Buffer // what enc has written

	wmu    sync.Mutex
	header []byte // the begun frame header that was last written
	left   int    // bytes missing in the frame that was last written
	begun  bool   // a whole frame was written: SETTINGS, which has to be the first
	queue  []byte // own frames that wait for the end of a frame

	mu       sync.Mutex
	admitted uint32 // the newest stream that was let through to the server
	goneAway bool   // streams above admitted are not processed any more
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

// readHeaders decodes a block of headers and hands the server one that it encodes
// anew, with the stream's id.
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
			_ = h.enc.WriteField(f) // a bytes.Buffer takes everything
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

// Write passes the server's bytes on and slips queued frames in after the first
// frame that ends in them.
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

// follow keeps track of frames and returns where in p the last of them ends, -1
// if none does.
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

// inject sends frames of the proxy's own, at once or after the frame that the
// server is writing.
func (h *h2conn) inject(write func(*http2.Framer) error) {
	var b bytes.Buffer
	if write(http2.NewFramer(&b, nil)) != nil {
		return
	}
	h.wmu.Lock()
	defer h.wmu.Unlock()
	if h.begun && h.left == 0 && len(h.header) == 0 {
		_, _ = h.Conn.Write(b.Bytes()) // a broken connection shows where it is read
		return
	}
	h.queue = append(h.queue, b.Bytes()...)
}

// resetStream ends the stream for the client. The server's own handler has to end
// too, without an answer.
func (h *h2conn) resetStream(stream uint32, code http2.ErrCode) {
	h.inject(func(f *http2.Framer) error { return f.WriteRSTStream(stream, code) })
}

// admit reports whether the stream may go to the server. It may not once a GOAWAY
// has said that it was not processed.
func (h *h2conn) admit(stream uint32) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.goneAway && stream > h.admitted {
		return false
	}
	h.admitted = max(h.admitted, stream)
	return true
}

// goAway tells the client to go, and which streams were never processed: all
// above the newest that went to the server. A stream that has not gone there but
// is older than that needs a word of its own.
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
