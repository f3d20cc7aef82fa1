// Package keystone is the identity of a cloud that has one: who a token belongs to, as that cloud's Keystone says, and the
// service user by which we ask it and its Neutron. No rule of who may do what enters here, and no identity of our own.
package keystone

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"golang.org/x/sync/singleflight"

	"culvert/internal/resource"
)

// Config names a Keystone and the user by whom we ask it. That user needs the role service or admin in Project, or whatever
// else the cloud's policy asks for to validate tokens; to read a Neutron's routers of all projects it needs admin.
type Config struct {
	URL      string // such as https://cloud.example.net:5000/v3; without a version v3 is added
	User     string
	Password string
	Project  string // name of the service user's project
	Domain   string // name of the domain of both
	Now      func() time.Time
}

const (
	// timeout is for one request to Keystone. Who waits for it is a client of ours.
	timeout = 10 * time.Second
	// rest is how long a Keystone that failed us is left alone: everybody is answered 503 at once.
	rest = 2 * time.Second
)

// Keystone is one that runs elsewhere.
type Keystone struct {
	Config
	provider *gophercloud.ProviderClient
	flights  singleflight.Group // of logins and validations: many callers, one request
	cache    *cache

	mu    sync.Mutex
	until time.Time // until when it is left alone
	cause error     // why
}

// New asks nothing yet: a server starts, and refuses its callers, while Keystone is away.
func New(c Config) (*Keystone, error) {
	if c.URL == "" || c.User == "" || c.Password == "" || c.Project == "" || c.Domain == "" || c.Now == nil {
		return nil, errors.New("keystone: URL, User, Password, Project, Domain and Now must be set")
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, errors.New("keystone: the URL must be like https://cloud.example.net:5000/v3, without a user") // and is not told
	}
	c.URL = strings.TrimRight(c.URL, "/")
	if !strings.HasSuffix(c.URL, "/v3") {
		c.URL += "/v3"
	}
	provider, err := openstack.NewClient(c.URL)
	if err != nil {
		return nil, fmt.Errorf("keystone %s: %w", c.URL, err)
	}
	provider.HTTPClient = http.Client{Timeout: timeout, Transport: direct()}
	return &Keystone{Config: c, provider: provider, cache: newCache()}, nil
}

// direct goes through no proxy: tokens travel to the cloud that the operator named, and nowhere else.
func direct() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.MaxIdleConnsPerHost = 16
	return t
}

// Endpoint is the URL that clients are to log in at.
func (k *Keystone) Endpoint() string { return k.URL }

// Login answers a client that is logged in as the service user, and logs in again by itself when its token ends. While
// Keystone is away the error is a 503.
func (k *Keystone) Login(ctx context.Context) (*gophercloud.ProviderClient, error) {
	if k.provider.Token() != "" {
		return k.provider, nil
	}
	_, err, _ := k.flights.Do("login", func() (any, error) {
		if k.provider.Token() != "" {
			return nil, nil
		}
		return nil, k.guarded(func() error { return k.login(context.WithoutCancel(ctx)) })
	})
	return k.provider, err
}

func (k *Keystone) login(ctx context.Context) error {
	err := openstack.Authenticate(ctx, k.provider, gophercloud.AuthOptions{
		IdentityEndpoint: k.URL, Username: k.User, Password: k.Password, DomainName: k.Domain, AllowReauth: true,
		Scope: &gophercloud.AuthScope{ProjectName: k.Project, DomainName: k.Domain},
	})
	if err != nil {
		return fmt.Errorf("log in as the service user %s: %v", k.User, brief(err)) // no answered: it would fail again
	}
	return nil
}

// guarded calls Keystone unless it failed a moment ago, and turns what fails into a 503.
func (k *Keystone) guarded(call func() error) error {
	k.mu.Lock()
	cause, resting := k.cause, k.Now().Before(k.until)
	k.mu.Unlock()
	if resting {
		return away(cause)
	}
	err := call()
	if err == nil || errors.Is(err, errInvalid) {
		return err
	}
	if errors.As(err, new(answered)) { // it is there; a token that it stumbles over is nobody else's trouble
		return away(err)
	}
	k.mu.Lock()
	k.cause, k.until = err, k.Now().Add(rest)
	k.mu.Unlock()
	return away(err)
}

// away is what a caller gets; the log gets the cause as well.
func away(cause error) error {
	return fmt.Errorf("%w: %w", resource.Errorf(http.StatusServiceUnavailable, "ServiceUnavailable",
		"The identity service (Keystone) cannot be asked at the moment."), cause)
}

// answered is an error that Keystone gave as its answer, in our words.
type answered string

func (a answered) Error() string { return string(a) }

// brief leaves the bodies of answers out: they may repeat what was sent.
func brief(err error) error {
	var again *gophercloud.ErrUnableToReauthenticate
	if errors.As(err, &again) {
		return fmt.Errorf("log in again: %v", brief(again.ErrReauth))
	}
	var code gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &code) {
		return answered(fmt.Sprintf("%s %s answered %d", code.Method, code.URL, code.Actual))
	}
	return err
}
