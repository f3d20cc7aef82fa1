package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/client"
	"culvert/internal/sitetest"
	"culvert/internal/store/pgtest"
)

func TestAcknowledgedWritesOnSQLite(t *testing.T) {
	t.Parallel()
	acknowledged(t, sitetest.NewServer(t, unlimited...), 5)
}

func TestAcknowledgedWritesOnPostgreSQL(t *testing.T) {
	t.Parallel()
	acknowledged(t, sitetest.NewServer(t, append([]string{"--database", pgtest.Start(t)}, unlimited...)...), 2)
}

var unlimited = []string{"--gateway=none", "--quota", "ikepolicy=-1", "--quota", "endpoint_group=-1", "--quota", "ipsec_site_connection=-1"}

// answered is what the server answered: a 201 with an object, or later a 204.
type answered struct {
	path, key string
	object    client.Object // nil: deleted
}

// acknowledged kills the server at random moments while eight clients create and delete resources: what was answered
// with 201 is there after the restart, as it was answered, the PSK too, and what was answered with 204 is not.
func acknowledged(t *testing.T, s *sitetest.Server, rounds int) {
	site := &sitetest.Site{Server: s}
	site.LayNetworks(nil, nil)
	site.LayRouter(client.Object{"external_gateway_info": client.Object{"network_id": site.WAN}})
	w := &writer{Server: s, service: site.Make("vpn/vpnservices", "vpnservice", client.Object{"router_id": site.Router, "subnet_id": site.Subnet}),
		ike: site.Make("vpn/ikepolicies", "ikepolicy", client.Object{}), esp: site.Make("vpn/ipsecpolicies", "ipsecpolicy", client.Object{})}
	for w.round = range rounds {
		round, moment := w.round, 20+rand.IntN(120)
		all := w.untilKilled(moment)
		t.Logf("round %d: killed after %d answers, %d in the end", round, moment, len(all))
		s.Start()
		for _, a := range all {
			if a.object == nil {
				if status, body, err := s.API.Do(t.Context(), "GET", a.path, nil); err != nil || status != 404 {
					t.Errorf("round %d: GET %s, whose DELETE was answered with 204: %d %s, %v", round, a.path, status, body, err)
				}
			} else if diff := cmp.Diff(asked(a.object), asked(s.Call("GET", a.path, nil)[a.key].(client.Object))); diff != "" {
				t.Errorf("round %d: %s is not as it was answered (-then +now):\n%s", round, a.path, diff)
			}
		}
	}
}

// asked is what a client has of a resource by its request: a status follows later.
func asked(o client.Object) client.Object {
	o = maps.Clone(o)
	delete(o, "status")
	delete(o, "status_reason")
	return o
}

// writer writes to a server; the ids are what its connections stand on.
type writer struct {
	*sitetest.Server
	service, ike, esp string
	round             int
}

// untilKilled writes with eight clients and kills the server after so many answers.
func (s *writer) untilKilled(moment int) (all []answered) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), 30*time.Second)
	defer cancel()
	var clients sync.WaitGroup
	answers, done := make(chan answered), make(chan struct{})
	for n := range 8 {
		clients.Go(func() { s.write(ctx, n, answers) })
	}
	go func() {
		defer close(done)
		clients.Wait()
		close(answers)
	}()
	for a := range answers {
		if all = append(all, a); len(all) == moment {
			go func() { _ = s.Cmd.Process.Kill() }() // in the midst of the others' writes
		}
	}
	<-done
	if len(all) < moment {
		s.T.Fatalf("only %d answers came, want %d", len(all), moment)
	}
	s.Wait(10 * time.Second)
	return all
}

// write creates resources, and deletes every fifth, until the server is gone.
func (s *writer) write(ctx context.Context, n int, answers chan<- answered) {
	for i := 0; ; i++ {
		a, err := s.createOne(ctx, n, i)
		if refused := (*client.Error)(nil); errors.As(err, &refused) {
			s.T.Error(refused)
		}
		if err != nil {
			return
		}
		if i%5 == 4 {
			if _, err := s.API.Call(ctx, "DELETE", a.path, nil); err != nil {
				return // unanswered: it may be there or not
			}
			a.object = nil
		}
		answers <- a
	}
}

// createOne creates a connection each third time, else a policy or a group.
func (s *writer) createOne(ctx context.Context, n, i int) (a answered, err error) {
	collection, key := "vpn/ikepolicies", "ikepolicy"
	attributes := client.Object{"name": fmt.Sprintf("%d-%d", n, i), "lifetime": client.Object{"units": "seconds", "value": 3600 + i}}
	if n%2 == 1 {
		collection, key = "vpn/endpoint-groups", "endpoint_group"
		attributes = client.Object{"name": fmt.Sprintf("%d-%d", n, i), "type": "cidr", "endpoints": []string{fmt.Sprintf("10.%d.%d.0/24", n, i%256)}}
	}
	if i%3 == 2 {
		collection, key = "vpn/ipsec-site-connections", "ipsec_site_connection"
		one := fmt.Sprintf("%d-%d-%d", s.round, n, i)
		attributes = client.Object{"name": one, "vpnservice_id": s.service, "ikepolicy_id": s.ike, "ipsecpolicy_id": s.esp, "peer_id": one + ".example.net",
			"peer_address": "203.0.113.40", "psk": "kT7-" + one, "peer_cidrs": []string{fmt.Sprintf("172.%d.%d.0/24", 16+s.round, n*32+i/3)}}
	}
	o, err := s.API.Create(ctx, collection, key, attributes)
	if err != nil {
		return a, err
	}
	return answered{fmt.Sprintf("/v2.0/%s/%s", collection, o["id"]), key, o}, nil
}

// TestPendingEnds has no gateway at all: nothing may stay PENDING (decision D10).
func TestPendingEnds(t *testing.T) {
	t.Parallel()
	s := &sitetest.Site{Server: sitetest.NewServer(t, "--gateway=none")}
	s.LayNetworks(nil, nil)
	s.LayRouter(client.Object{"external_gateway_info": client.Object{"network_id": s.WAN}})
	s.LayService()
	created := &sitetest.Tunnel{Site: s}
	created.Connect(sitetest.NewOffice(0), nil)
	updated := &sitetest.Tunnel{Site: s}
	updated.Connect(sitetest.NewOffice(1), nil)
	updated.Put(client.Object{"peer_address": "198.51.100.77"}) // legal in PENDING_CREATE
	begun := time.Now()
	service := "/v2.0/vpn/vpnservices/" + s.Service
	for path, want := range map[string]string{service: "PENDING_CREATE", created.Path(): "PENDING_CREATE", updated.Path(): "PENDING_UPDATE"} {
		for key, o := range s.Call("GET", path, nil) {
			if got := o.(client.Object)["status"]; got != want {
				t.Errorf("%s %s is %v, want %s", key, path, got, want)
			}
		}
	}
	for path, key := range map[string]string{service: "vpnservice", created.Path(): "ipsec_site_connection", updated.Path(): "ipsec_site_connection"} {
		s.Await(path, key, 30*time.Second-time.Since(begun), "DOWN", "no_gateway_host")
	}
}
