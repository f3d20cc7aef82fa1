package resource

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
)

// Kind is a sort of resource: its names, and its attributes read once from the tags of its struct.
//
// The tags: `json` names the attribute (`attr` where json is "-"); `api` lists words: post (may be given on POST), required,
// put (may be changed), null (null is a value), const (POST tolerates the default alone), secret (sealed, never filtered),
// sort, nofilter; `rule` names the Rule with its arguments; `enum` lists the allowed values, or names a list of Options.Enums with @; `default` is the value of an
// attribute left out on POST, `neutron` the same under the profile of that name (api-contract D1).
type Kind struct {
	Name     string // JSON key of one: ikepolicy
	Plural   string // JSON key of many: ikepolicies
	Path     string // of the collection, below /v2.0/: vpn/ikepolicies
	Title    string // for messages: IKE policy
	NotFound string // error type
	InUse    string // error type
	Attrs    []*Attr
	Filters  []string // of lists, besides the attributes that can be filtered; the kind's rules know what they mean

	byName map[string]*Attr
	secret *Attr
}

// Masked stands wherever a secret may not be read (api-contract D4).
const Masked = "******"

// Attr is one attribute.
type Attr struct {
	Name                string
	Post, Put, Required bool
	Null, Const, Secret bool
	Filter, Sort        bool
	Column              Column
	Enum                []string
	EnumOption          bool         // Enum is a list of Options.Enums: stored values may stand in another server's
	Spec                string       // the rule's name with its arguments, as in the tag; "" for enums and objects
	Type                reflect.Type // of the value in the resource's struct
	Rule                Rule
	Sub                 []*Attr // of an object
	path                string  // for messages: the name, behind its object's where it is inside of one
	index               []int
	fallback            any  // default, already checked by the rule
	hasDefault          bool // fallback is set
}

// Options are what the tags cannot say.
type Options struct {
	Profile string              // "secure" or "neutron"
	Rules   map[string]Rule     // the kind's own, by name
	Enums   map[string][]string // lists of allowed values that `enum:"@name"` names
}

// Parse reads the attributes of proto's struct type into k. It fails on a tag that it does not understand.
func (k *Kind) Parse(proto any, o Options) error {
	attrs, err := parseStruct(reflect.TypeOf(proto), o)
	if err != nil {
		return fmt.Errorf("kind %s: %w", k.Name, err)
	}
	k.Attrs, k.byName = attrs, map[string]*Attr{}
	for _, a := range attrs {
		k.byName[a.Name] = a
		if a.Secret {
			k.secret = a
		}
	}
	return nil
}

// Attr returns nil for a name that the kind does not have.
func (k *Kind) Attr(name string) *Attr { return k.byName[name] }

// Secret returns the kind's sealed attribute, nil if it has none.
func (k *Kind) Secret() *Attr { return k.secret }

// Default is the value of an attribute left out on POST, as JSON writes it; an object's holds the defaults inside of it.
// ok is false where there is none.
func (a *Attr) Default() (v any, ok bool) {
	if a.Sub == nil {
		return a.fallback, a.hasDefault
	}
	out := map[string]any{}
	for _, s := range a.Sub {
		if d, has := s.Default(); has {
			out[s.Name] = d
		}
	}
	if p, is := a.fallback.(partial); is {
		maps.Copy(out, p)
	}
	return out, a.hasDefault
}

// ErrNotFound is the kind's 404.
func (k *Kind) ErrNotFound(id string) *Error {
	return Errorf(404, k.NotFound, "%s %s could not be found.", k.Title, id)
}

// ErrInUse is the kind's 409.
func (k *Kind) ErrInUse(id string, by Ref) *Error {
	return Errorf(409, k.InUse, "%s %s is in use by %s %s.", k.Title, id, strings.ReplaceAll(by.Kind, "_", " "), by.ID)
}

func parseStruct(t reflect.Type, o Options) ([]*Attr, error) {
	var attrs []*Attr
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			sub, err := parseStruct(f.Type, o)
			if err != nil {
				return nil, err
			}
			for _, a := range sub {
				a.index = append([]int{i}, a.index...)
			}
			attrs = append(attrs, sub...)
			continue
		}
		a, err := parseField(f, o)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
		if a != nil {
			a.index = []int{i}
			attrs = append(attrs, a)
		}
	}
	return attrs, nil
}

func parseField(f reflect.StructField, o Options) (*Attr, error) {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" {
		name = f.Tag.Get("attr")
	}
	if name == "" {
		return nil, nil
	}
	a := &Attr{Name: name, path: name, Filter: true, Type: f.Type}
	for _, w := range strings.Fields(f.Tag.Get("api")) {
		if !a.word(w) {
			return nil, fmt.Errorf("unknown word %q in its api tag", w)
		}
	}
	a.Column = Column{Name: name, Type: columnType(f.Type)}
	if e := f.Tag.Get("enum"); e != "" {
		a.Enum = strings.Fields(e)
	}
	if len(a.Enum) == 1 && strings.HasPrefix(a.Enum[0], "@") {
		a.Enum, a.EnumOption = o.Enums[a.Enum[0][1:]], true
	}
	if err := a.parseRule(f, o); err != nil {
		return nil, err
	}
	a.Filter = a.Filter && !a.Secret && scalar(f.Type)
	return a, a.parseDefault(f, o)
}

func (a *Attr) word(w string) bool {
	flag := map[string]*bool{"post": &a.Post, "put": &a.Put, "required": &a.Required, "null": &a.Null, "const": &a.Const,
		"secret": &a.Secret, "sort": &a.Sort}[w]
	if w == "nofilter" {
		a.Filter = false
		return true
	}
	if flag == nil {
		return false
	}
	*flag = true
	return true
}

func (a *Attr) parseRule(f reflect.StructField, o Options) error {
	if f.Type.Kind() == reflect.Struct && f.Tag.Get("rule") == "" {
		sub, err := parseStruct(f.Type, o)
		for _, x := range sub {
			x.path = a.Name + "." + x.path
		}
		a.Sub, a.Rule = sub, objectRule(sub)
		return err
	}
	if a.Enum != nil {
		a.Rule = enumRule(a.Enum)
		return nil
	}
	rule, err := ruleNamed(f.Tag.Get("rule"), o.Rules)
	a.Rule, a.Spec = rule, f.Tag.Get("rule")
	return err
}

func (a *Attr) parseDefault(f reflect.StructField, o Options) error {
	text, ok := f.Tag.Lookup("default")
	if v, set := f.Tag.Lookup("neutron"); set && o.Profile == "neutron" {
		text, ok = v, true
	}
	if !ok {
		return nil
	}
	v, err := defaultValue(text, f.Type)
	if err == nil && v != nil {
		v, err = a.Rule(v)
	}
	if err != nil {
		return fmt.Errorf("default %q: %w", text, err)
	}
	a.fallback, a.hasDefault = v, true
	return nil
}

func columnType(t reflect.Type) Type {
	switch t.Kind() {
	case reflect.Bool:
		return Bool
	case reflect.Int, reflect.Int64:
		return Number
	}
	return Text
}

func scalar(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64:
		return true
	}
	return false
}
