package vici

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Element types, from the protocol description in strongSwan's src/libcharon/plugins/vici/README.md.
const (
	sectionStart = 1
	sectionEnd   = 2
	keyValue     = 3
	listStart    = 4
	listItem     = 5
	listEnd      = 6
)

// maxDepth bounds the nesting of sections, both ways. The deepest message of charon has five levels.
const maxDepth = 32

// MarshalBinary returns the wire form. It fails on a key above 255 bytes, a value or item above 65535 bytes and
// sections nested deeper than 32. Errors name keys, never values.
func (m *Message) MarshalBinary() ([]byte, error) { return m.appendTo(nil, 0) }

func (m *Message) appendTo(b []byte, depth int) ([]byte, error) {
	if m == nil {
		return b, nil
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("sections nested deeper than %d", maxDepth)
	}
	var err error
	for _, e := range m.elements {
		if len(e.key) > math.MaxUint8 {
			return nil, fmt.Errorf("key %.32q… has %d bytes, above %d", e.key, len(e.key), math.MaxUint8)
		}
		if b, err = e.appendTo(b, depth); err != nil {
			return nil, fmt.Errorf("%s: %w", e.key, err)
		}
	}
	return b, nil
}

func (e element) appendTo(b []byte, depth int) ([]byte, error) {
	switch e.kind {
	case kindSection:
		b, err := e.section.appendTo(appendKey(b, sectionStart, e.key), depth+1)
		return append(b, sectionEnd), err
	case kindList:
		var err error
		b = appendKey(b, listStart, e.key)
		for _, item := range e.list {
			if b, err = appendValue(append(b, listItem), item); err != nil {
				return nil, err
			}
		}
		return append(b, listEnd), nil
	default:
		return appendValue(appendKey(b, keyValue, e.key), e.value)
	}
}

func appendKey(b []byte, elementType byte, key string) []byte {
	return append(append(b, elementType, byte(len(key))), key...)
}

func appendValue(b []byte, value string) ([]byte, error) {
	if len(value) > math.MaxUint16 {
		return nil, fmt.Errorf("value has %d bytes, above %d", len(value), math.MaxUint16)
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...), nil
}

// Decode reads one whole message from its wire form. It refuses truncated and ill-nested input, unknown element types
// and sections nested deeper than 32. What it accepts, MarshalBinary writes back byte for byte. data is not kept.
// Errors tell the offset, never content.
func Decode(data []byte) (*Message, error) {
	d := decoder{data: data}
	m, err := d.section(0)
	if err != nil {
		return nil, fmt.Errorf("vici message, byte %d of %d: %w", d.pos, len(data), err)
	}
	return m, nil
}

var (
	errTruncated = errors.New("truncated")
	errNesting   = errors.New("ill-nested element")
)

type decoder struct {
	data []byte
	pos  int
}

// section reads elements up to the end of the section, or of the data at depth 0.
func (d *decoder) section(depth int) (*Message, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("sections nested deeper than %d", maxDepth)
	}
	m := NewMessage()
	for d.pos < len(d.data) {
		elementType := d.data[d.pos]
		d.pos++
		if elementType == sectionEnd {
			if depth == 0 {
				return nil, errNesting
			}
			return m, nil
		}
		e, err := d.element(elementType, depth)
		if err != nil {
			return nil, err
		}
		m.elements = append(m.elements, e)
	}
	if depth > 0 {
		return nil, errTruncated
	}
	return m, nil
}

func (d *decoder) element(elementType byte, depth int) (e element, err error) {
	switch elementType {
	case sectionStart, keyValue, listStart:
	case listItem, listEnd:
		return e, errNesting
	default:
		return e, fmt.Errorf("unknown element type %d", elementType)
	}
	if e.key, err = d.text(1); err != nil {
		return e, err
	}
	switch elementType {
	case sectionStart:
		e.kind = kindSection
		e.section, err = d.section(depth + 1)
	case listStart:
		e.kind = kindList
		e.list, err = d.list()
	default:
		e.value, err = d.text(2)
	}
	return e, err
}

func (d *decoder) list() ([]string, error) {
	var items []string
	for d.pos < len(d.data) {
		elementType := d.data[d.pos]
		d.pos++
		switch elementType {
		case listEnd:
			return items, nil
		case listItem:
			item, err := d.text(2)
			if err != nil {
				return nil, err
			}
			items = append(items, item)
		default:
			return nil, errNesting
		}
	}
	return nil, errTruncated
}

// text reads a string after its big-endian length of width (1 or 2) bytes.
func (d *decoder) text(width int) (string, error) {
	if len(d.data)-d.pos < width {
		return "", errTruncated
	}
	n := int(d.data[d.pos])
	if width == 2 {
		n = int(binary.BigEndian.Uint16(d.data[d.pos:]))
	}
	if len(d.data)-d.pos-width < n {
		return "", errTruncated
	}
	start := d.pos + width
	d.pos = start + n
	return string(d.data[start:d.pos]), nil
}
