package vici

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Packet types, from the protocol description in strongSwan's src/libcharon/plugins/vici/README.md.
const (
	cmdRequest      = 0
	cmdResponse     = 1
	cmdUnknown      = 2
	eventRegister   = 3
	eventUnregister = 4
	eventConfirm    = 5
	eventUnknown    = 6
	eventPacket     = 7
)

// maxPacket is charon's own limit in bytes, both ways (VICI_MESSAGE_SIZE_MAX): it disconnects the sender of a longer
// packet, and throws away its own.
const maxPacket = 512 << 10

// packet is what one length header announces. name is that of the command or event, "" where the type has none.
type packet struct {
	kind byte
	name string
	body []byte
}

func hasName(kind byte) bool {
	return kind == cmdRequest || kind == eventRegister || kind == eventUnregister || kind == eventPacket
}

// marshal returns the packet with its length header.
func (p packet) marshal() ([]byte, error) {
	if p.name == "" || len(p.name) > math.MaxUint8 {
		return nil, fmt.Errorf("name of %d bytes, want 1 to %d", len(p.name), math.MaxUint8)
	}
	length := 2 + len(p.name) + len(p.body)
	if length > maxPacket {
		return nil, fmt.Errorf("packet of %d bytes, above charon's limit of %d", length, maxPacket)
	}
	b := make([]byte, 0, 4+length)
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	b = append(b, p.kind, byte(len(p.name)))
	return append(append(b, p.name...), p.body...), nil
}

// readPacket reads one packet. The error is io.EOF, as it is, only when the stream ends between two packets.
func readPacket(r io.Reader) (packet, error) {
	var header [4]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return packet{}, err
	}
	length := binary.BigEndian.Uint32(header[:])
	if length == 0 || length > maxPacket {
		return packet{}, fmt.Errorf("packet of %d bytes, want 1 to %d", length, maxPacket)
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(r, b); err != nil {
		return packet{}, fmt.Errorf("inside a packet of %d bytes: %w", length, err)
	}
	return parsePacket(b)
}

func parsePacket(b []byte) (packet, error) {
	p := packet{kind: b[0], body: b[1:]}
	if !hasName(p.kind) {
		return p, nil
	}
	if len(p.body) < 1 || p.body[0] == 0 || len(p.body)-1 < int(p.body[0]) {
		return packet{}, errors.New("packet without a whole name")
	}
	n := int(p.body[0])
	p.name, p.body = string(p.body[1:1+n]), p.body[1+n:]
	return p, nil
}
