package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/client"
	"culvert/internal/store/pgtest"
)

func TestAcknowledgedWritesOnSQLite(t *testing.T) {
	t.Parallel()
	acknowledged(t, newServer(t, "--gateway=none"), 5)
}

func TestAcknowledgedWritesOnPostgreSQL(t *testing.T) {
	t.Parallel()
	acknowledged(t, newServer(t, "--gateway=none", "--database", pgtest.Start(t)), 2)
}

// answered is what the server answered 201 with.
type answered struct {
	path, key string
	object    client.Object
}

// acknowledged kills the server at random moments while eight clients create resources: what was answered with 201
// is there after the restart, as it was answered.
func acknowledged(t *testing.T, s *server, rounds int) {
	total := 0
	for round := range rounds {
		all := s.createUntilKilled(time.Duration(50+rand.IntN(250)) * time.Millisecond)
		s.start()
		for _, a := range all {
			status, body, err := s.api.Do(t.Context(), "GET", a.path, nil)
			if err != nil || status != 200 {
				t.Fatalf("round %d: GET %s, which was answered with 201: %d %s, %v", round, a.path, status, body, err)
			}
			if diff := cmp.Diff(a.object, s.call("GET", a.path, nil)[a.key]); diff != "" {
				t.Errorf("round %d: %s is not as it was answered (-then +now):\n%s", round, a.path, diff)
			}
		}
		total += len(all)
	}
	if total < rounds*8 {
		t.Errorf("only %d resources were created in %d rounds", total, rounds)
	}
	t.Logf("%d resources in %d rounds", total, rounds)
}

// createUntilKilled creates resources with eight clients and kills the server after a while.
func (s *server) createUntilKilled(after time.Duration) (all []answered) {
	s.t.Helper()
	var mu sync.Mutex
	var clients sync.WaitGroup
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	for n := range 8 {
		clients.Go(func() {
			for i := 0; ; i++ {
				a, err := s.createOne(ctx, n, i)
				if err != nil {
					return // the server is gone; what it refuses shows as a missing total
				}
				mu.Lock()
				all = append(all, a)
				mu.Unlock()
			}
		})
	}
	time.Sleep(after) // the random moment
	s.end(syscall.SIGKILL)
	clients.Wait()
	return all
}

func (s *server) createOne(ctx context.Context, n, i int) (a answered, err error) {
	collection, key := "vpn/ikepolicies", "ikepolicy"
	attributes := client.Object{"name": fmt.Sprintf("%d-%d", n, i), "lifetime": client.Object{"units": "seconds", "value": 3600 + i}}
	if n%2 == 1 {
		collection, key = "vpn/endpoint-groups", "endpoint_group"
		attributes = client.Object{"name": fmt.Sprintf("%d-%d", n, i), "type": "cidr", "endpoints": []string{fmt.Sprintf("10.%d.%d.0/24", n, i%256)}}
	}
	o, err := s.api.Create(ctx, collection, key, attributes)
	if err != nil {
		return a, err
	}
	return answered{fmt.Sprintf("/v2.0/%s/%s", collection, o["id"]), key, o}, nil
}

// TestPendingEnds has no gateway at all: nothing may stay PENDING (decision D10).
func TestPendingEnds(t *testing.T) {
	t.Parallel()
	s := &site{server: newServer(t, "--gateway=none")}
	s.layNetworks(nil, nil)
	s.layRouter(client.Object{"external_gateway_info": client.Object{"network_id": s.wan}})
	s.layService()
	created := &tunnel{s: s}
	created.connect(newOffice(0), nil)
	updated := &tunnel{s: s}
	updated.connect(newOffice(1), nil)
	updated.put(client.Object{"peer_address": "198.51.100.77"}) // legal in PENDING_CREATE
	begun := time.Now()
	service := "/v2.0/vpn/vpnservices/" + s.service
	for path, want := range map[string]string{service: "PENDING_CREATE", created.path(): "PENDING_CREATE", updated.path(): "PENDING_UPDATE"} {
		for key, o := range s.call("GET", path, nil) {
			if got := o.(client.Object)["status"]; got != want {
				t.Errorf("%s %s is %v, want %s", key, path, got, want)
			}
		}
	}
	for path, key := range map[string]string{service: "vpnservice", created.path(): "ipsec_site_connection", updated.path(): "ipsec_site_connection"} {
		s.await(path, key, 30*time.Second-time.Since(begun), "DOWN", "no_gateway_host")
	}
}
