package resource

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Attrs are the attributes that a request gave, checked and converted, by name.
type Attrs map[string]any

// partial is an object of which only some keys were given.
type partial map[string]any

// ForPost checks the attributes of a create (api-contract section 2.2): unknown ones, those not allowed, those missing, and
// each value; then fills in the defaults.
func (k *Kind) ForPost(in map[string]any) (Attrs, error) {
	if err := k.known(in); err != nil {
		return nil, err
	}
	for _, a := range k.Attrs {
		if _, given := in[a.Name]; given && !a.Post && !a.Const {
			return nil, BadRequest("Attribute '%s' not allowed in POST", a.Name)
		}
	}
	for _, a := range k.Attrs {
		if _, given := in[a.Name]; !given && a.Required {
			return nil, BadRequest("Failed to parse request. Required attribute '%s' not specified", a.Name)
		}
	}
	out := Attrs{}
	for _, a := range k.Attrs {
		if err := a.post(in, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ForPut checks the attributes of an update: unknown ones, read-only ones, and each value.
func (k *Kind) ForPut(in map[string]any) (Attrs, error) {
	if err := k.known(in); err != nil {
		return nil, err
	}
	for _, a := range k.Attrs {
		if _, given := in[a.Name]; given && !a.Put {
			return nil, BadRequest("Cannot update read-only attribute %s", a.Name)
		}
	}
	out := Attrs{}
	for _, a := range k.Attrs {
		v, given := in[a.Name]
		if !given {
			continue
		}
		if v == nil && a.Sub != nil {
			continue
		}
		if err := a.take(v, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (k *Kind) known(in map[string]any) error {
	var unknown []string
	for name := range in {
		if k.byName[name] == nil {
			unknown = append(unknown, Clip(name))
		}
	}
	if unknown == nil {
		return nil
	}
	slices.Sort(unknown)
	return BadRequest("Unrecognized attribute(s) '%s'", strings.Join(unknown, ", "))
}

func (a *Attr) post(in map[string]any, out Attrs) error {
	v, given := in[a.Name]
	if !given || v == nil && a.hasDefault && (!a.Null || a.fallback != nil) {
		if a.hasDefault {
			out[a.Name] = a.fallback
		}
		return nil
	}
	if err := a.take(v, out); err != nil {
		return err
	}
	if a.Const && out[a.Name] != a.fallback {
		return BadRequest("Attribute '%s' not allowed in POST; its only value is %s", a.Name, quote(a.fallback))
	}
	return nil
}

func (a *Attr) take(v any, out Attrs) error {
	got, err := a.Check(v)
	if err != nil {
		return err
	}
	out[a.Name] = got
	return nil
}

// Check converts one value by the attribute's rule; its error is an *Error. The value of a secret is in no error.
func (a *Attr) Check(v any) (any, error) {
	if v == nil {
		if a.Null {
			return nil, nil
		}
		return nil, Invalid(a.path, "null is not allowed")
	}
	got, err := a.Rule(v)
	var e *Error
	switch {
	case err == nil:
		return got, nil
	case errors.As(err, &e):
		return nil, e
	}
	return nil, Invalid(a.path, "%v", err)
}

// objectRule checks an object of which any of the named keys may be given.
func objectRule(sub []*Attr) Rule {
	return func(v any) (any, error) {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s is not an object", quote(v))
		}
		out, names := Attrs{}, []string{}
		for _, a := range sub {
			names = append(names, a.Name)
			if x, given := m[a.Name]; given {
				if err := a.take(x, out); err != nil {
					return nil, err
				}
			}
		}
		for key := range m {
			if !slices.Contains(names, key) {
				return nil, fmt.Errorf("Unexpected keys supplied: %s; allowed are %s", quote(key), strings.Join(names, ", "))
			}
		}
		return partial(out), nil
	}
}

// Apply sets the attributes in r; objects are merged key by key.
func (k *Kind) Apply(in Attrs, r Resource) {
	apply(k.Attrs, in, reflect.ValueOf(r).Elem())
}

// Defaults sets every default in r, those inside of objects first.
func (k *Kind) Defaults(r Resource) { defaults(k.Attrs, reflect.ValueOf(r).Elem()) }

func defaults(attrs []*Attr, v reflect.Value) {
	for _, a := range attrs {
		f := v.FieldByIndex(a.index)
		if a.Sub != nil {
			defaults(a.Sub, f)
		}
		if a.hasDefault {
			assign(a, f, a.fallback)
		} else if f.Kind() == reflect.Slice && f.IsNil() {
			f.Set(reflect.MakeSlice(f.Type(), 0, 0))
		}
	}
}

func apply(attrs []*Attr, in map[string]any, v reflect.Value) {
	for _, a := range attrs {
		if x, given := in[a.Name]; given {
			assign(a, v.FieldByIndex(a.index), x)
		}
	}
}

func assign(a *Attr, f reflect.Value, x any) {
	if p, ok := x.(partial); ok {
		apply(a.Sub, p, f)
		return
	}
	if x == nil {
		f.SetZero()
		if f.Kind() == reflect.Slice {
			f.Set(reflect.MakeSlice(f.Type(), 0, 0))
		}
		return
	}
	if f.Kind() == reflect.Pointer {
		f.Set(reflect.New(f.Type().Elem()))
		f = f.Elem()
	}
	f.Set(reflect.ValueOf(x).Convert(f.Type()))
}
