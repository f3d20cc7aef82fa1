package uml

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// Rerun runs this test binary again inside the guest, with more variables and other arguments, and answers what it printed.
// An error says that it failed.
func (g *Guest) Rerun(ctx context.Context, env []string, args ...string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir, err := os.Getwd() // of the package
	if err != nil {
		return "", err
	}
	out := &transcript{}
	p, err := g.Start(Command{Args: append([]string{self}, args...), Env: env, Dir: dir, Output: out})
	if err != nil {
		return "", err
	}
	code, err := p.Wait(ctx)
	if err == nil && code != 0 {
		err = fmt.Errorf("guest: %s: exit code %d", strings.Join(args, " "), code)
	}
	return out.String(), err
}
