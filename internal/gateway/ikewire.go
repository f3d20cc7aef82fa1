package gateway

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The first message of either IKE version, written and read only as far as it takes to learn which algorithms a peer takes
// (RFC 7296 section 3, RFC 2408 section 3 with RFC 2409 appendix A). No key comes of it: nothing is ever sent after it.

// Numbers of IKEv2's transforms (IANA, Internet Key Exchange Version 2 Parameters) by their names in the API.
var (
	wireCiphers = map[string]uint16{"3des": 3, "aes": 12, "aes-ctr": 13, "aes-ccm-8": 14, "aes-ccm-12": 15, "aes-ccm-16": 16,
		"aes-gcm-8": 18, "aes-gcm-12": 19, "aes-gcm-16": 20}
	wirePRFs = map[string]uint16{"md5": 1, "sha1": 2, "aes-xcbc": 4, "sha256": 5, "sha384": 6, "sha512": 7, "aes-cmac": 8}
	wireMACs = map[string]uint16{"md5": 1, "sha1": 2, "aes-xcbc": 5, "aes-cmac": 8, "sha256": 12, "sha384": 13, "sha512": 14}
)

// Payloads, exchanges and notifications.
const (
	payloadSA1, payloadSA2, payloadKE, payloadNonce   = 1, 33, 34, 40
	payloadNotify1, payloadNotify2                    = 11, 41
	exchangeMain, exchangeInit                        = 2, 34
	saidNothingFits, saidOtherGroup, saidCookie       = 14, 17, 16390
	transformCipher, transformPRF, transformMAC, ofDH = 1, 2, 3, 4
)

// groupNumber is the N of groupN.
func groupNumber(word string) uint16 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(word, "group"), 10, 16)
	return uint16(n) // 0 where it is none
}

func wordOf(table map[string]uint16, n uint16) string {
	for word, number := range table {
		if number == n {
			return word
		}
	}
	return fmt.Sprintf("algorithm %d", n)
}

// withSize puts a key length into the name of a cipher: aes-gcm-16 and 256 are aes-256-gcm-16.
func withSize(name string, bits uint16) string {
	if rest, ok := strings.CutPrefix(name, "aes"); ok && bits > 0 {
		return fmt.Sprintf("aes-%d%s", bits, rest)
	}
	return name
}

// message puts the header before payloads: each is given without its generic header, with its type.
type payload struct {
	kind byte
	body []byte
}

func message(version, exchange byte, payloads ...payload) []byte {
	out := make([]byte, ikeHeader)
	rand.Read(out[:8]) // SPI or cookie; never fails (crypto/rand)
	out[16], out[17], out[18] = payloads[0].kind, version<<4, exchange
	if version == 2 {
		out[19] = 0x08 // from the initiator
	}
	for i, p := range payloads {
		next := byte(0)
		if i+1 < len(payloads) {
			next = payloads[i+1].kind
		}
		out = append(out, next, 0)
		out = binary.BigEndian.AppendUint16(out, uint16(4+len(p.body)))
		out = append(out, p.body...)
	}
	binary.BigEndian.PutUint32(out[24:], uint32(len(out)))
	return out
}

// substructures chains proposals or transforms: more is the mark of one that is not the last.
func substructures(more byte, list [][]byte) (out []byte) {
	for i, body := range list {
		mark := more
		if i == len(list)-1 {
			mark = 0
		}
		out = append(out, mark, 0)
		out = binary.BigEndian.AppendUint16(out, uint16(4+len(body)))
		out = append(out, body...)
	}
	return out
}

// broadInit is an IKE_SA_INIT that offers all that the API has, with a key of one group.
func broadInit(group uint16) ([]byte, error) {
	key, err := publicValue(group)
	if err != nil {
		return nil, err
	}
	ke := binary.BigEndian.AppendUint16(nil, group)
	nonce := make([]byte, 32)
	rand.Read(nonce) // never fails (crypto/rand)
	sa := substructures(2, [][]byte{broadProposal(1, false), broadProposal(2, true)})
	return message(2, exchangeInit, payload{payloadSA2, sa}, payload{payloadKE, append(append(ke, 0, 0), key...)}, payload{payloadNonce, nonce}), nil
}

