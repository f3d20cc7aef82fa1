package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// rawHandlerCommand makes this program the raw limit of HTTP answers, in a process of its own as the server is.
const rawHandlerCommand = "raw-handler"

// rawHandler answers GET with the very bytes that were PUT there, as bare as net/http allows. A POST is what any server
// has to do that keeps its promises: what it gets is on the disk before the answer.
type rawHandler struct {
	answers sync.Map // path -> []byte
	log     *os.File
}

func (h *rawHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var err error
	switch r.Method {
	case http.MethodPut:
		var b []byte
		if b, err = io.ReadAll(r.Body); err == nil {
			h.answers.Store(r.URL.Path, b)
		}
	case http.MethodPost:
		if _, err = io.Copy(h.log, r.Body); err == nil {
			err = syscall.Fdatasync(int(h.log.Fd()))
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	v, _ := h.answers.Load(r.URL.Path)
	body, _ := v.([]byte)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// serveRaw is the process: it prints its URL and serves until it is ended.
func serveRaw(dir string) error {
	log, err := os.Create(filepath.Join(dir, "raw.log"))
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("raw handler on http://" + ln.Addr().String())
	return (&http.Server{Handler: &rawHandler{log: log}, ReadHeaderTimeout: 10 * time.Second}).Serve(ln)
}

// startRaw starts the process and returns its URL.
func (b *bench) startRaw() (*process, string, error) {
	cmd := exec.Command(b.self, rawHandlerCommand, b.dir)
	cmd.Stderr = os.Stderr
	p, err := start(cmd)
	if err != nil {
		return nil, "", err
	}
	url, err := p.find("raw handler on ", true)
	if err != nil {
		return nil, "", errors.Join(err, p.stop())
	}
	return p, url, nil
}

// caller sends requests over one kept connection for each host and reads answers into one buffer, so that its own share of
// the time is small and the same for all.
type caller struct {
	http  *http.Client
	token string
	body  bytes.Buffer // the last answer
}

func newCaller(token string) *caller {
	return &caller{http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, DisableCompression: true}}, token: token}
}

// do returns the time from the call to the answer's last byte. An answer other than 2xx is an error.
func (c *caller) do(ctx context.Context, method, url string, body []byte) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Auth-Token", c.token)
	c.body.Reset()
	begun := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = c.body.ReadFrom(resp.Body)
	took := time.Since(begun)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %.300s", method, url, resp.Status, c.body.Bytes())
	}
	return took, err
}
