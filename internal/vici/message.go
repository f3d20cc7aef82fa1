// Package vici speaks VICI, the control protocol of strongSwan's charon, over its unix socket: messages, their wire
// form, and a connection that loses nothing (neither streamed items nor events).
//
// It knows the protocol only. What a connection, a CHILD_SA or an event means belongs to its users and may not enter.
package vici

import "iter"

type kind uint8

const (
	kindValue kind = iota
	kindList
	kindSection
)

type element struct {
	key     string
	kind    kind
	value   string
	list    []string
	section *Message
}

// Message is a VICI message or one of its sections: key-values, lists and sections, in order. The zero value is an
// empty message. All methods may be called on a nil *Message, which reads as an empty one. Not safe for concurrent
// writes.
//
// A received message may name a key twice; all are kept, in order, and the readers answer the first one of their kind.
type Message struct {
	elements []element
}

// NewMessage returns an empty message.
func NewMessage() *Message { return &Message{} }

// Set sets key to value (any bytes) and returns the message. An element of the same key is replaced in its place,
// whatever its kind. On a nil message it returns a new one.
func (m *Message) Set(key, value string) *Message {
	return m.put(element{key: key, kind: kindValue, value: value})
}

// SetList is Set for a list of values; no values make an empty list.
func (m *Message) SetList(key string, values ...string) *Message {
	return m.put(element{key: key, kind: kindList, list: append([]string(nil), values...)})
}

// SetSection is Set for a section. s is not copied: later changes to s show. A nil s is an empty section.
func (m *Message) SetSection(key string, s *Message) *Message {
	if s == nil {
		s = NewMessage()
	}
	return m.put(element{key: key, kind: kindSection, section: s})
}

func (m *Message) put(e element) *Message {
	if m == nil {
		m = NewMessage()
	}
	for i := range m.elements {
		if m.elements[i].key == e.key {
			m.elements[i] = e
			return m
		}
	}
	m.elements = append(m.elements, e)
	return m
}

func (m *Message) find(key string, k kind) element {
	if m != nil {
		for _, e := range m.elements {
			if e.key == key && e.kind == k {
				return e
			}
		}
	}
	return element{}
}

// Get returns the value of key, "" if there is no such key-value.
func (m *Message) Get(key string) string { return m.find(key, kindValue).value }

// List returns the items of the list key, nil if there is no such list. The caller may not change them.
func (m *Message) List(key string) []string { return m.find(key, kindList).list }

// Section returns the section key, nil if there is no such section.
func (m *Message) Section(key string) *Message { return m.find(key, kindSection).section }

// Sections yields the sections directly below m with their keys, in order.
func (m *Message) Sections() iter.Seq2[string, *Message] {
	return func(yield func(string, *Message) bool) {
		if m == nil {
			return
		}
		for _, e := range m.elements {
			if e.kind == kindSection && !yield(e.key, e.section) {
				return
			}
		}
	}
}

// Keys returns the keys directly below m, of all kinds, in order.
func (m *Message) Keys() []string {
	if m == nil {
		return nil
	}
	keys := make([]string, 0, len(m.elements))
	for _, e := range m.elements {
		keys = append(keys, e.key)
	}
	return keys
}