// broadProposal has either the AEAD ciphers or the others, with everything that goes with them.
func broadProposal(number byte, aead bool) []byte {
	var list [][]byte
	add := func(kind byte, id, bits uint16) {
		t := binary.BigEndian.AppendUint16([]byte{kind, 0}, id)
		if bits > 0 {
			t = binary.BigEndian.AppendUint16(append(t, 0x80, 14), bits)
		}
		list = append(list, t)
	}
	for name, id := range wireCiphers {
		if (len(name) > len("aes-ctr")) != aead {
			continue
		}
		if name == "3des" {
			add(transformCipher, id, 0)
			continue
		}
		for _, bits := range []uint16{256, 192, 128} {
			add(transformCipher, id, bits)
		}
	}
	for _, id := range wirePRFs {
		add(transformPRF, id, 0)
	}
	for _, id := range wireMACs {
		if !aead {
			add(transformMAC, id, 0)
		}
	}
	for word := range groups {
		add(ofDH, groupNumber(word), 0)
	}
	return append([]byte{number, 1, 0, byte(len(list))}, substructures(3, list)...)
}

// publicValue is one that a responder takes: of the MODP groups 4, a square, which is a member of the subgroup.
func publicValue(group uint16) ([]byte, error) {
	lengths := map[uint16]int{1: 96, 2: 128, 5: 192, 14: 256, 15: 384, 16: 512, 17: 768, 18: 1024}
	if n := lengths[group]; n > 0 {
		value := make([]byte, n)
		value[n-1] = 4
		return value, nil
	}
	curves := map[uint16]ecdh.Curve{19: ecdh.P256(), 20: ecdh.P384(), 21: ecdh.P521(), 31: ecdh.X25519()}
	curve := curves[group]
	if curve == nil {
		return nil, fmt.Errorf("no key of group %d", group)
	}
	key, err := curve.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	if group == 31 {
		return key.PublicKey().Bytes(), nil
	}
	return key.PublicKey().Bytes()[1:], nil // without the mark of an uncompressed point
}

// reply is what a peer answered to a first message.
type reply struct {
	takes  *offer // the proposal that it chose
	group  string // it wants a key of this group
	cookie []byte // it wants to see this first
	notify uint16 // else the notification
}

var errShort = errors.New("a message of IKE is cut short")

// readReply reads the answer to a broadInit or a broadMain.
func readReply(b []byte) (r reply, err error) {
	if len(b) < ikeHeader {
		return r, errShort
	}
	kind, rest := b[16], b[ikeHeader:]
	for kind != 0 {
		if len(rest) < 4 {
			return r, errShort
		}
		length := int(binary.BigEndian.Uint16(rest[2:]))
		if length < 4 || length > len(rest) {
			return r, errShort
		}
		if err := r.read(kind, rest[4:length]); err != nil {
			return r, err
		}
		kind, rest = rest[0], rest[length:]
	}
	return r, nil
}

func (r *reply) read(kind byte, body []byte) (err error) {
	switch kind {
	case payloadSA2:
		r.takes, err = readChoice2(body)
	case payloadSA1:
		r.takes, err = readChoice1(body)
	case payloadNotify1, payloadNotify2:
		from := 0
		if kind == payloadNotify1 {
			from = 4 // DOI
		}
		if len(body) < from+4 {
			return errShort
		}
		said, data := binary.BigEndian.Uint16(body[from+2:]), body[from+4:]
		switch {
		case said == saidOtherGroup && kind == payloadNotify2 && len(data) >= 2:
			r.group = fmt.Sprintf("group%d", binary.BigEndian.Uint16(data))
		case said == saidCookie:
			r.cookie = data
		case said < 16384: // an error, no status
			r.notify = said
		}
	}
	return err
}

// withCookie is the same IKE_SA_INIT, with the cookie that the peer wants to see (RFC 7296 section 2.6).
func withCookie(packet, cookie []byte) []byte {
	notify := append([]byte{packet[16], 0, 0, byte(8 + len(cookie)), 0, 0, saidCookie >> 8, saidCookie & 0xff}, cookie...)
	out := slices.Concat(packet[:ikeHeader], notify, packet[ikeHeader:])
	out[16] = payloadNotify2
	binary.BigEndian.PutUint32(out[24:], uint32(len(out)))
	return out
}

// readChoice2 reads the one proposal of IKEv2 that is in an answer.
func readChoice2(body []byte) (*offer, error) {
	if len(body) < 8 || len(body) < 8+int(body[6]) {
		return nil, errShort
	}
	o := &offer{protocol: "ike"}
	for rest := body[8+int(body[6]):]; len(rest) >= 8; {
		length := int(binary.BigEndian.Uint16(rest[2:]))
		if length < 8 || length > len(rest) {
			return nil, errShort
		}
		id, bits := binary.BigEndian.Uint16(rest[6:]), uint16(0)
		if length >= 12 {
			bits = binary.BigEndian.Uint16(rest[10:])
		}
		switch rest[4] {
		case transformCipher:
			o.ciphers = append(o.ciphers, withSize(wordOf(wireCiphers, id), bits))
		case transformPRF:
			o.prfs = append(o.prfs, wordOf(wirePRFs, id))
		case transformMAC:
			o.hashes = append(o.hashes, wordOf(wireMACs, id))
		case ofDH:
			o.dhGroup = append(o.dhGroup, fmt.Sprintf("group%d", id))
		}
		rest = rest[length:]
	}
	return o, nil
}

// In IKEv1 a transform is one of each (RFC 2409 appendix A).
var (
	oldHashes = map[string]uint16{"md5": 1, "sha1": 2, "sha256": 4, "sha384": 5, "sha512": 6}
	oldGroups = []uint16{14, 2, 5, 19, 15, 16, 20, 21}
)

const (
	oldCipher, oldHash, oldAuth, oldGroup, oldLifeType, oldLife, oldKeyLength = 1, 2, 3, 4, 11, 12, 14
	oldAES, oldTripleDES, oldPSK                                              = 7, 5, 1
)

// broadMain is the first message of IKEv1's main mode with what is usual, and one group that may not be.
func broadMain(group uint16) []byte {
	all := oldGroups
	if !slices.Contains(all, group) {
		all = append([]uint16{group}, all[:len(all)-1]...)
	}
	var list [][]byte
	for _, bits := range []uint16{256, 128, 192, 0} {
		for _, hash := range oldHashes {
			for _, dh := range all {
				list = append(list, oldTransform(byte(len(list)+1), bits, hash, dh))
			}
		}
	}
	sa := []byte{0, 0, 0, 1, 0, 0, 0, 1} // DOI: IPsec; situation: identity only
	proposal := append([]byte{1, 1, 0, byte(len(list))}, substructures(3, list)...)
	return message(1, exchangeMain, payload{payloadSA1, append(sa, substructures(2, [][]byte{proposal})...)})
}

func oldTransform(number byte, bits, hash, dh uint16) []byte {
	t := []byte{number, 1, 0, 0}
	attribute := func(kind, value uint16) {
		t = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(t, 0x8000|kind), value)
	}
	if bits > 0 {
		attribute(oldCipher, oldAES)
		attribute(oldKeyLength, bits)
	} else {
		attribute(oldCipher, oldTripleDES)
	}
	for _, a := range [][2]uint16{{oldHash, hash}, {oldAuth, oldPSK}, {oldGroup, dh}, {oldLifeType, 1}, {oldLife, 28800}} {
		attribute(a[0], a[1])
	}
	return t
}

// readChoice1 reads the one transform of IKEv1 that is in an answer.
func readChoice1(body []byte) (*offer, error) {
	const first = 8 + 8 // DOI and situation; the proposal's header
	if len(body) < first || len(body) < first+int(body[8+6])+8 {
		return nil, errShort
	}
	o, name, bits := &offer{protocol: "ike"}, "", uint16(0)
	for rest := body[first+int(body[8+6])+8:]; len(rest) >= 4; {
		kind, value := binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
		if kind&0x8000 == 0 { // a long one: value is its length
			if len(rest) < 4+int(value) {
				return nil, errShort
			}
			rest = rest[4+int(value):]
			continue
		}
		switch kind &^ 0x8000 {
		case oldCipher:
			name = map[uint16]string{oldAES: "aes", oldTripleDES: "3des"}[value]
		case oldKeyLength:
			bits = value
		case oldHash:
			o.hashes = []string{wordOf(oldHashes, value)}
		case oldGroup:
			o.dhGroup = []string{fmt.Sprintf("group%d", value)}
		}
		rest = rest[4:]
	}
	o.ciphers = []string{withSize(name, bits)}
	return o, nil
}
